//! The raw face: sockets that never wait, for whoever brings descriptors and a way to wait of its own (sim-host).
//!
//! Every operation that could wait takes a waker instead, which is woken once when asking again may help.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};

use sim_core::device::{self, Process};

use crate::address::own_ip;
use crate::kernel::{Kernel, act, act_if_running, wait};
use crate::listener::TcpListener;
use crate::stream::TcpStream;
use crate::tcp::Handle;

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

/// One end of a TCP connection.
#[derive(Debug)]
pub struct Connection {
    handle: Handle,
    local: SocketAddr,
    peer: SocketAddr,
}

fn living(what: &str) -> io::Result<Process> {
    let process = device::process(what);
    if process.is_alive() { Ok(process) } else { Err(io::ErrorKind::NetworkDown.into()) }
}

impl Connection {
    /// Sends the first SYN of a connection.
    ///
    /// # Errors
    /// When no port is free.
    pub fn open(to: SocketAddr) -> io::Result<Connection> {
        const WHAT: &str = "net::raw::Connection::open";
        let process = living(WHAT)?;
        let handle = act(WHAT, |kernel| kernel.connect(process, to))?;
        Ok(Connection::from_handle(handle))
    }

    fn from_handle(handle: Handle) -> Self {
        let (local, peer) = act("net::raw::Connection", |kernel| kernel.addresses(handle.end));
        Connection { handle, local, peer }
    }

    /// The address of this end and that of the other.
    pub fn addresses(&self) -> (SocketAddr, SocketAddr) {
        (self.local, self.peer)
    }

    /// How the handshake went.
    pub fn poll_open(&self, waker: &Waker) -> Poll<io::Result<()>> {
        act("net::raw::Connection::poll_open", |kernel| kernel.poll_connect(kernel.end(self.handle)?, waker))
    }

    /// Hands what has arrived to `take`, which says how much of it is taken; 0 bytes at the end of the stream.
    pub fn poll_read(&self, take: &mut dyn FnMut(&[u8]) -> usize, waker: &Waker) -> Poll<io::Result<usize>> {
        act("net::raw::Connection::poll_read", |kernel| kernel.poll_read(kernel.end(self.handle)?, take, waker))
    }

    /// Shows what has arrived and takes nothing. How many bytes `see` was shown.
    pub fn peek(&self, see: &mut dyn FnMut(&[u8])) -> usize {
        act("net::raw::Connection::peek", |kernel| {
            kernel.end(self.handle).map_or(0, |end| kernel.unread(end).map(|part| (see(part), part.len()).1).sum())
        })
    }

    /// Sends what fits the window.
    pub fn poll_write(&self, bytes: &[u8], waker: &Waker) -> Poll<io::Result<usize>> {
        act("net::raw::Connection::poll_write", |kernel| kernel.poll_write(kernel.end(self.handle)?, bytes, waker))
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

    /// The error that waits to be told, which is told once (socket(7), `SO_ERROR`).
    pub fn take_error(&self) -> Option<io::Error> {
        act("net::raw::Connection::take_error", |kernel| {
            let end = kernel.end(self.handle).ok()?;
            kernel.take_error(end).map(io::Error::from)
        })
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
        accepted.map_ok(|(stream, _)| Connection::from_handle(TcpStream::into_handle(stream)))
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
    local: SocketAddr,
}

impl Datagrams {
    /// Binds to an address. Port 0 picks a free one.
    ///
    /// # Errors
    /// `AddrInUse`, or `AddrNotAvailable` for an address that is not of this node.
    pub fn bind(address: SocketAddr) -> io::Result<Datagrams> {
        const WHAT: &str = "net::raw::Datagrams::bind";
        let process = living(WHAT)?;
        let (slot, local) = act(WHAT, |kernel| kernel.bind_datagram(process, address))?;
        Ok(Datagrams { process, slot, local })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The address that what is sent to `to` comes from.
    pub fn address_towards(&self, to: IpAddr) -> SocketAddr {
        SocketAddr::new(own_ip(self.process.node, to), self.local.port())
    }

    /// Sends a datagram, which may be lost.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if self.process.is_alive() {
            let from = self.address_towards(to.ip());
            act("net::raw::Datagrams::send", |kernel| kernel.send_datagram(self.process, from, to, bytes));
        }
    }

    /// Takes the first datagram that waits, from the address `only` where there is one; what does not fit is cut off.
    pub fn poll_receive(
        &self,
        only: Option<SocketAddr>,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        if !self.process.is_alive() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let what = "net::raw::Datagrams::poll_receive";
        act(what, |kernel| kernel.poll_receive(self.slot, only, buffer, waker)).map(Ok)
    }

    /// As [`poll_receive`](Datagrams::poll_receive), and leaves the datagram where it is.
    pub fn poll_peek(
        &self,
        only: Option<SocketAddr>,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        act("net::raw::Datagrams::poll_peek", |kernel| {
            let Some(socket) = kernel.datagram_sockets.get_mut(self.slot) else {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            };
            let fits = |from: &SocketAddr| only.is_none_or(|only| only == *from);
            let Some((from, bytes)) = socket.inbox.iter().find(|(from, _)| fits(from)) else {
                wait(&mut socket.wakers, waker);
                return Poll::Pending;
            };
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            Poll::Ready(Ok((length, *from)))
        })
    }

    /// Whether a datagram waits. `waker` is woken when one comes.
    pub fn ready(&self, waker: &Waker) -> Ready {
        let readable = self.process.is_alive()
            && act("net::raw::Datagrams::ready", |kernel| {
                let socket = &mut kernel.datagram_sockets[self.slot];
                wait(&mut socket.wakers, waker);
                !socket.inbox.is_empty()
            });
        Ready { readable, writable: true, ..Ready::default() }
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        if self.process.is_alive() {
            act_if_running(|kernel| kernel.close_datagram(self.process.node, self.slot, self.local.port()));
        }
    }
}

impl Kernel {
    /// Ends a UDP socket.
    pub(crate) fn close_datagram(&mut self, node: sim_core::NodeId, slot: usize, port: u16) {
        self.host(node).datagram_ports.remove(&port);
        drop(self.datagram_sockets.try_remove(slot));
    }
}
