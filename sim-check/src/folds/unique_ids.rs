//! A generator of numbers, none of which it gives twice.

use std::collections::BTreeMap;

use super::{Fold, acknowledges, evidence};
use crate::read::{ClientEvent, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks that no two acknowledged `generate` have the same value.
pub fn unique_ids() -> UniqueIds {
    UniqueIds { given: BTreeMap::new() }
}

/// The check that [`unique_ids()`] makes.
#[derive(Clone, Debug)]
pub struct UniqueIds {
    /// To whom each was given, and at which event.
    given: BTreeMap<Value, (u64, u64)>,
}

impl Fold for UniqueIds {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        if !acknowledges(event, "generate") {
            return None;
        }
        let now = (event.process, event.moment.index);
        let (client, before) = self.given.insert(event.value.clone(), now)?;
        let value = &event.value;
        let sentence = format!(
            "client-{} was given {value} at event {}, which client-{client} was given at event {before}",
            now.0, now.1
        );
        Some(evidence(event, sentence))
    }

    fn finish(&mut self) -> Verdict {
        match self.given.is_empty() {
            true => Verdict::Vacuous("no number was given".to_string()),
            false => Verdict::Valid,
        }
    }
}
