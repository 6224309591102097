//! Waiting in the simulation, for a hosted program that calls something that blocks.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sim_core::{ambient, device, time};

use super::baton::{self, Thread};
use super::device::{below, hosts};
use crate::leak;

/// Polls until there is a result, and lets the rest of the simulation run meanwhile. `what` is the call, in words.
#[inline(always)]
pub(crate) fn block_on<R>(what: &'static str, mut poll: impl FnMut(&Waker) -> Poll<R>) -> R {
    let Some(me) = baton::me() else {
        // The thread of the simulation: the threads of the process may go on and end the wait, and nobody else.
        let process = device::process("host");
        loop {
            if let Poll::Ready(result) = poll(Waker::noop()) {
                return result;
            }
            if !sim_core::task::run_one_of(&hosts().tasks_of(process)) {
                cannot_block(what);
            }
        }
    };
    let waker = me.waker();
    loop {
        leave_if_dead();
        if let Poll::Ready(result) = poll(waker) {
            leave_if_dead();
            return result;
        }
        if me.root.is_over() {
            // A destructor waits on a node that is dead, for what nobody will end.
            me.leave();
        }
        if let Some(id) = me.device {
            device::waiting(id, what, u64::from(me.number));
        }
        me.yields.set(0);
        me.park();
    }
}

/// A future, waited for.
#[inline]
pub(crate) fn block_on_future<F: Future>(what: &'static str, future: F) -> F::Output {
    let mut future = pin!(future);
    block_on(what, |waker| future.as_mut().poll(&mut Context::from_waker(waker)))
}

/// As [`block_on`], for at most so long; `None` when the time is over.
#[inline(always)]
pub(crate) fn block_for<R>(
    what: &'static str,
    limit: Option<Duration>,
    mut poll: impl FnMut(&Waker) -> Poll<R>,
) -> Option<R> {
    let Some(limit) = limit else { return Some(block_on(what, poll)) };
    let mut sleep = pin!(time::sleep(limit));
    block_on(what, |waker| {
        if let Poll::Ready(result) = poll(waker) {
            return Poll::Ready(Some(result));
        }
        sleep.as_mut().poll(&mut Context::from_waker(waker)).map(|()| None)
    })
}

pub(crate) fn sleep(what: &'static str, duration: Duration) {
    if duration.is_zero() {
        return yield_now();
    }
    block_on_future(what, time::sleep(duration));
}

/// So often a thread may yield in a row without time moving.
const FREE_YIELDS: u32 = 20;

thread_local! {
    static AT_ONCE: Cell<bool> = const { Cell::new(false) };
}

/// Does something in no time: no other thread has its turn meanwhile, unless it has to wait for one.
pub(crate) fn at_once<R>(f: impl FnOnce() -> R) -> R {
    let before = AT_ONCE.replace(true);
    let result = f();
    AT_ONCE.set(before);
    result
}

/// Whether what runs can take its time: on a thread of its own, and not in the middle of something.
pub(crate) fn can_wait() -> bool {
    baton::me().is_some() && !AT_ONCE.get()
}

/// Lets other threads run. One that does nothing else lets time pass.
pub(crate) fn yield_now() {
    let Some(me) = baton::me().filter(|me| !me.root.is_over()) else { return };
    let yields = me.yields.get();
    if yields >= FREE_YIELDS {
        block_on_future("sched_yield", time::sleep(Duration::from_micros(1)));
    } else {
        block_on_future("sched_yield", sim_core::task::yield_now());
    }
    me.yields.set(yields.saturating_add(1));
}

/// So many calls a thread may make while no time moves.
const FREE_CALLS: u32 = 1_000;

/// Begins a call of a thread: of one whose process is no more it is the end.
#[inline]
pub(crate) fn begin_call(me: &Thread) {
    if !goes_on(me) {
        return;
    }
    let calls = me.calls.get() + 1;
    me.calls.set(calls);
    if calls >= FREE_CALLS && can_wait() {
        pay_for_calls(me);
    }
}

/// A thread that calls again and again, and never waits, lets time pass: a microsecond a call.
#[cold]
fn pay_for_calls(me: &Thread) {
    me.calls.set(0);
    if ambient::monotonic_ns() == me.counted_at.get() {
        block_on_future("the time that its calls take", time::sleep(Duration::from_micros(FREE_CALLS.into())));
    }
    me.counted_at.set(ambient::monotonic_ns());
}

/// Now and then, by the seed, lets other threads run at a place where a real scheduler might.
pub(crate) fn may_yield() {
    if below(16) == 15 && can_wait() {
        block_on_future("a preemption", sim_core::task::yield_now());
    }
}

/// A thread whose process is no more goes no further.
#[inline]
pub(crate) fn leave_if_dead() {
    baton::me().map(goes_on);
}

/// Whether what a thread does counts: not where its runtime is only being let go of. One whose process is no more goes no
/// further.
#[inline]
fn goes_on(me: &Thread) -> bool {
    let over = me.root.is_over();
    if !over && !ambient::is_alive() {
        me.leave();
    }
    !over
}

/// Hosted code without a thread of its own is about to block that of the simulation.
#[cold]
fn cannot_block(what: &'static str) -> ! {
    leak::give_up(what, "a destructor waits on the thread of the simulation, for what nobody will end")
}
