//! The table of tasks: futures, their wakers, and what becomes of both.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use pin_project::pin_project;
use slab::Slab;

use crate::node::NodeId;
use crate::panics::{self, Caught};
use crate::world::{self, Running, World};

/// A task's place in the slab and its number in the order of spawning, which is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskId {
    pub(crate) slot: u32,
    pub(crate) serial: u64,
}

impl TaskId {
    /// The task that code of the dead spawns: it has ended before it began.
    pub(crate) const NONE: TaskId = TaskId { slot: u32::MAX, serial: 0 };
}

/// What a pending task said it waits for.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    Unknown,
    Sleep { local_deadline: u64 },
    Join(TaskId),
    Node(NodeId),
    Stop,
    Device { device: u32, what: &'static str, token: u64 },
}

/// A future and then its output, in one allocation.
#[pin_project(project = StageProjection)]
enum Stage<F: Future> {
    Running(#[pin] F),
    Done(Option<F::Output>),
}

/// A [`Stage`] without its types.
trait Work {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;
    /// Moves the output into `slot`, an `Option` of its type.
    fn take_output(self: Pin<&mut Self>, slot: &mut dyn Any);
}

impl<F: Future<Output: 'static>> Work for Stage<F> {
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let StageProjection::Running(future) = self.as_mut().project() else {
            return Poll::Ready(());
        };
        match future.poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(output) => {
                self.set(Stage::Done(Some(output)));
                Poll::Ready(())
            }
        }
    }

    fn take_output(self: Pin<&mut Self>, slot: &mut dyn Any) {
        if let (StageProjection::Done(output), Some(slot)) = (self.project(), slot.downcast_mut()) {
            *slot = output.take();
        }
    }
}

/// What all wakers of a world share.
#[derive(Default)]
pub(crate) struct Tag {
    /// A thread that does not run this world has woken a task of it.
    woken_from_outside: AtomicBool,
}

/// Puts its task on the ready list.
struct TaskWaker {
    slot: u32,
    serial: u64,
    tag: Arc<Tag>,
    queued: AtomicBool,
}

impl TaskWaker {
    #[inline]
    fn notify(&self) {
        let here = world::try_with(|world| {
            let ours = Arc::ptr_eq(&world.tag, &self.tag);
            if ours && !self.queued.load(Ordering::Relaxed) {
                self.queued.store(true, Ordering::Relaxed);
                world.ready.borrow_mut().push(TaskId { slot: self.slot, serial: self.serial });
            }
            ours
        });
        if here != Some(true) {
            self.tag.woken_from_outside.store(true, Ordering::Relaxed);
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.notify();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.notify();
    }
}

/// What a task is called: its name, where it has one, and the place where it was spawned.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) name: Option<Rc<str>>,
    pub(crate) site: &'static Location<'static>,
}

impl From<&'static Location<'static>> for Label {
    fn from(site: &'static Location<'static>) -> Self {
        Label { name: None, site }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "task {name} spawned at {}", self.site),
            None => write!(f, "task spawned at {}", self.site),
        }
    }
}

/// What is taken out of the slab while a task is polled.
struct Runnable {
    work: Pin<Box<dyn Work>>,
    wake: Arc<TaskWaker>,
    waker: Waker,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stand {
    Pending,
    /// Aborted or crashed during its own poll: dropped when that returns.
    Doomed,
    Done,
    Cancelled,
    Panicked,
}

pub(crate) struct Task {
    serial: u64,
    pub(crate) node: NodeId,
    pub(crate) label: Label,
    pub(crate) wait: Wait,
    runnable: Option<Runnable>,
    stand: Stand,
    /// Nobody will ask for the output.
    detached: bool,
    joiner: Option<Waker>,
}

#[derive(Default)]
pub(crate) struct Tasks {
    slab: Slab<Task>,
    spawned: u64,
    spare_wakers: Vec<Arc<TaskWaker>>,
}

impl Tasks {
    fn get_mut(&mut self, id: TaskId) -> Option<&mut Task> {
        self.slab.get_mut(id.slot as usize).filter(|task| task.serial == id.serial)
    }

    fn get(&self, id: TaskId) -> Option<&Task> {
        self.slab.get(id.slot as usize).filter(|task| task.serial == id.serial)
    }

    #[inline]
    pub(crate) fn node_of(&self, id: TaskId) -> Option<NodeId> {
        self.get(id).map(|task| task.node)
    }

    /// What a task is called, for people; one that has ended is called that.
    pub(crate) fn describe(&self, id: TaskId) -> String {
        self.get(id).map_or_else(|| "a task that has ended".to_string(), |task| format!("the {}", task.label))
    }

    pub(crate) fn is_pending(&self, id: TaskId) -> bool {
        self.get(id).is_some_and(|task| matches!(task.stand, Stand::Pending | Stand::Doomed))
    }

