//! The names of what can go wrong, and the record of what did.

use std::collections::BTreeMap;
use std::fmt;

use crate::verdict::Tie;

/// How a cycle of transactions is closed. The earlier breaks more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// Writes alone: each overwrote the one before.
    G0,
    /// Writes, and reads of what was written.
    G1c,
    /// One read of what was later overwritten.
    GSingle,
    /// Several such reads, no two of them next to each other.
    GNonadjacent,
    /// Several such reads, two of them next to each other.
    G2,
}

/// Which order, beside that of the data, a cycle contradicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// None: the data alone contradict themselves.
    Data,
    /// The order in which a process ran its transactions.
    Process,
    /// That of an end before an invocation.
    Realtime,
}

/// A kind of anomaly. Prints as the name that Adya or Elle gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A list held something twice.
    DuplicateElements,
    /// The versions of a key follow one another in a circle.
    CyclicVersions,
    /// A value was read that nobody wrote.
    GarbageRead,
    /// A read of what an aborted transaction wrote.
    G1a,
    /// A read of what a transaction wrote and then overwrote itself.
    G1b,
    /// A transaction changed what an aborted one had written.
    DirtyUpdate,
    /// Two reads of a list that no single order of appends explains.
    IncompatibleOrder,
    /// A transaction read what it wrote later.
    FutureRead,
    /// A transaction disagrees with what it read or wrote itself.
    Internal,
    /// Two transactions read the same version and both wrote the next.
    LostUpdate,
    /// Transactions that would each have to come before the other.
    Cycle(Base, Order),
    /// As [`Cycle`](Kind::Cycle), where it takes a predicate to see some dependency: of [`Base::GSingle`] or worse.
    PredicateCycle(Base, Order),
    /// A predicate did not select what it must have, or selected what it does not match.
    PredicateReadMiss,
    /// A transaction saw a part of another, and for the rest what was there before.
    FracturedRead,
    /// A transaction saw another, and not what that one had seen.
    CausalityViolation,
}

impl Kind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Kind> {
        let direct = [
            Kind::DuplicateElements,
            Kind::CyclicVersions,
            Kind::GarbageRead,
            Kind::G1a,
            Kind::G1b,
            Kind::DirtyUpdate,
            Kind::IncompatibleOrder,
            Kind::FutureRead,
            Kind::Internal,
            Kind::LostUpdate,
            Kind::FracturedRead,
            Kind::CausalityViolation,
            Kind::PredicateReadMiss,
        ];
        let orders = [Order::Data, Order::Process, Order::Realtime];
        let cycles = orders.into_iter().flat_map(|order| Base::ALL.map(|base| Kind::Cycle(base, order)));
        let predicates = orders.into_iter().flat_map(|order| Base::ALL.map(|base| Kind::PredicateCycle(base, order)));
        let predicates = predicates.filter(|kind| !matches!(kind, Kind::PredicateCycle(Base::G0 | Base::G1c, _)));
        direct.into_iter().chain(cycles).chain(predicates)
    }
}

impl Base {
    /// All of them, the worst first.
    pub const ALL: [Base; 5] = [Base::G0, Base::G1c, Base::GSingle, Base::GNonadjacent, Base::G2];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, order) = match self {
            Kind::DuplicateElements => ("duplicate-elements", Order::Data),
            Kind::CyclicVersions => ("cyclic-versions", Order::Data),
            Kind::GarbageRead => ("garbage-read", Order::Data),
            Kind::G1a => ("G1a", Order::Data),
            Kind::G1b => ("G1b", Order::Data),
            Kind::DirtyUpdate => ("dirty-update", Order::Data),
            Kind::IncompatibleOrder => ("incompatible-order", Order::Data),
            Kind::FutureRead => ("future-read", Order::Data),
            Kind::Internal => ("internal", Order::Data),
            Kind::LostUpdate => ("lost-update", Order::Data),
            Kind::FracturedRead => ("fractured-read", Order::Data),
            Kind::CausalityViolation => ("causality-violation", Order::Data),
            Kind::PredicateReadMiss => ("predicate-read-miss", Order::Data),
            Kind::Cycle(Base::G0, order) | Kind::PredicateCycle(Base::G0, order) => ("G0", *order),
            Kind::Cycle(Base::G1c, order) | Kind::PredicateCycle(Base::G1c, order) => ("G1c", *order),
            Kind::PredicateCycle(Base::GSingle, order) => ("G-single", *order),
            Kind::PredicateCycle(Base::GNonadjacent, order) => ("G-nonadjacent", *order),
            Kind::PredicateCycle(Base::G2, order) => ("G2", *order),
            Kind::Cycle(Base::GSingle, order) => ("G-single-item", *order),
            Kind::Cycle(Base::GNonadjacent, order) => ("G-nonadjacent-item", *order),
            Kind::Cycle(Base::G2, order) => ("G2-item", *order),
        };
        f.write_str(base)?;
        f.write_str(match order {
            Order::Data => "",
            Order::Process => "-process",
            Order::Realtime => "-realtime",
        })
    }
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// What it is called.
    pub kind: Kind,
    /// The key that it is about, if it is about one.
    pub key: Option<String>,
    /// What happened, in words.
    pub story: String,
    /// The transactions in it by their number, in the order of the story; those of a cycle in its order.
    pub transactions: Vec<u32>,
    /// For a cycle, why each transaction comes before another; they are counted as in `transactions`.
    pub ties: Vec<Tie>,
}

/// The anomalies found so far: a few of each kind in full, the rest as a number.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) found: Vec<Anomaly>,
    pub(crate) counts: BTreeMap<Kind, u64>,
}

/// How many anomalies of a kind are told in full.
const TOLD: u64 = 8;

impl Findings {
    /// Counts an anomaly, and tells it unless there were many of its kind.
    pub(crate) fn add(&mut self, kind: Kind, tell: impl FnOnce() -> (Option<String>, String, Vec<u32>)) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= TOLD {
            let (key, story, transactions) = tell();
            self.found.push(Anomaly { kind, key, story, transactions, ties: Vec::new() });
        }
    }

    /// Counts a cycle, and tells it unless there were many of its kind.
    pub(crate) fn add_cycle(&mut self, kind: Kind, tell: impl FnOnce() -> (String, Vec<u32>, Vec<Tie>)) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= TOLD {
            let (story, transactions, ties) = tell();
            self.found.push(Anomaly { kind, key: None, story, transactions, ties });
        }
    }
}
