//! The two clocks of a node: what it believes about the one true time of the simulation.
//!
//! The monotonic clock runs at a rate and never goes back. The wall clock is the true time plus an offset, which can
//! step either way and drift. Timers follow the monotonic clock; a deadline computed from the wall clock is the bug
//! that these two exist to find.

mod sine;

use std::time::{Duration, SystemTime};

use crate::choice::nanos;
use crate::fault::FaultId;
use crate::node::NodeId;
use crate::world::{self, Reading, World};

/// What wall clocks show when a simulation starts: 2026-01-01T00:00:00Z, in seconds since the Unix epoch.
pub const EPOCH_SECONDS: u64 = 1_767_225_600;

const MILLION: u128 = 1_000_000;

/// The rate of a clock that is right.
const RIGHT_PPM: u32 = 1_000_000;

/// How the clocks of one node stand to the true time. All in nanoseconds.
pub(crate) struct NodeClock {
    rates: Laid<u32>,
    /// The rate in force: the one laid last, but none where a clock stands.
    rate_ppm: u32,
    rate_since: Pair,
    offset: i128,
    drifts: Laid<i32>,
    /// The drift in force: of all together.
    drift_ppm: i64,
    drift_since: u64,
    wobbles: Laid<Wobble>,
    /// Faults of this clock that no program has seen yet, by reading it.
    pub(crate) unseen: Vec<FaultId>,
}

/// What faults laid on a clock, and the test itself under the default id: what ends one ends its own and no other's.
struct Laid<T>(Vec<(FaultId, T)>);

impl<T> Laid<T> {
    fn lay(&mut self, by: FaultId, what: T) {
        self.lift(by);
        self.0.push((by, what));
    }

    fn lift(&mut self, by: FaultId) {
        self.0.retain(|(who, _)| *who != by);
    }

    fn in_force(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|(_, what)| what)
    }
}

/// A movement of the wall clock that comes back by itself.
enum Wobble {
    /// Swings around the right time.
    Sine { amplitude: u64, period: u64, since: u64 },
    /// Jumps ahead and back.
    Strobe { ahead: u64, period: u64, since: u64 },
}

impl Wobble {
    fn offset(&self, true_time: u64) -> i128 {
        match *self {
            Wobble::Sine { amplitude, period, since } => sine::of(amplitude, true_time - since, period),
            Wobble::Strobe { ahead, period, since } => {
                i128::from(ahead) * i128::from(((true_time - since) / period).is_multiple_of(2))
            }
        }
    }
}

/// One instant on both scales.
#[derive(Clone, Copy, Default)]
struct Pair {
    true_time: u64,
    local: u64,
}

impl Default for NodeClock {
    fn default() -> Self {
        NodeClock {
            rates: Laid(Vec::new()),
            rate_ppm: RIGHT_PPM,
            rate_since: Pair::default(),
            offset: 0,
            drifts: Laid(Vec::new()),
            drift_ppm: 0,
            drift_since: 0,
            wobbles: Laid(Vec::new()),
            unseen: Vec::new(),
        }
    }
}

impl NodeClock {
    /// The monotonic clock at a true time.
    #[inline]
    pub(crate) fn local(&self, true_time: u64) -> u64 {
        let elapsed = true_time - self.rate_since.true_time;
        if self.rate_ppm == RIGHT_PPM {
            return self.rate_since.local + elapsed;
        }
        self.rate_since.local + (u128::from(elapsed) * u128::from(self.rate_ppm) / MILLION) as u64
    }

