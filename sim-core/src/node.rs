//! Nodes: machines with a name, a clock, devices and tasks, which die and come back.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::future::Future;
use std::ops::{Index, IndexMut};
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::choice::{Draws, nanos};
use crate::clock::{Clock, NodeClock};
use crate::device::Down;
use crate::outcome::{Failure, Outcome};
use crate::task::{JoinHandle, TaskId, Wait};
use crate::world::{self, World};

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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// Named, and never started.
    Idle,
    Up,
    Paused,
    Down,
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

type Main = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), String>>>>>;

pub(crate) struct NodeState {
    pub(crate) name: Rc<str>,
    pub(crate) zone: Option<Rc<str>>,
    pub(crate) status: Status,
    pub(crate) incarnation: Incarnation,
    pub(crate) clock: NodeClock,
    /// How long its machine had run when the simulation started, in nanoseconds; drawn when first asked for.
    pub(crate) uptime: Option<u64>,
    pub(crate) workload: Option<Box<Draws>>,
    pub(crate) entropy: Option<Box<Draws>>,
    on_panic: OnPanic,
    main: Option<(Main, &'static Location<'static>)>,
    finished: bool,
    joiners: Vec<Waker>,
    /// Tasks that became ready while the node was paused.
    parked: Vec<TaskId>,
}

pub(crate) struct Nodes {
    list: Vec<NodeState>,
    by_name: BTreeMap<Rc<str>, NodeId>,
    pub(crate) paused: u32,
}

impl Default for Nodes {
    fn default() -> Self {
        let mut nodes = Nodes { list: Vec::new(), by_name: BTreeMap::new(), paused: 0 };
        let test = nodes.named("test");
        nodes[test].status = Status::Up;
        nodes
    }
}

impl Index<NodeId> for Nodes {
    type Output = NodeState;
    #[inline]
    fn index(&self, id: NodeId) -> &NodeState {
        &self.list[id.0 as usize]
    }
}

impl IndexMut<NodeId> for Nodes {
    #[inline]
    fn index_mut(&mut self, id: NodeId) -> &mut NodeState {
        &mut self.list[id.0 as usize]
    }
}

impl Nodes {
    fn named(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = NodeId(self.list.len() as u32);
        let name: Rc<str> = name.into();
        self.by_name.insert(name.clone(), id);
        self.list.push(NodeState {
            name,
            zone: None,
            status: Status::Idle,
            incarnation: Incarnation(0),
            clock: NodeClock::default(),
            uptime: None,
            workload: None,
            entropy: None,
            on_panic: OnPanic::Fail,
            main: None,
            finished: false,
            joiners: Vec::new(),
            parked: Vec::new(),
        });
        id
    }

    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.list.iter().map(|node| &*node.name).collect()
    }
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
    pub fn on_panic(self, policy: OnPanic) -> Self {
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
        let site = Location::caller();
        let main = Rc::new(main);
        let call: Main = Rc::new(move || {
            let main = main.clone();
            Box::pin(async move { main().await.into_result() })
        });
        world::with("Node::start", |world| {
            let status = {
                let node = &mut world.nodes.borrow_mut()[self.id];
                if node.status == Status::Idle || node.status == Status::Down {
                    node.main = Some((call, site));
                }
                node.status
            };
            if matches!(status, Status::Up | Status::Paused) {
                panic!("node {} is already running: crash it first, or run more on it with .spawn(..)", self.name());
            }
            world.bring_up(self.id);
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
            let status = world.nodes.borrow()[self.id].status;
            match status {
                Status::Down => panic!("node {} is down: restart it before running more on it", self.name()),
                Status::Idle => world.nodes.borrow_mut()[self.id].status = Status::Up,
                Status::Up | Status::Paused => {}
            }
            JoinHandle::new(world.spawn(self.id, future, false, site))
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
            self.assert_startable(world, what);
            world.take_down(self.id, how);
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
            self.assert_startable(world, "Node::restart");
            world.take_down(self.id, Down::Kill);
            world.bring_up(self.id);
        });
    }

    /// Freezes its tasks while the world goes on: its clocks run, and its kernel still receives.
    #[track_caller]
    pub fn pause(self) {
        world::with("Node::pause", |world| {
            self.assert_startable(world, "Node::pause");
            let mut nodes = world.nodes.borrow_mut();
            if nodes[self.id].status == Status::Up {
                nodes[self.id].status = Status::Paused;
                nodes.paused += 1;
                drop(nodes);
                world.emit_at(self.id, "node.pause", &[], String::new);
            }
        });
    }

    /// Ends a [`pause`](Node::pause).
    #[track_caller]
    pub fn resume(self) {
        world::with("Node::resume", |world| {
            let mut nodes = world.nodes.borrow_mut();
            if nodes[self.id].status == Status::Paused {
                nodes.paused -= 1;
                nodes[self.id].status = Status::Up;
                let parked = std::mem::take(&mut nodes[self.id].parked);
                drop(nodes);
                world.ready.borrow_mut().extend(parked);
                world.emit_at(self.id, "node.resume", &[], String::new);
            }
        });
    }

    /// Waits until its main has returned, in this life or a later one.
    pub async fn join(self) {
        std::future::poll_fn(|cx| {
            world::with("Node::join", |world| {
                let mut nodes = world.nodes.borrow_mut();
                let node = &mut nodes[self.id];
                if node.finished {
                    return Poll::Ready(());
                }
                node.joiners.push(cx.waker().clone());
                drop(nodes);
                world.waiting.set(Wait::Node(self.id));
                Poll::Pending
            })
        })
        .await;
    }

    #[track_caller]
    fn with<R>(self, f: impl FnOnce(&mut NodeState) -> R) -> R {
        world::with("node", |world| f(&mut world.nodes.borrow_mut()[self.id]))
    }

    #[track_caller]
    fn assert_startable(self, world: &World, what: &str) {
        let nodes = world.nodes.borrow();
        let node = &nodes[self.id];
        if node.status == Status::Idle {
            let known =
                nodes.names().iter().filter(|name| **name != &*node.name).copied().collect::<Vec<_>>().join(", ");
            panic!("sim::{what}: node {} was never started. Start it first; the other nodes are: {known}", node.name);
        }
        assert!(self.id != NodeId::SUPERVISOR, "sim::{what}: the node of the test itself cannot fail");
    }
}

