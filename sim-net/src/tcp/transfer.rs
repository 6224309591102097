//! Bytes under way: segments, retransmission, windows, resets.

use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};
use std::time::Duration;

use sim_core::NodeId;
use sim_core::choice::nanos;
use sim_core::device::{self, emit};
use sim_core::event::EventKind;
use sim_core::hash::hash_message;

use super::{Connection, End, MILLISECOND, Payload, Phase, SECOND, Segment, Stall, keep};
use crate::address::mapped;
use crate::capture::Flags;
use crate::condition::SMALL;
use crate::kernel::{Due, Kernel};
use crate::link::{Held, LinkId, met};
use crate::raw::Ready;
use crate::rule::{self, Packet, PacketKind, Verdict};

/// The first retransmission timeout (Linux, `TCP_RTO_MIN`) and the longest (`TCP_RTO_MAX`).
const RTO_MIN: u64 = 200 * MILLISECOND;
const RTO_MAX: u64 = 120 * SECOND;

/// What fits one segment on an Ethernet: what is less waits for earlier bytes to arrive.
const SEGMENT: usize = 1_460;

/// The sender gives up after so long without an acknowledgement.
const GIVE_UP: u64 = 924 * SECOND + 600 * MILLISECOND;

const DELIVER: EventKind = EventKind::new("tcp.deliver");

impl Kernel {
    /// Puts a segment on the wire from `end`.
    pub(super) fn send(&mut self, end: End, payload: Payload) {
        self.send_late(end, payload, 0);
    }

    fn send_late(&mut self, end: End, payload: Payload, late: u64) {
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
            arrives = arrives.max(last.arrives);
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

    /// Reads into `buffer` what has arrived, at least a byte; 0 bytes at the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        end: End,
        buffer: &mut dyn FnMut(&[u8]) -> usize,
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let socket = self.connections.socket(end);
        let mut total = 0;
        while let Some(chunk) = socket.inbox.front() {
            let taken = buffer(&chunk[socket.inbox_read..]);
            total += taken;
            socket.inbox_read += taken;
            if socket.inbox_read < chunk.len() {
                break;
            }
            socket.inbox_read = 0;
            if let Some(spent) = socket.inbox.pop_front().filter(|_| self.buffers.len() < 64) {
                self.buffers.push(spent);
            }
        }
        if total > 0 {
            self.acknowledge(end, total);
            return Poll::Ready(Ok(total));
        }
        if socket.end_of_stream {
            return Poll::Ready(Ok(0));
        }
        if let Some(error) = socket.error.take() {
            return Poll::Ready(Err(error.into()));
        }
        if socket.broken {
            return Poll::Ready(Ok(0));
        }
        self.wakes.extend(keep(&mut socket.reader, waker));
        self.waiting("read", u64::from(end.number()));
        Poll::Pending
    }

    /// What an end is ready for.
    pub(crate) fn state_of(&mut self, end: End) -> Ready {
        let window = self.options.window;
        if !self.connections.socket(end).credits.is_empty() {
            self.hear_news(end);
        }
        let connection = self.connections.get(end.connection);
        let is_open = connection.phase == Phase::Open;
        let socket = &mut connection.sockets[end.side];
        let (error, broken) = (socket.error.is_some(), socket.broken);
        let readable = !socket.inbox.is_empty() || socket.end_of_stream || broken || error;
        let writable = (is_open && socket.outstanding < window) || broken || error;
        Ready { readable, writable, read_closed: socket.end_of_stream || broken, broken, error }
    }

    /// What an end is ready for, and whom to wake when that changes.
    pub(crate) fn readiness(&mut self, end: End, waker: &Waker) -> Ready {
        let ready = self.state_of(end);
        let connection = self.connections.get(end.connection);
        let is_open = connection.phase == Phase::Open;
        let socket = &mut connection.sockets[end.side];
        let mut idle = [keep(&mut socket.reader, waker), None];
        if !is_open {
            idle[1] = keep(&mut connection.connector, waker);
        } else if !ready.writable {
            idle[1] = keep(&mut socket.writer, waker);
            self.schedule_window(end);
        }
        self.wakes.extend(idle.into_iter().flatten());
        ready
    }

    /// The parts of what has arrived and was not read.
    pub(crate) fn unread(&mut self, end: End) -> impl Iterator<Item = &[u8]> {
        let socket = self.connections.socket(end);
        let skip = socket.inbox_read;
        socket.inbox.iter().enumerate().map(move |(place, part)| &part[if place == 0 { skip } else { 0 }..])
    }

