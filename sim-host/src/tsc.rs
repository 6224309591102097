//! The time stamp counter: `rdtsc` and `rdtscp` are made to trap, and the trap answers with simulated nanoseconds.
//!
//! prctl(2), `PR_SET_TSC`: the setting is the thread's, and children of the thread inherit it.

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;

use libc::{sigaction, siginfo_t, ucontext_t};
use sim_core::ambient;

const RDTSC: [u8; 2] = [0x0f, 0x31];
const RDTSCP: [u8; 3] = [0x0f, 0x01, 0xf9];

/// The handler that was there before: the standard library's, which tells stack overflows.
struct Previous(UnsafeCell<MaybeUninit<sigaction>>);

// SAFETY: written once, in `trap`, before the handler that reads it is installed.
unsafe impl Sync for Previous {}

static PREVIOUS: Previous = Previous(UnsafeCell::new(MaybeUninit::uninit()));

/// Traps the counter on this thread. For a process that runs one simulation. False: the kernel does not offer it.
pub(crate) fn trap() -> bool {
    // SAFETY: a handler of the right type is installed, with flags that match it; PREVIOUS is written before that.
    unsafe {
        sigaction_of_segv(ptr::null(), (*PREVIOUS.0.get()).as_mut_ptr());
        let mut action: sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        sigaction_of_segv(&action, ptr::null_mut());
        libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_SIGSEGV) == 0
    }
}

/// # Safety
/// The pointers must be null or valid.
unsafe fn sigaction_of_segv(new: *const sigaction, old: *mut sigaction) {
    // SAFETY: the caller's promise.
    unsafe { libc::sigaction(libc::SIGSEGV, new, old) };
}

extern "C" fn on_fault(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the interrupted thread's context, ours to change.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let at = registers[libc::REG_RIP as usize] as *const u8;
    // SAFETY: where the fault is that of an instruction, the instruction is mapped; bytes beyond two are read only where the
    // first two say that it has three. Where it is that of a jump to nowhere, this read faults inside the handler, and the
    // kernel ends the process, as it would have.
    let length = unsafe {
        let two = [*at, *at.add(1)];
        if two == RDTSC {
            2
        } else if two == RDTSCP[..2] && *at.add(2) == RDTSCP[2] {
            3
        } else {
            0
        }
    };
    match ambient::monotonic_ns().filter(|_| length > 0) {
        Some(now) => {
            registers[libc::REG_RAX as usize] = (now & 0xffff_ffff) as i64;
            registers[libc::REG_RDX as usize] = (now >> 32) as i64;
            if length == 3 {
                registers[libc::REG_RCX as usize] = 0;
            }
            registers[libc::REG_RIP as usize] += length;
        }
        // Not ours, or outside the simulation: the instruction faults again under the previous handler, or is allowed.
        None if length > 0 => {
            // SAFETY: a plain prctl without pointers.
            unsafe { libc::prctl(libc::PR_SET_TSC, libc::PR_TSC_ENABLE) };
        }
        // SAFETY: written before this handler was installed.
        None => unsafe { sigaction_of_segv((*PREVIOUS.0.get()).as_ptr(), ptr::null_mut()) },
    }
}
