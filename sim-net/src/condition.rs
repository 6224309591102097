//! Conditions of links: what faults and guards lay on them, and what that makes of each.
//!
//! A condition covers sets of nodes, not links, so that cutting a thousand nodes in half costs two sets. A link looks at
//! the conditions again when it is used after they have changed.

use serde::{Deserialize, Serialize};
use sim_core::NodeId;
use sim_core::device::{self, emit};
use sim_core::fault::FaultId;

use crate::grudge::Grudge;

/// What a condition does to the packets of a link, in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// Packets vanish, as behind a pulled cable or a firewall that drops: connections stall, and time out in the end.
    Drop,
    /// Packets take so many per cent longer.
    Slow(u32),
    /// Packets wait, and all arrive when it ends: streams in order, datagrams in order of sending.
    Jam,
    /// As [`Jam`](Mode::Jam), and datagrams arrive in any order.
    JamShuffled,
    /// Whatever is sent over a connection resets it, at both ends, as a middlebox does that lost its state.
    Reset,
    /// Whoever connects is refused, as by a firewall that rejects; what is connected goes on.
    Refuse,
    /// Packets above 536 bytes vanish: connections open, and hang with the first large message (RFC 2923, a path-MTU
    /// black hole).
    Blackhole,
}

/// Payloads up to so many bytes pass a [`Mode::Blackhole`] (RFC 1122: the least that every host takes, less the headers).
pub(crate) const SMALL: usize = 536;

/// Who laid a condition: what ends it ends its own and no other's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ConditionId(u64);

struct Condition {
    id: ConditionId,
    grudge: Grudge,
    mode: Mode,
    fault: FaultId,
    since: u64,
}

/// What all conditions together make of a link; with the fault to be told when a packet meets it.
#[derive(Default, Clone)]
pub(crate) struct State {
    pub(crate) cut: Option<FaultId>,
    /// Since when, in true time; 0 where it is not.
    pub(crate) cut_since: u64,
    pub(crate) slow: Option<FaultId>,
    /// Latency faults add.
    pub(crate) slow_percent: u32,
    pub(crate) jam: Option<FaultId>,
    pub(crate) shuffled: bool,
    pub(crate) reset: Option<FaultId>,
    pub(crate) refuse: Option<FaultId>,
    pub(crate) blackhole: Option<FaultId>,
}

impl State {
    /// Whether something does not get through: all but slowness.
    pub(crate) fn severs(&self) -> bool {
        [self.cut, self.jam, self.reset, self.refuse, self.blackhole].iter().any(Option::is_some)
    }

    /// What a table of links shows.
    pub(crate) fn in_words(&self) -> String {
        let modes = [
            ("cut", self.cut),
            ("jam", self.jam),
            ("reset", self.reset),
            ("refuse", self.refuse),
            ("blackhole", self.blackhole),
            ("slow", self.slow),
        ];
        modes.into_iter().filter(|(_, fault)| fault.is_some()).map(|(word, _)| word).collect::<Vec<_>>().join(" ")
    }
}

#[derive(Default)]
pub(crate) struct Conditions {
    list: Vec<Condition>,
    made: u64,
    epoch: u64,
}

impl Conditions {
    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn lay(&mut self, grudge: Grudge, mode: Mode, fault: FaultId) -> ConditionId {
        self.made += 1;
        self.epoch += 1;
        let id = ConditionId(self.made);
        emit(NodeId::SUPERVISOR, "net.condition", &[self.made], || format!("{mode:?}: {grudge}"));
        self.list.push(Condition { id, grudge, mode, fault, since: device::now() });
        id
    }

    pub(crate) fn lift(&mut self, id: ConditionId) {
        self.lift_where(|condition| condition.id == id);
    }

    /// Lifts all; or, of each, what lies between some nodes.
    pub(crate) fn heal(&mut self, nodes: Option<&[NodeId]>) {
        match nodes {
            None => self.lift_where(|_| true),
            Some(nodes) => {
                self.epoch += 1;
                self.list.iter_mut().for_each(|condition| condition.grudge.spare(nodes));
            }
        }
    }

    fn lift_where(&mut self, lifted: impl Fn(&Condition) -> bool) {
        let made = self.list.extract_if(.., |condition| lifted(condition));
        for condition in made {
            self.epoch += 1;
            let id = condition.id.0;
            emit(NodeId::SUPERVISOR, "net.heal", &[id], || format!("{:?}: {}", condition.mode, condition.grudge));
        }
    }

    /// What they make of one link.
    pub(crate) fn on(&self, from: NodeId, to: NodeId) -> State {
        let mut state = State::default();
        for Condition { mode, fault, since, .. } in self.list.iter().filter(|c| c.grudge.covers(from, to)) {
            let fault = Some(*fault);
            match mode {
                Mode::Drop => {
                    let earlier = state.cut.map_or(*since, |_| state.cut_since.min(*since));
                    (state.cut, state.cut_since) = (fault, earlier);
                }
                Mode::Slow(percent) => {
                    (state.slow, state.slow_percent) = (fault, state.slow_percent.saturating_add(*percent));
                }
                Mode::Jam => state.jam = fault,
                Mode::JamShuffled => (state.jam, state.shuffled) = (fault, true),
                Mode::Reset => state.reset = fault,
                Mode::Refuse => state.refuse = fault,
                Mode::Blackhole => state.blackhole = fault,
            }
        }
        state
    }
}
