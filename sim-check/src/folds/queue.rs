//! A queue that was drained: what was put there comes out, and nothing else.

use std::collections::BTreeMap;

use super::{Fold, evidence};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks `enqueue`, `dequeue`, and `drain`, which takes all that is left. What comes out twice is
/// accepted, as in Jepsen, unless [`exactly_once`](TotalQueue::exactly_once) is asked for.
pub fn total_queue() -> TotalQueue {
    TotalQueue { exactly_once: false, counts: BTreeMap::new(), crashed: None }
}

/// The check that [`total_queue()`] makes.
#[derive(Clone, Debug)]
pub struct TotalQueue {
    exactly_once: bool,
    counts: BTreeMap<Value, Counts>,
    /// The event at which a drain was cut short.
    crashed: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    tried: u64,
    /// The acknowledgements.
    put: Vec<ClientEvent>,
    taken: u64,
}

impl TotalQueue {
    /// Accepts nothing that comes out more often than it was put there.
    pub fn exactly_once(mut self) -> Self {
        self.exactly_once = true;
        self
    }

    fn take(&mut self, event: &ClientEvent, value: &Value) -> Option<Evidence> {
        let counts = self.counts.entry(value.clone()).or_default();
        counts.taken += 1;
        let why = match counts.tried {
            0 => "which nobody had put there",
            tried if self.exactly_once && counts.taken > tried => "more often than it was put there",
            _ => return None,
        };
        let (client, at) = (event.process, event.moment.index);
        Some(evidence(event, format!("client-{client} took {value} from the queue at event {at}, {why}")))
    }
}

impl Fold for TotalQueue {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        match (event.f.as_str(), event.phase, &event.value) {
            ("enqueue", Phase::Invoke, value) => self.counts.entry(value.clone()).or_default().tried += 1,
            ("enqueue", Phase::Ok, value) => self.counts.entry(value.clone()).or_default().put.push(event.clone()),
            ("dequeue", Phase::Ok, Value::Nil) => {}
            ("dequeue", Phase::Ok, value) => return self.take(event, value),
            ("drain", Phase::Ok, Value::List(values)) => {
                return values.iter().find_map(|value| self.take(event, value));
            }
            ("drain", Phase::Info, _) => self.crashed = Some(event.moment.index),
            _ => {}
        }
        None
    }

    fn finish(&mut self) -> Verdict {
        if let Some(at) = self.crashed {
            return Verdict::Unknown(format!("the drain at event {at} was cut short: nobody knows what it took"));
        }
        if self.counts.is_empty() {
            return Verdict::Vacuous("nothing was put into the queue".to_string());
        }
        let lost = self.counts.iter().find(|(_, counts)| (counts.taken as usize) < counts.put.len());
        let Some((value, counts)) = lost else { return Verdict::Valid };
        let put = &counts.put[counts.taken as usize];
        let (client, at) = (put.process, put.moment.index);
        let sentence =
            format!("client-{client} was told that {value} is in the queue at event {at}, and it never came out");
        Verdict::Invalid(Box::new(evidence(put, sentence)))
    }
}
