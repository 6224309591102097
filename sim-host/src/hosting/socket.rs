//! Sockets as descriptors: TCP and UDP over the kernel of sim-net.

use std::cell::{Cell, RefCell};
use std::ffi::c_int;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::task::{Poll, Waker};

use sim_core::ambient;
use sim_net::raw::{Connection, Datagrams, Listener, Ready};

use super::descriptor::{Description, Io, Object, errno_of, settle};
use super::device::below;
use super::listening::{self, Listening};
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

    /// An option is about to be set; for most it is enough that their value is kept.
    fn set_option(&self, _level: c_int, _name: c_int, _value: &[u8]) {}

    /// Joins a multicast group, or leaves it.
    fn set_membership(&self, _group: IpAddr, _joins: bool) -> Io<()> {
        Err(libc::ENOPROTOOPT)
    }

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

/// Whether a number among the options is not zero.
fn is_set(value: &[u8]) -> bool {
    value.iter().any(|byte| *byte != 0)
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
    Listening(Listening),
}

/// A TCP socket.
pub(crate) struct Tcp {
    family: c_int,
    stage: RefCell<Stage>,
    bound: Cell<Option<SocketAddr>>,
    /// Nothing to read has come since the last read. Programs that watch edges read until there is nothing.
    dry: Cell<bool>,
    /// shutdown(2) ended reading: what comes all the same is still read.
    deaf: Cell<bool>,
    /// shutdown(2) ended writing.
    mute: Cell<bool>,
    nodelay: Cell<bool>,
    /// Closing resets.
    zero_linger: Cell<bool>,
    /// Others may listen where it does.
    shares: Cell<bool>,
}

impl Tcp {
    pub(crate) fn new(family: c_int) -> Self {
        Tcp::at(family, Stage::Fresh, None)
    }

