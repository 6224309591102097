//! parking_lot keeps threads that wait in a table, a static of the whole process, which points to each thread's own memory.
//! A thread that is killed while it waits there is taken out, lest the table leads to what is no more.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot_core::{DEFAULT_UNPARK_TOKEN, unpark_all};

/// What the table knows of a thread is no longer than this, and the word that it waits at is part of it.
const NEAR: usize = 64;

/// Takes a thread that waits at a word of its own memory out of the table. False: something else may point there.
///
/// # Safety
/// The word must be of the stack or the thread-locals of a hosted thread that is killed and was not joined.
pub(super) unsafe fn forget(word: usize) -> bool {
    // SAFETY: the caller's promise; nobody else runs.
    let parked = unsafe { AtomicU32::from_ptr(word as *mut u32) };
    let place = word & !(size_of::<usize>() - 1);
    for near in (place - NEAR..=place + NEAR).step_by(size_of::<usize>()) {
        if parked.load(Ordering::Relaxed) == 0 {
            break;
        }
        // The address of the lock is near. Where it is not, nobody waits for what is taken for an address.
        // SAFETY: memory of that thread: its control block is above its thread-locals.
        let lock = unsafe { AtomicUsize::from_ptr(near as *mut usize) }.load(Ordering::Relaxed);
        if lock != 0 {
            // SAFETY: whoever else waits there is of the same life, or takes it for a wake that comes too early.
            unsafe { unpark_all(lock, DEFAULT_UNPARK_TOKEN) };
        }
    }
    parked.load(Ordering::Relaxed) == 0
}
