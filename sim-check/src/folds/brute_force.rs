//! Every check that is one pass, against its definition written out in full, on many small histories.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::history::Moment;
use crate::read::Value;

const HISTORIES: u64 = 100_000;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 31)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        (mixed ^ (mixed >> 32)) % sides
    }

    fn int(&mut self, sides: u64) -> Value {
        Value::Int(self.roll(sides) as i64)
    }
}

/// What an operation asks for, and what it may be answered.
type Draw = fn(&mut Dice) -> (&'static str, Value, Value);

/// A few overlapping operations of three clients, some failed, some of unknown outcome.
fn random(dice: &mut Dice, draw: Draw) -> Vec<ClientEvent> {
    let mut events: Vec<ClientEvent> = Vec::new();
    let mut open: BTreeMap<u64, (&'static str, Value, Value)> = BTreeMap::new();
    for _ in 0..4 + dice.roll(9) {
        let process = dice.roll(3);
        let (phase, f, value) = match open.remove(&process) {
            None => {
                let asked = draw(dice);
                open.insert(process, asked.clone());
                (Phase::Invoke, asked.0, asked.1)
            }
            Some((f, asked, answer)) => match dice.roll(8) {
                0 => (Phase::Fail, f, asked),
                1 => (Phase::Info, f, asked),
                _ => (Phase::Ok, f, answer),
            },
        };
        let moment = Moment { index: events.len() as u64, time: 0 };
        events.push(ClientEvent { process, phase, f: f.to_string(), value, also: Vec::new(), moment });
    }
    events
}

/// What a check may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Fine,
    Broken,
    Open,
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Valid | Verdict::Vacuous(_) => Said::Fine,
        Verdict::Invalid(_) => Said::Broken,
        Verdict::Unknown(_) => Said::Open,
    }
}

/// An operation in full: invocation, completion.
type Pair<'e> = (&'e ClientEvent, Option<&'e ClientEvent>);

fn pairs(events: &[ClientEvent]) -> Vec<Pair<'_>> {
    let invoked = events.iter().enumerate().filter(|(_, event)| event.phase == Phase::Invoke);
    let end = |(n, event): (usize, &ClientEvent)| events[n + 1..].iter().find(|end| end.process == event.process);
    invoked.map(|(n, event)| (event, end((n, event)))).collect()
}

fn ended<'e>(pair: &Pair<'e>, phase: Phase) -> Option<&'e ClientEvent> {
    pair.1.filter(|end| end.phase == phase)
}

fn oks<'e>(events: &'e [ClientEvent], f: &str) -> Vec<&'e ClientEvent> {
    events.iter().filter(|event| event.phase == Phase::Ok && event.f == f).collect()
}

/// Agreement on random histories, of which a fair part must be fine and a fair part broken.
fn agree(draw: Draw, check: fn() -> Box<dyn Fold>, definition: fn(&[ClientEvent]) -> Said) {
    let (mut fine, mut broken) = (0, 0);
    for seed in 0..HISTORIES {
        let events = random(&mut Dice(seed << 20), draw);
        let verdict = fold(&mut *check(), &events);
        let expected = definition(&events);
        assert_eq!(said(&verdict), expected, "{verdict} of {events:#?}");
        fine += u64::from(expected == Said::Fine);
        broken += u64::from(expected == Said::Broken);
    }
    assert!(fine > HISTORIES / 100 && broken > HISTORIES / 100, "{fine} fine and {broken} broken of {HISTORIES}");
}

fn broken_if(broken: bool) -> Said {
    if broken { Said::Broken } else { Said::Fine }
}

#[test]
fn a_bank_agrees_with_its_definition() {
    let draw: Draw = |dice| {
        let account =
            |dice: &mut Dice, name| (Value::Int(name), Value::Int(dice.roll(3) as i64 - i64::from(dice.roll(9) == 0)));
        let other = 1 + i64::from(dice.roll(9) == 0);
        let found = vec![account(dice, 0), account(dice, other)];
        ("read", Value::Nil, Value::Map(found))
    };
    agree(
        draw,
        || Box::new(bank()),
        |events| {
            let reads: Vec<BTreeMap<_, i64>> = oks(events, "read")
                .iter()
                .map(|read| match &read.value {
                    Value::Map(found) => found.iter().map(|(k, v)| (k.clone(), v.as_int().unwrap_or(0))).collect(),
                    _ => BTreeMap::new(),
                })
                .collect();
            let Some(first) = reads.first() else { return Said::Fine };
            let sum = |read: &BTreeMap<Value, i64>| read.values().sum::<i64>();
            let wrong = |read: &BTreeMap<Value, i64>| {
                read.keys().any(|key| !first.contains_key(key))
                    || sum(read) != sum(first)
                    || read.values().any(|v| *v < 0)
            };
            broken_if(reads.iter().any(wrong))
        },
    );
}

