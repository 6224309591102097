//! What a sweep found: failures in groups, expectations, marks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sim_core::{Outcome, Report, Seed};

use crate::arguments::Build;
use crate::catalog::Test;
use crate::text::{count, inline};

/// The findings of a sweep.
pub(crate) struct Tally {
    /// For each test.
    tests: Vec<Found>,
    /// Unexpected failures. The worst outcomes come first, and within one the tests in their order.
    groups: BTreeMap<(Outcome, usize, u64), Group>,
    seeds: u64,
    simulated: Duration,
    /// Of each kind of fault.
    faults: BTreeMap<String, Meter>,
}

/// In how many runs a kind of fault was armed, fired, and was met by a program.
#[derive(Default)]
struct Meter {
    armed: u64,
    fired: u64,
    observed: u64,
}

/// A kind of fault that fired in so many runs and was never met proves nothing.
const ENOUGH: u64 = 50;

impl Meter {
    fn is_idle(&self) -> bool {
        self.fired >= ENOUGH && self.observed == 0
    }
}

/// What was found of a test.
#[derive(Default)]
struct Found {
    seeds: u64,
    /// The run with the lowest seed that ended as the test expects.
    caught: Option<Report>,
    reached: BTreeSet<String>,
}

/// Failures of one test that are most likely one.
struct Group {
    count: u64,
    shortest: Report,
}

/// What a run means to its sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Meaning {
    /// Whether it passed, or ended as its test expects.
    pub(crate) expected: bool,
    /// Whether it is shown, unless a better one comes.
    pub(crate) shown: bool,
}

impl Tally {
    /// Nothing found yet.
    pub(crate) fn new(tests: usize) -> Self {
        let tests = (0..tests).map(|_| Found::default()).collect();
        Tally { tests, groups: BTreeMap::new(), seeds: 0, simulated: Duration::ZERO, faults: BTreeMap::new() }
    }

    /// Takes a run of the `index`-th test into account.
    pub(crate) fn add(&mut self, index: usize, expect: Option<Outcome>, report: &Report) -> Meaning {
        self.seeds += 1;
        self.simulated = self.simulated.saturating_add(Duration::from_nanos(report.sim_ns));
        self.meter(report);
        let found = &mut self.tests[index];
        found.seeds += 1;
        found.reached.extend(report.reached.iter().cloned());
        if report.passed() {
            return Meaning { expected: true, shown: false };
        }
        if expect == Some(report.outcome) {
            let shown = found.caught.as_ref().is_none_or(|caught| report.seed < caught.seed);
            if shown {
                found.caught = Some(report.clone());
            }
            return Meaning { expected: true, shown };
        }
        Meaning { expected: false, shown: self.group(index, report) }
    }

    fn meter(&mut self, report: &Report) {
        let mut kinds: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for fault in &report.faults {
            let (fired, observed) = kinds.entry(&fault.kind).or_default();
            *fired |= !fault.fired_ns.is_empty();
            *observed |= fault.observed > 0;
        }
        for (kind, (fired, observed)) in kinds {
            let meter = self.faults.entry(kind.to_string()).or_default();
            meter.armed += 1;
            meter.fired += u64::from(fired);
            meter.observed += u64::from(observed);
        }
    }

    /// Puts a failure into its group; whether it is the shortest there.
    fn group(&mut self, index: usize, report: &Report) -> bool {
        let key = (report.outcome, index, report.signature());
        let length = |report: &Report| (report.events, report.seed);
        let group = self.groups.entry(key).or_insert_with(|| Group { count: 0, shortest: report.clone() });
        group.count += 1;
        let shorter = length(report) < length(&group.shortest);
        if shorter {
            group.shortest = report.clone();
        }
        shorter || group.count == 1
    }

    /// Whether a run of the test has ended as it expects.
    pub(crate) fn is_caught(&self, index: usize) -> bool {
        self.tests[index].caught.is_some()
    }
}

/// A sweep as it is told at its end.
pub(crate) struct Story<'a> {
    /// The tests that were swept.
    pub(crate) tests: &'a [Test],
    /// The tests that there are.
    pub(crate) all: &'a [Test],
    /// What was found.
    pub(crate) tally: &'a Tally,
    /// What to build for a replay.
    pub(crate) build: &'a Build,
    /// Whether other machines have other parts of the sweep.
    pub(crate) partial: bool,
    /// The real time that this took.
    pub(crate) elapsed: Duration,
    /// How many of the seeds were run in that time.
    pub(crate) run_now: u64,
}