    /// The tasks that have not finished, in the order of their slots.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.slab
            .iter()
            .filter(|(_, task)| matches!(task.stand, Stand::Pending | Stand::Doomed))
            .map(|(slot, task)| (TaskId { slot: slot as u32, serial: task.serial }, task))
    }

    fn waker_for(&mut self, slot: u32, serial: u64, tag: &Arc<Tag>) -> Arc<TaskWaker> {
        if let Some(mut spare) = self.spare_wakers.pop()
            && let Some(inside) = Arc::get_mut(&mut spare)
        {
            (inside.slot, inside.serial) = (slot, serial);
            *inside.queued.get_mut() = true;
            return spare;
        }
        Arc::new(TaskWaker { slot, serial, tag: tag.clone(), queued: AtomicBool::new(true) })
    }

    fn keep_spare(&mut self, mut wake: Arc<TaskWaker>) {
        if self.spare_wakers.len() < 1024 && Arc::get_mut(&mut wake).is_some() {
            self.spare_wakers.push(wake);
        }
    }
}

/// What joining a task gives.
pub(crate) enum Joined<T> {
    Pending,
    Output(T),
    Cancelled,
    Panicked,
}

/// How a poll went.
pub(crate) enum Polled {
    Pending,
    Finished,
    /// With the panic and what the task is called, or without where a failed check left the task.
    Panicked(Option<(Caught, Label)>),
}

impl World {
    pub(crate) fn spawn<F: Future<Output: 'static> + 'static>(
        &self,
        node: NodeId,
        future: F,
        detached: bool,
        label: impl Into<Label>,
    ) -> TaskId {
        let label = label.into();
        let site = label.site;
        let work: Pin<Box<dyn Work>> = Box::pin(Stage::Running(future));
        let mut tasks = self.tasks.borrow_mut();
        tasks.spawned += 1;
        let serial = tasks.spawned;
        let slot = tasks.slab.vacant_key() as u32;
        let wake = tasks.waker_for(slot, serial, &self.tag);
        let runnable = Some(Runnable { work, waker: Waker::from(wake.clone()), wake });
        let (wait, stand, joiner) = (Wait::Unknown, Stand::Pending, None);
        tasks.slab.insert(Task { serial, node, label, wait, runnable, stand, detached, joiner });
        drop(tasks);
        if let Some(progress) = &self.progress {
            progress.name_task(slot, node.0, site);
        }
        let id = TaskId { slot, serial };
        self.ready.borrow_mut().push(id);
        id
    }

    /// Polls a task that was on the ready list. `None`: it has ended since.
    // See `World::step`.
    #[inline(always)]
    pub(crate) fn poll_task(&self, id: TaskId) -> Option<Polled> {
        let (mut runnable, running) = {
            let mut tasks = self.tasks.borrow_mut();
            let task = tasks.get_mut(id).filter(|task| task.stand == Stand::Pending)?;
            let running = Running { node: task.node, task: Some(id), dead: false };
            (task.runnable.take()?, running)
        };
        runnable.wake.queued.store(false, Ordering::Relaxed);
        self.waiting.set(Wait::Unknown);
        self.clock_reads.set(0);
        self.running.set(running);
        let Runnable { work, waker, .. } = &mut runnable;
        let polled = panics::catch(|| work.as_mut().poll(&mut Context::from_waker(waker)));
        let polled = match polled {
            Ok(Poll::Pending) => self.keep(id, runnable),
            Ok(Poll::Ready(())) => self.finish(id, runnable),
            Err(caught) => {
                let label = self.tasks.borrow().get(id).map(|task| task.label.clone());
                // What the dead say as they fall over an error of theirs concerns nobody.
                let dead = self.running.get().dead;
                self.discard(id, runnable, Stand::Panicked);
                Polled::Panicked(caught.zip(label).filter(|_| !dead))
            }
        };
        self.running.set(Running::supervisor());
        Some(polled)
    }

    fn keep(&self, id: TaskId, runnable: Runnable) -> Polled {
        let mut tasks = self.tasks.borrow_mut();
        match tasks.get_mut(id) {
            Some(task) if task.stand == Stand::Pending => {
                task.wait = self.waiting.get();
                task.runnable = Some(runnable);
            }
            _ => {
                drop(tasks);
                self.discard(id, runnable, Stand::Cancelled);
            }
        }
        Polled::Pending
    }

    fn finish(&self, id: TaskId, runnable: Runnable) -> Polled {
        let mut tasks = self.tasks.borrow_mut();
        match tasks.get_mut(id) {
            Some(task) if task.stand == Stand::Pending && !task.detached => {
                task.stand = Stand::Done;
                task.runnable = Some(runnable);
                let joiner = task.joiner.take();
                drop(tasks);
                joiner.into_iter().for_each(Waker::wake);
            }
            _ => {
                drop(tasks);
                self.discard(id, runnable, Stand::Cancelled);
            }
        }
        Polled::Finished
    }

