//! Every anomaly that one pass finds, planted in a few events and found; and beside it the history without it.

use super::*;
use crate::read;

pub(super) fn judge(check: &mut dyn Fold, events: &[(u64, &str, &str, &str)]) -> String {
    let line = |(process, phase, f, value): &(u64, &str, &str, &str)| {
        format!("{{:process {process} :type :{phase} :f :{f} :value {value}}}\n")
    };
    let text: String = events.iter().map(line).collect();
    fold(check, &read::events(&text).expect("a history")).to_string()
}

#[test]
fn a_bank_neither_loses_money_nor_lends_it() {
    let first = (1, "ok", "read", "{0 6 1 4}");
    assert_eq!(judge(&mut bank(), &[first, (2, "ok", "read", "{0 1 1 9}")]), "valid");
    let sentence = judge(&mut bank(), &[first, (2, "ok", "read", "{0 6 1 5}")]);
    assert_eq!(sentence, "client-2 read balances at event 1 that sum up to 11 instead of 10");
    let sentence = judge(&mut bank(), &[first, (2, "ok", "read", "{0 -1 1 11}")]);
    assert_eq!(sentence, "client-2 read a balance of -1 in account 0 at event 1");
    assert_eq!(judge(&mut bank().negative_balances(), &[first, (2, "ok", "read", "{0 -1 1 11}")]), "valid");
    let sentence = judge(&mut bank().total(9), &[first]);
    assert_eq!(sentence, "client-1 read balances at event 0 that sum up to 10 instead of 9");
    let sentence = judge(&mut bank(), &[first, (2, "ok", "read", "{0 6 7 4}")]);
    assert_eq!(sentence, "client-2 read account 7 at event 1, which there was not at first");
    assert!(judge(&mut bank(), &[(1, "ok", "transfer", "nil")]).starts_with("vacuous"));
    assert!(judge(&mut bank(), &[first, (2, "ok", "read", "{0 nil 1 10}")]).contains("a balance of nil"));
    let listed = (1, "ok", "read", "[6 4]");
    assert_eq!(judge(&mut bank(), &[listed, (2, "ok", "read", "[10M 0.0]")]), "valid");
    assert!(judge(&mut bank(), &[listed, (2, "ok", "read", "[6 5]")]).contains("sum up to 11 instead of 10"));
}

#[test]
fn a_counter_is_between_what_was_acknowledged_and_what_was_tried() {
    let open = [(1, "invoke", "add", "2"), (2, "invoke", "read", "nil")];
    let read = |value| judge(&mut counter(), &[open[0], open[1], (2, "ok", "read", value)]);
    assert_eq!([read("0"), read("2")], ["valid", "valid"]);
    assert!(read("3").contains("between 0 and 2"));
    assert_eq!([read("nil"), read("2.0")], ["vacuous: the counter was never read", "valid"]);
    assert_eq!(read("\"2\""), "client-2 read \"2\" from the counter at event 2, which is no sum");
    assert!(read("99999999999999999999").contains("which is no sum"));
    let odd = [(1, "invoke", "add", "0.5"), open[1], (2, "ok", "read", "7")];
    assert_eq!(judge(&mut counter(), &odd), "unknown: 0.5 is added at event 0: add whole numbers");
    let failed = [open[0], (1, "fail", "add", "2"), open[1], (2, "ok", "read", "2")];
    assert!(judge(&mut counter(), &failed).contains("between 0 and 0"));
    let told_late = [open[0], open[1], (2, "ok", "read", "2"), (1, "fail", "add", "2")];
    assert!(judge(&mut counter(), &told_late).contains("between 0 and 0"));
    let negative = [(1, "invoke", "add", "-2"), open[1], (2, "ok", "read", "-2")];
    assert_eq!(judge(&mut counter(), &negative), "valid");
}

#[test]
fn a_set_loses_nothing_and_invents_nothing() {
    let add = [(1, "invoke", "add", "7"), (1, "ok", "add", "7"), (2, "invoke", "add", "8")];
    let end = |value| judge(&mut set(), &[add[0], add[1], add[2], (3, "ok", "read", value)]);
    assert_eq!([end("[7]"), end("#{7 8}")], ["valid", "valid"]);
    assert_eq!(end("[8]"), "client-3 did not find 7 at event 3, of which the add was acknowledged");
    assert_eq!(end("[7 9]"), "client-3 found 9 at event 3, which nobody added");
    assert!(judge(&mut set(), &add).starts_with("unknown"));
}

