//! Directed links: what lies between one node and another, and what befalls a packet on it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sim_core::choice::{Draws, Stream, nanos};
use sim_core::device;
use sim_core::fault::{FaultId, observed};
use sim_core::{Node, NodeId, Ratio, Spread};

use crate::condition::{Conditions, State};
use crate::kernel::act;
use crate::topology::Topology;

/// The stream of choices of the network; the entity is the link.
const NET: Stream = Stream::new("net");

/// What a queue does with a packet when it is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// Drops the packet that comes last.
    #[default]
    Tail,
    /// Drops any of those in the queue, the new one included.
    Random,
    /// Drops none: the queue is the sender's, and grows.
    Backpressure,
}

/// What a link does to a packet, in one direction. Segments of a stream are never lost for good, doubled, changed or out
/// of order: what is lost of them comes a retransmission later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// The time from one end to the other.
    pub latency: Spread,
    /// How likely a packet takes as long as the one before it.
    pub latency_correlation: Ratio,
    /// Every link has up to this much more latency of its own, drawn once.
    pub skew_max: Duration,
    /// How likely a packet is lost.
    pub loss_probability: Ratio,
    /// How likely a packet shares the fate of the one before it, so that losses come in bursts (netem's correlation).
    pub loss_correlation: Ratio,
    /// How likely a datagram arrives twice.
    pub duplicate_probability: Ratio,
    /// How likely a datagram is overtaken, by being held back for `reorder_delay` more.
    pub reorder_probability: Ratio,
    /// How long one that is overtaken is held back.
    pub reorder_delay: Spread,
    /// How likely one bit of a datagram is changed on the way, unnoticed by its checksum.
    pub corrupt_probability: Ratio,
    /// Bytes per second; as fast as can be when absent.
    pub bandwidth: Option<u64>,
    /// Packets that may wait for the bandwidth.
    pub queue: usize,
    /// What happens to one more.
    pub overflow: Overflow,
    /// The bytes of the largest packet. A larger datagram travels in fragments, and is lost with any of them.
    pub mtu: usize,
}

impl Default for LinkOptions {
    /// A data centre: half a millisecond to two, and nothing goes wrong.
    fn default() -> Self {
        LinkOptions {
            latency: (Duration::from_micros(500)..Duration::from_millis(2)).into(),
            latency_correlation: Ratio::ZERO,
            skew_max: Duration::ZERO,
            loss_probability: Ratio::ZERO,
            loss_correlation: Ratio::ZERO,
            duplicate_probability: Ratio::ZERO,
            reorder_probability: Ratio::ZERO,
            reorder_delay: Duration::from_millis(10).into(),
            corrupt_probability: Ratio::ZERO,
            bandwidth: None,
            queue: 1_000,
            overflow: Overflow::Tail,
            mtu: 1_500,
        }
    }
}

impl LinkOptions {
    /// The loopback interface: ten to fifty microseconds, and packets of 64 KiB.
    pub fn loopback() -> Self {
        let latency = (Duration::from_micros(10)..Duration::from_micros(50)).into();
        LinkOptions { latency, mtu: 65_536, ..LinkOptions::default() }
    }

    /// Always this latency.
    pub fn fixed(latency: Duration) -> Self {
        LinkOptions { latency: latency.into(), ..LinkOptions::default() }
    }

    /// Between continents: 30 ms and more, 40 on average, a fixed skew per pair, one packet in a thousand lost, in bursts.
    pub fn wan() -> Self {
        LinkOptions {
            latency: Spread::exponential(Duration::from_millis(30), Duration::from_millis(40)),
            skew_max: Duration::from_millis(60),
            loss_probability: Ratio::new(1, 1_000),
            loss_correlation: Ratio::percent(25),
            ..LinkOptions::default()
        }
    }

    /// Sets the probability of loss.
    pub fn loss(mut self, probability: Ratio) -> Self {
        self.loss_probability = probability;
        self
    }

    /// Sets the bandwidth in bytes per second.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1));
        self
    }

    /// Whether a packet only takes its latency.
    fn is_plain(&self) -> bool {
        self.bandwidth.is_none() && self.skew_max.is_zero() && self.latency_correlation == Ratio::ZERO
    }
}

/// What a link has carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LinkCounts {
    /// Packets that were put on it.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets that did not get through, those that were sent again included.
    pub lost: u64,
}