impl Story<'_> {
    /// All of it, and the exit code.
    pub(crate) fn tell(&self) -> (String, u8) {
        let parts = [self.failures(), self.expectations(), self.unreached(), self.meters(), self.totals()];
        let told = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n");
        let first = self.tally.groups.keys().next().map(|(outcome, ..)| *outcome);
        let idle = self.tally.faults.values().any(Meter::is_idle);
        let vacuous = !self.partial && (idle || self.missed().next().is_some());
        let worst = first.or(vacuous.then_some(Outcome::Vacuous));
        (told, worst.map_or(0, Outcome::exit_code))
    }

    fn failures(&self) -> String {
        let groups = self.tally.groups.iter().map(|((_, index, _), group)| {
            let (test, seeds) = (&self.tests[*index], count(self.tally.tests[*index].seeds, "seed"));
            let told = group.shortest.render(&test.next_steps(group.shortest.seed, self.build));
            format!("{told}  {} of {seeds} failed like this\n", group.count)
        });
        groups.collect::<Vec<_>>().join("\n")
    }

    fn expectations(&self) -> String {
        let mut out = String::new();
        for (test, found) in self.tests.iter().zip(&self.tally.tests) {
            let Some(report) = &found.caught else { continue };
            let (name, seed) = (&test.label, Seed(report.seed));
            let headline = inline(report.message.lines().next().unwrap_or_default());
            let [(label, command), _] = test.next_steps(report.seed, self.build);
            out += &format!("caught  {name}  {} with seed {seed}  ({})\n", report.outcome, count(found.seeds, "seed"));
            out += &format!("        {headline}\n        {label}: {command}\n");
        }
        for (test, outcome, seeds) in self.missed() {
            let elsewhere = if self.partial { " of this shard" } else { "" };
            let seeds = count(seeds, "seed");
            out += &format!("missed  {}  expected {outcome}, and none of {seeds}{elsewhere} was\n", test.label);
        }
        out
    }

    /// The tests that expect an outcome and have not had it, with their seeds.
    fn missed(&self) -> impl Iterator<Item = (&Test, Outcome, u64)> {
        let tests = self.tests.iter().zip(&self.tally.tests);
        let missed = tests.filter(|(_, found)| found.caught.is_none() && found.seeds > 0);
        missed.filter_map(|(test, found)| Some((test, test.info.expect?, found.seeds)))
    }

    /// Marks that no run of their executable has reached, where all its tests were swept.
    fn unreached(&self) -> String {
        let of = |tests: &[Test], executable| tests.iter().filter(|test| test.executable == executable).count();
        let whole = |test: &&Test| of(self.tests, test.executable) == of(self.all, test.executable);
        let mut marks: BTreeMap<usize, (&Test, BTreeSet<&String>)> = BTreeMap::new();
        for test in self.tests.iter().filter(whole) {
            marks.entry(test.executable).or_insert((test, BTreeSet::new())).1.extend(&test.info.marks);
        }
        for (test, found) in self.tests.iter().zip(&self.tally.tests) {
            marks.entry(test.executable).and_modify(|(_, marks)| marks.retain(|mark| !found.reached.contains(*mark)));
        }
        let mut out = String::new();
        for (test, marks) in marks.into_values() {
            for mark in marks {
                out += &format!("never reached by {} of {}: {}\n", test.target, test.info.package, inline(mark));
            }
        }
        out
    }

    /// How the faults fared.
    fn meters(&self) -> String {
        let mut out = String::new();
        if !self.tally.faults.is_empty() {
            out += &format!("{:<24}{:>10}{:>10}{:>10}   runs\n", "faults", "armed", "fired", "observed");
        }
        for (kind, Meter { armed, fired, observed }) in &self.tally.faults {
            out += &format!("{:<24}{armed:>10}{fired:>10}{observed:>10}\n", inline(kind));
        }
        for (kind, meter) in self.tally.faults.iter().filter(|(_, meter)| meter.is_idle()) {
            out += &format!("never observed: {} fired in {} runs, and no program met it\n", inline(kind), meter.fired);
        }
        out
    }

    fn totals(&self) -> String {
        let Tally { seeds, simulated, groups, .. } = self.tally;
        let failures = groups.values().map(|group| group.count).sum();
        let kinds = if groups.len() > 1 { format!(" of {} kinds", groups.len()) } else { String::new() };
        let rate = self.run_now as f64 / self.elapsed.as_secs_f64().max(0.001);
        format!(
            "{} of {}, {}{kinds}; {rate:.0} seeds/s, {} simulated\n",
            count(*seeds, "seed"),
            count(self.tests.len() as u64, "test"),
            count(failures, "failure"),
            indicatif::HumanDuration(*simulated)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_core::Failure;

    fn run(seed: u64, outcome: Outcome, message: &str, events: u64) -> Report {
        Report { events, ..Report::lost("t", Seed(seed), Failure::new(outcome, message)) }
    }

    #[test]
    fn the_order_in_which_jobs_finish_does_not_show() {
        let mut runs = [
            run(1, Outcome::Incorrect, "read 7", 50),
            run(2, Outcome::Incorrect, "read 8", 40),
            run(3, Outcome::Incorrect, "read 9", 40),
            run(4, Outcome::Panicked, "oh", 1),
            run(5, Outcome::Stuck, "as expected", 9),
            run(6, Outcome::Stuck, "as expected", 8),
        ];
        for _ in 0..runs.len() {
            runs.rotate_left(1);
            let mut tally = Tally::new(1);
            let expected = runs.iter().filter(|run| tally.add(0, Some(Outcome::Stuck), run).expected).count();
            let groups: Vec<(u64, u64)> = tally.groups.values().map(|g| (g.count, g.shortest.seed)).collect();
            assert_eq!((expected, groups), (2, vec![(3, 2), (1, 4)]));
            assert_eq!(tally.tests[0].caught.as_ref().map(|report| report.seed), Some(5));
        }
    }
}