#[test]
fn a_bank_of_a_known_total_that_lends_agrees_with_its_definition() {
    let draw: Draw = |dice| {
        let balance = |dice: &mut Dice| match dice.roll(20) {
            0 => Value::Nil,
            _ => Value::Int(dice.roll(4) as i64 - 1),
        };
        let found = vec![(Value::Int(0), balance(dice)), (Value::Int(1), balance(dice))];
        if dice.roll(6) == 0 { ("transfer", Value::Nil, Value::Nil) } else { ("read", Value::Nil, Value::Map(found)) }
    };
    agree(
        draw,
        || Box::new(bank().total(2).negative_balances()),
        |events| {
            let sum = |read: &ClientEvent| match &read.value {
                Value::Map(found) => found.iter().map(|(_, balance)| balance.as_int()).sum::<Option<i64>>(),
                _ => Some(2),
            };
            broken_if(oks(events, "read").iter().any(|read| sum(read) != Some(2)))
        },
    );
}

#[test]
fn a_counter_agrees_with_its_definition() {
    let draw: Draw = |dice| match dice.roll(2) {
        0 => {
            let add = dice.int(3);
            ("add", add.clone(), add)
        }
        _ => ("read", Value::Nil, dice.int(5)),
    };
    agree(
        draw,
        || Box::new(counter()),
        |events| {
            let pairs = pairs(events);
            let sum = |counts: &dyn Fn(&Pair<'_>) -> bool| {
                pairs
                    .iter()
                    .filter(|pair| pair.0.f == "add" && counts(pair))
                    .filter_map(|pair| pair.0.value.as_int())
                    .sum::<i64>()
            };
            let wrong = |read: &Pair<'_>| {
                let Some(end) = ended(read, Phase::Ok).filter(|end| end.f == "read") else { return false };
                let sure = |add: &Pair<'_>| ended(add, Phase::Ok).is_some_and(|at| at.moment < read.0.moment);
                let tried = |add: &Pair<'_>| add.0.moment < end.moment && ended(add, Phase::Fail).is_none();
                let found = end.value.as_int().expect("a number");
                found < sum(&sure) || found > sum(&tried)
            };
            broken_if(pairs.iter().any(wrong))
        },
    );
}

fn elements(dice: &mut Dice) -> Value {
    Value::List((0..4).filter(|_| dice.roll(4) > 0).map(Value::Int).collect())
}

const SET: Draw = |dice| match dice.roll(3) {
    0 => ("read", Value::Nil, elements(dice)),
    _ => {
        let element = dice.int(4);
        ("add", element.clone(), element)
    }
};

#[test]
fn a_set_agrees_with_its_definition() {
    agree(
        SET,
        || Box::new(set()),
        |events| {
            let adds = |phase| events.iter().filter(move |e| e.phase == phase && e.f == "add").map(|e| &e.value);
            // What nobody had tried to add when a read found it is told at once, also if it is added later.
            let early = |read: &&ClientEvent| {
                let before = events.iter().take_while(|event| event.moment < read.moment);
                let tried: Vec<_> =
                    before.filter(|e| e.phase == Phase::Invoke && e.f == "add").map(|e| &e.value).collect();
                read.value.members().iter().any(|value| !tried.contains(&value))
            };
            let reads = oks(events, "read");
            let Some(last) = reads.last() else { return Said::Open };
            let lost = adds(Phase::Ok).any(|value| !last.value.members().contains(value));
            broken_if(lost || reads.iter().any(early))
        },
    );
}

