//! The kernel's half of TCP: handshake, windows, retransmission, FIN and RST.
//!
//! Bytes are never lost: a lost or undeliverable segment is sent again after a timeout that doubles (RFC 6298), and the
//! sender gives up after fifteen minutes with `ETIMEDOUT` (Linux, tcp(7), `tcp_retries2`). The kernel of a killed process
//! closes its connections, by RST where it had unread data (RFC 2525, 2.17); a machine without power says nothing, and
//! when it is back it answers what arrives for its old connections with RST (RFC 9293, 3.5.1).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

use sim_core::NodeId;
use sim_core::device::{self, Down, Process, emit};
use sim_core::event::EventKind;
use sim_core::hash::hash_message;
use slab::Slab;

use crate::address::{node_at, own_ip};
use crate::kernel::{Due, Host, Kernel, receives};
use crate::link::{LinkId, name};

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;
/// The first retransmission timeout (Linux, `TCP_RTO_MIN`) and the longest (`TCP_RTO_MAX`).
const RTO_MIN: u64 = 200 * MILLISECOND;
const RTO_MAX: u64 = 120 * SECOND;
/// The sender gives up after so long without an acknowledgement.
const GIVE_UP: u64 = 924 * SECOND + 600 * MILLISECOND;
/// SYNs are sent again after 1, 2, 4, 8, 16, 32 seconds; after 64 more the connection fails (Linux, `tcp_syn_retries`).
const SYN_RETRIES: u32 = 6;
/// No host answers at an address of the local network (Linux: three ARP probes, a second apart).
const NO_HOST: u64 = 3 * SECOND;

const DELIVER: EventKind = EventKind::new("tcp.deliver");

/// A connection that a program holds: its slot, and its number, which is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handle {
    pub(crate) end: End,
    serial: u64,
    pub(crate) process: Process,
}

/// One end of a connection: the slot of the connection and which side of it. The side that connected is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) connection: u32,
    pub(crate) side: usize,
}

impl End {
    pub(crate) fn number(self) -> u32 {
        (self.connection << 1) | self.side as u32
    }

    pub(crate) fn from_number(number: u32) -> Self {
        End { connection: number >> 1, side: (number & 1) as usize }
    }

    fn peer(self) -> End {
        End { side: 1 - self.side, ..self }
    }
}

enum Payload {
    Data(Vec<u8>),
    /// The last step of the handshake: the server may accept.
    Established,
    Fin,
    Reset,
}

struct Segment {
    arrives: u64,
    payload: Payload,
}

/// A direction's failure to get through, while it lasts.
struct Stall {
    since: u64,
    next_timeout: u64,
}

/// The socket of one end, and what it has sent that has not arrived.
struct Socket {
    process: Process,
    address: SocketAddr,
    link: LinkId,
    /// Arrived, in order, and not read yet; the first has been read up to `inbox_read`.
    inbox: VecDeque<Vec<u8>>,
    inbox_read: usize,
    end_of_stream: bool,
    error: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    wire: VecDeque<Segment>,
    wire_scheduled: bool,
    stall: Option<Stall>,
    /// Bytes sent that the window does not know to be read yet.
    outstanding: usize,
    /// When the news of bytes that the peer has read comes back.
    credits: VecDeque<(u64, usize)>,
    window_scheduled: bool,
    /// Since when no news came through to a writer that waits for it.
    deaf_since: Option<u64>,
    sent_fin: bool,
    /// The program let go of it.
    released: bool,
    /// The machine lost power, and nothing of it is left.
    forgotten: bool,
    broken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The SYN is on its way, for the so-manieth time.
    Connecting {
        tries: u32,
    },
    /// The answer is on its way.
    Answered {
        tries: u32,
    },
    /// The reset that answers the SYN is on its way.
    Refused {
        tries: u32,
    },
    NoHost,
    Open,
}

pub(crate) struct Connection {
    serial: u64,
    sockets: [Socket; 2],
    phase: Phase,
    /// Someone will be told of the handshake.
    handshake_scheduled: bool,
    connector: Option<Waker>,
}

