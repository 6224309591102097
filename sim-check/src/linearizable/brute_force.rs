//! Both searches, the decision without a search, and the judge of histories that grow, against a judge too simple to be
//! wrong, on many small histories.

use super::part::{Part, parts};
use super::race::strategies;
use super::search::Finding;
use super::unique::Unique;
use super::{linearizable, tiny};
use crate::dice::Dice;
use crate::history::{History, Operation, Outcome};
use crate::model::{
    CasOp, CasRegister, FifoQueue, Kv, KvOp, KvRet, Micro, Model, MultiRegister, Mutex, MutexOp, QueueOp, QueueRet,
    Register, RegisterOp, RegisterRet,
};
use crate::online::{Monitor, News};

const HISTORIES: u64 = 100_000;
/// Every so many of them are judged with wider sets and without hints too.
const THOROUGH: u64 = 16;
const OPERATIONS: u64 = 7;

/// Tries every order.
fn explains<M: Model>(model: &M, state: &M::State, left: &[&Operation<M::Op, M::Ret>]) -> bool {
    let acknowledged = |op: &&Operation<M::Op, M::Ret>| op.acknowledged().map(|(_, at)| at.index);
    let Some(deadline) = left.iter().filter_map(acknowledged).min() else {
        return true;
    };
    (0..left.len()).filter(|n| left[*n].invoked.index < deadline).any(|n| {
        let ret = left[n].acknowledged().map(|(ret, _)| ret);
        let rest: Vec<_> = [&left[..n], &left[n + 1..]].concat();
        let next = model.step(state, &left[n].op, ret);
        next.is_some_and(|next| explains(model, &next, &rest))
    })
}

/// A model without its hints: nothing is known to read only, anything may depend on anything.
struct Bare<M>(M);

impl<M: Model> Model for Bare<M> {
    type State = M::State;
    type Op = M::Op;
    type Ret = M::Ret;

    fn init(&self) -> M::State {
        self.0.init()
    }

    fn step(&self, state: &M::State, op: &M::Op, ret: Option<&M::Ret>) -> Option<M::State> {
        self.0.step(state, op, ret)
    }
}

/// Where each search is blocked in a part, if it is.
fn blocked_at<M: Model>(model: &M, part: &Part<'_, M>, slots: u32) -> Vec<Option<u32>> {
    let searches = strategies::<M>(slots).map(|strategy| strategy(model, part));
    let run = |mut search: Box<dyn super::search::Search<M> + '_>| {
        for limit in (0..).step_by(3) {
            match search.run(limit) {
                Some(Finding::Linearizable) => return None,
                Some(Finding::Blocked(blocked)) => return Some(blocked.at),
                Some(Finding::Refused) => unreachable!("a search that refuses says where"),
                None => {}
            }
        }
        unreachable!("a search of a small part ends")
    };
    searches.into_iter().map(run).collect()
}

/// Everyone agrees; returns what they agree on, and whether that could be told without a search.
fn agree<M: Model>(model: M, operations: &[Operation<M::Op, M::Ret>], thorough: bool) -> (bool, bool) {
    let mut decided = false;
    let few = tiny::holds(&model, operations, u64::MAX);
    let left: Vec<_> = operations.iter().filter(|op| !op.failed()).collect();
    let expected = explains(&model, &model.init(), &left);
    assert!(few.is_none_or(|holds| holds == expected), "by trying orders, of {operations:#?}");
    for part in parts(&model, operations) {
        let widths: &[u32] = if thorough { &[1, 100, 1000] } else { &[1] };
        let findings: Vec<_> = widths.iter().flat_map(|slots| blocked_at(&model, &part, *slots)).collect();
        assert!(findings.iter().all(|at| *at == findings[0]), "{findings:?} in {operations:#?}");
        assert_eq!(findings[0].is_none(), expected, "of {operations:#?}");
        let unique = Unique::new(&model, &part);
        if let Some((unique, holds)) = unique.and_then(|unique| unique.holds().map(|holds| (unique, holds))) {
            let found = (!holds).then(|| unique.blocked_at());
            assert_eq!(found, findings[0], "without a search, of {operations:#?}");
            decided = true;
        }
    }
    if !thorough {
        return (expected, decided);
    }
    let bare = Bare(model);
    for part in parts(&bare, operations) {
        for at in blocked_at(&bare, &part, 1) {
            assert_eq!(at.is_none(), expected, "without hints, of {operations:#?}");
        }
    }
    (expected, decided)
}

