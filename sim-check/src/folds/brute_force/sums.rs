//! Banks and counters.

use super::*;

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
