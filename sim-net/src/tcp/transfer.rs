//! Bytes under way: segments, retransmission, windows, resets.

use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

use sim_core::device::{self, emit};
use sim_core::event::EventKind;
use sim_core::hash::hash_message;

use super::{End, MILLISECOND, Payload, Phase, SECOND, Segment, Stall, keep};
use crate::kernel::{Due, Kernel};
use crate::raw::Ready;

/// The first retransmission timeout (Linux, `TCP_RTO_MIN`) and the longest (`TCP_RTO_MAX`).
const RTO_MIN: u64 = 200 * MILLISECOND;
const RTO_MAX: u64 = 120 * SECOND;

/// The sender gives up after so long without an acknowledgement.
const GIVE_UP: u64 = 924 * SECOND + 600 * MILLISECOND;

const DELIVER: EventKind = EventKind::new("tcp.deliver");

impl Kernel {
    /// Puts a segment on the wire from `end`.
    pub(super) fn send(&mut self, end: End, payload: Payload) {
        let now = device::now();
        let socket = self.connections.socket(end);
        let link = self.links.get(socket.link);
        let mut arrives = now.saturating_add(link.latency());
        if let Some(last) = socket.wire.back() {
            arrives = arrives.max(last.arrives);
        }
        socket.wire.push_back(Segment { arrives, payload });
        if !socket.wire_scheduled {
            socket.wire_scheduled = true;
            self.at(arrives, Due::Segment(end.number()));
        }
    }

    /// Sends a reset from `end` after what is on the wire; what would have to be sent again is not.
    pub(super) fn send_reset(&mut self, end: End) {
        let socket = self.connections.socket(end);
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
            if self.is_blocked(link) || self.links.get(link).loses() {
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
        self.connections.socket(end).wire_scheduled = false;
        if stalled {
            return self.stalls(end);
        }
        self.schedule_wire(end);
        self.free_if_idle(end.connection);
    }

    fn schedule_wire(&mut self, end: End) {
        let socket = self.connections.socket(end);
        if let Some(segment) = socket.wire.front().filter(|_| !socket.wire_scheduled) {
            socket.wire_scheduled = true;
            let arrives = segment.arrives;
            self.at(arrives, Due::Segment(end.number()));
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
    fn breaks(&mut self, end: End, error: io::ErrorKind) {
        let socket = self.connections.socket(end);
        if !socket.broken {
            // Who has read to the end learns of a reset only when writing (Linux, tcp_reset).
            let ended = socket.end_of_stream && error == io::ErrorKind::ConnectionReset;
            let error = if ended { io::ErrorKind::BrokenPipe } else { error };
            (socket.broken, socket.error) = (true, Some(error));
        }
        socket.wire.clear();
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

    /// What an end is ready for, and whom to wake when that changes.
    pub(crate) fn readiness(&mut self, end: End, waker: &Waker) -> Ready {
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
        let mut idle = [keep(&mut socket.reader, waker), None];
        if !is_open {
            idle[1] = keep(&mut connection.connector, waker);
        } else if !writable {
            idle[1] = keep(&mut socket.writer, waker);
            self.schedule_window(end);
        }
        self.wakes.extend(idle.into_iter().flatten());
        let read_closed = self.connections.socket(end).end_of_stream || broken;
        Ready { readable, writable, read_closed, broken, error }
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
    fn hear_news(&mut self, end: End) {
        let news = self.connections.socket(end.peer()).link;
        if !self.links.get(news).is_cut() {
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

    pub(crate) fn poll_write(&mut self, end: End, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        let window = self.options.window;
        let socket = self.connections.socket(end);
        if let Some(error) = socket.error.take() {
            return Poll::Ready(Err(error.into()));
        }
        if socket.broken || socket.sent_fin {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
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
        let taken = bytes.len().min(room);
        socket.outstanding += taken;
        let mut data = self.buffers.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(&bytes[..taken]);
        self.send(end, Payload::Data(data));
        Poll::Ready(Ok(taken))
    }

    /// Sends FIN after what was written: the peer reads to the end of the stream.
    pub(crate) fn shut_write(&mut self, end: End) {
        let socket = self.connections.socket(end);
        if !socket.sent_fin && !socket.broken {
            socket.sent_fin = true;
            self.send(end, Payload::Fin);
        }
    }

    /// The addresses of an end: its own and the peer's.
    pub(crate) fn addresses(&mut self, end: End) -> (SocketAddr, SocketAddr) {
        let sockets = &self.connections.get(end.connection).sockets;
        (sockets[end.side].address, sockets[1 - end.side].address)
    }
}
