//! Registers against a judge that tries every order of the values of every key, and looks for cycles by multiplying the
//! matrix of what comes before what; and against one that tries every order in which transactions may have become visible.

use super::brute_force_registers::{HISTORIES, Txn, random};
use super::{Consistency, Mop, Transactions, rw_register};
use crate::dice::Dice;
use crate::read::Value;

/// A set of nodes for each node: which can be reached from it.
type Matrix = Vec<u16>;

/// What a transaction read of a key from outside, or left in it.
#[derive(Clone, Copy)]
struct Access<'t> {
    txn: usize,
    key: &'t Value,
    value: Option<&'t Value>,
}

fn mops(txn: &Txn) -> &[Mop] {
    txn.acknowledged().map_or(&txn.op, |(ret, _)| ret)
}

fn of_key(mop: &Mop) -> &Value {
    match mop {
        Mop::Append(key, _) | Mop::Write(key, _) | Mop::Read(key, _) => key,
        _ => unreachable!("registers are written and read"),
    }
}

/// What each transaction read before it wrote the key, and what it wrote last.
fn accesses(txns: &[Txn]) -> (Vec<Access<'_>>, Vec<Access<'_>>) {
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for (txn, operation) in txns.iter().enumerate() {
        for (n, mop) in mops(operation).iter().enumerate() {
            let key = of_key(mop);
            let first = mops(operation)[..n].iter().all(|other| of_key(other) != key);
            let last =
                mops(operation)[n + 1..].iter().all(|other| of_key(other) != key || matches!(other, Mop::Read(..)));
            match mop {
                Mop::Read(_, seen) if first => reads.push(Access { txn, key, value: seen.as_ref() }),
                Mop::Write(_, value) if last => writes.push(Access { txn, key, value: Some(value) }),
                _ => {}
            }
        }
    }
    (reads, writes)
}

/// Whether every transaction reads what it wrote or read of a key before.
fn internally_sound(txn: &Txn) -> bool {
    (0..mops(txn).len()).all(|n| {
        let Mop::Read(key, seen) = &mops(txn)[n] else { return true };
        match mops(txn)[..n].iter().rfind(|before| of_key(before) == key) {
            Some(Mop::Read(_, before)) => before == seen,
            Some(Mop::Write(_, value) | Mop::Append(_, value)) => seen.as_ref() == Some(value),
            _ => true,
        }
    })
}

fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let rest = |n: usize| [&items[..n], &items[n + 1..]].concat();
    let from = |n: usize| permutations(&rest(n)).into_iter().map(move |order| [vec![items[n]], order].concat());
    (0..items.len()).flat_map(from).collect()
}

fn has_a_cycle(mut reaches: Matrix) -> bool {
    for over in 0..reaches.len() {
        for from in 0..reaches.len() {
            if reaches[from] & 1 << over != 0 {
                reaches[from] |= reaches[over];
            }
        }
    }
    (0..reaches.len()).any(|node| reaches[node] & 1 << node != 0)
}

/// What has to hold beside the data.
fn before(one: &Txn, other: &Txn, model: Consistency) -> bool {
    let ended = one.acknowledged().is_some_and(|(_, at)| at.index < other.invoked.index);
    match model {
        Consistency::StrictSerializable | Consistency::StrongSnapshotIsolation => ended,
        Consistency::StrongSessionSerializable | Consistency::StrongSessionSnapshotIsolation => {
            ended && one.process == other.process
        }
        _ => false,
    }
}

/// Whether some order of all values has no cycle that `model` forbids.
fn explains(txns: &[Txn], model: Consistency) -> bool {
    let (reads, writes) = accesses(txns);
    let isolated = matches!(
        model,
        Consistency::SnapshotIsolation
            | Consistency::StrongSnapshotIsolation
            | Consistency::StrongSessionSnapshotIsolation
    );
    let mut keys: Vec<&Value> = writes.iter().map(|write| write.key).collect();
    keys.sort();
    keys.dedup();
    let orders: Vec<Vec<Vec<usize>>> = keys
        .iter()
        .map(|key| permutations(&(0..writes.len()).filter(|n| writes[*n].key == *key).collect::<Vec<_>>()))
        .collect();
    let combinations = orders.iter().map(Vec::len).product::<usize>();
    (0..combinations).any(|mut number| {
        let (mut depends, mut overwritten) = (vec![0_u16; txns.len()], vec![0_u16; txns.len()]);
        for one in 0..txns.len() {
            (0..txns.len()).filter(|n| before(&txns[one], &txns[*n], model)).for_each(|n| depends[one] |= 1 << n);
        }
        for of_key in &orders {
            let order = &of_key[number % of_key.len()];
            number /= of_key.len();
            for (place, n) in order.iter().enumerate() {
                order[place + 1..].iter().for_each(|later| depends[writes[*n].txn] |= 1 << writes[*later].txn);
            }
            let Some(key) = order.first().map(|n| writes[*n].key) else { continue };
            for read in reads.iter().filter(|read| read.key == key) {
                let seen = order.iter().position(|n| writes[*n].value == read.value);
                if let Some(writer) = seen.map(|place| writes[order[place]].txn).filter(|writer| *writer != read.txn) {
                    depends[writer] |= 1 << read.txn;
                }
                let later = order.iter().skip(seen.map_or(0, |place| place + 1)).map(|n| writes[*n].txn);
                later.filter(|txn| *txn != read.txn).for_each(|txn| overwritten[read.txn] |= 1 << txn);
            }
        }
        !has_a_cycle(if isolated { twice(&depends, &overwritten) } else { both(&depends, &overwritten) })
    })
}

