//! A set: the last read finds all that was acknowledged, and nothing that was never added.

use std::collections::BTreeSet;

use super::{Fold, acknowledges, evidence, some};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks adds of elements and a read at the end.
pub fn set() -> Set {
    Set { tried: BTreeSet::new(), added: BTreeSet::new(), last: None }
}

/// The check that [`set()`] makes.
#[derive(Clone, Debug)]
pub struct Set {
    tried: BTreeSet<Value>,
    added: BTreeSet<Value>,
    last: Option<ClientEvent>,
}

impl Fold for Set {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        match (event.f.as_str(), event.phase) {
            ("add", Phase::Invoke) => drop(self.tried.insert(event.value.clone())),
            ("add", Phase::Ok) => drop(self.added.insert(event.value.clone())),
            _ => {}
        }
        let Value::List(found) = &event.value else { return None };
        if !acknowledges(event, "read") {
            return None;
        }
        self.last = Some(event.clone());
        let unexpected: Vec<&Value> = found.iter().filter(|value| !self.tried.contains(value)).collect();
        let (client, at, what) = (event.process, event.moment.index, some(unexpected.iter().copied()));
        let invented = !unexpected.is_empty();
        invented.then(|| evidence(event, format!("client-{client} found {what} at event {at}, which nobody added")))
    }

    fn finish(&mut self) -> Verdict {
        let Some(last) = &self.last else {
            return Verdict::Unknown("the set was never read: read it at the end".to_string());
        };
        let found: BTreeSet<&Value> = match &last.value {
            Value::List(found) => found.iter().collect(),
            _ => BTreeSet::new(),
        };
        let mut lost = self.added.iter().filter(|value| !found.contains(value)).peekable();
        if lost.peek().is_none() {
            return Verdict::Valid;
        }
        let (client, at, lost) = (last.process, last.moment.index, some(lost));
        let sentence = format!("client-{client} did not find {lost} at event {at}, of which the add was acknowledged");
        Verdict::Invalid(Box::new(evidence(last, sentence)))
    }
}
