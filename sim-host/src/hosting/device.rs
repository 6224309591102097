//! The device: what the kernels of all machines know of their hosted processes.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use sim_core::NodeId;
use sim_core::choice::{Draws, Stream};
use sim_core::device::{self, Device, DeviceId, Down, Process};
use slab::Slab;

use super::baton::Thread;
use super::collector;
use super::descriptor::Description;
use super::heap::Memory;
use super::queue::Queues;

/// Choices of hosted programs; the entity is a thread in one of its node's lives.
const HOST: Stream = Stream::new("host");

/// The choices of a thread.
pub(crate) fn draws_of(process: Process, number: u32) -> Draws {
    let life = u64::from(process.node.0) << 40 | u64::from(process.incarnation.0 & 0xff_ffff) << 16;
    device::draws(HOST, life ^ u64::from(number))
}

/// A choice below `bound` of the thread that runs; 0 is the boring one.
pub(crate) fn below(bound: u64) -> u64 {
    super::baton::me().map_or(0, |me| me.below(bound))
}

/// The least number of a simulated descriptor; no real one gets there.
pub(crate) const FIRST: i32 = 512;

/// A descriptor of some process.
pub(crate) struct Entry {
    pub(crate) owner: Process,
    pub(crate) description: Rc<Description>,
    pub(crate) close_on_exec: bool,
}

/// A hosted process: a node in one of its lives.
pub(crate) struct State {
    pub(crate) process: Process,
    pub(crate) ending: Rc<Ending>,
    pub(crate) threads: u32,
    pub(crate) directory: std::path::PathBuf,
    /// What new files of it are not permitted (umask(2)).
    pub(crate) umask: u32,
    pub(crate) handlers: BTreeMap<i32, libc::sigaction>,
    /// What its standard streams were made to stand for by dup2(2).
    pub(crate) standard: BTreeMap<i32, Rc<Description>>,
    /// Signals that came and wait to be taken.
    pub(crate) pending: u64,
    /// Who waits for which signals; for none, who waits for a handler to have run.
    pub(crate) awaited: Vec<(u64, Waker)>,
    /// Handlers that have run.
    pub(crate) handled: u64,
    pub(crate) memory: Arc<Memory>,
    /// Its destructors may run when it is killed: see [`super::asynchronous`].
    pub(crate) falls_apart: bool,
}

/// How a process ends by itself.
#[derive(Default)]
pub(crate) struct Ending {
    /// What it said: exit(3), abort(3) or a signal.
    said: RefCell<Option<Result<(), String>>>,
    /// Of the task of its main, to be told: the same for all its polls.
    main: OnceCell<Waker>,
}

impl Ending {
    /// What it said, if it has ended; `main` is woken when it does.
    #[inline]
    pub(crate) fn poll(&self, main: &Waker) -> Option<Result<(), String>> {
        self.main.get_or_init(|| main.clone());
        if self.said.borrow().is_some() { self.said.take() } else { None }
    }

    fn say(&self, how: Result<(), String>) {
        self.said.borrow_mut().get_or_insert(how);
        self.main.get().into_iter().for_each(Waker::wake_by_ref);
    }
}

/// All descriptors. Shared with the threads, so that a call need not look for it.
pub(crate) type Table = Rc<RefCell<Slab<Entry>>>;

#[derive(Default)]
pub(crate) struct Hosts {
    pub(crate) table: Table,
    pub(crate) threads: RefCell<BTreeMap<usize, Arc<Thread>>>,
    pub(crate) processes: RefCell<BTreeMap<NodeId, State>>,
    pub(crate) queues: Queues,
    pub(crate) settings: RefCell<BTreeMap<NodeId, super::node::Settings>>,
    pub(crate) output: RefCell<BTreeMap<NodeId, super::output::Printed>>,
    pub(crate) unended: super::output::Unended,
    pub(crate) unix: super::unix::Names,
    pub(crate) groups: super::listening::Groups,
    pub(crate) variables: super::environment::All,
    pub(crate) mappings: super::memory::Mappings,
    pub(crate) streams: super::streams::Streams,
    pub(crate) id: Cell<Option<DeviceId>>,
}

/// What descriptors of the dead stand for.
struct Nowhere;

impl super::descriptor::Object for Nowhere {}

fn nowhere() -> Rc<Description> {
    Description::new(Nowhere)
}

/// The device of the running simulation.
pub(crate) fn hosts() -> Rc<Hosts> {
    device::with("Host::host", |machines: &Machines, id| {
        machines.0.id.set(Some(id));
        machines.0.clone()
    })
}

/// The device, where there is a simulation and it hosts something.
pub(crate) fn existing() -> Option<Rc<Hosts>> {
    device::with_existing(|machines: &Machines| machines.0.clone())
}

impl Hosts {
    /// A new process on the current node.
    pub(crate) fn begin(&self, process: Process, falls_apart: bool) {
        let settings = self.settings.borrow();
        let directory = settings.get(&process.node).and_then(|s| s.directory.clone()).unwrap_or_else(|| "/".into());
        let state = State {
            process,
            ending: Rc::default(),
            threads: 0,
            directory,
            umask: 0o022,
            handlers: BTreeMap::new(),
            standard: BTreeMap::new(),
            pending: 0,
            awaited: Vec::new(),
            handled: 0,
            memory: Arc::new(Memory::new()),
            falls_apart,
        };
        drop(settings);
        let old = self.processes.borrow_mut().insert(process.node, state);
        drop(old);
        collector::collect();
    }

