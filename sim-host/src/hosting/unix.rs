//! Unix sockets with names. A name is a path on a machine; both ends are on that machine.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::task::Waker;

use sim_core::device::{self, Process};

use super::descriptor::{Description, Io, Object};
use super::device::hosts;
use super::pipe::{Duplex, bits, pair};
use super::socket::{Address, Socket};

/// Connections that wait to be accepted (net.core.somaxconn is 4096; programs ask for 128).
const BACKLOG: usize = 128;

/// The listeners of all machines, by the process that made them and the path.
#[derive(Default)]
pub(crate) struct Names(RefCell<BTreeMap<Name, (Process, Weak<Queue>)>>);

/// A machine, and a path on it.
type Name = (u32, PathBuf);

#[derive(Default)]
pub(crate) struct Queue {
    waiting: RefCell<VecDeque<Duplex>>,
    acceptor: RefCell<Option<Waker>>,
}

impl Names {
    /// The process has died. Its paths stay, as on Linux, and nobody listens there.
    pub(crate) fn forget(&self, process: Process) {
        self.0.borrow_mut().retain(|_, (owner, _)| *owner != process);
    }
}

enum Stage {
    Fresh(Option<PathBuf>),
    Listening(PathBuf, Rc<Queue>),
    Open(Duplex),
}

/// A Unix stream socket that was made without a partner.
pub(crate) struct Unix {
    stage: RefCell<Stage>,
}

impl Unix {
    pub(crate) fn new() -> Self {
        Unix { stage: RefCell::new(Stage::Fresh(None)) }
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
            Stage::Fresh(_) => (libc::EPOLLOUT | libc::EPOLLHUP) as u32,
            Stage::Listening(_, queue) => {
                *queue.acceptor.borrow_mut() = Some(waker.clone());
                bits(!queue.waiting.borrow().is_empty(), libc::EPOLLIN)
            }
        }
    }

    fn as_socket(&self) -> Option<&dyn Socket> {
        Some(self)
    }
}

fn path_of(address: &Address) -> Io<PathBuf> {
    match address {
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
        let path = path_of(&address)?;
        let mut stage = self.stage.borrow_mut();
        match &mut *stage {
            Stage::Fresh(name @ None) => {
                super::file::make_socket_file(&path)?;
                *name = Some(path);
                Ok(())
            }
            _ => Err(libc::EINVAL),
        }
    }

    fn listen(&self) -> Io<()> {
        let path = match &*self.stage.borrow() {
            Stage::Fresh(Some(path)) => path.clone(),
            Stage::Listening(..) => return Ok(()),
            _ => return Err(libc::EINVAL),
        };
        let queue = Rc::new(Queue::default());
        let process = device::process("host");
        let key = (process.node.0, path.clone());
        hosts().unix.0.borrow_mut().insert(key, (process, Rc::downgrade(&queue)));
        *self.stage.borrow_mut() = Stage::Listening(path, queue);
        Ok(())
    }

    fn is_listening(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Listening(..))
    }

    fn accept(&self, waker: &Waker) -> Io<(Rc<Description>, Address)> {
        let Stage::Listening(_, queue) = &*self.stage.borrow() else { return Err(libc::EINVAL) };
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
            Stage::Fresh(name) => name.clone(),
            _ => return Err(libc::EISCONN),
        };
        let node = device::process("host").node;
        let queue = hosts().unix.0.borrow().get(&(node.0, path.clone())).and_then(|(_, queue)| queue.upgrade());
        let Some(queue) = queue else {
            return Err(if super::file::exists(&path) { libc::ECONNREFUSED } else { libc::ENOENT });
        };
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
            Stage::Fresh(name) => Address::Unix(name.clone()),
            Stage::Listening(path, _) => Address::Unix(Some(path.clone())),
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
}
