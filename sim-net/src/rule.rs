//! Rules: closures that judge packets, or messages of a protocol, as they leave.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Node, NodeId};

use crate::kernel::{act, act_if_running};
use crate::tcp::End;

/// What a packet is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PacketKind {
    /// A UDP datagram.
    Datagram,
    /// Asks for a connection.
    Syn,
    /// Bytes of a connection.
    Data,
    /// A whole message of a decoded protocol, on a connection.
    Message,
}

/// A packet, or a message, on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Packet {
    /// What it is.
    pub kind: PacketKind,
    /// Who sends it.
    pub from: Node,
    /// Who is to get it.
    pub to: Node,
    /// The sender's address.
    pub source: SocketAddr,
    /// The receiver's address.
    pub destination: SocketAddr,
    /// What it carries.
    pub bytes: Vec<u8>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on.
    #[default]
    Pass,
    /// It vanishes. Data of a connection is sent again a timeout later; a message is taken out of its stream.
    Drop,
    /// It takes so much longer; what follows it in its stream waits for it.
    Delay(Duration),
    /// It arrives twice; the data of a connection does not, and a message does.
    Duplicate,
    /// One bit of it is changed; data of a connection is sent again, because a checksum tells.
    Corrupt,
    /// Its connection is reset, at both ends; a datagram vanishes.
    Reset,
}

type Judge = Rc<RefCell<dyn FnMut(&Packet) -> Verdict>>;

/// Says how long the first message in the bytes is; none while it is not complete.
type Decoder = Rc<dyn Fn(&[u8]) -> Option<usize>>;

#[derive(Clone)]
pub(crate) struct Entry {
    id: u64,
    judge: Judge,
    decoder: Option<(u16, Decoder)>,
}

/// The rules in force, and what decoders have not decoded yet.
#[derive(Default)]
pub(crate) struct Rules {
    list: Vec<Entry>,
    made: u64,
    pending: BTreeMap<(u64, usize), Vec<u8>>,
}

impl Rules {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What a decoder has of the bytes of an end, by the serial of its connection.
    pub(crate) fn take_pending(&mut self, serial: u64, end: End) -> Vec<u8> {
        self.pending.remove(&(serial, end.side)).unwrap_or_default()
    }

    pub(crate) fn keep_pending(&mut self, serial: u64, end: End, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.pending.insert((serial, end.side), bytes);
        }
    }

    /// The rule that decodes what goes over a connection.
    pub(crate) fn decoder(&self, source: SocketAddr, destination: SocketAddr) -> Option<Entry> {
        let of = |port: u16| port == source.port() || port == destination.port();
        self.list.iter().find(|rule| rule.decoder.as_ref().is_some_and(|(port, _)| of(*port))).cloned()
    }
}

/// A rule that is in force until this is dropped.
#[must_use = "the rule ends when this guard is dropped; keep it, or call .forget() to keep the rule"]
#[derive(Debug)]
pub struct Rule {
    id: Option<u64>,
}

impl Rule {
    /// Keeps the rule until the end of the run.
    pub fn forget(mut self) {
        self.id = None;
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let mut gone = Vec::new();
            act_if_running(|kernel| gone.extend(kernel.rules.list.extract_if(.., |entry| entry.id == id)));
            drop(gone);
        }
    }
}

fn add(judge: impl FnMut(&Packet) -> Verdict + 'static, decoder: Option<(u16, Decoder)>) -> Rule {
    let judge: Judge = Rc::new(RefCell::new(judge));
    let id = act("net::rule", |kernel| {
        kernel.rules.made += 1;
        let id = kernel.rules.made;
        kernel.rules.list.push(Entry { id, judge, decoder });
        id
    });
    Rule { id: Some(id) }
}

/// Lets a closure judge every packet as it leaves, until the guard is dropped. When several rules judge, the first verdict
/// that is not [`Verdict::Pass`] counts.
///
/// ```
/// use sim_net::{PacketKind, Verdict, rule};
/// # let report = sim_core::Sim::new(1).run(|| async {
/// let mut seen = 0;
/// let _lose_every_third = rule(move |packet| {
///     seen += usize::from(packet.kind == PacketKind::Datagram);
///     if seen % 3 == 0 { Verdict::Drop } else { Verdict::Pass }
/// });
/// # });
/// # assert!(report.passed());
/// ```
#[track_caller]
pub fn rule(judge: impl FnMut(&Packet) -> Verdict + 'static) -> Rule {
    add(judge, None)
}

