//! Queues, and numbers that are given once.

use super::*;

const QUEUE: Draw = |dice| {
    let value = dice.int(3);
    match dice.roll(9) {
        0..=3 => ("enqueue", value.clone(), value),
        4..=7 => ("dequeue", Value::Nil, value),
        _ => ("drain", Value::Nil, Value::List((0..3).filter(|_| dice.roll(2) == 0).map(Value::Int).collect())),
    }
};

fn count<'v>(mut values: impl Iterator<Item = &'v Value>, value: &Value) -> usize {
    values.by_ref().filter(|other| *other == value).count()
}

#[test]
fn a_queue_that_is_drained_agrees_with_its_definition() {
    agree(
        QUEUE,
        || Box::new(total_queue()),
        |events| {
            let out = |until: usize| {
                let taken = |e: &ClientEvent| match (e.phase, e.f.as_str()) {
                    (Phase::Ok, "dequeue") => vec![e.value.clone()],
                    (Phase::Ok, "drain") => e.value.members().to_vec(),
                    _ => vec![],
                };
                events[..until].iter().flat_map(taken).collect::<Vec<_>>()
            };
            let tried = |until: usize| {
                events[..until].iter().filter(|e| e.phase == Phase::Invoke && e.f == "enqueue").map(|e| &e.value)
            };
            let invented = (1..=events.len()).any(|n| out(n).iter().any(|value| count(tried(n), value) == 0));
            let cut = events.iter().any(|e| e.phase == Phase::Info && e.f == "drain");
            let all = out(events.len());
            let put = || oks(events, "enqueue").into_iter().map(|e| &e.value);
            let lost = put().any(|value| count(put(), value) > count(all.iter(), value));
            match (invented, cut) {
                (true, _) => Said::Broken,
                (false, true) => Said::Open,
                (false, false) => broken_if(lost),
            }
        },
    );
}

#[test]
fn a_queue_judged_by_a_model_agrees_with_its_definition() {
    agree(
        QUEUE,
        || Box::new(model_queue()),
        |events| {
            let short = |n: usize| {
                let count = |phase, f, value: &Value| {
                    events[..=n].iter().filter(|e| e.phase == phase && e.f == f && e.value == *value).count()
                };
                let of = |value: &Value| count(Phase::Ok, "dequeue", value) > count(Phase::Invoke, "enqueue", value);
                (0..3).map(Value::Int).any(|value| of(&value))
            };
            broken_if((0..events.len()).any(short))
        },
    );
}

#[test]
fn unique_numbers_agree_with_their_definition() {
    let draw: Draw = |dice| ("generate", Value::Nil, dice.int(12));
    agree(
        draw,
        || Box::new(unique_ids()),
        |events| {
            let given = oks(events, "generate");
            let distinct: BTreeSet<&Value> = given.iter().map(|e| &e.value).collect();
            broken_if(distinct.len() < given.len())
        },
    );
}