#[test]
fn a_queue_gives_what_it_was_given() {
    let put = [(1, "invoke", "enqueue", "7"), (1, "ok", "enqueue", "7")];
    assert_eq!(judge(&mut total_queue(), &[put[0], put[1], (2, "ok", "dequeue", "7")]), "valid");
    assert_eq!(judge(&mut total_queue(), &[put[0], put[1], (2, "ok", "drain", "[7]")]), "valid");
    assert!(judge(&mut total_queue(), &put).starts_with("client-1 was told that 7 is in the queue"));
    let unexpected = judge(&mut total_queue(), &[(2, "ok", "dequeue", "7")]);
    assert_eq!(unexpected, "client-2 took 7 from the queue at event 0, which nobody had put there");
    let twice = [put[0], put[1], (2, "ok", "dequeue", "7"), (2, "ok", "dequeue", "7")];
    assert_eq!(judge(&mut total_queue(), &twice), "valid");
    assert!(judge(&mut total_queue().exactly_once(), &twice).contains("more often"));
    let cut_short = [put[0], put[1], (2, "info", "drain", "nil")];
    assert!(judge(&mut total_queue(), &cut_short).starts_with("unknown"));
}

#[test]
fn unique_numbers_are_given_once() {
    let given = |value| (1, "ok", "generate", value);
    assert_eq!(judge(&mut unique_ids(), &[given("1"), given("2")]), "valid");
    let twice = judge(&mut unique_ids(), &[given("1"), given("1")]);
    assert_eq!(twice, "client-1 was given 1 at event 1, which client-1 was given at event 0");
}

#[test]
fn a_set_that_is_read_all_the_time_keeps_what_it_showed() {
    let add = [(1, "invoke", "add", "7"), (1, "ok", "add", "7")];
    let look = (2, "invoke", "read", "nil");
    let read = |found: &[&'static str], check: SetFull| {
        let reads = found.iter().flat_map(|found| [look, (2, "ok", "read", *found)]);
        let history: Vec<_> = add.into_iter().chain(reads).collect();
        judge(&mut { check }, &history)
    };
    assert_eq!(read(&["[7]"], set_full()), "valid");
    assert_eq!(read(&["[7]", "[]", "[7]"], set_full()), "valid");
    assert!(read(&["[7]", "[]"], set_full()).contains("lost: 7"));
    assert!(read(&["[]"], set_full()).contains("lost: 7"));
    assert!(read(&["[7 7]"], set_full()).contains("found twice by one read: 7"));
    assert!(read(&[], set_full()).starts_with("unknown: no element was stable"));
    // A read that overlaps the add may miss it.
    let overlapping = [add[0], look, add[1], (2, "ok", "read", "[]")];
    assert!(judge(&mut set_full(), &overlapping).starts_with("unknown"));
}

#[test]
fn a_set_that_shows_elements_late_is_stale() {
    let text = |late: u64| {
        format!(
            "{{:process 1 :type :invoke :f :add :value 7 :time 0}} {{:process 1 :type :ok :f :add :value 7 :time 1}}
             {{:process 2 :type :invoke :f :read :time {late}}} {{:process 2 :type :ok :f :read :value [] :time {late}}}
             {{:process 2 :type :invoke :f :read :time {late}}} {{:process 2 :type :ok :f :read :value [7] :time {late}}}"
        )
    };
    let events = |late| read::events(&text(late)).expect("a history");
    let mut check = set_full().linearizable();
    assert!(fold(&mut check, &events(3_000_000)).to_string().contains("found too late: 7"));
    assert_eq!(check.report().stale, [(7.into(), 3)]);
    assert_eq!(check.report().stable_latencies_ms, Some([3; 5]));
    assert!(fold(&mut set_full().linearizable(), &events(900_000)).is_valid());
    assert!(fold(&mut set_full(), &events(3_000_000)).is_valid());
}

#[test]
fn two_readers_who_see_different_orders_are_a_long_fork() {
    let reads = |second| [(1, "ok", "read", "[[:r 1 1] [:r 2 nil]]"), (2, "ok", "read", second)];
    let fork = judge(&mut long_fork(), &reads("[[:r 1 nil] [:r 2 1]]"));
    assert_eq!(fork, "long fork: client-1 at event 0 saw 1 and not 2, client-2 at event 1 saw 2 and not 1");
    assert_eq!(judge(&mut long_fork(), &reads("[[:r 2 1] [:r 1 1]]")), "valid");
    assert!(judge(&mut long_fork(), &reads("[[:r 1 2] [:r 2 nil]]")).starts_with("unknown: 1 is read with two values"));
    assert!(judge(&mut long_fork(), &reads("[[:r 1 1]]")).starts_with("unknown: event 1"));
    assert!(judge(&mut long_fork().group_size(3), &reads("[[:r 1 1]]")).starts_with("unknown: event 0"));
    let twice = [(1, "invoke", "write", "[[:w 1 1]]"), (1, "invoke", "write", "[[:w 1 2]]")];
    assert!(judge(&mut long_fork(), &twice).starts_with("unknown: event 1: 1 is written more than once"));
}

