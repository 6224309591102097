//! What will happen when: the queue that moves simulated time.
//!
//! Entries come out by time, and in the order they were made where the times are equal. Cancelled timers stay in the
//! heap as stale entries until they are due or too many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::task::Waker;

use slab::Slab;

use crate::node::NodeId;

/// Something due.
pub(crate) enum Due {
    /// Wake a task.
    Timer(Waker),
    /// Tell a device that the time it asked for has come.
    Device { device: u32, token: u32 },
    /// Call a closure of the core.
    Call(Box<dyn FnOnce()>),
}

/// A timer that is set.
pub(crate) struct TimerKey {
    slot: u32,
    sequence: u64,
}

struct Timer {
    sequence: u64,
    node: NodeId,
    local_deadline: u64,
    waker: Waker,
}

#[derive(Clone, Copy)]
enum What {
    Timer(u32),
    Device { device: u32, token: u32 },
    Call(u32),
}

struct Entry {
    at: u64,
    sequence: u64,
    what: What,
}

impl Ord for Entry {
    // Reversed: `BinaryHeap` gives the greatest first.
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl PartialOrd for Entry {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

#[derive(Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Entry>,
    sequence: u64,
    timers: Slab<Timer>,
    calls: Slab<Box<dyn FnOnce()>>,
    stale: usize,
}

impl Agenda {
    #[inline]
    fn push(&mut self, at: u64, what: What) -> u64 {
        self.sequence += 1;
        self.heap.push(Entry { at, sequence: self.sequence, what });
        self.sequence
    }

    #[inline]
    pub(crate) fn add_device(&mut self, at: u64, device: u32, token: u32) {
        self.push(at, What::Device { device, token });
    }

    pub(crate) fn add_call(&mut self, at: u64, call: Box<dyn FnOnce()>) {
        let slot = self.calls.insert(call) as u32;
        self.push(at, What::Call(slot));
    }

    /// `local_deadline` is on the clock of `node`, `at` the same in true time.
    pub(crate) fn add_timer(&mut self, at: u64, node: NodeId, local_deadline: u64, waker: Waker) -> TimerKey {
        let sequence = self.sequence + 1;
        let slot = self.timers.insert(Timer { sequence, node, local_deadline, waker }) as u32;
        self.push(at, What::Timer(slot));
        TimerKey { slot, sequence }
    }

    fn timer(&mut self, key: &TimerKey) -> Option<&mut Timer> {
        self.timers.get_mut(key.slot as usize).filter(|timer| timer.sequence == key.sequence)
    }

    /// Lets a timer wake `waker`, and returns whom it would have woken; or `waker`, when it is no longer set.
    pub(crate) fn rewake(&mut self, key: &TimerKey, waker: Waker) -> Result<Waker, Waker> {
        match self.timer(key) {
            Some(timer) => Ok(std::mem::replace(&mut timer.waker, waker)),
            None => Err(waker),
        }
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) -> Option<Waker> {
        self.timer(&key)?;
        let timer = self.timers.remove(key.slot as usize);
        self.stale += 1;
        if self.stale > 64 && self.stale * 2 > self.heap.len() {
            let timers = &self.timers;
            self.heap.retain(|entry| is_live(timers, entry));
            self.stale = 0;
        }
        Some(timer.waker)
    }

    /// Moves the timers of a node whose clock changed: `true_time_of` gives the new time of a deadline. Whether there were any.
    pub(crate) fn replan(&mut self, node: NodeId, true_time_of: impl Fn(u64) -> u64) -> bool {
        let mut any = false;
        let entries: Vec<Entry> = std::mem::take(&mut self.heap).into_vec();
        let timers = &self.timers;
        let moved = entries.into_iter().filter(|entry| is_live(timers, entry)).map(|mut entry| {
            if let What::Timer(slot) = entry.what
                && timers[slot as usize].node == node
            {
                any = true;
                entry.at = true_time_of(timers[slot as usize].local_deadline);
            }
            entry
        });
        self.heap = moved.collect();
        self.stale = 0;
        any
    }

    /// When the next thing is due.
    #[inline]
    pub(crate) fn next_at(&mut self) -> Option<u64> {
        while let Some(entry) = self.heap.peek() {
            if is_live(&self.timers, entry) {
                return Some(entry.at);
            }
            self.heap.pop();
            self.stale = self.stale.saturating_sub(1);
        }
        None
    }

    /// Takes the next thing due at or before `now`.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<Due> {
        if self.next_at()? > now {
            return None;
        }
        Some(match self.heap.pop()?.what {
            What::Timer(slot) => Due::Timer(self.timers.remove(slot as usize).waker),
            What::Device { device, token } => Due::Device { device, token },
            What::Call(slot) => Due::Call(self.calls.remove(slot as usize)),
        })
    }
}

#[inline]
fn is_live(timers: &Slab<Timer>, entry: &Entry) -> bool {
    match entry.what {
        What::Timer(slot) => timers.get(slot as usize).is_some_and(|timer| timer.sequence == entry.sequence),
        What::Device { .. } | What::Call(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(agenda: &mut Agenda, now: u64) -> Vec<u32> {
        std::iter::from_fn(|| agenda.pop_due(now))
            .map(|due| match due {
                Due::Device { token, .. } => token,
                Due::Timer(_) => 1_000,
                Due::Call(_) => 2_000,
            })
            .collect()
    }

    #[test]
    fn entries_come_by_time_and_then_in_the_order_made() {
        let mut agenda = Agenda::default();
        for (at, token) in [(20, 1), (10, 2), (20, 3), (10, 4), (30, 5)] {
            agenda.add_device(at, 0, token);
        }
        assert_eq!(agenda.next_at(), Some(10));
        assert_eq!(tokens(&mut agenda, 20), [2, 4, 1, 3]);
        assert_eq!(agenda.next_at(), Some(30));
    }

    #[test]
    fn a_cancelled_timer_never_comes_and_a_million_of_them_take_no_room() {
        let mut agenda = Agenda::default();
        for at in 0..1_000_000 {
            let key = agenda.add_timer(1_000_000 + at, NodeId(0), 0, Waker::noop().clone());
            agenda.cancel(key);
        }
        assert!(agenda.heap.len() < 200);
        assert_eq!(agenda.next_at(), None);
    }

    #[test]
    fn only_the_timers_of_the_node_move() {
        let mut agenda = Agenda::default();
        agenda.add_timer(100, NodeId(1), 100, Waker::noop().clone());
        agenda.add_timer(100, NodeId(2), 100, Waker::noop().clone());
        agenda.replan(NodeId(1), |local| local / 2);
        assert_eq!(agenda.next_at(), Some(50));
        assert_eq!(tokens(&mut agenda, 50).len(), 1);
        assert_eq!(agenda.next_at(), Some(100));
    }
}
