//! Futexes, and the locks of C that are made of them: inside the C library they would wait for real.
//!
//! A mutex or semaphore of C is tried for real and waited for by its address; a condition variable and a barrier are in
//! the simulation altogether.

use std::ffi::{c_int, c_uint};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use libc::{clockid_t, pthread_barrier_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, sem_t, timespec};
use sim_core::ambient as world;

use super::{code, duration_of};
use crate::hosting::baton::{self, hosted};
use crate::hosting::descriptor::Io;
use crate::hosting::device::hosts;
use crate::hosting::queue::may_be_waited_at;
use crate::hosting::real::forward;
use crate::hosting::wait;
use crate::leak;
use crate::syscall::{call, set_errno};

const ALL: u32 = u32::MAX;

/// Waits at an address until woken there; `ETIMEDOUT` when the time is over.
fn wait_at(what: &'static str, address: usize, bits: u32, limit: Option<Duration>) -> Io<()> {
    let hosts = hosts();
    let waiter = hosts.queues.join(address, bits);
    let pin = |pinned| baton::me().into_iter().for_each(|me| me.pinned.set(pinned));
    pin(Some(address).filter(|address| baton::is_own_memory(*address)));
    let woken = wait::block_for(what, limit, |waker| waiter.poll(waker));
    pin(None);
    if woken.is_none() && hosts.queues.part(&waiter) {
        return Err(libc::ETIMEDOUT);
    }
    Ok(())
}

/// A time on a clock.
type Deadline = (clockid_t, Option<Duration>);

/// The clock and time up to which a lock of C is waited for.
///
/// # Errors
/// `EINVAL` for a time that is none, and for a clock that C's locks do not wait by.
///
/// # Safety
/// `time` must be null or valid.
unsafe fn deadline(clock: clockid_t, time: *const timespec) -> Io<Deadline> {
    // SAFETY: the caller's promise.
    let valid = unsafe { time.as_ref() }.is_none_or(|time| (0..1_000_000_000).contains(&time.tv_nsec));
    if !valid || !matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC) {
        return Err(libc::EINVAL);
    }
    // SAFETY: as above.
    Ok((clock, unsafe { duration_of(time) }))
}

/// How long it is until a time on a clock.
fn until(clock: clockid_t, time: Option<Duration>) -> Option<Duration> {
    let now = if clock == libc::CLOCK_REALTIME { world::wall_ns() } else { world::monotonic_ns() };
    time.map(|time| time.saturating_sub(Duration::from_nanos(now.unwrap_or(0))))
}

/// futex(2).
///
/// # Safety
/// As futex(2).
pub(super) unsafe fn futex(word: usize, operation: c_int, value: u32, time: usize, second: usize, last: u32) -> isize {
    let command = operation & libc::FUTEX_CMD_MASK;
    if !hosted() {
        if matches!(command, libc::FUTEX_WAKE | libc::FUTEX_WAKE_BITSET) && world::is_simulated() {
            // A native task, or the simulator itself, wakes a thread of a hosted program.
            let bits = if command == libc::FUTEX_WAKE { ALL } else { last };
            let woken =
                crate::hosting::device::existing().map_or(0, |hosts| hosts.queues.wake(word, value as usize, bits));
            if woken > 0 {
                return woken as isize;
            }
        }
        if matches!(command, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) {
            leak::thread_blocks();
        }
        let args = [word, operation as usize, value as usize, time, second, last as usize];
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_futex, args) };
    }
    wait::leave_if_dead();
    match command {
        libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET => {
            // SAFETY: futex(2) demands a valid word.
            if unsafe { AtomicU32::from_ptr(word as *mut u32) }.load(Ordering::SeqCst) != value {
                return super::answer(Err::<i32, _>(libc::EAGAIN));
            }
            // SAFETY: futex(2) demands a time that is valid or null.
            let time = unsafe { duration_of(time as *const timespec) };
            let (bits, limit) = match command {
                libc::FUTEX_WAIT => (ALL, time),
                _ if operation & libc::FUTEX_CLOCK_REALTIME != 0 => (last, until(libc::CLOCK_REALTIME, time)),
                _ => (last, until(libc::CLOCK_MONOTONIC, time)),
            };
            super::answer(wait_at("a lock, a condition or a park (futex)", word, bits, limit).map(|()| 0))
        }
        libc::FUTEX_WAKE => hosts().queues.wake(word, value as usize, ALL) as isize,
        libc::FUTEX_WAKE_BITSET => hosts().queues.wake(word, value as usize, last) as isize,
        libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE => {
            // SAFETY: futex(2) demands a valid word.
            let now = unsafe { AtomicU32::from_ptr(word as *mut u32) }.load(Ordering::SeqCst);
            if command == libc::FUTEX_CMP_REQUEUE && now != last {
                return super::answer(Err::<i32, _>(libc::EAGAIN));
            }
            let woken = hosts().queues.wake(word, value as usize, ALL);
            (woken + hosts().queues.move_to(word, time, second)) as isize
        }
        _ => {
            leak::unmodelled(&format!("futex operation {command}"));
            super::answer(Err::<i32, _>(libc::ENOSYS))
        }
    }
}