    fn discard(&self, id: TaskId, runnable: Runnable, stand: Stand) {
        self.dispose(runnable);
        self.end(id, stand);
    }

    /// Marks a task as ended without an output and tells whoever joins it.
    fn end(&self, id: TaskId, stand: Stand) {
        let joiner = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(id) else {
                return;
            };
            task.stand = stand;
            let joiner = task.joiner.take();
            if task.detached {
                tasks.slab.remove(id.slot as usize);
            }
            joiner
        };
        joiner.into_iter().for_each(Waker::wake);
    }

    /// Drops a future, with the destructors of the user in it, and keeps its waker for the next task.
    fn dispose(&self, runnable: Runnable) {
        let Runnable { work, wake, waker } = runnable;
        panics::swallow(|| drop(work));
        drop(waker);
        self.tasks.borrow_mut().keep_spare(wake);
    }

    /// Drops a task that has not finished; one that is being polled when that poll returns.
    pub(crate) fn cancel(&self, id: TaskId) {
        let runnable = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(id).filter(|task| task.stand == Stand::Pending) else {
                return;
            };
            match task.runnable.take() {
                Some(runnable) => runnable,
                None => {
                    task.stand = Stand::Doomed;
                    return;
                }
            }
        };
        let before = self.running.get();
        let node = self.node_of(id).unwrap_or(before.node);
        self.running.set(Running { node, task: Some(id), ..before });
        self.discard(id, runnable, Stand::Cancelled);
        self.running.set(before);
    }

    /// Drops every task of a node that has gone down; destructors run as code of the dead.
    pub(crate) fn cancel_tasks_of(&self, node: NodeId) {
        let doomed: Vec<TaskId> =
            self.tasks.borrow().pending().filter(|(_, task)| task.node == node).map(|(id, _)| id).collect();
        let before = self.running.get();
        let self_inflicted = before.node == node && before.task.is_some();
        self.running.set(Running { node, dead: true, ..before });
        doomed.into_iter().for_each(|id| self.cancel(id));
        self.running.set(Running { dead: before.dead || self_inflicted, ..before });
    }

    /// Drops everything that is left at the end of a run.
    pub(crate) fn cancel_all(&self) {
        self.finished.set(true);
        self.running.set(Running { dead: true, ..Running::supervisor() });
        self.forget_mains();
        loop {
            let left: Vec<Task> = {
                let mut tasks = self.tasks.borrow_mut();
                tasks.slab.drain().collect()
            };
            if left.is_empty() {
                return;
            }
            for task in left {
                panics::swallow(|| drop(task));
            }
        }
    }

    /// Takes the output of a task, or says whom to tell when it ends.
    pub(crate) fn join<T: 'static>(&self, id: TaskId, waker: &Waker) -> Joined<T> {
        let mut tasks = self.tasks.borrow_mut();
        let Some(task) = tasks.get_mut(id) else { return Joined::Cancelled };
        match task.stand {
            Stand::Pending | Stand::Doomed => {
                let known = task.joiner.as_ref().is_some_and(|joiner| joiner.will_wake(waker));
                drop(tasks);
                if !known {
                    self.set_joiner(id, waker.clone());
                }
                self.waiting.set(Wait::Join(id));
                Joined::Pending
            }
            Stand::Done => {
                let task = tasks.slab.remove(id.slot as usize);
                drop(tasks);
                let mut output = None::<T>;
                if let Some(mut runnable) = task.runnable {
                    runnable.work.as_mut().take_output(&mut output);
                    self.dispose(runnable);
                }
                output.map_or(Joined::Cancelled, Joined::Output)
            }
            Stand::Cancelled => Joined::Cancelled,
            Stand::Panicked => Joined::Panicked,
        }
    }

    fn set_joiner(&self, id: TaskId, waker: Waker) {
        let old = self.tasks.borrow_mut().get_mut(id).and_then(|task| task.joiner.replace(waker));
        drop(old);
    }

    /// Nobody will ask for the output of a task. One that is there is dropped.
    pub(crate) fn detach(&self, id: TaskId) {
        let ended = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(task) = tasks.get_mut(id) else { return };
            task.detached = true;
            let pending = matches!(task.stand, Stand::Pending | Stand::Doomed);
            (!pending).then(|| tasks.slab.remove(id.slot as usize))
        };
        drop(ended);
    }

    pub(crate) fn was_woken_from_outside(&self) -> bool {
        self.tag.woken_from_outside.load(Ordering::Relaxed)
    }

    fn node_of(&self, id: TaskId) -> Option<NodeId> {
        self.tasks.borrow().node_of(id)
    }
}
