//! What comes into sight before what: forks, causality, growth, exclusion, sessions.

use super::*;

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
        0 => ("read", Value::Nil, dice.elements()),
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