#[test]
fn a_set_read_all_the_time_agrees_with_its_definition() {
    let draw: Draw = |dice| match SET(dice) {
        ("read", asked, Value::List(mut found)) if dice.roll(20) == 0 => {
            found.extend(found.first().cloned());
            ("read", asked, Value::List(found))
        }
        other => other,
    };
    agree(
        draw,
        || Box::new(set_full()),
        |events| {
            let pairs = pairs(events);
            let reads: Vec<(&ClientEvent, &ClientEvent)> =
                pairs.iter().filter(|p| p.0.f == "read").filter_map(|p| Some((p.0, ended(p, Phase::Ok)?))).collect();
            let mut fates = Vec::new();
            for element in (0..4).map(Value::Int) {
                // An element that is added again begins anew.
                let Some(add) = events.iter().rfind(|e| e.f == "add" && e.phase == Phase::Invoke && e.value == element)
                else {
                    continue;
                };
                let ok = events
                    .iter()
                    .find(|e| e.f == "add" && e.phase == Phase::Ok && e.value == element && e.moment > add.moment);
                let after: Vec<_> = reads.iter().filter(|(_, end)| end.moment > add.moment).collect();
                let has = |read: &ClientEvent| read.value.members().contains(&element);
                let present = after.iter().filter(|(_, end)| has(end)).map(|(begin, _)| begin.moment.index).max();
                let absent = after.iter().filter(|(_, end)| !has(end)).map(|(begin, _)| begin.moment.index).max();
                let seen = after.iter().filter(|(_, end)| has(end)).map(|(_, end)| end.moment.index).min();
                let known = ok.map(|e| e.moment.index).into_iter().chain(seen).min();
                let stable = present.is_some_and(|present| absent.is_none_or(|absent| absent < present));
                let lost =
                    known.is_some_and(|known| absent.is_some_and(|a| present.is_none_or(|p| p < a) && known < a));
                fates.push((stable, lost));
            }
            let tracked = |value: &Value, end: &ClientEvent| {
                events
                    .iter()
                    .any(|e| e.f == "add" && e.phase == Phase::Invoke && e.value == *value && e.moment < end.moment)
            };
            let twice = reads.iter().any(|(_, end)| {
                let found = end.value.members();
                found
                    .iter()
                    .any(|value| tracked(value, end) && found.iter().filter(|other| *other == value).count() > 1)
            });
            match (twice || fates.iter().any(|(_, lost)| *lost), fates.iter().any(|(stable, _)| *stable)) {
                (true, _) => Said::Broken,
                (false, false) => Said::Open,
                (false, true) => Said::Fine,
            }
        },
    );
}

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

#[test]
fn long_forks_agree_with_their_definition() {
    let draw: Draw = |dice| {
        let read = |dice: &mut Dice, key| {
            let value = if dice.roll(2) == 0 { Value::Nil } else { Value::Int(1) };
            Value::List(vec![Value::Keyword("r".into()), Value::Int(key), value])
        };
        ("read", Value::Nil, Value::List(vec![read(dice, 1), read(dice, 2)]))
    };
    agree(
        draw,
        || Box::new(long_fork()),
        |events| {
            let seen = |e: &ClientEvent| -> BTreeSet<usize> {
                let micros = e.value.members().iter().enumerate();
                micros.filter(|(_, micro)| micro.members()[2] != Value::Nil).map(|(n, _)| n).collect()
            };
            let reads: Vec<_> = oks(events, "read").into_iter().map(seen).collect();
            let fork = |a: &BTreeSet<usize>| reads.iter().any(|b| !a.is_subset(b) && !b.is_subset(a));
            broken_if(reads.iter().any(fork))
        },
    );
}

#[test]
fn writes_that_show_others_agree_with_their_definition() {
    let draw: Draw = |dice| match dice.roll(2) {
        0 => ("read", Value::Nil, elements(dice)),
        _ => {
            let value = dice.int(4);
            ("write", value.clone(), value)
        }
    };
    agree(
        draw,
        || Box::new(causal_reverse()),
        |events| {
            let wrong = |read: &&ClientEvent| {
                let found = read.value.members();
                let begun =
                    events.iter().filter(|e| e.moment < read.moment && e.phase == Phase::Invoke && e.f == "write");
                // A value that is written again counts from its last write.
                let mut latest: BTreeMap<&Value, u64> = BTreeMap::new();
                latest.extend(begun.map(|e| (&e.value, e.moment.index)));
                let due = |at: u64| oks(events, "write").into_iter().filter(move |e| e.moment.index < at);
                latest.iter().any(|(value, at)| found.contains(value) && due(*at).any(|e| !found.contains(&e.value)))
            };
            broken_if(oks(events, "read").iter().any(wrong))
        },
    );
}

