//! What befalls processes short of a plain death: slow processors, memory that runs out, requests to end, other builds
//! of their program, and second copies of them.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::Location;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::choice::nanos;
use crate::device::Down;
use crate::fault::{Fault, FaultId};
use crate::life::{Main, NodeState, Status, as_main};
use crate::node::{MainResult, Node, NodeId, node};
use crate::tasks::{TaskId, Wait};
use crate::world::{self, World};

/// The condition of a process.
#[derive(Default)]
pub(crate) struct Condition {
    slow: Option<Slow>,
    /// It dies in its next operation, for this fault.
    exhausted: Option<Box<Fault>>,
    stopping: bool,
    stop_watchers: Vec<Waker>,
    builds: BTreeMap<String, Main>,
    /// The program before the last change of build.
    before: Option<Main>,
}

struct Slow {
    poll_cost: u64,
    busy_until: u64,
    fault: FaultId,
    /// Someone will let the parked tasks go on.
    scheduled: bool,
    /// How many faults make it slow.
    holds: u32,
}

impl Condition {
    /// What ends with the process.
    pub(crate) fn die(&mut self) -> (bool, Vec<Waker>) {
        self.stopping = false;
        (self.exhausted.take().is_some(), std::mem::take(&mut self.stop_watchers))
    }

    pub(crate) fn forget_builds(&mut self) -> impl Iterator<Item = Main> {
        std::mem::take(&mut self.builds).into_values().chain(self.before.take())
    }
}

/// Waits until the process of the current node is asked to end, by [`Node::stop`] or the fault
/// [`stop`](crate::fault::stop): what `SIGTERM` says. A program that listens can drain and return from its main.
///
/// # Panics
/// Outside a simulation.
pub async fn stop_requested() {
    std::future::poll_fn(|cx| {
        world::with("stop_requested", |world| {
            let waker = cx.waker().clone();
            let mut nodes = world.nodes.borrow_mut();
            let condition = &mut nodes[world.current_node()].condition;
            if condition.stopping {
                return Poll::Ready(());
            }
            let known = condition.stop_watchers.iter().any(|watcher| watcher.will_wake(&waker));
            let spare = if known {
                Some(waker)
            } else {
                condition.stop_watchers.push(waker);
                None
            };
            drop(nodes);
            drop(spare);
            world.waiting.set(Wait::Stop);
            Poll::Pending
        })
    })
    .await;
}

impl Node {
    /// Asks its process to end, as `SIGTERM` does, and kills it when it has not within `grace`.
    ///
    /// # Panics
    /// When it was never started.
    #[track_caller]
    pub fn stop(self, grace: Duration) {
        self.assert_started("Node::stop");
        world::with("Node::stop", |world| world.ask_to_stop(self.id(), grace, None));
    }

    /// Lets every poll of its tasks take `poll_cost` of true time; zero makes it fast again.
    #[track_caller]
    pub fn slow_cpu(self, poll_cost: Duration) {
        world::with("Node::slow_cpu", |world| match nanos(poll_cost) {
            0 => world.speed_up(self.id()),
            _ => world.slow_down(self.id(), poll_cost, FaultId::default()),
        });
    }

    /// Brings another build of its program along, to be run by [`upgrade`](Node::upgrade).
    #[track_caller]
    pub fn build<F, Fut>(self, version: &str, main: F) -> Self
    where
        F: Fn() -> Fut + 'static,
        Fut: Future + 'static,
        Fut::Output: MainResult,
    {
        let built = as_main(main, Location::caller());
        let old = self.with(|node| node.condition.builds.insert(version.to_string(), built));
        drop(old);
        self
    }

    /// Kills it and starts it with another of its [builds](Node::build), on the disk it has.
    ///
    /// # Panics
    /// When there is no such build.
    #[track_caller]
    pub fn upgrade(self, version: &str) {
        if let Err(problem) = self.check_build(version) {
            panic!("sim::Node::upgrade: {problem}");
        }
        self.switch_build(version);
    }

