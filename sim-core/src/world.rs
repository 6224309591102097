//! The private half of a simulation: all of its state, and the one way to reach it.
//!
//! The world of the running simulation stands in one thread-local slot. [`with`] is how every public function finds
//! it. State is kept in separate cells, so that a device may wake a task while it looks at a node. No code of a user
//! (a future, a destructor, a waker of theirs) ever runs while a cell is borrowed.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use crate::Seed;
use crate::agenda::{Agenda, TimerKey};
use crate::choice::{Choices, Draws, Stream};
use crate::device::{Device, Devices};
use crate::event::{EventKind, Log};
use crate::fault::Faults;
use crate::life::Nodes;
use crate::mark::Marks;
use crate::node::NodeId;
use crate::outcome::Failure;
use crate::progress::Progress;
use crate::tasks::{Tag, TaskId, Tasks, Wait};

thread_local! {
    /// Not dropped with the thread: what runs while a thread is torn down is still of the simulation.
    static CURRENT: RefCell<Option<ManuallyDrop<Rc<World>>>> = const { RefCell::new(None) };
}

/// After so many reads of clocks within one poll, each further read takes [`READ_COST`].
const FREE_READS: u32 = 100;

/// Nanoseconds.
const READ_COST: u64 = 1_000;

/// Who is running: the task being polled, or the supervisor between polls.
#[derive(Clone, Copy)]
pub(crate) struct Running {
    pub(crate) node: NodeId,
    pub(crate) task: Option<TaskId>,
    /// The node died under this code: it finishes its step, and nothing it does reaches anything.
    pub(crate) dead: bool,
}

impl Running {
    pub(crate) const fn supervisor() -> Self {
        Running { node: NodeId::SUPERVISOR, task: None, dead: false }
    }
}

/// What a monotonic clock showed, and to whom. Nothing else is shown until time moves or the clock changes.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) node: NodeId,
    /// In true time.
    pub(crate) at: u64,
    pub(crate) shown: u64,
}

impl Reading {
    pub(crate) const NONE: Reading = Reading { node: NodeId::SUPERVISOR, at: u64::MAX, shown: 0 };
}

pub(crate) struct World {
    pub(crate) id: u64,
    pub(crate) tag: Arc<Tag>,
    pub(crate) seed: Seed,
    now: Cell<u64>,
    pub(crate) running: Cell<Running>,
    pub(crate) ready: RefCell<Vec<TaskId>>,
    pub(crate) schedule: RefCell<Draws>,
    pub(crate) tasks: RefCell<Tasks>,
    pub(crate) waiting: Cell<Wait>,
    pub(crate) agenda: RefCell<Agenda>,
    pub(crate) nodes: RefCell<Nodes>,
    pub(crate) choices: Choices,
    pub(crate) log: RefCell<Log>,
    pub(crate) faults: RefCell<Faults>,
    pub(crate) devices: Devices,
    pub(crate) marks: RefCell<Marks>,
    pub(crate) failure: RefCell<Option<Failure>>,
    pub(crate) finished: Cell<bool>,
    pub(crate) clock_reads: Cell<u32>,
    /// The last one.
    pub(crate) reading: Cell<Reading>,
    /// What runs is a program that was not written for the simulation.
    pub(crate) hosting: Cell<bool>,
    /// How many nodes are out of memory, and die in their next operation.
    pub(crate) exhausted: Cell<u32>,
    pub(crate) progress: Option<Arc<Progress>>,
}

static WORLDS: AtomicU64 = AtomicU64::new(1);

impl World {
    pub(crate) fn new(seed: Seed, choices: Choices, recording: bool, progress: Option<Arc<Progress>>) -> Self {
        World {
            id: WORLDS.fetch_add(1, Ordering::Relaxed),
            tag: Arc::default(),
            seed,
            now: Cell::new(0),
            running: Cell::new(Running::supervisor()),
            ready: RefCell::default(),
            schedule: RefCell::new(choices.stream(Stream::SCHEDULE, 0)),
            tasks: RefCell::default(),
            waiting: Cell::new(Wait::Unknown),
            agenda: RefCell::default(),
            nodes: RefCell::default(),
            log: RefCell::new(Log::new(recording)),
            faults: RefCell::default(),
            devices: Devices::default(),
            marks: RefCell::default(),
            choices,
            failure: RefCell::default(),
            finished: Cell::new(false),
            clock_reads: Cell::new(0),
            reading: Cell::new(Reading::NONE),
            hosting: Cell::new(false),
            exhausted: Cell::new(0),
            progress,
        }
    }

    /// The true time, in nanoseconds since the start of the simulation.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// Moves the time on. Only the executor calls this.
    #[inline]
    pub(crate) fn set_now(&self, now: u64) {
        debug_assert!(now >= self.now());
        self.now.set(now);
    }

    /// Whether the code that is running is alive: what the dead do reaches nothing.
    #[inline]
    pub(crate) fn acts(&self) -> bool {
        !self.running.get().dead
    }

    #[inline]
    pub(crate) fn current_node(&self) -> NodeId {
        self.running.get().node
    }

    /// Adds an event of the current node.
    #[inline]
    pub(crate) fn emit(&self, kind: impl Into<EventKind>, fields: &[u64], text: impl FnOnce() -> String) {
        self.emit_at(self.current_node(), kind, fields, text);
    }

