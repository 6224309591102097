//! How fast the device is, and what is on its way through it.

use std::time::Duration;

use sim_core::{Span, Spread};

/// How fast devices are. What is not limited takes no time: by default only an fsync does, as long as
/// [`Options::fsync_latency_min`](crate::Options) says.
///
/// Reads of what is cached and writes into the cache never take any. What reaches the device does, on the face that
/// awaits: reads that miss the cache, writes with O_DIRECT and O_DSYNC, fsyncs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Performance {
    /// Pages that the device reads and writes in a second.
    pub iops: Option<u64>,
    /// Bytes that it reads and writes in a second.
    pub bytes_per_second: Option<u64>,
    /// For how long it may go beyond both after it was idle for as long, as volumes with credits do.
    pub burst: Duration,
    /// How many operations it works on at once; the others wait for their turn.
    pub queue_depth: Option<usize>,
    /// How long it works on one operation that is no fsync.
    pub latency: Option<Spread>,
}

const fn exponential(min: Duration, mean: Duration) -> Option<Spread> {
    Some(Spread::Exponential { min: Span(min), mean: Span(mean) })
}

impl Performance {
    /// A fast solid-state disk: half a million pages a second, 2 GB/s, 64 operations at once, of 80 microseconds each.
    pub const fn nvme() -> Self {
        Performance {
            iops: Some(500_000),
            bytes_per_second: Some(2_000_000_000),
            burst: Duration::ZERO,
            queue_depth: Some(64),
            latency: exponential(Duration::from_micros(20), Duration::from_micros(80)),
        }
    }

    /// A network volume: 3000 pages a second, 125 MB/s, as the baseline of a cloud has it, with credits for a minute.
    pub const fn network() -> Self {
        Performance {
            iops: Some(3_000),
            bytes_per_second: Some(125_000_000),
            burst: Duration::from_secs(60),
            queue_depth: Some(32),
            latency: exponential(Duration::from_micros(400), Duration::from_millis(1)),
        }
    }

    /// A spinning disk: 150 pages a second, 150 MB/s, one operation at a time, of eight milliseconds.
    pub const fn spinning() -> Self {
        Performance {
            iops: Some(150),
            bytes_per_second: Some(150_000_000),
            burst: Duration::ZERO,
            queue_depth: Some(1),
            latency: exponential(Duration::from_millis(2), Duration::from_millis(8)),
        }
    }

    /// How long the device works on so many pages, in nanoseconds.
    fn work(&self, pages: u64) -> u64 {
        let time =
            |units: u64, rate: Option<u64>| rate.map_or(0, |rate| units.saturating_mul(1_000_000_000) / rate.max(1));
        time(pages, self.iops).max(time(pages.saturating_mul(4096), self.bytes_per_second))
    }

    /// Whether operations that are no fsync take time.
    #[inline]
    pub(crate) fn is_limited(&self) -> bool {
        self.iops.is_some() || self.bytes_per_second.is_some() || self.latency.is_some()
    }
}

/// What the device of a machine has been given.
#[derive(Default)]
pub(crate) struct Queue {
    /// When it will have done what it has been given, by its rates.
    busy_until: u64,
    /// When each of its places is free, where their number is limited.
    places: Vec<u64>,
}

impl Queue {
    /// When an operation on so many pages that begins now is done. Everything takes so many `times` as long.
    pub(crate) fn done(&mut self, now: u64, pages: u64, latency: u64, times: u64, speed: &Performance) -> u64 {
        let burst = speed.burst.as_nanos() as u64;
        let work = speed.work(pages).saturating_mul(times);
        self.busy_until = self.busy_until.max(now.saturating_sub(burst)).saturating_add(work);
        let ready = self.busy_until.max(now);
        let latency = latency.saturating_mul(times);
        let Some(depth) = speed.queue_depth else { return ready.saturating_add(latency) };
        self.places.resize(depth.max(1), 0);
        let next = self.places.iter_mut().min();
        next.map_or(ready, |place| {
            *place = ready.max(*place).saturating_add(latency);
            *place
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn credits_are_spent_before_the_rate_holds() {
        let speed = Performance { iops: Some(100), burst: Duration::from_secs(1), ..Performance::default() };
        let mut queue = Queue::default();
        let mut done = |now: u64, pages: u64| queue.done(now, pages, 0, 1, &speed);
        assert_eq!([done(SECOND, 60), done(SECOND, 40), done(SECOND, 50)], [SECOND, SECOND, SECOND * 3 / 2]);
        assert_eq!(done(10 * SECOND, 100), 10 * SECOND, "it was idle for more than a second");
    }

    #[test]
    fn what_finds_no_place_waits_for_one() {
        let speed = Performance { queue_depth: Some(2), ..Performance::default() };
        let mut queue = Queue::default();
        let done: Vec<u64> = (0..5).map(|_| queue.done(0, 1, 10, 1, &speed)).collect();
        assert_eq!(done, [10, 10, 20, 20, 30]);
    }

    #[test]
    fn what_is_slow_is_slow_in_every_respect() {
        let speed = Performance { iops: Some(100), ..Performance::default() };
        assert_eq!(Queue::default().done(0, 100, 7, 3, &speed), 3 * (SECOND + 7));
    }
}