    fn at(family: c_int, stage: Stage, bound: Option<SocketAddr>) -> Self {
        Tcp {
            family,
            stage: RefCell::new(stage),
            bound: Cell::new(bound),
            dry: Cell::default(),
            deaf: Cell::default(),
            mute: Cell::default(),
            nodelay: Cell::default(),
            zero_linger: Cell::default(),
            shares: Cell::default(),
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

    /// As [`connection`](Tcp::connection); what comes too early waits.
    #[inline]
    fn once_open<R>(&self, waker: &Waker, f: impl FnOnce(&Connection) -> Io<R>) -> Io<R> {
        if let Stage::Open(connection) = &*self.stage.borrow() {
            return f(connection);
        }
        if matches!(*self.stage.borrow(), Stage::Connecting(_)) {
            self.advance(waker)?;
        }
        self.connection(f)
    }
}

impl Object for Tcp {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.once_open(waker, |connection| {
            if buffer.is_empty() {
                return Ok(0);
            }
            let nothing = if self.deaf.get() { Ok(0) } else { Err(libc::EAGAIN) };
            if self.dry.get() && ambient::is_alive() {
                return nothing;
            }
            let mut rest = &mut buffer[..];
            let mut take = |part: &[u8]| {
                let length = part.len().min(rest.len());
                let (head, tail) = std::mem::take(&mut rest).split_at_mut(length);
                head.copy_from_slice(&part[..length]);
                rest = tail;
                length
            };
            let read = connection.poll_read_edge(&mut take, waker);
            self.dry.set(matches!(read, Poll::Pending | Poll::Ready(Ok((_, true)))));
            if read.is_pending() { nothing } else { settle(read).map(|(taken, _)| taken) }
        })
    }

    fn unread(&self) -> Option<usize> {
        match &*self.stage.borrow() {
            Stage::Open(connection) => Some(connection.peek(&mut |_| ())),
            _ => None,
        }
    }

    fn changed(&self) {
        self.dry.set(false);
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        let length = moved(bytes.len());
        let written = self
            .once_open(waker, |connection| settle(connection.poll_write(&bytes[..length], waker)))
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
            Stage::Connecting(connection) => epoll_bits(connection.ready(waker)),
            Stage::Open(connection) => {
                let ready = connection.ready(waker);
                let (deaf, mute) = (self.deaf.get(), self.mute.get());
                // As tcp_poll of Linux has it.
                epoll_bits(ready)
                    | bits(deaf, libc::EPOLLIN | libc::EPOLLRDHUP)
                    | bits(mute, libc::EPOLLOUT)
                    | bits(mute && (deaf || ready.read_closed), libc::EPOLLHUP)
            }
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
        if self.shares.get() && listening::is_shared(address) {
            self.bound.set(Some(address));
            return Ok(());
        }
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
                let listener = Listening::begin(address, self.shares.get())?;
                self.bound.set(listener.address());
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
        let connection = listener.accept(waker)?;
        let (local, peer) = connection.addresses();
        let socket = Tcp::at(self.family, Stage::Open(connection), Some(local));
        Ok((Description::new(socket), Address::Inet(in_family(self.family, peer))))
    }

    fn connect(&self, to: &Address, waker: &Waker) -> Io<()> {
        if matches!(*self.stage.borrow(), Stage::Open(_) | Stage::Listening(_)) {
            return Err(libc::EISCONN);
        }
        if matches!(*self.stage.borrow(), Stage::Fresh) {
            let opened = Connection::open_from(self.bound.get(), canonical(to)?);
            let connection = opened.map_err(|error| errno_of(&error))?;
            connection.set_nodelay(self.nodelay.get());
            if self.zero_linger.get() {
                connection.set_zero_linger();
            }
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

    fn set_option(&self, level: c_int, name: c_int, value: &[u8]) {
        let stage = self.stage.borrow();
        let connection = match &*stage {
            Stage::Connecting(connection) | Stage::Open(connection) => Some(connection),
            Stage::Fresh | Stage::Listening(_) => None,
        };
        match (level, name) {
            (libc::IPPROTO_TCP, libc::TCP_NODELAY) => {
                self.nodelay.set(is_set(value));
                connection.into_iter().for_each(|connection| connection.set_nodelay(is_set(value)));
            }
            // With a time to wait it is no reset, and the kernel sends what is left all the same.
            (libc::SOL_SOCKET, libc::SO_LINGER) if is_set(&value[..4]) && !is_set(&value[4..]) => {
                self.zero_linger.set(true);
                connection.into_iter().for_each(Connection::set_zero_linger);
            }
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => self.shares.set(is_set(value)),
            _ => {}
        }
    }

    fn nodelay(&self) -> bool {
        self.nodelay.get()
    }

    fn shutdown(&self, read: bool, write: bool) -> Io<()> {
        self.connection(|connection| {
            let state = connection.state();
            if state.broken || (self.mute.get() && state.read_closed) {
                return Err(libc::ENOTCONN);
            }
            if read {
                self.deaf.set(true);
                connection.shut_read();
            }
            if write {
                self.mute.set(true);
                connection.shut_write().map_err(|error| errno_of(&error))?;
            }
            Ok(())
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
    /// What was asked for before it was bound.
    broadcast: Cell<bool>,
    loops: Cell<bool>,
    groups: RefCell<Vec<IpAddr>>,
}

impl Udp {
    pub(crate) fn new(family: c_int) -> Self {
        Udp {
            family,
            socket: RefCell::default(),
            peer: Cell::default(),
            broadcast: Cell::default(),
            loops: Cell::new(true),
            groups: RefCell::default(),
        }
    }

    /// Does something with the socket, if it is bound.
    fn if_bound<R>(&self, f: impl FnOnce(&Datagrams) -> R) -> Option<R> {
        self.socket.borrow().as_ref().map(f)
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

    fn unread(&self) -> Option<usize> {
        let next = self.if_bound(|socket| socket.poll_peek(&mut [], Waker::noop()));
        Some(if let Some(Poll::Ready(Ok((length, _)))) = next { length } else { 0 })
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
        socket.set_broadcast(self.broadcast.get());
        socket.set_multicast_loop(self.loops.get());
        for group in self.groups.borrow().iter() {
            socket.join(*group).map_err(|error| errno_of(&error))?;
        }
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
            let (whole, from) = settle(found)?;
            let from = Some(Address::Inet(in_family(self.family, from)));
            Ok(Received { length: whole.min(buffer.len()), whole, from })
        })
    }

    fn send_to(&self, bytes: &[u8], to: Option<Address>, _waker: &Waker) -> Io<usize> {
        let to = match to {
            Some(to) => canonical(&to)?,
            None => self.peer.get().ok_or(libc::EDESTADDRREQ)?,
        };
        self.bound(|socket| socket.send(Some(to), bytes).map_err(|error| errno_of(&error)))
    }

    fn set_option(&self, level: c_int, name: c_int, value: &[u8]) {
        let set = is_set(value);
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_BROADCAST) => {
                self.broadcast.set(set);
                self.if_bound(|socket| socket.set_broadcast(set));
            }
            (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP) | (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP) => {
                self.loops.set(set);
                self.if_bound(|socket| socket.set_multicast_loop(set));
            }
            _ => {}
        }
    }

    fn set_membership(&self, group: IpAddr, joins: bool) -> Io<()> {
        let mut groups = self.groups.borrow_mut();
        let place = groups.iter().position(|joined| *joined == group);
        match (joins, place) {
            (true, _) if !group.is_multicast() => return Err(libc::EINVAL),
            (true, Some(_)) => return Err(libc::EADDRINUSE),
            (true, None) => groups.push(group),
            (false, None) => return Err(libc::EADDRNOTAVAIL),
            (false, Some(place)) => drop(groups.remove(place)),
        }
        let socket = self.socket.borrow();
        let Some(socket) = &*socket else { return Ok(()) };
        if joins { socket.join(group) } else { socket.leave(group) }.map_err(|error| errno_of(&error))
    }

    fn take_error(&self) -> c_int {
        self.if_bound(Datagrams::take_error).flatten().map_or(0, |error| errno_of(&error))
    }

    fn shutdown(&self, _read: bool, _write: bool) -> Io<()> {
        self.peer.get().map(|_| ()).ok_or(libc::ENOTCONN)
    }
}
