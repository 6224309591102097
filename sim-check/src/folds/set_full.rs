//! A set that is read again and again: when each element came, stayed, or was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Fold, evidence, some};
use crate::history::Moment;
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks adds of single elements and reads of all of them, as Jepsen's `set-full` does.
///
/// An element is *known* from the end of its add or of the first read that found it. It is *stable* if the
/// last read to begin that found it began after the last that did not, *lost* if a read that began after it
/// was known missed it and none that began later found it, and else *never read*. Lost elements break the
/// promise, and so do elements that a read finds twice (Jepsen means to report those and does not). Without
/// any stable element nothing is decided.
pub fn set_full() -> SetFull {
    SetFull {
        linearizable: false,
        elements: BTreeMap::new(),
        reads: Vec::new(),
        open: BTreeMap::new(),
        twice: BTreeSet::new(),
        last: None,
    }
}

/// The check that [`set_full()`] makes.
#[derive(Clone, Debug)]
pub struct SetFull {
    linearizable: bool,
    elements: BTreeMap<Value, Element>,
    /// When each read was invoked, in the order of their ends.
    reads: Vec<Moment>,
    open: BTreeMap<u64, Moment>,
    twice: BTreeSet<Value>,
    last: Option<ClientEvent>,
}

#[derive(Clone, Debug)]
struct Element {
    known: Option<Moment>,
    /// How many reads had ended when it was added.
    first: u32,
    /// The reads that found it.
    found: Vec<u32>,
}

/// What became of the elements of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetReport {
    /// How many elements somebody tried to add.
    pub attempts: usize,
    /// How many were found by all reads from some time on.
    pub stable: usize,
    /// Elements that were there and are no more.
    pub lost: Vec<Value>,
    /// Elements that no read after they were known looked for.
    pub never_read: Vec<Value>,
    /// Stable elements that some read missed a millisecond or more after they were known, and after how many.
    pub stale: Vec<(Value, u64)>,
    /// Elements that one read found more than once.
    pub duplicated: Vec<Value>,
    /// Milliseconds until stable elements were stable: least, median, 95 %, 99 %, most.
    pub stable_latencies_ms: Option<[u64; 5]>,
    /// Milliseconds until lost elements were lost, likewise.
    pub lost_latencies_ms: Option<[u64; 5]>,
}

enum Fate {
    Stable(u64),
    Lost(u64),
    NeverRead,
}

impl SetFull {
    /// Demands that the set is linearizable: elements that are found late break the promise too.
    pub fn linearizable(mut self) -> Self {
        self.linearizable = true;
        self
    }

    /// What became of the elements so far.
    pub fn report(&self) -> SetReport {
        let mut order: Vec<u32> = (0..self.reads.len() as u32).collect();
        order.sort_by_key(|read| std::cmp::Reverse(self.reads[*read as usize].index));
        let mut report = SetReport { attempts: self.elements.len(), ..SetReport::default() };
        let (mut stable, mut lost) = (Vec::new(), Vec::new());
        for (value, element) in &self.elements {
            match self.fate(element, &order) {
                Fate::NeverRead => report.never_read.push(value.clone()),
                Fate::Lost(latency) => {
                    report.lost.push(value.clone());
                    lost.push(latency);
                }
                Fate::Stable(latency) => {
                    stable.push(latency);
                    if latency > 0 {
                        report.stale.push((value.clone(), latency));
                    }
                }
            }
        }
        report.stable = stable.len();
        report.duplicated = self.twice.iter().cloned().collect();
        (report.stable_latencies_ms, report.lost_latencies_ms) = (quantiles(stable), quantiles(lost));
        report
    }

    fn fate(&self, element: &Element, latest_first: &[u32]) -> Fate {
        let mut found = element.found.iter().map(|read| self.reads[*read as usize]);
        let present = found.next().map(|first| found.fold(first, Moment::max));
        let missed = |read: &&u32| **read >= element.first && element.found.binary_search(read).is_err();
        let absent = latest_first.iter().find(missed).map(|read| self.reads[*read as usize]);
        let after = |last: Option<Moment>, known: Moment| {
            let time = last.map_or(0, |last| last.time + 1);
            time.saturating_sub(known.time) / 1_000_000
        };
        match (element.known, present, absent) {
            (Some(known), Some(present), _) if absent.is_none_or(|absent| absent.index < present.index) => {
                Fate::Stable(after(absent, known))
            }
            (Some(known), _, Some(absent)) if known.index < absent.index => Fate::Lost(after(present, known)),
            _ => Fate::NeverRead,
        }
    }

    fn read(&mut self, event: &ClientEvent, found: &[Value]) {
        let number = self.reads.len() as u32;
        self.reads.push(self.open.remove(&event.process).unwrap_or(event.moment));
        for value in found {
            let Some(element) = self.elements.get_mut(value) else { continue };
            if element.found.last() == Some(&number) {
                self.twice.insert(value.clone());
                continue;
            }
            element.known.get_or_insert(event.moment);
            element.found.push(number);
        }
        self.last = Some(event.clone());
    }

    fn problem(&self, report: &SetReport) -> Option<String> {
        let mut story = String::new();
        let mut tell = |count: usize, values: &mut dyn Iterator<Item = &Value>, what: &str| {
            if count > 0 {
                let comma = if story.is_empty() { "" } else { "; " };
                let _ = write!(story, "{comma}{what} {}", some(values));
            }
        };
        tell(report.lost.len(), &mut report.lost.iter(), "lost:");
        tell(report.duplicated.len(), &mut report.duplicated.iter(), "found twice by one read:");
        if self.linearizable {
            tell(report.stale.len(), &mut report.stale.iter().map(|(value, _)| value), "found too late:");
        }
        (!story.is_empty()).then_some(story)
    }
}

impl Fold for SetFull {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        match (event.f.as_str(), event.phase, &event.value) {
            ("add", Phase::Invoke, value) => {
                let first = self.reads.len() as u32;
                let element = Element { known: None, first, found: Vec::new() };
                self.elements.insert(value.clone(), element);
            }
            ("add", Phase::Ok, value) => {
                if let Some(element) = self.elements.get_mut(value) {
                    element.known.get_or_insert(event.moment);
                }
            }
            ("read", Phase::Invoke, _) => drop(self.open.insert(event.process, event.moment)),
            ("read", Phase::Ok, Value::List(found)) => self.read(event, found),
            ("read", Phase::Ok, Value::Nil) => self.read(event, &[]),
            _ => {}
        }
        None
    }

    fn finish(&mut self) -> Verdict {
        let report = self.report();
        if let (Some(problem), Some(last)) = (self.problem(&report), &self.last) {
            let counts = format!("{} of {} elements were stable", report.stable, report.attempts);
            let sentence = format!("the set does not keep what it was given: {problem} ({counts})");
            return Verdict::Invalid(Box::new(evidence(last, sentence)));
        }
        match report.stable {
            0 => Verdict::Unknown("no element was stable: add some, and read them".to_string()),
            _ => Verdict::Valid,
        }
    }
}

/// The least, the median, 95 %, 99 % and the most.
fn quantiles(mut values: Vec<u64>) -> Option<[u64; 5]> {
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    Some([0, 50, 95, 99, 100].map(|percent| values[(values.len() * percent / 100).min(last)]))
}
