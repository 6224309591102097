//! Sleeping and yielding.

use std::ffi::{c_int, c_uint};
use std::time::Duration;

use libc::{clockid_t, timespec};
use sim_core::ambient as world;

use super::{answer, duration_of, timespec_of};
use crate::hosting::baton::hosted;
use crate::hosting::wait;
use crate::leak;
use crate::syscall::{call, raw};

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn nanosleep(duration: *const timespec, left: *mut timespec) -> c_int {
    if hosted() {
        // SAFETY: nanosleep(2) demands a valid duration.
        let Some(duration) = (unsafe { duration_of(duration) }) else {
            return answer(Err::<i32, _>(libc::EFAULT)) as c_int;
        };
        wait::sleep("sleep", duration);
        return 0;
    }
    leak::found("std::thread::sleep (nanosleep)", "use sim::time::sleep");
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_nanosleep, [duration as usize, left as usize, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    duration: *const timespec,
    left: *mut timespec,
) -> c_int {
    if hosted() {
        // SAFETY: clock_nanosleep(2) demands a valid duration.
        let Some(mut duration) = (unsafe { duration_of(duration) }) else { return libc::EFAULT };
        if flags & libc::TIMER_ABSTIME != 0 {
            let now = if clock == libc::CLOCK_REALTIME { world::wall_ns() } else { world::monotonic_ns() };
            duration = duration.saturating_sub(Duration::from_nanos(now.unwrap_or(0)));
        }
        wait::sleep("sleep", duration);
        return 0;
    }
    leak::found("std::thread::sleep (clock_nanosleep)", "use sim::time::sleep");
    let args = [clock as usize, flags as usize, duration as usize, left as usize, 0, 0];
    // SAFETY: the caller's arguments, handed on unchanged. The error is returned, not put into errno.
    -unsafe { raw(libc::SYS_clock_nanosleep, args) } as c_int
}

/// Sleeps by way of the functions above, so that each is a leak where they are.
fn sleep_for(duration: Duration) -> c_int {
    let time = timespec_of(duration);
    // SAFETY: a valid duration, and nobody asks for the rest.
    unsafe { nanosleep(&time, std::ptr::null_mut()) }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn usleep(micros: c_uint) -> c_int {
    sleep_for(Duration::from_micros(micros.into()))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn sleep(seconds: c_uint) -> c_uint {
    sleep_for(Duration::from_secs(seconds.into()));
    0
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn sched_yield() -> c_int {
    if hosted() {
        wait::yield_now();
        return 0;
    }
    // SAFETY: takes no argument.
    unsafe { call(libc::SYS_sched_yield, [0; 6]) as c_int }
}