    /// Adds an event of a node, unless the code that is running belongs to a dead one.
    #[inline]
    pub(crate) fn emit_at(
        &self,
        node: NodeId,
        kind: impl Into<EventKind>,
        fields: &[u64],
        text: impl FnOnce() -> String,
    ) {
        if self.running.get().dead {
            return;
        }
        let kind = kind.into();
        self.log.borrow_mut().note(self.now(), node.0, kind, fields);
        let recording = self.log.borrow().is_recording();
        if recording {
            let text = text();
            let name = self.nodes.borrow()[node].name.to_string();
            self.log.borrow_mut().describe(self.now(), name, kind, text);
        }
    }

    /// Sets a timer on the monotonic clock of the current node.
    pub(crate) fn add_timer(&self, local_deadline: u64, waker: Waker) -> TimerKey {
        let node = self.current_node();
        let at = self.nodes.borrow()[node].clock.true_time_of(local_deadline).max(self.now());
        self.agenda.borrow_mut().add_timer(at, node, local_deadline, waker)
    }

    /// A program reads a clock of the current node, and sees what faults made of it.
    #[inline]
    pub(crate) fn see_clock(&self) {
        let Ok(mut nodes) = self.nodes.try_borrow_mut() else { return };
        let unseen = &mut nodes[self.current_node()].clock.unseen;
        if !unseen.is_empty() {
            let seen = std::mem::take(unseen);
            drop(nodes);
            seen.into_iter().for_each(|fault| self.observe(fault));
        }
    }

    /// Another read of the monotonic clock at the moment of the last one, if it is one.
    #[inline]
    pub(crate) fn read_again(&self) -> Option<u64> {
        let (last, reads) = (self.reading.get(), self.clock_reads.get());
        let again = last.at == self.now() && last.node == self.current_node() && reads < FREE_READS;
        again.then(|| {
            self.clock_reads.set(reads + 1);
            last.shown
        })
    }

    /// Counts a read of a clock. A program that spins within one poll until time has passed comes out of its loop, and
    /// one that reads its clock now and then sees exact times.
    pub(crate) fn pay_for_read(&self) {
        let reads = self.clock_reads.get();
        if reads < FREE_READS {
            self.clock_reads.set(reads + 1);
        } else {
            self.now.set(self.now().saturating_add(READ_COST));
        }
    }

    /// Moves the timers of a node to where its changed clock puts them. Whether there were any.
    pub(crate) fn replan_timers(&self, node: NodeId) -> bool {
        let nodes = self.nodes.borrow();
        let clock = &nodes[node].clock;
        let moved = self.agenda.borrow_mut().replan(node, |local| clock.true_time_of(local).max(self.now()));
        drop(nodes);
        moved
    }

    /// Runs `call` after `delay` nanoseconds of true time.
    pub(crate) fn call_after(&self, delay: u64, call: impl FnOnce() + 'static) {
        let at = self.now().saturating_add(delay);
        self.agenda.borrow_mut().add_call(at, Box::new(call));
    }

    /// Ends the run with a failure, unless it already has one.
    pub(crate) fn fail(&self, failure: Failure) {
        if !self.running.get().dead {
            self.failure.borrow_mut().get_or_insert(failure);
        }
    }

    pub(crate) fn each_device(&self, tell: impl Fn(&dyn Device)) {
        self.devices.all().for_each(tell);
    }
}

/// Calls `f` with the current world.
///
/// # Panics
/// Outside a simulation; `what` is the function that was called, as a user writes it after `sim::`.
#[track_caller]
#[inline]
pub(crate) fn with<R>(what: &str, f: impl FnOnce(&World) -> R) -> R {
    match try_with(f) {
        Some(value) => value,
        None => outside(what),
    }
}

#[track_caller]
#[cold]
fn outside(what: &str) -> ! {
    panic!(
        "sim::{what} was called outside a simulation: none is running on this thread. Call it from a test annotated \
         with #[sim::test], from a node started by sim::node(\"..\").start(..), or inside \
         sim::simulation(seed).run(..); and not from a thread of your own"
    );
}

/// Calls `f` with the current world, if there is one.
#[inline]
pub(crate) fn try_with<R>(f: impl FnOnce(&World) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.try_borrow().ok()?.as_ref().map(|world| f(world))).ok().flatten()
}

/// The world of this thread, to be shared with another one.
pub(crate) fn current() -> Option<Rc<World>> {
    CURRENT.with(|current| current.borrow().as_deref().cloned())
}

/// Makes a world the current one of this thread, or none. Returns what was before.
pub(crate) fn set_current(world: Option<Rc<World>>) -> Option<Rc<World>> {
    let world = world.map(ManuallyDrop::new);
    CURRENT.with(|current| std::mem::replace(&mut *current.borrow_mut(), world)).map(ManuallyDrop::into_inner)
}

/// Makes a world the current one of this thread until the guard is dropped.
#[must_use = "the world is current only while this guard lives"]
pub(crate) struct Entered(());

impl Entered {
    /// # Panics
    /// When a simulation is already running on this thread.
    #[track_caller]
    pub(crate) fn enter(world: Rc<World>) -> Self {
        assert!(
            try_with(|_| ()).is_none(),
            "a second simulation was started inside a running one. One simulation holds every node: start them with \
             sim::node(\"..\").start(..) in the simulation that is running, or run the second one after it"
        );
        set_current(Some(world));
        Entered(())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(set_current(None));
    }
}