    pub(crate) fn take_error(&mut self, end: End) -> Option<io::ErrorKind> {
        self.connections.socket(end).error.take()
    }

    /// Lets the window of the other end open by what was read here, once the news has travelled.
    #[inline]
    fn acknowledge(&mut self, end: End, bytes: usize) {
        let link = self.connections.socket(end).link;
        let at = device::now().saturating_add(self.links.get(link).latency());
        let peer = end.peer();
        let socket = self.connections.socket(peer);
        match socket.credits.back_mut() {
            Some((last, more)) if *last >= at => *more += bytes,
            _ => socket.credits.push_back((at, bytes)),
        }
        if socket.writer.is_some() {
            self.schedule_window(peer);
        }
    }

    /// Takes in what has come back of the peer's reading, unless the way back is cut.
    #[inline]
    fn hear_news(&mut self, end: End) {
        let news = self.connections.socket(end.peer()).link;
        if self.links.get(news).state().cut.is_none() {
            self.connections.socket(end).mature_credits(device::now());
        }
    }

    fn schedule_window(&mut self, end: End) {
        let socket = self.connections.socket(end);
        if let Some((at, _)) = socket.credits.front().filter(|_| !socket.window_scheduled) {
            socket.window_scheduled = true;
            let at = *at;
            self.at(at, Due::Window(end.number()));
        }
    }

    pub(crate) fn window_due(&mut self, end: End) {
        let now = device::now();
        let news = self.connections.socket(end.peer()).link;
        let blocked = self.is_blocked(news);
        let socket = self.connections.socket(end);
        socket.window_scheduled = false;
        if !blocked || socket.writer.is_none() {
            socket.deaf_since = None;
            self.wakes.extend(socket.writer.take());
            return self.free_if_idle(end.connection);
        }
        if now - *socket.deaf_since.get_or_insert(now) > GIVE_UP {
            return self.breaks(end, io::ErrorKind::TimedOut);
        }
        // The news is lost on the way; the peer says it again when the sender probes.
        let again = now + RTO_MIN;
        socket.credits.iter_mut().for_each(|(at, _)| *at = (*at).max(again));
        self.schedule_window(end);
    }

    /// How many bytes can be written now.
    #[inline]
    pub(crate) fn poll_room(&mut self, end: End, waker: &Waker) -> Poll<io::Result<usize>> {
        let window = self.options.window;
        let socket = self.connections.socket(end);
        if let Some(error) = socket.error.take() {
            return Poll::Ready(Err(error.into()));
        }
        if socket.broken || socket.sent_fin || self.is_left_alone(end) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let socket = self.connections.socket(end);
        if !socket.credits.is_empty() {
            self.hear_news(end);
        }
        let socket = self.connections.socket(end);
        let room = window.saturating_sub(socket.outstanding);
        if room == 0 {
            self.wakes.extend(keep(&mut socket.writer, waker));
            self.schedule_window(end);
            self.waiting("write", u64::from(end.number()));
            return Poll::Pending;
        }
        Poll::Ready(Ok(room))
    }

    /// Whether the peer on a Unix socket is gone, which is known at once.
    #[inline]
    fn is_left_alone(&mut self, end: End) -> bool {
        let connection = self.connections.get(end.connection);
        connection.local && connection.sockets[1 - end.side].is_gone()
    }

    pub(crate) fn poll_write(&mut self, end: End, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        let room = match self.poll_room(end, waker) {
            Poll::Ready(Ok(room)) => room,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending if bytes.is_empty() => return Poll::Ready(Ok(0)),
            Poll::Pending => return Poll::Pending,
        };
        let taken = bytes.len().min(room);
        let split = self.options.split_probability;
        let link = self.connections.socket(end).link;
        let Some(part) = self.links.get(link).splits(split, taken) else {
            if taken > 0 {
                self.transmit(end, &bytes[..taken], 0);
            }
            return Poll::Ready(Ok(taken));
        };
        if taken >= SEGMENT {
            self.transmit(end, &bytes[..part], 0);
            return Poll::Ready(Ok(part));
        }
        // What fits one segment is taken as a whole, and may arrive in two.
        self.transmit(end, &bytes[..part], 0);
        self.transmit_now(end, &bytes[part..taken], 0);
        Poll::Ready(Ok(taken))
    }