/// Lets a closure judge every message that is sent over a connection to `port`, and every answer, until the guard is
/// dropped. `decode` says how long the first message in the bytes is, and nothing while it is incomplete; bytes wait until
/// their message is complete. Only one rule of this sort can be in force for a port.
#[track_caller]
pub fn message_rule(
    port: u16,
    decode: impl Fn(&[u8]) -> Option<usize> + 'static,
    judge: impl FnMut(&Packet) -> Verdict + 'static,
) -> Rule {
    add(judge, Some((port, Rc::new(decode))))
}

/// What all rules on packets say. Called while nothing is borrowed: rules are code of a user.
pub(crate) fn judge(packet: &Packet) -> Verdict {
    let rules = act("net::rule", |kernel| kernel.rules.list.clone());
    verdict(rules.into_iter().filter(|rule| rule.decoder.is_none()), packet)
}

fn verdict(rules: impl Iterator<Item = Entry>, packet: &Packet) -> Verdict {
    for rule in rules {
        // A rule that sends packets itself is not asked about these.
        if let Ok(mut judge) = rule.judge.try_borrow_mut() {
            match judge(packet) {
                Verdict::Pass => {}
                other => return other,
            }
        }
    }
    Verdict::Pass
}

/// Cuts bytes that wait into messages, and says what becomes of each.
pub(crate) fn judge_messages(rule: &Entry, pending: &mut Vec<u8>, packet: &Packet) -> Vec<(Vec<u8>, Verdict)> {
    let mut judged = Vec::new();
    let decode = |bytes: &[u8]| rule.decoder.as_ref().and_then(|(_, decode)| decode(bytes));
    while let Some(length) = decode(pending).filter(|length| (1..=pending.len()).contains(length)) {
        let rest = pending.split_off(length);
        let bytes = std::mem::replace(pending, rest);
        let packet = Packet { kind: PacketKind::Message, bytes, ..packet.clone() };
        let verdict = verdict(std::iter::once(rule.clone()), &packet);
        judged.push((packet.bytes, verdict));
    }
    judged
}

/// Packets that a rule kept a copy of, to be sent again: after a restart, in another epoch, as often as you like.
#[must_use = "the recording ends when this is dropped"]
#[derive(Debug)]
pub struct Recording {
    packets: Rc<RefCell<Vec<Packet>>>,
    on: Rc<Cell<bool>>,
    _rule: Rule,
}

/// Keeps a copy of every packet that leaves and that `wanted` says.
#[track_caller]
pub fn record(wanted: impl Fn(&Packet) -> bool + 'static) -> Recording {
    let (packets, on) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(true)));
    let (kept, recording) = (packets.clone(), on.clone());
    let rule = rule(move |packet| {
        if recording.get() && wanted(packet) {
            kept.borrow_mut().push(packet.clone());
        }
        Verdict::Pass
    });
    Recording { packets, on, _rule: rule }
}

impl Recording {
    /// What was kept so far, in order.
    pub fn packets(&self) -> Vec<Packet> {
        self.packets.borrow().clone()
    }

    /// Keeps no more.
    pub fn stop(&self) {
        self.on.set(false);
    }
}

/// Sends a packet once more, as if it had been on its way until now: a datagram to its address; data into the youngest
/// open connection between its nodes that leads to the same port. Whether there was such a connection.
#[track_caller]
pub fn replay(packet: &Packet) -> bool {
    act("net::replay", |kernel| match packet.kind {
        PacketKind::Datagram => {
            let ends = (packet.source, packet.destination);
            kernel.send_datagram((packet.from.id(), true), ends, &packet.bytes, Verdict::Pass);
            true
        }
        PacketKind::Data | PacketKind::Message => {
            let ends = (packet.from.id(), packet.to.id());
            kernel.inject_data(ends, packet.source, packet.destination, &packet.bytes)
        }
        PacketKind::Syn => false,
    })
}

/// All packets that are on their way or held by a jam.
#[track_caller]
pub fn in_flight() -> Vec<Packet> {
    act("net::in_flight", |kernel| {
        let mut packets = kernel.data_in_flight();
        packets.extend(kernel.datagrams_in_flight());
        packets
    })
}

pub(crate) fn packet(
    kind: PacketKind,
    ends: (NodeId, NodeId),
    addresses: (SocketAddr, SocketAddr),
    bytes: &[u8],
) -> Option<Packet> {
    let (from, to) = (Node::from_id(ends.0)?, Node::from_id(ends.1)?);
    Some(Packet { kind, from, to, source: addresses.0, destination: addresses.1, bytes: bytes.to_vec() })
}
