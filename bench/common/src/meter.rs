//! What a case takes: real time, processor time, memory.

use rustix::time::{ClockId, clock_gettime};

/// A measurement that has begun.
#[must_use = "a measurement is over when it is finished"]
pub struct Meter {
    wall_ns: u64,
    cpu_ns: u64,
}

impl Meter {
    /// Begins.
    pub fn start() -> Self {
        Meter { wall_ns: now(ClockId::Monotonic), cpu_ns: now(ClockId::ProcessCPUTime) }
    }

    /// Ends it: a JSON object in one line.
    pub fn finish(self, operations: u64) -> String {
        let wall_ns = now(ClockId::Monotonic) - self.wall_ns;
        let cpu_ns = now(ClockId::ProcessCPUTime) - self.cpu_ns + children_ns();
        let peak_rss_kib = peak_rss_kib();
        format!(
            "{{\"operations\":{operations},\"wall_ns\":{wall_ns},\"cpu_ns\":{cpu_ns},\"peak_rss_kib\":{peak_rss_kib}}}"
        )
    }
}

/// The time on a clock in nanoseconds. Simulators replace libc's clocks, and some also `syscall`; rustix uses neither.
fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)).expect("a clock after its epoch")
}

/// The most memory this process has had resident.
fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux, with /proc");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line VmHWM");
    peak.trim().trim_end_matches("kB").trim().parse().expect("kibibytes")
}

/// The processor time of the children this process has waited for, in steps of ten milliseconds.
fn children_ns() -> u64 {
    const TICK_NS: u64 = 10_000_000;
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux, with /proc");
    let (_, fields) = stat.rsplit_once(')').expect("the name of the program in brackets");
    // Fields 16 and 17 of proc(5), the name being the second.
    let ticks = fields.split_whitespace().skip(13).take(2).map(|field| field.parse::<u64>().expect("ticks"));
    ticks.sum::<u64>() * TICK_NS
}
