//! Who owns a partition: in one generation of a group, one consumer.

use std::collections::BTreeMap;

use super::{Kind, Problem};
use crate::read::{ClientEvent, Phase, Value};

/// The owners of partitions by generation, as `:rebalance-log` and `:generation` tell them.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners {
    owners: BTreeMap<(Value, Value), (u64, u64)>,
    problems: Vec<Problem>,
}

impl Owners {
    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Takes note of what a consumer was given; the problem, if another has it already.
    pub(super) fn note(&mut self, event: &ClientEvent) -> Option<&Problem> {
        if event.phase == Phase::Invoke {
            return None;
        }
        let before = self.problems.len();
        if let (Some(generation), "subscribe" | "assigned", Value::List(keys)) =
            (event.also("generation"), event.f.as_str(), &event.value)
        {
            keys.iter().for_each(|key| self.own(event, generation, key));
        }
        if let Some(Value::List(log)) = event.also("rebalance-log") {
            for entry in log {
                if let (Some(generation), Some(Value::List(keys))) = (entry.field("generation"), entry.field("keys")) {
                    keys.iter().for_each(|key| self.own(event, generation, key));
                }
            }
        }
        self.problems.get(before)
    }

    fn own(&mut self, event: &ClientEvent, generation: &Value, key: &Value) {
        let now = (event.process, event.moment.index);
        let (owner, when) = *self.owners.entry((generation.clone(), key.clone())).or_insert(now);
        if owner != now.0 {
            let story = format!(
                "in generation {generation} both client-{owner} at event {when} and client-{} at event {} owned {key}",
                now.0, now.1
            );
            self.problems.push(Problem { kind: Kind::TwoOwners, story, event: now.1 });
        }
    }
}
