//! Nodes: machines with a name, a clock, devices and tasks, which die and come back.

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::clock::Clock;
use crate::device::Down;
use crate::life::{NodeState, Status, as_main};
use crate::task::JoinHandle;
use crate::tasks::{TaskId, Wait};
use crate::world;

/// The number of a node in the order of their naming. 0 is the test itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The node on which the body of the test runs: named `test`, never faulty.
    pub const SUPERVISOR: NodeId = NodeId(0);
}

/// Counts the lives of a node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Incarnation(pub u32);

impl Incarnation {
    /// What code of the dead gets: never equal to a life.
    pub(crate) const DEAD: Incarnation = Incarnation(u32::MAX);
}

/// What becomes of a node when one of its tasks panics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum OnPanic {
    /// The run fails and tells the panic.
    #[default]
    Fail,
    /// Only the task ends, as in tokio; whoever joins it gets the error.
    EndTask,
    /// The process dies and stays down.
    Crash,
    /// The process dies and starts again after a delay.
    Restart(Duration),
}

/// What the main of a node may return: nothing, or a result whose error fails the node like a panic.
pub trait MainResult {
    /// The error in words.
    fn into_result(self) -> Result<(), String>;
}

impl MainResult for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: Display> MainResult for Result<(), E> {
    fn into_result(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

/// The type `!`, which stable Rust can only name as what a function returns.
#[doc(hidden)]
pub trait Returns {
    /// What it returns.
    type Output;
}

impl<R> Returns for fn() -> R {
    type Output = R;
}

/// For mains that loop for ever.
impl MainResult for <fn() -> ! as Returns>::Output {
    fn into_result(self) -> Result<(), String> {
        self
    }
}

impl<E: Display> MainResult for Result<std::convert::Infallible, E> {
    fn into_result(self) -> Result<(), String> {
        self.map(|_| ()).map_err(|error| error.to_string())
    }
}

/// A machine of the simulation: a cheap handle, usable from anywhere in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Node {
    id: NodeId,
}

/// The node called `name`: a new one when there is none of that name yet.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn node(name: &str) -> Node {
    world::with("node", |world| {
        let mut nodes = world.nodes.borrow_mut();
        let known = nodes.list.len();
        let id = nodes.named(name);
        if let Some(progress) = world.progress.as_ref().filter(|_| nodes.list.len() > known) {
            progress.name_node(name);
        }
        Node { id }
    })
}

/// `count` nodes called `name-0`, `name-1` and so on.
#[track_caller]
pub fn nodes(name: &str, count: usize) -> NodeGroup {
    NodeGroup { nodes: (0..count).map(|place| node(&format!("{name}-{place}"))).collect() }
}

/// The nodes of a zone, in the order of their naming.
#[track_caller]
pub fn zone(name: &str) -> NodeGroup {
    world::with("zone", |world| {
        let nodes = world.nodes.borrow();
        let ids = (0..nodes.list.len() as u32).map(NodeId);
        let members = ids.filter(|id| nodes[*id].zone.as_deref() == Some(name));
        NodeGroup { nodes: members.map(|id| Node { id }).collect() }
    })
}

/// The node whose code is running; the test's own body runs on one called `test`.
#[track_caller]
pub fn current_node() -> Node {
    world::with("current_node", |world| Node { id: world.current_node() })
}

impl Node {
    /// Its number.
    pub fn id(self) -> NodeId {
        self.id
    }

    /// The node with this number, if there is one.
    pub fn from_id(id: NodeId) -> Option<Node> {
        let known = world::with("Node::from_id", |world| world.nodes.borrow().list.len());
        ((id.0 as usize) < known).then_some(Node { id })
    }

    /// The node called `name`, if there is one: unlike [`node`], never makes one.
    pub fn find(name: &str) -> Option<Node> {
        world::with("Node::find", |world| world.nodes.borrow().find(name)).map(|id| Node { id })
    }

    /// Its name.
    pub fn name(self) -> String {
        self.with(|node| node.name.to_string())
    }

    /// Puts it into a zone (a rack, a data centre), for faults that strike zones.
    pub fn zone(self, zone: &str) -> Self {
        self.with(|node| node.zone = Some(zone.into()));
        self
    }

    /// The zone it is in.
    pub fn zone_name(self) -> Option<String> {
        self.with(|node| node.zone.as_deref().map(str::to_string))
    }

    /// Says what becomes of it when one of its tasks panics.
    ///
    /// # Panics
    /// On the node of the test itself: what fails there fails the test.
    #[track_caller]
    pub fn on_panic(self, policy: OnPanic) -> Self {
        assert!(self.id != NodeId::SUPERVISOR, "what fails on the node of the test fails the test: no policy there");
        self.with(|node| node.on_panic = policy);
        self
    }

    /// Its clocks, to be set wrong.
    pub fn clock(self) -> Clock {
        Clock { node: self.id }
    }

    /// Whether it is running, paused or not.
    pub fn is_up(self) -> bool {
        self.with(|node| matches!(node.status, Status::Up | Status::Paused))
    }

    /// Starts it: calls `main` and runs what that returns, now and again at every restart.
    ///
    /// # Panics
    /// When it is already running.
    #[track_caller]
    pub fn start<F, Fut>(self, main: F) -> Self
    where
        F: Fn() -> Fut + 'static,
        Fut: Future + 'static,
        Fut::Output: MainResult,
    {
        let main = as_main(main, Location::caller());
        if self.is_up() {
            panic!("node {} is already running: crash it first, or run more on it with .spawn(..)", self.name());
        }
        world::with("Node::start", |world| {
            if world.acts() {
                let old = world.nodes.borrow_mut()[self.id].main.replace(main);
                drop(old);
                world.bring_up(self.id);
            }
        });
        self
    }