/// Overlapping operations of a few clients, some failed, some open.
fn random<M: Model>(dice: &mut Dice, draw: impl Fn(&mut Dice) -> (M::Op, M::Ret)) -> Vec<Operation<M::Op, M::Ret>> {
    let history = History::new();
    let mut open = Vec::new();
    let mut invoked = 0;
    let length = 1 + dice.roll(OPERATIONS);
    while invoked < length || !open.is_empty() {
        if invoked < length && dice.roll(2) == 0 {
            let (op, ret) = draw(dice);
            open.push((history.invoke_at(invoked, op, 0), ret));
            invoked += 1;
        } else if !open.is_empty() {
            let (call, ret) = open.swap_remove(dice.roll(open.len() as u64) as usize);
            match dice.roll(8) {
                0 => call.fail_at(0),
                1 => call.info_at(0),
                2 => drop(call),
                _ => call.ok_at(ret, 0),
            }
        }
    }
    history.operations()
}

/// Agreement on many random histories, of which a fair part must go either way.
fn agree_on_random<M: Model>(model: impl Fn() -> M, draw: impl Fn(&mut Dice) -> (M::Op, M::Ret)) -> u64 {
    let (mut valid, mut without_search) = (0, 0);
    for seed in 0..HISTORIES {
        let operations = random::<M>(&mut Dice(seed << 20), &draw);
        let (expected, decided) = agree(model(), &operations, seed % THOROUGH == 0);
        valid += u64::from(expected);
        without_search += u64::from(decided);
    }
    let some = HISTORIES / 20;
    assert!((some..HISTORIES - some).contains(&valid), "{valid} of {HISTORIES} are linearizable");
    without_search
}

#[test]
fn all_judges_agree_on_reads_and_writes() {
    agree_on_random(Register::<u64>::default, |dice| match dice.roll(2) {
        0 => (RegisterOp::Write(dice.roll(4)), RegisterRet::Written),
        _ => (RegisterOp::Read, RegisterRet::Value(dice.roll(4))),
    });
}

#[test]
fn all_judges_agree_on_swaps() {
    agree_on_random(CasRegister::<u64>::default, |dice| match dice.roll(4) {
        0 => (CasOp::Write(dice.roll(3)), RegisterRet::Written),
        1 => {
            let swap = CasOp::Cas { from: dice.roll(3), to: dice.roll(3) };
            (swap, RegisterRet::Swapped(dice.roll(2) == 0))
        }
        _ => (CasOp::Read, RegisterRet::Value(dice.roll(3))),
    });
}

#[test]
fn all_judges_agree_on_strings() {
    let letter = |dice: &mut Dice| ["a", "b"][dice.roll(2) as usize].to_string();
    let word = move |dice: &mut Dice| (0..dice.roll(3)).map(|_| letter(dice)).collect::<String>();
    agree_on_random(Kv::default, |dice| match dice.roll(5) {
        0 => (KvOp::Put("k".into(), letter(dice)), KvRet::Written),
        1 | 2 => (KvOp::Append("k".into(), letter(dice)), KvRet::Written),
        _ => (KvOp::Get("k".into()), KvRet::Value(word(dice))),
    });
}

#[test]
fn all_judges_agree_on_locks() {
    let draw = |dice: &mut Dice| ([MutexOp::Acquire, MutexOp::Release][dice.roll(2) as usize], ());
    agree_on_random(|| Mutex, draw);
}