    /// Starts a second copy of it, as an orchestrator does that takes a living node for dead: the copy is called after it
    /// (`store~2`), runs its program on a copy of its disk, and has its name in the name service from now on. The old
    /// process goes on with its address and its connections, and has to notice (a zombie, which needs fencing).
    ///
    /// Returns the copy.
    ///
    /// # Panics
    /// When it was never started.
    #[track_caller]
    pub fn fail_over(self) -> Node {
        self.assert_started("Node::fail_over");
        let name = self.name();
        let copy = (2..).map(|n| format!("{name}~{n}")).find(|name| Node::find(name).is_none()).unwrap_or_default();
        let copy = node(&copy);
        world::with("Node::fail_over", |world| {
            if !world.acts() {
                return;
            }
            let mut nodes = world.nodes.borrow_mut();
            let living = &nodes[self.id()];
            let (main, zone, on_panic) = (living.main.clone(), living.zone.clone(), living.on_panic);
            let builds = living.condition.builds.clone();
            let twin = &mut nodes[copy.id()];
            (twin.main, twin.zone, twin.on_panic, twin.condition.builds) = (main, zone, on_panic, builds);
            drop(nodes);
            world.each_device(|device| device.node_copied(self.id(), copy.id()));
            world.bring_up(copy.id());
        });
        copy
    }

    pub(crate) fn check_build(self, version: &str) -> Result<(), String> {
        self.check_started()?;
        self.with(|node| {
            if node.condition.builds.contains_key(version) {
                return Ok(());
            }
            let known: Vec<&str> = node.condition.builds.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
            Err(format!("node {} has no build {version}; it has: {known}. Bring it with .build(..)", node.name))
        })
    }

    pub(crate) fn switch_build(self, version: &str) -> bool {
        self.switch(|node| node.condition.builds.get(version).cloned())
    }

    pub(crate) fn switch_back(self) -> bool {
        self.switch(|node| node.condition.before.clone())
    }

    fn switch(self, choose: impl FnOnce(&NodeState) -> Option<Main>) -> bool {
        let Some(next) = self.with(|node| choose(node)) else { return false };
        world::with("Node::upgrade", |world| {
            if !world.acts() {
                return false;
            }
            world.take_down(self.id(), Down::Kill);
            let old = {
                let node = &mut world.nodes.borrow_mut()[self.id()];
                let old = node.main.replace(next);
                std::mem::replace(&mut node.condition.before, old)
            };
            drop(old);
            world.bring_up(self.id());
            true
        })
    }
}

impl World {
    /// Counts a fault as met when it ends the work of a node.
    pub(crate) fn count_killed(&self, id: NodeId, fault: &Fault) {
        let busy = self.tasks.borrow().pending().any(|(_, task)| task.node == id);
        if busy {
            self.observe(fault.id);
        }
    }

    pub(crate) fn slow_down(&self, id: NodeId, poll_cost: Duration, fault: FaultId) {
        self.emit_at(id, "node.slow", &[nanos(poll_cost)], || format!("{poll_cost:?} a poll"));
        let mut nodes = self.nodes.borrow_mut();
        let condition = &mut nodes[id].condition;
        let holds = 1 + condition.slow.as_ref().map_or(0, |slow| slow.holds);
        let busy_until = condition.slow.as_ref().map_or(0, |slow| slow.busy_until);
        let scheduled = condition.slow.as_ref().is_some_and(|slow| slow.scheduled);
        condition.slow = Some(Slow { poll_cost: nanos(poll_cost), busy_until, fault, scheduled, holds });
        nodes.hindered += u32::from(holds == 1);
    }

    /// A fault that made a node slow ends; the last one makes it fast.
    pub(crate) fn ease(&self, id: NodeId) {
        let last = match &mut self.nodes.borrow_mut()[id].condition.slow {
            Some(slow) => {
                slow.holds -= 1;
                slow.holds == 0
            }
            None => false,
        };
        if last {
            self.speed_up(id);
        }
    }

    pub(crate) fn speed_up(&self, id: NodeId) {
        let mut nodes = self.nodes.borrow_mut();
        if nodes[id].condition.slow.take().is_none() {
            return;
        }
        nodes.hindered -= 1;
        drop(nodes);
        self.emit_at(id, "node.fast", &[], String::new);
        self.let_parked_go(id);
    }

