//! Segments on the wire: arriving, lost and sent again, stopped by a link, and resets.

use std::io;
use std::net::SocketAddr;

use sim_core::NodeId;
use sim_core::device::{self, emit};
use sim_core::event::EventKind;
use sim_core::hash::hash_message;

use super::{Connection, End, GIVE_UP, Payload, Phase, RTO_MIN, SECOND, Segment, Stall};
use crate::capture::Flags;
use crate::condition::SMALL;
use crate::kernel::{Due, Kernel};
use crate::link::{Held, LinkId, met};
use crate::rule::{self, Packet, PacketKind};

/// The longest retransmission timeout (Linux, `TCP_RTO_MAX`).
const RTO_MAX: u64 = 120 * SECOND;

const DELIVER: EventKind = EventKind::new("tcp.deliver");

impl Kernel {
    /// Puts a segment on the wire from `end`.
    pub(super) fn send(&mut self, end: End, payload: Payload) {
        self.send_late(end, payload, 0);
    }

    pub(super) fn send_late(&mut self, end: End, payload: Payload, late: u64) {
        let now = device::now();
        if self.capture.is_some() {
            let (flags, bytes) = payload.on_the_wire();
            self.capture(end, flags, bytes);
        }
        let socket = self.connections.socket(end);
        let carried = self.links.get(socket.link).carry(now, payload.length());
        // What a full queue drops is sent again.
        let mut arrives = now.saturating_add(carried.unwrap_or(RTO_MIN)).saturating_add(late);
        if let Some(last) = socket.wire.back() {
            arrives = arrives.max(last.arrives.saturating_add(late.min(1)));
        }
        socket.wire.push_back(Segment { arrives, payload });
        self.look_at(end, arrives);
    }

    /// Looks at the wire of an end at a time, unless it will be looked at before.
    #[inline]
    fn look_at(&mut self, end: End, when: u64) {
        let socket = self.connections.socket(end);
        if when < socket.next_look {
            socket.next_look = when;
            socket.wire_looks += 1;
            self.at(when, Due::Segment(end.number()));
        }
    }

    /// Sends a reset from `end` after what is on the wire; what would have to be sent again is not.
    pub(super) fn send_reset(&mut self, end: End) {
        let socket = self.connections.socket(end);
        socket.small.clear();
        if socket.stall.take().is_some() {
            socket.wire.clear();
        }
        self.send(end, Payload::Reset);
    }

    pub(crate) fn segment_due(&mut self, end: End) {
        let now = device::now();
        let link = self.connections.socket(end).link;
        let mut stalled = false;
        while self.connections.socket(end).wire.front().is_some_and(|segment| segment.arrives <= now) {
            if self.is_blocked(link) || self.links.get(link).loses() || self.is_stopped(end, link) {
                stalled = true;
                break;
            }
            let Some(segment) = self.connections.socket(end).wire.pop_front() else { break };
            if let Some(again) = self.arrive(end, segment.payload) {
                self.connections.socket(end).wire.push_front(Segment { arrives: now, payload: again });
                stalled = true;
                break;
            }
            self.connections.socket(end).stall = None;
        }
        // Until here the connection counted as busy, so that nothing above freed it.
        let socket = self.connections.socket(end);
        socket.wire_looks -= 1;
        socket.next_look = u64::MAX;
        if stalled {
            return self.stalls(end);
        }
        if socket.wire.is_empty() && !socket.small.is_empty() {
            self.send_small(end);
        }
        self.schedule_wire(end);
        self.free_if_idle(end.connection);
    }

    /// Whether the condition of the link stops the first segment on the wire.
    #[inline]
    fn is_stopped(&mut self, end: End, link: LinkId) -> bool {
        let state = self.links.get(link).state();
        if state.jam.is_none() && state.reset.is_none() && state.blackhole.is_none() {
            return false;
        }
        let (jam, reset, blackhole) = (state.jam, state.reset, state.blackhole);
        if met(jam) {
            self.links.get(link).hold(Held::Stream(end.number()));
            return true;
        }
        if met(reset) {
            self.break_both(end);
            return false;
        }
        let front = self.connections.socket(end).wire.front();
        let large = front.is_some_and(|segment| segment.payload.length() > SMALL);
        large && met(blackhole)
    }

    /// A middlebox resets a connection at both ends.
    pub(super) fn break_both(&mut self, end: End) {
        for end in [end, end.peer()] {
            let socket = self.connections.socket(end);
            if !socket.forgotten {
                socket.wire_looks += 1;
                self.breaks(end, io::ErrorKind::ConnectionReset);
                self.connections.socket(end).wire_looks -= 1;
            }
        }
    }

    /// A jam is over: what it held arrives now.
    pub(crate) fn segments_freed(&mut self, end: End) {
        let now = device::now();
        let Some(connection) = self.connections.slab.get_mut(end.connection as usize) else { return };
        let socket = &mut connection.sockets[end.side];
        if socket.wire.is_empty() {
            return;
        }
        socket.stall = None;
        socket.wire.iter_mut().for_each(|segment| segment.arrives = now);
        self.look_at(end, now);
    }

    fn schedule_wire(&mut self, end: End) {
        if let Some(arrives) = self.connections.socket(end).wire.front().map(|segment| segment.arrives) {
            self.look_at(end, arrives);
        }
    }

