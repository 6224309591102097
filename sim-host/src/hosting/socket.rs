//! Sockets as descriptors: TCP and UDP over the kernel of sim-net.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::task::{Poll, Waker};

use sim_net::raw::{Connection, Datagrams, Listener, Ready};

use super::descriptor::{Description, Io, Object, errno_of, settle};
use super::device::below;
use super::pipe::bits;

/// An address of a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Address {
    Inet(SocketAddr),
    /// A path, or none.
    Unix(Option<PathBuf>),
}

/// What was received: how many bytes, how long the message was, who sent it.
pub(crate) struct Received {
    pub(crate) length: usize,
    pub(crate) whole: usize,
    pub(crate) from: Option<Address>,
}

/// What sockets do beside reading and writing.
pub(crate) trait Socket: Object {
    fn family(&self) -> c_int;

    fn kind(&self) -> c_int {
        libc::SOCK_STREAM
    }

    fn bind(&self, _address: Address) -> Io<()> {
        Err(libc::EINVAL)
    }

    fn listen(&self) -> Io<()> {
        Err(libc::EOPNOTSUPP)
    }

    fn is_listening(&self) -> bool {
        false
    }

    fn accept(&self, _waker: &Waker) -> Io<(std::rc::Rc<Description>, Address)> {
        Err(libc::EINVAL)
    }

    /// Begins to connect, or says how far that is: `EAGAIN` while it is under way.
    fn connect(&self, _to: &Address, _waker: &Waker) -> Io<()> {
        Err(libc::EISCONN)
    }

    fn local(&self) -> Io<Address>;

    fn peer(&self) -> Io<Address> {
        Err(libc::ENOTCONN)
    }

    fn peek(&self, _buffer: &mut [u8], _waker: &Waker) -> Io<usize> {
        Err(libc::EOPNOTSUPP)
    }

    fn receive(&self, buffer: &mut [u8], peek: bool, waker: &Waker) -> Io<Received> {
        let length = if peek { self.peek(buffer, waker)? } else { self.read(buffer, waker)? };
        Ok(Received { length, whole: length, from: None })
    }

    fn send_to(&self, bytes: &[u8], _to: Option<Address>, waker: &Waker) -> Io<usize> {
        self.write(bytes, waker)
    }

    fn shutdown(&self, _read: bool, _write: bool) -> Io<()> {
        Err(libc::ENOTCONN)
    }

    /// An option whose value is a number; those that change nothing here are accepted.
    fn set_option(&self, _level: c_int, _name: c_int, _value: c_int) {}

    fn nodelay(&self) -> bool {
        true
    }

    /// The error that waits to be told, or 0.
    fn take_error(&self) -> c_int {
        0
    }
}

/// An address in the words of a socket's family: IPv4 is mapped into IPv6 where that is what the socket speaks.
pub(crate) fn in_family(family: c_int, address: SocketAddr) -> SocketAddr {
    match (family, address.ip()) {
        (libc::AF_INET6, IpAddr::V4(ip)) => SocketAddr::new(IpAddr::V6(ip.to_ipv6_mapped()), address.port()),
        _ => address,
    }
}

fn canonical(address: &Address) -> Io<SocketAddr> {
    match address {
        Address::Inet(address) => Ok(SocketAddr::new(address.ip().to_canonical(), address.port())),
        Address::Unix(_) => Err(libc::EAFNOSUPPORT),
    }
}

fn unspecified(family: c_int) -> SocketAddr {
    match family {
        libc::AF_INET6 => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        _ => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
    }
}

fn epoll_bits(ready: Ready) -> u32 {
    bits(ready.readable, libc::EPOLLIN)
        | bits(ready.writable, libc::EPOLLOUT)
        | bits(ready.read_closed, libc::EPOLLRDHUP)
        | bits(ready.broken, libc::EPOLLHUP)
        | bits(ready.error, libc::EPOLLERR)
}

