//! A queue judged by a model, without looking for orders: nothing comes out that was not put in.

use std::collections::BTreeMap;

use super::{Fold, evidence};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks `enqueue` and `dequeue` against an unordered queue, as Jepsen's `queue` does: every enqueue that was
/// invoked counts, only acknowledged dequeues do, and each takes one of what was put in.
pub fn model_queue() -> ModelQueue {
    ModelQueue { held: BTreeMap::new(), seen: false }
}

/// The check that [`model_queue()`] makes.
#[derive(Clone, Debug)]
pub struct ModelQueue {
    held: BTreeMap<Value, u64>,
    seen: bool,
}

impl Fold for ModelQueue {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        match (event.f.as_str(), event.phase) {
            ("enqueue", Phase::Invoke) => {
                *self.held.entry(event.value.clone()).or_default() += 1;
                self.seen = true;
                None
            }
            ("dequeue", Phase::Ok) => {
                self.seen = true;
                let held = self.held.get_mut(&event.value).filter(|held| **held > 0);
                let Some(held) = held else {
                    let (client, at, value) = (event.process, event.moment.index, &event.value);
                    let sentence =
                        format!("client-{client} took {value} from the queue at event {at}, which was not in it");
                    return Some(evidence(event, sentence));
                };
                *held -= 1;
                None
            }
            _ => None,
        }
    }

    fn finish(&mut self) -> Verdict {
        match self.seen {
            true => Verdict::Valid,
            false => Verdict::Vacuous("nothing was put into the queue".to_string()),
        }
    }
}
