//! Timers as descriptors (timerfd_create(2)): they run by a clock of their node, right or wrong as it is.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use sim_core::ambient;
use sim_core::time::{self, Sleep};

use super::descriptor::{Io, Object};

/// When a timer expires first, and then again and again; zero is never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Setting {
    pub(crate) first: Duration,
    pub(crate) interval: Duration,
}

/// A timer.
pub(crate) struct Timer {
    /// It runs by the wall clock.
    wall: bool,
    /// The first time at which it expires, or did, that no read has told. On its clock.
    due: Cell<Option<Duration>>,
    /// Zero: it expires once.
    interval: Cell<Duration>,
    /// What wakes at the next time at which it expires, and that time.
    alarm: RefCell<Option<(Duration, Pin<Box<Sleep>>)>>,
}

impl Timer {
    pub(crate) fn new(wall: bool) -> Self {
        Timer { wall, due: Cell::default(), interval: Cell::default(), alarm: RefCell::default() }
    }

    fn now(&self) -> Duration {
        let now = if self.wall { ambient::wall_ns() } else { ambient::monotonic_ns() };
        Duration::from_nanos(now.unwrap_or(0))
    }

    /// How often it has expired and no read has told.
    fn expirations(&self, now: Duration) -> u64 {
        let late = self.due.get().and_then(|due| now.checked_sub(due));
        let again = |late: Duration| late.as_nanos().checked_div(self.interval.get().as_nanos()).unwrap_or(0);
        late.map_or(0, |late| 1 + again(late) as u64)
    }

    /// After so many expirations.
    fn due_after(&self, expirations: u64) -> Option<Duration> {
        let interval = self.interval.get();
        let due = self.due.get().filter(|_| expirations == 0 || !interval.is_zero())?;
        let passed = interval.as_nanos().saturating_mul(expirations.into());
        Some(due + Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX)))
    }

    /// Lets `waker` be woken when it expires next.
    fn wake_next(&self, waker: &Waker) {
        let now = self.now();
        let next = self.due_after(self.expirations(now));
        let mut alarm = self.alarm.borrow_mut();
        let Some(next) = next else { return *alarm = None };
        // A wall clock that goes slow, or went back, is not there yet when an alarm rings.
        for _ in 0..2 {
            if alarm.as_ref().is_none_or(|(at, _)| *at != next) {
                *alarm = Some((next, Box::pin(time::sleep(next - now))));
            }
            let polled = alarm.as_mut().map(|(_, sleep)| sleep.as_mut().poll(&mut Context::from_waker(waker)));
            if polled.is_none_or(|polled| polled.is_pending()) {
                return;
            }
            *alarm = None;
        }
    }

    /// How it stands: how long until it expires, 0 where it does not any more, and its interval.
    pub(crate) fn setting(&self) -> Setting {
        let now = self.now();
        let next = self.due_after(self.expirations(now));
        Setting { first: next.map_or(Duration::ZERO, |next| next - now), interval: self.interval.get() }
    }

    /// Sets it anew. `absolute`: the first time is one of its clock, and not from now on.
    pub(crate) fn set(&self, new: Setting, absolute: bool) {
        let from = if absolute { Duration::ZERO } else { self.now() };
        self.due.set((!new.first.is_zero()).then(|| from.saturating_add(new.first)));
        self.interval.set(new.interval);
        drop(self.alarm.take());
    }
}

impl Object for Timer {
    fn read(&self, buffer: &mut [u8], waker: &Waker) -> Io<usize> {
        let buffer = buffer.first_chunk_mut::<8>().ok_or(libc::EINVAL)?;
        let expirations = self.expirations(self.now());
        if expirations == 0 {
            self.wake_next(waker);
            return Err(libc::EAGAIN);
        }
        self.due.set(self.due_after(expirations));
        *buffer = expirations.to_ne_bytes();
        Ok(8)
    }

    fn ready(&self, waker: &Waker) -> u32 {
        self.wake_next(waker);
        super::pipe::bits(self.expirations(self.now()) > 0, libc::EPOLLIN)
    }

    fn as_timer(&self) -> Option<&Timer> {
        Some(self)
    }
}
