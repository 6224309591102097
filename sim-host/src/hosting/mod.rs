//! Hosting programs as they are: unmodified tokio, threads and C libraries on the kernels of the simulation.
//!
//! | room | what is in it |
//! |---|---|
//! | [`node`] | what users call: [`node::Host`] |
//! | `baton`, `switch` | the threads of hosted programs, of which one runs; and how |
//! | `asynchronous` | asynchronous programs on a runtime of their own |
//! | `wait` | how a call that blocks waits in the simulation |
//! | `device` | processes and their descriptors, as a device of the simulation |
//! | `descriptor` | what a descriptor stands for, who watches it |
//! | `epoll`, `pipe`, `timer`, `socket`, `listening`, `unix`, `unix_datagrams`, `file` | the kinds of descriptors |
//! | `heap`, `collector` | memory that programs allocate, and what becomes of that of the dead |
//! | `memory` | files that are mapped into memory |
//! | `streams` | streams of C |
//! | `parking_lot` | threads that are killed while they wait for locks of that crate |
//! | `queue` | waiting at an address: futexes and the locks of C |
//! | `names`, `environment`, `output`, `signals` | the rest of a process |
//! | `stack` | where the threads of a run that is stuck wait |
//! | `real` | the C library's own functions |

pub(crate) mod asynchronous;
pub(crate) mod baton;
mod collector;
pub(crate) mod descriptor;
pub(crate) mod device;
pub(crate) mod environment;
pub(crate) mod epoll;
pub(crate) mod file;
pub(crate) mod heap;
pub(crate) mod listening;
pub(crate) mod memory;
pub(crate) mod names;
pub mod node;
pub mod output;
mod parking_lot;
pub(crate) mod pipe;
pub(crate) mod queue;
pub(crate) mod real;
pub(crate) mod signals;
pub(crate) mod socket;
pub(crate) mod stack;
pub(crate) mod streams;
#[cfg(target_arch = "x86_64")]
mod switch;
#[cfg(target_arch = "aarch64")]
#[path = "switch_not.rs"]
mod switch;
pub(crate) mod timer;
pub(crate) mod unix;
pub(crate) mod unix_datagrams;
pub(crate) mod wait;

use std::cell::Cell;

use crate::syscall::raw;

/// A page of memory, in bytes.
pub(crate) const PAGE: usize = 4 << 10;

/// A hand-over of the baton between two processors costs twenty times what it costs on one.
fn pin_to_one_processor() {
    thread_local! {
        static PINNED: Cell<bool> = const { Cell::new(false) };
    }
    if PINNED.replace(true) {
        return;
    }
    let mut set = [0u64; 16];
    let mut processor = 0u32;
    // SAFETY: both calls are given memory of ours of the size that they are told.
    unsafe {
        raw(libc::SYS_getcpu, [(&raw mut processor) as usize, 0, 0, 0, 0, 0]);
        set[processor as usize / 64 % 16] = 1 << (processor % 64);
        raw(libc::SYS_sched_setaffinity, [0, size_of_val(&set), set.as_ptr() as usize, 0, 0, 0]);
    }
}
