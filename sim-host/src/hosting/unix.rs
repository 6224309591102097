//! Unix sockets with names. A name is a path on a machine; both ends are on that machine.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::task::Waker;

use sim_core::device::{self, Process};

use super::descriptor::{Description, Io, Object};
use super::device::hosts;
use super::pipe::{Duplex, bits, pair};
use super::socket::{Address, Socket};
use super::unix_datagrams::Mailbox;

/// Connections that wait to be accepted (net.core.somaxconn is 4096; programs ask for 128).
const BACKLOG: usize = 128;

/// The sockets with names of all machines, by the process that made them and the path.
#[derive(Default)]
pub(crate) struct Names {
    listeners: RefCell<BTreeMap<Name, (Process, Weak<Queue>)>>,
    mailboxes: RefCell<BTreeMap<Name, (Process, Weak<Mailbox>)>>,
    /// Names that were made up so far.
    made: Cell<u32>,
}

/// A machine, and a path on it. An abstract name is one that begins with a zero byte, and is no file.
type Name = (u32, PathBuf);

#[derive(Default)]
pub(crate) struct Queue {
    listens: Cell<bool>,
    waiting: RefCell<VecDeque<Duplex>>,
    acceptor: RefCell<Option<Waker>>,
}

fn here(path: &Path) -> Name {
    (device::process("host").node.0, path.to_path_buf())
}

fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_bytes().first() == Some(&0)
}

impl Names {
    /// The process has died. Its paths stay, as on Linux, and nobody listens there.
    pub(crate) fn forget(&self, process: Process) {
        self.listeners.borrow_mut().retain(|_, (owner, _)| *owner != process);
        self.mailboxes.borrow_mut().retain(|_, (owner, _)| *owner != process);
    }

    fn listener(&self, name: &Name) -> Option<Rc<Queue>> {
        self.listeners.borrow().get(name).and_then(|(_, queue)| queue.upgrade())
    }

    fn receiver(&self, name: &Name) -> Option<Rc<Mailbox>> {
        self.mailboxes.borrow().get(name).and_then(|(_, mailbox)| mailbox.upgrade())
    }

    /// Takes the name that a socket is to be bound to: one that is made up where the address is empty (unix(7), autobind).
    pub(crate) fn claim(address: &Address) -> Io<PathBuf> {
        let names = &hosts().unix;
        let path = match address {
            Address::Unix(None) => {
                names.made.set(names.made.get() + 1);
                PathBuf::from(format!("\0{:05x}", names.made.get()))
            }
            address => path_of(address)?,
        };
        if !is_abstract(&path) {
            super::file::make_socket_file(&path)?;
            return Ok(path);
        }
        let name = here(&path);
        let taken = names.listener(&name).is_some() || names.receiver(&name).is_some();
        if taken { Err(libc::EADDRINUSE) } else { Ok(path) }
    }

    /// What is sent to a path goes here from now on.
    pub(crate) fn put_mailbox(path: &Path, mailbox: &Rc<Mailbox>) {
        let process = device::process("host");
        hosts().unix.mailboxes.borrow_mut().insert(here(path), (process, Rc::downgrade(mailbox)));
    }

    /// Where datagrams to a path go.
    pub(crate) fn mailbox(path: &Path) -> Io<Rc<Mailbox>> {
        let (names, name) = (&hosts().unix, here(path));
        names.receiver(&name).ok_or_else(|| names.why_not(&name, names.listener(&name).is_some()))
    }

    /// Why nobody of the right kind answers to a name.
    fn why_not(&self, (_, path): &Name, other_kind: bool) -> c_int {
        match other_kind {
            true => libc::EPROTOTYPE,
            false if is_abstract(path) || super::file::exists(path) => libc::ECONNREFUSED,
            false => libc::ENOENT,
        }
    }
}

enum Stage {
    Fresh,
    /// It has a name, and may listen.
    Bound(PathBuf, Rc<Queue>),
    Open(Duplex),
}

/// A Unix stream socket that was made without a partner.
pub(crate) struct Unix {
    stage: RefCell<Stage>,
}

impl Unix {
    pub(crate) fn new() -> Self {
        Unix { stage: RefCell::new(Stage::Fresh) }
    }

    fn open<R>(&self, f: impl FnOnce(&Duplex) -> Io<R>) -> Io<R> {
        match &*self.stage.borrow() {
            Stage::Open(duplex) => f(duplex),
            _ => Err(libc::ENOTCONN),
        }
    }
}

