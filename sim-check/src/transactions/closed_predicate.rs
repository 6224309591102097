//! Transactions that read by predicates over a universe in which every version of every key is known.
//!
//! A predicate that looks at a key selects it, or its version is one that does not match (Adya 1999, 4.3: the version set of
//! a predicate). Where just one version of a key does not match, a read that did not select the key looked at that one: so
//! Elle's closed-predicate workload sees dependencies on what was not read.

use std::collections::BTreeMap;

use super::analysis::{Analysis, order_reason, who};
use super::anomaly::{Findings, Kind};
use super::columns::{Act, Atom, Micro, Status, Transactions};
use super::contested::Open;
use super::graph::{Builder, Edge, Why};
use crate::read::Value;

/// Finds all that is wrong with a history of changes, reads, and reads by predicates.
pub(super) fn analyse(all: &Transactions) -> Analysis {
    let universe = Universe::new(all);
    let mut findings = Findings::default();
    let mut graph = Builder::new(all.len() as u32);
    for (key, versions) in &universe.keys {
        for later in &versions[1..] {
            versions[0].by.zip(later.by).into_iter().for_each(|(first, by)| graph.edge(first, by, Why::Ww, *key));
        }
    }
    for (id, _) in all.iter().filter(|(_, txn)| txn.status == Status::Ok) {
        for look in universe.looks(id) {
            match look.at {
                At::Wrong(kind) => findings.add(kind, || universe.tell(id, &look, kind)),
                At::Version(place) => universe.edges(id, &look, place, &mut graph),
                At::Unknown => {}
            }
        }
    }
    let foreign = || all.uses(&[Act::Append], ":append, which belongs to list-append");
    let doubt = universe.doubt.clone().or_else(foreign);
    Analysis::new(all, graph, Open::default(), findings, doubt, |edge| universe.reason(edge))
}

/// What a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unborn,
    Holds(Atom),
    Dead,
}

/// One version of a key.
#[derive(Clone, Copy, Debug)]
struct Version {
    state: State,
    /// Who made it; `None` for what was there at first.
    by: Option<u32>,
}

/// Which version a read looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// The one with this number; 0 is the first.
    Version(usize),
    /// One of several.
    Unknown,
    /// None that there can have been.
    Wrong(Kind),
}

/// A read of a key, by its name or by a predicate.
#[derive(Clone, Copy, Debug)]
struct Look<'m> {
    key: u32,
    at: At,
    /// The read by a predicate, if it was one.
    by: Option<&'m Micro>,
    /// What it found.
    found: Option<Atom>,
}

/// All versions that keys ever had.
struct Universe<'t> {
    all: &'t Transactions,
    /// Of each key that had any: the first, and then those that came later, in no order.
    keys: BTreeMap<u32, Vec<Version>>,
    /// Values of aborted transactions, and who wrote them.
    aborted: BTreeMap<(u32, Atom), u32>,
    doubt: Option<String>,
}

impl<'t> Universe<'t> {
    fn new(all: &'t Transactions) -> Self {
        let (mut keys, mut aborted) = (BTreeMap::<u32, Vec<Version>>::new(), BTreeMap::new());
        let changes = all.iter().flat_map(|(id, txn)| all.micros(id).iter().map(move |micro| (id, txn.status, micro)));
        let (first, later): (Vec<_>, Vec<_>) =
            changes.filter(|(_, _, micro)| micro.act.changes()).partition(|(_, _, micro)| micro.act == Act::Init);
        let mut twice = None;
        for (id, status, micro) in first.into_iter().chain(later) {
            if status == Status::Fail {
                aborted.extend(all.atoms(micro).first().map(|atom| ((micro.key, *atom), id)));
                continue;
            }
            let versions = keys.entry(micro.key).or_default();
            if micro.act != Act::Init && versions.is_empty() {
                versions.push(Version { state: State::Unborn, by: None });
            }
            versions.push(Version { state: made(all, micro), by: Some(id) });
            if versions.len() > if micro.act == Act::Init { 1 } else { 2 } {
                twice.get_or_insert(micro.key);
            }
        }
        let doubt =
            twice.map(|key| format!("{} changed more than once: its versions have no known order", all.key(key)));
        Universe { all, keys, aborted, doubt }
    }

