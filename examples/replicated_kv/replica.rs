//! A replica: primary or backup, as the view says.
//!
//! An operation is acknowledged when every member of the view has it on its disk. That goes for reads too (there is
//! nothing to write for them): a primary that was deposed without knowing it finds that its backups follow another.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim::time::sleep;
use sim::{reachable, spawn};
use tokio::sync::Mutex;

use crate::Bug;
use crate::log::Log;
use crate::wire::{Answer, Contents, ToMonitor, ToReplica, View, ask, serve};

/// How long one waits for an answer.
const PATIENCE: Duration = Duration::from_millis(100);

struct Store {
    log: Log,
    contents: Contents,
}

struct Replica {
    me: usize,
    /// The newest view it knows.
    view: RefCell<View>,
    /// Brought up to date, and not known to be a member yet: has to have everything too.
    brought: RefCell<Option<usize>>,
    /// As primary, the view in which it has brought its backups to its own state; as backup, the one in which it was.
    settled_in: RefCell<u64>,
    store: Mutex<Store>,
    acknowledges_early: bool,
}

fn name(replica: usize) -> String {
    format!("kv-{replica}")
}

pub(crate) async fn replica(me: usize, bug: Option<Bug>) -> io::Result<()> {
    let (log, contents) = Log::open(bug != Some(Bug::AcknowledgesBeforeFsync)).await?;
    let replica = Rc::new(Replica {
        me,
        view: RefCell::new(boot(me).await),
        brought: RefCell::new(None),
        settled_in: RefCell::new(0),
        store: Mutex::new(Store { log, contents }),
        acknowledges_early: bug == Some(Bug::AcknowledgesBeforeBackup),
    });
    spawn(replica.clone().stay_alive());
    spawn(replica.clone().stay_member());
    serve(move |question| {
        let replica = replica.clone();
        async move { replica.answer(question).await }
    })
    .await
}

/// Tells the monitor of the start before anything else.
async fn boot(me: usize) -> View {
    loop {
        match ask("monitor", &ToMonitor::Booted(me), PATIENCE).await {
            Ok(view) => return view,
            Err(_) => sleep(PATIENCE).await,
        }
    }
}

impl Replica {
    fn is_primary(&self) -> bool {
        self.view.borrow().members.first() == Some(&self.me)
    }

    /// Whoever has to have an operation before it is acknowledged, but for the primary itself.
    fn followers(&self) -> Vec<usize> {
        let members = self.view.borrow().members.clone();
        members.into_iter().chain(*self.brought.borrow()).filter(|member| *member != self.me).collect()
    }

    fn learn(&self, view: View) {
        if view.number > self.view.borrow().number {
            // Whom the old primary brought up to date is a member of this view, or no longer matters.
            self.brought.replace(None);
            self.view.replace(view);
        }
    }

    async fn stay_alive(self: Rc<Self>) {
        loop {
            let (in_view, brought) = (self.view.borrow().number, *self.brought.borrow());
            let alive = ToMonitor::Alive { replica: self.me, in_view, brought };
            if let Ok(view) = ask("monitor", &alive, PATIENCE).await {
                self.learn(view);
            }
            sleep(PATIENCE / 2).await;
        }
    }

    async fn stay_member(self: Rc<Self>) {
        loop {
            sleep(PATIENCE * 2).await;
            let View { members, .. } = self.view.borrow().clone();
            if let Some(primary) = members.first().filter(|_| !members.contains(&self.me)) {
                let _: io::Result<Answer> =
                    ask(&name(*primary), &ToReplica::Join { replica: self.me }, PATIENCE * 4).await;
            }
        }
    }

    async fn answer(self: Rc<Self>, question: ToReplica) -> io::Result<Answer> {
        match question {
            ToReplica::Get { key } => {
                self.operate(None, |contents| Answer::Value(contents.values.get(&key).cloned().unwrap_or_default()))
                    .await
            }
            ToReplica::Put { key, value } => self.operate(Some((key, value)), |_| Answer::Done).await,
            ToReplica::Replicate { view, sequence, write } => self.follow(view, sequence, write).await,
            ToReplica::Become { view, contents } => self.become_like(view, contents).await,
            ToReplica::Join { replica } => self.bring(replica).await,
        }
    }

