//! Every anomaly of a log, planted and found; and beside it the history without it.

use super::kafka;
use crate::read;
use crate::verdict::Verdict;

/// The kinds found in a history of lines `process type f value rest`, and the verdict.
fn found(lines: &[(u64, &str, &str, &str)]) -> (Vec<String>, Verdict) {
    let line = |(process, phase, f, value): &(u64, &str, &str, &str)| {
        format!("{{:process {process} :type :{phase} :f :{f} :value {value}}}\n")
    };
    judge(&lines.iter().map(line).collect::<String>())
}

fn judge(text: &str) -> (Vec<String>, Verdict) {
    let events = read::events(text).expect("a history");
    let mut check = kafka();
    let verdict = super::fold(&mut check, &events);
    let kinds = check.report().problems.keys().map(ToString::to_string).collect();
    (kinds, verdict)
}

const SEND: (u64, &str, &str, &str) = (0, "invoke", "send", "[[:send x a] [:send x b] [:send x c]]");
const SENT: (u64, &str, &str, &str) = (0, "ok", "send", "[[:send x [0 a]] [:send x [1 b]] [:send x [2 c]]]");

fn poll(process: u64, found: &'static str) -> [(u64, &'static str, &'static str, &'static str); 2] {
    [(process, "invoke", "poll", "[[:poll]]"), (process, "ok", "poll", found)]
}

