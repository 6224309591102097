//! The lives of nodes: their state, and how they begin, pause and end.

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::{Index, IndexMut};
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;

use crate::choice::{Draws, nanos};
use crate::clock::NodeClock;
use crate::device::Down;
use crate::fault::{Fault, FaultId};
use crate::node::{Incarnation, MainResult, NodeId, OnPanic};
use crate::outcome::{Failure, Outcome};
use crate::panics::{self, Caught};
use crate::process::Condition;
use crate::tasks::TaskId;
use crate::world::{self, World};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    /// Named, and never started.
    Idle,
    Up,
    Paused,
    Down,
}

/// Spawns the first task of a node. Not a future in a box: its future is the task, so that a poll goes through no more frames.
pub(crate) type Main = Rc<dyn Fn(&World, NodeId)>;

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
    pub(crate) on_panic: OnPanic,
    pub(crate) main: Option<Main>,
    /// The main has returned, in this life or an earlier one since the last start.
    pub(crate) finished: bool,
    pub(crate) joiners: Vec<Waker>,
    /// The machine has no power.
    dark: bool,
    /// Faults that last, and keep it down or paused.
    pub(crate) down_holds: u32,
    pause_holds: u32,
    /// The fault that pauses it, to be told when it does.
    paused_by: FaultId,
    /// Tasks that became ready while the node was paused or busy.
    pub(crate) parked: Vec<TaskId>,
    pub(crate) condition: Condition,
}

pub(crate) struct Nodes {
    pub(crate) list: Vec<NodeState>,
    by_name: BTreeMap<Rc<str>, NodeId>,
    /// How many are paused or slow.
    pub(crate) hindered: u32,
}

