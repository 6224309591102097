//! Evidence: the operation that nothing explains, in the words of the model.

use super::part::{Event, Part};
use super::race::strategies;
use super::search::{Blocked, Finding, Survivor};
use crate::history::Operation;
use crate::model::{Model, Sight};
use crate::verdict::{Evidence, Situation, Witness};

/// How many situations are listed, and how many states the sentence names.
const SITUATIONS: usize = 10;
const STATES: usize = 4;
/// Longer descriptions are cut in the sentence, and only there.
const WIDTH: usize = 80;

/// How many steps to spend on states that the search did not tell apart.
const STEPS: u64 = 1 << 16;

/// The same finding with every state told apart, unless that takes too many steps.
pub(super) fn spell_out<M: Model>(model: &M, part: &mut Part<'_, M>, blocked: Blocked<M>) -> Blocked<M> {
    if !blocked.survivors.iter().any(|survivor| survivor.unseen) {
        return blocked;
    }
    part.sights = None;
    let [breadth, _] = strategies(part.slots);
    match breadth(model, part).run(STEPS) {
        Some(Finding::Blocked(spelled_out)) => spelled_out,
        _ => blocked,
    }
}

/// A part that is not linearizable, and where it is blocked.
pub(super) struct Case<'a, M: Model> {
    model: &'a M,
    operations: &'a [Operation<M::Op, M::Ret>],
    part: &'a Part<'a, M>,
    blocked: &'a Blocked<M>,
}

impl<'a, M: Model> Case<'a, M> {
    pub(super) fn new(
        model: &'a M,
        operations: &'a [Operation<M::Op, M::Ret>],
        part: &'a Part<'a, M>,
        blocked: &'a Blocked<M>,
    ) -> Self {
        Self { model, operations, part, blocked }
    }

    /// The evidence; `core` are the operations that cannot be explained together.
    pub(super) fn evidence(&self, core: &[u32]) -> Evidence {
        let failed = self.failed();
        let last = self.last_change_before(failed);
        let mut involved: Vec<u32> = last.into_iter().chain(self.open_beside(failed)).collect();
        involved.sort_unstable();
        involved.dedup();
        Evidence {
            sentence: self.sentence(failed, last),
            key: self.part.key.clone(),
            failed: self.witness(failed),
            involved: involved.iter().map(|item| self.witness(*item)).collect(),
            before: self.situations(&involved),
            core: core.iter().map(|source| self.witness_of(&self.operations[*source as usize])).collect(),
            needed: self.needed(failed),
            ties: Vec::new(),
        }
    }

    /// The item whose return is blocked.
    fn failed(&self) -> u32 {
        let (Event::Call(item) | Event::Return(item)) = self.part.events[self.blocked.at as usize];
        item
    }

    /// The last update that returned before `failed` was called.
    fn last_change_before(&self, failed: u32) -> Option<u32> {
        let events = &self.part.events;
        let call = events.iter().position(|event| matches!(event, Event::Call(i) if *i == failed))?;
        events[..call].iter().rev().find_map(|event| match event {
            Event::Return(item) if !self.reads_only(*item) => Some(*item),
            _ => None,
        })
    }

    fn reads_only(&self, item: u32) -> bool {
        let (op, ret) = self.part.classes[self.part.items[item as usize].class as usize];
        self.model.reads_only(op, ret)
    }

    /// What else was called and had not returned before the blocked return.
    fn open_beside(&self, failed: u32) -> impl Iterator<Item = u32> {
        let at = self.blocked.at;
        let called = self.part.events[..at as usize].iter().filter_map(|event| match event {
            Event::Call(item) => Some(*item),
            Event::Return(_) => None,
        });
        called.filter(move |item| *item != failed && self.part.items[*item as usize].due > at)
    }

    fn operation(&self, item: u32) -> &'a Operation<M::Op, M::Ret> {
        &self.operations[self.part.items[item as usize].source as usize]
    }

    fn describe(&self, item: u32) -> String {
        self.words(self.operation(item))
    }

    fn words(&self, operation: &Operation<M::Op, M::Ret>) -> String {
        self.model.describe(&operation.op, operation.acknowledged().map(|(ret, _)| ret))
    }

    /// What would have had to be true for the failed operation to be right.
    fn needed(&self, failed: u32) -> Option<String> {
        let operation = self.operation(failed);
        match self.model.sight(&operation.op, operation.acknowledged().map(|(ret, _)| ret)) {
            Sight::Only(state) => Some(format!("the state would have had to be {state:?}")),
            Sight::Everything | Sight::Nothing => None,
        }
    }

    fn witness(&self, item: u32) -> Witness {
        self.witness_of(self.operation(item))
    }

    fn witness_of(&self, operation: &Operation<M::Op, M::Ret>) -> Witness {
        Witness {
            process: operation.process,
            what: self.words(operation),
            invoked: operation.invoked,
            acknowledged: operation.acknowledged().map(|(_, at)| at),
        }
    }

    fn sentence(&self, failed: u32, last: Option<u32>) -> String {
        let client = self.operation(failed).process;
        let what = shorten(&self.describe(failed));
        let after = match last {
            Some(last) => format!(" after {} was acknowledged", shorten(&self.describe(last))),
            None => " before any change was acknowledged".to_string(),
        };
        format!("not linearizable: client-{client} {what}{after}; {}", self.possible_states())
    }

    fn possible_states(&self) -> String {
        let mut states: Vec<String> = Vec::new();
        for survivor in &self.blocked.survivors {
            let state = shorten(&describe_state(survivor));
            if !states.contains(&state) {
                states.push(state);
            }
        }
        let more = states.len().saturating_sub(STATES);
        states.truncate(STATES);
        match (states.as_slice(), more) {
            ([], _) => "no order of the values explains it".to_string(),
            ([only], _) => format!("the state could only be {only}"),
            ([some @ .., last], 0) => format!("the state could be {} or {last}", some.join(", ")),
            (some, more) => format!("the state could be {} or {more} more", some.join(", ")),
        }
    }

    fn situations(&self, involved: &[u32]) -> Vec<Situation> {
        let place = |item: &u32| involved.binary_search(item).ok();
        let survivors = self.blocked.survivors.iter().take(SITUATIONS);
        survivors
            .map(|survivor| Situation {
                state: describe_state(survivor),
                applied: survivor.applied.iter().filter_map(place).collect(),
            })
            .collect()
    }
}

fn describe_state<M: Model>(survivor: &Survivor<M>) -> String {
    match survivor.unseen {
        true => "one that no operation depends on".to_string(),
        false => format!("{:?}", survivor.state),
    }
}

/// The beginning and the end of a long text.
fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= WIDTH {
        return text.to_string();
    }
    let head: String = text.chars().take(WIDTH / 2).collect();
    let tail: String = text.chars().skip(count - WIDTH / 2).collect();
    format!("{head} … {tail}")
}
