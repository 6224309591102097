//! Bytes that stay within a machine: pipes, pairs of Unix sockets, counters (eventfd).
//!
//! A pair of sockets outlives the process that made it: the signal handling of tokio keeps one in a static, which all
//! nodes of this process share, and hands duplicates of it to every runtime.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::rc::Rc;
use std::task::Waker;

use super::PAGE;
use super::descriptor::{Io, Object};
use super::socket::{Address, Socket};

/// So many pages a pipe has (pipe(7)).
const PAGES: usize = 16;

/// What a pair of Unix sockets holds in each direction (unix(7), net.core.wmem_default).
const SOCKET: usize = 208 << 10;

/// Wakes who waits, once.
pub(crate) fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    waker.into_iter().for_each(Waker::wake);
}

pub(crate) fn bits(set: bool, bits: i32) -> u32 {
    if set { bits as u32 } else { 0 }
}

/// Moves what fits out of the front of `bytes`, or only shows it.
fn take(bytes: &mut VecDeque<u8>, buffer: &mut [u8], peek: bool) -> usize {
    let length = bytes.len().min(buffer.len());
    for (to, from) in buffer.iter_mut().zip(bytes.iter()) {
        *to = *from;
    }
    if !peek {
        bytes.drain(..length);
    }
    length
}

/// What is in a pipe, by the page: it is full when its pages are taken, however little is in each. So a write of at most a
/// page is there as a whole or not at all (Linux, `pipe_write`).
#[derive(Default)]
struct Pages {
    bytes: VecDeque<u8>,
    pages: VecDeque<Page>,
}

struct Page {
    unread: usize,
    /// Where what is in it ends.
    end: usize,
}

impl Pages {
    fn is_full(&self) -> bool {
        self.pages.len() == PAGES
    }

    fn write(&mut self, data: &[u8]) -> usize {
        let mut rest = data.len();
        // What is left of whole pages goes to the last one, where it fits.
        let tail = rest % PAGE;
        if let Some(last) = self.pages.back_mut().filter(|last| last.end + tail <= PAGE) {
            last.unread += tail;
            last.end += tail;
            rest -= tail;
        }
        while rest > 0 && !self.is_full() {
            let part = rest.min(PAGE);
            self.pages.push_back(Page { unread: part, end: part });
            rest -= part;
        }
        let written = data.len() - rest;
        self.bytes.extend(&data[..written]);
        written
    }

    fn read(&mut self, buffer: &mut [u8]) -> usize {
        let length = take(&mut self.bytes, buffer, false);
        let mut rest = length;
        while let Some(first) = self.pages.front_mut() {
            let part = rest.min(first.unread);
            first.unread -= part;
            rest -= part;
            if first.unread > 0 {
                break;
            }
            self.pages.pop_front();
        }
        length
    }
}

/// A pipe, as its ends share it.
#[derive(Default)]
struct Pipe {
    pages: RefCell<Pages>,
    /// The last descriptor of an end was closed.
    unread: Cell<bool>,
    unwritten: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

/// The reading end of a pipe.
struct Reader(Rc<Pipe>);

/// The writing end of a pipe.
struct Writer(Rc<Pipe>);

/// The two ends of a pipe: to read from, and to write to.
pub(crate) fn pipe() -> (impl Object + 'static, impl Object + 'static) {
    let pipe = Rc::<Pipe>::default();
    (Reader(pipe.clone()), Writer(pipe))
}

impl Object for Reader {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        let Reader(pipe) = self;
        let mut pages = pipe.pages.borrow_mut();
        let was_full = pages.is_full();
        let length = pages.read(buffer);
        if length == 0 && !buffer.is_empty() && !pipe.unwritten.get() {
            *pipe.reader.borrow_mut() = Some(waker.clone());
            return Err(libc::EAGAIN);
        }
        let has_room = was_full && !pages.is_full();
        drop(pages);
        if has_room {
            wake(&pipe.writer);
        }
        Ok(length)
    }

    fn write(&self, _bytes: &[u8], _waker: &Waker) -> Io<usize> {
        Err(libc::EBADF)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        let Reader(pipe) = self;
        *pipe.reader.borrow_mut() = Some(waker.clone());
        let readable = !pipe.pages.borrow().bytes.is_empty();
        bits(readable, libc::EPOLLIN) | bits(pipe.unwritten.get(), libc::EPOLLHUP)
    }

    fn unread(&self) -> Option<usize> {
        Some(self.0.pages.borrow().bytes.len())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.unread.set(true);
        wake(&self.0.writer);
    }
}

impl Object for Writer {
    fn read(&self, _buffer: &mut [u8], _waker: &Waker) -> Io<usize> {
        Err(libc::EBADF)
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        let Writer(pipe) = self;
        if bytes.is_empty() {
            return Ok(0);
        }
        if pipe.unread.get() {
            return Err(libc::EPIPE);
        }
        let length = pipe.pages.borrow_mut().write(bytes);
        // Linux tells those who read even of a write that finds no room.
        wake(&pipe.reader);
        if length == 0 {
            *pipe.writer.borrow_mut() = Some(waker.clone());
            return Err(libc::EAGAIN);
        }
        Ok(length)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        let Writer(pipe) = self;
        *pipe.writer.borrow_mut() = Some(waker.clone());
        bits(!pipe.pages.borrow().is_full(), libc::EPOLLOUT) | bits(pipe.unread.get(), libc::EPOLLERR)
    }

