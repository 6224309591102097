//! Operations as the clients of a system saw them.
//!
//! The order of a history is the order in which its events were recorded, never the order of its time
//! stamps: two events at the same simulated instant still happened one after the other.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

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

    /// When its client learned how it ended, or gave up.
    pub fn ended(&self) -> Option<Moment> {
        match &self.outcome {
            Outcome::Ok { at, .. } | Outcome::Fail { at } | Outcome::Info { at } => Some(*at),
            Outcome::Open => None,
        }
    }

    /// Whether the operation is known not to have happened.
    pub fn failed(&self) -> bool {
        matches!(self.outcome, Outcome::Fail { .. })
    }
}

/// A recorder of operations: a cheap handle that the tasks of a run share by cloning it.
///
/// Recording takes no lock: an event is a number from a counter and a place of its own that is written once. (Memory for
/// more operations is asked for each time their number has doubled; threads that come to that at once wait for one another.)
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
    log: Arc<Log<Op, Ret>>,
}

/// Entries in chunks, each twice as large as the one before, so that none ever moves.
struct Log<Op, Ret> {
    /// How many operations were invoked and how many events there are, which are both counted in one step.
    counts: AtomicU64,
    chunks: [OnceLock<Chunk<Op, Ret>>; CHUNKS],
}

type Chunk<Op, Ret> = Box<[Entry<Op, Ret>]>;

/// An operation: written when it is invoked, and when it ends.
struct Entry<Op, Ret> {
    invoked: OnceLock<Invoked<Op>>,
    /// Nothing while its end may still be told.
    outcome: OnceLock<Outcome<Ret>>,
}

struct Invoked<Op> {
    process: u64,
    op: Op,
    at: Moment,
}

/// One more operation in [`Log::counts`]; an event is 1.
const OPERATION: u64 = 1 << 32;
/// The size of the first chunk, and how many chunks hold as many operations as can be counted.
const FIRST: usize = 32;
const CHUNKS: usize = 28;

impl<Op, Ret> Log<Op, Ret> {
    fn new() -> Self {
        Log { counts: AtomicU64::new(0), chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    /// How many operations were invoked, and how many events there are.
    fn counts(&self) -> (usize, u64) {
        split(self.counts.load(Ordering::Acquire))
    }

    fn entry(&self, number: usize) -> &Entry<Op, Ret> {
        let (chunk, place) = place(number);
        &self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| Entry::default()).collect())[place]
    }

    fn invoke(&self, process: u64, op: Op, time: u64) -> usize {
        let (number, index) = split(self.counts.fetch_add(OPERATION + 1, Ordering::AcqRel));
        let invoked = Invoked { process, op, at: Moment { index, time } };
        let first = self.entry(number).invoked.set(invoked).is_ok();
        debug_assert!(first, "no two operations have a number");
        number
    }

    fn end(&self, number: usize, time: u64, outcome: impl FnOnce(Moment) -> Outcome<Ret>) {
        let (_, index) = split(self.counts.fetch_add(1, Ordering::AcqRel));
        let first = self.entry(number).outcome.set(outcome(Moment { index, time })).is_ok();
        debug_assert!(first, "a call ends once");
    }

    /// Nobody will tell the end of an operation, unless somebody did. That is no event.
    fn abandon(&self, number: usize) {
        let _ = self.entry(number).outcome.set(Outcome::Open);
    }
}

fn split(counts: u64) -> (usize, u64) {
    ((counts / OPERATION) as usize, counts % OPERATION)
}

/// The chunk of an operation, and its place there.
fn place(number: usize) -> (usize, usize) {
    let chunk = (number / FIRST + 1).ilog2() as usize;
    (chunk, number - FIRST * ((1 << chunk) - 1))
}

impl<Op, Ret> Default for Entry<Op, Ret> {
    fn default() -> Self {
        Entry { invoked: OnceLock::new(), outcome: OnceLock::new() }
    }
}

impl<Op: Clone, Ret: Clone> Entry<Op, Ret> {
    /// The operation, unless another thread is about to write it down: then nobody was asked for it yet.
    fn operation(&self) -> Option<Operation<Op, Ret>> {
        let Invoked { process, op, at } = self.invoked.get()?;
        let outcome = self.outcome.get().cloned().unwrap_or(Outcome::Open);
        Some(Operation { process: *process, op: op.clone(), invoked: *at, outcome })
    }
}

