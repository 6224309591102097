//! Every model of the command, seen to accept a history and to refuse it with a violation planted in it.

use super::{MODELS, judge};

/// Of each model a history that keeps its promise, and what breaks it when it follows. A line is `process type f value`.
const PLANTED: &[(&str, &str, &str)] = &[
    (
        "cas-register",
        "1 invoke write 3|1 ok write 3|1 invoke cas [3 4]|1 ok cas [3 4]",
        "2 invoke read nil|2 ok read 3",
    ),
    ("register", "1 invoke write 3|1 ok write 3", "2 invoke read nil|2 ok read 0"),
    ("kv", "1 invoke put a|1 ok put a|1 invoke append b|1 ok append b", "2 invoke get nil|2 ok get \"a\""),
    ("mutex", "1 invoke acquire nil|1 ok acquire nil", "2 invoke acquire nil|2 ok acquire nil"),
    (
        "fifo-queue",
        "1 invoke enqueue 3|1 ok enqueue 3|1 invoke enqueue 4|1 ok enqueue 4",
        "2 invoke dequeue nil|2 ok dequeue 4",
    ),
    (
        "multi-register",
        "1 invoke txn [[:write :x 1] [:write :y 1]]|1 ok txn [[:write :x 1] [:write :y 1]]",
        "2 invoke txn [[:read :x nil] [:read :y nil]]|2 ok txn [[:read :x 1] [:read :y 0]]",
    ),
    (
        "list-append",
        "1 invoke txn [[:append x 1]]|1 ok txn [[:append x 1]]",
        "2 invoke txn [[:r x nil]]|2 ok txn [[:r x [2]]]",
    ),
    (
        "rw-register",
        "1 invoke txn [[:w x 1] [:w y 1]]|1 ok txn [[:w x 1] [:w y 1]]",
        "2 invoke txn [[:r x nil] [:r y nil]]|2 ok txn [[:r x nil] [:r y 1]]",
    ),
    (
        "closed-predicate",
        "1 invoke init {x 0}|1 ok init {x 0}|1 invoke txn [[:w x 1] [:insert y 2]]|1 ok txn [[:w x 1] [:insert y 2]]",
        "2 invoke txn [[:rp [:= 1] nil]]|2 ok txn [[:rp [:= 1] {}]]",
    ),
    ("bank", "1 invoke read nil|1 ok read {0 5 1 5}", "1 invoke read nil|1 ok read {0 5 1 6}"),
    ("counter", "1 invoke add 2|1 ok add 2|1 invoke read nil|1 ok read 2", "1 invoke read nil|1 ok read 3"),
    ("set", "1 invoke add 2|1 ok add 2|1 invoke read nil|1 ok read [2]", "1 invoke read nil|1 ok read []"),
    ("set-full", "1 invoke add 2|1 ok add 2|1 invoke read nil|1 ok read [2]", "1 invoke read nil|1 ok read []"),
    (
        "queue",
        "1 invoke enqueue 2|1 ok enqueue 2|1 invoke drain nil|1 ok drain [2]",
        "1 invoke dequeue nil|1 ok dequeue 3",
    ),
    ("unique-ids", "1 invoke generate nil|1 ok generate 1", "1 invoke generate nil|1 ok generate 1"),
    (
        "long-fork",
        "1 invoke read nil|1 ok read [[:r 1 1] [:r 2 nil]]",
        "1 invoke read nil|1 ok read [[:r 1 nil] [:r 2 1]]",
    ),
    (
        "kafka",
        "1 invoke send [[:send x 7]]|1 ok send [[:send x [0 7]]]|2 invoke poll [[:poll]]|2 ok poll [[:poll {x [[0 7]]}]]",
        "1 invoke send [[:send x 8]]|1 ok send [[:send x [0 8]]]",
    ),
    (
        "causal",
        "1 invoke read-init nil|1 ok read-init 0 :link :init :position 1",
        "1 invoke read nil|1 ok read 4 :link 1 :position 2",
    ),
    (
        "causal-reverse",
        "1 invoke write 1|1 ok write 1|1 invoke write 2|1 ok write 2",
        "1 invoke read nil|1 ok read [2]",
    ),
    ("monotonic", "1 invoke read nil|1 ok read 2", "1 invoke read nil|1 ok read 1"),
    ("sessions", "1 invoke write nil|1 ok write [x 2]", "1 invoke read nil|1 ok read [x 1]"),
    ("g2", "1 invoke insert nil|1 ok insert [7 [1 nil]]", "1 invoke insert nil|1 ok insert [7 [nil 2]]"),
];

fn history(lines: &str) -> String {
    let line = |line: &str| {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (process, phase, f, value) = (word(), word(), word(), word());
        format!("{{:process {process} :type :{phase} :f :{f} :key 1 :value {value}}}\n")
    };
    lines.split('|').map(line).collect()
}

#[test]
fn every_model_accepts_a_history_and_refuses_it_with_a_violation_planted() {
    for (model, _) in MODELS {
        let (_, good, bad) = PLANTED.iter().find(|(name, ..)| name == model).expect(model);
        let kept = judge(model, &history(good)).expect(model);
        assert!(kept.evidence().is_none(), "{model}: {kept}");
        let broken = judge(model, &history(&format!("{good}|{bad}"))).expect(model);
        assert!(broken.evidence().is_some(), "{model}: {broken}");
    }
}