/// Reads and writes of a register, most of them as they have to be.
fn causal_events(dice: &mut Dice) -> Vec<ClientEvent> {
    let (mut value, mut counter, mut position) = (0, 0, Value::Nil);
    let mut event = |index: u64, dice: &mut Dice| {
        let off = |dice: &mut Dice| i64::from(dice.roll(12) == 0);
        let f = ["read-init", "read", "write"][dice.roll(3) as usize];
        let found = match f {
            "write" => Value::Int(counter + 1 + off(dice)),
            _ if dice.roll(12) == 0 => Value::Nil,
            _ => Value::Int(value + off(dice)),
        };
        let link = match dice.roll(12) {
            0 => Value::Keyword("init".into()),
            1 => Value::Int(dice.roll(4) as i64),
            _ => position.clone(),
        };
        if f == "write" {
            (counter, value) = (counter + 1, found.as_int().expect("a number"));
        }
        position = Value::Int(index as i64);
        let also = vec![("link".to_string(), link), ("position".to_string(), position.clone())];
        let phase = if dice.roll(12) == 0 { Phase::Info } else { Phase::Ok };
        let moment = Moment { index, time: 0 };
        ClientEvent { process: 1, phase, f: f.to_string(), value: found, also, moment }
    };
    let length = 1 + dice.roll(6);
    (0..length).map(|index| event(index, &mut *dice)).collect()
}

#[test]
fn causal_registers_agree_with_their_definition() {
    let (mut fine, mut broken) = (0, 0);
    for seed in 0..HISTORIES {
        let events = causal_events(&mut Dice(seed << 20));
        let acts: Vec<&ClientEvent> = events.iter().filter(|event| event.phase == Phase::Ok).collect();
        let holds = |n: usize| {
            let (act, before) = (acts[n], &acts[..n]);
            let writes: Vec<_> = before.iter().filter(|act| act.f == "write").collect();
            let value = writes.last().map_or(Value::Int(0), |write| write.value.clone());
            let position = before.last().and_then(|last| last.also("position").cloned()).unwrap_or_default();
            let linked = [&Value::Keyword("init".into()), &position].contains(&act.also("link").expect("a link"));
            let first = act.f == "read-init" && writes.is_empty();
            linked
                && match act.f.as_str() {
                    "write" => act.value == Value::Int(writes.len() as i64 + 1),
                    _ if first => act.value == Value::Int(0),
                    _ => act.value == Value::Nil || act.value == value,
                }
        };
        // What follows a violation is not judged.
        let expected = (0..acts.len()).all(holds);
        let verdict = fold(&mut causal(), &events);
        assert_eq!(verdict.evidence().is_none(), expected, "{verdict} of {events:#?}");
        *(if expected { &mut fine } else { &mut broken }) += 1;
    }
    assert!(fine > HISTORIES / 10 && broken > HISTORIES / 10, "{fine} fine and {broken} broken of {HISTORIES}");
}

#[test]
fn numbers_that_grow_agree_with_their_definition() {
    let draw: Draw = |dice| ("read", Value::Nil, dice.int(9));
    agree(
        draw,
        || Box::new(monotonic()),
        |events| {
            let reads = oks(events, "read");
            let back = |a: &&ClientEvent| {
                reads.iter().any(|b| a.process == b.process && a.moment < b.moment && b.value < a.value)
            };
            broken_if(reads.iter().any(back))
        },
    );
    agree(
        draw,
        || Box::new(monotonic().for_all_clients()),
        |events| {
            let pairs = pairs(events);
            let reads: Vec<_> = pairs.iter().filter_map(|pair| Some((pair.0, ended(pair, Phase::Ok)?))).collect();
            broken_if(reads.iter().any(|a| reads.iter().any(|b| a.1.moment < b.0.moment && b.1.value < a.1.value)))
        },
    );
}

