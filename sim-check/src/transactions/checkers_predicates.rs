//! Every anomaly that predicates show, planted in a history of a few transactions, and found there.

use super::checkers::history;
use super::{Consistency, closed_predicate};
use crate::read;

fn analysis(lines: &[(u64, &str, &str)], overlap: bool) -> super::Analysis {
    closed_predicate().analyse(&read::transactions(&history(lines, overlap)).expect("a history"))
}

fn found(lines: &[(u64, &str, &str)]) -> Vec<String> {
    analysis(lines, true).counts.keys().map(ToString::to_string).collect()
}

/// Runs after an initial transaction that is over before all else.
fn found_in(init: &str, lines: &[(u64, &str, &str)]) -> Vec<String> {
    let mut text = String::new();
    for phase in ["invoke", "ok"] {
        text += &format!("{{:process 9 :type :{phase} :f :init :value {init}}}\n");
    }
    let all = read::transactions(&(text + &history(lines, true))).expect("a history");
    closed_predicate().analyse(&all).counts.keys().map(ToString::to_string).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn what_a_predicate_selected_is_a_dependency() {
    let both = [(1, "ok", "[:w x 1] [:rp :true {x 1 y 2}]"), (2, "ok", "[:w y 2] [:rp :true {x 1 y 2}]")];
    assert_eq!(found(&both), ["G1c"]);
    let one = [(1, "ok", "[:w x 1] [:rp :true {x 1 y 2}]"), (2, "ok", "[:w y 2] [:rp :true {y 2}]")];
    assert_eq!(found(&one), NOTHING);
}

#[test]
fn what_a_predicate_did_not_select_is_one_too() {
    let phantoms = [(1, "ok", "[:rp :true {}] [:insert x 1]"), (2, "ok", "[:rp :true {}] [:insert y 2]")];
    assert_eq!(found(&phantoms), ["G2"]);
    let deleted = [(1, "ok", "[:delete x] [:rp :true {}]"), (2, "ok", "[:delete y] [:rp :true {}]")];
    assert_eq!(found_in("{x 0 y 0}", &deleted), ["G1c"]);
    let written = [(1, "ok", "[:rp [:= 0] {x 0}] [:w x 1]"), (2, "ok", "[:rp [:= 0] {y 0}] [:w y 1]")];
    assert_eq!(found_in("{x 0 y 0}", &written), ["G1c"]);
    let skew = [(1, "ok", "[:rp [:= 1] {}] [:w x 1]"), (2, "ok", "[:rp [:= 1] {}] [:w y 1]")];
    assert_eq!(found_in("{x 0 y 0}", &skew), ["G2"]);
}

#[test]
fn a_predicate_that_sees_half_of_a_transaction_is_found_and_one_that_does_not_care_is_not() {
    let half = [(1, "ok", "[:insert x 1] [:insert y 2]"), (2, "ok", "[:rp :true {y 2}]")];
    assert_eq!(found(&half), ["G-single"]);
    let other = [(1, "ok", "[:insert x 1] [:insert y 2]"), (2, "ok", "[:rp [:mod 2 0] {y 2}]")];
    assert_eq!(found(&other), NOTHING);
    let items = [(1, "ok", "[:insert x 1] [:insert y 2]"), (2, "ok", "[:r x nil] [:r y 2]")];
    assert_eq!(found(&items), ["G-single-item"]);
}

#[test]
fn a_value_that_was_selected_and_overwritten_is_a_dependency_though_the_new_one_matches_too() {
    let back = [(1, "ok", "[:rp [:mod 2 0] {x 0}] [:rp [:= 0] {}]"), (2, "ok", "[:w x 2]")];
    assert_eq!(found_in("{x 0}", &back), ["G-single"]);
}

#[test]
fn reads_that_do_not_follow_one_another_are_told_apart_from_skew() {
    let fork = [
        (1, "ok", "[:insert x 1]"),
        (2, "ok", "[:insert y 2]"),
        (3, "ok", "[:rp :true {x 1}]"),
        (4, "ok", "[:rp :true {y 2}]"),
    ];
    assert_eq!(found(&fork), ["G-nonadjacent"]);
}

#[test]
fn cycles_of_predicates_with_the_order_of_processes_and_real_time_are_found() {
    let stale = [(1, "ok", "[:insert x 1]"), (1, "ok", "[:rp :true {}]")];
    let kinds: Vec<String> = analysis(&stale, false).counts.keys().map(ToString::to_string).collect();
    assert_eq!(kinds, ["G-single-process"]);
    let stale = [(1, "ok", "[:insert x 1]"), (2, "ok", "[:rp :true {}]")];
    let kinds: Vec<String> = analysis(&stale, false).counts.keys().map(ToString::to_string).collect();
    assert_eq!(kinds, ["G-single-realtime"]);
}

#[test]
fn what_every_version_matches_cannot_be_missed() {
    assert_eq!(found_in("{x 0}", &[(1, "ok", "[:rp :true {}]")]), ["predicate-read-miss"]);
    assert_eq!(found_in("{x 0}", &[(1, "ok", "[:rp [:= 1] {x 0}]")]), ["predicate-read-miss"]);
}

#[test]
fn what_was_aborted_never_written_or_forgotten_is_found() {
    assert_eq!(found(&[(1, "fail", "[:insert x 1]"), (2, "ok", "[:rp :true {x 1}]")]), ["G1a"]);
    assert_eq!(found(&[(2, "ok", "[:rp :true {x 1}]"), (1, "ok", "[:insert x 2]")]), ["garbage-read"]);
    assert_eq!(found_in("{x 0}", &[(1, "ok", "[:r x nil]")]), ["garbage-read"]);
    assert_eq!(found(&[(1, "ok", "[:insert x 1] [:rp :true {}]")]), ["internal"]);
    assert_eq!(found(&[(1, "ok", "[:insert x 1] [:rp [:= 2] {}]")]), NOTHING);
    assert_eq!(found(&[(1, "ok", "[:rp :true {x 1}] [:insert x 1]")]), ["future-read"]);
}

#[test]
fn keys_that_are_changed_twice_leave_a_doubt() {
    let twice = analysis(&[(1, "ok", "[:insert x 1]"), (2, "ok", "[:w x 2]"), (3, "ok", "[:r x 2]")], true);
    assert_eq!(
        twice.verdict(Consistency::Serializable).to_string(),
        "unknown: x changed more than once: its versions have no known order"
    );
}

#[test]
fn phantoms_break_serializability_and_no_weaker_promise() {
    let phantoms =
        analysis(&[(1, "ok", "[:rp :true {}] [:insert x 1]"), (2, "ok", "[:rp :true {}] [:insert y 2]")], true);
    assert_eq!(phantoms.weakest_broken(), [Consistency::Serializable]);
    assert!(phantoms.verdict(Consistency::RepeatableRead).is_valid());
    assert!(phantoms.verdict(Consistency::SnapshotIsolation).is_valid());
}