/// So many bytes one call moves: now and then, by the seed, fewer than it could.
fn moved(length: usize) -> usize {
    if length > 1 && below(32) == 31 {
        return 1 + below(length as u64 - 1) as usize;
    }
    length
}

enum Stage {
    Fresh,
    Connecting(Connection),
    Open(Connection),
    Listening(Listener),
}

/// A TCP socket.
pub(crate) struct Tcp {
    family: c_int,
    stage: RefCell<Stage>,
    bound: Cell<Option<SocketAddr>>,
    /// shutdown(2) ended reading.
    deaf: Cell<bool>,
    nodelay: Cell<bool>,
}

impl Tcp {
    pub(crate) fn new(family: c_int) -> Self {
        Tcp {
            family,
            stage: RefCell::new(Stage::Fresh),
            bound: Cell::default(),
            deaf: Cell::default(),
            nodelay: Cell::default(),
        }
    }

    /// Moves a connection that is under way on.
    fn advance(&self, waker: &Waker) -> Io<()> {
        let mut stage = self.stage.borrow_mut();
        match std::mem::replace(&mut *stage, Stage::Fresh) {
            Stage::Connecting(connection) => match connection.poll_open(waker) {
                Poll::Pending => {
                    *stage = Stage::Connecting(connection);
                    Err(libc::EAGAIN)
                }
                Poll::Ready(Ok(())) => {
                    *stage = Stage::Open(connection);
                    Ok(())
                }
                Poll::Ready(Err(error)) => Err(errno_of(&error)),
            },
            Stage::Fresh => Err(libc::ENOTCONN),
            other => {
                *stage = other;
                Ok(())
            }
        }
    }

    fn connection<R>(&self, f: impl FnOnce(&Connection) -> Io<R>) -> Io<R> {
        if matches!(*self.stage.borrow(), Stage::Connecting(_)) {
            match self.advance(Waker::noop()) {
                Err(libc::EAGAIN) => return Err(libc::ENOTCONN),
                other => other?,
            }
        }
        match &*self.stage.borrow() {
            Stage::Open(connection) => f(connection),
            _ => Err(libc::ENOTCONN),
        }
    }

    /// What a read or write that comes too early waits for.
    fn until_open(&self, waker: &Waker) -> Io<()> {
        if matches!(*self.stage.borrow(), Stage::Connecting(_)) { self.advance(waker) } else { Ok(()) }
    }
}

