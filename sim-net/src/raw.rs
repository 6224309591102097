//! The raw face: sockets that never wait, for whoever brings descriptors and a way to wait of its own (sim-host).
//!
//! Every operation that could wait takes a waker instead, which is woken once when asking again may help.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};

use sim_core::choice::nanos;
use sim_core::device::{self, Process};

use crate::kernel::{Kernel, act, act_if_running, wait};
use crate::listener::TcpListener;
use crate::rule::{self, Packet, PacketKind, Verdict};
use crate::tcp::{End, Handle, Keepalive};

pub use crate::address::resolve;

/// What a socket is ready for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ready {
    /// Bytes, a connection or a datagram are there, or the end of the stream, or an error.
    pub readable: bool,
    /// Something can be sent, or an error would be told.
    pub writable: bool,
    /// The peer will send no more.
    pub read_closed: bool,
    /// The connection is broken.
    pub broken: bool,
    /// An error waits to be told.
    pub error: bool,
}

/// One end of a connection, of TCP or of a Unix socket. Dropped, it is closed: with RST when bytes that arrived were not
/// read, with FIN otherwise.
pub struct Connection {
    handle: Handle,
    local: SocketAddr,
    peer: SocketAddr,
}

pub(crate) fn living(what: &str) -> io::Result<Process> {
    let process = device::process(what);
    if process.is_alive() { Ok(process) } else { Err(io::ErrorKind::NetworkDown.into()) }
}

impl Connection {
    /// Sends the first SYN of a connection.
    ///
    /// # Errors
    /// When no port is free.
    pub fn open(to: SocketAddr) -> io::Result<Connection> {
        Connection::open_from(None, to)
    }

    /// As [`open`](Connection::open), from an address of this node where one is said.
    ///
    /// # Errors
    /// When no port is free; `AddrNotAvailable` when that address has a connection to the same one already.
    pub fn open_from(from: Option<SocketAddr>, to: SocketAddr) -> io::Result<Connection> {
        const WHAT: &str = "net::raw::Connection::open";
        let process = living(WHAT)?;
        sim_core::fault::hit("net.connect", &to.to_string(), &[]);
        let packet = act(WHAT, |kernel| {
            let there = (!kernel.rules.is_empty()).then(|| kernel.addresses.node_at(process.node, to.ip()))??;
            let own = SocketAddr::new(kernel.addresses.own_ip(process.node, to.ip()), 0);
            rule::packet(PacketKind::Syn, (process.node, there), (own, to), &[])
        });
        let verdict = packet.map_or(Verdict::Pass, |packet| rule::judge(&packet));
        let (late, lost) = match verdict {
            Verdict::Pass | Verdict::Duplicate => (0, false),
            Verdict::Delay(by) => (nanos(by), false),
            Verdict::Drop | Verdict::Corrupt => (0, true),
            Verdict::Reset => return Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let handle = act(WHAT, |kernel| kernel.connect(process, from, to, (late, lost)))?;
        Ok(Connection::from_handle(handle))
    }

    pub(crate) fn from_handle(handle: Handle) -> Self {
        let (local, peer) = act("net::raw::Connection", |kernel| kernel.addresses(handle.end));
        Connection { handle, local, peer }
    }

    /// The address of this end and that of the other.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.local, self.peer)
    }

    /// Whether a reset has taken its peer away.
    pub fn is_reset(&self) -> bool {
        self.with("is_reset", |kernel, end| kernel.is_reset(end)).unwrap_or(true)
    }

    fn with<R>(&self, what: &str, f: impl FnOnce(&mut Kernel, End) -> R) -> io::Result<R> {
        act(what, |kernel| kernel.end(self.handle).map(|end| f(kernel, end)))
    }

    /// Sends small writes at once, or only when earlier bytes have arrived.
    pub fn set_nodelay(&self, nodelay: bool) {
        drop(self.with("net::raw::Connection::set_nodelay", |kernel, end| kernel.set_nodelay(end, nodelay)));
    }

    /// Whether small writes go at once.
    pub fn nodelay(&self) -> bool {
        self.with("net::raw::Connection::nodelay", |kernel, end| kernel.nodelay(end)).unwrap_or(false)
    }

    /// Lets closing it reset it.
    pub fn set_zero_linger(&self) {
        drop(self.with("net::raw::Connection::set_zero_linger", |kernel, end| kernel.set_zero_linger(end)));
    }

