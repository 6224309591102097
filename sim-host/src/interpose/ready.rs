//! epoll, poll, select.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use libc::{epoll_event, nfds_t, pollfd, sigset_t, timespec, timeval};

use super::{answer, duration_of, timespec_of};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, install, is_simulated};
use crate::hosting::epoll::{self, Epoll};
use crate::leak;
use crate::syscall::call;

const RUNTIME_ADVICE: &str = "the simulation is the runtime: spawn with sim::spawn and .await instead of block_on, or host the \
                              program with node(..).host(..)";

#[unsafe(no_mangle)]
pub(super) extern "C" fn epoll_create1(flags: c_int) -> c_int {
    if hosted() {
        return install(Description::new(Epoll::default()), flags & libc::EPOLL_CLOEXEC != 0);
    }
    leak::found("a real runtime's driver (epoll_create1)", RUNTIME_ADVICE);
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { call(libc::SYS_epoll_create1, [flags as usize, 0, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn epoll_create(_size: c_int) -> c_int {
    epoll_create1(0)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn epoll_ctl(
    watch: c_int,
    operation: c_int,
    descriptor: c_int,
    event: *mut epoll_event,
) -> c_int {
    if is_simulated(watch) {
        // SAFETY: epoll_ctl(2) demands an event that is valid or null; it may be packed.
        let event = (!event.is_null()).then(|| unsafe { event.read_unaligned() });
        let event = event.map(|event| (event.events, event.u64));
        return answer(epoll::control(watch, operation, descriptor, event).map(|()| 0)) as c_int;
    }
    let args = [watch as usize, operation as usize, descriptor as usize, event as usize, 0, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_epoll_ctl, args) as c_int }
}

fn millis(timeout: c_int) -> Option<Duration> {
    u64::try_from(timeout).ok().map(Duration::from_millis)
}

/// # Safety
/// `events` must have room for `most` events.
#[inline(always)]
unsafe fn wait(watch: c_int, events: *mut epoll_event, most: c_int, limit: Option<Duration>) -> c_int {
    let Ok(most @ 1..) = usize::try_from(most) else { return answer(Err::<c_int, c_int>(libc::EINVAL)) as c_int };
    let mut place = 0;
    let found = epoll::wait_for(watch, most, limit, |bits, data| {
        // SAFETY: the caller's promise: at most `most` are told.
        unsafe { events.add(place).write_unaligned(epoll_event { events: bits, u64: data }) };
        place += 1;
    });
    answer(found) as c_int
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn epoll_wait(
    watch: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
) -> c_int {
    if is_simulated(watch) {
        // SAFETY: epoll_wait(2) demands room for so many events.
        return unsafe { wait(watch, events, most, millis(timeout)) };
    }
    let args = [watch as usize, events as usize, most as usize, timeout as usize, 0, 8];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_epoll_pwait, args) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn epoll_pwait(
    watch: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: c_int,
    mask: *const sigset_t,
) -> c_int {
    if is_simulated(watch) {
        // SAFETY: as above.
        return unsafe { wait(watch, events, most, millis(timeout)) };
    }
    let args = [watch as usize, events as usize, most as usize, timeout as usize, mask as usize, 8];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_epoll_pwait, args) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn epoll_pwait2(
    watch: c_int,
    events: *mut epoll_event,
    most: c_int,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    if is_simulated(watch) {
        // SAFETY: as above; the time is valid or null.
        return unsafe { wait(watch, events, most, duration_of(timeout)) };
    }
    let args = [watch as usize, events as usize, most as usize, timeout as usize, mask as usize, 8];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_epoll_pwait2, args) as c_int }
}

/// # Safety
/// As poll(2).
unsafe fn entries<'a>(list: *mut pollfd, count: nfds_t) -> &'a mut [pollfd] {
    // SAFETY: the caller's promise.
    if count == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(list, count as usize) } }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn poll(list: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    if hosted() {
        // SAFETY: poll(2) demands so many valid entries.
        return epoll::poll(unsafe { entries(list, count) }, millis(timeout)) as c_int;
    }
    let time = millis(timeout).map(timespec_of);
    let time = time.as_ref().map_or(0, |time| std::ptr::from_ref(time) as usize);
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_ppoll, [list as usize, count as usize, time, 0, 8, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn ppoll(
    list: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    if hosted() {
        // SAFETY: ppoll(2) demands so many valid entries, and a time that is valid or null.
        return epoll::poll(unsafe { entries(list, count) }, unsafe { duration_of(timeout) }) as c_int;
    }
    let args = [list as usize, count as usize, timeout as usize, mask as usize, 8, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_ppoll, args) as c_int }
}

/// The bits of an `fd_set`, which may be absent.
struct Set(*mut u64);

impl Set {
    fn has(&self, descriptor: usize) -> bool {
        // SAFETY: select(2) demands sets with a bit for each of the descriptors that it is told.
        !self.0.is_null() && unsafe { *self.0.add(descriptor / 64) } & (1 << (descriptor % 64)) != 0
    }

    fn keep(&self, descriptor: usize, ready: bool) {
        if self.has(descriptor) && !ready {
            // SAFETY: as above.
            unsafe { *self.0.add(descriptor / 64) &= !(1 << (descriptor % 64)) };
        }
    }
}

/// select(2), by way of poll(2).
fn select_simulated(count: c_int, sets: [Set; 3], limit: Option<Duration>) -> c_int {
    const ASKED: [i16; 3] = [libc::POLLIN, libc::POLLOUT, libc::POLLPRI];
    const TOLD: [i16; 3] = [libc::POLLIN | libc::POLLHUP | libc::POLLERR, libc::POLLOUT | libc::POLLERR, libc::POLLPRI];
    let mut list: Vec<pollfd> = Vec::new();
    for descriptor in 0..count as usize {
        let events = (0..3).filter(|kind| sets[*kind].has(descriptor)).map(|kind| ASKED[kind]).fold(0, |a, b| a | b);
        if events != 0 {
            list.push(pollfd { fd: descriptor as c_int, events, revents: 0 });
        }
    }
    epoll::poll(&mut list, limit);
    let mut told = 0;
    for entry in &list {
        for kind in 0..3 {
            let ready = entry.revents & TOLD[kind] != 0;
            told += c_int::from(ready && sets[kind].has(entry.fd as usize));
            sets[kind].keep(entry.fd as usize, ready);
        }
    }
    told
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn select(
    count: c_int,
    read: *mut c_void,
    write: *mut c_void,
    except: *mut c_void,
    timeout: *mut timeval,
) -> c_int {
    if hosted() {
        // SAFETY: select(2) demands a time that is valid or null.
        let limit = (!timeout.is_null())
            .then(|| unsafe { *timeout })
            .map(|time| Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64));
        return select_simulated(count, [Set(read.cast()), Set(write.cast()), Set(except.cast())], limit);
    }
    // The kernel of AArch64 has pselect6 only, which leaves the time as it is.
    // SAFETY: as above.
    let time = (!timeout.is_null()).then(|| unsafe { *timeout });
    let time = time.map(|time| timespec { tv_sec: time.tv_sec, tv_nsec: time.tv_usec * 1_000 });
    let time = time.as_ref().map_or(0, |time| std::ptr::from_ref(time) as usize);
    let args = [count as usize, read as usize, write as usize, except as usize, time, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_pselect6, args) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pselect(
    count: c_int,
    read: *mut c_void,
    write: *mut c_void,
    except: *mut c_void,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    if hosted() {
        let sets = [Set(read.cast()), Set(write.cast()), Set(except.cast())];
        // SAFETY: pselect(2) demands a time that is valid or null.
        return select_simulated(count, sets, unsafe { duration_of(timeout) });
    }
    let mask = [mask as usize, 8];
    let mask = mask.as_ptr() as usize;
    let args = [count as usize, read as usize, write as usize, except as usize, timeout as usize, mask];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_pselect6, args) as c_int }
}
