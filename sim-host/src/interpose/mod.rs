//! The C library's functions that a program reaches the operating system through.
//!
//! Each acts on the simulation while a hosted program runs on the calling thread, or while it is given a simulated
//! descriptor; otherwise it makes the real system call. What a node that is not hosted must not reach (a real sleep, a
//! thread, a socket) is reported as a leak by [`crate::leak`], for such nodes have the simulation's own faces.
//!
//! | room | functions |
//! |---|---|
//! | `allocation` | malloc and its kin |
//! | `ambient` | clocks, entropy, ids, processors |
//! | `sleeps`, `timers` | sleeping and yielding, timers as descriptors |
//! | `threads` | pthreads |
//! | `locks` | futexes, and the locks of C that are made of them |
//! | `descriptors`, `ready`, `sockets`, `options`, `files` | descriptors |
//! | `names`, `directories`, `status` | names of files, what is in directories, what stat tells |
//! | `resolver`, `interfaces` | names of hosts, and the network devices of one |
//! | `process` | environment, exit, signals, other processes |
//! | `machine` | the machine, users and limits |
//! | `temporary` | files with names of their own |
//! | `streams` | streams of C, by fopencookie(3) |
//! | `numbers`, `calls` | `syscall(2)`, and what calls are named |
//! | `refused` | what a machine need not have, answered by an error |
//! | `unmodelled` | what has no answer, by its name |

mod allocation;
mod ambient;
mod calls;
mod descriptors;
mod directories;
mod files;
mod interfaces;
mod locks;
mod machine;
mod names;
mod numbers;
mod options;
mod process;
mod ready;
mod refused;
mod resolver;
mod sleeps;
mod sockets;
mod status;
pub(crate) mod streams;
mod temporary;
pub(crate) mod threads;
mod timers;
mod unmodelled;

use std::ffi::{c_int, c_void};
use std::time::Duration;

use libc::{size_t, timespec};

use crate::hosting::descriptor::Io;
use crate::syscall::set_errno;

#[cfg(target_arch = "x86_64")]
pub(crate) use numbers::answer_call;

/// What a C function returns: the result, or -1 with `errno` set.
fn answer<T: TryInto<isize>>(result: Io<T>) -> isize {
    match result.map(TryInto::try_into) {
        Ok(Ok(value)) => value,
        Ok(Err(_)) => {
            set_errno(libc::EOVERFLOW);
            -1
        }
        Err(error) => {
            set_errno(error);
            -1
        }
    }
}

/// What the caller wants to be read.
///
/// # Safety
/// `start` must be valid for reads of `length` bytes, for as long as the call lasts.
unsafe fn part<'a>(start: *const c_void, length: size_t) -> &'a [u8] {
    // SAFETY: the caller's promise.
    if length == 0 { &[] } else { unsafe { std::slice::from_raw_parts(start.cast(), length) } }
}

/// Where the caller wants something to be written.
///
/// # Safety
/// `start` must be valid for writes of `length` bytes, for as long as the call lasts. The bytes are only written to.
unsafe fn part_mut<'a>(start: *mut c_void, length: size_t) -> &'a mut [u8] {
    // SAFETY: the caller's promise.
    if length == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(start.cast(), length) } }
}

/// A length of time; `None` for a null pointer.
///
/// # Safety
/// `time` must be null or valid.
unsafe fn duration_of(time: *const timespec) -> Option<Duration> {
    // SAFETY: the caller's promise.
    let time = unsafe { time.as_ref()? };
    Some(Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32))
}

/// A length of time, as C has it.
fn timespec_of(time: Duration) -> timespec {
    timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() }
}

/// As 0 or the number of an error, which is how pthread functions answer.
fn code(result: Io<()>) -> c_int {
    result.err().unwrap_or(0)
}