impl<Op, Ret> History<Op, Ret> {
    /// An empty history.
    pub fn new() -> Self {
        Self { log: Arc::new(Log::new()) }
    }

    /// Records that `process` asks for `op` at `time_ns`; the returned guard records how it ends.
    ///
    /// A process is meant to have one operation open at a time. One that invokes again while its last
    /// operation is open or of unknown outcome simply leaves that one behind: it may still take effect.
    ///
    /// A history has room for 2^32 events.
    pub fn invoke_at(&self, process: u64, op: Op, time_ns: u64) -> Call<Op, Ret> {
        let number = self.log.invoke(process, op, time_ns);
        Call { history: self.clone(), number }
    }

    /// The number of operations invoked so far.
    pub fn len(&self) -> usize {
        self.log.counts().0
    }

    /// The number of events recorded so far: invocations and ends.
    pub fn events(&self) -> usize {
        self.log.counts().1 as usize
    }

    /// Whether nothing was invoked yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<Op: Clone, Ret: Clone> History<Op, Ret> {
    /// A snapshot of all operations in the order of their invocation.
    pub fn operations(&self) -> Vec<Operation<Op, Ret>> {
        (0..self.len()).filter_map(|number| self.log.entry(number).operation()).collect()
    }

    /// A copy of the operation that was invoked after `number` others.
    pub fn operation(&self, number: usize) -> Option<Operation<Op, Ret>> {
        (number < self.len()).then(|| self.log.entry(number).operation()).flatten()
    }

    /// Whether the end of an operation may still be told.
    pub(crate) fn is_pending(&self, number: usize) -> bool {
        self.log.entry(number).outcome.get().is_none()
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
    number: usize,
}

impl<Op, Ret> Call<Op, Ret> {
    /// How many operations were invoked before this one.
    pub fn number(&self) -> usize {
        self.number
    }

    /// It took effect and returned `ret`.
    pub fn ok_at(self, ret: Ret, time_ns: u64) {
        self.history.log.end(self.number, time_ns, |at| Outcome::Ok { ret, at });
    }

    /// It certainly did not take effect.
    pub fn fail_at(self, time_ns: u64) {
        self.history.log.end(self.number, time_ns, |at| Outcome::Fail { at });
    }

    /// Whether it took effect, or will, is unknown.
    pub fn info_at(self, time_ns: u64) {
        self.history.log.end(self.number, time_ns, |at| Outcome::Info { at });
    }
}

impl<Op, Ret> Drop for Call<Op, Ret> {
    fn drop(&mut self) {
        self.history.log.abandon(self.number);
    }
}

impl<Op, Ret> fmt::Debug for Call<Op, Ret> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("operation", &self.number).finish_non_exhaustive()
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
    fn every_operation_has_a_place_of_its_own() {
        let mut last = (0, 0);
        for number in 1..10_000 {
            let (chunk, at) = place(number);
            assert!(at < FIRST << chunk);
            assert!(if chunk == last.0 { at == last.1 + 1 } else { (chunk, at) == (last.0 + 1, 0) }, "{number}");
            last = (chunk, at);
        }
        assert!(place(u32::MAX as usize).0 < CHUNKS);
    }

    #[test]
    fn threads_that_record_at_once_lose_nothing() {
        let history = History::new();
        std::thread::scope(|scope| {
            for process in 0..4 {
                let history = &history;
                scope.spawn(move || (0..1_000).for_each(|n| history.invoke_at(process, n, 0).ok_at(n, 0)));
            }
        });
        let operations = history.operations();
        assert_eq!((operations.len(), history.events()), (4_000, 8_000));
        assert!(operations.windows(2).all(|pair| pair[0].invoked < pair[1].invoked));
        for process in 0..4 {
            let of_one = operations.iter().filter(|operation| operation.process == process);
            let answers = of_one.map(|operation| operation.acknowledged().map(|(ret, _)| *ret));
            assert!(answers.eq((0..1_000).map(Some)));
        }
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
