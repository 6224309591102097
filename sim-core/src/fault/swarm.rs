//! Faults of random kinds, and the budget that keeps enough of a system alive.

use std::ops::Range;
use std::time::Duration;

use super::engine::Faults;
use super::plan::{Fault, Plan};
use super::rhythm::Rhythm;
use crate::choice::{Draws, Ratio, Stream, nanos};
use crate::glob::matches;
use crate::hash::hash_str;
use crate::life::Status;
use crate::node::NodeId;
use crate::world::World;

/// Faults of a random subset of all kinds, each at its own random rate: per seed some kinds are absent, so that what one
/// kind hides another seed shows (Groce et al., "Swarm Testing", ISSTA 2012).
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Swarm {
    /// A pattern for the nodes that may be struck.
    pub nodes: String,
    /// A pattern for the kinds of faults.
    pub kinds: String,
    /// How likely a kind is part of a run.
    pub kind_probability: Ratio,
    /// Between which times a kind comes again, on average; drawn once per run and kind.
    pub gap_mean: Range<Duration>,
    /// When faults strike: none comes outside.
    pub window: Range<Duration>,
}

impl Default for Swarm {
    /// All nodes but the test's own, half of all kinds, each once in one to thirty seconds, for a minute.
    fn default() -> Self {
        Swarm {
            nodes: "*".to_string(),
            kinds: "**".to_string(),
            kind_probability: Ratio::new(1, 2),
            gap_mean: Duration::from_secs(1)..Duration::from_secs(30),
            window: Duration::ZERO..Duration::from_secs(60),
        }
    }
}

impl Swarm {
    /// The default swarm on nodes that match a pattern.
    pub fn on(nodes: &str) -> Self {
        Swarm { nodes: nodes.to_string(), ..Swarm::default() }
    }

    /// Only kinds that match a pattern, such as `net.*`.
    pub fn kinds(mut self, kinds: &str) -> Self {
        self.kinds = kinds.to_string();
        self
    }

    /// Only between these times.
    pub fn window(mut self, window: Range<Duration>) -> Self {
        self.window = window;
        self
    }

    /// One fault for each kind of this run.
    pub(super) fn plan(&self, faults: &Faults, draws: &mut Draws) -> Plan {
        let mut plan = Plan::new();
        for kind in faults.kinds().filter(|kind| kind.sample.is_some() && matches(&self.kinds, kind.name)) {
            let mean = draws.duration(self.gap_mean.clone());
            if draws.chance(self.kind_probability) {
                let rhythm = Rhythm::poisson(mean).window(self.window.clone());
                plan = plan.every(rhythm, Fault::new(kind.name, &[]).arg("among", &*self.nodes).may_miss());
            }
        }
        plan
    }

    pub(super) fn draws(world: &World) -> Draws {
        world.choices.stream(Stream::FAULT, hash_str("swarm"))
    }
}

/// Keeps enough nodes alive, and together, for the system to owe an answer (FoundationDB: `canKillProcesses`). A kill that
/// would leave too few is downgraded to a reboot, a cut that would keep the rest apart to nothing, and the report says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Patterns for the nodes it is about.
    pub nodes: Vec<String>,
    /// How many of them stay up; a majority of them when absent.
    pub keep_up: Option<usize>,
    /// Whether one of those that are up reaches as many of the others as make the number full, and they reach it.
    pub connected: bool,
}

impl Budget {
    /// Keeps a majority of the nodes up that match one of the patterns.
    pub fn majority(nodes: &[&str]) -> Self {
        Budget { nodes: nodes.iter().map(ToString::to_string).collect(), keep_up: None, connected: false }
    }

    /// Keeps so many of the nodes up that match one of the patterns; of one node, that it is never down for long.
    pub fn keep(keep_up: usize, nodes: &[&str]) -> Self {
        Budget { keep_up: Some(keep_up), ..Budget::majority(nodes) }
    }

    /// Keeps them together as well: whatever is cut, one of them could lead.
    pub fn connected(self) -> Self {
        Budget { connected: true, ..self }
    }

    fn covers(&self, name: &str) -> bool {
        self.nodes.iter().any(|pattern| matches(pattern, name))
    }

    /// Whether this may not go down now.
    pub(super) fn forbids(&self, world: &World, fault: &Fault) -> bool {
        fault.target.iter().any(|name| self.covers(name)) && !self.holds_without(world, &fault.target)
    }

    /// Whether what is cut leaves enough together.
    pub(super) fn holds(&self, world: &World) -> bool {
        !self.connected || self.holds_without(world, &[])
    }

    fn holds_without(&self, world: &World, gone: &[String]) -> bool {
        let (members, up) = {
            let nodes = world.nodes.borrow();
            let members = (1..nodes.list.len() as u32).map(NodeId).filter(|id| self.covers(&nodes[*id].name));
            let members: Vec<NodeId> = members.collect();
            let runs = |id: &NodeId| matches!(nodes[*id].status, Status::Up | Status::Paused);
            let stays = |id: &NodeId| !gone.iter().any(|name| **name == *nodes[*id].name);
            let up: Vec<NodeId> = members.iter().copied().filter(|id| runs(id) && stays(id)).collect();
            (members.len(), up)
        };
        let keep = self.keep_up.unwrap_or(members / 2 + 1);
        let severs = |from, to| world.devices.all().any(|device| device.severs(from, to));
        let joins = |a: NodeId, b: NodeId| a == b || !(severs(a, b) || severs(b, a));
        let leads = |leader: NodeId| up.iter().filter(|other| joins(leader, **other)).count() >= keep;
        up.len() >= keep && (!self.connected || keep == 0 || up.iter().any(|id| leads(*id)))
    }
}

/// A duration of a range, as the argument of a fault.
pub(super) fn span(draws: &mut Draws, range: Range<Duration>) -> Duration {
    Duration::from_millis(draws.range(nanos(range.start) / 1_000_000..nanos(range.end) / 1_000_000))
}

/// One of the names, for a [`Sample`](super::Sample).
///
/// # Panics
/// When there is none.
pub fn one(draws: &mut Draws, among: &[String]) -> String {
    among[draws.below(among.len() as u64) as usize].clone()
}

/// How long a fault of a swarm lasts: 50 milliseconds at the least, three seconds more on average.
pub fn away(draws: &mut Draws) -> Duration {
    Duration::from_millis(50 + draws.exponential(3_000))
}
