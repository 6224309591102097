//! Distributions of durations, drawn in integers.

use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Ratio;
use crate::choice::{Draws, nanos};
use crate::units::Span;

/// A distribution of durations. Each draw of 0 is the shortest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Spread {
    /// Always the same.
    Fixed(Span),
    /// Any of a range, all equally likely.
    Uniform {
        /// The shortest.
        min: Span,
        /// What none reaches.
        max: Span,
    },
    /// At least `min`, and `mean` on average: most are short, some are long.
    Exponential {
        /// The shortest.
        min: Span,
        /// The average.
        mean: Span,
    },
    /// Fast as a rule, and slow now and then.
    Bimodal {
        /// As a rule.
        fast: Span,
        /// Now and then.
        slow: Span,
        /// How often now and then is.
        slow_probability: Ratio,
    },
    /// One of these, all equally likely: for what was measured.
    Samples(Vec<Span>),
}

impl Spread {
    /// At least `min`, and `mean` on average.
    pub fn exponential(min: Duration, mean: Duration) -> Self {
        Spread::Exponential { min: Span(min), mean: Span(mean) }
    }

    /// Draws one.
    #[inline]
    pub fn draw(&self, draws: &mut Draws) -> Duration {
        Duration::from_nanos(self.draw_nanos(draws))
    }

    /// Draws one, in nanoseconds.
    #[inline]
    pub fn draw_nanos(&self, draws: &mut Draws) -> u64 {
        match self {
            Spread::Fixed(span) => nanos(span.0),
            Spread::Uniform { min, max } => draws.range(nanos(min.0)..nanos(max.0)),
            Spread::Exponential { min, mean } => {
                nanos(min.0).saturating_add(draws.exponential(nanos(mean.0.saturating_sub(min.0))))
            }
            Spread::Bimodal { fast, slow, slow_probability } => {
                nanos(if draws.chance(*slow_probability) { slow.0 } else { fast.0 })
            }
            Spread::Samples(samples) => {
                let place = draws.below(samples.len() as u64) as usize;
                samples.get(place).map_or(0, |span| nanos(span.0))
            }
        }
    }

    /// The shortest that can be drawn.
    pub fn min(&self) -> Duration {
        match self {
            Spread::Fixed(span) | Spread::Uniform { min: span, .. } | Spread::Exponential { min: span, .. } => span.0,
            Spread::Bimodal { fast, slow, .. } => fast.0.min(slow.0),
            Spread::Samples(samples) => samples.iter().map(|span| span.0).min().unwrap_or_default(),
        }
    }
}

impl From<Duration> for Spread {
    fn from(duration: Duration) -> Self {
        Spread::Fixed(Span(duration))
    }
}

impl From<Range<Duration>> for Spread {
    fn from(range: Range<Duration>) -> Self {
        Spread::Uniform { min: Span(range.start), max: Span(range.end) }
    }
}