#[test]
fn inserts_that_exclude_each_other_agree_with_their_definition() {
    let draw: Draw = |dice| {
        let value = Value::List(vec![dice.int(12), Value::Nil]);
        ("insert", value.clone(), value)
    };
    agree(
        draw,
        || Box::new(g2()),
        |events| {
            let keys: Vec<_> = oks(events, "insert").into_iter().map(|e| &e.value.members()[0]).collect();
            broken_if(keys.iter().collect::<BTreeSet<_>>().len() < keys.len())
        },
    );
}

#[test]
fn sessions_agree_with_their_definition() {
    let draw: Draw = |dice| {
        let version = |dice: &mut Dice| Value::List(vec![Value::from("x"), dice.int(12)]);
        if dice.roll(2) == 0 { ("read", Value::Nil, version(dice)) } else { ("write", Value::Nil, version(dice)) }
    };
    agree(
        draw,
        || Box::new(sessions()),
        |events| {
            let acts: Vec<_> = events.iter().filter(|e| e.phase == Phase::Ok).collect();
            let version = |e: &ClientEvent| e.value.members()[1].as_int();
            let wrong = |a: &&ClientEvent, b: &&ClientEvent| {
                let older = if b.f == "write" { version(b) <= version(a) } else { version(b) < version(a) };
                a.process == b.process && a.moment < b.moment && older
            };
            broken_if(acts.iter().any(|a| acts.iter().any(|b| wrong(a, b))))
        },
    );
}

#[test]
fn logs_agree_with_their_definition() {
    let draw: Draw = |dice| {
        let pair = |dice: &mut Dice| {
            let offset = dice.roll(4);
            let value = if dice.roll(12) == 0 { dice.roll(4) } else { offset };
            Value::List(vec![Value::Int(offset as i64), Value::Int(value as i64)])
        };
        let word = |word: &str| Value::Keyword(word.into());
        if dice.roll(2) == 0 {
            let pair = pair(dice);
            let send = |value: Value| Value::List(vec![Value::List(vec![word("send"), word("x"), value])]);
            return ("send", send(pair.members()[1].clone()), send(pair));
        }
        let found = Value::List((0..1 + dice.roll(3)).map(|_| pair(dice)).collect());
        let poll = Value::List(vec![word("poll"), Value::Map(vec![(word("x"), found)])]);
        ("poll", Value::List(vec![Value::List(vec![word("poll")])]), Value::List(vec![poll]))
    };
    let (mut fine, mut broken) = (0, 0);
    for seed in 0..HISTORIES {
        let events = random(&mut Dice(seed << 20), draw);
        let mut check = kafka();
        fold(&mut check, &events);
        let report = check.report();
        let found: Vec<String> = report.problems.keys().map(ToString::to_string).filter(|kind| kind != "G1c").collect();
        let expected = log_kinds(&events);
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "of {events:#?}");
        fine += u64::from(expected.is_empty());
        broken += u64::from(!expected.is_empty());
    }
    assert!(fine > HISTORIES / 100 && broken > HISTORIES / 100, "{fine} fine and {broken} broken of {HISTORIES}");
}

