//! Logs such as Kafka's.

use super::*;

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