fn both(depends: &Matrix, overwritten: &Matrix) -> Matrix {
    depends.iter().zip(overwritten).map(|(one, other)| one | other).collect()
}

/// A matrix in which no two overwritten reads follow each other: what comes before what by any way, then at most one of them.
fn twice(depends: &Matrix, overwritten: &Matrix) -> Matrix {
    let over =
        |set: u16| (0..16).filter(|n| set & 1 << n != 0).fold(0, |all, n| all | overwritten.get(n).unwrap_or(&0));
    depends.iter().map(|set| set | over(*set)).collect()
}

/// Whether transactions may have become visible in some order so that each read the latest of what it saw: those whose
/// values it read, and for causality those that they saw.
fn visible(txns: &[Txn], causal: bool) -> bool {
    let (reads, writes) = accesses(txns);
    let mut sees = vec![0_u16; txns.len()];
    for read in reads.iter().filter(|read| read.value.is_some()) {
        let writer = writes.iter().find(|write| write.key == read.key && write.value == read.value);
        let Some(writer) = writer.filter(|writer| writer.txn != read.txn) else { return false };
        sees[read.txn] |= 1 << writer.txn;
    }
    for _ in 0..if causal { txns.len() } else { 0 } {
        let through = |set: u16| (0..txns.len()).filter(|n| set & 1 << n != 0).fold(set, |all, n| all | sees[n]);
        sees = sees.iter().map(|set| through(*set)).collect();
    }
    permutations(&(0..txns.len()).collect::<Vec<_>>()).iter().any(|order| {
        let place = |txn: usize| order.iter().position(|other| *other == txn).unwrap_or(0);
        let in_order = |n: usize| (0..txns.len()).all(|seen| sees[n] & 1 << seen == 0 || place(seen) < place(n));
        let latest = |read: &Access<'_>| {
            let seen = writes.iter().filter(|write| write.key == read.key && sees[read.txn] & 1 << write.txn != 0);
            seen.max_by_key(|write| place(write.txn)).and_then(|write| write.value) == read.value
        };
        (0..txns.len()).all(in_order) && reads.iter().all(latest)
    })
}

#[test]
fn registers_agree_with_trying_every_order_of_the_values() {
    use Consistency as C;
    let models = [
        C::StrictSerializable,
        C::StrongSnapshotIsolation,
        C::StrongSessionSerializable,
        C::StrongSessionSnapshotIsolation,
        C::Serializable,
        C::SnapshotIsolation,
    ];
    let mut broken = [0; 8];
    for seed in 0..HISTORIES {
        let (txns, _) = random(&mut Dice(seed << 24 | 1), 5);
        let analysis = rw_register().analyse(&Transactions::of(&txns));
        if !txns.iter().all(internally_sound) || !visible_at_all(&txns) {
            assert!(!analysis.verdict(C::ReadAtomic).is_valid());
            continue;
        }
        for (place, model) in models.into_iter().enumerate() {
            let verdict = analysis.verdict(model);
            assert_eq!(verdict.is_valid(), explains(&txns, model), "{model}: {verdict} of {txns:#?}");
            broken[place] += u64::from(!verdict.is_valid());
        }
        for (place, model, causal) in [(6, C::ReadAtomic, false), (7, C::Causal, true)] {
            let verdict = analysis.verdict(model);
            assert_eq!(verdict.is_valid(), visible(&txns, causal), "{model}: {verdict} of {txns:#?}");
            broken[place] += u64::from(!verdict.is_valid());
        }
    }
    assert!(broken.iter().all(|count| *count > HISTORIES / 200), "{broken:?} are broken");
}

/// Whether every value that was read is one that another transaction left behind.
fn visible_at_all(txns: &[Txn]) -> bool {
    let (reads, writes) = accesses(txns);
    let left = |read: &&Access<'_>| {
        let writer = writes.iter().find(|write| write.key == read.key && write.value == read.value);
        writer.is_some_and(|writer| writer.txn != read.txn)
    };
    reads.iter().filter(|read| read.value.is_some()).all(|read| left(&read))
}
