//! The keyed choice stream: the only place where random numbers are made.
//!
//! Every draw names its stream. `(seed, stream, entity)` selects one ChaCha8 stream, so a draw added in one place shifts
//! no other: a new packet on one link leaves every other link, disk and schedule as it was. Draws are integers; the
//! value 0 is always the boring one (first in line, least latency, no fault), which is what a shrinking driver steers
//! towards.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::Seed;
use crate::hash::{fold, hash_str};

/// The name of a family of choices. The set is open: a device brings its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stream {
    name: &'static str,
    hash: u64,
}

impl Stream {
    /// Shape of the run: sizes, options, whether `buggify!` is on. Entity: none (0).
    pub const CONFIG: Stream = Stream::new("config");
    /// Which ready task runs next. Entity: none (0).
    pub const SCHEDULE: Stream = Stream::new("schedule");
    /// Offsets and rates of clocks. Entity: the node.
    pub const CLOCK: Stream = Stream::new("clock");
    /// What the test itself draws. Entity: the node it draws on.
    pub const WORKLOAD: Stream = Stream::new("workload");
    /// What generators of faults draw. Entity: the fault's place in the plan.
    pub const FAULT: Stream = Stream::new("fault");
    /// Whether a `buggify!` site is active and fires. Entity: the site.
    pub const BUGGIFY: Stream = Stream::new("buggify");
    /// What a program gets that asks its operating system for randomness. Entity: the node.
    pub const ENTROPY: Stream = Stream::new("entropy");

    /// A stream called `name`.
    pub const fn new(name: &'static str) -> Self {
        Stream { name, hash: hash_str(name) }
    }

    /// The name it was given.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// Which choice is being made: the `occurrence`-th of `entity` on `stream`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Label {
    /// The family of choices.
    pub stream: Stream,
    /// The node, link or site it is made for.
    pub entity: u64,
    /// How many choices this stream of this entity made before.
    pub occurrence: u64,
}

/// Decides choices in place of chance: replay, swarm, PCT, exhaustive search and shrinking are drivers.
pub trait Driver {
    /// Decides one choice below `bound`. `random` is what chance proposes; the answer must be below `bound` too.
    fn choose(&mut self, label: Label, bound: u64, random: u64) -> u64;
}

/// A probability as a fraction of integers, equal on every platform.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Ratio {
    /// Chances for.
    pub numerator: u32,
    /// Out of so many; never zero.
    pub denominator: u32,
}

impl Ratio {
    /// Never.
    pub const ZERO: Ratio = Ratio::new(0, 1);
    /// Always.
    pub const ONE: Ratio = Ratio::new(1, 1);

    /// `numerator` in `denominator`.
    ///
    /// # Panics
    /// When the denominator is zero or the fraction is more than one.
    #[track_caller]
    pub const fn new(numerator: u32, denominator: u32) -> Self {
        assert!(denominator > 0, "a Ratio needs a denominator above zero");
        assert!(numerator <= denominator, "a Ratio is a probability: at most one");
        Ratio { numerator, denominator }
    }

    /// So many per cent.
    #[track_caller]
    pub const fn percent(percent: u32) -> Self {
        Ratio::new(percent, 100)
    }
}

/// The root of all choices of one run.
pub(crate) struct Choices {
    master: ChaCha8Rng,
    driver: Option<Rc<RefCell<dyn Driver>>>,
}

impl Choices {
    pub(crate) fn new(seed: Seed, driver: Option<Rc<RefCell<dyn Driver>>>) -> Self {
        Choices { master: ChaCha8Rng::seed_from_u64(seed.0), driver }
    }

    pub(crate) fn stream(&self, stream: Stream, entity: u64) -> Draws {
        let mut rng = self.master.clone();
        rng.set_stream(fold(stream.hash, entity));
        Draws { rng, label: Label { stream, entity, occurrence: 0 }, driver: self.driver.clone() }
    }
}

/// One stream of choices, owned by whoever draws from it.
pub struct Draws {
    rng: ChaCha8Rng,
    label: Label,
    driver: Option<Rc<RefCell<dyn Driver>>>,
}

