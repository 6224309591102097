//! Handing the baton over by the kernel, where nothing else is known of the processor: the real thread runs its program
//! itself, and waits at its dock whenever it does not.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::syscall::raw;

const OUTSIDE: u32 = 0;
const INSIDE: u32 = 1;
const HOME: u32 = 2;
const END: u32 = 3;

/// Where a real thread waits while its program does not run.
#[derive(Default)]
pub(crate) struct Dock {
    turn: AtomicU32,
}

fn futex(word: &AtomicU32, operation: c_int, value: u32) {
    let args = [word.as_ptr() as usize, (operation | libc::FUTEX_PRIVATE_FLAG) as usize, value as usize, 0, 0, 0];
    // SAFETY: the word outlives the call, and neither operation writes to it.
    unsafe { raw(libc::SYS_futex, args) };
}

impl Dock {
    /// Docks the calling thread. Returns when the program is entered for the first time.
    pub(crate) fn dock(&self) {
        while self.turn.load(Ordering::Acquire) == OUTSIDE {
            futex(&self.turn, libc::FUTEX_WAIT, OUTSIDE);
        }
        if self.turn.load(Ordering::Acquire) == END {
            // SAFETY: ends this thread only; its stack is freed by whoever joins it.
            unsafe { raw(libc::SYS_exit, [0; 6]) };
        }
    }

    /// Runs the program until it leaves.
    pub(crate) fn enter(&self) {
        self.pass(INSIDE);
        while self.turn.load(Ordering::Acquire) == INSIDE {
            futex(&self.turn, libc::FUTEX_WAIT, INSIDE);
        }
    }

    /// Goes back to whoever entered. Returns when the program is entered again, or at home.
    pub(crate) fn leave(&self) {
        self.pass(OUTSIDE);
        self.dock();
    }

    /// Lets the real thread go on where its program left, beside whoever calls.
    pub(crate) fn go_home(&self) {
        self.pass(HOME);
    }

    /// Lets the real thread leave by exit(2): nothing of it runs any more.
    pub(crate) fn end(&self) {
        self.pass(END);
    }

    fn pass(&self, turn: u32) {
        self.turn.store(turn, Ordering::Release);
        futex(&self.turn, libc::FUTEX_WAKE, 1);
    }
}
