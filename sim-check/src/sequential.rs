//! Sequential consistency: is there one order of the operations that a [`Model`] accepts and in which each process did its
//! own in the order in which it did them? Real time does not count.
//!
//! Other than linearizability this is not decided key by key: keys that are each in order may not be so together.

#![expect(clippy::disallowed_types, reason = "the hasher is fixed, and nothing iterates over the set")]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use rustc_hash::FxBuildHasher;

use crate::history::Operation;
use crate::linearizable::nothing_seen;
use crate::model::Model;
use crate::verdict::{Checker, Evidence, Verdict, Witness};

const DEFAULT_BUDGET: u64 = 20_000_000;

/// Checks that a history is sequentially consistent with regard to `model`.
///
/// ```
/// use sim_check::model::{Register, RegisterOp, RegisterRet};
/// use sim_check::{History, linearizable, sequential};
///
/// let history = History::new();
/// history.invoke_at(1, RegisterOp::Write(9), 0).ok_at(RegisterRet::Written, 10);
/// history.invoke_at(2, RegisterOp::Read, 20).ok_at(RegisterRet::Value(0), 30); // late, but in order
/// assert!(history.verdict(&sequential(Register::<i64>::default())).is_valid());
/// assert!(!history.verdict(&linearizable(Register::<i64>::default())).is_valid());
/// ```
pub fn sequential<M: Model>(model: M) -> Sequential<M> {
    Sequential { model, budget: DEFAULT_BUDGET }
}

/// The checker that [`sequential()`] makes.
#[derive(Clone, Debug)]
pub struct Sequential<M> {
    model: M,
    budget: u64,
}

impl<M> Sequential<M> {
    /// Gives up with [`Verdict::Unknown`] after so many steps.
    pub fn budget(mut self, steps: u64) -> Self {
        self.budget = steps;
        self
    }
}

/// How far each process came, and the states of all keys then.
type Place<M> = (Vec<u32>, BTreeMap<String, <M as Model>::State>);

/// An operation of a model.
type Op<M> = Operation<<M as Model>::Op, <M as Model>::Ret>;

/// The operations of a process, in order.
type Lane<'h, M> = Vec<&'h Op<M>>;

struct Search<'h, M: Model> {
    model: &'h M,
    /// Acknowledged operations by process, in order; each one of unknown outcome is a process of its own.
    lanes: Vec<Lane<'h, M>>,
    seen: HashSet<Place<M>, FxBuildHasher>,
    stack: Vec<Place<M>>,
    /// The place at which most acknowledged operations had their turn.
    furthest: (u32, Vec<u32>),
}

impl<'h, M: Model> Search<'h, M> {
    fn new(model: &'h M, operations: &'h [Operation<M::Op, M::Ret>]) -> Self {
        let mut processes: BTreeMap<u64, Lane<'h, M>> = BTreeMap::new();
        let mut lanes = Vec::new();
        for operation in operations.iter().filter(|operation| !operation.failed()) {
            match operation.acknowledged() {
                Some(_) => processes.entry(operation.process).or_default().push(operation),
                None => lanes.push(vec![operation]),
            }
        }
        lanes.splice(0..0, processes.into_values());
        let start = (vec![0; lanes.len()], BTreeMap::new());
        let furthest = (0, start.0.clone());
        Search { model, lanes, seen: HashSet::default(), stack: vec![start], furthest }
    }

    /// Whether there is an order; nothing if the steps run out.
    fn run(&mut self, mut budget: u64) -> Option<bool> {
        while let Some(place) = self.stack.pop() {
            let done = self.done(&place.0);
            if done == self.due() {
                return Some(true);
            }
            if done > self.furthest.0 {
                self.furthest = (done, place.0.clone());
            }
            for lane in (0..self.lanes.len()).rev() {
                budget = budget.checked_sub(1)?;
                if let Some(next) = self.step(&place, lane).filter(|next| !self.seen.contains(next)) {
                    self.seen.insert(next.clone());
                    self.stack.push(next);
                }
            }
        }
        Some(false)
    }

    fn step(&self, (places, states): &Place<M>, lane: usize) -> Option<Place<M>> {
        let operation = self.lanes[lane].get(places[lane] as usize)?;
        let key = self.model.key(&operation.op).map_or(String::new(), Cow::into_owned);
        let state = states.get(&key).cloned().unwrap_or_else(|| self.model.init());
        let next = self.model.step(&state, &operation.op, operation.acknowledged().map(|(ret, _)| ret))?;
        let (mut places, mut states) = (places.clone(), states.clone());
        places[lane] += 1;
        states.insert(key, next);
        Some((places, states))
    }

    fn acknowledged(&self) -> impl Iterator<Item = (usize, &Lane<'h, M>)> {
        self.lanes.iter().enumerate().filter(|(_, lane)| lane[0].acknowledged().is_some())
    }

    fn done(&self, places: &[u32]) -> u32 {
        self.acknowledged().map(|(lane, _)| places[lane]).sum()
    }

    fn due(&self) -> u32 {
        self.acknowledged().map(|(_, lane)| lane.len() as u32).sum()
    }

