//! Timers as descriptors (timerfd_create(2)), as hosted programs have them.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what hosted programs use")]

mod kit;

use std::io::Error;
use std::time::{Duration, Instant};

use libc::{c_int, itimerspec, timespec};

use kit::passes;

const NEVER: Duration = Duration::ZERO;

fn errno() -> c_int {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn spec(time: Duration) -> timespec {
    timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos().into() }
}

struct Timer(c_int);

impl Timer {
    fn new(clock: c_int, flags: c_int) -> Result<Timer, c_int> {
        // SAFETY: plain numbers.
        let made = unsafe { libc::timerfd_create(clock, flags) };
        if made == -1 { Err(errno()) } else { Ok(Timer(made)) }
    }

    /// Sets it, and says how it stood.
    fn set(&self, flags: c_int, first: timespec, interval: timespec) -> Result<(Duration, Duration), c_int> {
        let (new, mut old) = (itimerspec { it_value: first, it_interval: interval }, nothing());
        // SAFETY: a setting, and room for one.
        let done = unsafe { libc::timerfd_settime(self.0, flags, &new, &mut old) };
        if done == -1 { Err(errno()) } else { Ok(both(old)) }
    }

    fn start(&self, first: Duration, interval: Duration) {
        self.set(0, spec(first), spec(interval)).unwrap();
    }

    fn stands(&self) -> (Duration, Duration) {
        let mut now = nothing();
        // SAFETY: room for a setting.
        assert_eq!(unsafe { libc::timerfd_gettime(self.0, &mut now) }, 0);
        both(now)
    }

    /// Reads how often it has expired.
    fn read(&self) -> Result<u64, c_int> {
        let mut expirations = 0u64;
        // SAFETY: eight bytes.
        let length = unsafe { libc::read(self.0, (&raw mut expirations).cast(), 8) };
        if length == 8 { Ok(expirations) } else { Err(errno()) }
    }
}

fn nothing() -> itimerspec {
    itimerspec { it_value: spec(NEVER), it_interval: spec(NEVER) }
}

fn both(setting: itimerspec) -> (Duration, Duration) {
    let time = |time: timespec| Duration::new(time.tv_sec as u64, time.tv_nsec as u32);
    (time(setting.it_value), time(setting.it_interval))
}

#[test]
fn a_read_waits_until_the_timer_expires_and_a_timer_expires_once() {
    passes(|| {
        let timer = Timer::new(libc::CLOCK_MONOTONIC, 0).unwrap();
        let start = Instant::now();
        timer.start(ms(30), NEVER);
        std::thread::sleep(ms(10));
        assert_eq!(timer.stands(), (ms(20), NEVER));
        assert_eq!((timer.read(), start.elapsed()), (Ok(1), ms(30)));
        assert_eq!(timer.stands(), (NEVER, NEVER));
    });
}

#[test]
fn a_read_tells_all_expirations_since_the_last() {
    passes(|| {
        let timer = Timer::new(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK).unwrap();
        timer.start(ms(10), ms(4));
        assert_eq!(timer.read(), Err(libc::EAGAIN));
        std::thread::sleep(ms(25));
        assert_eq!(timer.stands(), (ms(1), ms(4)));
        assert_eq!(timer.read(), Ok(4), "after 10, 14, 18 and 22 ms");
        assert_eq!(timer.read(), Err(libc::EAGAIN));
        std::thread::sleep(ms(1));
        assert_eq!(timer.read(), Ok(1));
        // What is set anew forgets what was not read.
        std::thread::sleep(ms(9));
        assert_eq!(timer.set(0, spec(NEVER), spec(NEVER)), Ok((ms(3), ms(4))));
        assert_eq!(timer.read(), Err(libc::EAGAIN));
    });
}

