//! What may be assumed of the order in which a register held its values.

use std::collections::BTreeMap;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::anomaly::{Findings, Kind};
use super::columns::{Atom, Status, Transactions};
use super::graph::components;
use crate::transactions::RwRegister;

/// A value of a register, or that it was not written yet.
pub(super) type Version = Option<Atom>;

/// What a transaction has to do with a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Touch {
    pub(super) txn: u32,
    /// What it read first, before it wrote itself.
    pub(super) read: Option<Version>,
    /// What it wrote last.
    pub(super) wrote: Option<Atom>,
}

impl Touch {
    fn first(&self) -> Version {
        self.read.unwrap_or(self.wrote)
    }

    fn last(&self) -> Version {
        self.wrote.or(self.read.flatten())
    }
}

/// The versions of a key, and which are known to come after each.
pub(super) struct Orders {
    pub(super) versions: IndexSet<Version, FxBuildHasher>,
    pub(super) next: Vec<Vec<u32>>,
}

type Pairs = Vec<(Version, Version)>;

/// An assumption: whether it is made, its name, and what it tells.
type Source = (bool, &'static str, fn(&Transactions, &[Touch]) -> Pairs);

/// Takes what each assumption tells, unless it contradicts what is known already: that is an anomaly.
pub(super) fn sources(
    all: &Transactions,
    key: u32,
    touches: &[Touch],
    options: &RwRegister,
    findings: &mut Findings,
) -> Orders {
    let mut versions: IndexSet<Version, FxBuildHasher> = IndexSet::default();
    versions.insert(None);
    for touch in touches {
        versions.extend(touch.read);
        versions.extend(touch.wrote.map(Some));
    }
    let mut orders = Orders { next: vec![Vec::new(); versions.len()], versions };
    orders.next[0] = (1..orders.versions.len() as u32).collect();
    let reported = reported(all, key, &orders, options).into_iter().chain(committed(touches, options));
    for pairs in reported {
        if let Some(cycle) = orders.add(&pairs) {
            report(all, key, touches, ("the word of the store", &cycle), findings);
        }
    }
    let told: [Source; 3] = [
        (options.wfr, "writes that follow reads", writes_follow_reads),
        (options.sequential, "the order of processes", sequential),
        (options.linearizable, "real time", linearizable),
    ];
    for (_, name, tell) in told.into_iter().filter(|(assumed, ..)| *assumed) {
        if let Some(cycle) = orders.add(&tell(all, touches)) {
            report(all, key, touches, (name, &cycle), findings);
        }
    }
    orders
}

impl Orders {
    /// Adds pairs, or returns versions that would then go in a circle.
    fn add(&mut self, pairs: &Pairs) -> Option<Vec<Version>> {
        let number = |version: &Version| self.versions.get_index_of(version).map(|n| n as u32);
        let mut next = self.next.clone();
        for (before, after) in pairs.iter().filter(|(before, after)| before != after) {
            if let (Some(before), Some(after)) = (number(before), number(after)) {
                next[before as usize].push(after);
            }
        }
        let count = next.len() as u32;
        let cycles = components(count, |n| next[n as usize].len(), |n, edge| Some(next[n as usize][edge]));
        match cycles.into_iter().next() {
            Some(cycle) => Some(cycle.into_iter().map(|n| self.versions[n as usize]).collect()),
            None => {
                self.next = next;
                None
            }
        }
    }
}

fn report(
    all: &Transactions,
    key: u32,
    touches: &[Touch],
    (source, cycle): (&str, &[Version]),
    findings: &mut Findings,
) {
    findings.add(Kind::CyclicVersions, || {
        let show = |version: &Version| version.map_or("nothing".to_string(), |atom| all.value(atom).to_string());
        let members: Vec<String> = cycle.iter().map(show).collect();
        let in_cycle = |touch: &&Touch| cycle.contains(&touch.first()) || cycle.contains(&touch.last());
        let ids = touches.iter().filter(in_cycle).map(|touch| touch.txn).collect();
        let name = all.key(key);
        let what = format!("by {source}, the values {} of {name} each come before the other", members.join(" and "));
        (Some(name), what, ids)
    });
}

/// The order that the store reports, of the versions that somebody had to do with.
fn reported(all: &Transactions, key: u32, orders: &Orders, options: &RwRegister) -> Option<Pairs> {
    let values = options.orders.get(&all.key_value(key))?;
    let known: Vec<Version> =
        values.iter().map(|value| all.known_atom(value)).filter(|version| orders.versions.contains(version)).collect();
    Some(known.windows(2).map(|pair| (pair[0], pair[1])).collect())
}

/// The order of commits, of those that wrote the key.
fn committed(touches: &[Touch], options: &RwRegister) -> Option<Pairs> {
    let commits = options.commits.as_ref()?;
    let mut writes: Vec<(usize, Version)> =
        touches.iter().filter_map(|touch| Some((*commits.get(&touch.txn)?, Some(touch.wrote?)))).collect();
    writes.sort_unstable();
    Some(writes.windows(2).map(|pair| (pair[0].1, pair[1].1)).collect())
}

/// Who reads a version and writes another overwrote it.
fn writes_follow_reads(_: &Transactions, touches: &[Touch]) -> Pairs {
    touches.iter().filter_map(|touch| Some((touch.read?, Some(touch.wrote?)))).collect()
}

/// A process sees no version older than what it saw or wrote before.
fn sequential(all: &Transactions, touches: &[Touch]) -> Pairs {
    let mut last: BTreeMap<u64, Version> = BTreeMap::new();
    let mut pairs = Vec::new();
    for touch in touches.iter().filter(|touch| all.txn(touch.txn).status == Status::Ok) {
        let before = last.insert(all.txn(touch.txn).process, touch.last());
        pairs.extend(before.map(|before| (before, touch.first())));
    }
    pairs
}

/// Nobody sees a version older than what was seen or written by a transaction that ended before.
fn linearizable(all: &Transactions, touches: &[Touch]) -> Pairs {
    let mut ends: Vec<(u64, &Touch)> = Vec::new();
    for touch in touches.iter().filter(|touch| all.txn(touch.txn).status == Status::Ok) {
        ends.extend(all.txn(touch.txn).completed.map(|at| (at.index, touch)));
    }
    ends.sort_unstable_by_key(|(end, _)| *end);
    // Whatever ended before one of these was invoked is before that one, and needs no pair of its own.
    // That holds of those that left what they found: the others do not tie the two together.
    let mut latest = 0;
    let mut latests = vec![0];
    for (_, touch) in &ends {
        if touch.first() == touch.last() {
            latest = latest.max(all.txn(touch.txn).invoked.index);
        }
        latests.push(latest);
    }
    let mut pairs = Vec::new();
    for touch in touches {
        let invoked = all.txn(touch.txn).invoked.index;
        let ended = ends.partition_point(|(end, _)| *end < invoked);
        let recent = ends[..ended].iter().rev().take_while(|(end, _)| *end >= latests[ended]);
        pairs.extend(recent.map(|(_, before)| (before.last(), touch.first())));
    }
    pairs
}
