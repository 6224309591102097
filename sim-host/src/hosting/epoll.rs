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

/// A descriptor that an epoll watches. What it stands for has the item too.
pub(crate) struct Item {
    epoll: Weak<Description>,
    descriptor: c_int,
    description: Weak<Description>,
    /// What it is told of, or 0: it was told enough, or watches this no more.
    events: Cell<u32>,
    data: Cell<u64>,
    /// It is among those that may be ready.
    queued: Cell<bool>,
}

impl Item {
    /// Something about the descriptor has changed.
    #[inline]
    pub(crate) fn has_news(self: &Rc<Item>) {
        if self.queued.get() || self.events.get() == 0 {
            return;
        }
        let Some(epoll) = self.epoll.upgrade() else { return };
        if let Some(watch) = epoll.object.as_epoll() {
            self.queued.set(true);
            watch.candidates.borrow_mut().push_back(self.clone());
            epoll.changed();
        }
    }

    /// What the epoll is to be told now; `None` when there is no such description any more.
    fn bits(&self) -> Option<u32> {
        let description = self.description.upgrade()?;
        let events = self.events.get();
        Some(if events == 0 { 0 } else { description.ready() & events })
    }

    /// Whether there is an epoll to be told.
    pub(crate) fn is_watched(&self) -> bool {
        let epoll = self.epoll.upgrade();
        epoll.is_some_and(|epoll| epoll.object.as_epoll().is_some_and(|epoll| !epoll.abandoned.get()))
    }
}

/// What an epoll watches.
#[derive(Default)]
pub(crate) struct Epoll {
    items: RefCell<BTreeMap<c_int, Rc<Item>>>,
    candidates: RefCell<VecDeque<Rc<Item>>>,
    abandoned: Cell<bool>,
}

impl Object for Epoll {
    fn ready(&self, _waker: &Waker) -> u32 {
        loop {
            let Some(item) = self.candidates.borrow_mut().pop_front() else { return 0 };
            item.queued.set(false);
            if item.bits().is_some_and(|bits| bits != 0) {
                if !item.queued.replace(true) {
                    self.candidates.borrow_mut().push_front(item);
                }
                return libc::EPOLLIN as u32;
            }
        }
    }

    fn as_epoll(&self) -> Option<&Epoll> {
        Some(self)
    }
}

impl Epoll {
    /// Watches nothing from now on.
    pub(crate) fn abandon(&self) {
        self.abandoned.set(true);
        self.items.take().values().for_each(|item| item.events.set(0));
        self.candidates.take();
    }

    fn forget(&self, item: &Rc<Item>) {
        item.events.set(0);
        let mut items = self.items.borrow_mut();
        if items.get(&item.descriptor).is_some_and(|known| Rc::ptr_eq(known, item)) {
            items.remove(&item.descriptor);
        }
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
            let Some(item) = self.candidates.borrow_mut().pop_front() else { break };
            item.queued.set(false);
            let told = match item.bits() {
                None => {
                    self.forget(&item);
                    continue;
                }
                Some(0) => continue,
                Some(told) => told,
            };
            tell(told, item.data.get());
            found += 1;
            let events = item.events.get();
            if events & ONCE != 0 {
                item.events.set(0);
            } else if events & EDGE == 0 && !item.queued.replace(true) {
                again.push(item);
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
    let known = this.items.borrow().get(&descriptor).cloned();
    let known = known.filter(|item| item.description.ptr_eq(&Rc::downgrade(&target)));
    let event = event.map(|(events, data)| (events | ALWAYS, data));
    let item = match (operation, event, known) {
        (libc::EPOLL_CTL_ADD | libc::EPOLL_CTL_MOD, None, _) => return Err(libc::EFAULT),
        (libc::EPOLL_CTL_ADD, Some(_), Some(_)) => return Err(libc::EEXIST),
        (libc::EPOLL_CTL_ADD, Some(_), None) if target.object.as_file().is_some() => return Err(libc::EPERM),
        (libc::EPOLL_CTL_ADD, Some((events, data)), None) => {
            let item = Rc::new(Item {
                epoll: Rc::downgrade(&watch),
                descriptor,
                description: Rc::downgrade(&target),
                events: Cell::new(events),
                data: Cell::new(data),
                queued: Cell::new(false),
            });
            this.items.borrow_mut().insert(descriptor, item.clone());
            target.watch(item.clone());
            item
        }
        (libc::EPOLL_CTL_MOD, Some((events, data)), Some(item)) => {
            item.events.set(events);
            item.data.set(data);
            item
        }
        (libc::EPOLL_CTL_DEL, _, Some(item)) => {
            this.forget(&item);
            target.unwatch(&item);
            return Ok(());
        }
        (libc::EPOLL_CTL_MOD | libc::EPOLL_CTL_DEL, _, None) => return Err(libc::ENOENT),
        _ => return Err(libc::EINVAL),
    };
    // What is ready already counts as news.
    if target.ready() != 0 {
        item.has_news();
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
    let mut collect = || {
        let found = this.collect(most, &mut tell);
        // What is still ready, others may wait for.
        if found > 0 && !this.candidates.borrow().is_empty() {
            watch.changed();
        }
        found
    };
    if limit == Some(Duration::ZERO) {
        return Ok(collect());
    }
    let root = baton::me().map(|me| &me.root);
    let poll = |waker: &Waker| {
        let found = collect();
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
