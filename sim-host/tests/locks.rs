//! Locks and signals of C that are waited for up to a time.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what hosted programs use")]

mod kit;

use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use libc::{c_int, clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, timespec};
use sim_core::{Outcome, Sim, node, time};
use sim_host::hosting::node::Host;

use kit::{has_passed, passes, run};

unsafe extern "C" {
    fn pthread_cond_clockwait(
        c: *mut pthread_cond_t,
        m: *mut pthread_mutex_t,
        k: clockid_t,
        t: *const timespec,
    ) -> c_int;
    fn pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_timedrdlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_clockrdlock(lock: *mut pthread_rwlock_t, clock: clockid_t, time: *const timespec) -> c_int;
    fn pthread_rwlock_clockwrlock(lock: *mut pthread_rwlock_t, clock: clockid_t, time: *const timespec) -> c_int;
    fn mtx_lock(mutex: *mut std::ffi::c_void) -> c_int;
}

/// The time on a clock in two seconds.
fn in_two_seconds(clock: clockid_t) -> timespec {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: room for a time.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec += 2;
    time
}

/// Checks that a wait takes two seconds and is over then.
fn is_over_in_two_seconds(wait: impl FnOnce() -> c_int) {
    let start = Instant::now();
    assert_eq!((wait(), start.elapsed().as_secs()), (libc::ETIMEDOUT, 2));
}

const CLOCKS: [clockid_t; 2] = [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC];

#[test]
fn a_condition_variable_of_c_is_waited_for_up_to_a_time_on_either_clock() {
    passes(|| {
        let (mut mutex, mut condition) = (libc::PTHREAD_MUTEX_INITIALIZER, libc::PTHREAD_COND_INITIALIZER);
        // SAFETY: a lock that is ready for use.
        unsafe { libc::pthread_mutex_lock(&mut mutex) };
        for clock in CLOCKS {
            let time = in_two_seconds(clock);
            // SAFETY: both are ready for use, and the mutex is locked.
            is_over_in_two_seconds(|| unsafe { pthread_cond_clockwait(&mut condition, &mut mutex, clock, &time) });
        }
        let time = in_two_seconds(libc::CLOCK_MONOTONIC);
        let clock = libc::CLOCK_PROCESS_CPUTIME_ID;
        // SAFETY: as above.
        let told = unsafe { pthread_cond_clockwait(&mut condition, &mut mutex, clock, &time) };
        assert_eq!(told, libc::EINVAL);
    });
}

/// A lock of C that threads share.
struct Shared<T>(MaybeUninit<T>);

// SAFETY: what is inside is a lock of C, made to be shared.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn at(&self) -> *mut T {
        self.0.as_ptr().cast_mut()
    }
}

#[test]
fn locks_of_c_are_waited_for_up_to_a_time_on_either_clock() {
    passes(|| {
        let mutex = Shared::<pthread_mutex_t>(MaybeUninit::zeroed());
        let lock = Shared::<pthread_rwlock_t>(MaybeUninit::zeroed());
        // SAFETY: all-zero locks are ready for use.
        unsafe { (libc::pthread_mutex_lock(mutex.at()), libc::pthread_rwlock_wrlock(lock.at())) };
        let waiter = || {
            for clock in CLOCKS {
                let time = in_two_seconds(clock);
                // SAFETY: as above; another thread holds it.
                is_over_in_two_seconds(|| unsafe { pthread_mutex_clocklock(mutex.at(), clock, &time) });
                let time = in_two_seconds(clock);
                // SAFETY: as above.
                is_over_in_two_seconds(|| unsafe { pthread_rwlock_clockrdlock(lock.at(), clock, &time) });
                let time = in_two_seconds(clock);
                // SAFETY: as above.
                is_over_in_two_seconds(|| unsafe { pthread_rwlock_clockwrlock(lock.at(), clock, &time) });
            }
            let time = in_two_seconds(libc::CLOCK_REALTIME);
            // SAFETY: as above.
            is_over_in_two_seconds(|| unsafe { pthread_rwlock_timedrdlock(lock.at(), &time) });
            let time = in_two_seconds(libc::CLOCK_REALTIME);
            // SAFETY: as above.
            is_over_in_two_seconds(|| unsafe { pthread_rwlock_timedwrlock(lock.at(), &time) });
        };
        std::thread::scope(|scope| scope.spawn(waiter).join()).unwrap();
    });
}

