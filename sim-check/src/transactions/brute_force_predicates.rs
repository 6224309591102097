//! Reads by predicates against a judge that tries every order, on many small histories.

use std::collections::BTreeMap;

use super::brute_force::{Txn, explains, serve};
use super::{Consistency, Mop, Transactions, closed_predicate};
use crate::dice::Dice;
use crate::history::History;
use crate::read::Value;

const HISTORIES: u64 = 100_000;

type Rows = BTreeMap<Value, Value>;

fn matches(predicate: &Value, value: &Value) -> bool {
    match predicate.members() {
        [_, equal] => value == equal,
        [_, modulus, rest] => value.as_int().map(|n| n % modulus.as_int().unwrap_or(1)) == rest.as_int(),
        _ => true,
    }
}

fn select(predicate: &Value, rows: &Rows) -> Vec<(Value, Value)> {
    let all = rows.iter().map(|(key, value)| (key.clone(), value.clone()));
    all.filter(|(_, value)| matches(predicate, value)).collect()
}

/// Changes the rows as a step says, if it changes any.
fn change(rows: &mut Rows, mop: &Mop) {
    match mop {
        Mop::Insert(key, value) | Mop::Write(key, value) => drop(rows.insert(key.clone(), value.clone())),
        Mop::Delete(key) => drop(rows.remove(key)),
        _ => {}
    }
}

/// The rows after a transaction, if it can have read what it read.
fn run(rows: &Rows, txn: &Txn) -> Option<Rows> {
    let mut rows = rows.clone();
    let known = txn.acknowledged().is_some();
    for mop in txn.acknowledged().map_or(&txn.op, |(ret, _)| ret) {
        match mop {
            Mop::Read(key, seen) if known && seen.as_ref() != rows.get(key) => return None,
            Mop::ReadWhere(predicate, seen) if known && seen.as_deref() != Some(&select(predicate, &rows)) => {
                return None;
            }
            _ => change(&mut rows, mop),
        }
    }
    Some(rows)
}

fn predicate(dice: &mut Dice) -> Value {
    let word = |word: &str| Value::Keyword(word.to_string());
    let number = Value::Int(dice.roll(3) as i64);
    match dice.roll(3) {
        0 => word("true"),
        1 => Value::List(vec![word("="), number]),
        _ => Value::List(vec![word("mod"), Value::Int(2), Value::Int(dice.roll(2) as i64)]),
    }
}

/// A step of a transaction; each key is changed once.
fn step(dice: &mut Dice, keys: &mut Vec<Value>, first: &Rows, value: &mut i64) -> Mop {
    let kind = dice.roll(5);
    if kind < 2 && !keys.is_empty() {
        let key = keys.swap_remove(dice.roll(keys.len() as u64) as usize);
        *value += 1;
        return match (first.contains_key(&key), dice.roll(2)) {
            (false, _) => Mop::Insert(key, (*value).into()),
            (true, 0) => Mop::Delete(key),
            (true, _) => Mop::Write(key, (*value).into()),
        };
    }
    if kind == 2 {
        Mop::Read(["x", "y", "z"][dice.roll(3) as usize].into(), None)
    } else {
        Mop::ReadWhere(predicate(dice), None)
    }
}

/// What a store might do that runs transactions one after another, and sometimes answers with the past; and what it began
/// with.
fn random(dice: &mut Dice) -> (Vec<Txn>, Rows) {
    let history = History::new();
    let mut keys: Vec<Value> = ["x", "y", "z"].map(Value::from).to_vec();
    let first: Rows = keys.iter().filter(|_| dice.roll(2) == 0).map(|key| (key.clone(), Value::Int(0))).collect();
    let begin: Vec<Mop> = first.iter().map(|(key, value)| Mop::Init(key.clone(), value.clone())).collect();
    history.invoke_at(99, begin.clone(), 0).ok_at(begin, 0);
    let (mut versions, mut value) = (vec![first.clone()], 0);
    let answer = |dice: &mut Dice, mops: &mut [Mop], sloppy: bool| {
        let mut rows = versions.last().cloned().unwrap_or_default();
        for mop in mops {
            let old = &versions[dice.roll(versions.len() as u64) as usize];
            let from = if sloppy && dice.roll(2) == 0 { old } else { &rows };
            match mop {
                Mop::Read(key, seen) => *seen = from.get(key).cloned(),
                Mop::ReadWhere(predicate, seen) => *seen = Some(select(predicate, from)),
                mop => change(&mut rows, mop),
            }
        }
        versions.push(rows);
    };
    serve(&history, dice, |dice| step(dice, &mut keys, &first, &mut value), answer);
    (history.operations(), first)
}

#[test]
fn predicates_agree_with_trying_every_order() {
    let mut valid = 0;
    for seed in 0..HISTORIES {
        let (operations, first) = random(&mut Dice(seed << 20));
        let begins = |txn: &&Txn| matches!(txn.op.first(), Some(Mop::Init(..)));
        let left: Vec<&Txn> = operations.iter().filter(|txn| !txn.failed() && !begins(txn)).collect();
        let analysis = closed_predicate().analyse(&Transactions::of(&operations));
        for (model, realtime) in [(Consistency::Serializable, false), (Consistency::StrictSerializable, true)] {
            let expected = explains(&first, &left, realtime, &run);
            let verdict = analysis.verdict(model);
            assert_eq!(verdict.is_valid(), expected, "{model}: {verdict} of {operations:#?} from {first:?}");
            valid += u64::from(expected);
        }
    }
    let some = HISTORIES / 4;
    assert!((some..HISTORIES * 2 - some).contains(&valid), "{valid} of twice {HISTORIES} are valid");
}