    /// The first segment of `end` did not get through: it is sent again later, or never if the sender is no more.
    fn stalls(&mut self, end: End) {
        let now = device::now();
        let connection = self.connections.get(end.connection);
        let socket = &mut connection.sockets[end.side];
        // A machine without power sends nothing again, and nobody sends a reset again (RFC 9293, 3.10.7).
        if socket.forgotten || socket.wire.front().is_some_and(|segment| matches!(segment.payload, Payload::Reset)) {
            socket.wire.clear();
            socket.small.clear();
            return self.free_if_idle(end.connection);
        }
        let stall = socket.stall.get_or_insert(Stall { since: now, next_timeout: RTO_MIN });
        if now - stall.since > GIVE_UP {
            return self.breaks(end, io::ErrorKind::TimedOut);
        }
        let again = now + stall.next_timeout;
        stall.next_timeout = (stall.next_timeout * 2).min(RTO_MAX);
        socket.wire.iter_mut().for_each(|segment| segment.arrives = segment.arrives.max(again));
        self.schedule_wire(end);
    }

    /// A payload from `end` reaches the other end. Returned: it must come again later.
    fn arrive(&mut self, end: End, payload: Payload) -> Option<Payload> {
        let peer = end.peer();
        let connection = self.connections.get(end.connection);
        let socket = &mut connection.sockets[peer.side];
        let node = socket.process.node;
        let (kind, size, content) = match &payload {
            Payload::Data(bytes) => (0, bytes.len() as u64, hash_message(bytes)),
            Payload::Established => (1, 0, 0),
            Payload::Fin => (2, 0, 0),
            Payload::Reset => (3, 0, 0),
        };
        let (from, to) = (connection.sockets[end.side].address, connection.sockets[peer.side].address);
        emit(node, DELIVER, &[u64::from(end.number()), kind, size, content], || {
            let what = ["", "SYN done, ", "FIN, ", "RST, "][kind as usize];
            format!("{from} -> {to}: {what}{size} bytes")
        });
        let socket = self.connections.socket(peer);
        socket.heard_at = device::now();
        match payload {
            Payload::Established => return (!self.established(peer)).then_some(Payload::Established),
            Payload::Reset => {
                if !socket.forgotten {
                    self.breaks(peer, io::ErrorKind::ConnectionReset);
                }
            }
            Payload::Data(_) | Payload::Fin if socket.broken => {}
            Payload::Data(_) if socket.forgotten || socket.released => {
                socket.broken = true;
                self.send_reset(peer);
            }
            Payload::Data(_) if socket.shut_read && socket.sent_fin => {
                // Linux, `tcp_rcv_state_process`: for nobody (RFC 1122, 4.2.2.13).
                self.breaks(peer, io::ErrorKind::ConnectionReset);
                self.send_reset(peer);
            }
            Payload::Data(bytes) => {
                socket.inbox.push_back(bytes);
                self.wakes.extend(socket.reader.take());
            }
            Payload::Fin if socket.forgotten => self.send_reset(peer),
            Payload::Fin => {
                socket.end_of_stream = true;
                self.wakes.extend(socket.reader.take());
            }
        }
        None
    }

    /// The connection is no more, as far as `end` can tell.
    pub(super) fn breaks(&mut self, end: End, error: io::ErrorKind) {
        let socket = self.connections.socket(end);
        if !socket.broken {
            // Who has read to the end learns of a reset only when writing (Linux, tcp_reset).
            let ended = socket.end_of_stream && error == io::ErrorKind::ConnectionReset;
            let error = if ended { io::ErrorKind::BrokenPipe } else { error };
            (socket.broken, socket.error) = (true, Some(error));
        }
        socket.wire.clear();
        socket.small.clear();
        self.wakes.extend(socket.reader.take());
        self.wakes.extend(socket.writer.take());
        self.free_if_idle(end.connection);
    }

    /// Sends bytes into the youngest open connection between two nodes that leads to the port of one of the addresses.
    pub(crate) fn inject_data(
        &mut self,
        ends: (NodeId, NodeId),
        source: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) -> bool {
        let open = self.connections.slab.iter().filter(|(_, connection)| connection.phase == Phase::Open);
        let found = open.flat_map(|(slot, connection)| (0..2).map(move |side| (slot, side, connection)));
        let found = found.filter(|(_, side, connection)| {
            let (mine, theirs) = (&connection.sockets[*side], &connection.sockets[1 - side]);
            let port =
                if *side == 0 { theirs.address.port() == to.port() } else { mine.address.port() == source.port() };
            let open = !mine.broken && !mine.sent_fin && !mine.forgotten && !theirs.is_gone();
            port && open && (mine.process.node, theirs.process.node) == ends
        });
        let youngest = found.max_by_key(|(.., connection)| connection.serial);
        let youngest = youngest.map(|(slot, side, _)| End { connection: slot as u32, side });
        if let Some(end) = youngest {
            self.transmit(end, bytes, 0);
        }
        youngest.is_some()
    }

    /// What is on the wires of connections.
    pub(crate) fn data_in_flight(&self) -> Vec<Packet> {
        let mut packets = Vec::new();
        for (_, Connection { sockets, .. }) in &self.connections.slab {
            for (side, socket) in sockets.iter().enumerate() {
                let peer = &sockets[1 - side];
                let ends = (socket.process.node, peer.process.node);
                for segment in &socket.wire {
                    if let Payload::Data(bytes) = &segment.payload {
                        packets.extend(rule::packet(PacketKind::Data, ends, (socket.address, peer.address), bytes));
                    }
                }
            }
        }
        packets
    }
}

impl Payload {
    fn length(&self) -> usize {
        match self {
            Payload::Data(bytes) => bytes.len(),
            Payload::Established | Payload::Fin | Payload::Reset => 0,
        }
    }

    fn on_the_wire(&self) -> (Flags, &[u8]) {
        match self {
            Payload::Data(bytes) => (Flags::DATA, bytes),
            Payload::Established => (Flags::ACK, &[]),
            Payload::Fin => (Flags::FIN, &[]),
            Payload::Reset => (Flags::RESET, &[]),
        }
    }
}