impl Draws {
    /// A number below `bound`, all equally likely (Lemire, "Fast Random Integer Generation in an Interval", 2019).
    /// A bound of 0 or 1 leaves nothing to choose: 0, and nothing is drawn.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let random = self.uniform(bound);
        match &self.driver {
            None => random,
            Some(driver) => {
                let choice = driver.borrow_mut().choose(self.label, bound, random);
                self.label.occurrence += 1;
                assert!(choice < bound, "a driver chose {choice} where only {bound} choices exist");
                choice
            }
        }
    }

    #[inline]
    fn uniform(&mut self, bound: u64) -> u64 {
        if let Ok(bound) = u32::try_from(bound) {
            loop {
                let product = u64::from(self.rng.next_u32()) * u64::from(bound);
                // The division is rarely needed.
                if product as u32 >= bound || product as u32 >= bound.wrapping_neg() % bound {
                    return product >> 32;
                }
            }
        }
        loop {
            let product = u128::from(self.rng.next_u64()) * u128::from(bound);
            if product as u64 >= bound || product as u64 >= bound.wrapping_neg() % bound {
                return (product >> 64) as u64;
            }
        }
    }

    /// A number of the range; its start when the range is empty.
    #[inline]
    pub fn range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// A duration of the range, to the nanosecond.
    #[inline]
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        Duration::from_nanos(self.range(nanos(range.start)..nanos(range.end)))
    }

    /// A number with the exponential distribution of this mean; 0 when 0 is drawn. Computed in integers: the logarithm by
    /// repeated squaring (Knuth, The Art of Computer Programming 1, 1.2.2, exercise 25).
    pub fn exponential(&mut self, mean: u64) -> u64 {
        const LN_2: u128 = 2_977_044_472;
        let left = (1_u64 << 32) - self.below(1 << 32);
        let whole = left.ilog2();
        let (mut mantissa, mut log) = (left << (63 - whole), u64::from(whole) << 24);
        for bit in (0..24).rev() {
            let square = (u128::from(mantissa) * u128::from(mantissa)) >> 63;
            if square >> 64 != 0 {
                log |= 1 << bit;
                mantissa = (square >> 1) as u64;
            } else {
                mantissa = square as u64;
            }
        }
        // 32 less the logarithm, in 2^-24, times ln 2, in 2^-32, times the mean.
        let halvings = u128::from((32_u64 << 24) - log);
        let logarithm = (halvings * LN_2) >> 24;
        u64::try_from((logarithm * u128::from(mean)) >> 32).unwrap_or(u64::MAX)
    }

    /// True with the given probability. Never draws when the answer is certain.
    #[inline]
    pub fn chance(&mut self, probability: Ratio) -> bool {
        match (probability.numerator, probability.denominator) {
            (0, _) => false,
            (n, d) if n >= d => true,
            (n, d) => self.below(u64::from(d)) >= u64::from(d - n),
        }
    }

    /// Fills `buffer` with random bytes. Entropy is no choice: a driver is not asked.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.rng.fill_bytes(buffer);
    }
}

/// Nanoseconds of a duration, at most `u64::MAX` (584 years).
#[inline]
pub fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_draws(seed: u64, stream: Stream, entity: u64) -> Vec<u64> {
        let mut draws = Choices::new(Seed(seed), None).stream(stream, entity);
        (0..8).map(|_| draws.below(1_000_000)).collect()
    }

    #[test]
    fn streams_entities_and_seeds_are_independent() {
        let base = first_draws(1, Stream::WORKLOAD, 0);
        assert_eq!(base, first_draws(1, Stream::WORKLOAD, 0));
        assert_ne!(base, first_draws(2, Stream::WORKLOAD, 0));
        assert_ne!(base, first_draws(1, Stream::WORKLOAD, 1));
        assert_ne!(base, first_draws(1, Stream::CLOCK, 0));
    }

    #[test]
    fn the_numbers_of_a_seed_never_change() {
        // Pinned: a change here breaks every recorded seed.
        let pinned = [388887, 902776, 792609, 334040, 124901, 837394, 79065, 483294];
        assert_eq!(first_draws(42, Stream::SCHEDULE, 0), pinned);
    }

    #[test]
    fn a_chance_comes_out_about_as_often_as_it_says() {
        let mut draws = Choices::new(Seed(7), None).stream(Stream::CLOCK, 0);
        let hits = (0..10_000).filter(|_| draws.chance(Ratio::new(1, 4))).count();
        assert!((2_300..2_700).contains(&hits), "{hits}");
        assert!(!(0..1_000).any(|_| draws.chance(Ratio::ZERO)));
        assert!((0..1_000).all(|_| draws.chance(Ratio::ONE)));
    }

    #[test]
    fn exponential_numbers_have_their_mean_and_their_tail() {
        let mut draws = Choices::new(Seed(3), None).stream(Stream::CLOCK, 0);
        let drawn: Vec<u64> = (0..20_000).map(|_| draws.exponential(1_000)).collect();
        let mean = drawn.iter().sum::<u64>() / 20_000;
        let tail = drawn.iter().filter(|n| **n > 3_000).count();
        assert!((980..1_020).contains(&mean) && (900..1_100).contains(&tail), "{mean} {tail}");
    }

    #[test]
    fn a_driver_decides_and_sees_the_label() {
        struct Boring(Vec<Label>);
        impl Driver for Boring {
            fn choose(&mut self, label: Label, _bound: u64, _random: u64) -> u64 {
                self.0.push(label);
                0
            }
        }
        let driver = Rc::new(RefCell::new(Boring(Vec::new())));
        let mut draws = Choices::new(Seed(1), Some(driver.clone())).stream(Stream::SCHEDULE, 3);
        assert_eq!([draws.below(10), draws.range(5..9), draws.below(1)], [0, 5, 0]);
        assert!(!draws.chance(Ratio::percent(99)), "the boring answer is no");
        let seen: Vec<_> = driver.borrow().0.iter().map(|l| (l.stream.name(), l.entity, l.occurrence)).collect();
        assert_eq!(seen, [("schedule", 3, 0), ("schedule", 3, 1), ("schedule", 3, 2)]);
    }
}
