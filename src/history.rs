//! The joint between the simulated clock and histories: what clients saw, stamped with simulated time.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sim_check::online::Watch;
use sim_check::picture::{Band, Picture, timeline};
use sim_check::{Checker, Moment, Operation, Verdict};
use sim_core::{Outcome, fault, time};

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
pub struct History<Op, Ret> {
    log: sim_check::History<Op, Ret>,
    watches: Watches<Op, Ret>,
}

/// What is looked at after every end. Nothing, and no lock, until something is asked to watch.
type Watches<Op, Ret> = Arc<OnceLock<Mutex<Vec<Watch<Op, Ret>>>>>;

impl<Op, Ret> History<Op, Ret> {
    /// An empty history.
    pub fn new() -> Self {
        History { log: sim_check::History::new(), watches: Watches::default() }
    }

    /// Records that client `process` asks for `op` now. A client has one operation open at a time.
    ///
    /// # Panics
    /// Outside a simulation.
    #[track_caller]
    pub fn invoke(&self, process: u64, op: Op) -> Call<Op, Ret> {
        Call { call: self.log.invoke_at(process, op, now_ns()), history: self.clone() }
    }

    /// How many operations were invoked.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.log.is_empty()
    }
}

impl<Op: Clone, Ret: Clone> History<Op, Ret> {
    /// A copy of the operations, in the order of their invocation.
    pub fn operations(&self) -> Vec<Operation<Op, Ret>> {
        self.log.operations()
    }

    /// Demands that the history is what `checker` allows; ends the run otherwise: as incorrect with the evidence and a
    /// timeline of it, or as vacuous where there was nothing to check or the checker could not decide within its budget.
    #[track_caller]
    pub fn check(&self, checker: impl Checker<Op, Ret>) {
        match self.log.verdict(&checker) {
            Verdict::Valid => {}
            Verdict::Invalid(evidence) => self.fail(Verdict::Invalid(evidence)),
            verdict => sim_core::fail(Outcome::Vacuous, format!("the history decides nothing: {verdict}")),
        }
    }

    /// What `checker` says, and a picture of it with the faults that struck so far as bands: for
    /// [`page`](sim_check::picture::page), which makes an HTML file of it.
    ///
    /// ```
    /// use sim::check::model::{RegisterOp, RegisterRet};
    /// use sim::check::picture::page;
    /// use sim::prelude::*;
    ///
    /// let report = sim::simulation(1).run(|| async {
    ///     node("store").start(|| sim::time::sleep(9.secs()));
    ///     let history = History::new();
    ///     faults().at(1.secs(), pause("store").lasting(2.secs()));
    ///     for second in 0..5 {
    ///         history.invoke(0, RegisterOp::Read).ok(RegisterRet::Value(second / 4));
    ///         sim::time::sleep(1.secs()).await;
    ///     }
    ///     let (verdict, picture) = history.picture("a store", &linearizable(Register::<i64>::default()));
    ///     assert!(verdict.evidence().is_some(), "nobody wrote 1");
    ///     let page = page(&[picture]); // for std::fs::write("store.html", page)
    ///     assert!(page.contains("class=\"band\"") && page.contains("pause store"), "{page}");
    /// });
    /// assert!(report.passed(), "{}", report.message);
    /// ```
    pub fn picture(&self, title: impl Into<String>, checker: &impl Checker<Op, Ret>) -> (Verdict, Picture)
    where
        Op: Debug,
        Ret: Debug,
    {
        let (operations, verdict) = (self.operations(), self.log.verdict(checker));
        let picture = Picture::of_any(title, &operations, self.bands(), &verdict);
        (verdict, picture)
    }

    /// The faults that struck so far, among the events of the history.
    fn bands(&self) -> Vec<Band> {
        let operations = self.operations();
        let moments = operations.iter().flat_map(|operation| [Some(operation.invoked), operation.ended()]);
        let mut times: Vec<u64> = moments.flatten().map(|moment| moment.time).collect();
        times.sort_unstable();
        let moment = |time: u64| Moment { index: times.partition_point(|earlier| *earlier < time) as u64, time };
        let band = |(at, fault): (Duration, fault::Fault)| Band {
            what: fault.to_string(),
            from: moment(nanos(at)),
            to: fault.lasting.map(|lasting| moment(nanos(at.saturating_add(lasting.0)))),
        };
        fault::struck().into_iter().map(band).collect()
    }

    #[track_caller]
    fn fail(&self, verdict: Verdict) -> ! {
        let timeline = timeline(&verdict, &self.bands());
        sim_core::fail(Outcome::Incorrect, format!("{verdict}\n{}", timeline.trim_end()))
    }
}

impl<Op: Clone + Send + 'static, Ret: Clone + Send + 'static> History<Op, Ret> {
    /// Demands from now on that the history is what `checker` allows: the run ends at the first violation, while the system
    /// is still in the state that led to it.
    ///
    /// [`linearizable`](sim_check::linearizable()) and [`folded`](sim_check::online::folded) checks judge every event as it
    /// comes. Others judge the whole history whenever it has grown by an eighth, and end the run soon after.
    ///
    /// ```
    /// use sim::prelude::*;
    /// use sim::check::model::{RegisterOp, RegisterRet};
    ///
    /// let report = sim::simulation(1).run(|| async {
    ///     let history = History::new();
    ///     history.watch(linearizable(Register::<i64>::default()));
    ///     history.invoke(0, RegisterOp::Read).ok(RegisterRet::Value(7));
    ///     unreachable!("the run is over");
    /// });
    /// assert_eq!(report.outcome, Outcome::Incorrect);
    /// ```
    pub fn watch(&self, checker: impl Checker<Op, Ret> + Send + 'static) {
        let watches = self.watches.get_or_init(Mutex::default);
        watches.lock().unwrap_or_else(PoisonError::into_inner).push(Watch::new(checker));
    }
}

impl<Op: Clone, Ret: Clone> History<Op, Ret> {
    /// Ends the run if somebody who watches finds the history wrong.
    #[track_caller]
    fn look(&self) {
        let Some(watches) = self.watches.get() else { return };
        let mut watches = watches.lock().unwrap_or_else(PoisonError::into_inner);
        let broken = watches.iter_mut().find_map(|watch| watch.look(&self.log));
        drop(watches);
        if let Some(evidence) = broken {
            self.fail(Verdict::Invalid(Box::new(evidence)));
        }
    }
}

impl<Op, Ret> Clone for History<Op, Ret> {
    fn clone(&self) -> Self {
        History { log: self.log.clone(), watches: Arc::clone(&self.watches) }
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
pub struct Call<Op, Ret> {
    call: sim_check::Call<Op, Ret>,
    history: History<Op, Ret>,
}

impl<Op: Clone, Ret: Clone> Call<Op, Ret> {
    /// It took effect and gave `ret`.
    #[track_caller]
    pub fn ok(self, ret: Ret) {
        self.call.ok_at(ret, now_ns());
        self.history.look();
    }

    /// It certainly did not take effect.
    #[track_caller]
    pub fn fail(self) {
        self.call.fail_at(now_ns());
        self.history.look();
    }

    /// Nobody knows whether it took effect: a timeout, a connection that broke.
    #[track_caller]
    pub fn info(self) {
        self.call.info_at(now_ns());
        self.history.look();
    }
}

#[track_caller]
fn now_ns() -> u64 {
    nanos(time::elapsed())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