    /// What a committed transaction read of each key, as far as others wrote it.
    fn looks(&self, id: u32) -> impl Iterator<Item = Look<'t>> {
        let micros = self.all.micros(id);
        micros.iter().enumerate().flat_map(move |(n, micro)| match micro.act {
            Act::ReadOne | Act::ReadNil => vec![self.item(id, micro, &micros[..n])],
            Act::ReadWhere => self.selection(id, micro, &micros[..n]),
            _ => Vec::new(),
        })
    }

    /// A read of one key.
    fn item(&self, id: u32, micro: &Micro, before: &[Micro]) -> Look<'t> {
        let found = self.all.atoms(micro).first().copied();
        let key = micro.key;
        let at = match (own(self.all, before, key), found) {
            (Some(own), found) if own != found.map_or(State::Dead, State::Holds) => At::Wrong(Kind::Internal),
            (Some(_), _) => At::Unknown,
            (None, Some(atom)) => self.holding(id, key, atom),
            (None, None) => self.only(id, key, |state| !matches!(state, State::Holds(_)), Kind::GarbageRead),
        };
        Look { key, at, by: None, found }
    }

    /// A read by a predicate: of all keys.
    fn selection(&self, id: u32, micro: &'t Micro, before: &[Micro]) -> Vec<Look<'t>> {
        let predicate = self.all.key_value(micro.key);
        let selects = |state| matches(self.all, &predicate, state);
        let pairs = self.all.atoms(micro).chunks_exact(2);
        let selected: BTreeMap<Atom, Atom> = pairs.map(|pair| (pair[0], pair[1])).collect();
        let by_number = |(key, value): (&Atom, &Atom)| Some((self.all.key_of(*key)?, *value));
        let found: BTreeMap<u32, Atom> = selected.iter().filter_map(by_number).collect();
        let look = |key: u32| {
            let found = found.get(&key).copied();
            let at = match (own(self.all, before, key), found) {
                (Some(own), found) if found.map(State::Holds) != Some(own).filter(|own| selects(*own)) => {
                    At::Wrong(Kind::Internal)
                }
                (Some(_), _) => At::Unknown,
                (None, Some(atom)) if !selects(State::Holds(atom)) => At::Wrong(Kind::PredicateReadMiss),
                (None, Some(atom)) => self.holding(id, key, atom),
                (None, None) => self.only(id, key, |state| !selects(state), Kind::PredicateReadMiss),
            };
            Look { key, at, by: Some(micro), found }
        };
        let others = found.keys().filter(|key| !self.keys.contains_key(key));
        self.keys.keys().chain(others).map(|key| look(*key)).collect()
    }

    fn versions(&self, key: u32) -> &[Version] {
        self.keys.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The version of a key that has a value.
    fn holding(&self, id: u32, key: u32, atom: Atom) -> At {
        let mut places = (0..).zip(self.versions(key)).filter(|(_, version)| version.state == State::Holds(atom));
        match (places.next(), places.next()) {
            (Some((_, version)), None) if version.by == Some(id) => At::Wrong(Kind::FutureRead),
            (Some((place, _)), None) => At::Version(place),
            (Some(_), Some(_)) => At::Unknown,
            (None, _) if self.aborted.contains_key(&(key, atom)) => At::Wrong(Kind::G1a),
            (None, _) => At::Wrong(Kind::GarbageRead),
        }
    }

    /// The version of a key that may be meant, where there is just one; `missed` where there is none. A reader does not see
    /// what it changes later.
    fn only(&self, id: u32, key: u32, may_be: impl Fn(State) -> bool, missed: Kind) -> At {
        let others = (0..).zip(self.versions(key)).filter(|(_, version)| version.by != Some(id));
        let mut places = others.filter(|(_, version)| may_be(version.state));
        match (places.next(), places.next()) {
            (Some((place, _)), None) => At::Version(place),
            (Some(_), Some(_)) => At::Unknown,
            (None, _) if self.versions(key).is_empty() => At::Unknown,
            (None, _) => At::Wrong(missed),
        }
    }

    /// The state that a read saw.
    fn seen(&self, look: &Look<'_>) -> State {
        match look.at {
            At::Version(place) => self.versions(look.key)[place].state,
            _ => State::Unborn,
        }
    }

    /// The versions that are known to be later than what was looked at, and what that means to whoever looked: what a
    /// predicate judges otherwise is of the predicate, and another value for one that was read is of the item.
    fn overwrites(&self, look: Look<'t>) -> impl Iterator<Item = (Why, Version)> {
        let later = match look.at {
            At::Version(0) => &self.versions(look.key)[1..],
            _ => &[],
        };
        let predicate = look.by.filter(|_| !later.is_empty()).map(|micro| self.all.key_value(micro.key));
        let judged = move |state| predicate.as_ref().is_some_and(|predicate| matches(self.all, predicate, state));
        let before = judged(self.seen(&look));
        let why = move |version: &Version| match look.by {
            Some(_) if judged(version.state) != before => Some(Why::RwPredicate),
            Some(_) if look.found.is_none() => None,
            _ => Some(Why::Rw),
        };
        later.iter().filter_map(move |version| Some((why(version)?, *version)))
    }

    fn edges(&self, id: u32, look: &Look<'t>, place: usize, graph: &mut Builder) {
        let wr = if look.by.is_some() { Why::WrPredicate } else { Why::Wr };
        let by = self.versions(look.key)[place].by;
        by.into_iter().for_each(|writer| graph.edge(writer, id, wr, look.key));
        let writers = self.overwrites(*look).filter_map(|(why, version)| Some((why, version.by?)));
        writers.for_each(|(why, writer)| graph.edge(id, writer, why, look.key));
    }

    fn tell(&self, id: u32, look: &Look<'_>, kind: Kind) -> (Option<String>, String, Vec<u32>) {
        let (key, me) = (self.all.key(look.key), who(self.all, id));
        let found = look.found.map_or("nothing".to_string(), |atom| self.all.value(atom).to_string());
        let read = match look.by {
            Some(micro) => format!("{me} read where {} and found {found} in {key}", self.all.key(micro.key)),
            None => format!("{me} read {found} from {key}"),
        };
        let writer = look.found.and_then(|atom| self.aborted.get(&(look.key, atom)).copied());
        let (what, others) = match (kind, writer) {
            (Kind::G1a, Some(writer)) => (format!("which {} wrote and aborted", who(self.all, writer)), Some(writer)),
            (Kind::GarbageRead, _) if look.found.is_none() => ("where there always was something".to_string(), None),
            (Kind::GarbageRead, _) => ("which nobody wrote".to_string(), None),
            (Kind::FutureRead, _) => ("which it wrote only later".to_string(), None),
            (Kind::Internal, _) => ("although it had changed that itself".to_string(), None),
            (_, _) if look.found.is_some() => ("which does not match".to_string(), None),
            _ => ("although whatever was there matches".to_string(), None),
        };
        (Some(key), format!("{read}, {what}"), [id].into_iter().chain(others).collect())
    }

    /// Why an edge is there, in words.
    fn reason(&self, edge: &Edge) -> String {
        let key = || self.all.key(edge.key);
        let by = |id: u32| self.versions(edge.key).iter().find(|version| version.by == Some(id));
        let made = |id: u32| match by(id).map(|version| version.state) {
            Some(State::Holds(atom)) => format!("made {} {}", key(), self.all.value(atom)),
            _ => format!("deleted {}", key()),
        };
        let saw = |look: &Look<'_>| match self.seen(look) {
            State::Holds(atom) => self.all.value(atom).to_string(),
            State::Dead | State::Unborn => "nothing".to_string(),
        };
        let wrote = |look: &Look<'_>| {
            let at = matches!(look.at, At::Version(place) if self.versions(look.key)[place].by == Some(edge.from));
            look.key == edge.key && look.by.is_some() == edge.why.is_predicate() && at
        };
        let overwritten = |look: &Look<'t>| {
            let is_it = |(why, version): (Why, Version)| why == edge.why && version.by == Some(edge.to);
            look.key == edge.key && self.overwrites(*look).any(is_it)
        };
        let predicate = |look: &Look<'_>| look.by.map_or(String::new(), |micro| self.all.key(micro.key));
        let there = |look: &Look<'_>| match self.seen(look) {
            State::Holds(atom) => format!("{} {} there", key(), self.all.value(atom)),
            State::Dead | State::Unborn => "nothing there".to_string(),
        };
        let look = match edge.why {
            Why::Wr | Why::WrPredicate => self.looks(edge.to).find(wrote),
            Why::Rw | Why::RwPredicate => self.looks(edge.from).find(overwritten),
            _ => None,
        };
        match (edge.why, look) {
            (Why::Ww, _) => format!("{{to}} {} after what {{from}} began with", made(edge.to)),
            (Why::Wr, Some(look)) => {
                format!("{{to}} read {} from {}, as {{from}} {}", saw(&look), key(), made(edge.from))
            }
            (Why::Rw, Some(look)) => format!("{{to}} {} after {{from}}'s read of {}", made(edge.to), saw(&look)),
            (Why::WrPredicate, Some(look)) => {
                let how = if look.found.is_some() { "as" } else { "which fits only since" };
                let found = look.found.map_or(format!("not {}", key()), |_| format!("{} {}", key(), saw(&look)));
                format!("{{to}} read where {} and found {found}, {how} {{from}} {}", predicate(&look), made(edge.from))
            }
            (Why::RwPredicate, Some(look)) => {
                let (made, predicate) = (made(edge.to), predicate(&look));
                format!("{{to}} {made}, and {{from}} had read where {predicate} with {}", there(&look))
            }
            _ => order_reason(self.all, edge),
        }
    }
}

/// The state that a change leaves.
fn made(all: &Transactions, micro: &Micro) -> State {
    all.atoms(micro).first().map_or(State::Dead, |atom| State::Holds(*atom))
}

/// What a transaction itself left in a key.
fn own(all: &Transactions, before: &[Micro], key: u32) -> Option<State> {
    let change = before.iter().rfind(|micro| micro.key == key && micro.act.changes());
    change.map(|micro| made(all, micro))
}

/// Whether a predicate matches: only what is there.
fn matches(all: &Transactions, predicate: &Value, state: State) -> bool {
    let State::Holds(atom) = state else { return false };
    let value = all.value(atom);
    match predicate.members() {
        [_, equal] => value == *equal,
        [_, Value::Int(modulus), Value::Int(rest)] => value.as_int().is_some_and(|number| {
            let (number, modulus) = (i128::from(number), i128::from(*modulus));
            (number % modulus + modulus) % modulus == i128::from(*rest)
        }),
        _ => true,
    }
}
