//! The progress bar.

use std::fmt;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::text::{count, remark};

/// Where standard error is no terminal, a line is written this often.
const PAUSE: Duration = Duration::from_secs(10);

/// How far a sweep is, on standard error.
pub(crate) struct Meter {
    bar: ProgressBar,
    failures: u64,
    spoke: Instant,
}

impl Meter {
    /// A sweep of `total` seeds that is about to begin.
    pub(crate) fn new(total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{bar:32} {human_pos}/{human_len} seeds  {rate}/s  {msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", rate);
        let bar = bar.with_style(style).with_message(count(0, "failure"));
        Meter { bar, failures: 0, spoke: Instant::now() }
    }

    /// A seed is done.
    pub(crate) fn advance(&mut self, failed: bool) {
        self.bar.inc(1);
        if failed {
            self.failures += 1;
            self.bar.set_message(count(self.failures, "failure"));
        }
        if self.bar.is_hidden() && self.spoke.elapsed() >= PAUSE {
            self.spoke = Instant::now();
            self.speak();
        }
    }

    fn speak(&self) {
        let (done, total) = (HumanCount(self.bar.position()), self.bar.length().unwrap_or(0));
        let (rate, failures) = (self.bar.per_sec(), count(self.failures, "failure"));
        remark(&format!("{done} of {}  {rate:.0}/s  {failures}", count(total, "seed")));
    }

    /// So many seeds will not be run after all.
    pub(crate) fn shorten(&self, by: u64) {
        self.bar.dec_length(by);
    }

    /// Takes the bar off the screen.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Whole seeds a second.
fn rate(state: &ProgressState, out: &mut dyn fmt::Write) {
    let _ = write!(out, "{:.0}", state.per_sec());
}
