//! How fast the device is, and what makes it slow for a while.

use std::time::Duration;

use sim_core::fault::{FaultId, matches, observed};

/// How fast devices are. What is not limited takes no time beside the latency of an fsync.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Performance {
    /// Pages that the device writes in a second.
    pub iops: Option<u64>,
    /// Bytes that it writes in a second.
    pub bytes_per_second: Option<u64>,
}

impl Performance {
    /// A fast solid-state disk: half a million pages a second, 2 GB/s.
    pub const fn nvme() -> Self {
        Performance { iops: Some(500_000), bytes_per_second: Some(2_000_000_000) }
    }

    /// A network volume: 3000 pages a second, 125 MB/s, as the baseline of a cloud has it.
    pub const fn network() -> Self {
        Performance { iops: Some(3_000), bytes_per_second: Some(125_000_000) }
    }

    /// A spinning disk: 150 pages a second, 150 MB/s.
    pub const fn spinning() -> Self {
        Performance { iops: Some(150), bytes_per_second: Some(150_000_000) }
    }

    /// How long the device works on so many pages, in nanoseconds.
    fn work(&self, pages: u64) -> u64 {
        let time =
            |units: u64, rate: Option<u64>| rate.map_or(0, |rate| units.saturating_mul(1_000_000_000) / rate.max(1));
        time(pages, self.iops).max(time(pages.saturating_mul(4096), self.bytes_per_second))
    }
}

/// A device that is slow for a while.
pub(crate) struct Slowness {
    pub(crate) id: FaultId,
    pub(crate) pattern: String,
    pub(crate) times: u64,
}

/// What the device of a machine is doing.
#[derive(Default)]
pub(crate) struct Queue {
    busy_until: u64,
    pub(crate) slow: Vec<Slowness>,
    /// It answers nothing before this time.
    pub(crate) stalled_until: u64,
    pub(crate) stall: FaultId,
}

impl Queue {
    /// When an fsync of so many pages that begins now is done.
    pub(crate) fn done(&mut self, now: u64, path: &str, pages: u64, latency: Duration, speed: &Performance) -> u64 {
        let mut times = 1;
        for slow in self.slow.iter().filter(|slow| matches(&slow.pattern, path)) {
            observed(slow.id);
            times *= slow.times;
        }
        let latency = (latency.as_nanos() as u64).saturating_mul(times);
        self.busy_until = self.busy_until.max(now).saturating_add(speed.work(pages).saturating_mul(times));
        if self.stalled_until > now {
            observed(self.stall);
        }
        self.busy_until.saturating_add(latency).max(self.stalled_until)
    }
}