    /// Keeps a task for when the processor of its node is free. False: it is free now, and busy from now on.
    pub(crate) fn is_busy(&self, id: NodeId, task: TaskId) -> bool {
        let mut nodes = self.nodes.borrow_mut();
        let Some(slow) = &mut nodes[id].condition.slow else { return false };
        let (now, fault) = (self.now(), slow.fault);
        if slow.busy_until <= now {
            slow.busy_until = now.saturating_add(slow.poll_cost);
            return false;
        }
        let wait = slow.busy_until - now;
        let schedule = !std::mem::replace(&mut slow.scheduled, true);
        nodes[id].parked.push(task);
        drop(nodes);
        self.observe(fault);
        if schedule {
            self.call_after(wait, move || {
                world::with("Node::slow_cpu", |world| {
                    if let Some(slow) = &mut world.nodes.borrow_mut()[id].condition.slow {
                        slow.scheduled = false;
                    }
                    world.let_parked_go(id);
                });
            });
        }
        true
    }

    /// The tasks of a node that were kept become ready, unless it is paused.
    pub(crate) fn let_parked_go(&self, id: NodeId) {
        let parked = {
            let node = &mut self.nodes.borrow_mut()[id];
            if node.status == Status::Paused { Vec::new() } else { std::mem::take(&mut node.parked) }
        };
        self.ready.borrow_mut().extend(parked);
    }

    /// Lets a process die in its next operation, which is when the fault fires.
    pub(crate) fn exhaust(&self, id: NodeId, fault: &Fault) {
        let mut nodes = self.nodes.borrow_mut();
        let node = &mut nodes[id];
        let runs = matches!(node.status, Status::Up | Status::Paused);
        if runs && node.condition.exhausted.is_none() {
            node.condition.exhausted = Some(Box::new(fault.clone()));
            node.down_holds += u32::from(fault.lasting.is_some());
            self.exhausted.set(self.exhausted.get() + 1);
        }
    }

    /// The current node is in an operation: the moment at which it dies when it is out of memory.
    #[cold]
    pub(crate) fn run_out_of_memory(&self) {
        let id = self.current_node();
        let Ok(nodes) = self.nodes.try_borrow() else { return };
        let exhausted = nodes[id].condition.exhausted.clone();
        drop(nodes);
        if let Some(fault) = exhausted {
            self.count_late(&fault);
            self.observe(fault.id);
            self.take_down(id, Down::Kill);
        }
    }

    /// A fault that ran a process out of memory ends: a process that has not noticed does not, and one that died restarts.
    pub(crate) fn recover(&self, id: NodeId) {
        let spared = self.nodes.borrow_mut()[id].condition.exhausted.take();
        self.exhausted.set(self.exhausted.get() - u32::from(spared.is_some()));
        self.let_up(id);
    }

    /// A fault that asked a process to end is over: it restarts, at once when it has not ended yet.
    pub(crate) fn end_stop(&self, id: NodeId) {
        let still = {
            let node = &self.nodes.borrow()[id];
            node.condition.stopping && node.status != Status::Down
        };
        if still {
            self.take_down(id, Down::Kill);
        }
        self.let_up(id);
    }

    /// Tells a process to end, and kills it after the grace.
    pub(crate) fn ask_to_stop(&self, id: NodeId, grace: Duration, fault: Option<&Fault>) -> bool {
        let (watchers, life) = {
            let node = &mut self.nodes.borrow_mut()[id];
            if !self.acts() || !matches!(node.status, Status::Up | Status::Paused) {
                return false;
            }
            node.condition.stopping = true;
            node.down_holds += u32::from(fault.is_some_and(|fault| fault.lasting.is_some()));
            (std::mem::take(&mut node.condition.stop_watchers), node.incarnation)
        };
        if let Some(fault) = fault {
            self.count_killed(id, fault);
        }
        self.emit_at(id, "node.stop", &[nanos(grace)], String::new);
        self.each_device(|device| device.node_stopping(id));
        watchers.into_iter().for_each(Waker::wake);
        self.call_after(nanos(grace), move || {
            world::with("Node::stop", |world| {
                if world.nodes.borrow()[id].incarnation == life {
                    world.take_down(id, Down::Kill);
                }
            });
        });
        true
    }

    /// A process that was asked to end has ended by itself.
    pub(crate) fn exits(&self, id: NodeId) {
        if self.nodes.borrow()[id].condition.stopping {
            self.take_down(id, Down::Kill);
        }
    }
}