    fn evidence(&self) -> Evidence {
        let waiting = self.acknowledged().filter_map(|(lane, all)| all.get(self.furthest.1[lane] as usize));
        let mut waiting: Vec<Witness> = waiting.map(|operation| self.witness(operation)).collect();
        waiting.sort_by_key(|witness| witness.invoked);
        let words: Vec<String> =
            waiting.iter().map(|witness| format!("client-{} {}", witness.process, witness.what)).collect();
        let (done, due) = (self.furthest.0, self.due());
        let sentence = format!(
            "not sequentially consistent: after {done} of {due} operations none can follow of {}",
            words.join(", ")
        );
        let failed = waiting.remove(0);
        let (key, before, core, needed, ties) = (None, Vec::new(), Vec::new(), None, Vec::new());
        Evidence { sentence, key, failed, involved: waiting, before, core, needed, ties }
    }

    fn witness(&self, operation: &Operation<M::Op, M::Ret>) -> Witness {
        let acknowledged = operation.acknowledged();
        Witness {
            process: operation.process,
            what: self.model.describe(&operation.op, acknowledged.map(|(ret, _)| ret)),
            invoked: operation.invoked,
            acknowledged: acknowledged.map(|(_, at)| at),
        }
    }
}

impl<M: Model> Checker<M::Op, M::Ret> for Sequential<M> {
    fn check(&self, operations: &[Operation<M::Op, M::Ret>]) -> Verdict {
        if operations.iter().all(|operation| operation.acknowledged().is_none()) {
            return Verdict::Vacuous(nothing_seen(operations.len()));
        }
        let mut search = Search::new(&self.model, operations);
        match search.run(self.budget) {
            Some(true) => Verdict::Valid,
            Some(false) => Verdict::Invalid(Box::new(search.evidence())),
            None => Verdict::Unknown(format!(
                "undecided after {} steps: overlap fewer operations or raise the budget",
                self.budget
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;
    use crate::model::{Register, RegisterOp, RegisterRet, keyed};

    type Log = History<(&'static str, RegisterOp<i64>), RegisterRet<i64>>;

    fn write(history: &Log, process: u64, key: &'static str, value: i64) {
        history.invoke_at(process, (key, RegisterOp::Write(value)), 0).ok_at(RegisterRet::Written, 0);
    }

    fn read(history: &Log, process: u64, key: &'static str, value: i64) {
        history.invoke_at(process, (key, RegisterOp::Read), 0).ok_at(RegisterRet::Value(value), 0);
    }

    fn verdict(history: &Log) -> Verdict {
        history.verdict(&sequential(keyed::<&'static str, _>(Register::default())))
    }

    #[test]
    fn checkers_find_keys_that_are_in_order_alone_and_not_together() {
        let history = History::new();
        write(&history, 1, "x", 1);
        write(&history, 2, "y", 1);
        read(&history, 1, "y", 0);
        assert!(verdict(&history).is_valid());
        read(&history, 2, "x", 0);
        let told = verdict(&history).to_string();
        assert!(
            told.starts_with("not sequentially consistent: after 3 of 4 operations none can follow of client-"),
            "{told}"
        );
    }

    #[test]
    fn brute_force_agrees_on_what_is_sequentially_consistent() {
        let mut dice = 7_u64;
        let mut roll = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        let mut valid = 0;
        for _ in 0..100_000 {
            let history = History::new();
            for _ in 0..1 + roll(5) {
                let (process, key, value) = (roll(3), ["x", "y"][roll(2) as usize], roll(2) as i64);
                let op = if roll(2) == 0 { RegisterOp::Read } else { RegisterOp::Write(value) };
                let ret = if op == RegisterOp::Read { RegisterRet::Value(value) } else { RegisterRet::Written };
                let call = history.invoke_at(process, (key, op), 0);
                if roll(8) == 0 { call.info_at(0) } else { call.ok_at(ret, 0) }
            }
            let operations = history.operations();
            let expected = explains(&BTreeMap::new(), &operations.iter().collect::<Vec<_>>());
            let verdict = verdict(&history);
            assert_eq!(verdict.evidence().is_none(), expected, "{verdict} of {operations:#?}");
            valid += u32::from(expected);
        }
        assert!((10_000..90_000).contains(&valid), "{valid}");
    }

    type Recorded = Operation<(&'static str, RegisterOp<i64>), RegisterRet<i64>>;

    /// Tries every order.
    fn explains(state: &BTreeMap<&str, i64>, left: &[&Recorded]) -> bool {
        if left.iter().all(|operation| operation.acknowledged().is_none()) {
            return true;
        }
        (0..left.len()).any(|n| {
            let (this, (key, op)) = (left[n], &left[n].op);
            let known = this.acknowledged();
            let earlier = left[..n].iter().any(|other| other.process == this.process && other.acknowledged().is_some());
            if known.is_some() && earlier {
                return false;
            }
            let mut next = state.clone();
            match (op, known.map(|(ret, _)| ret)) {
                (RegisterOp::Read, Some(RegisterRet::Value(value))) if state.get(key).unwrap_or(&0) != value => {
                    return false;
                }
                (RegisterOp::Read, _) => {}
                (RegisterOp::Write(value), _) => drop(next.insert(key, *value)),
            }
            explains(&next, &[&left[..n], &left[n + 1..]].concat())
        })
    }
}
