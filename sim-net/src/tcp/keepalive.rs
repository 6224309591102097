//! Probes of idle connections: how a peer that lost its power is noticed at last.

use std::io;
use std::time::Duration;

use sim_core::{choice, device};

use super::{End, Handle};
use crate::kernel::{Due, Kernel};

/// When an idle connection is probed, and when it is given up (tcp(7), `TCP_KEEPIDLE`, `TCP_KEEPINTVL`, `TCP_KEEPCNT`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Keepalive {
    /// Idle for so long, it is probed.
    pub idle: Duration,
    /// The time from one probe to the next.
    pub interval: Duration,
    /// After so many probes without an answer it breaks with `ETIMEDOUT`.
    pub retries: u32,
}

impl Default for Keepalive {
    /// Two hours, 75 seconds, nine probes: what Linux has.
    fn default() -> Self {
        Keepalive { idle: Duration::from_secs(7_200), interval: Duration::from_secs(75), retries: 9 }
    }
}

impl Keepalive {
    /// Probes after `idle` and then each `interval`, `retries` times.
    pub fn new(idle: Duration, interval: Duration, retries: u32) -> Self {
        Keepalive { idle, interval, retries }
    }
}

/// A connection that is probed.
pub(crate) struct Watch {
    handle: Handle,
    keepalive: Keepalive,
    unanswered: u32,
}

fn nanos(duration: Duration) -> u64 {
    choice::nanos(duration).max(1)
}

impl Kernel {
    /// Probes an end from now on, or no more.
    pub(crate) fn set_keepalive(&mut self, handle: Handle, keepalive: Option<Keepalive>) {
        self.keepalives.retain(|_, watch| watch.handle != handle);
        if let Some(keepalive) = keepalive {
            self.connections.socket(handle.end).heard_at = device::now();
            let slot = self.keepalives.insert(Watch { handle, keepalive, unanswered: 0 }) as u32;
            self.at(device::now().saturating_add(nanos(keepalive.idle)), Due::Keepalive(slot));
        }
    }

    pub(crate) fn keepalive_due(&mut self, slot: u32) {
        let Some(Watch { handle, keepalive, unanswered }) = self.keepalives.get(slot as usize) else { return };
        let (handle, keepalive, unanswered) = (*handle, *keepalive, *unanswered);
        let Some(end) = self.end(handle).ok().filter(|end| !self.connections.socket(*end).broken) else {
            self.keepalives.remove(slot as usize);
            return;
        };
        let now = device::now();
        let next = self.connections.socket(end).heard_at.saturating_add(nanos(keepalive.idle));
        if unanswered == 0 && next > now {
            return self.at(next, Due::Keepalive(slot));
        }
        if unanswered >= keepalive.retries {
            self.keepalives.remove(slot as usize);
            return self.breaks(end, io::ErrorKind::TimedOut);
        }
        let answered = self.probe(end);
        if let Some(watch) = self.keepalives.get_mut(slot as usize) {
            watch.unanswered = if answered { 0 } else { unanswered + 1 };
        }
        let wait = if answered { keepalive.idle } else { keepalive.interval };
        self.at(now.saturating_add(nanos(wait)), Due::Keepalive(slot));
    }

    /// Whether a probe of the other end is answered.
    fn probe(&mut self, end: End) -> bool {
        let (out, back) = (self.connections.socket(end).link, self.connections.socket(end.peer()).link);
        if self.is_blocked(out) || self.links.get(out).loses() || self.is_blocked(back) || self.links.get(back).loses()
        {
            return false;
        }
        if self.connections.socket(end.peer()).forgotten {
            self.breaks(end, io::ErrorKind::ConnectionReset);
        } else {
            self.connections.socket(end).heard_at = device::now();
        }
        true
    }
}
