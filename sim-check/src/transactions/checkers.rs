//! Every anomaly planted in a history of a few transactions, and found there.

use super::{Consistency, Kind, list_append};
use crate::read;

/// What is found in transactions, one a line: process, how it ends, micro-operations. Lines beginning with
/// `|` overlap the line before.
pub(super) fn found(lines: &[(u64, &str, &str)], overlap: bool) -> Vec<Kind> {
    let all = read::transactions(&history(lines, overlap)).expect("a history");
    list_append().analyse(&all).counts.keys().copied().collect()
}

/// The transactions as EDN: each ends before the next begins, or all overlap.
pub(super) fn history(lines: &[(u64, &str, &str)], overlap: bool) -> String {
    let event = |(process, _, mops): &(u64, &str, &str), phase: &str| {
        format!("{{:process {process} :type :{phase} :value [{mops}]}}\n")
    };
    let begin = |line| event(line, "invoke");
    let end = |line: &(u64, &str, &str)| event(line, line.1);
    match overlap {
        false => lines.iter().map(|line| begin(line) + &end(line)).collect(),
        true => lines.iter().map(begin).chain(lines.iter().map(end)).collect(),
    }
}

fn names(lines: &[(u64, &str, &str)], overlap: bool) -> Vec<String> {
    found(lines, overlap).iter().map(Kind::to_string).collect()
}

#[test]
fn what_was_read_twice_in_one_list_is_found() {
    let lines = [(1, "ok", "[:append x 1]"), (2, "ok", "[:r x [1 1]]")];
    assert_eq!(names(&lines, true), ["duplicate-elements"]);
}

#[test]
fn a_read_of_what_nobody_wrote_is_found() {
    assert_eq!(names(&[(1, "ok", "[:r x [1]]")], true), ["garbage-read"]);
}

#[test]
fn a_read_of_what_was_aborted_and_an_append_after_it_are_found() {
    let lines = [(1, "fail", "[:append x 1]"), (2, "ok", "[:append x 2]"), (3, "ok", "[:r x [1 2]]")];
    assert_eq!(names(&lines, true), ["G1a", "dirty-update"]);
}

#[test]
fn a_read_between_two_appends_of_a_transaction_is_found() {
    let lines = [(1, "ok", "[:append x 1] [:append x 2]"), (2, "ok", "[:r x [1]]"), (3, "ok", "[:r x [1 2]]")];
    assert_eq!(names(&lines, true), ["G1b", "G-single-item"]);
}

#[test]
fn lists_that_disagree_are_found() {
    let lines =
        [(1, "ok", "[:append x 1]"), (2, "ok", "[:append x 2]"), (3, "ok", "[:r x [1 2]]"), (4, "ok", "[:r x [2]]")];
    assert_eq!(names(&lines, true), ["incompatible-order"]);
}

#[test]
fn a_transaction_that_sees_its_own_future_is_found() {
    assert_eq!(names(&[(1, "ok", "[:r x [1]] [:append x 1]")], true), ["future-read"]);
}

#[test]
fn a_transaction_that_forgets_what_it_did_is_found() {
    for mops in ["[:append x 1] [:r x []]", "[:r x []] [:append x 1] [:r x nil]", "[:r x [2 1]] [:r x [2]]"] {
        let lines = [(1, "ok", "[:append x 2] [:append x 1]"), (2, "ok", mops)];
        let mine = [(2, "ok", mops)];
        let lines: &[_] = if mops.contains("append") { &mine } else { &lines };
        assert!(names(lines, true).contains(&"internal".to_string()), "{mops}");
    }
    assert_eq!(names(&[(1, "ok", "[:append x 1] [:r x [1]] [:append x 2] [:r x [1 2]]")], true), Vec::<String>::new());
}

#[test]
fn an_update_that_was_lost_is_found() {
    let lines = [(1, "ok", "[:r x []] [:append x 1]"), (2, "ok", "[:r x []] [:append x 2]"), (3, "ok", "[:r x [1 2]]")];
    assert_eq!(names(&lines, true), ["lost-update", "G-single-item"]);
}

#[test]
fn cycles_of_writes_are_found() {
    let lines = [
        (1, "ok", "[:append x 1] [:append y 1]"),
        (2, "ok", "[:append x 2] [:append y 2]"),
        (3, "ok", "[:r x [1 2]] [:r y [2 1]]"),
    ];
    assert_eq!(names(&lines, true), ["G0"]);
}

#[test]
fn cycles_of_information_are_found() {
    let lines = [(1, "ok", "[:append x 1] [:r y [1]]"), (2, "ok", "[:append y 1] [:r x [1]]")];
    assert_eq!(names(&lines, true), ["G1c"]);
}