/// A link in the kernel's table.
pub(crate) struct Link {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    options: LinkOptions,
    plain: bool,
    pub(crate) counts: LinkCounts,
    /// What conditions make of it, as of an epoch of these.
    state: State,
    epoch: u64,
    skew: u64,
    last_latency: u64,
    last_lost: bool,
    last_arrival: u64,
    busy_until: u64,
    departures: VecDeque<u64>,
    /// What waits for the end of a jam.
    pub(crate) held: Vec<Held>,
    shuffled: bool,
    draws: Draws,
}

/// What a jam holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held {
    /// Segments of an end of a connection.
    Stream(u32),
    Datagram(u32),
}

impl Link {
    #[inline]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The time one packet takes that is sent now, or that it is dropped by a full queue.
    #[inline]
    pub(crate) fn carry(&mut self, now: u64, bytes: usize) -> Option<u64> {
        self.counts.sent += 1;
        self.counts.bytes += bytes as u64;
        let delay = self.latency();
        if self.from == self.to {
            // The loopback interface is a queue: nothing overtakes.
            self.last_arrival = self.last_arrival.max(now.saturating_add(delay));
            return Some(self.last_arrival - now);
        }
        if self.options.bandwidth.is_none() {
            return Some(delay);
        }
        Some(self.queue(now, bytes)?.saturating_add(delay))
    }

    /// The time a packet takes that needs no bandwidth.
    #[inline]
    pub(crate) fn latency(&mut self) -> u64 {
        let latency = self.options.latency.draw_nanos(&mut self.draws);
        if self.plain && self.state.slow_percent == 0 {
            return latency;
        }
        self.uneven(latency)
    }

    fn uneven(&mut self, drawn: u64) -> u64 {
        let again = self.draws.chance(self.options.latency_correlation);
        let latency = if again && self.last_latency > 0 { self.last_latency } else { drawn };
        self.last_latency = latency;
        let latency = latency.saturating_add(self.skew);
        if let Some(fault) = self.state.slow {
            observed(fault);
        }
        latency.saturating_add(latency / 100 * u64::from(self.state.slow_percent))
    }

    /// The time a packet waits until it has left, or none when there is no room for it.
    fn queue(&mut self, now: u64, bytes: usize) -> Option<u64> {
        let rate = self.options.bandwidth.unwrap_or(u64::MAX);
        while self.departures.front().is_some_and(|at| *at <= now) {
            self.departures.pop_front();
        }
        if self.departures.len() >= self.options.queue && self.options.overflow != Overflow::Backpressure {
            let any = self.options.overflow == Overflow::Random;
            let victim = if any { self.draws.below(self.departures.len() as u64 + 1) } else { 0 };
            if !any || victim == 0 {
                self.counts.lost += 1;
                return None;
            }
        }
        let takes = u128::from(bytes as u64) * 1_000_000_000 / u128::from(rate);
        self.busy_until = self.busy_until.max(now).saturating_add(u64::try_from(takes).unwrap_or(u64::MAX));
        self.departures.push_back(self.busy_until);
        Some(self.busy_until - now)
    }

    #[inline]
    pub(crate) fn loses(&mut self) -> bool {
        self.options.loss_probability != Ratio::ZERO && self.draw_loss()
    }

    fn draw_loss(&mut self) -> bool {
        if !self.draws.chance(self.options.loss_correlation) {
            self.last_lost = self.draws.chance(self.options.loss_probability);
        }
        self.counts.lost += u64::from(self.last_lost);
        self.last_lost
    }

    /// Whether any fragment of a datagram is lost.
    pub(crate) fn loses_datagram(&mut self, bytes: usize) -> bool {
        let fragments = bytes.div_ceil(self.options.mtu.max(1)).max(1);
        (0..fragments).any(|_| self.loses())
    }

    pub(crate) fn duplicates(&mut self) -> bool {
        self.draws.chance(self.options.duplicate_probability)
    }

    /// How much longer a datagram takes that others overtake.
    pub(crate) fn holds_back(&mut self) -> u64 {
        if self.draws.chance(self.options.reorder_probability) {
            self.options.reorder_delay.draw_nanos(&mut self.draws)
        } else {
            0
        }
    }

    /// The bit that is changed of a datagram.
    pub(crate) fn corrupts(&mut self, bytes: usize) -> Option<u64> {
        let corrupt = bytes > 0 && self.draws.chance(self.options.corrupt_probability);
        corrupt.then(|| self.draws.below(bytes as u64 * 8))
    }

