//! Sets: read at the end, and read all the time.

use super::*;

const SET: Draw = |dice| match dice.roll(3) {
    0 => ("read", Value::Nil, dice.elements()),
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
