//! The analysis against a judge that tries every order, on many small histories.

use super::{Consistency, Mop, Transactions, list_append};
use crate::dice::Dice;
use crate::history::{History, Operation};
use crate::read::Value;

pub(super) type Txn = Operation<Vec<Mop>, Vec<Mop>>;

const HISTORIES: u64 = 100_000;

type Lists = [Vec<Value>; 2];

fn key(key: &Value) -> usize {
    usize::from(*key == Value::from("y"))
}

/// The lists after a transaction, if it can have read what it read.
fn run(lists: &Lists, txn: &Txn) -> Option<Lists> {
    let mut lists = lists.clone();
    for mop in txn.acknowledged().map_or(&txn.op, |(ret, _)| ret) {
        match mop {
            Mop::Append(k, value) | Mop::Write(k, value) => lists[key(k)].push(value.clone()),
            Mop::Read(k, Some(Value::List(seen))) if *seen != lists[key(k)] => return None,
            _ => {}
        }
    }
    Some(lists)
}

/// Whether some order of the transactions explains what the committed ones read; `run` is the state after one of them, if
/// it can have read what it read.
pub(super) fn explains<S>(state: &S, left: &[&Txn], realtime: bool, run: &impl Fn(&S, &Txn) -> Option<S>) -> bool {
    let done = |txn: &&Txn| txn.acknowledged().map(|(_, at)| at.index);
    if left.iter().all(|txn| done(txn).is_none()) {
        return true;
    }
    let deadline = left.iter().filter_map(done).min().filter(|_| realtime).unwrap_or(u64::MAX);
    (0..left.len()).filter(|n| left[*n].invoked.index < deadline).any(|n| {
        let rest: Vec<_> = [&left[..n], &left[n + 1..]].concat();
        run(state, left[n]).is_some_and(|next| explains(&next, &rest, realtime, run))
    })
}

/// Runs transactions that a few clients ask for, of which some overlap, fail or are never heard of again. `ask` draws what
/// one asks for; `answer` does it, by the past where the store is sloppy.
pub(super) fn serve(
    history: &History<Vec<Mop>, Vec<Mop>>,
    dice: &mut Dice,
    mut ask: impl FnMut(&mut Dice) -> Mop,
    mut answer: impl FnMut(&mut Dice, &mut [Mop], bool),
) {
    let mut open = Vec::new();
    let (count, sloppy) = (2 + dice.roll(3), dice.roll(4) > 0);
    let mut begun = 0;
    while begun < count || !open.is_empty() {
        if begun < count && (open.is_empty() || dice.roll(2) == 0) {
            let mops: Vec<Mop> = (0..1 + dice.roll(3)).map(|_| ask(dice)).collect();
            open.push((history.invoke_at(dice.roll(2) * 10 + begun, mops.clone(), 0), mops));
            begun += 1;
            continue;
        }
        let (call, mut mops) = open.swap_remove(dice.roll(open.len() as u64) as usize);
        let end = dice.roll(10);
        if end == 0 {
            call.fail_at(0);
            continue;
        }
        answer(dice, &mut mops, sloppy);
        match end {
            1 => call.info_at(0),
            2 => drop(call),
            _ => call.ok_at(mops, 0),
        }
    }
}

/// What a store might do that runs transactions one after another, and sometimes answers with the past.
fn random(dice: &mut Dice) -> Vec<Txn> {
    let history = History::new();
    let (mut versions, mut value) = (vec![Lists::default()], 0);
    serve(&history, dice, |dice| mop(dice, &mut value), |dice, mops, sloppy| answer(dice, &mut versions, mops, sloppy));
    history.operations()
}

fn mop(dice: &mut Dice, value: &mut i64) -> Mop {
    let key = ["x", "y"][dice.roll(2) as usize].into();
    if dice.roll(2) == 0 {
        return Mop::Read(key, None);
    }
    *value += 1;
    Mop::Append(key, (*value).into())
}

/// Runs a transaction; reads see the newest version, or in a sloppy store any.
fn answer(dice: &mut Dice, versions: &mut Vec<Lists>, mops: &mut [Mop], sloppy: bool) {
    let mut lists = versions.last().cloned().unwrap_or_default();
    for mop in mops {
        match mop {
            Mop::Append(k, value) | Mop::Write(k, value) => lists[key(k)].push(value.clone()),
            Mop::Read(k, seen) => {
                let old = &versions[dice.roll(versions.len() as u64) as usize];
                let from = if sloppy && dice.roll(2) == 0 { old } else { &lists };
                *seen = Some(Value::List(from[key(k)].clone()));
            }
            _ => unreachable!("lists are appended to and read"),
        }
    }
    versions.push(lists);
}

#[test]
fn lists_agree_with_trying_every_order() {
    let mut valid = 0;
    for seed in 0..HISTORIES {
        let operations = random(&mut Dice(seed << 20));
        let left: Vec<&Txn> = operations.iter().filter(|txn| !txn.failed()).collect();
        if operations.iter().all(|txn| txn.acknowledged().is_none()) {
            continue;
        }
        let analysis = list_append().analyse(&Transactions::of(&operations));
        for (model, realtime) in [(Consistency::Serializable, false), (Consistency::StrictSerializable, true)] {
            let expected = explains(&Lists::default(), &left, realtime, &run);
            let verdict = analysis.verdict(model);
            assert_eq!(verdict.is_valid(), expected, "{model}: {verdict} of {operations:#?}");
            valid += u64::from(expected);
        }
    }
    let some = HISTORIES / 4;
    assert!((some..HISTORIES * 2 - some).contains(&valid), "{valid} of twice {HISTORIES} are valid");
}
