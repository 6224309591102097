//! epoll(7), and poll(2) and select(2) beside it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::c_int;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::asynchronous::Root;
use super::descriptor::{Description, Io, Object, lookup};
use super::device::below;
use super::{baton, wait};

const EDGE: u32 = libc::EPOLLET as u32;
const ONCE: u32 = libc::EPOLLONESHOT as u32;
/// Told whether asked for or not.
const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

struct Item {
    description: Weak<Description>,
    events: u32,
    data: u64,
    /// It is among those that may be ready.
    queued: bool,
}

/// What an epoll watches.
#[derive(Default)]
pub(crate) struct Epoll {
    items: RefCell<BTreeMap<c_int, Item>>,
    candidates: RefCell<VecDeque<c_int>>,
    abandoned: Cell<bool>,
}

impl Object for Epoll {
    fn ready(&self, _waker: &Waker) -> u32 {
        if self.candidates.borrow().is_empty() { 0 } else { libc::EPOLLIN as u32 }
    }

    fn as_epoll(&self) -> Option<&Epoll> {
        Some(self)
    }
}

impl Epoll {
    /// Watches nothing from now on.
    pub(crate) fn abandon(&self) {
        self.abandoned.set(true);
        self.items.take();
        self.candidates.take();
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Something about a descriptor has changed. Whether that is news.
    pub(crate) fn may_be_ready(&self, descriptor: c_int) -> bool {
        let mut items = self.items.borrow_mut();
        let Some(item) = items.get_mut(&descriptor).filter(|item| !item.queued && item.events != 0) else {
            return false;
        };
        item.queued = true;
        self.candidates.borrow_mut().push_back(descriptor);
        true
    }

    /// Tells at most `most` descriptors that are ready: their bits and what the program wants to be told. How many it were.
    #[inline]
    fn collect(&self, most: usize, tell: &mut impl FnMut(u32, u64)) -> usize {
        let waiting = self.candidates.borrow().len();
        if waiting == 0 { 0 } else { self.collect_from(waiting, most, tell) }
    }

    fn collect_from(&self, waiting: usize, most: usize, tell: &mut impl FnMut(u32, u64)) -> usize {
        let mut found = 0;
        let mut again = Vec::new();
        if waiting > 1 {
            let first = below(waiting as u64) as usize;
            self.candidates.borrow_mut().rotate_left(first);
        }
        for _ in 0..waiting {
            if found == most {
                break;
            }
            let Some(descriptor) = self.candidates.borrow_mut().pop_front() else { break };
            let (description, events, data) = match self.items.borrow_mut().get_mut(&descriptor) {
                None => continue,
                Some(item) => {
                    item.queued = false;
                    (item.description.upgrade(), item.events, item.data)
                }
            };
            let Some(description) = description else {
                self.items.borrow_mut().remove(&descriptor);
                continue;
            };
            let told = description.ready() & (events | ALWAYS);
            if told == 0 || events == 0 {
                continue;
            }
            tell(told, data);
            found += 1;
            if events & (ONCE | EDGE) == EDGE {
                continue;
            }
            if let Some(item) = self.items.borrow_mut().get_mut(&descriptor) {
                if events & ONCE != 0 {
                    item.events = 0;
                } else {
                    item.queued = true;
                    again.push(descriptor);
                }
            }
        }
        if !again.is_empty() {
            self.candidates.borrow_mut().extend(again);
        }
        found
    }
}

/// epoll_ctl(2).
pub(crate) fn control(epoll: c_int, operation: c_int, descriptor: c_int, event: Option<(u32, u64)>) -> Io<()> {
    let watch = lookup(epoll)?;
    let target = lookup(descriptor)?;
    let this = watch.object.as_epoll().ok_or(libc::EINVAL)?;
    let known =
        this.items.borrow().get(&descriptor).is_some_and(|item| item.description.ptr_eq(&Rc::downgrade(&target)));
    match (operation, event) {
        (libc::EPOLL_CTL_ADD, Some((events, data))) => {
            if known {
                return Err(libc::EEXIST);
            }
            if target.object.as_file().is_some() {
                return Err(libc::EPERM);
            }
            let item = Item { description: Rc::downgrade(&target), events, data, queued: false };
            this.items.borrow_mut().insert(descriptor, item);
            target.watch(&watch, descriptor);
        }
        (libc::EPOLL_CTL_MOD, Some((events, data))) if known => {
            if let Some(item) = this.items.borrow_mut().get_mut(&descriptor) {
                (item.events, item.data) = (events, data);
            }
        }
        (libc::EPOLL_CTL_DEL, _) if known => {
            this.items.borrow_mut().remove(&descriptor);
            target.unwatch(&watch, descriptor);
            return Ok(());
        }
        (libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL, _) => return Err(libc::ENOENT),
        _ => return Err(libc::EINVAL),
    }
    // What is ready already counts as news.
    if target.ready() != 0 && this.may_be_ready(descriptor) {
        watch.changed();
    }
    Ok(())
}

/// epoll_wait(2): tells at most `most` events. `None` waits for ever. How many it were.
#[inline]
pub(crate) fn wait_for(
    epoll: c_int,
    most: usize,
    limit: Option<Duration>,
    mut tell: impl FnMut(u32, u64),
) -> Io<usize> {
    let watch = lookup(epoll)?;
    let this = watch.object.as_epoll().ok_or(libc::EINVAL)?;
    if limit == Some(Duration::ZERO) {
        return Ok(this.collect(most, &mut tell));
    }
    let root = baton::me().map(|me| &me.root);
    let poll = |waker: &Waker| {
        let found = this.collect(most, &mut tell);
        if found == 0 && !root.is_some_and(Root::is_over) {
            watch.wait(waker);
            return Poll::Pending;
        }
        Poll::Ready(found)
    };
    let wait = || wait::block_for("epoll_wait", limit, poll).unwrap_or_default();
    Ok(match root {
        Some(root) => root.idle(wait),
        None => wait(),
    })
}

/// poll(2): asks each descriptor; a negative one is left out. How many have something to tell.
pub(crate) fn poll(entries: &mut [libc::pollfd], limit: Option<Duration>) -> usize {
    let ask = |entries: &mut [libc::pollfd], waker: Option<&Waker>| {
        let mut told = 0;
        for entry in entries.iter_mut() {
            entry.revents = 0;
            if entry.fd < 0 {
                continue;
            }
            match super::descriptor::is_simulated(entry.fd).then(|| lookup(entry.fd)) {
                Some(Ok(description)) => {
                    // The bits of poll(2) and of epoll(7) are the same.
                    let wanted = u32::from(entry.events as u16) | ALWAYS;
                    entry.revents = (description.ready() & wanted) as i16;
                    if let Some(waker) = waker {
                        description.wait(waker);
                    }
                }
                // The standard streams: always ready.
                None if entry.fd <= 2 => entry.revents = entry.events & (libc::POLLIN | libc::POLLOUT),
                _ => entry.revents = libc::POLLNVAL,
            }
            told += usize::from(entry.revents != 0);
        }
        told
    };
    let told = ask(entries, None);
    if told > 0 || limit == Some(Duration::ZERO) {
        return told;
    }
    let done = wait::block_for("poll", limit, |waker| match ask(entries, Some(waker)) {
        0 => Poll::Pending,
        told => Poll::Ready(told),
    });
    done.unwrap_or(0)
}