    /// The first true time at which the monotonic clock shows at least `local`.
    #[inline]
    pub(crate) fn true_time_of(&self, local: u64) -> u64 {
        let ahead = local.saturating_sub(self.rate_since.local);
        if self.rate_ppm == RIGHT_PPM {
            return self.rate_since.true_time.saturating_add(ahead);
        }
        if self.rate_ppm == 0 {
            return if ahead == 0 { self.rate_since.true_time } else { u64::MAX };
        }
        let elapsed = (u128::from(ahead) * MILLION).div_ceil(u128::from(self.rate_ppm));
        self.rate_since.true_time.saturating_add(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    /// The wall clock at a true time: nanoseconds since the Unix epoch, never before it.
    pub(crate) fn wall(&self, true_time: u64) -> u64 {
        let drifted = match self.drift_ppm {
            0 => 0,
            ppm => i128::from(true_time - self.drift_since) * i128::from(ppm) / MILLION as i128,
        };
        let epoch = i128::from(EPOCH_SECONDS) * 1_000_000_000;
        let wobbled: i128 = self.wobbles.in_force().map(|wobble| wobble.offset(true_time)).sum();
        u64::try_from((epoch + i128::from(true_time) + self.offset + drifted + wobbled).max(0)).unwrap_or(u64::MAX)
    }

    /// Whether it shows something else than the true time, or will.
    pub(crate) fn is_wrong(&self) -> bool {
        let steady = self.wobbles.0.is_empty() && self.drift_ppm == 0 && self.rate_ppm == RIGHT_PPM;
        !steady || self.offset != 0
    }

    fn change_rates(&mut self, now: u64, change: impl FnOnce(&mut Laid<u32>)) {
        self.rate_since = Pair { true_time: now, local: self.local(now) };
        change(&mut self.rates);
        let rates = || self.rates.in_force().copied();
        self.rate_ppm = rates().find(|rate| *rate == 0).or(rates().last()).unwrap_or(RIGHT_PPM);
    }

    fn change_drifts(&mut self, now: u64, change: impl FnOnce(&mut Laid<i32>)) {
        let before = self.wall(now);
        change(&mut self.drifts);
        (self.drift_ppm, self.drift_since) = (self.drifts.in_force().copied().map(i64::from).sum(), now);
        self.offset += i128::from(before) - i128::from(self.wall(now));
    }

    /// Sets the wall clock to the true time and lets it run right.
    fn reset(&mut self) {
        (self.offset, self.drift_ppm) = (0, 0);
        (self.drifts, self.wobbles) = (Laid(Vec::new()), Laid(Vec::new()));
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

    /// Lets the wall clock drift from now on, in parts per million of true time; 0 stops the drift where it is. The drifts
    /// of faults come on top, and end with these.
    pub fn drift_ppm(self, ppm: i32) {
        self.drift(ppm, FaultId::default());
    }

    /// Runs the monotonic clock at `ppm` parts per million of true time from now on, and every timer of the node with
    /// it. 1,000,000 is right.
    ///
    /// # Panics
    /// Outside 500,000 to 2,000,000.
    #[track_caller]
    pub fn rate_ppm(self, ppm: u32) {
        assert!((500_000..=2_000_000).contains(&ppm), "a clock rate is 500,000 to 2,000,000 ppm, not {ppm}");
        self.run_at(ppm, FaultId::default());
    }

    /// Swings the wall clock around where it is, by at most `amplitude`, once per `period`, until [`steady`](Clock::steady).
    ///
    /// # Panics
    /// When the period is zero.
    #[track_caller]
    pub fn sine(self, amplitude: Duration, period: Duration) {
        self.swing(amplitude, period, FaultId::default());
    }

    /// Jumps the wall clock `ahead` for a period, back for a period, and so on, until [`steady`](Clock::steady).
    ///
    /// # Panics
    /// When the period is zero.
    #[track_caller]
    pub fn strobe(self, ahead: Duration, period: Duration) {
        self.jump(ahead, period, FaultId::default());
    }

    /// Ends a [`sine`](Clock::sine) or a [`strobe`](Clock::strobe).
    pub fn steady(self) {
        self.end_wobble(FaultId::default());
    }

    /// Sets the wall clock to the true time and lets it run right, as a time daemon does that steps; what faults laid on
    /// it is over too.
    pub fn reset(self) {
        self.change("clock.reset", 0, |clock, _| clock.reset());
    }

    /// Ends all that is wrong with both clocks.
    pub(crate) fn repair(self) {
        if self.is_wrong() {
            self.reset();
            self.change_rates(u64::from(RIGHT_PPM), |rates| rates.0.clear());
        }
    }

    /// Whether it shows something else than the true time, or will.
    pub(crate) fn is_wrong(self) -> bool {
        world::with("node(..).clock()", |world| world.nodes.borrow()[self.node].clock.is_wrong())
    }

    /// Whether there were timers to move.
    pub(crate) fn run_at(self, ppm: u32, by: FaultId) -> bool {
        self.change_rates(u64::from(ppm), |rates| rates.lay(by, ppm))
    }

    pub(crate) fn end_rate(self, by: FaultId) {
        self.change_rates(u64::from(RIGHT_PPM), |rates| rates.lift(by));
    }

    pub(crate) fn drift(self, ppm: i32, by: FaultId) {
        self.change("clock.drift", ppm as u64, |clock, now| clock.change_drifts(now, |drifts| drifts.lay(by, ppm)));
    }

    pub(crate) fn end_drift(self, by: FaultId) {
        self.change("clock.drift", 0, |clock, now| clock.change_drifts(now, |drifts| drifts.lift(by)));
    }

    #[track_caller]
    pub(crate) fn swing(self, amplitude: Duration, period: Duration, by: FaultId) {
        let (amplitude, period) = (nanos(amplitude), positive(period));
        self.change("clock.sine", amplitude, |clock, since| {
            clock.wobbles.lay(by, Wobble::Sine { amplitude, period, since });
        });
    }

    #[track_caller]
    pub(crate) fn jump(self, ahead: Duration, period: Duration, by: FaultId) {
        let (ahead, period) = (nanos(ahead), positive(period));
        self.change("clock.strobe", ahead, |clock, since| {
            clock.wobbles.lay(by, Wobble::Strobe { ahead, period, since });
        });
    }

    pub(crate) fn end_wobble(self, by: FaultId) {
        self.change("clock.steady", 0, |clock, _| clock.wobbles.lift(by));
    }

    /// Lets `fault` count as observed by the next program that reads a clock of the node.
    pub(crate) fn watch(self, fault: FaultId) {
        self.with(|clock, _| clock.unseen.push(fault));
    }

    fn change_rates(self, ppm: u64, change: impl FnOnce(&mut Laid<u32>)) -> bool {
        self.change("clock.rate", ppm, |clock, now| clock.change_rates(now, change));
        world::with("node(..).clock()", |world| world.replan_timers(self.node))
    }

    fn step(self, by: i128) {
        self.change("clock.step", by as u64, |clock, _| clock.offset += by);
    }

    fn change(self, what: &'static str, amount: u64, apply: impl FnOnce(&mut NodeClock, u64)) {
        world::with("node(..).clock()", |world| {
            world.emit_at(self.node, what, &[amount], || (amount as i64).to_string());
        });
        self.with(apply);
    }

    fn with(self, f: impl FnOnce(&mut NodeClock, u64)) {
        world::with("node(..).clock()", |world| {
            world.reading.set(Reading::NONE);
            f(&mut world.nodes.borrow_mut()[self.node].clock, world.now());
        });
    }
}

#[track_caller]
fn positive(period: Duration) -> u64 {
    assert!(!period.is_zero(), "a clock cannot swing with a period of zero");
    nanos(period)
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
        clock.change_rates(1_000, |rates| rates.lay(FaultId::default(), 2_000_000));
        assert_eq!(clock.local(1_500), 2_000);
        assert_eq!(clock.true_time_of(2_000), 1_500);
    }

    #[test]
    fn the_first_true_time_of_a_reading_shows_that_reading() {
        let mut clock = NodeClock::default();
        for (at, rate) in [(10, 700_003), (5_000, 1_999_999), (90_001, 500_000), (400_000, 1_000_000)] {
            clock.change_rates(at, |rates| rates.lay(FaultId::default(), rate));
            for local in clock.local(at)..clock.local(at) + 300 {
                let shown = clock.true_time_of(local);
                assert!(clock.local(shown) >= local);
                assert!(shown == at || clock.local(shown - 1) < local);
            }
        }
    }

    #[test]
    fn a_sine_and_a_strobe_come_back_and_a_reset_ends_everything() {
        let mut clock = NodeClock::default();
        clock.wobbles.lay(FaultId::default(), Wobble::Sine { amplitude: 1_000, period: 400, since: 0 });
        let right = NodeClock::default();
        let off = |clock: &NodeClock, at| i128::from(clock.wall(at)) - i128::from(right.wall(at));
        assert_eq!([0, 100, 200, 300, 400].map(|at| off(&clock, at)), [0, 1_000, 0, -1_000, 0]);
        clock.wobbles.lay(FaultId::default(), Wobble::Strobe { ahead: 50, period: 10, since: 0 });
        assert_eq!([0, 9, 10, 19, 20].map(|at| off(&clock, at)), [50, 50, 0, 0, 50]);
        clock.reset();
        assert!(!clock.is_wrong());
    }

    #[test]
    fn a_drift_starts_and_stops_without_a_step() {
        let mut clock = NodeClock::default();
        let second = 1_000_000_000;
        let start = clock.wall(0);
        clock.change_drifts(second, |drifts| drifts.lay(FaultId::default(), 1_000));
        assert_eq!(clock.wall(second) - start, second);
        clock.change_drifts(3 * second, |drifts| drifts.lift(FaultId::default()));
        assert_eq!(clock.wall(3 * second) - start, 3 * second + 2_000_000);
        assert_eq!(clock.wall(9 * second) - start, 9 * second + 2_000_000);
    }

    #[test]
    fn each_fault_ends_what_it_laid_and_no_other() {
        let (mut clock, one, other) = (NodeClock::default(), FaultId(1), FaultId(2));
        clock.change_rates(0, |rates| rates.lay(one, 2_000_000));
        clock.change_rates(0, |rates| rates.lay(other, 500_000));
        clock.change_rates(1_000, |rates| rates.lift(one));
        assert_eq!(clock.local(2_000), 1_000);
        clock.change_rates(2_000, |rates| rates.lift(other));
        assert_eq!(clock.local(3_000), 2_000);
        clock.change_drifts(0, |drifts| drifts.lay(one, 300));
        clock.change_drifts(0, |drifts| drifts.lay(other, -100));
        assert_eq!(clock.drift_ppm, 200);
        clock.change_drifts(0, |drifts| drifts.lift(one));
        assert_eq!(clock.drift_ppm, -100);
    }
}