#[test]
fn a_queue_judged_by_a_model_gives_nothing_twice_and_may_keep_all() {
    let put = (1, "invoke", "enqueue", "7");
    let take = (2, "ok", "dequeue", "7");
    assert_eq!(judge(&mut model_queue(), &[put]), "valid");
    assert_eq!(judge(&mut model_queue(), &[put, take]), "valid");
    assert!(judge(&mut model_queue(), &[put, take, take]).contains("which was not in it"));
}

#[test]
fn a_causal_register_is_read_as_it_was_left() {
    let judge = |last: &str| {
        let text = format!(
            "{{:process 1 :type :ok :f :read-init :value 0 :position 1 :link :init}}
             {{:process 1 :type :ok :f :write :value 1 :position 2 :link 1}} {{:process 1 :type :ok {last}}}"
        );
        fold(&mut causal(), &read::events(&text).expect("a history")).to_string()
    };
    assert_eq!(judge(":f :read :value 1 :position 3 :link 2"), "valid");
    assert!(judge(":f :read :value 0 :position 3 :link 2").contains("read 0, where the register held 1"));
    assert!(judge(":f :read :value 1 :position 3 :link 1").contains("links to 1, where the last position seen was 2"));
    assert!(judge(":f :write :value 3 :position 3 :link 2").contains("wrote 3, where 2 was to follow"));
}

#[test]
fn who_sees_a_write_sees_what_was_acknowledged_before_it() {
    let write = |value| [(1, "invoke", "write", value), (1, "ok", "write", value)];
    let writes = [write("1"), write("2")].concat();
    let read = |found| judge(&mut causal_reverse(), &[&writes[..], &[(2, "ok", "read", found)]].concat());
    assert_eq!([read("[1]"), read("[1 2]"), read("[]")], ["valid", "valid", "valid"]);
    assert!(read("[2]").contains("saw 2 and not 1"));
    let overlapping = [writes[0], writes[2], writes[1], writes[3], (2, "ok", "read", "[2]")];
    assert_eq!(judge(&mut causal_reverse(), &overlapping), "valid");
}

#[test]
fn numbers_that_grow_are_not_read_to_shrink() {
    let read = |client, value| [(client, "invoke", "read", "nil"), (client, "ok", "read", value)];
    assert!(
        judge(&mut monotonic(), &[read(1, "2"), read(1, "1")].concat())
            .contains("read 1 at event 3, after client-1 read 2")
    );
    assert_eq!(judge(&mut monotonic(), &[read(1, "2"), read(2, "1")].concat()), "valid");
    let all = &mut monotonic().for_all_clients();
    assert!(
        judge(all, &[read(1, "{x 2}"), read(2, "{x 1}")].concat()).contains("read 1 from x at event 3, after client-1")
    );
    let overlap = [read(1, "2")[0], read(2, "2")[0], read(1, "2")[1], read(2, "1")[1]];
    assert_eq!(judge(&mut monotonic().for_all_clients(), &overlap), "valid");
}

#[test]
fn of_two_inserts_that_exclude_each_other_one_is_refused() {
    let insert = |value| (1, "ok", "insert", value);
    assert_eq!(judge(&mut g2(), &[insert("[7 [1 nil]]"), insert("[8 [nil 2]]")]), "valid");
    assert!(judge(&mut g2(), &[insert("[7 [1 nil]]"), insert("[7 [nil 2]]")]).starts_with("G2: client-1 at event 1"));
}

#[test]
fn a_session_sees_what_it_did_and_what_it_saw() {
    let broken = |f: &'static str, first: &'static str, then: &'static str, later: &'static str| {
        judge(&mut sessions(), &[(1, "ok", f, first), (1, "ok", then, later), (2, "ok", "read", "[x 1]")])
    };
    assert_eq!(broken("write", "[x 1]", "read", "[x 1]"), "valid");
    assert_eq!(broken("read", "[x 1]", "write", "[x 2]"), "valid");
    assert!(
        broken("write", "[x 2]", "read", "[x 1]").starts_with("not read your writes: client-1 read version 1 of x")
    );
    assert!(broken("read", "[x 2]", "read", "[x 1]").starts_with("not monotonic reads"));
    assert!(broken("write", "[x 2]", "write", "[x 1]").starts_with("not monotonic writes"));
    assert!(broken("read", "[x 2]", "write", "[x 1]").starts_with("not writes follow reads"));
    let weaker = &mut sessions().only([Guarantee::ReadYourWrites]);
    assert_eq!(judge(weaker, &[(1, "ok", "read", "[x 2]"), (1, "ok", "read", "[x 1]")]), "valid");
}
