//! A smaller history that is not linearizable either, by leaving out what is not needed.
//!
//! Leaving out is sound: an acknowledged read vanishes, an acknowledged update becomes optional (it may take effect at
//! any time after its invocation, or never), and nothing else changes. Whatever explains the whole history explains
//! the smaller one, so where nothing explains the smaller one, nothing explains the whole.

use super::part::{Event, Part};
use super::race::strategies;
use super::search::Finding;
use crate::history::{Operation, Outcome};
use crate::model::Model;

/// How many steps to spend on looking for it, and on each try.
const STEPS: u64 = 4_000_000;
const TRY: u64 = 200_000;

/// Longer histories are not made smaller from all of their operations, but from the last ones.
const LAST: usize = 2_000;

/// The operations that are needed, by their place in the list that was handed to the checker, in the order of their
/// invocation: without any one of them the others can be explained, unless the steps ran out.
pub(super) fn core<M: Model>(
    model: &M,
    operations: &[Operation<M::Op, M::Ret>],
    part: &Part<'_, M>,
    blocked_at: u32,
) -> Vec<u32> {
    let (Event::Call(failed) | Event::Return(failed)) = part.events[blocked_at as usize];
    let returned = |item: &u32| part.items[*item as usize].due <= blocked_at;
    let called = part.events[..blocked_at as usize].iter().filter_map(|event| match event {
        Event::Call(item) => Some(*item),
        Event::Return(_) => None,
    });
    let called: Vec<u32> = called.collect();
    let mut needed: Vec<u32> = called.iter().copied().filter(|item| returned(item) && *item != failed).collect();
    let mut tries = Tries { model, operations, part, called, failed, left: STEPS };
    let from_last = needed.len().saturating_sub(LAST);
    if from_last > 0 {
        let last = needed.split_off(from_last);
        if !tries.blocks(&last) {
            return Vec::new();
        }
        needed = last;
    }
    tries.shrink(&mut needed);
    needed.push(failed);
    needed.sort_unstable();
    needed.into_iter().map(|item| part.items[item as usize].source).collect()
}

struct Tries<'t, 'h, M: Model> {
    model: &'t M,
    operations: &'h [Operation<M::Op, M::Ret>],
    part: &'t Part<'h, M>,
    /// Everything that was called before the blocked return.
    called: Vec<u32>,
    failed: u32,
    left: u64,
}

impl<M: Model> Tries<'_, '_, M> {
    /// Leaves out as many of `needed` at once as goes, then fewer, until each one is needed.
    fn shrink(&mut self, needed: &mut Vec<u32>) {
        let mut size = needed.len().div_ceil(2);
        while size > 0 && self.left > 0 {
            let before = needed.len();
            let mut start = 0;
            while start < needed.len() && self.left > 0 {
                let end = (start + size).min(needed.len());
                let fewer: Vec<u32> = [&needed[..start], &needed[end..]].concat();
                if self.blocks(&fewer) {
                    *needed = fewer;
                } else {
                    start = end;
                }
            }
            size = if size == 1 && needed.len() < before { 1 } else { size / 2 };
        }
    }

    /// Whether the failed operation still cannot be explained if only `needed` have to be.
    fn blocks(&mut self, needed: &[u32]) -> bool {
        let smaller = self.smaller(needed);
        let mut parts = super::part::parts(self.model, &smaller);
        let [part] = parts.as_mut_slice() else { return false };
        let [breadth, _] = strategies(part.slots);
        let mut search = breadth(self.model, part);
        let found = search.run(TRY.min(self.left));
        self.left = self.left.saturating_sub(search.steps());
        matches!(found, Some(Finding::Blocked(_)))
    }

    fn smaller(&self, needed: &[u32]) -> Vec<Operation<M::Op, M::Ret>> {
        let mut smaller = Vec::new();
        for item in &self.called {
            let source = &self.operations[self.part.items[*item as usize].source as usize];
            let required = *item == self.failed || needed.binary_search(item).is_ok();
            let ret = source.acknowledged().map(|(ret, _)| ret);
            if required {
                smaller.push(source.clone());
            } else if !self.model.reads_only(&source.op, ret) {
                smaller.push(Operation { outcome: Outcome::Open, ..source.clone() });
            }
        }
        smaller
    }
}