#[test]
fn a_timer_may_be_set_for_ever() {
    passes(|| {
        let timer = Timer::new(libc::CLOCK_REALTIME, libc::TFD_NONBLOCK).unwrap();
        let last = timespec { tv_sec: i64::MAX, tv_nsec: 999_999_999 };
        for flags in [0, libc::TFD_TIMER_ABSTIME] {
            timer.set(flags, last, last).unwrap();
            std::thread::sleep(ms(10));
            assert_eq!(timer.read(), Err(libc::EAGAIN));
            assert!(timer.stands().0 > ms(1_000_000));
        }
    });
}

#[test]
fn a_time_of_a_clock_may_have_passed() {
    passes(|| {
        for clock in [libc::CLOCK_MONOTONIC, libc::CLOCK_REALTIME, libc::CLOCK_BOOTTIME] {
            let timer = Timer::new(clock, 0).unwrap();
            let mut now = spec(NEVER);
            // SAFETY: room for a time.
            assert_eq!(unsafe { libc::clock_gettime(clock, &mut now) }, 0);
            let start = Instant::now();
            timer.set(libc::TFD_TIMER_ABSTIME, now, spec(NEVER)).unwrap();
            assert_eq!((timer.read(), start.elapsed()), (Ok(1), NEVER));
            now.tv_sec += 2;
            timer.set(libc::TFD_TIMER_ABSTIME, now, spec(NEVER)).unwrap();
            assert_eq!((timer.read(), start.elapsed()), (Ok(1), ms(2_000)));
        }
    });
}

#[test]
fn an_epoll_is_told_of_every_expiration() {
    passes(|| {
        let timer = Timer::new(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK).unwrap();
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 7 };
        // SAFETY: plain numbers, and a valid event.
        let epoll = unsafe {
            let epoll = libc::epoll_create1(0);
            assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, timer.0, &mut event), 0);
            epoll
        };
        // Set by another thread while this one waits.
        let other = Timer(timer.0);
        let setter = std::thread::spawn(move || {
            std::thread::sleep(ms(5));
            other.start(ms(10), ms(10));
        });
        let start = Instant::now();
        for after in [15, 25, 35] {
            // SAFETY: room for an event.
            assert_eq!(unsafe { libc::epoll_wait(epoll, &mut event, 1, -1) }, 1);
            assert_eq!(({ event.u64 }, start.elapsed()), (7, ms(after)), "though nobody reads");
        }
        setter.join().unwrap();
        assert_eq!(timer.read(), Ok(3));
        timer.start(NEVER, NEVER);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::epoll_wait(epoll, &mut event, 1, 50) }, 0);
    });
}

/// What Linux refuses.
fn refusals() -> Vec<Option<c_int>> {
    let timer = Timer::new(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC).unwrap();
    let set = |flags, first| timer.set(flags, first, spec(NEVER)).err();
    let mut short = [0u8; 4];
    // SAFETY: room of the length that is said; null where a call must notice it; plain numbers.
    unsafe {
        let counter = libc::eventfd(0, 0);
        let mut said = vec![
            Timer::new(libc::CLOCK_PROCESS_CPUTIME_ID, 0).err(),
            Timer::new(libc::CLOCK_MONOTONIC, 1).err(),
            set(0, timespec { tv_sec: 0, tv_nsec: 1_000_000_000 }),
            set(0, timespec { tv_sec: -1, tv_nsec: 0 }),
            set(1 << 20, spec(NEVER)),
            (libc::timerfd_settime(timer.0, 0, std::ptr::null(), std::ptr::null_mut()) == -1).then(errno),
            (libc::timerfd_gettime(counter, &mut nothing()) == -1).then(errno),
            (libc::read(timer.0, short.as_mut_ptr().cast(), 4) == -1).then(errno),
            (libc::write(timer.0, short.as_ptr().cast(), 4) == -1).then(errno),
        ];
        libc::close(timer.0);
        said.push((libc::timerfd_gettime(timer.0, &mut nothing()) == -1).then(errno));
        libc::close(counter);
        said
    }
}

#[test]
fn what_linux_refuses_is_refused() {
    let real = refusals();
    assert!(real.iter().all(Option::is_some));
    passes(move || assert_eq!(refusals(), real));
}
