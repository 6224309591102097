//! Every anomaly of registers planted in a history of a few transactions, and found there.

use super::checkers::history;
use super::{RwRegister, rw_register};
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
    assert_eq!(found(&rw_register(), &lines, true), ["lost-update", "G2-item"]);
}

#[test]
fn cycles_are_found_as_far_as_orders_are_known() {
    let g1c = [(1, "ok", "[:w x 1] [:r y 1]"), (2, "ok", "[:w y 1] [:r x 1]")];
    assert_eq!(found(&rw_register(), &g1c, true), ["G1c"]);
    let write_skew = [(1, "ok", "[:r x nil] [:w y 1]"), (2, "ok", "[:r y nil] [:w x 1]")];
    assert_eq!(found(&rw_register(), &write_skew, true), ["G2-item"]);
    let skew =
        [(1, "ok", "[:w x 1] [:w y 1]"), (2, "ok", "[:r x 1] [:w x 2] [:w y 2]"), (3, "ok", "[:r x 1] [:r y 2]")];
    assert_eq!(found(&rw_register(), &skew, true), NOTHING);
    assert_eq!(found(&rw_register().writes_follow_reads(), &skew, true), ["G-single-item"]);
}

#[test]
fn keys_that_are_said_to_be_ordered_and_are_not_are_found() {
    let back = [(1, "ok", "[:w x 1]"), (1, "ok", "[:w x 2]"), (3, "ok", "[:r x 2]"), (3, "ok", "[:r x 1]")];
    assert_eq!(found(&rw_register(), &back, false), NOTHING);
    assert_eq!(found(&rw_register().sequential_keys(), &back, false), ["cyclic-versions"]);
    assert_eq!(found(&rw_register().linearizable_keys(), &back, false), ["cyclic-versions"]);
    assert_eq!(found(&rw_register().linearizable_keys(), &back[..3], false), NOTHING);
    let stale = [(1, "ok", "[:w x 1]"), (2, "ok", "[:w x 2]"), (3, "ok", "[:r x 1]")];
    assert_eq!(found(&rw_register().linearizable_keys(), &stale, false), ["cyclic-versions"]);
}