#[test]
fn all_judges_agree_on_transactions() {
    let micro = |dice: &mut Dice| match (["x", "y"][dice.roll(2) as usize], dice.roll(3)) {
        (key, 0) => Micro::Write(key, dice.roll(2)),
        (key, _) => Micro::Read(key, Some(dice.roll(2))),
    };
    agree_on_random(MultiRegister::default, |dice| ((0..1 + dice.roll(2)).map(|_| micro(dice)).collect(), ()));
}

/// As many values as make it likely that none is written twice.
const MANY: u64 = 20;

#[test]
fn all_judges_agree_on_registers_that_are_decided_without_a_search() {
    let decided = agree_on_random(Register::<u64>::default, |dice| match dice.roll(3) {
        0 => (RegisterOp::Write(1 + dice.roll(MANY)), RegisterRet::Written),
        _ => (RegisterOp::Read, RegisterRet::Value(dice.roll(2) * (1 + dice.roll(MANY)))),
    });
    assert!(decided > HISTORIES / 2, "{decided} of {HISTORIES}");
    let decided = agree_on_random(Register::<u64>::default, |dice| match dice.roll(3) {
        0 => (RegisterOp::Write(1 + dice.roll(4)), RegisterRet::Written),
        _ => (RegisterOp::Read, RegisterRet::Value(dice.roll(5))),
    });
    assert!(decided > HISTORIES / 4, "{decided} of {HISTORIES}");
}

#[test]
fn all_judges_agree_on_queues() {
    let decided = agree_on_random(FifoQueue::<u64>::default, |dice| match dice.roll(8) {
        0..=3 => (QueueOp::Enqueue(dice.roll(5)), QueueRet::Enqueued),
        4 => (QueueOp::Dequeue, QueueRet::Dequeued(None)),
        _ => (QueueOp::Dequeue, QueueRet::Dequeued(Some(dice.roll(5)))),
    });
    assert!(decided > HISTORIES / 10, "{decided} of {HISTORIES}");
}

/// The events of a history up to one, as they were known then.
fn known_at<Op: Clone, Ret: Clone>(operations: &[Operation<Op, Ret>], index: u64) -> Vec<Operation<Op, Ret>> {
    let begun = operations.iter().filter(|operation| operation.invoked.index <= index).cloned();
    let known = |operation: Operation<Op, Ret>| match operation.ended() {
        Some(at) if at.index > index => Operation { outcome: Outcome::Open, ..operation },
        _ => operation,
    };
    begun.map(known).collect()
}

#[test]
fn a_history_that_grows_is_refused_at_the_very_event_that_breaks_it() {
    let draw = |dice: &mut Dice| match dice.roll(4) {
        0 => (CasOp::Write(dice.roll(3)), RegisterRet::Written),
        1 => (CasOp::Cas { from: dice.roll(3), to: dice.roll(3) }, RegisterRet::Swapped(dice.roll(2) == 0)),
        _ => (CasOp::Read, RegisterRet::Value(dice.roll(3))),
    };
    let mut broken = 0;
    for seed in 0..HISTORIES {
        let operations = random::<CasRegister<u64>>(&mut Dice(seed << 20), draw);
        let model = CasRegister::<u64>::default();
        let mut monitor = super::growing::Growing::new(linearizable(model.clone()));
        let mut events: Vec<(u64, News, usize)> = Vec::new();
        for (number, operation) in operations.iter().enumerate() {
            events.push((operation.invoked.index, News::Invoked, number));
            events.extend(operation.ended().map(|at| (at.index, News::Ended, number)));
        }
        events.sort_by_key(|(index, ..)| *index);
        for (index, news, number) in events {
            let known = known_at(&operations, index);
            let left: Vec<_> = known.iter().filter(|operation| !operation.failed()).collect();
            let expected = explains(&model, &0, &left);
            let found = monitor.note(news, number, &known[number]);
            assert_eq!(found.is_none(), expected, "at event {index} of {operations:#?}");
            if !expected {
                broken += 1;
                break;
            }
        }
    }
    assert!((HISTORIES / 20..HISTORIES - HISTORIES / 20).contains(&broken), "{broken} of {HISTORIES} are broken");
}
