//! Every anomaly of registers planted in a history of a few transactions, and found there.

use super::checkers::history;
use super::{Consistency, RwRegister, rw_register};
use crate::read;

fn found(checker: &RwRegister, lines: &[(u64, &str, &str)], overlap: bool) -> Vec<String> {
    let all = read::transactions(&history(lines, overlap)).expect("a history");
    checker.analyse(&all).counts.keys().map(ToString::to_string).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn reads_of_what_was_aborted_overwritten_or_not_yet_written_are_found() {
    let checker = rw_register();
    let aborted = [(1, "fail", "[:w x 1]"), (2, "ok", "[:r x 1]")];
    assert_eq!(found(&checker, &aborted, true), ["G1a"]);
    let overwritten = [(1, "ok", "[:w x 1] [:w x 2]"), (2, "ok", "[:r x 1]")];
    assert_eq!(found(&checker, &overwritten, true), ["G1b"]);
    assert_eq!(found(&checker, &[(1, "ok", "[:r x 1] [:w x 1]")], true), ["future-read"]);
    assert_eq!(found(&checker, &[(1, "ok", "[:r x 1]")], true), NOTHING);
    assert_eq!(found(&checker.garbage_reads(), &[(1, "ok", "[:r x 1]")], true), ["garbage-read"]);
}

#[test]
fn a_transaction_that_forgets_what_it_did_is_found() {
    assert_eq!(found(&rw_register(), &[(1, "ok", "[:w x 1] [:r x 2]")], true), ["internal"]);
    assert_eq!(found(&rw_register(), &[(1, "ok", "[:r x nil] [:w x 1] [:r x 1]")], true), NOTHING);
}

#[test]
fn an_update_that_was_lost_is_found() {
    let lines = [(1, "ok", "[:r x nil] [:w x 1]"), (2, "ok", "[:r x nil] [:w x 2]")];
    assert_eq!(found(&rw_register(), &lines, true), ["lost-update", "G-single-item", "G2-item"]);
}

#[test]
fn cycles_are_found_as_far_as_orders_are_known() {
    let g1c = [(1, "ok", "[:w x 1] [:r y 1]"), (2, "ok", "[:w y 1] [:r x 1]")];
    assert_eq!(found(&rw_register(), &g1c, true), ["G1c"]);
    let write_skew = [(1, "ok", "[:r x nil] [:w y 1]"), (2, "ok", "[:r y nil] [:w x 1]")];
    assert_eq!(found(&rw_register(), &write_skew, true), ["G2-item"]);
    let skew =
        [(1, "ok", "[:w x 1] [:w y 1]"), (2, "ok", "[:r x 1] [:w x 2] [:w y 2]"), (3, "ok", "[:r x 1] [:r y 2]")];
    assert_eq!(found(&rw_register(), &skew, true), ["G-single-item", "fractured-read"]);
    assert_eq!(found(&rw_register().writes_follow_reads(), &skew, true), ["G-single-item", "fractured-read"]);
}

#[test]
fn keys_that_are_said_to_be_ordered_and_are_not_are_found() {
    let back = [(1, "ok", "[:w x 1]"), (1, "ok", "[:w x 2]"), (3, "ok", "[:r x 2]"), (3, "ok", "[:r x 1]")];
    let skew = ["G-single-item-process", "G-single-item-realtime"];
    assert_eq!(found(&rw_register(), &back, false), skew);
    assert_eq!(found(&rw_register().sequential_keys(), &back, false), [&["cyclic-versions"], &skew[..]].concat());
    assert_eq!(found(&rw_register().linearizable_keys(), &back, false), [&["cyclic-versions"], &skew[..]].concat());
    assert_eq!(found(&rw_register().linearizable_keys(), &back[..3], false), NOTHING);
    let stale = [(1, "ok", "[:w x 1]"), (2, "ok", "[:w x 2]"), (3, "ok", "[:r x 1]")];
    let both = ["cyclic-versions", "G-single-item-realtime"];
    assert_eq!(found(&rw_register().linearizable_keys(), &stale, false), both);
}

#[test]
fn what_no_order_of_the_values_explains_is_found_and_told() {
    let lines = [(1, "ok", "[:w x 1] [:w y 1]"), (2, "ok", "[:w x 2] [:w y 2]"), (3, "ok", "[:r x 1] [:r y 2]")];
    let analysis = rw_register().analyse(&read::transactions(&history(&lines, true)).expect("a history"));
    let stories: Vec<String> =
        analysis.anomalies.iter().map(|found| format!("{}: {}", found.kind, found.story)).collect();
    assert_eq!(
        stories,
        [
            "G-single-item: if T2 overwrote T3's 1 in x with 2: T1 < T2, because T2 wrote 2 to x after T1's read of 1; \
             T2 < T1, because T1 read 2 from y, which T2 wrote; if T3 overwrote T2's 2 in y with 1: T1 < T3, because T3 \
             wrote 1 to y after T1's read of 2; T3 < T1, because T1 read 1 from x, which T3 wrote; if T2 overwrote T3's \
             1 in y with 2: T3 < T2, because T2 overwrote T3's 1 in y with 2; T2 < T3, because T3 overwrote T2's 2 in x \
             with 1: a contradiction either way (T1 is client-3 at event 2, T2 is client-2 at event 1, T3 is client-1 at \
             event 0)",
            "fractured-read: T1 < T2, because T2 overwrote T1's 1 in y with 2, as client-3 at event 2 saw both and read \
             that; T2 < T1, because T1 overwrote T2's 2 in x with 1, as client-3 at event 2 saw both and read that: a \
             contradiction (T1 is client-1 at event 0, T2 is client-2 at event 1)",
        ]
    );
}

#[test]
fn a_transaction_that_misses_what_another_saw_breaks_causality_and_no_more() {
    let lines = [
        (1, "ok", "[:w x 1]"),
        (2, "ok", "[:r x 1] [:w x 2]"),
        (3, "ok", "[:r x 2] [:w y 1]"),
        (4, "ok", "[:r y 1] [:r x 1]"),
    ];
    assert_eq!(found(&rw_register(), &lines, true), ["G-single-item", "causality-violation"]);
}

/// A long fork whose writes are all blind.
const FORK: [(u64, &str, &str); 5] = [
    (1, "ok", "[:w x 1]"),
    (2, "ok", "[:w x 2] [:w y 2]"),
    (3, "ok", "[:w y 3]"),
    (4, "ok", "[:r x 1] [:r y 2]"),
    (5, "ok", "[:r x 2] [:r y 3]"),
];

#[test]
fn a_long_fork_is_found_with_all_writes_blind() {
    assert_eq!(found(&rw_register(), &FORK, true), ["G-nonadjacent-item"]);
    assert_eq!(found(&rw_register(), &FORK[..4], true), NOTHING);
}

#[test]
fn where_the_budget_does_not_suffice_only_what_is_certain_is_said() {
    let all = read::transactions(&history(&FORK, true)).expect("a history");
    let analysis = rw_register().budget(0).analyse(&all);
    assert!(analysis.verdict(Consistency::ReadAtomic).is_valid());
    let verdict = analysis.verdict(Consistency::SnapshotIsolation).to_string();
    assert!(
        verdict.starts_with("unknown: whether some order of the values does without G-nonadjacent-item"),
        "{verdict}"
    );
    assert!(analysis.counts.is_empty(), "{:?}", analysis.counts);
}
