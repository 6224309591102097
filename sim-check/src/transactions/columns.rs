//! Transactions as columns: a few flat arrays, however many transactions there are.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::Mop;
use crate::history::{Moment, Operation, Outcome};
use crate::read::Value;

/// A value in eight bytes: a small whole number is itself, anything else is the number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Atom(i64);

/// Whole numbers from here on are names.
const NAMES: i64 = 1 << 62;

impl Atom {
    /// A whole number of at most eighteen digits.
    pub(crate) fn number(number: i64) -> Self {
        debug_assert!(number < NAMES, "names begin there");
        Atom(number)
    }
}

/// What is known of the end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It committed, and what it read is known.
    Ok,
    /// It aborted.
    Fail,
    /// It may have committed. Its writes count if someone saw them; what it read is not known.
    Info,
}

/// The micro-operations of one event, before it is known whether they count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    micros: Vec<(Act, Atom, u32)>,
    values: Vec<Atom>,
}

impl Draft {
    /// Forgets everything, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.micros.clear();
        self.values.clear();
    }

    /// Whether it says what was there before all else.
    pub(crate) fn begins_all(&self) -> bool {
        self.micros.first().is_some_and(|(act, ..)| *act == Act::Init)
    }

    /// Adds a value of the next micro-operation.
    pub(crate) fn value(&mut self, value: Atom) {
        self.values.push(value);
    }

    /// Adds a micro-operation with the values since the last.
    pub(crate) fn micro(&mut self, act: Act, key: Atom) {
        self.micros.push((act, key, short(self.values.len())));
    }
}

/// One transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Txn {
    pub(crate) process: u64,
    pub(crate) status: Status,
    pub(crate) invoked: Moment,
    pub(crate) completed: Option<Moment>,
    first: u32,
    end: u32,
}

/// What a micro-operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Append,
    Write,
    /// A read of a list.
    ReadList,
    /// A read of one value.
    ReadOne,
    /// A read that found nothing, or whose result is not known.
    ReadNil,
    /// What was there before all else.
    Init,
    Insert,
    Delete,
    /// A read of whatever matches the predicate that stands in place of a key: keys and values in turn.
    ReadWhere,
}

impl Act {
    /// What only histories with predicates have.
    pub(crate) const OF_PREDICATES: [Act; 4] = [Act::Init, Act::Insert, Act::Delete, Act::ReadWhere];

    /// Whether it reads one key.
    pub(crate) fn reads(self) -> bool {
        matches!(self, Act::ReadList | Act::ReadOne | Act::ReadNil)
    }

    /// Whether it changes what a register under a key holds.
    pub(crate) fn changes(self) -> bool {
        matches!(self, Act::Init | Act::Insert | Act::Write | Act::Delete)
    }
}

/// One micro-operation: what it does, to which key, and where its values are in the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Micro {
    pub(crate) act: Act,
    pub(crate) key: u32,
    from: u32,
    to: u32,
}

/// In place of where values begin: they are the first ones of the list of the key.
const PREFIX: u32 = u32::MAX;

/// A history of transactions, in the order of their invocation.
///
/// Made from operations that were recorded ([`Transactions::of`]) or from a text
/// ([`read::transactions`](crate::read::transactions)).
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    txns: Vec<Txn>,
    micros: Vec<Micro>,
    pool: Vec<Atom>,
    /// Of each key the longest list that was read, as far as lists were read that continue each other. Most reads
    /// are a beginning of it, and are kept as a length.
    lists: Vec<Vec<Atom>>,
    keys: IndexSet<Atom, FxBuildHasher>,
    names: IndexSet<Value, FxBuildHasher>,
}

impl Transactions {
    /// The transactions of a recorded history. Each asks for micro-operations, and is answered with the
    /// same ones, results filled in.
    pub fn of(operations: &[Operation<Vec<Mop>, Vec<Mop>>]) -> Self {
        let mut all = Transactions::default();
        for operation in operations {
            let (mops, status, at) = match &operation.outcome {
                Outcome::Ok { ret, at } => (ret, Status::Ok, Some(*at)),
                Outcome::Fail { at } => (&operation.op, Status::Fail, Some(*at)),
                Outcome::Info { at } => (&operation.op, Status::Info, Some(*at)),
                Outcome::Open => (&operation.op, Status::Info, None),
            };
            let mut draft = Draft::default();
            mops.iter().for_each(|mop| all.push(mop, &mut draft));
            let txn = all.begin(operation.process, operation.invoked);
            if let Some(at) = at {
                all.end(txn, status, at);
            }
            all.commit(txn, &draft);
        }
        all
    }