    /// As primary: does an operation of a client.
    async fn operate(
        self: &Rc<Self>,
        write: Option<(String, String)>,
        result: impl Fn(&Contents) -> Answer,
    ) -> io::Result<Answer> {
        let mut store = self.store.lock().await;
        if !self.is_primary() || !self.settle(&store.contents).await {
            return Ok(Answer::NotPrimary);
        }
        let view = self.view.borrow().number;
        if let Some((key, value)) = &write {
            store.log.write(key, value).await?;
            store.contents.sequence += 1;
            store.contents.values.insert(key.clone(), value.clone());
        }
        let message = ToReplica::Replicate { view, sequence: store.contents.sequence, write };
        if self.acknowledges_early {
            let this = self.clone();
            spawn(async move { this.told_followers(view, &message).await });
            return Ok(result(&store.contents));
        }
        Ok(if self.told_followers(view, &message).await { result(&store.contents) } else { Answer::Deposed })
    }

    /// Tells every follower, again and again, until all have answered. False: another view has begun.
    async fn told_followers(&self, view: u64, message: &ToReplica) -> bool {
        let mut told = Vec::new();
        while self.view.borrow().number == view {
            let Some(follower) = self.followers().into_iter().find(|follower| !told.contains(follower)) else {
                return true;
            };
            match ask(&name(follower), message, PATIENCE).await {
                Ok(Answer::Done) => told.push(follower),
                _ => sleep(PATIENCE / 10).await,
            }
        }
        false
    }

    /// A new primary makes its backups like itself: they may have one write more or less, which nobody acknowledged.
    async fn settle(&self, contents: &Contents) -> bool {
        let view = self.view.borrow().number;
        if *self.settled_in.borrow() == view {
            return true;
        }
        let settled = self.told_followers(view, &ToReplica::Become { view, contents: contents.clone() }).await;
        if settled {
            self.settled_in.replace(view);
        }
        settled
    }

    /// As backup: does what the primary did.
    async fn follow(&self, view: u64, sequence: u64, write: Option<(String, String)>) -> io::Result<Answer> {
        let mut store = self.store.lock().await;
        if view != self.view.borrow().number || view != *self.settled_in.borrow() {
            return Ok(Answer::WrongView);
        }
        let Some((key, value)) = write else { return Ok(Answer::Done) };
        if sequence <= store.contents.sequence {
            reachable!("a write comes to a backup again");
            return Ok(Answer::Done);
        }
        if sequence != store.contents.sequence + 1 {
            return Ok(Answer::WrongView);
        }
        store.log.write(&key, &value).await?;
        store.contents.sequence = sequence;
        store.contents.values.insert(key, value);
        Ok(Answer::Done)
    }

    /// As backup: takes over what the primary has. What comes late, after writes of the same view, is refused.
    async fn become_like(&self, view: u64, contents: Contents) -> io::Result<Answer> {
        let mut store = self.store.lock().await;
        let late = view == *self.settled_in.borrow() && contents.sequence < store.contents.sequence;
        if view != self.view.borrow().number || late {
            return Ok(Answer::WrongView);
        }
        store.log.snapshot(&contents).await?;
        store.contents = contents;
        self.settled_in.replace(view);
        Ok(Answer::Done)
    }

    /// As primary: brings a replica up to date, which has to have everything from then on.
    async fn bring(&self, newcomer: usize) -> io::Result<Answer> {
        let store = self.store.lock().await;
        if !self.is_primary() || self.brought.borrow().is_some() || !self.settle(&store.contents).await {
            return Ok(Answer::NotPrimary);
        }
        let view = self.view.borrow().number;
        let message = ToReplica::Become { view, contents: store.contents.clone() };
        let answer = ask(&name(newcomer), &message, PATIENCE).await?;
        if answer == Answer::Done && self.view.borrow().number == view {
            self.brought.replace(Some(newcomer));
        }
        Ok(answer)
    }
}
