//! Histories of a few operations: trying every order is over before anything better is set up.

use crate::history::Operation;
use crate::model::Model;

/// Longer histories are left to the searches.
const MOST: usize = 16;

/// How many steps a history may take for each of its operations before it is left to them.
const STEPS: u64 = 16;

/// Whether a few operations on one key are linearizable; nothing if that takes too many steps.
pub(super) fn holds<M: Model>(model: &M, operations: &[Operation<M::Op, M::Ret>], budget: u64) -> Option<bool> {
    if operations.len() > MOST || operations.iter().any(|operation| model.key(&operation.op).is_some()) {
        return None;
    }
    let left = (0..operations.len()).filter(|n| !operations[*n].failed()).fold(0, |left, n| left | 1 << n);
    let mut orders = Orders { model, operations, steps: budget.min(STEPS * operations.len() as u64) };
    orders.explain(&model.init(), left)
}

struct Orders<'h, M: Model> {
    model: &'h M,
    operations: &'h [Operation<M::Op, M::Ret>],
    steps: u64,
}

impl<M: Model> Orders<'_, M> {
    /// Whether the operations whose bits are set in `left` can follow in some order.
    fn explain(&mut self, state: &M::State, left: u32) -> Option<bool> {
        let operations = self.operations;
        let (model, waiting) = (self.model, (0..operations.len()).filter(|n| left >> n & 1 == 1));
        let ends = waiting.clone().filter_map(|n| operations[n].acknowledged().map(|(_, at)| at.index));
        let Some(deadline) = ends.min() else { return Some(true) };
        for n in waiting.filter(|n| operations[*n].invoked.index <= deadline) {
            self.steps = self.steps.checked_sub(1)?;
            let ret = operations[n].acknowledged().map(|(ret, _)| ret);
            let Some(next) = model.step(state, &operations[n].op, ret) else { continue };
            // What changes nothing may as well happen now.
            let nothing_lost = model.reads_only(&operations[n].op, ret);
            if self.explain(&next, left & !(1 << n))? {
                return Some(true);
            }
            if nothing_lost {
                return Some(false);
            }
        }
        Some(false)
    }
}