    /// Runs one more task on it. Unlike [`start`](Node::start), not again at a restart.
    ///
    /// # Panics
    /// When it is down.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let site = Location::caller();
        world::with("Node::spawn", |world| {
            if !world.acts() {
                return JoinHandle::new(world, TaskId::NONE);
            }
            let status = world.nodes.borrow()[self.id].status;
            match status {
                Status::Down => panic!("node {} is down: restart it before running more on it", self.name()),
                Status::Idle => world.nodes.borrow_mut()[self.id].status = Status::Up,
                Status::Up | Status::Paused => {}
            }
            JoinHandle::new(world, world.spawn(self.id, future, false, site))
        })
    }

    /// Kills its process. The machine lives: its kernel closes the sockets and keeps what was written to files.
    /// The opposite is [`restart`](Node::restart). A node that is down stays so.
    #[track_caller]
    pub fn crash(self) {
        self.go_down("Node::crash", Down::Kill);
    }

    /// Cuts the power of its machine: what was not synced is lost, and peers hear nothing.
    /// The opposite is [`restart`](Node::restart). A node that is down stays so.
    #[track_caller]
    pub fn power_loss(self) {
        self.go_down("Node::power_loss", Down::PowerLoss);
    }

    #[track_caller]
    fn go_down(self, what: &str, how: Down) {
        world::with(what, |world| {
            self.assert_started(what);
            if world.acts() {
                world.take_down(self.id, how);
            }
        });
    }

    /// Starts it again with the closure it was started with, on what survived; crashes it first when it is up. One that
    /// only had tasks [spawned](Node::spawn) on it is up again, and does nothing until more are.
    ///
    /// # Panics
    /// When it was never started.
    #[track_caller]
    pub fn restart(self) {
        world::with("Node::restart", |world| {
            self.assert_started("Node::restart");
            if world.acts() {
                world.take_down(self.id, Down::Kill);
                world.bring_up(self.id);
            }
        });
    }

    /// Freezes its tasks while the world goes on: its clocks run, and its kernel still receives.
    #[track_caller]
    pub fn pause(self) {
        world::with("Node::pause", |world| {
            self.assert_started("Node::pause");
            if world.acts() {
                world.freeze(self.id);
            }
        });
    }

    /// Ends a [`pause`](Node::pause).
    #[track_caller]
    pub fn resume(self) {
        world::with("Node::resume", |world| {
            if world.acts() {
                world.thaw(self.id);
            }
        });
    }

    /// Waits until its main has returned, with or without an error, in this life or a later one.
    pub async fn join(self) {
        std::future::poll_fn(|cx| {
            world::with("Node::join", |world| {
                let waker = cx.waker().clone();
                let mut nodes = world.nodes.borrow_mut();
                let node = &mut nodes[self.id];
                if node.finished {
                    return Poll::Ready(());
                }
                let known = node.joiners.iter().any(|joiner| joiner.will_wake(&waker));
                let spare = if known {
                    Some(waker)
                } else {
                    node.joiners.push(waker);
                    None
                };
                drop(nodes);
                drop(spare);
                world.waiting.set(Wait::Node(self.id));
                Poll::Pending
            })
        })
        .await;
    }

    #[track_caller]
    pub(crate) fn with<R>(self, f: impl FnOnce(&mut NodeState) -> R) -> R {
        world::with("node", |world| f(&mut world.nodes.borrow_mut()[self.id]))
    }

    #[track_caller]
    pub(crate) fn assert_started(self, what: &str) {
        if let Err(problem) = self.check_started() {
            panic!("sim::{what}: {problem}");
        }
    }

    /// Says what is wrong with a fault of this node, if anything is.
    pub(crate) fn check_started(self) -> Result<(), String> {
        if self.id == NodeId::SUPERVISOR {
            return Err("the node of the test itself cannot fail".to_string());
        }
        world::with("node", |world| {
            let nodes = world.nodes.borrow();
            if nodes[self.id].status != Status::Idle {
                return Ok(());
            }
            let name = &*nodes[self.id].name;
            let known: Vec<&str> = nodes.names().into_iter().filter(|other| *other != name).collect();
            Err(format!("node {name} was never started. Start it first; the other nodes are: {}", known.join(", ")))
        })
    }
}

/// Several nodes with names of one pattern.
#[derive(Clone, Debug)]
pub struct NodeGroup {
    nodes: Vec<Node>,
}

impl NodeGroup {
    pub(crate) fn of(nodes: Vec<Node>) -> Self {
        NodeGroup { nodes }
    }

    /// Starts each with `main`, which is given the place of the node in the group.
    #[track_caller]
    pub fn start<F, Fut>(self, main: F) -> Self
    where
        F: Fn(usize) -> Fut + 'static,
        Fut: Future + 'static,
        Fut::Output: MainResult,
    {
        let main = Rc::new(main);
        for (place, node) in self.nodes.iter().enumerate() {
            let main = main.clone();
            node.start(move || main(place));
        }
        self
    }

    /// Waits until every main has returned.
    pub async fn join(&self) {
        for node in &self.nodes {
            node.join().await;
        }
    }

    /// [Crashes](Node::crash) every one.
    #[track_caller]
    pub fn crash(&self) {
        self.iter().for_each(Node::crash);
    }

    /// [Cuts the power](Node::power_loss) of every one.
    #[track_caller]
    pub fn power_loss(&self) {
        self.iter().for_each(Node::power_loss);
    }

    /// [Restarts](Node::restart) every one.
    #[track_caller]
    pub fn restart(&self) {
        self.iter().for_each(Node::restart);
    }

    /// The nodes, in order.
    pub fn iter(&self) -> impl Iterator<Item = Node> + '_ {
        self.nodes.iter().copied()
    }
}
