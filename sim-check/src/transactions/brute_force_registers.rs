//! Registers against a judge that tries every order of the transactions: all that is wrong is found, whether the store
//! tells its order or not.

use super::{Consistency, Mop, Transactions, rw_register};
use crate::dice::Dice;
use crate::history::{Call, History, Operation};
use crate::read::Value;

pub(super) type Txn = Operation<Vec<Mop>, Vec<Mop>>;
type Run = Call<Vec<Mop>, Vec<Mop>>;
type Registers = [Value; 2];

pub(super) const HISTORIES: u64 = 100_000;

fn key(key: &Value) -> usize {
    usize::from(*key == Value::from("y"))
}

fn run(mut registers: Registers, txn: &Txn) -> Option<Registers> {
    for mop in txn.acknowledged().map_or(&txn.op, |(ret, _)| ret) {
        match mop {
            Mop::Append(k, value) | Mop::Write(k, value) => registers[key(k)] = value.clone(),
            Mop::Read(k, seen) if txn.acknowledged().is_some() => {
                (seen.clone().unwrap_or_default() == registers[key(k)]).then_some(())?;
            }
            _ => {}
        }
    }
    Some(registers)
}

/// Whether some order of the transactions explains what was read, and lets the registers hold their last values in the
/// order of `commits`, if that is given.
fn explains(registers: &Registers, left: &[(usize, &Txn)], realtime: bool, commits: bool) -> bool {
    if left.is_empty() {
        return true;
    }
    let done = |txn: &&(usize, &Txn)| txn.1.acknowledged().map(|(_, at)| at.index);
    let deadline = left.iter().filter_map(|txn| done(&txn)).min().filter(|_| realtime).unwrap_or(u64::MAX);
    (0..left.len()).filter(|n| left[*n].1.invoked.index < deadline).any(|n| {
        let rest: Vec<_> = [&left[..n], &left[n + 1..]].concat();
        let early = |other: &(usize, &Txn)| other.0 < left[n].0 && share_a_key(other.1, left[n].1);
        if commits && rest.iter().any(early) {
            return false;
        }
        run(registers.clone(), left[n].1).is_some_and(|next| explains(&next, &rest, realtime, commits))
    })
}

fn written(txn: &Txn) -> impl Iterator<Item = &Value> {
    txn.op.iter().filter_map(|mop| if let Mop::Write(key, _) = mop { Some(key) } else { None })
}

fn share_a_key(a: &Txn, b: &Txn) -> bool {
    written(a).any(|key| written(b).any(|other| other == key))
}

/// What a store might do that runs transactions one after another and sometimes answers with the past; and the order
/// in which it ran them.
pub(super) fn random(dice: &mut Dice, most: u64) -> (Vec<Txn>, Vec<u32>) {
    let history = History::new();
    let mut versions: Vec<Registers> = vec![Registers::default()];
    let mut open: Vec<(u64, u64, Run, Vec<Mop>)> = Vec::new();
    let mut commits = Vec::new();
    let (count, sloppy) = (2 + dice.roll(most - 1), dice.roll(4) > 0);
    let (mut begun, mut value) = (0, 0);
    while begun < count || !open.is_empty() {
        if begun < count && (open.is_empty() || dice.roll(2) == 0) {
            let mops: Vec<Mop> = (0..1 + dice.roll(3)).map(|_| mop(dice, &mut value)).collect();
            let client = Some(dice.roll(2)).filter(|client| open.iter().all(|(_, busy, ..)| busy != client));
            let process = client.unwrap_or(10 + begun);
            open.push((begun, process, history.invoke_at(process, mops.clone(), 0), mops));
            begun += 1;
            continue;
        }
        let (number, _, call, mut mops) = open.swap_remove(dice.roll(open.len() as u64) as usize);
        let mut registers = versions.last().cloned().unwrap_or_default();
        for mop in &mut mops {
            match mop {
                Mop::Append(k, value) | Mop::Write(k, value) => registers[key(k)] = value.clone(),
                Mop::Read(k, seen) => {
                    let old = &versions[dice.roll(versions.len() as u64) as usize];
                    let from = if sloppy && dice.roll(2) == 0 { old } else { &registers };
                    *seen = Some(from[key(k)].clone()).filter(|seen| *seen != Value::Nil);
                }
                _ => unreachable!("registers are written and read"),
            }
        }
        versions.push(registers);
        commits.push(number as u32);
        call.ok_at(mops, 0);
    }
    (history.operations(), commits)
}

fn mop(dice: &mut Dice, value: &mut i64) -> Mop {
    let key = ["x", "y"][dice.roll(2) as usize].into();
    if dice.roll(2) == 0 {
        return Mop::Read(key, None);
    }
    *value += 1;
    Mop::Write(key, (*value).into())
}

#[test]
fn registers_agree_with_trying_every_order() {
    let mut valid = 0;
    for seed in 0..HISTORIES {
        let (operations, commits) = random(&mut Dice(seed << 20), 4);
        let all = Transactions::of(&operations);
        let places = |txn: usize| commits.iter().position(|other| *other as usize == txn).unwrap_or(usize::MAX);
        let left: Vec<(usize, &Txn)> = operations.iter().enumerate().map(|(n, txn)| (places(n), txn)).collect();
        let complete = rw_register().commit_order(commits.iter().copied()).analyse(&all);
        let without = rw_register().analyse(&all);
        for (model, realtime) in [(Consistency::Serializable, false), (Consistency::StrictSerializable, true)] {
            let expected = explains(&Registers::default(), &left, realtime, true);
            let verdict = complete.verdict(model);
            assert_eq!(verdict.is_valid(), expected, "{model}: {verdict} of {operations:#?} committed as {commits:?}");
            let verdict = without.verdict(model);
            let possible = expected || explains(&Registers::default(), &left, realtime, false);
            assert_eq!(verdict.is_valid(), possible, "{model}: {verdict} of {operations:#?}");
            valid += u64::from(expected);
        }
    }
    let some = HISTORIES / 4;
    assert!((some..HISTORIES * 2 - some).contains(&valid), "{valid} of twice {HISTORIES} are valid");
}
