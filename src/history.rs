//! The joint between the simulated clock and histories: what clients saw, stamped with simulated time.

use sim_check::{Checker, Operation, Verdict};
use sim_core::{Outcome, time};

/// What the clients of a system saw: operations, each invoked and then ok, failed, or of unknown outcome.
///
/// Cheap to clone; all clones are one history, and tasks of all nodes may write to it.
///
/// ```
/// use sim::prelude::*;
/// use sim::check::model::{RegisterOp, RegisterRet};
///
/// let report = sim::simulation(1).run(|| async {
///     let history = History::new();
///     history.invoke(0, RegisterOp::Write(9)).ok(RegisterRet::Written);
///     history.invoke(1, RegisterOp::Read).ok(RegisterRet::Value(7));
///     history.check(linearizable(Register::<i64>::default()));
/// });
/// assert_eq!(report.outcome, Outcome::Incorrect);
/// assert!(report.message.contains("client-1 read 7 after write 9 was acknowledged"));
/// ```
#[derive(Debug)]
pub struct History<Op, Ret>(sim_check::History<Op, Ret>);

impl<Op, Ret> History<Op, Ret> {
    /// An empty history.
    pub fn new() -> Self {
        History(sim_check::History::new())
    }

    /// Records that client `process` asks for `op` now. A client has one operation open at a time.
    ///
    /// # Panics
    /// Outside a simulation.
    #[track_caller]
    pub fn invoke(&self, process: u64, op: Op) -> Call<Op, Ret> {
        Call(self.0.invoke_at(process, op, now_ns()))
    }

    /// How many operations were invoked.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<Op: Clone, Ret: Clone> History<Op, Ret> {
    /// A copy of the operations, in the order of their invocation.
    pub fn operations(&self) -> Vec<Operation<Op, Ret>> {
        self.0.operations()
    }

    /// Demands that the history is what `checker` allows; ends the run otherwise: as incorrect with the evidence, or as
    /// vacuous where there was nothing to check or the checker could not decide within its budget.
    #[track_caller]
    pub fn check(&self, checker: impl Checker<Op, Ret>) {
        match self.0.verdict(&checker) {
            Verdict::Valid => {}
            Verdict::Invalid(evidence) => sim_core::fail(Outcome::Incorrect, evidence.sentence),
            verdict => sim_core::fail(Outcome::Vacuous, format!("the history decides nothing: {verdict}")),
        }
    }
}

impl<Op, Ret> Clone for History<Op, Ret> {
    fn clone(&self) -> Self {
        History(self.0.clone())
    }
}

impl<Op, Ret> Default for History<Op, Ret> {
    fn default() -> Self {
        History::new()
    }
}

/// An operation that is under way. Dropped, its outcome stays unknown, as when its client crashes.
#[must_use = "dropping the call leaves its outcome unknown: end it with ok, fail or info"]
#[derive(Debug)]
pub struct Call<Op, Ret>(sim_check::Call<Op, Ret>);

impl<Op, Ret> Call<Op, Ret> {
    /// It took effect and gave `ret`.
    #[track_caller]
    pub fn ok(self, ret: Ret) {
        self.0.ok_at(ret, now_ns());
    }

    /// It certainly did not take effect.
    #[track_caller]
    pub fn fail(self) {
        self.0.fail_at(now_ns());
    }

    /// Nobody knows whether it took effect: a timeout, a connection that broke.
    #[track_caller]
    pub fn info(self) {
        self.0.info_at(now_ns());
    }
}

#[track_caller]
fn now_ns() -> u64 {
    u64::try_from(time::elapsed().as_nanos()).unwrap_or(u64::MAX)
}
