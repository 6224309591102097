//! A counter: a read is between what must have been added by then and what may have been.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fold, evidence};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks adds of numbers and reads of their sum.
///
/// A read finds at least what was acknowledged before it began, and at most what was asked for before it
/// ended and did not fail, even if the failure was told later. Other than in Jepsen numbers may be negative.
pub fn counter() -> Counter {
    Counter {
        sure: (0, 0),
        tried: (0, 0),
        adds: 0,
        open: BTreeMap::new(),
        reads: BTreeMap::new(),
        waiting: Vec::new(),
        read: false,
        doubt: None,
    }
}

/// The check that [`counter()`] makes. Sums of negative and of positive numbers are kept apart.
#[derive(Clone, Debug)]
pub struct Counter {
    /// What was acknowledged.
    sure: (i128, i128),
    /// What was asked for and has not failed.
    tried: (i128, i128),
    adds: u64,
    /// The add that each process has open: its number, and what it adds.
    open: BTreeMap<u64, (u64, i128)>,
    /// What was sure when the open read of a process began.
    reads: BTreeMap<u64, (i128, i128)>,
    /// Reads during which adds were open that may yet turn out to have failed.
    waiting: Vec<Waiting>,
    read: bool,
    /// Why nothing can be decided, if so.
    doubt: Option<String>,
}

#[derive(Clone, Debug)]
struct Waiting {
    event: ClientEvent,
    found: i128,
    low: i128,
    high: i128,
    on: BTreeSet<u64>,
}

impl Waiting {
    fn problem(&self) -> Option<Evidence> {
        let Waiting { event, found, low, high, .. } = self;
        let sentence = || {
            let (client, at) = (event.process, event.moment.index);
            format!("client-{client} read {found} from the counter at event {at}, which was between {low} and {high}")
        };
        (!(low..=high).contains(&found)).then(|| evidence(event, sentence()))
    }
}

fn plus(sum: &mut (i128, i128), add: i128) {
    *(if add < 0 { &mut sum.0 } else { &mut sum.1 }) += add;
}

impl Counter {
    fn add(&mut self, event: &ClientEvent) -> Option<Evidence> {
        if event.phase == Phase::Invoke {
            let Value::Int(add) = event.value else {
                let (what, at) = (&event.value, event.moment.index);
                self.doubt.get_or_insert_with(|| format!("{what} is added at event {at}: add whole numbers"));
                return None;
            };
            plus(&mut self.tried, add.into());
            self.adds += 1;
            self.open.insert(event.process, (self.adds, add.into()));
            return None;
        }
        let (number, add) = self.open.remove(&event.process)?;
        match event.phase {
            Phase::Ok => plus(&mut self.sure, add),
            Phase::Fail => return self.take_back(number, add),
            _ => {}
        }
        self.settle(number);
        None
    }

    /// An add failed: the reads that ended while it was open may not have found it.
    fn take_back(&mut self, number: u64, add: i128) -> Option<Evidence> {
        *(if add < 0 { &mut self.tried.0 } else { &mut self.tried.1 }) -= add;
        for read in self.waiting.iter_mut().filter(|read| read.on.contains(&number)) {
            *(if add < 0 { &mut read.low } else { &mut read.high }) -= add;
        }
        let broken = self.waiting.iter().find_map(Waiting::problem);
        self.settle(number);
        broken
    }

    fn settle(&mut self, number: u64) {
        self.waiting.retain_mut(|read| {
            read.on.remove(&number);
            !read.on.is_empty()
        });
    }

    fn found(&mut self, event: &ClientEvent, found: i64) -> Option<Evidence> {
        self.read = true;
        let sure = self.reads.remove(&event.process).unwrap_or(self.sure);
        let on = self.open.values().map(|(number, _)| *number).collect();
        let (low, high) = (sure.1 + self.tried.0, sure.0 + self.tried.1);
        let read = Waiting { event: event.clone(), found: i128::from(found), low, high, on };
        let broken = read.problem();
        if !read.on.is_empty() {
            self.waiting.push(read);
        }
        broken
    }
}

impl Fold for Counter {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        if self.doubt.is_some() {
            return None;
        }
        match (event.f.as_str(), event.phase, &event.value) {
            ("add", ..) => self.add(event),
            ("read", Phase::Invoke, _) => {
                self.reads.insert(event.process, self.sure);
                None
            }
            ("read", Phase::Ok, Value::Int(found)) => self.found(event, *found),
            ("read", Phase::Ok, found) if *found != Value::Nil => {
                let (client, at) = (event.process, event.moment.index);
                let sentence = format!("client-{client} read {found} from the counter at event {at}, which is no sum");
                Some(evidence(event, sentence))
            }
            _ => None,
        }
    }

    fn finish(&mut self) -> Verdict {
        match (&self.doubt, self.read) {
            (Some(doubt), _) => Verdict::Unknown(doubt.clone()),
            (None, true) => Verdict::Valid,
            (None, false) => Verdict::Vacuous("the counter was never read".to_string()),
        }
    }
}
