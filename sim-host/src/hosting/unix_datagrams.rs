//! Datagrams within a machine (unix(7)): none is lost, and a sender waits where a receiver is behind.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::task::Waker;

use super::descriptor::{Io, Object};
use super::pipe::{bits, wake};
use super::socket::{Address, Received, Socket};
use super::unix::{Names, path_of};

/// Datagrams that wait to be received (net.unix.max_dgram_qlen).
const QUEUE: usize = 10;

/// The longest datagram: what fits the buffer of a socket, less what the kernel keeps beside it.
const LONGEST: usize = (208 << 10) - 32;

/// What a socket has been sent.
#[derive(Default)]
pub(crate) struct Mailbox {
    /// Each with the name of its sender.
    waiting: RefCell<VecDeque<(Option<PathBuf>, Vec<u8>)>>,
    /// The only one that may send: who the socket is connected to.
    only: RefCell<Option<Weak<Mailbox>>>,
    /// shutdown(2) ended reading, or the socket is closed.
    closed: Cell<bool>,
    reader: RefCell<Option<Waker>>,
    writers: RefCell<Vec<Waker>>,
}

impl Mailbox {
    fn close(&self) {
        self.closed.set(true);
        wake(&self.reader);
        self.let_senders_try();
    }

    fn let_senders_try(&self) {
        let writers = self.writers.take();
        writers.into_iter().for_each(Waker::wake);
    }

    fn is_full(&self) -> bool {
        self.waiting.borrow().len() >= QUEUE && !self.closed.get()
    }

    fn tell_room(&self, waker: &Waker) {
        let mut writers = self.writers.borrow_mut();
        if !writers.iter().any(|known| known.will_wake(waker)) {
            writers.push(waker.clone());
        }
    }
}

/// A Unix socket of datagrams, or one of a pair that keeps the bounds of messages (`SOCK_SEQPACKET`).
pub(crate) struct Datagrams {
    kind: c_int,
    own: Rc<Mailbox>,
    name: RefCell<Option<PathBuf>>,
    peer: RefCell<Option<(Address, Weak<Mailbox>)>>,
    /// shutdown(2) ended writing.
    mute: Cell<bool>,
}

impl Datagrams {
    pub(crate) fn new(kind: c_int) -> Self {
        Datagrams {
            kind,
            own: Rc::default(),
            name: RefCell::default(),
            peer: RefCell::default(),
            mute: Cell::default(),
        }
    }

    /// Two that are connected.
    pub(crate) fn pair(kind: c_int) -> [Self; 2] {
        let pair = [Datagrams::new(kind), Datagrams::new(kind)];
        for (one, other) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            one.connect_to(Address::Unix(None), &other.own);
        }
        pair
    }

    fn connect_to(&self, name: Address, mailbox: &Rc<Mailbox>) {
        *self.own.only.borrow_mut() = Some(Rc::downgrade(mailbox));
        *self.peer.borrow_mut() = Some((name, Rc::downgrade(mailbox)));
    }

    fn ends_with_its_peer(&self) -> bool {
        self.kind == libc::SOCK_SEQPACKET
    }

    fn connected(&self) -> Option<Rc<Mailbox>> {
        self.peer.borrow().as_ref().and_then(|(_, mailbox)| mailbox.upgrade())
    }

    /// Nothing more will come.
    fn is_over(&self) -> bool {
        self.own.closed.get() || self.ends_with_its_peer() && self.connected().is_none()
    }

    fn target(&self, to: Option<Address>) -> Io<Rc<Mailbox>> {
        match to.filter(|_| !self.ends_with_its_peer()) {
            Some(to) => Names::mailbox(&path_of(&to)?),
            None if self.peer.borrow().is_none() => Err(libc::ENOTCONN),
            None if self.ends_with_its_peer() => self.connected().ok_or(libc::EPIPE),
            None => self.connected().ok_or(libc::ECONNREFUSED),
        }
    }
}