/// Tries until it has what it wants, and waits at an address between the tries.
fn acquire(what: &'static str, address: usize, deadline: Option<Deadline>, attempt: impl Fn() -> c_int) -> c_int {
    loop {
        match attempt() {
            libc::EBUSY => {}
            result => return result,
        }
        // Whoever lets go wakes one; a lock that was taken meanwhile is waited for again.
        let limit = deadline.and_then(|(clock, time)| until(clock, time));
        if wait_at(what, address, ALL, limit).is_err() {
            return libc::ETIMEDOUT;
        }
    }
}

macro_rules! acquires {
    ($($function:ident($type:ty) by $try:literal: $name:literal, $what:literal;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $function(lock: *mut $type) -> c_int {
            if hosted() {
                let attempt = || forward!($try as fn(*mut $type) -> c_int, lock);
                // One that is free is taken without a look at the simulation, which may be what allocates.
                return match attempt() {
                    libc::EBUSY => {
                        wait::leave_if_dead();
                        acquire($what, lock as usize, None, attempt)
                    }
                    result => result,
                };
            }
            forward!($name as fn(*mut $type) -> c_int, lock)
        }
    )*};
}

acquires! {
    pthread_mutex_lock(pthread_mutex_t) by c"pthread_mutex_trylock": c"pthread_mutex_lock", "a mutex of C";
    pthread_rwlock_rdlock(pthread_rwlock_t) by c"pthread_rwlock_tryrdlock": c"pthread_rwlock_rdlock", "a lock of C";
    pthread_rwlock_wrlock(pthread_rwlock_t) by c"pthread_rwlock_trywrlock": c"pthread_rwlock_wrlock", "a lock of C";
}

macro_rules! releases {
    ($($function:ident($type:ty): $name:literal;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $function(lock: *mut $type) -> c_int {
            let result = forward!($name as fn(*mut $type) -> c_int, lock);
            if hosted() && may_be_waited_at(lock as usize) {
                hosts().queues.wake(lock as usize, usize::MAX, ALL);
            }
            result
        }
    )*};
}

releases! {
    pthread_mutex_unlock(pthread_mutex_t): c"pthread_mutex_unlock";
    pthread_rwlock_unlock(pthread_rwlock_t): c"pthread_rwlock_unlock";
    sem_post(sem_t): c"sem_post";
}