impl Object for Unix {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.open(|duplex| duplex.read(buffer, waker))
    }

    fn write(&self, bytes: &[u8], waker: &Waker) -> Io<usize> {
        self.open(|duplex| duplex.write(bytes, waker))
    }

    fn ready(&self, waker: &Waker) -> u32 {
        match &*self.stage.borrow() {
            Stage::Open(duplex) => duplex.ready(waker),
            Stage::Bound(_, queue) if queue.listens.get() => {
                *queue.acceptor.borrow_mut() = Some(waker.clone());
                bits(!queue.waiting.borrow().is_empty(), libc::EPOLLIN)
            }
            Stage::Fresh | Stage::Bound(..) => (libc::EPOLLOUT | libc::EPOLLHUP) as u32,
        }
    }

    fn unread(&self) -> Option<usize> {
        self.open(|duplex| Ok(duplex.unread())).ok().flatten()
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

pub(crate) fn path_of(address: &Address) -> Io<PathBuf> {
    match address {
        Address::Unix(Some(path)) if is_abstract(path) => Ok(path.clone()),
        Address::Unix(Some(path)) => Ok(super::file::absolute(path)),
        Address::Unix(None) => Err(libc::EINVAL),
        Address::Inet(_) => Err(libc::EAFNOSUPPORT),
    }
}

impl Socket for Unix {
    fn family(&self) -> c_int {
        libc::AF_UNIX
    }

    fn bind(&self, address: Address) -> Io<()> {
        if !matches!(*self.stage.borrow(), Stage::Fresh) {
            return Err(libc::EINVAL);
        }
        let path = Names::claim(&address)?;
        let (process, queue) = (device::process("host"), Rc::new(Queue::default()));
        hosts().unix.listeners.borrow_mut().insert(here(&path), (process, Rc::downgrade(&queue)));
        *self.stage.borrow_mut() = Stage::Bound(path, queue);
        Ok(())
    }

    fn listen(&self) -> Io<()> {
        match &*self.stage.borrow() {
            Stage::Bound(_, queue) => {
                queue.listens.set(true);
                Ok(())
            }
            _ => Err(libc::EINVAL),
        }
    }

    fn is_listening(&self) -> bool {
        matches!(&*self.stage.borrow(), Stage::Bound(_, queue) if queue.listens.get())
    }

    fn accept(&self, waker: &Waker) -> Io<(Rc<Description>, Address)> {
        let stage = self.stage.borrow();
        let queue = match &*stage {
            Stage::Bound(_, queue) if queue.listens.get() => queue,
            _ => return Err(libc::EINVAL),
        };
        match queue.waiting.borrow_mut().pop_front() {
            Some(duplex) => {
                let peer = duplex.peer.clone();
                Ok((Description::new(duplex), peer))
            }
            None => {
                *queue.acceptor.borrow_mut() = Some(waker.clone());
                Err(libc::EAGAIN)
            }
        }
    }

    fn connect(&self, to: &Address, _waker: &Waker) -> Io<()> {
        let path = path_of(to)?;
        let name = match &*self.stage.borrow() {
            Stage::Fresh => None,
            Stage::Bound(path, queue) if !queue.listens.get() => Some(path.clone()),
            _ => return Err(libc::EISCONN),
        };
        let (names, there) = (&hosts().unix, here(&path));
        let queue = names.listener(&there).filter(|queue| queue.listens.get());
        let queue = queue.ok_or_else(|| names.why_not(&there, names.receiver(&there).is_some()))?;
        if queue.waiting.borrow().len() >= BACKLOG {
            return Err(libc::EAGAIN);
        }
        let (ours, theirs) = pair(false, [Address::Unix(name), Address::Unix(Some(path))]);
        queue.waiting.borrow_mut().push_back(theirs);
        *self.stage.borrow_mut() = Stage::Open(ours);
        let acceptor = queue.acceptor.borrow_mut().take();
        acceptor.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn local(&self) -> Io<Address> {
        Ok(match &*self.stage.borrow() {
            Stage::Fresh => Address::Unix(None),
            Stage::Bound(path, _) => Address::Unix(Some(path.clone())),
            Stage::Open(duplex) => duplex.local.clone(),
        })
    }

    fn peer(&self) -> Io<Address> {
        self.open(Socket::peer)
    }

    fn peek(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        self.open(|duplex| duplex.peek(buffer, waker))
    }

    fn shutdown(&self, read: bool, write: bool) -> Io<()> {
        self.open(|duplex| duplex.shutdown(read, write))
    }

    fn take_error(&self) -> c_int {
        self.open(|duplex| Ok(duplex.take_error())).unwrap_or(0)
    }
}
