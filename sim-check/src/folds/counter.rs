//! A counter: a read is between what must have been added by then and what may have been.

use std::collections::BTreeMap;

use super::{Fold, acknowledges, evidence};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks adds of numbers and reads of their sum. Numbers may be negative, other than in Jepsen; an add that fails
/// counts as possible for the reads that overlap it.
pub fn counter() -> Counter {
    Counter { sure: 0, open: BTreeMap::new(), lost: (0, 0), reads: BTreeMap::new(), read: false }
}

/// The check that [`counter()`] makes.
#[derive(Clone, Debug)]
pub struct Counter {
    /// The sum of what was acknowledged.
    sure: i128,
    /// The add that each process has open.
    open: BTreeMap<u64, i128>,
    /// The least and the most that adds of unknown outcome come to.
    lost: (i128, i128),
    /// The least and the most that the open read of a process may find.
    reads: BTreeMap<u64, (i128, i128)>,
    /// Whether a read was acknowledged.
    read: bool,
}

impl Counter {
    fn range(&self) -> (i128, i128) {
        let open = self.open.values();
        open.fold((self.sure + self.lost.0, self.sure + self.lost.1), |(low, high), add| {
            (low + add.min(&0), high + add.max(&0))
        })
    }

    fn widen(&mut self) {
        let (low, high) = self.range();
        for (least, most) in self.reads.values_mut() {
            (*least, *most) = ((*least).min(low), (*most).max(high));
        }
    }

    fn add(&mut self, event: &ClientEvent) {
        let before = self.open.remove(&event.process);
        match (event.phase, before) {
            (Phase::Ok, Some(add)) => self.sure += add,
            (Phase::Info | Phase::Invoke, Some(add)) => {
                self.lost = (self.lost.0 + add.min(0), self.lost.1 + add.max(0))
            }
            _ => {}
        }
        if let (Phase::Invoke, Value::Int(add)) = (event.phase, &event.value) {
            self.open.insert(event.process, i128::from(*add));
        }
        self.widen();
    }
}

impl Fold for Counter {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        match (event.f.as_str(), event.phase) {
            ("add", _) => self.add(event),
            ("read", Phase::Invoke) => {
                self.reads.insert(event.process, self.range());
            }
            ("read", _) => {
                let (low, high) = self.reads.remove(&event.process).unwrap_or_else(|| self.range());
                let Value::Int(found) = event.value else { return None };
                self.read |= event.phase == Phase::Ok;
                if acknowledges(event, "read") && !(low..=high).contains(&i128::from(found)) {
                    let (client, at) = (event.process, event.moment.index);
                    let sentence = format!(
                        "client-{client} read {found} from the counter at event {at}, which was between {low} and {high}"
                    );
                    return Some(evidence(event, sentence));
                }
            }
            _ => {}
        }
        None
    }

    fn finish(&mut self) -> Verdict {
        match self.read {
            true => Verdict::Valid,
            false => Verdict::Vacuous("the counter was never read".to_string()),
        }
    }
}