impl Object for Datagrams {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.receive(buffer, false, waker).map(|received| received.length)
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        self.send_to(bytes, None, waker)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        *self.own.reader.borrow_mut() = Some(waker.clone());
        let (over, waits) = (self.is_over(), !self.own.waiting.borrow().is_empty());
        let peer = self.connected();
        peer.iter().for_each(|peer| peer.tell_room(waker));
        let full = peer.is_some_and(|peer| peer.is_full());
        bits(over || waits, libc::EPOLLIN)
            | bits(over, libc::EPOLLRDHUP)
            | bits(!full, libc::EPOLLOUT)
            | bits(over && self.ends_with_its_peer(), libc::EPOLLHUP)
    }

    fn unread(&self) -> Option<usize> {
        Some(self.own.waiting.borrow().front().map_or(0, |(_, bytes)| bytes.len()))
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

impl Socket for Datagrams {
    fn family(&self) -> c_int {
        libc::AF_UNIX
    }

    fn kind(&self) -> c_int {
        self.kind
    }

    fn bind(&self, address: Address) -> Io<()> {
        if self.name.borrow().is_some() {
            return Err(libc::EINVAL);
        }
        let path = Names::claim(&address)?;
        Names::put_mailbox(&path, &self.own);
        *self.name.borrow_mut() = Some(path);
        Ok(())
    }

    fn connect(&self, to: &Address, _waker: &Waker) -> Io<()> {
        let path = path_of(to)?;
        let mailbox = Names::mailbox(&path)?;
        self.connect_to(Address::Unix(Some(path)), &mailbox);
        Ok(())
    }

    fn local(&self) -> Io<Address> {
        Ok(Address::Unix(self.name.borrow().clone()))
    }

    fn peer(&self) -> Io<Address> {
        self.peer.borrow().as_ref().map(|(name, _)| name.clone()).ok_or(libc::ENOTCONN)
    }

    fn peek(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.receive(buffer, true, waker).map(|received| received.length)
    }

    fn receive(&self, buffer: &mut [u8], peek: bool, waker: &Waker) -> Io<Received> {
        let mut waiting = self.own.waiting.borrow_mut();
        let Some((from, bytes)) = waiting.front() else {
            drop(waiting);
            if self.is_over() {
                return Ok(Received { length: 0, whole: 0, from: None });
            }
            *self.own.reader.borrow_mut() = Some(waker.clone());
            return Err(libc::EAGAIN);
        };
        let (whole, length) = (bytes.len(), bytes.len().min(buffer.len()));
        buffer[..length].copy_from_slice(&bytes[..length]);
        let received = Received { length, whole, from: Some(Address::Unix(from.clone())) };
        if !peek {
            waiting.pop_front();
            drop(waiting);
            self.own.let_senders_try();
        }
        Ok(received)
    }

    fn send_to(&self, bytes: &[u8], to: Option<Address>, waker: &Waker) -> Io<usize> {
        if self.mute.get() {
            return Err(libc::EPIPE);
        }
        let target = self.target(to)?;
        if bytes.len() > LONGEST {
            return Err(libc::EMSGSIZE);
        }
        if target.closed.get() {
            return Err(libc::EPIPE);
        }
        if target.only.borrow().as_ref().is_some_and(|only| !only.ptr_eq(&Rc::downgrade(&self.own))) {
            return Err(libc::EPERM);
        }
        if target.is_full() {
            target.tell_room(waker);
            return Err(libc::EAGAIN);
        }
        target.waiting.borrow_mut().push_back((self.name.borrow().clone(), bytes.to_vec()));
        wake(&target.reader);
        Ok(bytes.len())
    }

    fn shutdown(&self, read: bool, write: bool) -> Io<()> {
        let peer = self.connected().ok_or(libc::ENOTCONN)?;
        if read {
            self.own.close();
        }
        if write {
            self.mute.set(true);
            if self.ends_with_its_peer() {
                peer.close();
            }
        }
        Ok(())
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        self.own.let_senders_try();
        if let Some(peer) = self.connected() {
            if self.ends_with_its_peer() {
                peer.closed.set(true);
            }
            wake(&peer.reader);
        }
    }
}
