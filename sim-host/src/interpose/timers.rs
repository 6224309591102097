//! Timers as descriptors.

use std::ffi::c_int;
use std::time::Duration;

use libc::{clockid_t, itimerspec, timespec};

use super::{answer, timespec_of};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, Io, install, is_simulated, lookup};
use crate::hosting::timer::{Setting, Timer};
use crate::syscall::call;

#[unsafe(no_mangle)]
pub(super) extern "C" fn timerfd_create(clock: clockid_t, flags: c_int) -> c_int {
    if !hosted() {
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_timerfd_create, [clock as usize, flags as usize, 0, 0, 0, 0]) as c_int };
    }
    let known = flags & !(libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) == 0;
    let made = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME if known => {
            let description = Description::new(Timer::new(clock == libc::CLOCK_REALTIME));
            description.nonblocking.set(flags & libc::TFD_NONBLOCK != 0);
            Ok(install(description, flags & libc::TFD_CLOEXEC != 0))
        }
        // Those that wake a machine that sleeps, which is for few.
        libc::CLOCK_REALTIME_ALARM | libc::CLOCK_BOOTTIME_ALARM if known => Err(libc::EPERM),
        _ => Err(libc::EINVAL),
    };
    answer(made) as c_int
}

fn duration(time: timespec) -> Io<Duration> {
    let nanoseconds = u32::try_from(time.tv_nsec).ok().filter(|nanoseconds| *nanoseconds < 1_000_000_000);
    let seconds = u64::try_from(time.tv_sec).ok();
    seconds.zip(nanoseconds).map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds)).ok_or(libc::EINVAL)
}

/// Tells how a timer stands.
///
/// # Safety
/// `out` must be null or have room.
unsafe fn tell(timer: &Timer, out: *mut itimerspec) {
    if !out.is_null() {
        let Setting { first, interval } = timer.setting();
        // SAFETY: the caller's promise.
        unsafe { *out = itimerspec { it_value: timespec_of(first), it_interval: timespec_of(interval) } };
    }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn timerfd_settime(
    descriptor: c_int,
    flags: c_int,
    new: *const itimerspec,
    old: *mut itimerspec,
) -> c_int {
    if !is_simulated(descriptor) {
        let args = [descriptor as usize, flags as usize, new as usize, old as usize, 0, 0];
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_timerfd_settime, args) as c_int };
    }
    let set = || {
        // SAFETY: timerfd_settime(2) demands a setting that is valid or null.
        let new = unsafe { new.as_ref() }.ok_or(libc::EFAULT)?;
        let new = Setting { first: duration(new.it_value)?, interval: duration(new.it_interval)? };
        if flags & !(libc::TFD_TIMER_ABSTIME | libc::TFD_TIMER_CANCEL_ON_SET) != 0 {
            return Err(libc::EINVAL);
        }
        let description = lookup(descriptor)?;
        let timer = description.object.as_timer().ok_or(libc::EINVAL)?;
        // SAFETY: timerfd_settime(2) demands room, or null.
        unsafe { tell(timer, old) };
        timer.set(new, flags & libc::TFD_TIMER_ABSTIME != 0);
        if description.ready() != 0 {
            description.changed();
        }
        Ok(0)
    };
    answer(set()) as c_int
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn timerfd_gettime(descriptor: c_int, out: *mut itimerspec) -> c_int {
    if !is_simulated(descriptor) {
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_timerfd_gettime, [descriptor as usize, out as usize, 0, 0, 0, 0]) as c_int };
    }
    let told = lookup(descriptor).and_then(|description| {
        // SAFETY: timerfd_gettime(2) demands room.
        unsafe { tell(description.object.as_timer().ok_or(libc::EINVAL)?, out) };
        Ok(0)
    });
    answer(told) as c_int
}