    /// The number of transactions.
    pub fn len(&self) -> usize {
        self.txns.len()
    }

    /// Whether there is no transaction.
    pub fn is_empty(&self) -> bool {
        self.txns.is_empty()
    }

    fn push(&mut self, mop: &Mop, draft: &mut Draft) {
        let (act, key, values) = match mop {
            Mop::Append(key, value) => (Act::Append, key, std::slice::from_ref(value)),
            Mop::Write(key, value) => (Act::Write, key, std::slice::from_ref(value)),
            Mop::Read(key, Some(Value::List(members))) => (Act::ReadList, key, &members[..]),
            Mop::Read(key, None | Some(Value::Nil)) => (Act::ReadNil, key, &[][..]),
            Mop::Read(key, Some(value)) => (Act::ReadOne, key, std::slice::from_ref(value)),
            Mop::Init(key, value) => (Act::Init, key, std::slice::from_ref(value)),
            Mop::Insert(key, value) => (Act::Insert, key, std::slice::from_ref(value)),
            Mop::Delete(key) => (Act::Delete, key, &[][..]),
            Mop::ReadWhere(predicate, found) => {
                for value in found.iter().flatten().flat_map(|(key, value)| [key, value]) {
                    draft.value(self.atom(value.clone()));
                }
                (Act::ReadWhere, predicate, &[][..])
            }
        };
        values.iter().for_each(|value| draft.value(self.atom(value.clone())));
        draft.micro(act, self.atom(key.clone()));
    }

    /// The eight bytes that stand for `value`.
    pub(crate) fn atom(&mut self, value: Value) -> Atom {
        match value {
            Value::Int(number) if number < NAMES => Atom(number),
            name => Atom(NAMES + self.names.insert_full(name).0 as i64),
        }
    }

    /// The value that an atom stands for.
    pub(crate) fn value(&self, atom: Atom) -> Value {
        match usize::try_from(atom.0 - NAMES) {
            Ok(name) if atom.0 >= NAMES => self.names[name].clone(),
            _ => Value::Int(atom.0),
        }
    }

    /// Adds a transaction that may never end.
    pub(crate) fn begin(&mut self, process: u64, invoked: Moment) -> u32 {
        let here = short(self.micros.len());
        self.txns.push(Txn { process, status: Status::Info, invoked, completed: None, first: here, end: here });
        short(self.txns.len() - 1)
    }

    /// Ends a transaction.
    pub(crate) fn end(&mut self, txn: u32, status: Status, at: Moment) {
        let txn = &mut self.txns[txn as usize];
        txn.status = status;
        txn.completed = Some(at);
    }

    /// Says what a transaction did.
    pub(crate) fn commit(&mut self, txn: u32, draft: &Draft) {
        let first = short(self.micros.len());
        let mut from = 0;
        let known = self.txns[txn as usize].status == Status::Ok;
        for (act, key, to) in &draft.micros {
            let key = self.keys.insert_full(*key).0;
            let values = &draft.values[from as usize..*to as usize];
            let (from_here, to_here) = match known && *act == Act::ReadList && self.continues(key, values) {
                true => (PREFIX, short(values.len())),
                false => {
                    let start = short(self.pool.len());
                    self.pool.extend_from_slice(values);
                    (start, short(self.pool.len()))
                }
            };
            self.micros.push(Micro { act: *act, key: short(key), from: from_here, to: to_here });
            from = *to;
        }
        let txn = &mut self.txns[txn as usize];
        (txn.first, txn.end) = (first, short(self.micros.len()));
    }

    /// Whether `values` are a beginning of the list of a key, once that has learned what they add to it.
    fn continues(&mut self, key: usize, values: &[Atom]) -> bool {
        if self.lists.len() <= key {
            self.lists.resize_with(key + 1, Vec::new);
        }
        let list = &mut self.lists[key];
        let common = list.len().min(values.len());
        let continues = list[..common] == values[..common];
        if continues {
            list.extend_from_slice(&values[common..]);
        }
        continues
    }

    pub(crate) fn txn(&self, id: u32) -> &Txn {
        &self.txns[id as usize]
    }

