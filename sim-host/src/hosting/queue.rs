//! Waiting by address: futexes, and the locks of C, which are made of them.
//!
//! An allocator may be made of such locks (jemalloc), so nothing here allocates or frees while a list is borrowed, and who
//! lets go of a lock that nobody waits for does not come here at all.

use std::array;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Waker};

use sim_core::device::Process;

/// Lists of those who wait.
const LISTS: usize = 256;

/// How many wait in each of the lists, of all simulations of this process.
static WAITING: [AtomicU32; LISTS] = [const { AtomicU32::new(0) }; LISTS];

/// The list of those who wait at an address.
fn list_of(address: usize) -> usize {
    (address >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56
}

/// Whether somebody may wait at an address.
pub(crate) fn may_be_waited_at(address: usize) -> bool {
    WAITING[list_of(address)].load(Ordering::Relaxed) > 0
}

/// Somebody who waits.
pub(crate) struct Waiter {
    address: Cell<usize>,
    process: Process,
    bits: u32,
    woken: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Who waits at which address, in the order they came.
pub(crate) struct Queues([RefCell<Vec<Rc<Waiter>>>; LISTS]);

impl Default for Queues {
    fn default() -> Self {
        Queues(array::from_fn(|_| RefCell::default()))
    }
}

impl Queues {
    /// Begins to wait at an address, for a wake that shares a bit.
    pub(crate) fn join(&self, address: usize, bits: u32) -> Rc<Waiter> {
        let process = sim_core::device::process("host");
        let (address, woken) = (Cell::new(address), Cell::new(false));
        let waiter = Rc::new(Waiter { address, process, bits, woken, waker: RefCell::default() });
        self.add(waiter.clone());
        waiter
    }

    fn add(&self, waiter: Rc<Waiter>) {
        let number = list_of(waiter.address.get());
        let list = &self.0[number];
        let full = |list: &Vec<_>| list.len() == list.capacity();
        while full(&list.borrow()) {
            let room = (list.borrow().len() * 2).max(4);
            let mut larger = Vec::with_capacity(room);
            if larger.capacity() > list.borrow().len() {
                larger.append(&mut list.borrow_mut());
                // What it replaces is freed once nothing is borrowed.
                drop(list.replace(larger));
            }
        }
        list.borrow_mut().push(waiter);
        WAITING[number].fetch_add(1, Ordering::Relaxed);
    }

    /// Takes the first out that a list has from a place on and that is wanted. Where it was.
    fn take(&self, list: usize, from: usize, wanted: impl Fn(&Rc<Waiter>) -> bool) -> Option<(usize, Rc<Waiter>)> {
        let mut waiters = self.0[list].borrow_mut();
        let place = from + waiters.get(from..)?.iter().position(wanted)?;
        WAITING[list].fetch_sub(1, Ordering::Relaxed);
        Some((place, waiters.remove(place)))
    }

    fn take_at(&self, address: usize, wanted: impl Fn(&Rc<Waiter>) -> bool) -> Option<Rc<Waiter>> {
        let wanted = |waiter: &Rc<Waiter>| waiter.address.get() == address && wanted(waiter);
        self.take(list_of(address), 0, wanted).map(|(_, waiter)| waiter)
    }

    /// Stops waiting. False: it had been woken.
    pub(crate) fn part(&self, waiter: &Rc<Waiter>) -> bool {
        self.take_at(waiter.address.get(), |other| Rc::ptr_eq(other, waiter)).is_some()
    }

    /// Wakes at most `count` of those that wait at an address. How many it were.
    pub(crate) fn wake(&self, address: usize, count: usize, bits: u32) -> usize {
        let mut woken = 0;
        while woken < count
            && let Some(waiter) = self.take_at(address, |waiter| waiter.bits & bits != 0)
        {
            woken += 1;
            waiter.woken.set(true);
            let waker = waiter.waker.take();
            waker.into_iter().for_each(Waker::wake);
        }
        woken
    }

    /// Lets at most `count` who wait at one address wait at another.
    pub(crate) fn move_to(&self, from: usize, count: usize, to: usize) -> usize {
        let mut moved = 0;
        while from != to
            && moved < count
            && let Some(waiter) = self.take_at(from, |_| true)
        {
            moved += 1;
            waiter.address.set(to);
            self.add(waiter);
        }
        moved
    }

    /// Nobody of this process waits any more.
    pub(crate) fn forget(&self, process: Process) {
        self.forget_where(|waiter| waiter.process == process);
    }

    fn forget_where(&self, gone: impl Fn(&Rc<Waiter>) -> bool) {
        for list in 0..LISTS {
            let mut from = 0;
            while let Some((place, waiter)) = self.take(list, from, &gone) {
                from = place;
                drop(waiter);
            }
        }
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.forget_where(|_| true);
    }
}

impl Waiter {
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<()> {
        if self.woken.get() {
            return Poll::Ready(());
        }
        let waker = Some(waker.clone());
        drop(self.waker.replace(waker));
        Poll::Pending
    }
}