/// The kinds of problems of a log of one partition, by their definitions in Jepsen.
fn log_kinds(events: &[ClientEvent]) -> BTreeSet<&'static str> {
    let ends: Vec<&ClientEvent> = {
        let mut left: Vec<_> = pairs(events).into_iter().filter(|pair| pair.1.is_none()).map(|pair| pair.0).collect();
        left.sort_by_key(|event| event.process);
        events.iter().filter(|e| e.phase != Phase::Invoke).chain(left).collect()
    };
    let phase = |e: &ClientEvent| if e.phase == Phase::Invoke { Phase::Info } else { e.phase };
    let pair =
        |pair: &Value| (pair.members()[0].as_int().expect("an offset"), pair.members()[1].as_int().expect("a value"));
    let sent = |e: &ClientEvent| -> Option<Sent> {
        let value = e.value.members().first()?.members().get(2).filter(|_| e.f == "send")?;
        Some(if value.members().is_empty() { (None, value.as_int()?) } else { (Some(pair(value).0), pair(value).1) })
    };
    let polled = |e: &ClientEvent| -> Vec<(i64, i64)> {
        let Some(Value::Map(found)) =
            e.value.members().first().and_then(|poll| poll.members().get(1)).filter(|_| e.f == "poll")
        else {
            return vec![];
        };
        found[0].1.members().iter().map(pair).collect()
    };
    let seen: BTreeSet<i64> =
        ends.iter().filter(|e| phase(e) == Phase::Ok).flat_map(|e| polled(e)).map(|(_, value)| value).collect();
    let counts = |e: &ClientEvent| match (phase(e), sent(e)) {
        (Phase::Ok, Some(_)) => true,
        (Phase::Info, Some((_, value))) => seen.contains(&value),
        _ => false,
    };
    let mut log: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for e in &ends {
        for (offset, value) in polled(e) {
            log.entry(offset).or_default().insert(value);
        }
        if let (true, Some((Some(offset), value))) = (counts(e), sent(e)) {
            log.entry(offset).or_default().insert(value);
        }
    }
    let mut kinds = BTreeSet::new();
    let mut add = |kind: &'static str, is: bool| kinds.extend(is.then_some(kind));
    add("inconsistent-offsets", log.values().any(|values| values.len() > 1));
    let offsets = |value: i64| log.values().enumerate().filter(move |(_, at)| at.contains(&value)).map(|(n, _)| n);
    add("duplicate", (0..4).any(|value| offsets(value).count() > 1));
    let failed: BTreeSet<i64> =
        ends.iter().filter(|e| phase(e) == Phase::Fail).filter_map(|e| sent(e)).map(|s| s.1).collect();
    add("G1a", seen.iter().any(|value| failed.contains(value)));
    let unseen = |e: &&&ClientEvent| phase(e) == Phase::Ok && sent(e).is_some_and(|(_, value)| !seen.contains(&value));
    add("unseen", ends.iter().any(|e| unseen(&e)));
    let bound = seen.iter().filter_map(|value| offsets(*value).next()).max();
    let lost = |value: i64| {
        let writer = ends.iter().rfind(|e| sent(e).is_some_and(|(_, sent)| sent == value));
        let due = offsets(value).max().is_some_and(|last| bound.is_some_and(|bound| last <= bound));
        due && !seen.contains(&value) && writer.is_some_and(|e| counts(e))
    };
    add("lost-write", (0..4).any(lost));
    let places: Vec<(i64, usize)> =
        log.values().filter_map(|at| order_of(at, &ends, &sent, &polled)).zip(0..).collect();
    let place = |value: i64| places.iter().rfind(|(other, _)| *other == value).map(|(_, place)| *place as i64);
    let step = |a: i64, b: i64| place(a).zip(place(b)).map_or(1, |(a, b)| b - a);
    let within = |e: &ClientEvent| polled(e).windows(2).map(|two| step(two[0].1, two[1].1)).collect::<Vec<_>>();
    add("int-poll-skip", ends.iter().any(|e| within(e).iter().any(|step| *step > 1)));
    add("int-nonmonotonic-poll", ends.iter().any(|e| within(e).iter().any(|step| *step < 1)));
    let (mut polls, mut sends) = (Vec::new(), Vec::new());
    for process in 0..3 {
        let (mut last_poll, mut last_send) = (None, None);
        for e in ends.iter().filter(|e| e.process == process) {
            if let (Some(last), Some(first)) = (last_poll, polled(e).first()) {
                polls.push(step(last, first.1));
            }
            if phase(e) == Phase::Ok {
                last_poll = polled(e).last().map(|(_, value)| *value).or(last_poll);
            }
            if let (true, Some((_, value))) = (phase(e) != Phase::Fail, sent(e)) {
                sends.extend(last_send.replace(value).map(|last| step(last, value)));
            }
        }
    }
    add("poll-skip", polls.iter().any(|step| *step > 1));
    add("nonmonotonic-poll", polls.iter().any(|step| *step < 1));
    add("nonmonotonic-send", sends.iter().any(|step| *step < 1));
    kinds
}

/// What was sent, and at which offset if that is known.
type Sent = (Option<i64>, i64);