    fn unread(&self) -> Option<usize> {
        Some(self.0.pages.borrow().bytes.len())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.unwritten.set(true);
        wake(&self.0.reader);
    }
}

/// What a side of a connection does no more (shutdown(2)).
const READING: u8 = 1;
const WRITING: u8 = 2;
const BOTH: u8 = READING | WRITING;

/// One side of two Unix sockets that are connected.
#[derive(Default)]
struct Side {
    /// What came and was not read.
    bytes: RefCell<VecDeque<u8>>,
    shut: Cell<u8>,
    error: Cell<c_int>,
    reader: RefCell<Option<Waker>>,
    writer: RefCell<Option<Waker>>,
}

impl Side {
    /// Shuts some of it, which everyone is told who waits for anything.
    fn shut(&self, what: u8) {
        self.shut.set(self.shut.get() | what);
        wake(&self.reader);
        wake(&self.writer);
    }

    fn is_shut(&self, what: u8) -> bool {
        self.shut.get() & what == what
    }

    /// Whether who writes to it is told of room: only when most is read (Linux, `unix_writable`).
    fn has_much_room(&self) -> bool {
        self.bytes.borrow().len() * 4 <= SOCKET
    }
}

/// One of two Unix sockets that are connected.
pub(crate) struct Duplex {
    own: Rc<Side>,
    other: Rc<Side>,
    pub(crate) local: Address,
    pub(crate) peer: Address,
    /// Made by socketpair(2).
    stays: bool,
}

/// Two Unix sockets that are connected; `names` are those of the first and the second.
pub(crate) fn pair(stays: bool, names: [Address; 2]) -> (Duplex, Duplex) {
    let (one, two) = (Rc::<Side>::default(), Rc::<Side>::default());
    let [first, second] = names;
    let left = Duplex { own: one.clone(), other: two.clone(), local: first.clone(), peer: second.clone(), stays };
    (left, Duplex { own: two, other: one, local: second, peer: first, stays })
}

impl Duplex {
    fn receive(&self, buffer: &mut [u8], waker: &Waker, peek: bool) -> Io<usize> {
        let length = take(&mut self.own.bytes.borrow_mut(), buffer, peek);
        if length > 0 || buffer.is_empty() {
            if !peek && self.own.has_much_room() {
                wake(&self.other.writer);
            }
            return Ok(length);
        }
        match self.own.error.take() {
            0 if self.own.is_shut(READING) => Ok(0),
            0 => {
                *self.own.reader.borrow_mut() = Some(waker.clone());
                Err(libc::EAGAIN)
            }
            error => Err(error),
        }
    }
}

impl Object for Duplex {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.receive(buffer, waker, false)
    }

    fn write(&self, data: &[u8], waker: &Waker) -> Io<usize> {
        if self.own.is_shut(WRITING) {
            return Err(libc::EPIPE);
        }
        let mut bytes = self.other.bytes.borrow_mut();
        let length = (SOCKET - bytes.len()).min(data.len());
        if length == 0 && !data.is_empty() {
            *self.own.writer.borrow_mut() = Some(waker.clone());
            return Err(libc::EAGAIN);
        }
        bytes.extend(&data[..length]);
        drop(bytes);
        wake(&self.other.reader);
        Ok(length)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        let own = &self.own;
        *own.reader.borrow_mut() = Some(waker.clone());
        *own.writer.borrow_mut() = Some(waker.clone());
        let ended = own.is_shut(READING);
        bits(ended || !own.bytes.borrow().is_empty(), libc::EPOLLIN)
            | bits(ended, libc::EPOLLRDHUP)
            | bits(self.other.has_much_room(), libc::EPOLLOUT)
            | bits(own.is_shut(BOTH), libc::EPOLLHUP)
            | bits(own.error.get() != 0, libc::EPOLLERR)
    }

    fn unread(&self) -> Option<usize> {
        Some(self.own.bytes.borrow().len())
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
        self.receive(buffer, waker, true)
    }

    fn shutdown(&self, read: bool, write: bool) -> Io<()> {
        let (reading, writing) = (u8::from(read), u8::from(write));
        self.own.shut((reading * READING) | (writing * WRITING));
        self.other.shut((reading * WRITING) | (writing * READING));
        Ok(())
    }

    fn take_error(&self) -> c_int {
        self.own.error.take()
    }
}

impl Drop for Duplex {
    fn drop(&mut self) {
        if !self.own.bytes.borrow().is_empty() {
            self.other.error.set(libc::ECONNRESET);
        }
        self.other.shut(BOTH);
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
