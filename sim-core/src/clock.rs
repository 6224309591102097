//! The two clocks of a node: what it believes about the one true time of the simulation.
//!
//! The monotonic clock runs at a rate and never goes back. The wall clock is the true time plus an offset, which can
//! step either way and drift. Timers follow the monotonic clock; a deadline computed from the wall clock is the bug
//! that these two exist to find.

use std::time::{Duration, SystemTime};

use crate::choice::nanos;
use crate::node::NodeId;
use crate::world::{self, World};

/// What wall clocks show when a simulation starts: 2026-01-01T00:00:00Z, in seconds since the Unix epoch.
pub const EPOCH_SECONDS: u64 = 1_767_225_600;

const MILLION: u128 = 1_000_000;

/// How the clocks of one node stand to the true time. All in nanoseconds.
pub(crate) struct NodeClock {
    rate_ppm: u32,
    rate_since: Pair,
    offset: i128,
    drift_ppm: i32,
    drift_since: u64,
}

/// One instant on both scales.
#[derive(Clone, Copy, Default)]
struct Pair {
    true_time: u64,
    local: u64,
}

impl Default for NodeClock {
    fn default() -> Self {
        NodeClock { rate_ppm: 1_000_000, rate_since: Pair::default(), offset: 0, drift_ppm: 0, drift_since: 0 }
    }
}

impl NodeClock {
    /// The monotonic clock at a true time.
    #[inline]
    pub(crate) fn local(&self, true_time: u64) -> u64 {
        let elapsed = true_time - self.rate_since.true_time;
        if self.rate_ppm == 1_000_000 {
            return self.rate_since.local + elapsed;
        }
        self.rate_since.local + (u128::from(elapsed) * u128::from(self.rate_ppm) / MILLION) as u64
    }

    /// The first true time at which the monotonic clock shows at least `local`.
    #[inline]
    pub(crate) fn true_time_of(&self, local: u64) -> u64 {
        let ahead = local.saturating_sub(self.rate_since.local);
        if self.rate_ppm == 1_000_000 {
            return self.rate_since.true_time.saturating_add(ahead);
        }
        let elapsed = (u128::from(ahead) * MILLION).div_ceil(u128::from(self.rate_ppm));
        self.rate_since.true_time.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// The wall clock at a true time: nanoseconds since the Unix epoch, never before it.
    pub(crate) fn wall(&self, true_time: u64) -> u64 {
        let drifted = i128::from(true_time - self.drift_since) * i128::from(self.drift_ppm) / MILLION as i128;
        let epoch = i128::from(EPOCH_SECONDS) * 1_000_000_000;
        u64::try_from((epoch + i128::from(true_time) + self.offset + drifted).max(0)).unwrap_or(u64::MAX)
    }

    fn set_rate(&mut self, now: u64, rate_ppm: u32) {
        self.rate_since = Pair { true_time: now, local: self.local(now) };
        self.rate_ppm = rate_ppm;
    }

    fn set_drift(&mut self, now: u64, drift_ppm: i32) {
        let before = self.wall(now);
        (self.drift_ppm, self.drift_since) = (drift_ppm, now);
        self.offset += i128::from(before) - i128::from(self.wall(now));
    }
}

/// The clocks of one node, to be set wrong.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    pub(crate) node: NodeId,
}

impl Clock {
    /// Sets the wall clock forward by `by`.
    pub fn step_forward(self, by: Duration) {
        self.step(i128::from(nanos(by)));
    }

    /// Sets the wall clock back by `by`.
    pub fn step_back(self, by: Duration) {
        self.step(-i128::from(nanos(by)));
    }

    /// Lets the wall clock drift from now on, in parts per million of true time; 0 stops the drift where it is.
    pub fn drift_ppm(self, ppm: i32) {
        self.change("clock.drift", ppm as u64, |clock, now| clock.set_drift(now, ppm));
    }

    /// Runs the monotonic clock at `ppm` parts per million of true time from now on, and every timer of the node with
    /// it. 1,000,000 is right.
    ///
    /// # Panics
    /// Outside 500,000 to 2,000,000.
    #[track_caller]
    pub fn rate_ppm(self, ppm: u32) {
        assert!((500_000..=2_000_000).contains(&ppm), "a clock rate is 500,000 to 2,000,000 ppm, not {ppm}");
        self.change("clock.rate", u64::from(ppm), |clock, now| clock.set_rate(now, ppm));
        world::with("node(..).clock()", |world| world.replan_timers(self.node));
    }

    fn step(self, by: i128) {
        self.change("clock.step", by as u64, |clock, _| clock.offset += by);
    }

    fn change(self, what: &'static str, amount: u64, apply: impl FnOnce(&mut NodeClock, u64)) {
        world::with("node(..).clock()", |world| {
            world.emit_at(self.node, what, &[amount], || (amount as i64).to_string());
            apply(&mut world.nodes.borrow_mut()[self.node].clock, world.now());
        });
    }
}

/// The wall clock of the current node.
pub(crate) fn wall_now(world: &World) -> SystemTime {
    let wall = world.nodes.borrow()[world.current_node()].clock.wall(world.now());
    SystemTime::UNIX_EPOCH + Duration::from_nanos(wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_shows_more_and_its_timers_come_early() {
        let mut clock = NodeClock::default();
        clock.set_rate(1_000, 2_000_000);
        assert_eq!(clock.local(1_500), 2_000);
        assert_eq!(clock.true_time_of(2_000), 1_500);
    }

    #[test]
    fn the_first_true_time_of_a_reading_shows_that_reading() {
        let mut clock = NodeClock::default();
        for (at, rate) in [(10, 700_003), (5_000, 1_999_999), (90_001, 500_000), (400_000, 1_000_000)] {
            clock.set_rate(at, rate);
            for local in clock.local(at)..clock.local(at) + 300 {
                let shown = clock.true_time_of(local);
                assert!(clock.local(shown) >= local);
                assert!(shown == at || clock.local(shown - 1) < local);
            }
        }
    }

    #[test]
    fn a_drift_starts_and_stops_without_a_step() {
        let mut clock = NodeClock::default();
        let second = 1_000_000_000;
        let start = clock.wall(0);
        clock.set_drift(second, 1_000);
        assert_eq!(clock.wall(second) - start, second);
        clock.set_drift(3 * second, 0);
        assert_eq!(clock.wall(3 * second) - start, 3 * second + 2_000_000);
        assert_eq!(clock.wall(9 * second) - start, 9 * second + 2_000_000);
    }
}
