//! Judging a history as it grows, at the cost of what is under way and not of what is past.
//!
//! An operation that may still end can have any result. What came before all of those is settled: of it only the pasts
//! that are possible are kept, and every new end is judged from there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::Linearizable;
use super::breadth::Breadth;
use super::config::Config;
use super::mask::{Mask, Wide};
use super::part::{Item, Kind, Part};
use super::search::Finding;
use crate::history::{Moment, Operation};
use crate::model::Model;
use crate::online::{Monitor, News, next_look};
use crate::verdict::{Checker, Evidence, Verdict};

/// After so many operations that are under way or crashed, not every end is judged but those after which they have grown
/// by an eighth.
const LONG: usize = 1 << 9;

/// How many steps one look may take at first; looks that take more become more patient, and rarer.
const STEPS: u64 = 1 << 18;

/// Follows the operations of all keys.
pub(super) struct Growing<M: Model> {
    checker: Linearizable<M>,
    operations: Vec<Operation<M::Op, M::Ret>>,
    keys: BTreeMap<Option<String>, Tail<M::State>>,
}

/// The operations of a key that are not settled.
struct Tail<S> {
    /// Those that may still take effect, or did so after the first that is not settled was invoked; by their numbers.
    numbers: Vec<u32>,
    /// Those of them that may still end.
    pending: BTreeSet<u32>,
    /// The event up to which all is settled, and the pasts that are possible there.
    settled: u64,
    pasts: Vec<Past<S>>,
    due: usize,
    steps: u64,
}

/// A possible past; see [`Config`].
#[derive(Clone)]
struct Past<S> {
    state: S,
    done: BTreeSet<u32>,
    debt: BTreeSet<u32>,
}

/// What one look found.
enum Look<S> {
    /// The pasts that are possible where all is settled now.
    Fine(Vec<Past<S>>),
    Broken,
    OutOfSteps,
}

impl<M: Model> Growing<M> {
    pub(super) fn new(checker: Linearizable<M>) -> Self {
        Growing { checker, operations: Vec::new(), keys: BTreeMap::new() }
    }

    /// Judges a key after its event `at`.
    fn look(&mut self, key: &Option<String>, at: Moment) -> Option<Evidence> {
        let tail = self.keys.get_mut(key)?;
        if tail.numbers.len() < tail.due {
            return None;
        }
        let model = &self.checker.model;
        let now = tail.pending.first().map_or(at.index + 1, |first| self.operations[*first as usize].invoked.index);
        match tail.look(model, &self.operations, now) {
            Look::Fine(pasts) => tail.settle(model, &self.operations, now, pasts),
            Look::OutOfSteps => tail.be_patient(self.checker.budget),
            Look::Broken => return self.evidence(key),
        }
        None
    }

    fn evidence(&self, key: &Option<String>) -> Option<Evidence> {
        let of_key =
            |operation: &&Operation<M::Op, M::Ret>| self.checker.model.key(&operation.op).as_deref() == key.as_deref();
        let operations: Vec<_> = self.operations.iter().filter(of_key).cloned().collect();
        match self.checker.check(&operations) {
            Verdict::Invalid(evidence) => Some(*evidence),
            _ => None,
        }
    }
}

impl<M: Model> Monitor<M::Op, M::Ret> for Growing<M> {
    fn note(&mut self, news: News, number: usize, operation: &Operation<M::Op, M::Ret>) -> Option<Evidence> {
        let key = self.checker.model.key(&operation.op).map(Cow::into_owned);
        let tail = self.keys.entry(key.clone()).or_insert_with(|| Tail::new(self.checker.model.init()));
        match self.operations.get_mut(number) {
            Some(known) => known.clone_from(operation),
            None => self.operations.push(operation.clone()),
        }
        let number = number as u32;
        if news == News::Invoked {
            tail.numbers.push(number);
            tail.pending.insert(number);
            return None;
        }
        tail.pending.remove(&number);
        if operation.failed() {
            tail.numbers.retain(|other| *other != number);
        }
        self.look(&key, operation.ended()?)
    }
}

