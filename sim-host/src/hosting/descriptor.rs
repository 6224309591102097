//! Open descriptions (open(2)): what descriptors stand for, who watches them, and reading and writing that may wait.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use sim_core::device::{self, Process};

use super::device::{Entry, FIRST, Table, existing, hosts};
use super::epoll::{Epoll, Item};
use super::{baton, wait};

/// A result, or the number of an error (errno(3)).
pub(crate) type Io<T> = Result<T, c_int>;

/// What a description does. An operation that would have to wait gives `EAGAIN`, and `waker` is woken when trying again
/// may help.
pub(crate) trait Object {
    fn read(&self, _buffer: &mut [u8], _waker: &Waker) -> Io<usize> {
        Err(libc::EINVAL)
    }

    fn write(&self, _bytes: &[u8], _waker: &Waker) -> Io<usize> {
        Err(libc::EINVAL)
    }

    /// The `EPOLL` bits that hold now. `waker` is woken when that may have changed.
    fn ready(&self, _waker: &Waker) -> u32 {
        (libc::EPOLLIN | libc::EPOLLOUT) as u32
    }

    /// How many bytes can be read without waiting: of datagrams, those of the next. `None` where there is no such number.
    fn unread(&self) -> Option<usize> {
        None
    }

    /// A waker that it was given was woken.
    fn changed(&self) {}

    fn as_socket(&self) -> Option<&dyn super::socket::Socket> {
        None
    }

    fn as_epoll(&self) -> Option<&Epoll> {
        None
    }

    fn as_timer(&self) -> Option<&super::timer::Timer> {
        None
    }

    fn as_file(&self) -> Option<&super::file::OpenFile> {
        None
    }

    /// Whether it stays when its process dies: see [`super::pipe`].
    fn outlives_its_process(&self) -> bool {
        false
    }
}

/// An open description, shared by the descriptors that were duplicated from one.
pub(crate) struct Description {
    pub(crate) object: Box<dyn Object>,
    pub(crate) nonblocking: Cell<bool>,
    pub(crate) receive_timeout: Cell<Option<Duration>>,
    pub(crate) send_timeout: Cell<Option<Duration>>,
    /// What setsockopt(2) set, by level and name.
    pub(crate) options: RefCell<BTreeMap<(c_int, c_int), Vec<u8>>>,
    waiting: RefCell<Vec<Waiting>>,
    watchers: RefCell<Vec<Rc<Item>>>,
    waker: Waker,
}

/// A hosted thread that waits for a change, or once did: it is likely to come back.
struct Waiting {
    waker: Waker,
    waits: bool,
}

/// So many that once waited are remembered.
const REMEMBERED: usize = 8;

/// Tells a description that something about it has changed.
struct Notice(Weak<Description>);

// SAFETY: a weak reference of the simulation, which only the thread that holds the baton reaches; whoever wakes or drops
// it is such a thread, as a waker of the kernels never leaves them.
unsafe impl Send for Notice {}
// SAFETY: as above.
unsafe impl Sync for Notice {}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(description) = self.0.upgrade() {
            description.changed();
        }
    }
}

impl Description {
    pub(crate) fn new(object: impl Object + 'static) -> Rc<Self> {
        Rc::new_cyclic(|this| Description {
            object: Box::new(object),
            nonblocking: Cell::new(false),
            receive_timeout: Cell::default(),
            send_timeout: Cell::default(),
            options: RefCell::default(),
            waiting: RefCell::default(),
            watchers: RefCell::default(),
            waker: Waker::from(Arc::new(Notice(this.clone()))),
        })
    }

    /// Tells whoever waits for it, and the epolls that watch it.
    pub(crate) fn changed(&self) {
        self.object.changed();
        // Wakers here are of hosted threads: what they do is put a task on the ready list.
        for waiting in self.waiting.borrow_mut().iter_mut().filter(|waiting| waiting.waits) {
            waiting.waits = false;
            waiting.waker.wake_by_ref();
        }
        self.watchers.borrow().iter().for_each(Item::has_news);
    }

    pub(crate) fn outlives_its_process(&self) -> bool {
        self.object.outlives_its_process()
    }

    /// Wakes `waker` once at the next change.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.borrow_mut();
        match waiting.iter_mut().find(|known| known.waker.will_wake(waker)) {
            Some(known) => known.waits = true,
            None => {
                if waiting.len() >= REMEMBERED {
                    waiting.retain(|known| known.waits);
                }
                waiting.push(Waiting { waker: waker.clone(), waits: true });
            }
        }
    }

    /// Its process is no more. A thread that was killed while it used this holds on to it for ever.
    pub(crate) fn abandon(&self) {
        self.waiting.take();
        self.watchers.take();
        self.object.as_epoll().into_iter().for_each(super::epoll::Epoll::abandon);
    }

    pub(crate) fn watch(&self, item: Rc<Item>) {
        let mut watchers = self.watchers.borrow_mut();
        watchers.retain(|item| item.is_watched());
        watchers.push(item);
    }

    pub(crate) fn unwatch(&self, item: &Rc<Item>) {
        self.watchers.borrow_mut().retain(|other| !Rc::ptr_eq(other, item));
    }

    pub(crate) fn ready(&self) -> u32 {
        self.object.ready(&self.waker)
    }

    /// Tries until `attempt` does not have to wait; once only for a description that must not block.
    #[inline]
    pub(crate) fn attempt<T>(
        &self,
        what: &'static str,
        limit: Option<Duration>,
        may_wait: bool,
        mut attempt: impl FnMut(&dyn Object, &Waker) -> Io<T>,
    ) -> Io<T> {
        let first = attempt(&*self.object, &self.waker);
        if !matches!(first, Err(libc::EAGAIN)) || self.nonblocking.get() || !may_wait {
            return first;
        }
        let poll = |waker: &Waker| match attempt(&*self.object, &self.waker) {
            Err(libc::EAGAIN) => {
                self.wait(waker);
                Poll::Pending
            }
            result => Poll::Ready(result),
        };
        wait::block_for(what, limit, poll).unwrap_or(Err(libc::EAGAIN))
    }

    pub(crate) fn read(&self, buffer: &mut [u8]) -> Io<usize> {
        let limit = self.receive_timeout.get();
        self.attempt("read", limit, true, |object, waker| object.read(buffer, waker))
    }

    pub(crate) fn write(&self, bytes: &[u8]) -> Io<usize> {
        let limit = self.send_timeout.get();
        self.attempt("write", limit, true, |object, waker| object.write(bytes, waker))
    }
}