#[test]
fn read_skew_long_fork_and_write_skew_are_told_apart() {
    let skew = [(1, "ok", "[:append x 1] [:append y 1]"), (2, "ok", "[:r x []] [:r y [1]]")];
    assert_eq!(names(&skew, true), ["G-single-item"]);
    let fork = [
        (1, "ok", "[:append x 1]"),
        (2, "ok", "[:append y 1]"),
        (3, "ok", "[:r x [1]] [:r y []]"),
        (4, "ok", "[:r x []] [:r y [1]]"),
    ];
    assert_eq!(names(&fork, true), ["G-nonadjacent-item"]);
    let write_skew = [(1, "ok", "[:r x []] [:append y 1]"), (2, "ok", "[:r y []] [:append x 1]")];
    assert_eq!(names(&write_skew, true), ["G2-item"]);
}

#[test]
fn what_contradicts_real_time_or_a_process_only_is_said_to() {
    let g0 = |a, b| [(a, "ok", "[:append x 1]"), (b, "ok", "[:append x 2]"), (3, "ok", "[:r x [2 1]]")];
    assert_eq!(names(&g0(1, 2), false), ["G0-realtime"]);
    assert_eq!(names(&g0(1, 1), false), ["G0-process"]);
    let g1c = |a, b| [(a, "ok", "[:r x [1]]"), (b, "ok", "[:append x 1]")];
    assert_eq!(names(&g1c(1, 2), false), ["G1c-realtime"]);
    assert_eq!(names(&g1c(1, 1), false), ["G1c-process"]);
    let stale = |a, b| [(a, "ok", "[:append x 1]"), (b, "ok", "[:r x []]")];
    assert_eq!(names(&stale(1, 2), false), ["G-single-item-realtime"]);
    assert_eq!(names(&stale(1, 1), false), ["G-single-item-process"]);
    assert_eq!(names(&stale(1, 2), true), Vec::<String>::new());
}

#[test]
fn what_may_have_happened_counts_once_it_was_seen() {
    let seen = [(1, "info", "[:append x 1] [:append y 1]"), (2, "ok", "[:r x [1]] [:r y []]")];
    assert_eq!(names(&seen, true), ["G-single-item"]);
    let unseen = [(1, "info", "[:append x 1]"), (2, "ok", "[:r x []]")];
    assert_eq!(names(&unseen, false), Vec::<String>::new());
}

#[test]
fn appends_that_cannot_be_told_apart_leave_the_verdict_open() {
    let text = history(&[(1, "ok", "[:append x 1]"), (2, "ok", "[:append x 1]")], false);
    let verdict = list_append().judge(&read::transactions(&text).expect("a history"));
    assert!(verdict.to_string().starts_with("unknown: client-1 at event 0 and client-2 at event 2"), "{verdict}");
}

#[test]
fn a_weaker_promise_is_kept_when_a_stronger_one_is_not() {
    let text = history(&[(1, "ok", "[:r x []] [:append y 1]"), (2, "ok", "[:r y []] [:append x 1]")], true);
    let all = read::transactions(&text).expect("a history");
    assert!(list_append().model(Consistency::SnapshotIsolation).judge(&all).is_valid());
    let verdict = list_append().model(Consistency::Serializable).judge(&all);
    assert_eq!(
        verdict.to_string(),
        "not serializable: G2-item: T1 < T2, because T2 appended 1 to x after T1's read of []; \
         T2 < T1, because T1 appended 1 to y after T2's read of []: a contradiction \
         (T1 is client-1 at event 0, T2 is client-2 at event 1); not even repeatable-read"
    );
}

#[test]
fn thousands_of_transactions_tied_together_yield_one_short_cycle() {
    let mut lines: Vec<(u64, &str, String)> = Vec::new();
    for n in 0..4000_u64 {
        let next = (n + 1) % 4000;
        lines.push((n, "ok", format!("[:r k{n} []] [:append k{next} 1]")));
    }
    lines.push((9000, "ok", "[:r k7 []] [:append k5 2]".into()));
    let lines: Vec<(u64, &str, &str)> =
        lines.iter().map(|(process, end, mops)| (*process, *end, mops.as_str())).collect();
    let all = read::transactions(&history(&lines, true)).expect("a history");
    let analysis = list_append().analyse(&all);
    assert_eq!(analysis.anomalies.len(), 1);
    assert_eq!(analysis.anomalies[0].transactions.len(), 3, "{:?}", analysis.anomalies[0]);
}
