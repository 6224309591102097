//! The determinism check: two recorded runs of one seed must have the same log.

use crate::event::Event;
use crate::outcome::{Outcome, Report};

/// So many events before the first difference are shown.
const CONTEXT: usize = 3;

/// Compares two recorded runs of one seed. Where they agree the first report is returned, and otherwise one that says
/// which event differs first, with what came before it.
pub fn compare(first: Report, second: &Report) -> Report {
    let facts =
        |run: &Report| (run.digest, run.events, run.sim_ns, run.outcome, run.message.clone(), run.reached.clone());
    if facts(&first) == facts(second) {
        return first;
    }
    let message = match (&first.log, &second.log) {
        (Some(a), Some(b)) if a == b => explain_ends(&first, second),
        (Some(a), Some(b)) => explain(a, b),
        _ => format!("two runs of this seed differ: digests {:016x} and {:016x}", first.digest, second.digest),
    };
    Report { outcome: Outcome::Nondeterministic, message, ..first }
}

/// For runs with equal logs that ended in different ways.
fn explain_ends(first: &Report, second: &Report) -> String {
    let end = |run: &Report| format!("{} after {} events: {}", run.outcome, run.events, run.message);
    format!(
        "two runs of this seed have one log and end differently\n  first:  {}\n  second: {}",
        end(first),
        end(second)
    )
}

fn explain(first: &[Event], second: &[Event]) -> String {
    let differs = |(a, b): (&Event, &Event)| a != b;
    let at = first.iter().zip(second).position(differs).unwrap_or(first.len().min(second.len()));
    let mut message = format!("two runs of this seed differ at line {} of their logs", at + 1);
    for event in &first[at.saturating_sub(CONTEXT)..at] {
        message += &format!("\n  both:   {event}");
    }
    for (label, log) in [("first: ", first), ("second:", second)] {
        match log.get(at..) {
            None | Some([]) => message += &format!("\n  {label} nothing more"),
            Some(events) => {
                for event in events.iter().take(CONTEXT) {
                    message += &format!("\n  {label} {event}");
                }
            }
        }
    }
    message +=
        "\nSomething outside the seed decides: a real clock, entropy, an address, a thread, a static shared by runs";
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Failure, Seed};

    fn run(lines: &[&str]) -> Report {
        let event =
            |text: &&str| Event { at: 5, node: "n1".into(), kind: "say".into(), text: text.to_string(), digest: 0 };
        let mut report = Report::lost("t", Seed(1), Failure::new(Outcome::Passed, ""));
        report.log = Some(lines.iter().map(event).collect());
        report.digest = lines.iter().fold(0, |d, line| crate::hash::fold(d, crate::hash::hash_str(line)));
        report
    }

    #[test]
    fn equal_runs_keep_their_report() {
        assert_eq!(compare(run(&["a", "b"]), &run(&["a", "b"])).outcome, Outcome::Passed);
    }

    #[test]
    fn the_first_event_that_differs_is_named_with_what_came_before() {
        let report = compare(run(&["a", "b", "c"]), &run(&["a", "x", "c"]));
        assert_eq!(report.outcome, Outcome::Nondeterministic);
        assert!(report.message.contains("differ at line 2"), "{}", report.message);
        for (label, text) in [("both:", "a"), ("first:", "b"), ("second:", "x")] {
            assert!(report.message.lines().any(|l| l.contains(label) && l.ends_with(text)), "{}", report.message);
        }
    }

    #[test]
    fn a_run_that_ends_early_differs_where_it_ends() {
        let report = compare(run(&["a", "b"]), &run(&["a"]));
        assert!(report.message.contains("second: nothing more"), "{}", report.message);
    }
}
