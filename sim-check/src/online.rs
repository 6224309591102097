//! Checks while a history grows: a run can stop when it is known to be wrong.
//!
//! ```
//! use sim_check::model::{Register, RegisterOp, RegisterRet};
//! use sim_check::online::Watch;
//! use sim_check::{History, linearizable};
//!
//! let history = History::new();
//! let mut watch = Watch::new(linearizable(Register::<i64>::default()));
//! history.invoke_at(1, RegisterOp::Write(9), 0).ok_at(RegisterRet::Written, 10);
//! assert!(watch.look(&history).is_none());
//! history.invoke_at(2, RegisterOp::Read, 20).ok_at(RegisterRet::Value(7), 30);
//! assert!(watch.look(&history).expect("nobody wrote 7").sentence.contains("read 7"));
//! ```

use crate::folds::{Fold, fold};
use crate::history::{History, Operation};
use crate::read::{ClientEvent, Value};
use crate::verdict::{Checker, Evidence, Verdict};
use crate::write::events_of;

/// Shorter histories are looked at after every event, longer ones each time they have grown by an eighth: in all that
/// takes a few times as long as looking once at the end.
const SHORT: usize = 64;
const PART: usize = 8;

/// A checker that looks at a history as it grows. What is wrong with a part of a history is wrong with the whole.
pub struct Watch<Op, Ret> {
    checker: Box<dyn Checker<Op, Ret> + Send>,
    due: usize,
}

impl<Op: Clone, Ret: Clone> Watch<Op, Ret> {
    /// Watches with `checker`, which has to be right about histories that go on.
    pub fn new(checker: impl Checker<Op, Ret> + Send + 'static) -> Self {
        Self { checker: Box::new(checker), due: 0 }
    }

    /// To be called after events; the evidence, if they broke the promise.
    pub fn look(&mut self, history: &History<Op, Ret>) -> Option<Evidence> {
        let events = history.events();
        if events < self.due {
            return None;
        }
        self.due = if events < SHORT { events + 1 } else { events + events / PART };
        match self.checker.check(&history.operations()) {
            Verdict::Invalid(evidence) => Some(*evidence),
            _ => None,
        }
    }
}

impl<Op, Ret> std::fmt::Debug for Watch<Op, Ret> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("due", &self.due).finish_non_exhaustive()
    }
}

/// A [`Fold`] as a [`Checker`] of recorded operations: `check` makes a new one for each history, and `asked` and `told`
/// say what operations and answers are called, as for [`events_of`].
///
/// ```
/// use sim_check::folds::counter;
/// use sim_check::online::folded;
/// use sim_check::read::Value;
/// use sim_check::History;
///
/// let checker = folded(counter, |add: &Option<i64>| match add {
///     Some(add) => ("add".to_string(), (*add).into()),
///     None => ("read".to_string(), Value::Nil),
/// }, |found: &i64| Some((*found).into()));
/// let history = History::new();
/// history.invoke_at(1, Some(2), 0).ok_at(2, 1);
/// history.invoke_at(1, None, 2).ok_at(3, 3);
/// assert!(history.verdict(&checker).to_string().contains("read 3 from the counter"));
/// ```
pub fn folded<Op, Ret, F: Fold>(
    check: impl Fn() -> F,
    asked: impl Fn(&Op) -> (String, Value),
    told: impl Fn(&Ret) -> Option<Value>,
) -> impl Checker<Op, Ret> {
    move |operations: &[Operation<Op, Ret>]| {
        let events: Vec<ClientEvent> = events_of(operations, &asked, &told);
        fold(&mut check(), &events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linearizable;
    use crate::model::{Register, RegisterOp, RegisterRet};

    #[test]
    fn a_long_history_is_stopped_soon_after_it_went_wrong() {
        let history = History::new();
        let mut watch = Watch::new(linearizable(Register::<u64>::default()));
        for n in 0..4_000 {
            let seen = if n == 1_000 { 7 } else { n };
            history.invoke_at(1, RegisterOp::Write(n), 0).ok_at(RegisterRet::Written, 0);
            history.invoke_at(2, RegisterOp::Read, 0).ok_at(RegisterRet::Value(seen), 0);
            if let Some(evidence) = watch.look(&history) {
                assert!((1_000..1_200).contains(&n), "{n}");
                assert!(evidence.sentence.contains("read 7"));
                return;
            }
        }
        panic!("nobody noticed");
    }
}