/// Whether a number is that of a simulated descriptor.
#[inline]
pub(crate) fn is_simulated(descriptor: c_int) -> bool {
    descriptor >= FIRST && (baton::hosted() || sim_core::ambient::is_simulated())
}

/// What a descriptor stands for, to begin a call with.
pub(crate) fn lookup(descriptor: c_int) -> Io<Rc<Description>> {
    let find = |table: &Table| {
        let slot = usize::try_from(descriptor.wrapping_sub(FIRST)).ok()?;
        table.borrow().get(slot).map(|entry| entry.description.clone())
    };
    let found = match baton::me() {
        Some(me) => {
            wait::begin_call(me);
            find(&me.table)
        }
        None => existing().and_then(|hosts| find(&hosts.table)),
    };
    found.ok_or(libc::EBADF)
}

/// Gives a description a number.
pub(crate) fn install(description: Rc<Description>, close_on_exec: bool) -> c_int {
    let owner = owner();
    let slot = hosts().table.borrow_mut().insert(Entry { owner, description, close_on_exec });
    FIRST + slot as c_int
}

fn owner() -> Process {
    device::process("host")
}

/// Closes a descriptor.
pub(crate) fn close(descriptor: c_int) -> Io<()> {
    let hosts = existing().ok_or(libc::EBADF)?;
    let entry = hosts.table.borrow_mut().try_remove((descriptor - FIRST) as usize);
    match entry {
        // Dropped now that the table is free again: it may wake somebody.
        Some(entry) => {
            drop(entry);
            Ok(())
        }
        // What a process left behind when it died, closed by whoever had hold of it.
        None if !baton::hosted() || !sim_core::ambient::is_alive() => Ok(()),
        None => Err(libc::EBADF),
    }
}

/// The descriptors of the process that runs.
pub(crate) fn own_descriptors() -> Vec<c_int> {
    let (owner, hosts) = (owner(), hosts());
    let table = hosts.table.borrow();
    table.iter().filter(|(_, entry)| entry.owner == owner).map(|(slot, _)| FIRST + slot as c_int).collect()
}

/// Changes an entry of the table.
pub(crate) fn with_entry<R>(descriptor: c_int, f: impl FnOnce(&mut Entry) -> R) -> Io<R> {
    let hosts = existing().ok_or(libc::EBADF)?;
    let mut table = hosts.table.borrow_mut();
    table.get_mut((descriptor - FIRST) as usize).map(f).ok_or(libc::EBADF)
}

/// The error number of an error of the kernels.
pub(crate) fn errno_of(error: &std::io::Error) -> c_int {
    use std::io::ErrorKind;
    if let Some(number) = error.raw_os_error() {
        return number;
    }
    match error.kind() {
        ErrorKind::NotFound => libc::ENOENT,
        ErrorKind::PermissionDenied => libc::EACCES,
        ErrorKind::ConnectionRefused => libc::ECONNREFUSED,
        ErrorKind::ConnectionReset => libc::ECONNRESET,
        ErrorKind::ConnectionAborted => libc::ECONNABORTED,
        ErrorKind::HostUnreachable => libc::EHOSTUNREACH,
        ErrorKind::NetworkUnreachable => libc::ENETUNREACH,
        ErrorKind::NetworkDown => libc::ENETDOWN,
        ErrorKind::NotConnected => libc::ENOTCONN,
        ErrorKind::AddrInUse => libc::EADDRINUSE,
        ErrorKind::AddrNotAvailable => libc::EADDRNOTAVAIL,
        ErrorKind::BrokenPipe => libc::EPIPE,
        ErrorKind::AlreadyExists => libc::EEXIST,
        ErrorKind::WouldBlock => libc::EAGAIN,
        ErrorKind::TimedOut => libc::ETIMEDOUT,
        ErrorKind::InvalidInput => libc::EINVAL,
        _ => libc::EIO,
    }
}

/// The result of an operation of the kernels: pending is `EAGAIN`.
pub(crate) fn settle<T>(result: Poll<std::io::Result<T>>) -> Io<T> {
    match result {
        Poll::Pending => Err(libc::EAGAIN),
        Poll::Ready(result) => result.map_err(|error| errno_of(&error)),
    }
}