    /// Puts what was held into another order than that of sending, where the jam that is over says so.
    pub(crate) fn mix(&mut self, held: &mut [Held]) {
        for last in (1..held.len()).rev().take_while(|_| self.shuffled) {
            held.swap(last, self.draws.below(last as u64 + 1) as usize);
        }
    }

    /// Keeps something until the end of the jam.
    pub(crate) fn hold(&mut self, held: Held) {
        self.shuffled = self.state.shuffled;
        self.held.push(held);
    }

    pub(crate) fn any_bit(&mut self, bytes: usize) -> u64 {
        self.draws.below(bytes as u64 * 8)
    }

    pub(crate) fn splits(&mut self, probability: Ratio, bytes: usize) -> Option<usize> {
        let splits = bytes > 1 && self.draws.chance(probability);
        splits.then(|| 1 + self.draws.below(bytes as u64 - 1) as usize)
    }

    fn set_options(&mut self, options: LinkOptions) {
        self.skew = self.draws.below(nanos(options.skew_max));
        self.plain = options.is_plain();
        self.options = options;
    }
}

/// The number of a link in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LinkId(u32);

/// All links that were ever used or changed.
#[derive(Default)]
pub(crate) struct Links {
    list: Vec<Link>,
    by_ends: BTreeMap<(NodeId, NodeId), LinkId>,
    pub(crate) topology: Topology,
    pub(crate) conditions: Conditions,
}

impl Links {
    pub(crate) fn id(&mut self, from: NodeId, to: NodeId) -> LinkId {
        if let Some(id) = self.by_ends.get(&(from, to)) {
            return *id;
        }
        let id = LinkId(self.list.len() as u32);
        let draws = device::draws(NET, (u64::from(from.0) << 32) | u64::from(to.0));
        let mut link = Link {
            from,
            to,
            options: LinkOptions::default(),
            plain: true,
            counts: LinkCounts::default(),
            state: State::default(),
            epoch: 0,
            skew: 0,
            last_latency: 0,
            last_lost: false,
            last_arrival: 0,
            busy_until: 0,
            departures: VecDeque::new(),
            held: Vec::new(),
            shuffled: false,
            draws,
        };
        link.set_options(self.topology.link(from, to));
        self.list.push(link);
        self.by_ends.insert((from, to), id);
        id
    }

    /// A link, as the conditions have it now.
    #[inline]
    pub(crate) fn get(&mut self, id: LinkId) -> &mut Link {
        let link = &mut self.list[id.0 as usize];
        if link.epoch != self.conditions.epoch() {
            link.epoch = self.conditions.epoch();
            link.state = self.conditions.on(link.from, link.to);
        }
        link
    }

    pub(crate) fn between(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        let id = self.id(from, to);
        self.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.list.iter()
    }

    /// What jams held on links that are no longer jammed, by link.
    pub(crate) fn take_released(&mut self) -> Vec<(LinkId, Vec<Held>)> {
        let waiting = (0..self.list.len() as u32).map(LinkId).filter(|id| !self.list[id.0 as usize].held.is_empty());
        let waiting: Vec<LinkId> = waiting.collect();
        let freed = waiting.into_iter().filter(|id| self.get(*id).state.jam.is_none()).collect::<Vec<_>>();
        freed.into_iter().map(|id| (id, std::mem::take(&mut self.get(id).held))).collect()
    }

    fn change_all(&mut self, topology: Topology) {
        self.topology = topology;
        for link in self.list.iter_mut().filter(|link| link.from != link.to) {
            link.set_options(self.topology.link(link.from, link.to));
        }
    }
}

/// Counts that a fault kept a packet from getting through, and says so.
#[inline]
pub(crate) fn met(fault: Option<FaultId>) -> bool {
    match fault {
        None => false,
        Some(fault) => {
            observed(fault);
            true
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
        Some((from, to)) => kernel.links.between(from.id(), to.id()).set_options(options),
        None => kernel.links.change_all(Topology::flat(options)),
    });
}

/// Says how far nodes are from each other by the zones they are in; see [`Topology`].
#[track_caller]
pub fn set_topology(topology: Topology) {
    act("net::set_topology", |kernel| kernel.links.change_all(topology));
}
