//! Directed links: what lies between one node and another.

use std::collections::BTreeMap;
use std::time::Duration;

use sim_core::choice::{Draws, Stream};
use sim_core::device::{self, emit};
use sim_core::{Node, NodeId, Ratio};

use crate::kernel::act;

/// The stream of choices of the network; the entity is the link.
const NET: Stream = Stream::new("net");

/// What a link does to a packet, in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkOptions {
    /// The least time from one end to the other.
    pub latency_min: Duration,
    /// The time that it stays below; every packet draws between the two.
    pub latency_max: Duration,
    /// How likely a packet is lost. A datagram is gone then; a segment of a stream comes a retransmission later.
    pub loss_probability: Ratio,
}

impl Default for LinkOptions {
    /// Half a millisecond to two, and no loss.
    fn default() -> Self {
        LinkOptions {
            latency_min: Duration::from_micros(500),
            latency_max: Duration::from_millis(2),
            loss_probability: Ratio::ZERO,
        }
    }
}

impl LinkOptions {
    /// The loopback interface: ten to fifty microseconds.
    pub fn loopback() -> Self {
        LinkOptions {
            latency_min: Duration::from_micros(10),
            latency_max: Duration::from_micros(50),
            loss_probability: Ratio::ZERO,
        }
    }

    /// Always this latency.
    pub fn fixed(latency: Duration) -> Self {
        LinkOptions { latency_min: latency, latency_max: latency, ..LinkOptions::default() }
    }

    /// Sets the probability of loss.
    pub fn loss(mut self, probability: Ratio) -> Self {
        self.loss_probability = probability;
        self
    }
}

/// A link in the kernel's table.
pub(crate) struct Link {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    options: LinkOptions,
    /// The cuts that lie on it; it carries nothing unless there is none.
    cuts: Vec<CutId>,
    draws: Draws,
}

impl Link {
    pub(crate) fn is_cut(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// The time one packet takes.
    #[inline]
    pub(crate) fn latency(&mut self) -> u64 {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.draws.range(nanos(self.options.latency_min)..nanos(self.options.latency_max))
    }

    #[inline]
    pub(crate) fn loses(&mut self) -> bool {
        self.draws.chance(self.options.loss_probability)
    }
}

/// The number of a link in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkId(u32);

/// Who cut: what heals a link heals its own cut and no other's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CutId(u64);

/// All links that were ever used or changed.
#[derive(Default)]
pub(crate) struct Links {
    list: Vec<Link>,
    by_ends: BTreeMap<(NodeId, NodeId), LinkId>,
    default: LinkOptions,
    cuts_made: u64,
}

impl Links {
    pub(crate) fn id(&mut self, from: NodeId, to: NodeId) -> LinkId {
        if let Some(id) = self.by_ends.get(&(from, to)) {
            return *id;
        }
        let id = LinkId(self.list.len() as u32);
        let options = if from == to { LinkOptions::loopback() } else { self.default.clone() };
        let draws = device::draws(NET, (u64::from(from.0) << 32) | u64::from(to.0));
        self.list.push(Link { from, to, options, cuts: Vec::new(), draws });
        self.by_ends.insert((from, to), id);
        id
    }

    #[inline]
    pub(crate) fn get(&mut self, id: LinkId) -> &mut Link {
        &mut self.list[id.0 as usize]
    }

    pub(crate) fn between(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        let id = self.id(from, to);
        self.get(id)
    }

    /// Cuts links, until the cut that is returned is healed.
    pub(crate) fn cut(&mut self, pairs: &[(NodeId, NodeId)]) -> CutId {
        self.cuts_made += 1;
        let id = CutId(self.cuts_made);
        for (from, to) in pairs {
            let link = self.between(*from, *to);
            if link.cuts.is_empty() {
                emit(*from, "net.cut", &[u64::from(to.0)], || format!("to {}", name(*to)));
            }
            link.cuts.push(id);
        }
        id
    }

    pub(crate) fn heal(&mut self, id: CutId) {
        self.heal_where(|cut| *cut == id);
    }

    pub(crate) fn heal_all(&mut self) {
        self.heal_where(|_| true);
    }

    fn heal_where(&mut self, healed: impl Fn(&CutId) -> bool) {
        for link in self.list.iter_mut().filter(|link| link.is_cut()) {
            link.cuts.retain(|cut| !healed(cut));
            if link.cuts.is_empty() {
                emit(link.from, "net.heal", &[u64::from(link.to.0)], || format!("to {}", name(link.to)));
            }
        }
    }
}

pub(crate) fn name(node: NodeId) -> String {
    Node::from_id(node).map_or_else(String::new, Node::name)
}

/// The options of the link from one node to another.
#[track_caller]
pub fn link_options(from: Node, to: Node) -> LinkOptions {
    act("net::link_options", |kernel| kernel.links.between(from.id(), to.id()).options.clone())
}

/// Changes the link from one node to another, for what is sent from now on. `None` for both nodes changes every link
/// between different nodes, present and future.
#[track_caller]
pub fn set_link_options(ends: Option<(Node, Node)>, options: LinkOptions) {
    act("net::set_link_options", |kernel| match ends {
        Some((from, to)) => kernel.links.between(from.id(), to.id()).options = options,
        None => {
            for link in kernel.links.list.iter_mut().filter(|link| link.from != link.to) {
                link.options = options.clone();
            }
            kernel.links.default = options;
        }
    });
}
