//! How a run ended, and the report that says so.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Seed;
use crate::event::{Event, printable};
use crate::fault::{FaultReport, Plan};
use crate::hash::{fold, hash_str};
use crate::units::{seconds, thousands};

/// How a run ended. Each has an exit code, which `cargo sim replay` returns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// The test finished and every check held (exit code 0).
    Passed,
    /// A check, an invariant or a history was violated (3).
    Incorrect,
    /// A task panicked, a node's main returned an error, or the process was aborted (4).
    Panicked,
    /// Nothing can happen any more, time stands still, or the simulated time limit was reached (5).
    Stuck,
    /// Two runs of one seed differ (6).
    Nondeterministic,
    /// The program reached the real clock, entropy, a thread or the real network (7).
    Leaked,
    /// A task did not return from its poll, or the run took too long, in real time (8).
    TimedOut,
    /// Nothing was tested: a fault that was asked for never fired, or a checker saw no operation (9).
    Vacuous,
}

impl Outcome {
    /// The exit code of this outcome. 1 is left to an internal error, 2 to wrong usage.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Passed => 0,
            Outcome::Incorrect => 3,
            Outcome::Panicked => 4,
            Outcome::Stuck => 5,
            Outcome::Nondeterministic => 6,
            Outcome::Leaked => 7,
            Outcome::TimedOut => 8,
            Outcome::Vacuous => 9,
        }
    }

    /// All outcomes but [`Outcome::Passed`].
    pub const FAILURES: [Outcome; 7] = [
        Outcome::Incorrect,
        Outcome::Panicked,
        Outcome::Stuck,
        Outcome::Nondeterministic,
        Outcome::Leaked,
        Outcome::TimedOut,
        Outcome::Vacuous,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Passed => "passed",
            Outcome::Incorrect => "incorrect",
            Outcome::Panicked => "panicked",
            Outcome::Stuck => "stuck",
            Outcome::Nondeterministic => "nondeterministic",
            Outcome::Leaked => "leaked",
            Outcome::TimedOut => "timed out",
            Outcome::Vacuous => "vacuous",
        })
    }
}

/// Why a run did not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What kind of failure.
    pub outcome: Outcome,
    /// What happened, in words: the first line is the headline, the rest is evidence.
    pub message: String,
}

impl Failure {
    /// A failure of a kind, with its evidence.
    pub fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Failure { outcome, message: message.into() }
    }
}

/// Everything a run leaves behind; one JSON line in the results of a sweep.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The test, as Cargo names it; empty for a simulation that was run by hand.
    #[serde(default)]
    pub test: String,
    /// The seed.
    #[serde(with = "hex")]
    pub seed: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it did not pass; empty when it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Simulated nanoseconds.
    pub sim_ns: u64,
    /// Events in the log.
    pub events: u64,
    /// The digest over all events.
    #[serde(with = "hex")]
    pub digest: u64,
    /// The faults of the plan, with when they fired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultReport>,
    /// What struck in a run that did not pass, as a plan that strikes the same way again.
    #[serde(default, skip_serializing_if = "Plan::is_empty")]
    pub struck: Plan,
    /// The `sometimes!` and `reachable!` marks that were reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<String>,
    /// What the program under test printed, when the run was isolated and did not pass or was recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// The events in words, when the run was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<Event>>,
}

impl Report {
    /// A report of a run that ended before it could make one: killed, aborted, out of time.
    pub fn lost(test: &str, seed: Seed, failure: Failure) -> Self {
        Report {
            test: test.to_string(),
            seed: seed.0,
            outcome: failure.outcome,
            message: failure.message,
            sim_ns: 0,
            events: 0,
            digest: 0,
            faults: Vec::new(),
            struck: Plan::new(),
            reached: Vec::new(),
            output: String::new(),
            log: None,
        }
    }

    /// Whether the run passed.
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }

    /// Groups failures that are most likely one: the outcome and the headline without its numbers and addresses.
    pub fn signature(&self) -> u64 {
        let headline = self.message.lines().next().unwrap_or("");
        let mut plain = String::new();
        for c in headline.chars() {
            let digit = c.is_ascii_digit();
            if !(digit && plain.ends_with('#')) {
                plain.push(if digit { '#' } else { c });
            }
        }
        fold(hash_str(&self.test), fold(self.outcome as u64, hash_str(&plain)))
    }

    /// The report for a reader, with the lines to type next. `next` are pairs such as `("replay", "cargo sim ..")`.
    pub fn render(&self, next: &[(&str, String)]) -> String {
        let name = if self.test.is_empty() { "the simulation" } else { &self.test };
        let mut out = format!("{name}: {} at {} of simulated time\n", self.outcome, seconds(self.sim_ns));
        out +=
            &format!("  seed {}   {} events   digest {:016x}\n", Seed(self.seed), thousands(self.events), self.digest);
        for line in printable(&self.message).lines() {
            out += &format!("  {line}\n");
        }
        let fired: Vec<String> =
            self.faults.iter().filter(|fault| !fault.fired_ns.is_empty()).map(ToString::to_string).collect();
        if !fired.is_empty() {
            out += &format!("  faults that fired: {}\n", printable(&fired.join("; ")));
        }
        if !self.output.is_empty() {
            out += "  the program printed:\n";
            printable(&self.output).lines().for_each(|line| out += &format!("    {line}\n"));
        }
        for (label, command) in next {
            out += &format!("  {:<9}{command}\n", format!("{label}:"));
        }
        out
    }
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{number:#x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_prefix("0x").ok_or_else(|| serde::de::Error::custom("expected 0x and hex digits"))?;
        u64::from_str_radix(digits, 16).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(message: &str) -> Report {
        Report::lost("a_test", Seed(7), Failure::new(Outcome::Incorrect, message))
    }

    #[test]
    fn a_report_survives_its_json_line() {
        let original = report("read 7\nafter 9");
        let line = serde_json::to_string(&original).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Report>(&line).unwrap(), original);
    }

    #[test]
    fn failures_that_differ_in_numbers_share_a_signature() {
        assert_eq!(report("read 7 of k12").signature(), report("read 1234 of k3").signature());
        assert_ne!(report("read 7 of k12").signature(), report("lost 7 of k12").signature());
    }

    #[test]
    fn exit_codes_are_distinct_and_leave_one_and_two_free() {
        let mut codes: Vec<u8> = Outcome::FAILURES.iter().map(|outcome| outcome.exit_code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Outcome::FAILURES.len());
        assert!(codes[0] > 2);
    }
}