    /// Sends bytes; small ones when earlier ones have arrived.
    #[inline]
    pub(crate) fn transmit(&mut self, end: End, bytes: &[u8], late: u64) {
        let socket = self.connections.socket(end);
        let waits =
            !socket.nodelay && late == 0 && socket.has_data_on_the_wire() && socket.small.len() + bytes.len() < SEGMENT;
        if waits {
            socket.outstanding += bytes.len();
            return socket.small.extend_from_slice(bytes);
        }
        self.transmit_now(end, bytes, late);
    }

    #[inline]
    fn transmit_now(&mut self, end: End, bytes: &[u8], late: u64) {
        let mut data = self.buffers.pop().unwrap_or_default();
        data.clear();
        let socket = self.connections.socket(end);
        socket.outstanding += bytes.len();
        data.append(&mut socket.small);
        data.extend_from_slice(bytes);
        self.send_late(end, Payload::Data(data), late);
    }

    /// What was on the wire has arrived, and the news of it comes back: small writes go now.
    fn send_small(&mut self, end: End) {
        let back = self.connections.socket(end.peer()).link;
        let news = self.links.get(back).latency();
        let data = std::mem::take(&mut self.connections.socket(end).small);
        self.send_late(end, Payload::Data(data), news);
    }

    /// Sends FIN after what was written: the peer reads to the end of the stream.
    pub(crate) fn shut_write(&mut self, end: End) {
        let serial = self.connections.get(end.connection).serial;
        let undecoded = self.rules.take_pending(serial, end);
        let first = !self.connections.socket(end.peer()).sent_fin;
        let socket = self.connections.socket(end);
        if !socket.sent_fin && !socket.broken {
            (socket.sent_fin, socket.closed_first) = (true, first);
            socket.small.extend(undecoded);
            if !socket.small.is_empty() {
                let data = std::mem::take(&mut socket.small);
                self.send(end, Payload::Data(data));
            }
            self.send(end, Payload::Fin);
        }
    }

    /// Sends bytes as a rule says.
    pub(crate) fn send_judged(&mut self, end: End, bytes: &[u8], verdict: Verdict) {
        match verdict {
            Verdict::Pass | Verdict::Duplicate => self.transmit(end, bytes, 0),
            Verdict::Drop | Verdict::Corrupt => self.transmit(end, bytes, RTO_MIN),
            Verdict::Delay(by) => self.transmit(end, bytes, late(by)),
            Verdict::Reset => self.break_both(end),
        }
    }

    /// Sends a message as a rule says.
    pub(crate) fn send_message(&mut self, end: End, message: &mut [u8], verdict: Verdict) {
        if self.connections.socket(end).broken {
            return;
        }
        match verdict {
            Verdict::Pass => self.transmit(end, message, 0),
            Verdict::Drop => {}
            Verdict::Delay(by) => self.transmit(end, message, late(by)),
            Verdict::Duplicate => (0..2).for_each(|_| self.transmit(end, message, 0)),
            Verdict::Reset => self.break_both(end),
            Verdict::Corrupt => {
                let link = self.connections.socket(end).link;
                let bit = self.links.get(link).any_bit(message.len());
                message[bit as usize / 8] ^= 1 << (bit % 8);
                self.transmit(end, message, 0);
            }
        }
    }

    pub(crate) fn set_nodelay(&mut self, end: End, nodelay: bool) {
        self.connections.socket(end).nodelay = nodelay;
    }

    pub(crate) fn nodelay(&mut self, end: End) -> bool {
        self.connections.socket(end).nodelay
    }

    pub(crate) fn set_zero_linger(&mut self, end: End) {
        self.connections.socket(end).zero_linger = true;
    }

    /// Whether a reset came, and no end of the stream before it.
    pub(crate) fn is_reset(&mut self, end: End) -> bool {
        let socket = self.connections.socket(end);
        socket.broken && !socket.end_of_stream
    }

    /// The nodes of an end and of its peer.
    pub(crate) fn nodes_of(&mut self, end: End) -> (NodeId, NodeId) {
        let sockets = &self.connections.get(end.connection).sockets;
        (sockets[end.side].process.node, sockets[1 - end.side].process.node)
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

    /// The addresses of an end: its own and the peer's.
    pub(crate) fn addresses(&mut self, end: End) -> (SocketAddr, SocketAddr) {
        let connection = self.connections.get(end.connection);
        let sockets = &connection.sockets;
        let addresses = (sockets[end.side].address, sockets[1 - end.side].address);
        if connection.mapped && end.side == 1 { (mapped(addresses.0), mapped(addresses.1)) } else { addresses }
    }
}

fn late(by: Duration) -> u64 {
    nanos(by).max(1)
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
