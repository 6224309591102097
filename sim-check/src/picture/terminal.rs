//! A few lines for a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Band, witnesses};
use crate::verdict::{Evidence, Verdict, Witness};

/// How wide an event is, at most; how wide all are, and how many operations are shown.
const CELL: usize = 5;
const WIDTH: usize = 60;
const SHOWN: usize = 24;

/// The operations that show what is wrong, a line each, or the steps of a cycle; nothing if nothing is wrong.
///
/// Control characters are shown and not sent.
pub fn terminal(verdict: &Verdict) -> String {
    timeline(verdict, &[])
}

/// Like [`terminal`], with those of the faults below the operations that were there at the same time.
pub fn timeline(verdict: &Verdict, faults: &[Band]) -> String {
    let Some(evidence) = verdict.evidence() else { return String::new() };
    let mut lines = operations(evidence, faults);
    for tie in &evidence.ties {
        let reason = printable(&tie.reason);
        let _ = writeln!(lines, "T{} ──{}──▶ T{}  {reason}", tie.from + 1, tie.kind, tie.to + 1);
    }
    lines
}

fn operations(evidence: &Evidence, faults: &[Band]) -> String {
    let mut shown = witnesses(evidence);
    let more = shown.len().saturating_sub(SHOWN);
    shown.drain(..more);
    let events: BTreeSet<u64> = shown
        .iter()
        .flat_map(|witness| [Some(witness.invoked), witness.acknowledged])
        .flatten()
        .map(|at| at.index)
        .collect();
    let places: BTreeMap<u64, usize> = events.iter().copied().zip(0..).collect();
    let cell = (WIDTH / places.len().max(1)).clamp(1, CELL);
    let width = places.len().saturating_sub(1) * cell;
    let names: Vec<String> = shown.iter().map(|witness| name(evidence, witness)).collect();
    let margin = names.iter().map(String::len).max().unwrap_or(0);
    let mut lines = String::new();
    if more > 0 {
        let _ = writeln!(lines, "({more} earlier operations are not shown)");
    }
    for (witness, name) in shown.iter().zip(&names) {
        let from = places[&witness.invoked.index] * cell;
        let to = witness.acknowledged.map_or(width, |at| places[&at.index] * cell);
        let bar = match witness.acknowledged {
            Some(_) if to > from => format!("├{}┤", "─".repeat((to - from).saturating_sub(2))),
            Some(_) => "│".to_string(),
            None => format!("├{}", "─".repeat(to.saturating_sub(from + 2)) + "…"),
        };
        let space = (width + 2).saturating_sub(from + bar.chars().count()).max(2);
        let what = printable(&witness.what);
        let why = remark(evidence, witness);
        let _ = writeln!(lines, "{name:margin$} {:from$}{bar}{:space$}{what}{why}", "", "");
    }
    let place = |index: u64| events.range(..index).count().min(places.len().saturating_sub(1)) * cell;
    let beside = |band: &&Band| {
        let (first, last) = (events.first().copied().unwrap_or(0), events.last().copied().unwrap_or(0));
        band.from.index <= last && band.to.is_none_or(|to| to.index > first)
    };
    let (beside, others): (Vec<&Band>, Vec<&Band>) = faults.iter().partition(beside);
    for band in beside.iter().take(SHOWN) {
        let from = place(band.from.index);
        let wide = band.to.map_or(width + 1, |to| place(to.index)).saturating_sub(from).max(1);
        let space = (width + 2).saturating_sub(from + wide).max(2);
        let _ = writeln!(
            lines,
            "{:margin$} {:from$}{}{:space$}{}",
            "fault",
            "",
            "▒".repeat(wide),
            "",
            printable(&band.what)
        );
    }
    let untold = others.len() + beside.len().saturating_sub(SHOWN);
    if untold > 0 {
        let _ = writeln!(lines, "({untold} faults at other times are not shown)");
    }
    lines
}

fn name(evidence: &Evidence, witness: &Witness) -> String {
    let all = [&evidence.failed].into_iter().chain(&evidence.involved);
    match all.into_iter().position(|other| other == witness).filter(|_| !evidence.ties.is_empty()) {
        Some(place) => format!("T{} client-{}", place + 1, witness.process),
        None => format!("client-{}", witness.process),
    }
}

fn remark(evidence: &Evidence, witness: &Witness) -> String {
    if *witness != evidence.failed || !evidence.ties.is_empty() {
        return String::new();
    }
    let needed = evidence.needed.as_ref().map_or_else(String::new, |needed| format!(": {}", printable(needed)));
    format!("  << cannot be explained{needed}")
}

/// Text without what would move a cursor, and no more of it than fits.
fn printable(text: &str) -> String {
    const FITS: usize = 100;
    let cut = text.chars().count() > FITS;
    let text: String = text.chars().take(FITS).chain(cut.then_some('…')).collect();
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::bands;
    use super::*;
    use crate::read::events_and_faults;

    const STALE: &str = "{:process :nemesis :type :info :f :start-clock} {:process :nemesis :type :info :f :stop-clock}
        {:process 0 :type :invoke :f :write :value 1}
        {:process :nemesis :type :info :f :start-partition :value \"n1\\nn2\"}
        {:process 0 :type :ok :f :write :value 1} {:process :nemesis :type :info :f :kill}
        {:process 1 :type :invoke :f :read} {:process :nemesis :type :info :f :stop-partition}
        {:process 1 :type :ok :f :read :value 0} {:process :nemesis :type :info :f :start-pause}";

    #[test]
    fn faults_stand_below_the_operations_that_were_there_at_the_same_time() {
        let verdict = crate::judge("register", STALE).expect("a history");
        let (_, faults) = events_and_faults(STALE).expect("a history");
        assert_eq!(
            timeline(&verdict, &bands::of(&faults)),
            "\
client-0 ├───┤            write 1
client-1           ├───┤  read 0  << cannot be explained: the state would have had to be 0
fault         ▒▒▒▒▒▒▒▒▒▒  start-partition \"n1\\nn2\"
fault              ▒      kill
(2 faults at other times are not shown)
"
        );
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_wrong() {
        let (_, faults) = events_and_faults(STALE).expect("a history");
        assert_eq!(timeline(&Verdict::Valid, &bands::of(&faults)), "");
    }
}