impl<S> Tail<S> {
    fn new(state: S) -> Self {
        let start = Past { state, done: BTreeSet::new(), debt: BTreeSet::new() };
        Tail { numbers: vec![], pending: BTreeSet::new(), settled: 0, pasts: vec![start], due: 0, steps: STEPS }
    }

    /// Judges all that is not settled, and finds the pasts that are possible before event `now`.
    fn look<M>(&self, model: &M, operations: &[Operation<M::Op, M::Ret>], now: u64) -> Look<S>
    where
        M: Model<State = S>,
        S: Clone,
    {
        let mut part = Part::new(model, None, operations, self.numbers.iter().copied());
        // Operations to come may depend on any state.
        part.sights = None;
        let source = |item: &Item| &operations[item.source as usize];
        let before = |index: u64| {
            let called = part.items.iter().filter(|item| source(item).invoked.index < index).count();
            let ended = |item: &&Item| source(item).acknowledged().is_some_and(|(_, at)| at.index < index);
            (called + part.items.iter().filter(ended).count()) as u32
        };
        let (from, cut) = (before(self.settled), before(now));
        let mut search = Breadth::<M, Wide>::resume(model, &part, from, |space| {
            self.pasts.iter().map(|past| past.config(from, space.number(past.state.clone()), &part.items)).collect()
        });
        let pasts = match search.run_to(cut, self.steps) {
            Some(Finding::Linearizable) => search.before.clone(),
            Some(_) => return Look::Broken,
            None => return Look::OutOfSteps,
        };
        match search.run_to(part.events.len() as u32, self.steps) {
            Some(Finding::Linearizable) => {}
            Some(_) => return Look::Broken,
            None => return Look::OutOfSteps,
        }
        let past = |config: &Config<Wide>| {
            let open = |item: &&Item| source(item).invoked.index < now && item.due >= cut;
            let used = |kinds: &'static [Kind], set: &Wide| {
                let used =
                    part.items.iter().filter(open).filter(|item| kinds.contains(&item.kind) && set.has(item.slot));
                used.map(|item| item.source).collect()
            };
            let (done, debt) = (used(&[Kind::Update], &config.done), used(&[Kind::Read, Kind::Crashed], &config.debt));
            Past { state: search.state(config.state).clone(), done, debt }
        };
        Look::Fine(pasts.iter().map(past).collect())
    }

    /// Keeps what is not settled before event `now`.
    fn settle<M: Model<State = S>>(
        &mut self,
        model: &M,
        operations: &[Operation<M::Op, M::Ret>],
        now: u64,
        pasts: Vec<Past<S>>,
    ) {
        let matters = |number: &u32| {
            let operation = &operations[*number as usize];
            match operation.acknowledged() {
                Some((_, at)) => at.index >= now,
                None => self.pending.contains(number) || !model.reads_only(&operation.op, None),
            }
        };
        self.numbers.retain(matters);
        (self.settled, self.pasts) = (now, pasts);
        self.due = if self.numbers.len() < LONG { 0 } else { next_look(self.numbers.len(), LONG) };
    }

    fn be_patient(&mut self, most: u64) {
        self.steps = self.steps.saturating_mul(2).min(most);
        self.due = next_look(self.numbers.len(), 0).max(self.numbers.len() + 1);
    }
}

impl<S> Past<S> {
    fn config(&self, at: u32, state: u32, items: &[Item]) -> Config<Wide> {
        let mut config = Config { at, state, done: Wide::default(), debt: Wide::default() };
        for item in items {
            if self.done.contains(&item.source) {
                config.done.insert(item.slot);
            }
            if self.debt.contains(&item.source) {
                config.debt.insert(item.slot);
            }
        }
        config
    }
}
