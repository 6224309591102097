//! What programs read and write, as far as the window lets them; small writes and judged ones.

use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};
use std::time::Duration;

use sim_core::NodeId;
use sim_core::choice::nanos;
use sim_core::device;

use super::{End, GIVE_UP, Payload, Phase, RTO_MIN, keep};
use crate::address::mapped;
use crate::bytes::pieces;
use crate::kernel::{Due, Kernel};
use crate::raw::Ready;
use crate::rule::Verdict;

/// What fits one segment on an Ethernet: what is less waits for earlier bytes to arrive.
const SEGMENT: usize = 1_460;

/// The second of two segments comes that much later at the least, for a reader to see the first alone. What is there a read
/// returns, as far as it fits: programs rely on that (epoll(7), questions and answers, 9).
const LATER: u64 = 1;

impl Kernel {
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
        keep(&mut socket.reader, waker, &mut self.wakes);
        self.waiting("read", u64::from(end.number()));
        Poll::Pending
    }

    /// Whether a read would wait, and then whom to wake when that changes.
    pub(crate) fn is_dry(&mut self, end: End, waker: &Waker) -> bool {
        let socket = self.connections.socket(end);
        let dry = !socket.is_readable();
        if dry {
            keep(&mut socket.reader, waker, &mut self.wakes);
        }
        dry
    }

    /// What an end is ready for.
    pub(crate) fn state_of(&mut self, end: End) -> Ready {
        let window = self.options.window;
        if self.connections.socket(end).outstanding >= window {
            self.hear_news(end);
        }
        let connection = self.connections.get(end.connection);
        let is_open = connection.phase == Phase::Open;
        let socket = &mut connection.sockets[end.side];
        let (error, broken) = (socket.error.is_some(), socket.broken);
        let readable = socket.is_readable();
        let writable = (is_open && socket.outstanding < window) || broken || error;
        Ready { readable, writable, read_closed: socket.end_of_stream || broken, broken, error }
    }

    /// What an end is ready for, and whom to wake when that changes.
    pub(crate) fn readiness(&mut self, end: End, waker: &Waker) -> Ready {
        let ready = self.state_of(end);
        let connection = self.connections.get(end.connection);
        let is_open = connection.phase == Phase::Open;
        let socket = &mut connection.sockets[end.side];
        keep(&mut socket.reader, waker, &mut self.wakes);
        if !is_open {
            keep(&mut connection.connector, waker, &mut self.wakes);
        } else if !ready.writable {
            keep(&mut socket.writer, waker, &mut self.wakes);
            self.schedule_window(end);
        }
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

    /// Takes in what has come back of the peer's reading: where the way back is cut, until it was.
    #[inline]
    fn hear_news(&mut self, end: End) {
        let news = self.connections.socket(end.peer()).link;
        let state = self.links.get(news).state();
        let until = if state.cut.is_none() { device::now() } else { state.cut_since.saturating_sub(1) };
        self.connections.socket(end).mature_credits(until);
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
        self.hear_news(end);
        let window = self.options.window;
        let socket = self.connections.socket(end);
        socket.window_scheduled = false;
        if !blocked || socket.writer.is_none() || socket.outstanding < window {
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
            keep(&mut socket.writer, waker, &mut self.wakes);
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
        self.transmit_now(end, &bytes[part..taken], LATER);
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
        data.reserve(socket.small.len() + bytes.len());
        data.append(&mut socket.small);
        pieces(bytes).for_each(|piece| data.extend_from_slice(piece));
        self.send_late(end, Payload::Data(data), late);
    }

    /// What was on the wire has arrived, and the news of it comes back: small writes go now.
    pub(super) fn send_small(&mut self, end: End) {
        let back = self.connections.socket(end.peer()).link;
        let news = self.links.get(back).latency();
        let data = std::mem::take(&mut self.connections.socket(end).small);
        self.send_late(end, Payload::Data(data), news);
    }

    /// The program of an end reads no more.
    pub(crate) fn shut_read(&mut self, end: End) {
        self.connections.socket(end).shut_read = true;
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
