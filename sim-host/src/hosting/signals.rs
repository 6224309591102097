//! Signals of a hosted process to itself, and SIGTERM from outside.

use std::ffi::{c_int, c_void};
use std::ptr;

use sim_core::{Node, device};

use super::device::hosts;
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
    raise(signal.addr() as c_int);
    wait::leave_if_dead();
    ptr::null_mut()
}

/// A signal to the process that runs.
pub(crate) fn raise(signal: c_int) {
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
        Some((handler, action)) => call(handler, &action, signal),
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