impl Object for Tcp {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.until_open(waker)?;
        if self.deaf.get() || buffer.is_empty() {
            return Ok(0);
        }
        self.connection(|connection| {
            let mut rest = &mut buffer[..];
            let mut take = |part: &[u8]| {
                let length = part.len().min(rest.len());
                let (head, tail) = std::mem::take(&mut rest).split_at_mut(length);
                head.copy_from_slice(&part[..length]);
                rest = tail;
                length
            };
            settle(connection.poll_read(&mut take, waker))
        })
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        self.until_open(waker)?;
        let length = moved(bytes.len());
        let written = self
            .connection(|connection| settle(connection.poll_write(&bytes[..length], waker)))
            .map_err(|error| if error == libc::ENOTCONN { libc::EPIPE } else { error })?;
        if written < bytes.len() {
            // A program that watches edges takes a partial write for a full buffer, and waits for news of room.
            if self.ready(waker) & libc::EPOLLOUT as u32 != 0 {
                waker.wake_by_ref();
            }
        }
        Ok(written)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        match &*self.stage.borrow() {
            Stage::Fresh => (libc::EPOLLOUT | libc::EPOLLHUP) as u32,
            Stage::Connecting(connection) | Stage::Open(connection) => epoll_bits(connection.ready(waker)),
            Stage::Listening(listener) => epoll_bits(listener.ready(waker)),
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for Tcp {
    fn family(&self) -> c_int {
        self.family
    }

    fn bind(&self, address: Address) -> Io<()> {
        if !matches!(*self.stage.borrow(), Stage::Fresh) || self.bound.get().is_some() {
            return Err(libc::EINVAL);
        }
        let address = canonical(&address)?;
        // Bound for a moment, so that an address that is taken is told here as on Linux.
        let listener = Listener::bind(address).map_err(|error| errno_of(&error))?;
        self.bound.set(listener.local_addr().ok());
        Ok(())
    }

    fn listen(&self) -> Io<()> {
        let mut stage = self.stage.borrow_mut();
        match *stage {
            Stage::Listening(_) => Ok(()),
            Stage::Fresh => {
                let address = self.bound.get().unwrap_or_else(|| unspecified(self.family));
                let listener = Listener::bind(address).map_err(|error| errno_of(&error))?;
                self.bound.set(listener.local_addr().ok());
                *stage = Stage::Listening(listener);
                Ok(())
            }
            _ => Err(libc::EINVAL),
        }
    }

    fn is_listening(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Listening(_))
    }

    fn accept(&self, waker: &Waker) -> Io<(std::rc::Rc<Description>, Address)> {
        let Stage::Listening(listener) = &*self.stage.borrow() else { return Err(libc::EINVAL) };
        let connection = settle(listener.poll_accept(waker))?;
        let (local, peer) = connection.addresses();
        let stage = RefCell::new(Stage::Open(connection));
        let socket = Tcp {
            family: self.family,
            stage,
            bound: Cell::new(Some(local)),
            deaf: Cell::default(),
            nodelay: Cell::default(),
        };
        Ok((Description::new(socket), Address::Inet(in_family(self.family, peer))))
    }

    fn connect(&self, to: &Address, waker: &Waker) -> Io<()> {
        if matches!(*self.stage.borrow(), Stage::Open(_) | Stage::Listening(_)) {
            return Err(libc::EISCONN);
        }
        if matches!(*self.stage.borrow(), Stage::Fresh) {
            let connection = Connection::open(canonical(to)?).map_err(|error| errno_of(&error))?;
            connection.set_nodelay(self.nodelay.get());
            *self.stage.borrow_mut() = Stage::Connecting(connection);
        }
        self.advance(waker)
    }

    fn local(&self) -> Io<Address> {
        let local = match &*self.stage.borrow() {
            Stage::Connecting(connection) | Stage::Open(connection) => connection.addresses().0,
            _ => self.bound.get().unwrap_or_else(|| unspecified(self.family)),
        };
        Ok(Address::Inet(in_family(self.family, local)))
    }

    fn peer(&self) -> Io<Address> {
        self.connection(|connection| Ok(Address::Inet(in_family(self.family, connection.addresses().1))))
    }

    fn peek(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.connection(|connection| {
            let mut length = 0;
            connection.peek(&mut |part| {
                let taken = part.len().min(buffer.len() - length);
                buffer[length..length + taken].copy_from_slice(&part[..taken]);
                length += taken;
            });
            let ready = connection.ready(waker);
            if length > 0 || ready.read_closed { Ok(length) } else { Err(libc::EAGAIN) }
        })
    }

    fn set_option(&self, level: c_int, name: c_int, value: c_int) {
        let stage = self.stage.borrow();
        let connection = match &*stage {
            Stage::Connecting(connection) | Stage::Open(connection) => Some(connection),
            Stage::Fresh | Stage::Listening(_) => None,
        };
        match (level, name) {
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => {
                self.nodelay.set(value != 0);
                connection.into_iter().for_each(|connection| connection.set_nodelay(value != 0));
            }
            // On, with zero seconds: closing resets.
            (libc::SOL_SOCKET, libc::SO_LINGER) if value != 0 => {
                connection.into_iter().for_each(Connection::set_zero_linger);
            }
            _ => {}
        }
    }

    fn nodelay(&self) -> bool {
        self.nodelay.get()
    }

    fn shutdown(&self, read: bool, write: bool) -> Io<()> {
        self.connection(|connection| {
            if read {
                self.deaf.set(true);
            }
            if write { connection.shut_write().map_err(|error| errno_of(&error)) } else { Ok(()) }
        })
    }

    fn take_error(&self) -> c_int {
        match &*self.stage.borrow() {
            Stage::Connecting(connection) | Stage::Open(connection) => {
                connection.take_error().map_or(0, |error| errno_of(&error))
            }
            _ => 0,
        }
    }
}

/// A UDP socket.
pub(crate) struct Udp {
    family: c_int,
    socket: RefCell<Option<Datagrams>>,
    peer: Cell<Option<SocketAddr>>,
}

impl Udp {
    pub(crate) fn new(family: c_int) -> Self {
        Udp { family, socket: RefCell::default(), peer: Cell::default() }
    }

