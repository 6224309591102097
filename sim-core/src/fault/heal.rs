//! The end of all faults, and what must come after: a system that converges.

use std::fmt::Display;
use std::time::Duration;

use super::plan::Fault;
use crate::choice::{Stream, nanos};
use crate::hash::hash_str;
use crate::life::Status;
use crate::node::{Node, NodeGroup, NodeId};
use crate::outcome::{Failure, Outcome};
use crate::time;
use crate::units::seconds;
use crate::world::{self, World};

/// Ends every fault: links heal, nodes run again, clocks are right, devices work. None begins any more.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn heal() {
    world::with("heal", |world| world.heal(None));
}

/// Ends the faults of a random majority of these nodes, and of the links among them; all others stay for ever as they
/// are, down or cut off. None begins any more. What the majority owes, it owes now (TigerBeetle: liveness mode).
///
/// Returns the majority.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn heal_core(nodes: &NodeGroup) -> NodeGroup {
    world::with("heal_core", |world| {
        let mut core: Vec<Node> = nodes.iter().collect();
        let mut draws = world.choices.stream(Stream::FAULT, hash_str("core"));
        for last in (1..core.len()).rev() {
            core.swap(last, draws.below(last as u64 + 1) as usize);
        }
        core.truncate(core.len() / 2 + 1);
        core.sort();
        let ids: Vec<NodeId> = core.iter().map(|node| node.id()).collect();
        world.heal(Some(&ids));
        NodeGroup::of(core)
    })
}

impl World {
    fn heal(&self, core: Option<&[NodeId]>) {
        self.emit("fault.heal", &[], || core.map_or_else(|| "all".to_string(), |core| format!("{core:?}")));
        let lasting = {
            let mut faults = self.faults.borrow_mut();
            faults.over = true;
            std::mem::take(&mut faults.lasting)
        };
        let inside = |fault: &Fault| match (fault.targets(), core) {
            (_, None) => true,
            (Ok(targets), Some(core)) => !targets.is_empty() && targets.iter().all(|node| core.contains(&node.id())),
            (Err(_), Some(_)) => false,
        };
        lasting.values().filter(|fault| inside(fault)).for_each(|fault| self.relent(fault));
        let all = || (1..self.nodes.borrow().list.len() as u32).map(NodeId).collect();
        let whole: Vec<NodeId> = core.map_or_else(all, <[NodeId]>::to_vec);
        self.each_device(|device| device.heal(core));
        whole.into_iter().for_each(|id| self.repair(id));
    }

    /// Lets a node run, and run right.
    fn repair(&self, id: NodeId) {
        self.speed_up(id);
        self.thaw(id);
        if let Some(node) = Node::from_id(id) {
            node.clock().repair();
        }
        if self.nodes.borrow()[id].status == Status::Down {
            self.bring_up(id);
        }
    }
}

/// Demands that a system converges; see [`Liveness::until`].
#[must_use = "nothing is demanded before .until(..)"]
pub struct Liveness {
    within: Duration,
    excuse: Option<Box<dyn Fn() -> Option<String>>>,
}

/// Demands that something comes true within a time, after [`heal`] or [`heal_core`].
pub fn liveness(within: Duration) -> Liveness {
    Liveness { within, excuse: None }
}

impl Liveness {
    /// Lets a system off that did not converge, where `excuse` explains why it could not: with an explanation the run goes
    /// on, and the explanation is in the log.
    pub fn unless(mut self, excuse: impl Fn() -> Option<String> + 'static) -> Self {
        self.excuse = Some(Box::new(excuse));
        self
    }

    /// Asks until `converged` is `Ok`, and ends the run as stuck, with its last error, when the time is over.
    pub async fn until<E: Display>(self, mut converged: impl AsyncFnMut() -> Result<(), E>) {
        let deadline = time::elapsed() + self.within;
        loop {
            let Err(why) = converged().await else { return };
            if time::elapsed() >= deadline {
                return self.give_up(&why.to_string());
            }
            time::sleep((self.within / 100).max(Duration::from_millis(1))).await;
        }
    }

    fn give_up(&self, why: &str) {
        let excuse = self.excuse.as_ref().and_then(|excuse| excuse());
        world::with("liveness", |world| match excuse {
            Some(excuse) => world.emit("fault.stall", &[], || excuse),
            None => {
                let within = seconds(nanos(self.within));
                let message = format!("no convergence within {within} after all faults had ended: {why}");
                world.fail(Failure::new(Outcome::Stuck, message));
            }
        });
    }
}
