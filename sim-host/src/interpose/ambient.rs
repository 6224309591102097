//! Clocks, entropy, ids, processors: answered by the simulation on every node, hosted or not.

use std::ffi::{c_int, c_long, c_uint, c_void};

use libc::{clockid_t, cpu_set_t, pid_t, size_t, ssize_t, time_t, timespec, timeval};
use sim_core::ambient;

use crate::hosting::baton;
use crate::syscall::{call, set_errno};

const SECOND: u64 = 1_000_000_000;

/// What a clock shows in the simulation, in nanoseconds.
fn simulated_clock(clock: clockid_t) -> Option<u64> {
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => ambient::wall_ns(),
        _ => ambient::monotonic_ns(),
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let Some(now) = simulated_clock(clock) else { return real_clock(clock, time) };
    // SAFETY: clock_gettime(2) demands a valid pointer of its caller.
    unsafe { *time = timespec { tv_sec: (now / SECOND) as time_t, tv_nsec: (now % SECOND) as c_long } };
    0
}

#[cold]
fn real_clock(clock: clockid_t, time: *mut timespec) -> c_int {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_clock_gettime, [clock as usize, time as usize, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    let Some(now) = ambient::wall_ns() else {
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_gettimeofday, [time as usize, zone as usize, 0, 0, 0, 0]) as c_int };
    };
    if !time.is_null() {
        // SAFETY: gettimeofday(2) demands a pointer that is valid or null.
        unsafe { *time = timeval { tv_sec: (now / SECOND) as time_t, tv_usec: (now % SECOND / 1_000) as c_long } };
    }
    0
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn time(out: *mut time_t) -> time_t {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    clock_gettime(libc::CLOCK_REALTIME, &mut now);
    if !out.is_null() {
        // SAFETY: time(2) demands a pointer that is valid or null.
        unsafe { *out = now.tv_sec };
    }
    now.tv_sec
}

/// Fills memory of a caller with the simulation's entropy. False outside one.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
unsafe fn simulated_entropy(buffer: *mut c_void, length: size_t) -> bool {
    if !ambient::is_simulated() {
        return false;
    }
    if length == 0 {
        return true;
    }
    // SAFETY: the caller's promise; bytes need no initialisation to be overwritten, and `fill` only writes.
    let buffer = unsafe {
        std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
    };
    ambient::entropy(buffer)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: getrandom(2) demands a valid buffer.
    if unsafe { simulated_entropy(buffer, length) } {
        return length as ssize_t;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_getrandom, [buffer as usize, length, flags as usize, 0, 0, 0]) }
}

#[unsafe(no_mangle)]
extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    if length > 256 {
        set_errno(libc::EIO);
        return -1;
    }
    if getrandom(buffer, length, 0) == length as ssize_t { 0 } else { -1 }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn getpid() -> pid_t {
    match ambient::process_id() {
        Some(id) => id as pid_t,
        // SAFETY: takes no argument.
        None => unsafe { call(libc::SYS_getpid, [0; 6]) as pid_t },
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn gettid() -> pid_t {
    if let Some(me) = baton::me() {
        return me.number as pid_t;
    }
    match ambient::process_id() {
        Some(id) => id as pid_t,
        // SAFETY: takes no argument.
        None => unsafe { call(libc::SYS_gettid, [0; 6]) as pid_t },
    }
}

/// A simulated machine has one processor.
#[unsafe(no_mangle)]
pub(super) extern "C" fn sched_getaffinity(process: pid_t, size: size_t, set: *mut cpu_set_t) -> c_int {
    if !ambient::is_simulated() {
        // SAFETY: the caller's arguments, handed on unchanged.
        let copied = unsafe { call(libc::SYS_sched_getaffinity, [process as usize, size, set as usize, 0, 0, 0]) };
        if copied >= 0 && (copied as usize) < size {
            // SAFETY: the kernel wrote `copied` of the `size` bytes that the caller has; as in glibc the rest is zero.
            unsafe { std::ptr::write_bytes(set.cast::<u8>().add(copied as usize), 0, size - copied as usize) };
        }
        return copied.min(0) as c_int;
    }
    if size > 0 {
        // SAFETY: sched_getaffinity(2) demands `size` valid bytes.
        unsafe {
            std::ptr::write_bytes(set.cast::<u8>(), 0, size);
            *set.cast::<u8>() = 1;
        }
    }
    0
}

/// arc4random(3) of glibc from 2.36 on.
#[unsafe(no_mangle)]
extern "C" fn arc4random() -> u32 {
    let mut number = 0u32;
    getrandom((&raw mut number).cast(), size_of::<u32>(), 0);
    number
}

#[unsafe(no_mangle)]
extern "C" fn arc4random_buf(buffer: *mut c_void, length: size_t) {
    getrandom(buffer, length, 0);
}

#[unsafe(no_mangle)]
extern "C" fn arc4random_uniform(bound: u32) -> u32 {
    if bound < 2 {
        return 0;
    }
    // Numbers below this are as many more than a multiple of the bound.
    let surplus = bound.wrapping_neg() % bound;
    loop {
        let number = arc4random();
        if number >= surplus {
            return number % bound;
        }
    }
}