    /// Does something with the socket, which is bound to a free port if it was not.
    fn bound<R>(&self, f: impl FnOnce(&Datagrams) -> Io<R>) -> Io<R> {
        if self.socket.borrow().is_none() {
            self.bind(Address::Inet(unspecified(self.family)))?;
        }
        self.socket.borrow().as_ref().map_or(Err(libc::EBADF), f)
    }
}

impl Object for Udp {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.receive(buffer, false, waker).map(|received| received.length)
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        self.send_to(bytes, None, waker)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        match &*self.socket.borrow() {
            Some(socket) => epoll_bits(socket.ready(waker)),
            None => libc::EPOLLOUT as u32,
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for Udp {
    fn family(&self) -> c_int {
        self.family
    }

    fn kind(&self) -> c_int {
        libc::SOCK_DGRAM
    }

    fn bind(&self, address: Address) -> Io<()> {
        if self.socket.borrow().is_some() {
            return Err(libc::EINVAL);
        }
        let socket = Datagrams::bind(canonical(&address)?).map_err(|error| errno_of(&error))?;
        *self.socket.borrow_mut() = Some(socket);
        Ok(())
    }

    fn connect(&self, to: &Address, _waker: &Waker) -> Io<()> {
        let to = canonical(to)?;
        self.peer.set(Some(to));
        self.bound(|socket| socket.connect(Some(to)).map_err(|error| errno_of(&error)))
    }

    fn local(&self) -> Io<Address> {
        let local = match &*self.socket.borrow() {
            Some(socket) => socket.local_addr().map_err(|error| errno_of(&error))?,
            None => unspecified(self.family),
        };
        Ok(Address::Inet(in_family(self.family, local)))
    }

    fn peer(&self) -> Io<Address> {
        self.peer.get().map(|peer| Address::Inet(in_family(self.family, peer))).ok_or(libc::ENOTCONN)
    }

    fn receive(&self, buffer: &mut [u8], peek: bool, waker: &Waker) -> Io<Received> {
        self.bound(|socket| {
            let found = match peek {
                true => socket.poll_peek(buffer, waker),
                false => socket.poll_receive(buffer, waker),
            };
            let (length, from) = settle(found)?;
            let from = Some(Address::Inet(in_family(self.family, from)));
            Ok(Received { length: length.min(buffer.len()), whole: length, from })
        })
    }

    fn send_to(&self, bytes: &[u8], to: Option<Address>, _waker: &Waker) -> Io<usize> {
        let to = match to {
            Some(to) => canonical(&to)?,
            None => self.peer.get().ok_or(libc::EDESTADDRREQ)?,
        };
        self.bound(|socket| socket.send(Some(to), bytes).map_err(|error| errno_of(&error)))
    }

    fn set_option(&self, level: c_int, name: c_int, value: c_int) {
        if (level, name) == (libc::SOL_SOCKET, libc::SO_BROADCAST) {
            let _ = self.bound(|socket| {
                socket.set_broadcast(value != 0);
                Ok(())
            });
        }
    }

    fn shutdown(&self, _read: bool, _write: bool) -> Io<()> {
        self.peer.get().map(|_| ()).ok_or(libc::ENOTCONN)
    }
}
