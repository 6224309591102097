//! Bytes that stay within a machine: pipes, pairs of Unix sockets, counters (eventfd).
//!
//! A pair of sockets outlives the process that made it: the signal handling of tokio keeps one in a static, which all
//! nodes of this process share, and hands duplicates of it to every runtime.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use super::descriptor::{Io, Object};
use super::socket::{Address, Socket};

/// What a pipe holds (pipe(7)).
const PIPE: usize = 64 << 10;

/// What a pair of Unix sockets holds in each direction (unix(7), net.core.wmem_default).
const SOCKET: usize = 208 << 10;

/// One direction.
pub(crate) struct Channel {
    bytes: RefCell<VecDeque<u8>>,
    room: usize,
    writers: Cell<u32>,
    readers: Cell<u32>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

/// Wakes who waits, once.
pub(crate) fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    waker.into_iter().for_each(Waker::wake);
}

impl Channel {
    fn new(room: usize) -> Rc<Self> {
        Rc::new(Channel {
            bytes: RefCell::default(),
            room,
            writers: Cell::new(1),
            readers: Cell::new(1),
            reader: RefCell::default(),
            writer: RefCell::default(),
        })
    }

    fn read(&self, buffer: &mut [u8], waker: &Waker, peek: bool) -> Io<usize> {
        let mut bytes = self.bytes.borrow_mut();
        let length = bytes.len().min(buffer.len());
        if length == 0 && !buffer.is_empty() && self.writers.get() > 0 {
            *self.reader.borrow_mut() = Some(waker.clone());
            return Err(libc::EAGAIN);
        }
        for (to, from) in buffer.iter_mut().zip(bytes.iter()) {
            *to = *from;
        }
        if !peek {
            bytes.drain(..length);
            drop(bytes);
            wake(&self.writer);
        }
        Ok(length)
    }

    fn write(&self, data: &[u8], waker: &Waker) -> Io<usize> {
        if self.readers.get() == 0 {
            return Err(libc::EPIPE);
        }
        let mut bytes = self.bytes.borrow_mut();
        let length = (self.room - bytes.len()).min(data.len());
        if length == 0 && !data.is_empty() {
            *self.writer.borrow_mut() = Some(waker.clone());
            return Err(libc::EAGAIN);
        }
        bytes.extend(&data[..length]);
        drop(bytes);
        wake(&self.reader);
        Ok(length)
    }

    fn readable(&self, waker: &Waker) -> u32 {
        *self.reader.borrow_mut() = Some(waker.clone());
        let ended = self.writers.get() == 0;
        let readable = ended || !self.bytes.borrow().is_empty();
        bits(readable, libc::EPOLLIN) | bits(ended, libc::EPOLLRDHUP)
    }

    fn writable(&self, waker: &Waker) -> u32 {
        *self.writer.borrow_mut() = Some(waker.clone());
        let broken = self.readers.get() == 0;
        bits(broken || self.bytes.borrow().len() < self.room, libc::EPOLLOUT)
    }

    fn end_writing(&self) {
        self.writers.set(0);
        wake(&self.reader);
    }

    fn end_reading(&self) {
        self.readers.set(0);
        wake(&self.writer);
    }
}

pub(crate) fn bits(set: bool, bits: i32) -> u32 {
    if set { bits as u32 } else { 0 }
}

/// The reading end of a pipe.
struct Reader(Rc<Channel>);

/// The writing end of a pipe.
struct Writer(Rc<Channel>);

/// The two ends of a pipe: to read from, and to write to.
pub(crate) fn pipe() -> (impl Object + 'static, impl Object + 'static) {
    let channel = Channel::new(PIPE);
    (Reader(channel.clone()), Writer(channel))
}

impl Object for Reader {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.0.read(buffer, waker, false)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        let readable = self.0.readable(waker) & !(libc::EPOLLRDHUP as u32);
        readable | bits(self.0.writers.get() == 0, libc::EPOLLHUP)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.end_reading();
    }
}