#[test]
fn a_lock_of_c_that_others_snatch_is_waited_for_no_longer_than_said() {
    passes(|| {
        let mutex = Shared::<pthread_mutex_t>(MaybeUninit::zeroed());
        std::thread::scope(|scope| {
            let holds = || {
                let part = Duration::from_millis(300);
                // SAFETY: an all-zero mutex is ready for use.
                (0..20).for_each(|_| unsafe {
                    libc::pthread_mutex_lock(mutex.at());
                    std::thread::sleep(part);
                    libc::pthread_mutex_unlock(mutex.at());
                });
            };
            scope.spawn(holds);
            std::thread::sleep(Duration::from_millis(1));
            let time = in_two_seconds(libc::CLOCK_MONOTONIC);
            // SAFETY: as above.
            is_over_in_two_seconds(|| unsafe { pthread_mutex_clocklock(mutex.at(), libc::CLOCK_MONOTONIC, &time) });
        });
    });
}

#[test]
fn locks_of_c11_are_named() {
    let report = run(|| {
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        // SAFETY: room for a mutex of either kind.
        assert_eq!(unsafe { mtx_lock((&raw mut mutex).cast()) }, 2);
    });
    assert_eq!(report.outcome, Outcome::Leaked, "{}", report.message);
    assert!(report.message.contains("mtx_lock"), "{}", report.message);
}

fn set_of(signal: c_int) -> libc::sigset_t {
    // SAFETY: an all-zero set is an empty one.
    unsafe {
        let mut set = MaybeUninit::zeroed().assume_init();
        libc::sigaddset(&mut set, signal);
        set
    }
}

#[test]
fn a_signal_that_is_blocked_is_taken_by_who_waits_for_it() {
    let report = Sim::new(1).run(async || {
        let program = node("program").host(|| {
            let (set, mut taken) = (set_of(libc::SIGTERM), 0);
            // SAFETY: valid sets, room for a number, a time.
            unsafe {
                libc::pthread_sigmask(libc::SIG_BLOCK, &set, null_mut());
                let second = timespec { tv_sec: 1, tv_nsec: 0 };
                assert_eq!(libc::sigtimedwait(&set, null_mut(), &second), -1);
                assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EAGAIN));
                // One that comes while nobody waits stays pending; one that comes while somebody does ends the wait.
                std::thread::sleep(Duration::from_secs(2));
                for _ in 0..2 {
                    assert_eq!((libc::sigwait(&set, &mut taken), taken), (0, libc::SIGTERM));
                }
                libc::raise(libc::SIGTERM);
                let mut info: libc::siginfo_t = MaybeUninit::zeroed().assume_init();
                assert_eq!((libc::sigwaitinfo(&set, &mut info), info.si_signo), (libc::SIGTERM, libc::SIGTERM));
            }
        });
        for _ in 0..2 {
            time::sleep(Duration::from_secs(2)).await;
            program.terminate();
        }
        program.join().await;
        assert_eq!(time::elapsed().as_secs(), 4);
    });
    has_passed(&report);
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_blocked_signal_is_handled_once_it_is_let_through_and_ends_a_wait_for_any() {
    let report = Sim::new(1).run(async || {
        let program = node("program").host(|| {
            let set = set_of(libc::SIGUSR1);
            // SAFETY: a handler of the right type, and valid sets.
            unsafe {
                libc::signal(libc::SIGUSR1, count as *const () as usize);
                libc::pthread_sigmask(libc::SIG_BLOCK, &set, null_mut());
                libc::raise(libc::SIGUSR1);
                assert_eq!(HANDLED.load(Ordering::Relaxed), 0);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, null_mut());
                assert_eq!(HANDLED.load(Ordering::Relaxed), 1);
                libc::pthread_sigmask(libc::SIG_BLOCK, &set, null_mut());
                assert_eq!(libc::sigsuspend(&set_of(libc::SIGUSR2)), -1);
                assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
                assert_eq!(HANDLED.load(Ordering::Relaxed), 2);
                libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, null_mut());
                assert_eq!(libc::pause(), -1);
            }
            assert_eq!(HANDLED.load(Ordering::Relaxed), 3);
        });
        for _ in 0..2 {
            time::sleep(Duration::from_secs(1)).await;
            program.signal(libc::SIGUSR1);
        }
        program.join().await;
        assert_eq!(time::elapsed().as_secs(), 2);
    });
    has_passed(&report);
}
