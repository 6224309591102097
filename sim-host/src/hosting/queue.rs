//! Waiting by address: futexes, and the locks of C, which are made of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::task::{Poll, Waker};

use sim_core::device::Process;

/// Somebody who waits.
pub(crate) struct Waiter {
    process: Option<Process>,
    bits: u32,
    woken: std::cell::Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// Who waits at which address, in the order they came.
#[derive(Default)]
pub(crate) struct Queues(RefCell<BTreeMap<usize, VecDeque<Rc<Waiter>>>>);

impl Queues {
    /// Begins to wait at an address, for a wake that shares a bit.
    pub(crate) fn join(&self, address: usize, bits: u32) -> Rc<Waiter> {
        let process = Some(sim_core::device::process("host"));
        let waiter = Rc::new(Waiter { process, bits, woken: false.into(), waker: RefCell::default() });
        self.0.borrow_mut().entry(address).or_default().push_back(waiter.clone());
        waiter
    }

    /// Stops waiting. False: it had been woken.
    pub(crate) fn part(&self, address: usize, waiter: &Rc<Waiter>) -> bool {
        let mut queues = self.0.borrow_mut();
        let Some(queue) = queues.get_mut(&address) else { return false };
        let before = queue.len();
        queue.retain(|other| !Rc::ptr_eq(other, waiter));
        let parted = queue.len() < before;
        if queue.is_empty() {
            queues.remove(&address);
        }
        parted
    }

    /// Wakes at most `count` of those that wait at an address. How many it were.
    pub(crate) fn wake(&self, address: usize, count: usize, bits: u32) -> usize {
        let mut woken = Vec::new();
        {
            let mut queues = self.0.borrow_mut();
            let Some(queue) = queues.get_mut(&address) else { return 0 };
            let mut place = 0;
            while place < queue.len() && woken.len() < count {
                match queue[place].bits & bits {
                    0 => place += 1,
                    _ => woken.extend(queue.remove(place)),
                }
            }
            if queue.is_empty() {
                queues.remove(&address);
            }
        }
        for waiter in &woken {
            waiter.woken.set(true);
            let waker = waiter.waker.borrow_mut().take();
            waker.into_iter().for_each(Waker::wake);
        }
        woken.len()
    }

    /// Lets at most `count` who wait at one address wait at another.
    pub(crate) fn move_to(&self, from: usize, count: usize, to: usize) -> usize {
        let mut queues = self.0.borrow_mut();
        let Some(queue) = queues.get_mut(&from) else { return 0 };
        let count = count.min(queue.len());
        let moved: Vec<_> = queue.drain(..count).collect();
        if queue.is_empty() {
            queues.remove(&from);
        }
        queues.entry(to).or_default().extend(moved);
        count
    }

    /// Nobody of this process waits any more.
    pub(crate) fn forget(&self, process: Process) {
        let mut dropped = Vec::new();
        self.0.borrow_mut().retain(|_, queue| {
            queue.retain(|waiter| {
                let stays = waiter.process != Some(process);
                if !stays {
                    dropped.push(waiter.clone());
                }
                stays
            });
            !queue.is_empty()
        });
    }
}

impl Waiter {
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<()> {
        if self.woken.get() {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(waker.clone());
        Poll::Pending
    }
}
