//! The handshake: SYN, its answer, and what goes wrong with either.

use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

use sim_core::device::{self, Process, emit};

use super::{Connection, End, Handle, Payload, Phase, SECOND, Socket, keep};
use crate::capture::Flags;
use crate::kernel::{Due, Host, Kernel};
use crate::link::met;

/// SYNs are sent again after 1, 2, 4, 8, 16, 32 seconds; after 64 more the connection fails (Linux, `tcp_syn_retries`).
const SYN_RETRIES: u32 = 6;

/// No host answers at an address of the local network (Linux: three ARP probes, a second apart).
const NO_HOST: u64 = 3 * SECOND;

impl Kernel {
    /// Sends the first SYN, `late` nanoseconds late, or not at all when it is `lost`; from an address that is said, or a free
    /// port. Returns the connection, whose handshake [`Kernel::poll_connect`] follows.
    pub(crate) fn connect(
        &mut self,
        process: Process,
        from: Option<SocketAddr>,
        to: SocketAddr,
        (late, lost): (u64, bool),
    ) -> io::Result<Handle> {
        let node = process.node;
        let to = concrete(to);
        let there = self.addresses.node_at(node, to.ip());
        let bound_ip = from.map(|from| from.ip()).filter(|ip| !ip.is_unspecified() && ip.is_ipv4() == to.is_ipv4());
        let own = bound_ip.unwrap_or_else(|| self.addresses.own_ip(node, to.ip()));
        let now = device::now();
        let taken =
            |host: &mut Host, port| host.listeners.is_taken(SocketAddr::new(own, port)) || host.holds((port, to), now);
        let port = match from.map_or(0, |from| from.port()) {
            0 => self.ephemeral_port(node, taken)?,
            port if self.host(node).holds((port, to), now) => return Err(io::ErrorKind::AddrNotAvailable.into()),
            port => port,
        };
        self.host(node).outgoing.insert((port, to), None);
        let local = SocketAddr::new(own, port);
        let (out, back) = (self.links.id(node, there.unwrap_or(node)), self.links.id(there.unwrap_or(node), node));
        let nobody = Process { node: there.unwrap_or(node), ..process };
        let phase = if there.is_some() { Phase::Connecting { tries: u32::from(lost) } } else { Phase::NoHost };
        let connection = self.connect_ends(Socket::new(process, local, out), Socket::new(nobody, to, back), phase);
        emit(node, "tcp.connect", &[u64::from(connection)], || format!("{local} -> {to}"));
        self.capture(End { connection, side: 0 }, Flags::SYN, &[]);
        // The server's socket exists from the answer on.
        self.connections.get(connection).sockets[1].released = true;
        let wait = match there {
            None => NO_HOST,
            Some(_) if lost => SECOND,
            Some(_) => self.links.get(out).carry(now, 0).unwrap_or(SECOND).saturating_add(late),
        };
        self.connections.get(connection).handshake_scheduled = true;
        self.at(now.saturating_add(wait), Due::Handshake(connection));
        Ok(self.handle(End { connection, side: 0 }))
    }

    /// A connection between two sockets, in a phase of its handshake.
    pub(crate) fn connect_ends(&mut self, client: Socket, server: Socket, phase: Phase) -> u32 {
        self.connections.made += 1;
        let serial = self.connections.made;
        self.connections.slab.insert(Connection {
            serial,
            sockets: [client, server],
            phase,
            mapped: false,
            local: false,
            handshake_scheduled: false,
            connector: None,
        }) as u32
    }

    /// Says that a connection is of a Unix socket: nothing waits in it.
    pub(crate) fn set_local(&mut self, connection: u32) {
        let connection = self.connections.get(connection);
        connection.local = true;
        connection.sockets.iter_mut().for_each(|socket| socket.nodelay = true);
    }

    pub(crate) fn is_local(&mut self, end: End) -> bool {
        self.connections.get(end.connection).local
    }

    /// A handle for an end that a program is given.
    pub(crate) fn handle(&mut self, end: End) -> Handle {
        let connection = self.connections.get(end.connection);
        Handle { end, serial: connection.serial, process: connection.sockets[end.side].process }
    }

    /// The end that a handle stands for, unless the process that holds it has died.
    #[inline]
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
        keep(&mut connection.connector, waker, &mut self.wakes);
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
        let jammed = met(self.links.get(out).state().jam);
        if jammed || self.is_blocked(out) || self.links.get(out).loses() || tries > SYN_RETRIES {
            return self.syn_lost(slot, tries);
        }
        let node = self.links.get(out).to;
        let refused = met(self.links.get(out).state().refuse);
        let backlog = self.options.backlog;
        // The address may have got to another node meanwhile.
        let there = self.addresses.node_at(self.links.get(out).from, to.ip()) == Some(node);
        let listener = self.host(node).listeners.receiver(to).filter(|_| !refused && there);
        // One more may wait than the backlog says (Linux, `sk_acceptq_is_full`).
        let found = listener.map(|l| (l.ready.len() <= backlog, l.process, l.address.is_ipv6() && to.is_ipv4()));
        let back = self.links.get(back).carry(device::now(), 0);
        match (found, back) {
            (Some((false, ..)), _) | (_, None) => self.syn_lost(slot, tries),
            (Some((true, process, mapped)), Some(latency)) => {
                let connection = self.connections.get(slot);
                (connection.sockets[1].process, connection.mapped) = (process, mapped);
                self.capture(End { connection: slot, side: 1 }, Flags::SYN_ACK, &[]);
                self.schedule_handshake(slot, latency, Phase::Answered { tries });
            }
            (None, Some(latency)) => {
                self.capture(End { connection: slot, side: 1 }, Flags::REFUSAL, &[]);
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
    pub(super) fn established(&mut self, end: End) -> bool {
        let socket = self.connections.socket(end);
        let (process, address) = (socket.process, socket.address);
        let backlog = self.options.backlog;
        let listener = self.host(process.node).listeners.receiver_mut(address).filter(|l| l.process == process);
        let Some(listener) = listener else {
            self.refuse(end);
            return true;
        };
        if listener.ready.len() > backlog {
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

/// Where a connection to an address goes: the unspecified address is this machine.
fn concrete(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) if to.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), to.port())
        }
        SocketAddr::V6(_) if to.ip().is_unspecified() => {
            SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), to.port())
        }
        _ => to,
    }
}