impl Socket {
    fn new(process: Process, address: SocketAddr, link: LinkId) -> Self {
        Socket {
            process,
            address,
            link,
            inbox: VecDeque::new(),
            inbox_read: 0,
            end_of_stream: false,
            error: None,
            reader: None,
            writer: None,
            wire: VecDeque::new(),
            wire_scheduled: false,
            stall: None,
            outstanding: 0,
            credits: VecDeque::new(),
            window_scheduled: false,
            deaf_since: None,
            sent_fin: false,
            released: false,
            forgotten: false,
            broken: false,
        }
    }

    fn is_idle(&self) -> bool {
        self.wire.is_empty() && !self.wire_scheduled && !self.window_scheduled && (self.released || self.forgotten)
    }

    fn mature_credits(&mut self, now: u64) {
        while let Some((_, bytes)) = self.credits.pop_front_if(|(at, _)| *at <= now) {
            self.outstanding -= bytes;
        }
    }
}

/// All connections, and how many there have ever been.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) slab: Slab<Connection>,
    made: u64,
}

impl Connections {
    #[inline]
    fn get(&mut self, slot: u32) -> &mut Connection {
        &mut self.slab[slot as usize]
    }

    #[inline]
    fn socket(&mut self, end: End) -> &mut Socket {
        &mut self.get(end.connection).sockets[end.side]
    }
}

/// Remembers whom to wake. Whoever is no longer to be woken is returned, and woken all the same once nothing is borrowed:
/// dropping a waker may run code of a user.
fn keep(slot: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    if slot.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
        return None;
    }
    slot.replace(waker.clone())
}

// Opening.
impl Kernel {
    /// Sends the first SYN. Returns the connection, whose handshake [`Kernel::poll_connect`] follows.
    pub(crate) fn connect(&mut self, process: Process, to: SocketAddr) -> io::Result<Handle> {
        let node = process.node;
        let there = node_at(node, to.ip());
        let taken = |host: &Host, port| host.listeners.contains_key(&port) || host.outgoing.contains(&(port, to));
        let port = self.ephemeral_port(node, taken)?;
        self.host(node).outgoing.insert((port, to));
        let local = SocketAddr::new(own_ip(node, to.ip()), port);
        let (out, back) = (self.links.id(node, there.unwrap_or(node)), self.links.id(there.unwrap_or(node), node));
        let nobody = Process { node: there.unwrap_or(node), ..process };
        self.connections.made += 1;
        let connection = self.connections.slab.insert(Connection {
            serial: self.connections.made,
            sockets: [Socket::new(process, local, out), Socket::new(nobody, to, back)],
            phase: if there.is_some() { Phase::Connecting { tries: 0 } } else { Phase::NoHost },
            handshake_scheduled: true,
            connector: None,
        }) as u32;
        emit(node, "tcp.connect", &[u64::from(connection)], || format!("{local} -> {to}"));
        // The server's socket exists from the answer on.
        self.connections.get(connection).sockets[1].released = true;
        let wait = if there.is_some() { self.links.get(out).latency() } else { NO_HOST };
        self.at(device::now().saturating_add(wait), Due::Handshake(connection));
        Ok(self.handle(End { connection, side: 0 }))
    }

    /// A handle for an end that a program is given.
    pub(crate) fn handle(&mut self, end: End) -> Handle {
        let connection = self.connections.get(end.connection);
        Handle { end, serial: connection.serial, process: connection.sockets[end.side].process }
    }

