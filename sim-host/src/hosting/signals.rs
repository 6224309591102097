//! Signals of a hosted process to itself, and SIGTERM from outside.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::task::{Poll, Waker};
use std::time::Duration;

use sim_core::{Node, device};

use super::baton::{self, Thread};
use super::device::{State, hosts};
use super::wait;
use crate::interpose::threads;

/// What happens where a program has no handler of its own (signal(7)).
fn ends_the_process(signal: c_int) -> bool {
    !matches!(signal, libc::SIGCHLD | libc::SIGCONT | libc::SIGURG | libc::SIGWINCH)
}

/// Sends a node's process a signal, from anywhere: it is handled on the node.
#[track_caller]
pub(crate) fn send(node: Node, signal: c_int) {
    device::emit(node.id(), "node.signal", &[signal as u64], || format!("signal {signal}"));
    if !hosts().processes.borrow().contains_key(&node.id()) || !node.is_up() {
        return;
    }
    drop(node.spawn(async move {
        // On a thread of the program: a handler may wait, and may exit.
        let number = ptr::without_provenance_mut(signal as usize);
        let started = threads::spawn(ptr::null(), handle, number);
        if let Some(thread) = started.ok().and_then(|id| hosts().thread(id)) {
            thread.detach();
        }
    }));
}

extern "C-unwind" fn handle(signal: *mut c_void) -> *mut c_void {
    raise_at_process(signal.addr() as c_int, true);
    wait::leave_if_dead();
    ptr::null_mut()
}

/// A signal's place in a set of them.
pub(crate) fn bit(signal: c_int) -> u64 {
    u32::try_from(signal - 1).ok().and_then(|place| 1u64.checked_shl(place)).unwrap_or(0)
}

/// A signal to the process that runs, whose threads but the carrier of the signal may block it.
fn raise_at_process(signal: c_int, has_carrier: bool) {
    let process = device::process("raise");
    let carries = |thread: &Thread| has_carrier && baton::me().is_some_and(|me| ptr::eq(me, thread));
    let blocked = {
        let hosts = hosts();
        let threads = hosts.threads.borrow();
        let mut others = threads.values().filter(|t| t.process == process && !t.is_finished() && !carries(t));
        others.all(|thread| thread.signal_mask.get() & bit(signal) != 0)
    };
    raise(signal, blocked);
}

/// kill(2), to the process that runs.
pub(crate) fn kill(signal: c_int) {
    raise_at_process(signal, false);
}

/// raise(3), to the thread that runs.
pub(crate) fn raise_here(signal: c_int) {
    raise(signal, mask() & bit(signal) != 0);
}

/// What the thread that runs blocks.
fn mask() -> u64 {
    baton::me().map_or(0, |me| me.signal_mask.get())
}

/// The mask of the thread that runs becomes another, and what was pending and is let through now is handled.
pub(crate) fn set_mask(mask: u64) {
    baton::me().into_iter().for_each(|me| me.signal_mask.set(mask));
    while let Some(signal) = take_pending(!mask) {
        handle_now(signal);
    }
}

/// The least signal of a set that is pending, which is so no more.
fn take_pending(set: u64) -> Option<c_int> {
    hosts().with_process(|state| {
        let found = state.pending & set;
        state.pending &= !(found & found.wrapping_neg());
        (found != 0).then(|| found.trailing_zeros() as c_int + 1)
    })?
}

/// sigwait(3): takes a signal of a set when it comes; `None` when the time is over.
pub(crate) fn wait_for(set: u64, limit: Option<Duration>) -> Option<c_int> {
    let taken = wait::block_for("a signal", limit, |waker| match take_pending(set) {
        Some(signal) => Poll::Ready(signal),
        None => {
            hosts().with_process(|state| state.awaited.push((set, waker.clone())));
            Poll::Pending
        }
    });
    let own = baton::me().map(Thread::waker);
    hosts().with_process(|state| {
        state.awaited.retain(|(other, waker)| *other != set || own.as_ref().is_none_or(|own| !waker.will_wake(own)))
    });
    taken
}

/// pause(2): until a handler has run.
pub(crate) fn wait_for_handler(what: &'static str) {
    wait_until_handled_since(handled(), what);
}

/// sigsuspend(2): with another mask, until a handler has run.
pub(crate) fn suspend(mask: u64, before: u64) {
    let handled = handled();
    set_mask(mask);
    wait_until_handled_since(handled, "sigsuspend");
    set_mask(before);
}

/// How many handlers of the process that runs have run.
fn handled() -> u64 {
    hosts().with_process(|state| state.handled).unwrap_or(0)
}

fn wait_until_handled_since(before: u64, what: &'static str) {
    wait::block_on(what, |waker| {
        if handled() != before {
            return Poll::Ready(());
        }
        hosts().with_process(|state| state.awaited.push((0, waker.clone())));
        Poll::Pending
    });
}

/// Those who wait for such sets, and do no more.
fn take_awaiting(state: &mut State, which: impl Fn(u64) -> bool) -> Vec<Waker> {
    state.awaited.extract_if(.., |(set, _)| which(*set)).map(|(_, waker)| waker).collect()
}

/// A signal that is pending while it is blocked, or somebody waits for it.
fn raise(signal: c_int, blocked: bool) {
    let awaited = |set: u64| set & bit(signal) != 0;
    let wakers = hosts().with_process(|state| {
        let waits = blocked || state.awaited.iter().any(|(set, _)| awaited(*set));
        if waits {
            state.pending |= bit(signal);
        }
        waits.then(|| take_awaiting(state, awaited))
    });
    match wakers.flatten() {
        Some(wakers) => wakers.into_iter().for_each(Waker::wake),
        None => handle_now(signal),
    }
}

/// Calls the handler, or does what is done where there is none.
fn handle_now(signal: c_int) {
    let handler = hosts().with_process(|state| state.handlers.get(&signal).copied()).flatten();
    match handler.map(|action| (action.sa_sigaction, action)) {
        Some((libc::SIG_IGN, _)) => {}
        None | Some((libc::SIG_DFL, _)) => {
            if ends_the_process(signal) {
                let gracefully = signal == libc::SIGTERM || signal == libc::SIGINT;
                let how = if gracefully { Ok(()) } else { Err(format!("it was ended by signal {signal}")) };
                hosts().exits(how);
            }
        }
        Some((handler, action)) => {
            call(handler, &action, signal);
            let waiting = hosts().with_process(|state| {
                state.handled += 1;
                take_awaiting(state, |set| set == 0)
            });
            waiting.into_iter().flatten().for_each(Waker::wake);
        }
    }
}

fn call(handler: usize, action: &libc::sigaction, signal: c_int) {
    if action.sa_flags & libc::SA_SIGINFO == 0 {
        // SAFETY: registered by the program as a handler of this type.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        return handler(signal);
    }
    // SAFETY: an all-zero siginfo is one that says nothing.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = signal;
    // SAFETY: registered by the program as a handler of this type.
    let handler = unsafe {
        std::mem::transmute::<usize, extern "C" fn(c_int, *mut libc::siginfo_t, *mut std::ffi::c_void)>(handler)
    };
    handler(signal, &mut info, std::ptr::null_mut());
}

/// sigaction(2): sets the handler of the process that runs, and returns the one before.
pub(crate) fn set_handler(signal: c_int, action: Option<libc::sigaction>) -> Option<libc::sigaction> {
    hosts()
        .with_process(|state| match action {
            Some(action) => state.handlers.insert(signal, action),
            None => state.handlers.get(&signal).copied(),
        })
        .flatten()
}
