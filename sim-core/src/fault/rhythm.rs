//! Faults that come again: episodes, Poisson processes, flip-flops, and swizzles over several nodes.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::{Fault, Plan};
use crate::spread::Spread;
use crate::units::Span;
use crate::workload::random;

/// When a fault comes again, and for how long each time. Everything is drawn as the time comes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rhythm {
    /// The time before each firing: since the one before ended where `lasting` is set, since it began otherwise.
    pub gap: Spread,
    /// How long each lasts; as long as the fault says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Spread>,
    /// Nothing comes before this time.
    #[serde(default)]
    pub from: Span,
    /// Nothing comes from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Span>,
    /// How often at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

impl Rhythm {
    /// Lasts for `on`, then is away for `off`, and so on: the shortest of `off` is the stability that a system needs to
    /// recover.
    pub fn episodes(on: impl Into<Spread>, off: impl Into<Spread>) -> Self {
        Rhythm { gap: off.into(), lasting: Some(on.into()), from: Span::default(), until: None, times: None }
    }

    /// Comes at random moments, `mean` apart on average, whether or not the one before is over.
    pub fn poisson(mean: Duration) -> Self {
        let gap = Spread::exponential(Duration::ZERO, mean);
        Rhythm { gap, lasting: None, from: Span::default(), until: None, times: None }
    }

    /// On for a period, off for a period.
    pub fn flip_flop(period: Duration) -> Self {
        Rhythm::episodes(period, period)
    }

    /// Only between these times.
    pub fn window(mut self, window: Range<Duration>) -> Self {
        (self.from, self.until) = (Span(window.start), Some(Span(window.end)));
        self
    }

    /// At most so often.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}

impl fmt::Display for Rhythm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.times.map_or_else(|| "again and again".to_string(), |times| format!("at most {times} times"));
        f.write_str(&times)?;
        match self.until {
            Some(until) => write!(f, " from {} to {until}", self.from),
            None if self.from != Span::default() => write!(f, " from {}", self.from),
            None => Ok(()),
        }
    }
}

/// One fault for each target that begin one after another and end in another order, all within a window: what heals in a
/// different order than it broke finds what a clean partition does not (FoundationDB calls it swizzling).
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn swizzle(targets: &[&str], window: Range<Duration>, fault: impl Fn(&str) -> Fault) -> Plan {
    let middle = window.start + (window.end - window.start) / 2;
    let mut plan = Plan::new();
    for target in targets {
        let (begins, ends) = (random().duration(window.start..middle), random().duration(middle..window.end));
        plan = plan.at(begins, fault(target).lasting(ends - begins));
    }
    plan
}