    /// The end that a handle stands for, unless the process that holds it has died.
    pub(crate) fn end(&self, handle: Handle) -> io::Result<End> {
        let known =
            self.connections.slab.get(handle.end.connection as usize).is_some_and(|c| c.serial == handle.serial);
        if known && handle.process.is_alive() { Ok(handle.end) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    pub(crate) fn poll_connect(&mut self, end: End, waker: &Waker) -> Poll<io::Result<()>> {
        let connection = self.connections.get(end.connection);
        if let Some(error) = connection.sockets[end.side].error.take() {
            return Poll::Ready(Err(error.into()));
        }
        if connection.phase == Phase::Open {
            return Poll::Ready(Ok(()));
        }
        self.wakes.extend(keep(&mut connection.connector, waker));
        self.waiting("connect", u64::from(end.number()));
        Poll::Pending
    }

    pub(crate) fn handshake_due(&mut self, slot: u32) {
        let connection = self.connections.get(slot);
        connection.handshake_scheduled = false;
        let client_gone = connection.sockets[0].released || connection.sockets[0].forgotten;
        match connection.phase {
            _ if client_gone => self.free_if_idle(slot),
            Phase::NoHost => self.connect_fails(slot, io::ErrorKind::HostUnreachable),
            Phase::Refused { tries } => self.refusal_arrives(slot, tries),
            Phase::Connecting { tries } => self.syn_arrives(slot, tries),
            Phase::Answered { tries } => self.answer_arrives(slot, tries),
            Phase::Open => {}
        }
    }

    fn schedule_handshake(&mut self, slot: u32, after: u64, phase: Phase) {
        let connection = self.connections.get(slot);
        (connection.phase, connection.handshake_scheduled) = (phase, true);
        self.at(device::now().saturating_add(after), Due::Handshake(slot));
    }

    fn syn_lost(&mut self, slot: u32, tries: u32) {
        if tries > SYN_RETRIES {
            return self.connect_fails(slot, io::ErrorKind::TimedOut);
        }
        self.schedule_handshake(slot, SECOND << tries, Phase::Connecting { tries: tries + 1 });
    }

    fn syn_arrives(&mut self, slot: u32, tries: u32) {
        let [client, server] = &self.connections.get(slot).sockets;
        let (out, back, to) = (client.link, server.link, server.address);
        if self.is_blocked(out) || self.links.get(out).loses() || tries > SYN_RETRIES {
            return self.syn_lost(slot, tries);
        }
        let node = self.links.get(out).to;
        let backlog = self.options.backlog;
        let listener = self.host(node).listeners.get(&to.port()).filter(|l| receives(l.address.ip(), to.ip()));
        match listener.map(|listener| (listener.ready.len() < backlog, listener.process)) {
            Some((false, _)) => self.syn_lost(slot, tries),
            Some((true, process)) => {
                self.connections.get(slot).sockets[1].process = process;
                let latency = self.links.get(back).latency();
                self.schedule_handshake(slot, latency, Phase::Answered { tries });
            }
            None => {
                let latency = self.links.get(back).latency();
                self.schedule_handshake(slot, latency, Phase::Refused { tries });
            }
        }
    }

    fn answer_arrives(&mut self, slot: u32, tries: u32) {
        let back = self.connections.get(slot).sockets[1].link;
        if self.is_blocked(back) || self.links.get(back).loses() {
            return self.syn_lost(slot, tries);
        }
        let connection = self.connections.get(slot);
        connection.phase = Phase::Open;
        self.wakes.extend(connection.connector.take());
        self.send(End { connection: slot, side: 0 }, Payload::Established);
    }

    fn refusal_arrives(&mut self, slot: u32, tries: u32) {
        let back = self.connections.get(slot).sockets[1].link;
        if self.is_blocked(back) || self.links.get(back).loses() {
            return self.syn_lost(slot, tries);
        }
        self.connect_fails(slot, io::ErrorKind::ConnectionRefused);
    }

    fn connect_fails(&mut self, slot: u32, error: io::ErrorKind) {
        let connection = self.connections.get(slot);
        connection.sockets[0].error = Some(error);
        self.wakes.extend(connection.connector.take());
    }

    /// The handshake is done on the server's side. False: the backlog is full, and the segment counts as lost.
    fn established(&mut self, end: End) -> bool {
        let socket = self.connections.socket(end);
        let (process, port) = (socket.process, socket.address.port());
        let backlog = self.options.backlog;
        let Some(listener) = self.host(process.node).listeners.get_mut(&port).filter(|l| l.process == process) else {
            self.refuse(end);
            return true;
        };
        if listener.ready.len() >= backlog {
            return false;
        }
        listener.ready.push_back(end.connection);
        let wakers = std::mem::take(&mut listener.wakers);
        self.wakes.extend(wakers);
        self.connections.socket(end).released = false;
        true
    }

    /// Resets a connection that nobody will accept.
    pub(crate) fn refuse(&mut self, end: End) {
        self.connections.socket(end).forgotten = true;
        self.send_reset(end);
    }
}

// Sending and receiving.
impl Kernel {
    /// Puts a segment on the wire from `end`.
    fn send(&mut self, end: End, payload: Payload) {
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
    fn send_reset(&mut self, end: End) {
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

// Closing.
impl Kernel {
    /// The program dropped its socket: RST where it left data unread, FIN otherwise.
    pub(crate) fn release(&mut self, end: End) {
        let connection = self.connections.get(end.connection);
        let socket = &mut connection.sockets[end.side];
        if socket.released || socket.forgotten {
            return;
        }
        socket.released = true;
        let unread = !socket.inbox.is_empty();
        socket.inbox.clear();
        self.wakes.extend([socket.reader.take(), socket.writer.take()].into_iter().flatten());
        if connection.phase != Phase::Open || connection.sockets[end.side].broken {
            return self.free_if_idle(end.connection);
        }
        if unread {
            connection.sockets[end.side].broken = true;
            self.send_reset(end);
        } else {
            self.shut_write(end);
            self.free_if_idle(end.connection);
        }
    }

    pub(crate) fn close_sockets_of(&mut self, node: NodeId, how: Down) {
        let mut ends = Vec::new();
        for (slot, connection) in &self.connections.slab {
            for (side, socket) in connection.sockets.iter().enumerate() {
                // What a process let go of is the kernel's to finish, until the power goes.
                let held = !socket.released || (how == Down::PowerLoss && connection.phase == Phase::Open);
                if socket.process.node == node && held && !socket.forgotten {
                    ends.push(End { connection: slot as u32, side });
                }
            }
        }
        for end in ends {
            if how == Down::Kill {
                self.release(end);
            } else {
                self.forget(end);
            }
        }
        if how == Down::Kill {
            let waiting: Vec<u32> = self.host(node).listeners.values().flat_map(|l| l.ready.iter().copied()).collect();
            waiting.into_iter().for_each(|connection| self.refuse(End { connection, side: 1 }));
        }
    }

    /// The machine lost power: what is on the wire arrives, and nothing is sent again.
    fn forget(&mut self, end: End) {
        let socket = self.connections.socket(end);
        socket.forgotten = true;
        socket.inbox.clear();
        if socket.stall.is_some() {
            socket.wire.clear();
        }
        self.wakes.extend([socket.reader.take(), socket.writer.take()].into_iter().flatten());
        self.free_if_idle(end.connection);
    }

    /// Frees a connection that nobody holds and of which nothing is on the way.
    fn free_if_idle(&mut self, slot: u32) {
        let Some(connection) = self.connections.slab.get(slot as usize) else { return };
        if !connection.handshake_scheduled && connection.sockets.iter().all(Socket::is_idle) {
            let [client, server] = self.connections.slab.remove(slot as usize).sockets;
            let host = self.host(client.process.node);
            host.outgoing.remove(&(client.address.port(), server.address));
        }
    }

    pub(crate) fn describe_wait(&mut self, what: &'static str, token: u64) -> String {
        let end = End::from_number(token as u32);
        let addresses = self.connections.slab.get(end.connection as usize).map(|connection| {
            let [from, to] = [&connection.sockets[end.side], &connection.sockets[1 - end.side]];
            format!("tcp {what}: {} with {} on node {}", from.address, to.address, name(to.process.node))
        });
        match (what, addresses) {
            ("connect" | "read" | "write", Some(words)) => words,
            _ => format!("{what} (port {token})"),
        }
    }
}