    /// Probes it while it is idle, or no more.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) {
        let what = "net::raw::Connection::set_keepalive";
        drop(self.with(what, |kernel, _| kernel.set_keepalive(self.handle, keepalive)));
    }

    /// How the handshake went.
    pub fn poll_open(&self, waker: &Waker) -> Poll<io::Result<()>> {
        act("net::raw::Connection::poll_open", |kernel| kernel.poll_connect(kernel.end(self.handle)?, waker))
    }

    /// Hands what has arrived to `take`, which says how much of it is taken; 0 bytes at the end of the stream.
    pub fn poll_read(&self, take: &mut dyn FnMut(&[u8]) -> usize, waker: &Waker) -> Poll<io::Result<usize>> {
        act("net::raw::Connection::poll_read", |kernel| kernel.poll_read(kernel.end(self.handle)?, take, waker))
    }

    /// As [`poll_read`](Connection::poll_read), and whether another read would wait. Then `waker` is woken once that has
    /// changed, as after a read that has to wait: so nobody need ask before.
    pub fn poll_read_edge(
        &self,
        take: &mut dyn FnMut(&[u8]) -> usize,
        waker: &Waker,
    ) -> Poll<io::Result<(usize, bool)>> {
        act("net::raw::Connection::poll_read", |kernel| {
            let end = kernel.end(self.handle)?;
            kernel.poll_read(end, take, waker).map_ok(|taken| (taken, kernel.is_dry(end, waker)))
        })
    }

    /// Shows what has arrived and takes nothing. How many bytes `see` was shown.
    pub fn peek(&self, see: &mut dyn FnMut(&[u8])) -> usize {
        act("net::raw::Connection::peek", |kernel| {
            kernel.end(self.handle).map_or(0, |end| kernel.unread(end).map(|part| (see(part), part.len()).1).sum())
        })
    }

    /// Sends what fits the window.
    #[inline]
    pub fn poll_write(&self, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        let sent = act("net::raw::Connection::poll_write", |kernel| {
            let end = match kernel.end(self.handle) {
                Ok(end) => end,
                Err(error) => return Some(Poll::Ready(Err(error))),
            };
            kernel.rules.is_empty().then(|| kernel.poll_write(end, bytes, waker))
        });
        sent.unwrap_or_else(|| self.write_judged(bytes, waker))
    }

    /// Sends what fits the window as the rules say. They are code of a user, and asked while nothing is borrowed.
    fn write_judged(&self, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        const WHAT: &str = "net::raw::Connection::poll_write";
        let room = match self.with(WHAT, |kernel, end| kernel.poll_room(end, waker))? {
            Poll::Ready(room) => room?,
            Poll::Pending => return Poll::Pending,
        };
        let bytes = &bytes[..bytes.len().min(room)];
        let (packet, decoder, pending) = self.with(WHAT, |kernel, end| {
            let ends = kernel.nodes_of(end);
            let packet = rule::packet(PacketKind::Data, ends, (self.local, self.peer), bytes);
            let decoder = kernel.rules.decoder(self.local, self.peer);
            let pending = kernel.rules.take_pending(self.handle.serial(), end);
            (packet, decoder, pending)
        })?;
        let Some(packet) = packet else { return Poll::Ready(Ok(bytes.len())) };
        let verdict = rule::judge(&packet);
        match decoder {
            Some(decoder) if verdict == Verdict::Pass => self.send_messages(&decoder, pending, &packet)?,
            _ => self.with(WHAT, |kernel, end| kernel.send_judged(end, bytes, verdict))?,
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn send_messages(&self, decoder: &rule::Entry, mut pending: Vec<u8>, packet: &Packet) -> io::Result<()> {
        pending.extend_from_slice(&packet.bytes);
        let judged = rule::judge_messages(decoder, &mut pending, packet);
        self.with("net::raw::Connection::poll_write", |kernel, end| {
            for (mut message, verdict) in judged {
                kernel.send_message(end, &mut message, verdict);
            }
            kernel.rules.keep_pending(self.handle.serial(), end, pending);
        })
    }

    /// Says that the program reads no more. What comes all the same is still there to be read; once it writes no more
    /// either, it resets the connection.
    pub fn shut_read(&self) {
        drop(self.with("net::raw::Connection::shut_read", |kernel, end| kernel.shut_read(end)));
    }

    /// Sends FIN after what was written.
    ///
    /// # Errors
    /// When the process has died.
    pub fn shut_write(&self) -> io::Result<()> {
        act("net::raw::Connection::shut_write", |kernel| {
            kernel.shut_write(kernel.end(self.handle)?);
            Ok(())
        })
    }

    /// What it is ready for. `waker` is woken when that has changed.
    pub fn ready(&self, waker: &Waker) -> Ready {
        act("net::raw::Connection::ready", |kernel| match kernel.end(self.handle) {
            Ok(end) => kernel.readiness(end, waker),
            Err(_) => Ready { readable: true, writable: true, read_closed: true, broken: true, error: true },
        })
    }

    /// What it is ready for now; nobody is woken.
    pub fn state(&self) -> Ready {
        let ended = Ready { readable: true, writable: true, read_closed: true, broken: true, error: true };
        self.with("net::raw::Connection::state", |kernel, end| kernel.state_of(end)).unwrap_or(ended)
    }

    /// The error that waits to be told, which is told once (socket(7), `SO_ERROR`).
    pub fn take_error(&self) -> Option<io::Error> {
        act("net::raw::Connection::take_error", |kernel| {
            let end = kernel.end(self.handle).ok()?;
            kernel.take_error(end).map(io::Error::from)
        })
    }
}

impl Connection {
    /// Sends FIN, unless the simulation is over.
    pub(crate) fn shut_if_running(&self) {
        act_if_running(|kernel| {
            if let Ok(end) = kernel.end(self.handle) {
                kernel.shut_write(end);
            }
        });
    }

    /// Says what the current task waits for.
    pub(crate) fn says_it_waits(&self) {
        act("net::raw::Connection::ready", |kernel| kernel.waiting("read", u64::from(self.handle.end.number())));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        act_if_running(|kernel| {
            if let Ok(end) = kernel.end(self.handle) {
                kernel.release(end);
            }
        });
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({} with {})", self.local, self.peer)
    }
}

/// A listening TCP socket.
#[derive(Debug)]
pub struct Listener(TcpListener);

impl Listener {
    /// Listens on an address. Port 0 picks a free one.
    ///
    /// # Errors
    /// `AddrInUse`, or `AddrNotAvailable` for an address that is not of this node.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        const WHAT: &str = "net::raw::Listener::bind";
        TcpListener::bind_now(WHAT, address).map(Listener)
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Takes the first connection that waits.
    pub fn poll_accept(&self, waker: &Waker) -> Poll<io::Result<Connection>> {
        let accepted = self.0.poll_accept(&mut Context::from_waker(waker));
        accepted.map_ok(|(stream, _)| stream.into_raw())
    }

    /// Whether a connection waits. `waker` is woken when one comes.
    pub fn ready(&self, waker: &Waker) -> Ready {
        let readable = act("net::raw::Listener::ready", |kernel| self.0.is_ready(kernel, waker));
        Ready { readable, ..Ready::default() }
    }
}

/// A UDP socket.
#[derive(Debug)]
pub struct Datagrams {
    process: Process,
    slot: usize,
}

impl Datagrams {
    /// Binds to an address. Port 0 picks a free one.
    ///
    /// # Errors
    /// `AddrInUse`, or `AddrNotAvailable` for an address that is not of this node.
    pub fn bind(address: SocketAddr) -> io::Result<Datagrams> {
        const WHAT: &str = "net::raw::Datagrams::bind";
        let process = living(WHAT)?;
        let slot = act(WHAT, |kernel| kernel.bind_datagram(process, address))?;
        Ok(Datagrams { process, slot })
    }

    fn with<R>(&self, what: &str, f: impl FnOnce(&mut Kernel) -> R) -> io::Result<R> {
        if self.process.is_alive() { Ok(act(what, f)) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the process has died.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.with("net::raw::Datagrams::local_addr", |kernel| kernel.datagram_sockets[self.slot].local)
    }

    /// The only address that it receives from, and sends to when none is said.
    ///
    /// # Errors
    /// `NotConnected` when there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let peer = self.with("net::raw::Datagrams::peer_addr", |kernel| kernel.datagram_sockets[self.slot].peer)?;
        peer.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sets the only address that it receives from from now on, or none.
    ///
    /// # Errors
    /// For an address of another version of IP.
    pub fn connect(&self, to: Option<SocketAddr>) -> io::Result<()> {
        self.with("net::raw::Datagrams::connect", |kernel| kernel.connect_datagram(self.slot, to))?
    }

    /// Lets it send to broadcast addresses.
    pub fn set_broadcast(&self, broadcast: bool) {
        let set = |kernel: &mut Kernel| kernel.datagram_sockets[self.slot].broadcast = broadcast;
        drop(self.with("net::raw::Datagrams::set_broadcast", set));
    }

    /// Whether it may send to broadcast addresses.
    pub fn broadcast(&self) -> bool {
        let broadcast = |kernel: &mut Kernel| kernel.datagram_sockets[self.slot].broadcast;
        self.with("net::raw::Datagrams::broadcast", broadcast).unwrap_or(false)
    }

    /// Whether what it sends to a multicast group reaches its own node too, as it does at first.
    pub fn set_multicast_loop(&self, loops: bool) {
        let set = |kernel: &mut Kernel| kernel.datagram_sockets[self.slot].loops = loops;
        drop(self.with("net::raw::Datagrams::set_multicast_loop", set));
    }

    /// Receives what is sent to a multicast group.
    ///
    /// # Errors
    /// For an address that is none of a group; `AddrInUse` when it was joined before.
    pub fn join(&self, group: IpAddr) -> io::Result<()> {
        self.with("net::raw::Datagrams::join", |kernel| kernel.join(self.slot, group))?
    }

    /// Receives no more of it.
    ///
    /// # Errors
    /// `AddrNotAvailable` when it was not joined.
    pub fn leave(&self, group: IpAddr) -> io::Result<()> {
        self.with("net::raw::Datagrams::leave", |kernel| kernel.leave(self.slot, group))?
    }

    /// Sends a datagram, which may be lost; to the connected address where none is said.
    ///
    /// # Errors
    /// For no address or one that cannot be, for too many bytes, and what came back of an earlier one.
    pub fn send(&self, to: Option<SocketAddr>, bytes: &[u8]) -> io::Result<usize> {
        const WHAT: &str = "net::raw::Datagrams::send";
        let (from, to) = self.with(WHAT, |kernel| kernel.datagram_ends(self.slot, to, bytes.len()))??;
        let judged = self.with(WHAT, |kernel| {
            let there = (!kernel.rules.is_empty()).then(|| kernel.addresses.node_at(self.process.node, to.ip()))??;
            rule::packet(PacketKind::Datagram, (self.process.node, there), (from, to), bytes)
        })?;
        let verdict = judged.map_or(Verdict::Pass, |packet| rule::judge(&packet));
        self.with(WHAT, |kernel| {
            let loops = kernel.datagram_sockets[self.slot].loops;
            kernel.send_datagram((self.process.node, loops), (from, to), bytes, verdict);
        })?;
        Ok(bytes.len())
    }

    /// Takes the first datagram that waits; what does not fit is cut off, and the length told is that of the whole.
    pub fn poll_receive(&self, buffer: &mut [u8], waker: &Waker) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.with("net::raw::Datagrams::poll_receive", |kernel| kernel.poll_receive(self.slot, buffer, waker, true))?
    }

    /// Shows the first datagram that waits, and leaves it; the length told is that of the whole.
    pub fn poll_peek(&self, buffer: &mut [u8], waker: &Waker) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.with("net::raw::Datagrams::poll_peek", |kernel| kernel.poll_receive(self.slot, buffer, waker, false))?
    }

    /// The error that waits to be told, which is told once.
    pub fn take_error(&self) -> Option<io::Error> {
        let take = |kernel: &mut Kernel| kernel.datagram_sockets[self.slot].error.take();
        self.with("net::raw::Datagrams::take_error", take).ok().flatten().map(io::Error::from)
    }

    /// Whether a datagram waits. `waker` is woken when one comes.
    pub fn ready(&self, waker: &Waker) -> Ready {
        let ready = self.with("net::raw::Datagrams::ready", |kernel| {
            let socket = &mut kernel.datagram_sockets[self.slot];
            wait(&mut socket.wakers, waker);
            (!socket.inbox.is_empty(), socket.error.is_some())
        });
        let (waits, error) = ready.unwrap_or_default();
        Ready { readable: waits || error, writable: true, error, ..Ready::default() }
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        if self.process.is_alive() {
            act_if_running(|kernel| kernel.close_datagram(self.slot));
        }
    }
}
