//! Operations as the clients of a system saw them.
//!
//! The order of a history is the order in which its events were recorded, never the order of its time
//! stamps: two events at the same simulated instant still happened one after the other.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::verdict::{Checker, Verdict};

/// When an event happened: its place in the history, and the time that was shown to the recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Moment {
    /// The number of events recorded before this one. Order is decided by this field alone.
    pub index: u64,
    /// Nanoseconds since the run began, for reports only.
    pub time: u64,
}

/// How an operation ended, as far as its client knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome<Ret> {
    /// It took effect at some moment between its invocation and `at`, and returned `ret`.
    Ok {
        /// What the client was told.
        ret: Ret,
        /// When the client was told.
        at: Moment,
    },
    /// It certainly never took effect.
    Fail {
        /// When the client learned it.
        at: Moment,
    },
    /// It may take effect at any time after its invocation, or never.
    Info {
        /// When the client gave up.
        at: Moment,
    },
    /// Nothing was heard of it; treated as [`Outcome::Info`].
    Open,
}

/// One operation of one process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation<Op, Ret> {
    /// The client that invoked it.
    pub process: u64,
    /// What was asked for.
    pub op: Op,
    /// When it was invoked.
    pub invoked: Moment,
    /// How it ended.
    pub outcome: Outcome<Ret>,
}

impl<Op, Ret> Operation<Op, Ret> {
    /// The result and the moment of completion of an acknowledged operation.
    pub fn acknowledged(&self) -> Option<(&Ret, Moment)> {
        match &self.outcome {
            Outcome::Ok { ret, at } => Some((ret, *at)),
            _ => None,
        }
    }

    /// Whether the operation is known not to have happened.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Fail { .. })
    }
}

/// A recorder of operations: a cheap handle that the tasks of a run share by cloning it.
///
/// ```
/// use sim_check::History;
///
/// let history = History::new();
/// let call = history.invoke_at(1, "withdraw 5", 1_000);
/// call.ok_at("balance 7", 3_000);
/// drop(history.invoke_at(2, "deposit 3", 4_000)); // its client crashed: open for ever
///
/// assert_eq!(history.len(), 2);
/// assert_eq!(history.operations()[0].acknowledged().map(|(ret, _)| *ret), Some("balance 7"));
/// ```
pub struct History<Op, Ret> {
    log: Arc<Mutex<Log<Op, Ret>>>,
}

struct Log<Op, Ret> {
    operations: Vec<Operation<Op, Ret>>,
    events: u64,
}

impl<Op, Ret> Log<Op, Ret> {
    fn moment(&mut self, time: u64) -> Moment {
        let index = self.events;
        self.events += 1;
        Moment { index, time }
    }
}

impl<Op, Ret> History<Op, Ret> {
    /// An empty history.
    pub fn new() -> Self {
        let log = Log { operations: Vec::new(), events: 0 };
        Self { log: Arc::new(Mutex::new(log)) }
    }

    /// Records that `process` asks for `op` at `time_ns`; the returned guard records how it ends.
    ///
    /// A process is meant to have one operation open at a time. One that invokes again while its last
    /// operation is open or of unknown outcome simply leaves that one behind: it may still take effect.
    pub fn invoke_at(&self, process: u64, op: Op, time_ns: u64) -> Call<Op, Ret> {
        let mut log = self.lock();
        let invoked = log.moment(time_ns);
        let slot = log.operations.len();
        log.operations.push(Operation { process, op, invoked, outcome: Outcome::Open });
        Call { history: self.clone(), slot }
    }

    /// The number of operations invoked so far.
    pub fn len(&self) -> usize {
        self.lock().operations.len()
    }

    /// The number of events recorded so far: invocations and ends.
    pub fn events(&self) -> usize {
        self.lock().events as usize
    }

    /// Whether nothing was invoked yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Log<Op, Ret>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, slot: usize, time: u64, outcome: impl FnOnce(Moment) -> Outcome<Ret>) {
        let mut log = self.lock();
        let at = log.moment(time);
        log.operations[slot].outcome = outcome(at);
    }
}

impl<Op: Clone, Ret: Clone> History<Op, Ret> {
    /// A snapshot of all operations in the order of their invocation.
    pub fn operations(&self) -> Vec<Operation<Op, Ret>> {
        self.lock().operations.clone()
    }

    /// What `checker` says of the operations recorded so far.
    pub fn verdict(&self, checker: &impl Checker<Op, Ret>) -> Verdict {
        checker.check(&self.operations())
    }
}

impl<Op, Ret> Clone for History<Op, Ret> {
    fn clone(&self) -> Self {
        Self { log: Arc::clone(&self.log) }
    }
}

impl<Op, Ret> Default for History<Op, Ret> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Op, Ret> fmt::Debug for History<Op, Ret> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// An operation whose end is not recorded yet. Dropping it leaves the operation open.
#[must_use = "dropping the call leaves its operation open: record the end with ok_at, fail_at or info_at"]
pub struct Call<Op, Ret> {
    history: History<Op, Ret>,
    slot: usize,
}

impl<Op, Ret> Call<Op, Ret> {
    /// It took effect and returned `ret`.
    pub fn ok_at(self, ret: Ret, time_ns: u64) {
        self.history.end(self.slot, time_ns, |at| Outcome::Ok { ret, at });
    }

    /// It certainly did not take effect.
    pub fn fail_at(self, time_ns: u64) {
        self.history.end(self.slot, time_ns, |at| Outcome::Fail { at });
    }

    /// Whether it took effect, or will, is unknown.
    pub fn info_at(self, time_ns: u64) {
        self.history.end(self.slot, time_ns, |at| Outcome::Info { at });
    }
}

impl<Op, Ret> fmt::Debug for Call<Op, Ret> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("operation", &self.slot).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_ordered_by_recording_not_by_time_stamp() {
        let history = History::new();
        let first = history.invoke_at(1, 'a', 50);
        let second = history.invoke_at(2, 'b', 10);
        second.ok_at((), 5);
        first.fail_at(60);

        let operations = history.operations();
        assert_eq!(operations[0].invoked, Moment { index: 0, time: 50 });
        assert_eq!(operations[0].outcome, Outcome::Fail { at: Moment { index: 3, time: 60 } });
        assert_eq!(operations[1].acknowledged(), Some((&(), Moment { index: 2, time: 5 })));
    }

    #[test]
    fn a_dropped_call_stays_open_and_its_process_may_go_on() {
        let history: History<char, ()> = History::new();
        drop(history.invoke_at(1, 'a', 0));
        history.invoke_at(1, 'b', 1).info_at(2);

        let operations = history.clone().operations();
        assert_eq!(operations[0].outcome, Outcome::Open);
        assert_eq!(operations[1].outcome, Outcome::Info { at: Moment { index: 2, time: 2 } });
    }

    #[test]
    fn histories_cross_threads_whenever_their_operations_do() {
        fn sendable<T: Send + Sync>() {}
        sendable::<History<String, u64>>();
        sendable::<Call<String, u64>>();
    }

    #[test]
    fn operations_survive_a_round_trip_through_json() {
        let history = History::new();
        history.invoke_at(3, "put".to_string(), 7).ok_at(9_u8, 8);
        let operations = history.operations();
        let json = serde_json::to_string(&operations).expect("operations serialise");
        let back: Vec<Operation<String, u8>> = serde_json::from_str(&json).expect("and come back");
        assert_eq!(back, operations);
    }
}