/// Several nodes with names of one pattern.
#[derive(Clone, Debug)]
pub struct NodeGroup {
    nodes: Vec<Node>,
}

impl NodeGroup {
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

impl World {
    /// Starts a node that is not running.
    fn bring_up(&self, id: NodeId) {
        let main = {
            let node = &mut self.nodes.borrow_mut()[id];
            (node.status, node.finished) = (Status::Up, false);
            node.main.clone()
        };
        self.emit_at(id, "node.start", &[], String::new);
        self.each_device(|device| device.node_up(id));
        if let Some((main, site)) = main {
            self.spawn(id, run_main(id, main), true, site);
        }
    }

    /// Ends a life of a node that is running.
    pub(crate) fn take_down(&self, id: NodeId, how: Down) {
        {
            let mut nodes = self.nodes.borrow_mut();
            match nodes[id].status {
                Status::Idle | Status::Down => return,
                Status::Paused => nodes.paused -= 1,
                Status::Up => {}
            }
            let node = &mut nodes[id];
            node.status = Status::Down;
            node.incarnation = Incarnation(node.incarnation.0 + 1);
            node.parked.clear();
        }
        self.emit_at(id, if how == Down::Kill { "node.crash" } else { "node.power_loss" }, &[], String::new);
        self.each_device(|device| device.node_down(id, how));
        self.cancel_tasks_of(id);
    }

    fn main_returned(&self, id: NodeId) {
        let joiners = {
            let node = &mut self.nodes.borrow_mut()[id];
            node.finished = true;
            std::mem::take(&mut node.joiners)
        };
        joiners.into_iter().for_each(Waker::wake);
    }

    /// Keeps a task that became ready for when its node resumes. False: the node is not paused.
    pub(crate) fn park(&self, task: TaskId) -> bool {
        if self.nodes.borrow().paused == 0 {
            return false;
        }
        let Some(id) = self.tasks.borrow().node_of(task) else { return false };
        let node = &mut self.nodes.borrow_mut()[id];
        if node.status == Status::Paused {
            node.parked.push(task);
        }
        node.status == Status::Paused
    }

    /// Applies the policy of a node on one of whose tasks something went wrong.
    pub(crate) fn node_failed(&self, id: NodeId, message: String) {
        let policy = self.nodes.borrow()[id].on_panic;
        match policy {
            OnPanic::Fail => return self.fail(Failure::new(Outcome::Panicked, message)),
            OnPanic::EndTask => {}
            OnPanic::Crash | OnPanic::Restart(_) => self.take_down(id, Down::Kill),
        }
        self.emit_at(id, "node.panic", &[], || message.clone());
        if let OnPanic::Restart(after) = policy {
            let life = self.nodes.borrow()[id].incarnation;
            self.call_after(nanos(after), move || {
                world::with("Node::restart", |world| {
                    let node_stands = {
                        let node = &world.nodes.borrow()[id];
                        node.incarnation == life && node.status == Status::Down
                    };
                    if node_stands {
                        world.bring_up(id);
                    }
                });
            });
        }
    }
}

async fn run_main(id: NodeId, main: Main) {
    let result = main().await;
    world::with("Node::start", |world| match result {
        Ok(()) => world.main_returned(id),
        Err(error) => {
            let name = world.nodes.borrow()[id].name.clone();
            world.node_failed(id, format!("the main of node {name} returned an error: {error}"));
        }
    });
}