impl Object for Writer {
    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        self.0.write(bytes, waker)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        self.0.writable(waker) | bits(self.0.readers.get() == 0, libc::EPOLLERR)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end_writing();
    }
}

/// One of two Unix sockets that are connected.
pub(crate) struct Duplex {
    incoming: Rc<Channel>,
    outgoing: Rc<Channel>,
    pub(crate) local: Address,
    pub(crate) peer: Address,
    /// Made by socketpair(2).
    stays: bool,
}

/// Two Unix sockets that are connected; `names` are those of the first and the second.
pub(crate) fn pair(stays: bool, names: [Address; 2]) -> (Duplex, Duplex) {
    let (one, other) = (Channel::new(SOCKET), Channel::new(SOCKET));
    let [first, second] = names;
    let left =
        Duplex { incoming: one.clone(), outgoing: other.clone(), local: first.clone(), peer: second.clone(), stays };
    (left, Duplex { incoming: other, outgoing: one, local: second, peer: first, stays })
}

impl Object for Duplex {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.incoming.read(buffer, waker, false)
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        if self.outgoing.writers.get() == 0 {
            return Err(libc::EPIPE);
        }
        self.outgoing.write(bytes, waker)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        let both = self.incoming.writers.get() == 0 && self.outgoing.readers.get() == 0;
        self.incoming.readable(waker) | self.outgoing.writable(waker) | bits(both, libc::EPOLLHUP)
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }

    fn outlives_its_process(&self) -> bool {
        self.stays
    }
}

impl Socket for Duplex {
    fn family(&self) -> i32 {
        libc::AF_UNIX
    }

    fn local(&self) -> Io<Address> {
        Ok(self.local.clone())
    }

    fn peer(&self) -> Io<Address> {
        Ok(self.peer.clone())
    }

    fn peek(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.incoming.read(buffer, waker, true)
    }

    fn shutdown(&self, read: bool, write: bool) -> Io<()> {
        if write {
            self.outgoing.end_writing();
        }
        if read {
            self.incoming.end_reading();
            self.incoming.writers.set(0);
            wake(&self.incoming.reader);
        }
        Ok(())
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        self.outgoing.end_writing();
        self.incoming.end_reading();
    }
}

/// eventfd(2).
pub(crate) struct Counter {
    count: Cell<u64>,
    semaphore: bool,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl Counter {
    pub(crate) fn new(count: u64, semaphore: bool) -> Self {
        Counter { count: Cell::new(count), semaphore, reader: RefCell::default(), writer: RefCell::default() }
    }
}

impl Object for Counter {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        let buffer = buffer.first_chunk_mut::<8>().ok_or(libc::EINVAL)?;
        let value = match self.count.get() {
            0 => {
                *self.reader.borrow_mut() = Some(waker.clone());
                return Err(libc::EAGAIN);
            }
            _ if self.semaphore => 1,
            count => count,
        };
        self.count.set(self.count.get() - value);
        *buffer = value.to_ne_bytes();
        wake(&self.writer);
        Ok(8)
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        let value = u64::from_ne_bytes(*bytes.first_chunk::<8>().ok_or(libc::EINVAL)?);
        if value == u64::MAX {
            return Err(libc::EINVAL);
        }
        match self.count.get().checked_add(value).filter(|count| *count < u64::MAX) {
            Some(count) => self.count.set(count),
            None => {
                *self.writer.borrow_mut() = Some(waker.clone());
                return Err(libc::EAGAIN);
            }
        }
        wake(&self.reader);
        Ok(8)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        *self.reader.borrow_mut() = Some(waker.clone());
        *self.writer.borrow_mut() = Some(waker.clone());
        bits(self.count.get() > 0, libc::EPOLLIN) | bits(self.count.get() < u64::MAX - 1, libc::EPOLLOUT)
    }
}