/// Those that give up at a time: of the wall clock, or of the clock that they are told.
macro_rules! acquires_until {
    ($($timed:ident $timed_name:literal, $clocked:ident $clocked_name:literal ($type:ty) by $try:literal, $what:literal;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $timed(lock: *mut $type, time: *const timespec) -> c_int {
            if hosted() {
                // SAFETY: the caller's arguments, handed on unchanged.
                return unsafe { $clocked(lock, libc::CLOCK_REALTIME, time) };
            }
            forward!($timed_name as fn(*mut $type, *const timespec) -> c_int, lock, time)
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn $clocked(lock: *mut $type, clock: clockid_t, time: *const timespec) -> c_int {
            if !hosted() {
                return forward!($clocked_name as fn(*mut $type, clockid_t, *const timespec) -> c_int, lock, clock, time);
            }
            wait::leave_if_dead();
            let attempt = || forward!($try as fn(*mut $type) -> c_int, lock);
            // SAFETY: the C library demands a valid time.
            match unsafe { deadline(clock, time) } {
                Ok(deadline) => acquire($what, lock as usize, Some(deadline), attempt),
                Err(error) => error,
            }
        }
    )*};
}

acquires_until! {
    pthread_mutex_timedlock c"pthread_mutex_timedlock", pthread_mutex_clocklock c"pthread_mutex_clocklock"
        (pthread_mutex_t) by c"pthread_mutex_trylock", "a mutex of C";
    pthread_rwlock_timedrdlock c"pthread_rwlock_timedrdlock", pthread_rwlock_clockrdlock c"pthread_rwlock_clockrdlock"
        (pthread_rwlock_t) by c"pthread_rwlock_tryrdlock", "a lock of C";
    pthread_rwlock_timedwrlock c"pthread_rwlock_timedwrlock", pthread_rwlock_clockwrlock c"pthread_rwlock_clockwrlock"
        (pthread_rwlock_t) by c"pthread_rwlock_trywrlock", "a lock of C";
}

/// Lets go of the mutex, waits for the condition, takes the mutex again.
fn wait_for_condition(condition: usize, mutex: *mut pthread_mutex_t, limit: Option<Duration>) -> c_int {
    wait::leave_if_dead();
    let hosts = hosts();
    let waiter = hosts.queues.join(condition, ALL);
    pthread_mutex_unlock(mutex);
    let woken = wait::block_for("a condition variable of C", limit, |waker| waiter.poll(waker));
    let over = woken.is_none() && hosts.queues.part(&waiter);
    pthread_mutex_lock(mutex);
    if over { libc::ETIMEDOUT } else { 0 }
}

#[unsafe(no_mangle)]
extern "C" fn pthread_cond_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int {
    if hosted() {
        return wait_for_condition(condition as usize, mutex, None);
    }
    forward!(c"pthread_cond_wait" as fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int, condition, mutex)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    if hosted() {
        // The clock is an attribute that pthread_cond_init(3) was given; it is told by how large the time is.
        // SAFETY: pthread_cond_timedwait(3) demands a valid time.
        let time = unsafe { duration_of(time) };
        let real = time.is_some_and(|time| time > Duration::from_secs(1_000_000_000));
        let clock = if real { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
        return wait_for_condition(condition as usize, mutex, until(clock, time));
    }
    type Mutex = *mut pthread_mutex_t;
    forward!(
        c"pthread_cond_timedwait" as fn(*mut pthread_cond_t, Mutex, *const timespec) -> c_int,
        condition,
        mutex,
        time
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_clockwait(
    condition: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    clock: clockid_t,
    time: *const timespec,
) -> c_int {
    if hosted() {
        // SAFETY: pthread_cond_clockwait(3) demands a valid time.
        return match unsafe { deadline(clock, time) } {
            Ok((clock, time)) => wait_for_condition(condition as usize, mutex, until(clock, time)),
            Err(error) => error,
        };
    }
    type Mutex = *mut pthread_mutex_t;
    forward!(
        c"pthread_cond_clockwait" as fn(*mut pthread_cond_t, Mutex, clockid_t, *const timespec) -> c_int,
        condition,
        mutex,
        clock,
        time
    )
}

#[unsafe(no_mangle)]
extern "C" fn pthread_cond_signal(condition: *mut pthread_cond_t) -> c_int {
    if hosted() {
        hosts().queues.wake(condition as usize, 1, ALL);
        return 0;
    }
    forward!(c"pthread_cond_signal" as fn(*mut pthread_cond_t) -> c_int, condition)
}

#[unsafe(no_mangle)]
extern "C" fn pthread_cond_broadcast(condition: *mut pthread_cond_t) -> c_int {
    if hosted() {
        hosts().queues.wake(condition as usize, usize::MAX, ALL);
        return 0;
    }
    forward!(c"pthread_cond_broadcast" as fn(*mut pthread_cond_t) -> c_int, condition)
}

/// sem_trywait(3), with the error as its result.
fn try_semaphore(semaphore: *mut sem_t) -> c_int {
    match forward!(c"sem_trywait" as fn(*mut sem_t) -> c_int, semaphore) {
        0 => 0,
        _ => libc::EBUSY,
    }
}

fn semaphore_answer(error: c_int) -> c_int {
    if error != 0 {
        set_errno(error);
        return -1;
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn sem_wait(semaphore: *mut sem_t) -> c_int {
    if hosted() {
        return semaphore_answer(acquire("a semaphore", semaphore as usize, None, || try_semaphore(semaphore)));
    }
    forward!(c"sem_wait" as fn(*mut sem_t) -> c_int, semaphore)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_timedwait(semaphore: *mut sem_t, time: *const timespec) -> c_int {
    if hosted() {
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { sem_clockwait(semaphore, libc::CLOCK_REALTIME, time) };
    }
    forward!(c"sem_timedwait" as fn(*mut sem_t, *const timespec) -> c_int, semaphore, time)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sem_clockwait(semaphore: *mut sem_t, clock: clockid_t, time: *const timespec) -> c_int {
    if hosted() {
        wait::leave_if_dead();
        // SAFETY: sem_timedwait(3) demands a valid time.
        return semaphore_answer(match unsafe { deadline(clock, time) } {
            Ok(deadline) => acquire("a semaphore", semaphore as usize, Some(deadline), || try_semaphore(semaphore)),
            Err(error) => error,
        });
    }
    forward!(c"sem_clockwait" as fn(*mut sem_t, clockid_t, *const timespec) -> c_int, semaphore, clock, time)
}

/// What a hosted barrier keeps in the memory of the real one: how many it waits for, and how many have come.
#[repr(C)]
struct Barrier {
    count: u32,
    come: u32,
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_init(
    barrier: *mut pthread_barrier_t,
    attributes: *const libc::pthread_barrierattr_t,
    count: c_uint,
) -> c_int {
    if hosted() {
        if count == 0 {
            return libc::EINVAL;
        }
        // SAFETY: pthread_barrier_init(3) demands room for a barrier, which is larger than ours.
        unsafe { *barrier.cast::<Barrier>() = Barrier { count, come: 0 } };
        return 0;
    }
    type Attributes = *const libc::pthread_barrierattr_t;
    forward!(
        c"pthread_barrier_init" as fn(*mut pthread_barrier_t, Attributes, c_uint) -> c_int,
        barrier,
        attributes,
        count
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int {
    if hosted() {
        wait::leave_if_dead();
        // SAFETY: made by `pthread_barrier_init` above; only the thread with the baton touches it.
        let state = unsafe { &mut *barrier.cast::<Barrier>() };
        state.come += 1;
        if state.come < state.count {
            return code(wait_at("a barrier of C", barrier as usize, ALL, None));
        }
        state.come = 0;
        hosts().queues.wake(barrier as usize, usize::MAX, ALL);
        return libc::PTHREAD_BARRIER_SERIAL_THREAD;
    }
    forward!(c"pthread_barrier_wait" as fn(*mut pthread_barrier_t) -> c_int, barrier)
}

#[unsafe(no_mangle)]
extern "C" fn pthread_barrier_destroy(barrier: *mut pthread_barrier_t) -> c_int {
    if hosted() {
        return 0;
    }
    forward!(c"pthread_barrier_destroy" as fn(*mut pthread_barrier_t) -> c_int, barrier)
}
