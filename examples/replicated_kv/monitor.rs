//! The monitor: decides views, and stands for a consensus service that never fails.
//!
//! The invariant: every member of the view has every acknowledged write. So a view may lose members, and gains one only
//! when its primary says that it has brought that one up to date.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim::time::{Instant, interval};
use sim::{reachable, spawn};

use crate::Bug;
use crate::wire::{ToMonitor, View, serve};

/// A replica that was not heard of for so long is taken for dead.
const PATIENCE: Duration = Duration::from_millis(300);

struct Monitor {
    view: View,
    heard: BTreeMap<usize, Instant>,
    promotes_stale: bool,
}

impl Monitor {
    fn install(&mut self, members: Vec<usize>) {
        self.view = View { number: self.view.number + 1, members };
    }

    fn is_live(&self, replica: usize) -> bool {
        self.heard.get(&replica).is_some_and(|heard| heard.elapsed() < PATIENCE)
    }

    fn hear(&mut self, message: ToMonitor) -> View {
        match message {
            ToMonitor::Booted(replica) => {
                self.heard.insert(replica, Instant::now());
                self.booted(replica);
            }
            ToMonitor::Alive { replica, in_view, brought } => {
                self.heard.insert(replica, Instant::now());
                let is_primary = in_view == self.view.number && self.view.members.first() == Some(&replica);
                if let Some(newcomer) = brought.filter(|new| is_primary && !self.view.members.contains(new)) {
                    reachable!("a replica joins a view");
                    let members = self.view.members.iter().copied().chain([newcomer]).collect();
                    self.install(members);
                }
            }
        }
        self.view.clone()
    }

    /// Who starts afresh is out of the view, unless nobody else has what was acknowledged.
    fn booted(&mut self, replica: usize) {
        let others: Vec<usize> = self.view.members.iter().copied().filter(|member| *member != replica).collect();
        if self.view.members.is_empty() || others.is_empty() {
            self.install(vec![replica]);
        } else if others.len() < self.view.members.len() {
            self.install(others);
        }
    }

    fn drop_the_dead(&mut self) {
        let live: Vec<usize> = self.view.members.iter().copied().filter(|member| self.is_live(*member)).collect();
        if live.len() == self.view.members.len() {
            return;
        }
        let anyone = self.heard.keys().copied().find(|replica| self.is_live(*replica));
        match (live.is_empty(), anyone) {
            (false, _) if !self.promotes_stale => self.install(live),
            (_, Some(anyone)) if self.promotes_stale => self.install(vec![anyone]),
            _ => {}
        }
    }
}

pub(crate) async fn monitor(bug: Option<Bug>) -> io::Result<()> {
    let promotes_stale = bug == Some(Bug::PromotesStaleBackup);
    let monitor = Rc::new(RefCell::new(Monitor { view: View::default(), heard: BTreeMap::new(), promotes_stale }));
    let watching = monitor.clone();
    spawn(async move {
        let mut ticks = interval(PATIENCE / 10);
        loop {
            ticks.tick().await;
            watching.borrow_mut().drop_the_dead();
        }
    });
    serve(move |message: ToMonitor| {
        let view = monitor.borrow_mut().hear(message);
        async move { io::Result::Ok(view) }
    })
    .await
}