/// Of the messages at one offset, the one that the history mentions first: any would do, and the checker takes that.
fn order_of(
    at: &BTreeSet<i64>,
    ends: &[&ClientEvent],
    sent: &dyn Fn(&ClientEvent) -> Option<Sent>,
    polled: &dyn Fn(&ClientEvent) -> Vec<(i64, i64)>,
) -> Option<i64> {
    let mentions =
        ends.iter().flat_map(|e| sent(e).map(|(_, value)| value).into_iter().chain(polled(e).into_iter().map(|p| p.1)));
    mentions.into_iter().find(|value| at.contains(value))
}

/// Transactions that each send a message and poll some, of one partition in which message n is at offset n.
const TRANSACTIONS: Draw = |dice| {
    let word = |word: &str| Value::Keyword(word.into());
    let at = |message: Value| Value::List(vec![message.clone(), message]);
    let send = |value: Value| Value::List(vec![word("send"), word("x"), value]);
    let (sent, found) = (dice.int(6), Value::List((0..dice.roll(3)).map(|_| at(dice.int(6))).collect()));
    let asked = Value::List(vec![send(sent.clone()), Value::List(vec![word("poll")])]);
    let poll = Value::List(vec![word("poll"), Value::Map(vec![(word("x"), found)])]);
    ("txn", asked, Value::List(vec![send(at(sent)), poll]))
};

#[test]
fn circles_of_logs_agree_with_the_closure_of_what_comes_before_what() {
    for ww_deps in [false, true] {
        let mut circles = 0;
        for seed in 0..HISTORIES {
            let events = random(&mut Dice(seed << 20), TRANSACTIONS);
            let mut check = if ww_deps { kafka().ww_deps() } else { kafka() };
            fold(&mut check, &events);
            let found = check.report().problems.keys().any(|kind| matches!(kind, KafkaKind::G0 | KafkaKind::G1c));
            let expected = goes_in_circles(&events, ww_deps);
            assert_eq!(found, expected, "with ww edges: {ww_deps}, of {events:#?}");
            circles += u64::from(expected);
        }
        let some = HISTORIES / 20;
        assert!((some..HISTORIES - some).contains(&circles), "{circles} of {HISTORIES} go in circles");
    }
}

/// Whether some transaction has to come before itself.
fn goes_in_circles(events: &[ClientEvent], ww_deps: bool) -> bool {
    let mut acts = pairs(events);
    acts.sort_by_key(|(invoked, end)| (end.is_none(), end.map_or(invoked.process, |end| end.moment.index)));
    let says = |n: usize| acts[n].1.unwrap_or(acts[n].0).value.members();
    let sent = |n: usize| {
        let value = &says(n)[0].members()[2];
        value.as_int().unwrap_or_else(|| value.members()[1].as_int().expect("a message"))
    };
    let polled = |n: usize| -> Vec<i64> {
        let Some(Value::Map(found)) = says(n)[1].members().get(1) else { return vec![] };
        found[0].1.members().iter().filter_map(|pair| pair.members()[1].as_int()).collect()
    };
    let (all, phase) = (0..acts.len(), |n: usize| acts[n].1.map_or(Phase::Info, |end| end.phase));
    let alive = || all.clone().filter(|n| phase(*n) != Phase::Fail);
    let writer = |message: i64| all.clone().rfind(|n| sent(*n) == message);
    let mut before = vec![vec![false; acts.len()]; acts.len()];
    for to in alive() {
        polled(to).into_iter().filter_map(writer).filter(|from| *from != to).for_each(|from| before[from][to] = true);
        let invoked = acts[to].0.moment;
        let over = alive().filter(|from| ended(&acts[*from], Phase::Ok).is_some_and(|end| end.moment < invoked));
        over.for_each(|from| before[from][to] = true);
    }
    // Only acknowledged sends tell their offset; polls of any kind do.
    let placed = all.clone().flat_map(|n| polled(n).into_iter().chain((phase(n) == Phase::Ok).then(|| sent(n))));
    let order: Vec<usize> = placed.collect::<BTreeSet<i64>>().into_iter().filter_map(writer).collect();
    for pair in order.windows(2).filter(|pair| ww_deps && pair[0] != pair[1]) {
        before[pair[0]][pair[1]] = true;
    }
    for middle in all.clone() {
        for from in all.clone() {
            for to in all.clone() {
                before[from][to] |= before[from][middle] && before[middle][to];
            }
        }
    }
    all.into_iter().any(|n| before[n][n])
}