impl Default for Nodes {
    fn default() -> Self {
        let mut nodes = Nodes { list: Vec::new(), by_name: BTreeMap::new(), hindered: 0 };
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
    pub(crate) fn named(&mut self, name: &str) -> NodeId {
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
            dark: false,
            down_holds: 0,
            pause_holds: 0,
            main: None,
            finished: false,
            joiners: Vec::new(),
            paused_by: FaultId::default(),
            parked: Vec::new(),
            condition: Condition::default(),
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

impl World {
    /// Starts a node that is not running. Faults that kept it down keep it no more.
    pub(crate) fn bring_up(&self, id: NodeId) {
        let main = {
            let node = &mut self.nodes.borrow_mut()[id];
            (node.status, node.finished) = (Status::Up, false);
            (node.dark, node.down_holds, node.pause_holds) = (false, 0, 0);
            node.main.clone()
        };
        self.emit_at(id, "node.start", &[], String::new);
        self.each_device(|device| device.node_up(id));
        if let Some(main) = main {
            main(self, id);
        }
    }

    /// Ends the life of a node, or takes the power from one whose process has died before. Whether that changed anything.
    pub(crate) fn take_down(&self, id: NodeId, how: Down) -> bool {
        let spent;
        {
            let mut nodes = self.nodes.borrow_mut();
            let node = &mut nodes[id];
            let was = node.status;
            let changes = match was {
                Status::Idle => false,
                Status::Down => how == Down::PowerLoss && !node.dark,
                Status::Up | Status::Paused => true,
            };
            if !changes {
                return false;
            }
            node.status = Status::Down;
            node.dark = how == Down::PowerLoss;
            node.incarnation = Incarnation(node.incarnation.0 + 1);
            node.pause_holds = 0;
            node.parked.clear();
            let (exhausted, watchers) = node.condition.die();
            spent = watchers;
            nodes.hindered -= u32::from(was == Status::Paused);
            self.exhausted.set(self.exhausted.get() - u32::from(exhausted));
        }
        drop(spent);
        self.emit_at(id, if how == Down::Kill { "node.crash" } else { "node.power_loss" }, &[], String::new);
        self.each_device(|device| device.node_down(id, how));
        self.cancel_tasks_of(id);
        true
    }

    /// Takes a node down for a fault, which keeps it down for a while where it `lasts`.
    pub(crate) fn hold_down(&self, id: NodeId, how: Down, lasts: bool) -> bool {
        let changed = self.take_down(id, how);
        self.nodes.borrow_mut()[id].down_holds += u32::from(lasts);
        changed
    }

    /// A fault that kept a node down ends; the last one starts it again.
    pub(crate) fn let_up(&self, id: NodeId) {
        let starts = {
            let node = &mut self.nodes.borrow_mut()[id];
            let last = node.down_holds == 1;
            node.down_holds = node.down_holds.saturating_sub(1);
            last && node.status == Status::Down
        };
        if starts {
            self.bring_up(id);
        }
    }

    /// Freezes the tasks of a node that is running. Whether that changed anything.
    pub(crate) fn freeze(&self, id: NodeId) -> bool {
        {
            let mut nodes = self.nodes.borrow_mut();
            if nodes[id].status != Status::Up {
                return false;
            }
            nodes[id].status = Status::Paused;
            nodes.hindered += 1;
        }
        self.emit_at(id, "node.pause", &[], String::new);
        true
    }

    /// Lets the tasks of a paused node go on.
    pub(crate) fn thaw(&self, id: NodeId) {
        {
            let mut nodes = self.nodes.borrow_mut();
            if nodes[id].status != Status::Paused {
                return;
            }
            nodes.hindered -= 1;
            let node = &mut nodes[id];
            (node.status, node.pause_holds) = (Status::Up, 0);
        }
        self.let_parked_go(id);
        self.emit_at(id, "node.resume", &[], String::new);
    }

    /// Pauses a node for a fault, which keeps it paused for a while where it `lasts`.
    pub(crate) fn hold_frozen(&self, id: NodeId, fault: &Fault) -> bool {
        let changed = self.freeze(id);
        let node = &mut self.nodes.borrow_mut()[id];
        node.pause_holds += u32::from(fault.lasting.is_some());
        node.paused_by = fault.id;
        changed
    }

    /// A fault that kept a node paused ends; the last one lets it go on.
    pub(crate) fn let_thaw(&self, id: NodeId) {
        let last = {
            let node = &mut self.nodes.borrow_mut()[id];
            let last = node.pause_holds == 1;
            node.pause_holds = node.pause_holds.saturating_sub(1);
            last
        };
        if last {
            self.thaw(id);
        }
    }

    /// Keeps a task that became ready for when its node resumes, or its processor is free. False: it can run now.
    #[inline]
    pub(crate) fn park(&self, task: TaskId) -> bool {
        self.nodes.borrow().hindered > 0 && self.park_hindered(task)
    }

    fn park_hindered(&self, task: TaskId) -> bool {
        let Some(id) = self.tasks.borrow().node_of(task) else { return false };
        let mut nodes = self.nodes.borrow_mut();
        let node = &mut nodes[id];
        if node.status != Status::Paused {
            drop(nodes);
            return self.is_busy(id, task);
        }
        node.parked.push(task);
        let fault = node.paused_by;
        drop(nodes);
        self.observe(fault);
        true
    }

    fn main_returned(&self, id: NodeId) {
        let joiners = {
            let node = &mut self.nodes.borrow_mut()[id];
            node.finished = true;
            std::mem::take(&mut node.joiners)
        };
        joiners.into_iter().for_each(Waker::wake);
        self.exits(id);
    }

    /// Applies the policy of a node on one of whose tasks something went wrong.
    pub(crate) fn node_failed(&self, id: NodeId, message: String) {
        let policy = self.nodes.borrow()[id].on_panic;
        if policy == OnPanic::Fail {
            return self.fail(Failure::new(Outcome::Panicked, message));
        }
        self.emit_at(id, "node.panic", &[], || message);
        if matches!(policy, OnPanic::Crash | OnPanic::Restart(_)) {
            self.take_down(id, Down::Kill);
        }
        if let OnPanic::Restart(after) = policy {
            let life = self.nodes.borrow()[id].incarnation;
            self.call_after(nanos(after), move || {
                world::with("Node::restart", |world| {
                    let still_down = {
                        let node = &world.nodes.borrow()[id];
                        node.incarnation == life && node.status == Status::Down
                    };
                    if still_down {
                        world.bring_up(id);
                    }
                });
            });
        }
    }

    /// A hosted program panics. It may catch that, and the policy of its node is applied all the same: a panic is never
    /// swallowed, unless the node was told so. The node goes down after this step.
    pub(crate) fn hosted_panic(&self, caught: &Caught) {
        let running = self.running.get();
        if !self.hosting.get() || running.dead {
            return;
        }
        let Ok(nodes) = self.nodes.try_borrow() else { return };
        let (policy, name, life) =
            (nodes[running.node].on_panic, nodes[running.node].name.clone(), nodes[running.node].incarnation);
        drop(nodes);
        let task = running.task.map_or_else(|| "no task".to_string(), |task| self.tasks.borrow().describe(task));
        let message = caught.explain(&format!("on node {name}, in {task}"));
        if matches!(policy, OnPanic::Fail | OnPanic::EndTask) {
            return self.node_failed(running.node, message);
        }
        self.call_after(0, move || {
            world::with("Node::on_panic", |world| {
                if world.nodes.borrow()[running.node].incarnation == life {
                    world.node_failed(running.node, message);
                }
            });
        });
    }

    /// Drops the start closures of all nodes, with what users put into them.
    pub(crate) fn forget_mains(&self) {
        let all = |node: &mut NodeState| node.condition.forget_builds().chain(node.main.take()).collect::<Vec<_>>();
        let mains: Vec<_> = self.nodes.borrow_mut().list.iter_mut().flat_map(all).collect();
        for main in mains {
            panics::swallow(|| drop(main));
        }
    }
}

/// A start closure as the core keeps it.
pub(crate) fn as_main<F, Fut>(main: F, site: &'static Location<'static>) -> Main
where
    F: Fn() -> Fut + 'static,
    Fut: Future + 'static,
    Fut::Output: MainResult,
{
    let main = Rc::new(main);
    Rc::new(move |world, id| {
        let (main, life) = (main.clone(), world.nodes.borrow()[id].incarnation);
        let task = async move { main_ends(id, life, main().await.into_result()) };
        world.spawn(id, task, true, site);
    })
}

fn main_ends(id: NodeId, life: Incarnation, result: Result<(), String>) {
    world::with("Node::start", |world| {
        if world.nodes.borrow()[id].incarnation != life {
            return;
        }
        if let Err(error) = result {
            let name = world.nodes.borrow()[id].name.clone();
            world.node_failed(id, format!("the main of node {name} returned an error: {error}"));
        }
        if world.nodes.borrow()[id].incarnation == life {
            world.main_returned(id);
        }
    });
}
