//! Tasks: spawning, joining, aborting.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::tasks::{Joined, Label, TaskId};
use crate::world::{self, World};

/// Runs a future as a task of the current node. It may start at any time after this call, not during it.
///
/// A panic in a task fails the run and names the task, unless its node was told otherwise ([`crate::Node::on_panic`]).
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    spawn_labelled(future, Location::caller().into())
}

fn spawn_labelled<F>(future: F, label: Label) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    world::with("spawn", |world| {
        let running = world.running.get();
        let id = if running.dead { TaskId::NONE } else { world.spawn(running.node, future, false, label) };
        JoinHandle::new(world, id)
    })
}

/// Gives a task a name, by which events, panics and reports of stuck runs call it; after tokio's builder.
///
/// ```
/// # use sim_core::{Sim, task};
/// # let report = Sim::new(1).run(|| async {
/// let compaction = task::Builder::new().name("compaction").spawn(async { 7 });
/// assert_eq!(compaction.await, Ok(7));
/// # });
/// # assert!(report.passed());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Builder<'a> {
    name: Option<&'a str>,
}

impl<'a> Builder<'a> {
    /// A task without a name.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Calls it `name`.
    pub fn name(self, name: &'a str) -> Self {
        Builder { name: Some(name) }
    }

    /// Spawns it, as [`spawn`] does.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        spawn_labelled(future, Label { name: self.name.map(Rc::from), site: Location::caller() })
    }
}

/// Gives the other ready tasks a turn.
pub async fn yield_now() {
    let yielded = Cell::new(false);
    std::future::poll_fn(|cx| {
        if yielded.replace(true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Owns the permission to wait for a task. Dropped, the task goes on by itself.
pub struct JoinHandle<T> {
    task: AbortHandle,
    output: PhantomData<fn() -> T>,
}

impl<T> JoinHandle<T> {
    pub(crate) fn new(world: &World, id: TaskId) -> Self {
        JoinHandle { task: AbortHandle { id, world: world.id }, output: PhantomData }
    }

    /// Drops the task where it stands; see [`AbortHandle::abort`].
    pub fn abort(&self) {
        self.abort_handle().abort();
    }

    /// A handle that can abort the task and not join it.
    pub fn abort_handle(&self) -> AbortHandle {
        self.task
    }

    /// Whether the task has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        self.abort_handle().is_finished()
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle(task {})", self.task.id.serial)
    }
}

impl<T: 'static> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        world::with("JoinHandle", |world| {
            let id = self.task.id_in(world);
            match world.join(id, cx.waker()) {
                Joined::Pending => Poll::Pending,
                Joined::Output(output) => Poll::Ready(Ok(output)),
                Joined::Cancelled => Poll::Ready(Err(JoinError { panicked: false })),
                Joined::Panicked => Poll::Ready(Err(JoinError { panicked: true })),
            }
        })
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        world::try_with(|world| world.detach(self.task.id_in(world)));
    }
}

/// Can abort a task, from any node.
#[derive(Clone, Copy, Debug)]
pub struct AbortHandle {
    id: TaskId,
    world: u64,
}

impl AbortHandle {
    /// The task, if it is of this world: a handle may outlive the simulation it is from.
    fn id_in(&self, world: &World) -> TaskId {
        if self.world == world.id { self.id } else { TaskId::NONE }
    }

    /// Drops the task where it stands: its destructors run now, as code of its node. One that aborts itself is dropped at
    /// its next await.
    pub fn abort(&self) {
        world::with("AbortHandle::abort", |world| world.cancel(self.id_in(world)));
    }

    /// Whether the task has ended, in whatever way.
    pub fn is_finished(&self) -> bool {
        world::with("AbortHandle::is_finished", |world| {
            let tasks = world.tasks.borrow();
            !tasks.is_pending(self.id_in(world))
        })
    }
}

/// Why a task has no output: it was aborted, its node went down, or it panicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JoinError {
    panicked: bool,
}

impl JoinError {
    /// The task was aborted, or its node went down.
    pub fn is_cancelled(self) -> bool {
        !self.panicked
    }

    /// The task panicked on a node that survives panics of its tasks.
    pub fn is_panic(self) -> bool {
        self.panicked
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.panicked { "the task panicked" } else { "the task was cancelled" })
    }
}

impl std::error::Error for JoinError {}

/// Polls one of these tasks that is ready, picked by the seed, in the middle of the poll of another: for who blocks a thread
/// that the tasks do not need. False: none is ready.
pub fn run_one_of(tasks: &[AbortHandle]) -> bool {
    world::try_with(|world| {
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id_in(world)).collect();
        world.run_one_of(&ids)
    })
    .unwrap_or(false)
}
