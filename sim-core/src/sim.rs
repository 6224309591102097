//! One simulation: its options, its run, its report.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::Seed;
use crate::choice::{Choices, Driver, nanos};
use crate::fault::{self, FaultKind, Plan};
use crate::node::{MainResult, NodeId};
use crate::outcome::{Failure, Outcome, Report};
use crate::panics;
use crate::progress::Progress;
use crate::trace;
use crate::world::{self, Entered, World};

/// One simulation of one seed, before it runs.
///
/// ```
/// use sim_core::{Seed, Sim, Units, time};
/// let report = Sim::new(Seed(7)).run(|| async {
///     time::sleep(10.ms()).await;
///     assert_eq!(time::elapsed(), 10.ms());
/// });
/// assert!(report.passed(), "{}", report.message);
/// ```
#[must_use = "a simulation does nothing until it is run"]
pub struct Sim {
    seed: Seed,
    kinds: Vec<&'static [FaultKind]>,
    muted: Vec<String>,
    driver: Option<Rc<RefCell<dyn Driver>>>,
    recording: bool,
    time_limit: Duration,
    progress: Option<Arc<Progress>>,
}

impl Sim {
    /// A simulation that has an hour of simulated time.
    pub fn new(seed: impl Into<Seed>) -> Self {
        Sim {
            seed: seed.into(),
            kinds: vec![fault::KINDS],
            muted: Vec::new(),
            driver: None,
            recording: false,
            time_limit: Duration::from_secs(3600),
            progress: None,
        }
    }

    /// Adds the fault kinds of a device.
    pub fn with_faults(mut self, kinds: &'static [FaultKind]) -> Self {
        self.kinds.push(kinds);
        self
    }

    /// Lets faults of a kind fire and do nothing. A test that passes all the same did not need the fault: so a fault test
    /// is tested.
    pub fn mute_fault(mut self, kind: &str) -> Self {
        self.muted.push(kind.to_string());
        self
    }

    /// Lets a driver decide in place of chance.
    pub fn driver(mut self, driver: Rc<RefCell<dyn Driver>>) -> Self {
        self.driver = Some(driver);
        self
    }

    /// Keeps the events in words, and what the program logs with `tracing`. Does not change the run.
    pub fn record(mut self, recording: bool) -> Self {
        self.recording = recording;
        self
    }

    /// Gives the run so much simulated time; after that it is stuck.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Lets a watchdog on another thread see how far the run is.
    pub fn progress(mut self, progress: Arc<Progress>) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Runs `body` on the node called `test` until it returns, on this thread, and reports.
    ///
    /// # Panics
    /// Inside another simulation. A panic of the code under test is no panic here: it is in the report.
    #[track_caller]
    pub fn run<F, Fut>(self, body: F) -> Report
    where
        F: FnOnce() -> Fut,
        Fut: Future + 'static,
        Fut::Output: MainResult,
    {
        let site = Location::caller();
        panics::install_hook();
        let choices = Choices::new(self.seed, self.driver);
        let world = Rc::new(World::new(self.seed, choices, self.recording, self.progress));
        world.faults.borrow_mut().set_kinds(self.kinds, self.muted);
        let entered = Entered::enter(world.clone());
        let run = || {
            let body_result = Rc::new(Cell::new(None));
            start_body(&world, body, body_result.clone(), site);
            if let Err(Some(caught)) = panics::catch(|| world.run_until_finished(nanos(self.time_limit))) {
                let message = caught.explain("in the simulator itself: please report this with the seed");
                world.fail(Failure::new(Outcome::Panicked, message));
            }
            body_result.take()
        };
        let result = if self.recording { trace::recording(run) } else { run() };
        if let Some(Err(error)) = result {
            world.fail(Failure::new(Outcome::Panicked, format!("the test returned an error: {error}")));
        }
        let report = report(&world);
        world.cancel_all();
        drop(entered);
        report
    }
}

fn start_body<F, Fut>(
    world: &World,
    body: F,
    result: Rc<Cell<Option<Result<(), String>>>>,
    site: &'static Location<'static>,
) where
    F: FnOnce() -> Fut,
    Fut: Future + 'static,
    Fut::Output: MainResult,
{
    let future = match panics::catch(body) {
        Ok(future) => future,
        Err(caught) => {
            let message = caught.map_or_else(String::new, |caught| caught.explain("before its first await"));
            return world.fail(Failure::new(Outcome::Panicked, message));
        }
    };
    let root = async move {
        result.set(Some(future.await.into_result()));
        world::with("test", |world| world.finished.set(true));
    };
    if let Some(progress) = &world.progress {
        progress.name_node("test");
    }
    world.spawn(NodeId::SUPERVISOR, root, true, site);
}

pub(crate) fn report(world: &World) -> Report {
    let faults = world.faults.borrow();
    let failure = world.foreign_wake().or_else(|| world.failure.borrow().clone()).or_else(|| {
        let missed = faults.missed()?;
        let message = format!(
            "a fault that the test asked for never fired: {missed}\nLet it fire (an earlier time, a pattern that matches), or \
             say .may_miss() where that is fine"
        );
        Some(Failure::new(Outcome::Vacuous, message))
    });
    let (outcome, message) = failure.map_or((Outcome::Passed, String::new()), |f| (f.outcome, f.message));
    let mut log = world.log.borrow_mut();
    Report {
        test: String::new(),
        seed: world.seed.0,
        outcome,
        message,
        sim_ns: world.now(),
        events: log.count(),
        digest: log.digest(),
        faults: faults.report(),
        struck: if outcome == Outcome::Passed { Plan::new() } else { faults.as_struck() },
        reached: world.marks.borrow().reached(),
        output: String::new(),
        log: log.take_lines(),
    }
}

/// Ends the run with a failure and leaves the current task.
///
/// # Panics
/// Outside a simulation it panics with the message.
#[track_caller]
pub fn fail(outcome: Outcome, message: impl Into<String>) -> ! {
    let message = message.into();
    match world::try_with(|world| world.fail(Failure::new(outcome, message.clone()))) {
        Some(()) => panics::leave(),
        None => panic!("{message}"),
    }
}
