//! Long forks: two readers who see the same writes happen in different orders.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fold, evidence};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict, Witness};

/// Checks transactions that write one key, `[[:w key value]]`, each key once, and transactions that read a group
/// of keys, `[[:r key value] ...]`: of two reads of a group, one has to have seen all that the other saw. Groups
/// are of one size, that of the first read if [`group_size`](LongFork::group_size) does not say it.
///
/// Parallel snapshot isolation allows long forks; snapshot isolation does not.
pub fn long_fork() -> LongFork {
    LongFork { size: None, written: BTreeSet::new(), groups: BTreeMap::new(), illegal: None, reads: 0 }
}

/// The check that [`long_fork()`] makes.
#[derive(Clone, Debug)]
pub struct LongFork {
    size: Option<usize>,
    written: BTreeSet<Value>,
    /// Of each group of keys, the distinct reads; what was found, in the order of the keys.
    groups: BTreeMap<Vec<Value>, BTreeMap<Vec<Value>, ClientEvent>>,
    /// Why this is no history of the kind, if it is none.
    illegal: Option<String>,
    reads: u64,
}

impl LongFork {
    /// How many keys a group has.
    pub fn group_size(mut self, keys: usize) -> Self {
        self.size = Some(keys);
        self
    }

    fn refuse(&mut self, event: &ClientEvent, why: impl FnOnce() -> String) {
        self.illegal.get_or_insert_with(|| format!("event {}: {}", event.moment.index, why()));
    }

    fn write(&mut self, event: &ClientEvent, key: &Value) {
        if !self.written.insert(key.clone()) {
            self.refuse(event, || format!("{key} is written more than once: write every key once"));
        }
    }

    fn read(&mut self, event: &ClientEvent, found: Vec<(Value, Value)>) {
        self.reads += 1;
        let found: BTreeMap<Value, Value> = found.into_iter().collect();
        let size = *self.size.get_or_insert(found.len());
        if found.len() != size {
            self.refuse(event, || format!("{} keys are read, where a group has {size}", found.len()));
            return;
        }
        let (keys, values) = found.into_iter().unzip();
        self.groups.entry(keys).or_default().entry(values).or_insert_with(|| event.clone());
    }

    /// The first two reads of a group of which neither saw all that the other did.
    fn fork(&mut self) -> Option<Verdict> {
        let mut illegal = None;
        for (keys, reads) in &self.groups {
            let mut reads: Vec<_> = reads.iter().map(|(values, event)| (seen(values), values, event)).collect();
            reads.sort_by_key(|(seen, _, event)| (*seen, event.moment.index));
            for pair in reads.windows(2) {
                match compare(pair[0].1, pair[1].1) {
                    Compared::Before => {}
                    Compared::Fork => return Some(told(keys, (pair[0].1, pair[0].2), (pair[1].1, pair[1].2))),
                    Compared::Differ(place) => {
                        let why = || format!("{} is read with two values: write every key once", keys[place]);
                        illegal.get_or_insert_with(why);
                    }
                }
            }
        }
        self.illegal = self.illegal.take().or(illegal);
        None
    }
}

fn seen(values: &[Value]) -> usize {
    values.iter().filter(|value| **value != Value::Nil).count()
}

enum Compared {
    Before,
    Fork,
    /// Both saw a value in this place, and not the same.
    Differ(usize),
}

/// Whether the second saw all that the first did.
fn compare(first: &[Value], second: &[Value]) -> Compared {
    let both = |place: &usize| {
        let (a, b) = (&first[*place], &second[*place]);
        *a != Value::Nil && *b != Value::Nil && a != b
    };
    if let Some(place) = (0..first.len()).find(both) {
        return Compared::Differ(place);
    }
    let missed = first.iter().zip(second).any(|(a, b)| *a != Value::Nil && *b == Value::Nil);
    if missed { Compared::Fork } else { Compared::Before }
}

fn told(keys: &[Value], first: (&[Value], &ClientEvent), second: (&[Value], &ClientEvent)) -> Verdict {
    let only = |mine: &[Value], theirs: &[Value]| {
        let place = (0..keys.len()).find(|place| mine[*place] != Value::Nil && theirs[*place] == Value::Nil);
        place.map_or(String::new(), |place| keys[place].to_string())
    };
    let (one, other) = (first.1, second.1);
    let sentence = format!(
        "long fork: client-{} at event {} saw {} and not {}, client-{} at event {} saw {} and not {}",
        one.process,
        one.moment.index,
        only(first.0, second.0),
        only(second.0, first.0),
        other.process,
        other.moment.index,
        only(second.0, first.0),
        only(first.0, second.0),
    );
    let mut evidence = evidence(other, sentence);
    evidence
        .involved
        .push(Witness { what: format!("{} {}", one.f, one.value), ..super::evidence(one, String::new()).failed });
    Verdict::Invalid(Box::new(evidence))
}

impl Fold for LongFork {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        let Value::List(micros) = &event.value else { return None };
        let micros: Option<Vec<_>> = micros.iter().map(micro).collect();
        let micros = micros.filter(|micros| !micros.is_empty())?;
        match event.phase {
            Phase::Invoke if micros.len() == 1 && micros[0].0 => self.write(event, &micros[0].1.clone()),
            Phase::Ok if micros.iter().all(|(writes, ..)| !writes) => {
                self.read(event, micros.into_iter().map(|(_, key, value)| (key, value)).collect());
            }
            _ => {}
        }
        None
    }

    fn finish(&mut self) -> Verdict {
        if let Some(fork) = self.fork() {
            return fork;
        }
        match &self.illegal {
            Some(why) => Verdict::Unknown(why.clone()),
            None if self.reads == 0 => Verdict::Vacuous("no group of keys was read".to_string()),
            None => Verdict::Valid,
        }
    }
}

/// Whether a micro-operation writes, its key and its value.
fn micro(value: &Value) -> Option<(bool, Value, Value)> {
    let Value::List(parts) = value else { return None };
    let [Value::Keyword(f) | Value::Str(f), key, value] = parts.as_slice() else { return None };
    match f.as_str() {
        "w" | "write" => Some((true, key.clone(), value.clone())),
        "r" | "read" => Some((false, key.clone(), value.clone())),
        _ => None,
    }
}
