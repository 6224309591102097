//! Simulated time, with tokio's names. Everything here reads the monotonic clock of the node that calls.

use std::fmt;
use std::future::Future;
use std::ops::{Add, AddAssign, Sub};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use pin_project::pin_project;

use crate::agenda::TimerKey;
use crate::choice::nanos;
use crate::clock;
use crate::tasks::Wait;
use crate::world;

/// A reading of a node's monotonic clock. Readings of different nodes do not compare, as on real machines.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The monotonic clock of the current node.
    ///
    /// # Panics
    /// Outside a simulation.
    #[track_caller]
    #[inline]
    pub fn now() -> Self {
        world::with("time::Instant::now", |world| {
            world.pay_for_read();
            world.see_clock();
            Instant(local_now(world))
        })
    }

    /// Time since this reading; zero when it is in the future.
    #[track_caller]
    pub fn elapsed(self) -> Duration {
        Instant::now().duration_since(self)
    }

    /// Time from `earlier` to this reading; zero when `earlier` is later.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Duration::from_nanos(self.0), f)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(duration)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, duration: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanos(duration)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

#[inline]
fn local_now(world: &world::World) -> u64 {
    world.nodes.borrow()[world.current_node()].clock.local(world.now())
}

/// The wall clock of the current node. It may be wrong, and it may go back.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn wall_clock() -> SystemTime {
    world::with("time::wall_clock", |world| {
        world.pay_for_read();
        world.see_clock();
        clock::wall_now(world)
    })
}

/// The true time since the start of the simulation. For tests and reports; a node has only its clocks.
#[track_caller]
pub fn elapsed() -> Duration {
    world::with("time::elapsed", |world| Duration::from_nanos(world.now()))
}

/// Waits for `duration` on the monotonic clock of the current node.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(world::with("time::sleep", |world| Instant(local_now(world))) + duration)
}

/// Waits until the monotonic clock of the current node shows `deadline`.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, timer: None, world: 0 }
}

/// The future of [`sleep`].
#[must_use = "a sleep does nothing until it is awaited"]
pub struct Sleep {
    deadline: Instant,
    timer: Option<TimerKey>,
    /// The world that the timer is set in.
    world: u64,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether that has come.
    pub fn is_elapsed(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Waits for another deadline from now on.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.deadline = deadline;
    }

    fn cancel(&mut self) {
        if let Some(timer) = self.timer.take() {
            let ours = |world: &world::World| world.id == self.world;
            let waker = world::try_with(|world| ours(world).then(|| world.agenda.borrow_mut().cancel(timer)));
            drop(waker);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        world::with("time::sleep", |world| {
            let deadline = self.deadline.0;
            if local_now(world) >= deadline {
                return Poll::Ready(());
            }
            // Wakers are cloned and dropped where nothing is borrowed: both may be code of a user.
            let waker = cx.waker().clone();
            let set = self.timer.as_ref().filter(|_| self.world == world.id);
            let old = match set {
                Some(timer) => world.agenda.borrow_mut().rewake(timer, waker),
                None => Err(waker),
            };
            if let Err(waker) = old {
                // Not set, or fired by the clock of the node it was set on, which need not be this one.
                self.timer = Some(world.add_timer(deadline, waker));
                self.world = world.id;
            }
            world.waiting.set(Wait::Sleep { local_deadline: deadline });
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sleep(until {:?})", self.deadline)
    }
}

/// Gives `future` at most `duration`.
///
/// # Errors
/// [`Elapsed`] when it took longer; the future is dropped then.
#[track_caller]
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(duration) }
}

/// Gives `future` until `deadline`; see [`timeout`].
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

/// The future of [`timeout`].
#[must_use = "a timeout does nothing until it is awaited"]
#[pin_project]
pub struct Timeout<F> {
    #[pin]
    future: F,
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed(())))
    }
}

/// A [`timeout`] ran out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Ticks at once and then every `period`.
///
/// # Panics
/// When `period` is zero, or outside a simulation.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval needs a period above zero");
    Interval { next: sleep_until(Instant::now()), period, missed: MissedTickBehavior::Burst }
}

/// What an [`Interval`] does about ticks that nobody waited for; as in tokio.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// Makes up for them as fast as it can.
    #[default]
    Burst,
    /// Counts the period from the late tick on.
    Delay,
    /// Leaves them out and keeps its phase.
    Skip,
}

/// Ticks at a period; see [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and returns when it was due.
    pub async fn tick(&mut self) -> Instant {
        let due = self.next.deadline();
        std::future::poll_fn(|cx| Pin::new(&mut self.next).poll(cx)).await;
        let now = Instant::now();
        let next = match self.missed {
            MissedTickBehavior::Burst => due + self.period,
            MissedTickBehavior::Delay => now + self.period,
            MissedTickBehavior::Skip => {
                let behind = nanos(now - due) / nanos(self.period).max(1);
                due + Duration::from_nanos(nanos(self.period).saturating_mul(behind + 1))
            }
        };
        self.next.reset(next);
        due
    }

    /// The period.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Says what to do about missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}