    /// All transactions and their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Txn)> {
        (0..).zip(&self.txns)
    }

    /// What a transaction did.
    pub(crate) fn micros(&self, id: u32) -> &[Micro] {
        let txn = self.txn(id);
        &self.micros[txn.first as usize..txn.end as usize]
    }

    /// The values of a micro-operation.
    pub(crate) fn atoms(&self, micro: &Micro) -> &[Atom] {
        match micro.from {
            PREFIX => &self.lists[micro.key as usize][..micro.to as usize],
            from => &self.pool[from as usize..micro.to as usize],
        }
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    /// The eight bytes of a value that somewhere stands for it.
    pub(crate) fn known_atom(&self, value: &Value) -> Option<Atom> {
        match value {
            Value::Int(number) if *number < NAMES => Some(Atom(*number)),
            name => self.names.get_index_of(name).map(|name| Atom(NAMES + name as i64)),
        }
    }

    /// A key.
    pub(crate) fn key_value(&self, key: u32) -> Value {
        self.value(self.keys[key as usize])
    }

    /// A key as it prints.
    pub(crate) fn key(&self, key: u32) -> String {
        self.value(self.keys[key as usize]).to_string()
    }

    /// The number of a key that a value stands for.
    pub(crate) fn key_of(&self, atom: Atom) -> Option<u32> {
        self.keys.get_index_of(&atom).map(short)
    }

    /// What to say if some micro-operation is of a kind that the checker does not judge.
    pub(crate) fn uses(&self, acts: &[Act], what: &str) -> Option<String> {
        let used = self.micros.iter().any(|micro| acts.contains(&micro.act));
        used.then(|| format!("a transaction uses {what}: it was left out"))
    }

    /// A list as it prints.
    pub(crate) fn list(&self, atoms: &[Atom]) -> String {
        let members: Vec<String> = atoms.iter().map(|atom| self.value(*atom).to_string()).collect();
        format!("[{}]", members.join(" "))
    }

    /// What a predicate selected, as it prints.
    fn selected(&self, atoms: &[Atom]) -> String {
        let pair = |pair: &[Atom]| format!("{} {}", self.value(pair[0]), self.value(pair[1]));
        format!("{{{}}}", atoms.chunks_exact(2).map(pair).collect::<Vec<_>>().join(", "))
    }

    /// A transaction as it prints.
    pub(crate) fn describe(&self, id: u32) -> String {
        let known = self.txn(id).status == Status::Ok;
        let describe = |micro: &Micro| {
            let (key, atoms) = (self.key(micro.key), self.atoms(micro));
            match micro.act {
                Act::Append => format!("append {} to {key}", self.value(atoms[0])),
                Act::Write => format!("write {} to {key}", self.value(atoms[0])),
                Act::Init => format!("begin with {} at {key}", self.value(atoms[0])),
                Act::Insert => format!("insert {} at {key}", self.value(atoms[0])),
                Act::Delete => format!("delete {key}"),
                Act::ReadWhere if known => format!("read where {key}: {}", self.selected(atoms)),
                Act::ReadWhere => format!("read where {key}"),
                Act::ReadNil if known => format!("read {key}: nothing"),
                _ if !known => format!("read {key}"),
                Act::ReadOne => format!("read {key}: {}", self.value(atoms[0])),
                _ => format!("read {key}: {}", self.list(atoms)),
            }
        };
        let micros: Vec<String> = self.micros(id).iter().map(describe).collect();
        micros.join(", ")
    }
}

/// Numbers are kept in four bytes.
fn short(number: usize) -> u32 {
    u32::try_from(number).expect("a history has fewer than 2^32 micro-operations and values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;

    #[test]
    fn values_of_all_kinds_come_back_as_they_went_in() {
        let mut all = Transactions::default();
        let values = [Value::Int(-7), Value::Int(i64::MAX), Value::Int(NAMES), Value::from("a"), Value::Nil];
        for value in values {
            let atom = all.atom(value.clone());
            assert_eq!(all.value(atom), value);
        }
    }

    #[test]
    fn transactions_print_what_is_known_of_them() {
        let history = History::new();
        let mops = |seen| vec![Mop::Append("x".into(), 3.into()), Mop::Read("y".into(), seen)];
        history.invoke_at(1, mops(None), 0).ok_at(mops(Some(Value::List(vec![1.into(), 2.into()]))), 1);
        drop(history.invoke_at(2, mops(None), 2));
        let all = Transactions::of(&history.operations());
        assert_eq!(all.describe(0), "append 3 to \"x\", read \"y\": [1 2]");
        assert_eq!(all.describe(1), "append 3 to \"x\", read \"y\"");
        assert_eq!(all.len(), 2);
    }
}
