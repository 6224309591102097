//! A run on a thread of its own, watched in real time.

#![expect(clippy::disallowed_types, reason = "a watchdog measures real time")]

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sim_core::{Failure, Outcome, Progress, Report};

/// How much real time a run may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// All of it.
    pub run: Duration,
    /// One poll of one task, which should take microseconds.
    pub poll: Duration,
}

impl Default for Limits {
    /// Five minutes for a run, ten seconds for a poll.
    fn default() -> Self {
        Limits { run: Duration::from_secs(300), poll: Duration::from_secs(10) }
    }
}

/// The stack of the thread that a simulation runs on.
const STACK: usize = 16 << 20;

/// Keeps what the making of this thread freed on it from being used again: that memory came from the thread that made it,
/// whose heap looks otherwise after every run, and the addresses that a run sees shall be the same.
fn forget_foreign_memory() {
    // The C library's heaps of threads lie at multiples of this (malloc/arena.c, HEAP_MAX_SIZE).
    let heap_of = |memory: &Vec<u8>| memory.as_ptr() as usize >> 26;
    let ours = heap_of(&Vec::with_capacity(4096));
    for size in (24..=248).step_by(16) {
        let parts: [Vec<u8>; 8] = std::array::from_fn(|_| Vec::with_capacity(size));
        parts.into_iter().filter(|part| heap_of(part) != ours).for_each(std::mem::forget);
    }
}

/// Runs `run` on a fresh thread and waits for its report. Fresh, because thread-local state (the keys of `HashMap`, the
/// generators of `rand` and `fastrand`) must not remember an earlier run.
///
/// # Errors
/// The failure that says which task did not return, or that the run took too long. The thread is left behind then.
pub fn watch(limits: Limits, run: impl FnOnce(Arc<Progress>) -> Report + Send + 'static) -> Result<Report, Failure> {
    let progress = Arc::new(Progress::default());
    let watched = progress.clone();
    let (done, waits) = sync_channel(1);
    let spawned = std::thread::Builder::new().name("sim".to_string()).stack_size(STACK).spawn(move || {
        forget_foreign_memory();
        let report = run(progress);
        let _ = done.send(report);
    });
    let thread = spawned.map_err(|error| Failure::new(Outcome::Panicked, format!("no thread for the run: {error}")))?;
    let (start, mut poll_start, mut polls) = (Instant::now(), Instant::now(), 0);
    loop {
        match waits.recv_timeout((limits.poll.min(limits.run) / 4).max(Duration::from_millis(1))) {
            Ok(report) => {
                let _ = thread.join();
                return Ok(report);
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(Outcome::Panicked, "the thread of the run died without a report"));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if watched.polls() != polls {
            (polls, poll_start) = (watched.polls(), Instant::now());
        }
        let stuck = if poll_start.elapsed() >= limits.poll {
            format!("a task has not returned from its poll for {:?} of real time: {}", limits.poll, watched.task())
        } else if start.elapsed() >= limits.run {
            format!("the run took more than {:?} of real time; running now: {}", limits.run, watched.task())
        } else {
            continue;
        };
        let advice = "It loops, computes or blocks without an .await; the limits are SIM_POLL_LIMIT and SIM_WALL_LIMIT (seconds)";
        return Err(Failure::new(Outcome::TimedOut, format!("{stuck}\n{advice}")));
    }
}