    /// Does something with the process that runs.
    pub(crate) fn with_process<R>(&self, f: impl FnOnce(&mut State) -> R) -> Option<R> {
        let node = sim_core::current_node().id();
        self.processes.borrow_mut().get_mut(&node).map(f)
    }

    /// The number of a new thread of the process that runs: the first has that of the process, as on Linux.
    pub(crate) fn next_thread(&self, process: Process) -> u32 {
        let mut processes = self.processes.borrow_mut();
        let Some(state) = processes.get_mut(&process.node) else { return 0 };
        state.threads += 1;
        1_000 + process.node.0 + (state.threads - 1) * 10_000
    }

    /// What threads of a process allocate from.
    pub(crate) fn memory_of(&self, process: Process) -> Arc<Memory> {
        let processes = self.processes.borrow();
        processes.get(&process.node).map_or_else(|| Arc::new(Memory::new()), |state| state.memory.clone())
    }

    pub(crate) fn thread(&self, id: libc::pthread_t) -> Option<Arc<Thread>> {
        self.threads.borrow().get(&(id as usize)).cloned()
    }

    /// The tasks of the threads of a process.
    pub(crate) fn tasks_of(&self, process: Process) -> Vec<sim_core::AbortHandle> {
        let threads = self.threads.borrow();
        threads.values().filter(|thread| thread.process == process).filter_map(|thread| thread.task.get()).collect()
    }

    /// Ends a process: its threads die where they stand, its descriptors close.
    pub(crate) fn end(&self, process: Process) {
        self.streams.forget(process, true);
        self.end_with(process, true);
    }

    /// As [`end`](Hosts::end); the memory of its machine may have gone with it.
    fn end_with(&self, process: Process, machine_lives: bool) {
        self.end_threads(process, machine_lives);
        self.close_all(process);
    }

    fn end_threads(&self, process: Process, machine_lives: bool) {
        let of = |thread: &&Arc<Thread>| thread.process == process;
        let threads: Vec<Arc<Thread>> = self.threads.borrow().values().filter(of).cloned().collect();
        if threads.iter().any(|thread| !thread.root.exists() && !thread.is_finished()) {
            threads.iter().for_each(|thread| thread.root.forget());
        }
        for thread in threads {
            let running = super::baton::me().is_some_and(|me| std::ptr::eq(me, &*thread));
            if let Some(task) = thread.task.take().filter(|_| !running) {
                task.abort();
            }
            thread.release();
        }
        self.threads.borrow_mut().retain(|_, thread| thread.process != process);
        self.queues.forget(process);
        self.unix.forget(process);
        self.streams.forget(process, false);
        self.unended.end(process.node);
        self.mappings.forget(process, machine_lives);
    }

    /// A process dies whose destructors will run: its descriptors keep their numbers, and lead nowhere.
    pub(crate) fn cut_off(&self, process: Process) {
        let mut table = self.table.borrow_mut();
        let of = |(_, entry): &(usize, &mut Entry)| entry.owner == process && !entry.description.outlives_its_process();
        let entries = table.iter_mut().filter(of);
        let cut: Vec<_> = entries.map(|(_, entry)| std::mem::replace(&mut entry.description, nowhere())).collect();
        drop(table);
        drop(cut);
    }

    /// Closes what descriptors a process has.
    pub(crate) fn close_all(&self, process: Process) {
        let mut table = self.table.borrow_mut();
        let of = |(_, entry): &(usize, &Entry)| entry.owner == process && !entry.description.outlives_its_process();
        let slots: Vec<usize> = table.iter().filter(of).map(|(slot, _)| slot).collect();
        let entries: Vec<Entry> = slots.into_iter().map(|slot| table.remove(slot)).collect();
        drop(table);
        // Closed once the table is free again: a close may wake, and a wake may look here.
        for entry in entries {
            entry.description.abandon();
        }
    }

    /// The process that runs ends by itself. Its main's task sees to the rest.
    pub(crate) fn exits(&self, how: Result<(), String>) {
        if let Some(ending) = self.with_process(|state| state.ending.clone()) {
            ending.say(how);
        }
    }
}

/// The device.
#[derive(Default)]
struct Machines(Rc<Hosts>);

impl Drop for Machines {
    fn drop(&mut self) {
        // A thread that was killed in the middle of a call may hold on to the table for ever.
        let left = self.0.table.take();
        drop(left);
    }
}

impl Device for Machines {
    fn node_down(&self, node: NodeId, how: Down) {
        let (hosts, machine_lives) = (&self.0, how == Down::Kill);
        let state = hosts.processes.borrow_mut().remove(&node);
        match state.map(|state| (state.process, state.falls_apart)) {
            Some((process, true)) => {
                hosts.end_threads(process, machine_lives);
                hosts.cut_off(process);
            }
            Some((process, false)) => hosts.end_with(process, machine_lives),
            None => {}
        }
    }

    fn describe_wait(&self, what: &'static str, token: u64) -> String {
        let thread = self.0.threads.borrow().values().find(|thread| u64::from(thread.number) == token).cloned();
        match thread {
            None => what.to_string(),
            Some(thread) => {
                let stack = super::stack::of_the_program(&thread.tell_stack());
                format!("thread `{}` waits in {what}{stack}", thread.name())
            }
        }
    }
}