fn sent_and(polls: &[[(u64, &'static str, &'static str, &'static str); 2]]) -> (Vec<String>, Verdict) {
    found(&[&[SEND, SENT], &polls.concat()[..]].concat())
}

#[test]
fn a_log_that_is_polled_whole_is_fine() {
    let whole = sent_and(&[poll(1, "[[:poll {x [[0 a] [1 b]]}]]"), poll(1, "[[:poll {x [[2 c]]}]]")]);
    assert_eq!(whole, (vec![], Verdict::Valid));
}

#[test]
fn messages_that_failed_or_were_lost_or_never_seen_are_found() {
    let failed = [SEND, (0, "fail", "send", SEND.3), poll(1, "")[0], poll(1, "[[:poll {x [[0 a] [1 b]]}]]")[1]];
    assert_eq!(found(&failed).0, ["G1a"]);
    let lost = sent_and(&[poll(1, "[[:poll {x [[0 a]]}]]"), poll(2, "[[:poll {x [[2 c]]}]]")]);
    assert_eq!(lost.0, ["lost-write", "unseen"]);
    assert!(lost.1.to_string().starts_with("lost-write: b was sent to x by client-0 at event 1"), "{}", lost.1);
    let behind = sent_and(&[poll(1, "[[:poll {x [[0 a] [1 b]]}]]")]);
    assert_eq!(behind.0, ["unseen"]);
    assert!(behind.1.evidence().is_some());
}

#[test]
fn a_send_of_unknown_outcome_counts_once_something_of_it_was_polled() {
    let send =
        [(0, "invoke", "send", "[[:send x a] [:send y b]]"), (0, "info", "send", "[[:send x a] [:send y [0 b]]]")];
    let more = [(3, "invoke", "send", "[[:send y c]]"), (3, "info", "send", "[[:send y c]]")];
    let c = poll(2, "[[:poll {y [[1 c]]}]]");
    assert_eq!(found(&[send, more, c].concat()).0, Vec::<String>::new());
    let a = poll(1, "[[:poll {x [[0 a]]}]]");
    assert_eq!(found(&[send, more, c, a].concat()).0, ["lost-write"]);
}

#[test]
fn offsets_that_disagree_are_found() {
    let two_values = sent_and(&[poll(1, "[[:poll {x [[0 a] [1 c]]}]]")]).0;
    assert!(two_values.contains(&"inconsistent-offsets".to_string()), "{two_values:?}");
    assert!(two_values.contains(&"duplicate".to_string()), "{two_values:?}");
}

#[test]
fn consumers_that_skip_or_go_back_are_found_unless_they_were_moved() {
    let back = [poll(1, "[[:poll {x [[0 a] [1 b]]}]]"), poll(1, "[[:poll {x [[1 b] [2 c]]}]]")];
    assert_eq!(sent_and(&back).0, ["nonmonotonic-poll"]);
    let skip = [poll(1, "[[:poll {x [[0 a]]}]]"), poll(1, "[[:poll {x [[2 c]]}]]"), poll(2, "[[:poll {x [[1 b]]}]]")];
    assert_eq!(sent_and(&skip).0, ["poll-skip"]);
    let assign = |f, keys| [(1, "invoke", f, keys), (1, "ok", f, keys)];
    let moved = |f, keys| found(&[&[SEND, SENT], &back[0][..], &assign(f, keys), &back[1]].concat());
    assert_eq!(moved("assign", "[y]").0, Vec::<String>::new());
    assert_eq!(moved("assign", "[x y]").0, ["nonmonotonic-poll"]);
    assert_eq!(moved("subscribe", "[x y]"), (vec!["nonmonotonic-poll".to_string()], Verdict::Valid));
}

#[test]
fn a_poll_that_did_not_commit_moves_nobody() {
    let aborted = [(1, "invoke", "txn", "[[:poll]]"), (1, "fail", "txn", "[[:poll {x [[1 b] [2 c]]}]]")];
    let first = poll(1, "[[:poll {x [[0 a]]}]]");
    let again = poll(1, "[[:poll {x [[1 b] [2 c]]}]]");
    assert_eq!(sent_and(&[first, aborted, again]), (vec![], Verdict::Valid));
    let skips = [(1, "invoke", "txn", "[[:poll]]"), (1, "fail", "txn", "[[:poll {x [[2 c]]}]]")];
    assert_eq!(sent_and(&[first, skips, again]).0, ["poll-skip"]);
}

#[test]
fn polls_within_one_operation_are_held_to_the_order_unless_it_was_rebalanced() {
    let all = poll(2, "[[:poll {x [[0 a] [1 b] [2 c]]}]]");
    assert_eq!(sent_and(&[all, poll(1, "[[:poll {x [[0 a] [2 c]]}]]")]).0, ["int-poll-skip"]);
    assert_eq!(sent_and(&[all, poll(1, "[[:poll {x [[1 b]]}] [:poll {x [[1 b]]}]]")]).0, ["int-nonmonotonic-poll"]);
    let text = "{:process 0 :type :ok :f :send :value [[:send x [0 a]] [:send x [1 b]]]}
                {:process 1 :type :ok :f :poll :value [[:poll {x [[1 b] [0 a]]}]] :rebalance-log [{:keys [x]}]}";
    assert_eq!(judge(text), (vec![], Verdict::Valid));
}

#[test]
fn producers_are_held_to_the_order_of_their_sends() {
    let all = poll(2, "[[:poll {x [[0 a] [1 b] [2 c]]}]]");
    let within = [(1, "ok", "send", "[[:send x [2 c]] [:send x [0 a]]]"), (3, "ok", "send", "[[:send x [1 b]]]")];
    assert_eq!(found(&[within, all].concat()).0, ["int-nonmonotonic-send"]);
    let between = [(1, "ok", "send", "[[:send x [1 b]] [:send x [2 c]]]"), (1, "ok", "send", "[[:send x [0 a]]]")];
    assert_eq!(found(&[between, all].concat()).0, ["nonmonotonic-send"]);
    let interleaved = [(1, "ok", "send", "[[:send x [0 a]] [:send x [2 c]]]"), (3, "ok", "send", "[[:send x [1 b]]]")];
    assert_eq!(found(&[interleaved, all].concat()), (vec!["int-send-skip".to_string()], Verdict::Valid));
}

#[test]
fn operations_that_see_themselves_or_each_other_are_found() {
    let own =
        [(1, "invoke", "txn", "[[:send x a] [:poll]]"), (1, "ok", "txn", "[[:send x [0 a]] [:poll {x [[0 a]]}]]")];
    assert_eq!(found(&own).0, ["precommitted-read"]);
    let circle = [
        (1, "invoke", "txn", "[[:send x a] [:poll]]"),
        (2, "invoke", "txn", "[[:send y b] [:poll]]"),
        (1, "ok", "txn", "[[:send x [0 a]] [:poll {y [[0 b]]}]]"),
        (2, "ok", "txn", "[[:send y [0 b]] [:poll {x [[0 a]]}]]"),
    ];
    let (kinds, verdict) = found(&circle);
    assert_eq!(kinds, ["G1c"]);
    assert!(verdict.to_string().contains("T2 polled from x what T1 sent"), "{verdict}");
}

#[test]
fn a_partition_with_two_owners_in_a_generation_is_found_at_once() {
    let owned = |process, generation| {
        format!(
            "{{:process {process} :type :ok :f :poll :value [] :rebalance-log [{{:keys [x] :generation {generation}}}]}}"
        )
    };
    assert_eq!(judge(&(owned(1, 1) + &owned(2, 2))), (vec![], Verdict::Valid));
    let (kinds, verdict) = judge(&(owned(1, 1) + &owned(2, 1)));
    assert_eq!(kinds, ["two-owners"]);
    assert!(verdict.to_string().contains("in generation 1 both client-1"), "{verdict}");
}

#[test]
fn a_message_that_nobody_sent_leaves_the_verdict_open() {
    let (_, verdict) = found(&poll(1, "[[:poll {x [[0 a]]}]]"));
    assert!(verdict.to_string().starts_with("unknown: client-1 at event 1 polled a from x, which nobody sent"));
}
