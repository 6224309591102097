//! Registers do not tell the order of their values: is there any order that explains what was read?
//!
//! Transactions are kept in an order that fits all edges that are known. Where one reads a value although, in that order,
//! another had overwritten it, one of the two writes has to come before the other: the order is changed to fit, and when
//! neither way fits, the latest choice that matters is taken back. So only writes that are in each other's way are
//! decided at all, and each is decided by what the others leave open (conflict-directed backjumping).
//!
//! A level is refuted if every order of the values has a cycle of its kind. To decide that is NP-complete for both
//! kinds, so there is a budget of work, counted in arcs.

use std::collections::BTreeSet;

use super::anomaly::{Base, Kind, Order};
use super::arranged::{Arc, Arranged, KNOWN};
use super::columns::Transactions;
use super::cycles::{kind, mask};
use super::graph::{Edge, Graph, Why};

/// Registers whose order is not told, and how much may be done about each level: so many arcs may be looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Open<'a> {
    pub(super) registers: &'a [Register],
    pub(super) work: u64,
}

/// A key, who wrote it and who read what.
#[derive(Clone, Debug)]
pub(super) struct Register {
    pub(super) key: u32,
    pub(super) writers: Vec<Writer>,
    /// Those who found nothing.
    pub(super) unwritten: Vec<u32>,
}

/// A transaction that wrote a key and took effect, and those that read what it wrote.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    pub(super) txn: u32,
    pub(super) readers: Vec<u32>,
}

/// What cannot be, because it would close a cycle.
#[derive(Clone, Debug)]
pub(super) struct Refuted {
    pub(super) key: u32,
    /// This transaction wrote the key before that one.
    pub(super) before: u32,
    pub(super) after: u32,
    pub(super) cycle: Vec<Edge>,
}

/// Whether there is an order of all values without a cycle of some kind.
#[derive(Debug)]
pub(super) enum Answer {
    /// There is.
    Possible,
    /// There is none, because of these.
    Impossible(Vec<Refuted>),
    /// Nobody knows: the budget ran out.
    Unknown,
}

/// Whether some order of the values has no cycle of a base, or a worse one, in data and an order beside them:
/// [`Base::GNonadjacent`] and [`Base::G2`] can be asked for.
pub(super) fn possible(all: &Transactions, graph: &Graph, open: Open<'_>, (base, order): (Base, Order)) -> Answer {
    match Search::new(all, graph, open.registers, base, order) {
        Some(mut search) => search.run(open.work),
        None => Answer::Impossible(Vec::new()),
    }
}

/// The kind of cycle that every order of the values has at least.
pub(super) fn mildest(refuted: &[Refuted]) -> Option<Kind> {
    refuted.iter().map(|refuted| kind(&refuted.cycle)).reduce(|one, other| match (one, other) {
        (Kind::Cycle(base, order), Kind::Cycle(other, another)) => Kind::Cycle(base.max(other), order.max(another)),
        _ => unreachable!("cycles are of the kind of cycles"),
    })
}

/// That one write of a key comes before another.
#[derive(Clone, Debug)]
struct Choice {
    key: usize,
    before: usize,
    after: usize,
    /// How many arcs there were before it.
    arcs: usize,
    basis: Basis,
}

/// What something rests on: choices that might have been others, and what was refuted.
#[derive(Clone, Debug, Default)]
struct Basis {
    choices: BTreeSet<usize>,
    refuted: BTreeSet<usize>,
}

impl Basis {
    fn join(&mut self, other: &Basis) {
        self.choices.extend(&other.choices);
        self.refuted.extend(&other.refuted);
    }
}

struct Search<'a> {
    graph: &'a Graph,
    keys: &'a [Register],
    /// Of each transaction the keys that it wrote or read.
    touched: Vec<Vec<u32>>,
    /// Whether reads that were overwritten count if they are next to each other.
    adjacent: bool,
    arranged: Arranged,
    choices: Vec<Choice>,
    refuted: Vec<Refuted>,
}

impl<'a> Search<'a> {
    /// Nothing if what is known goes in a circle.
    fn new(all: &Transactions, graph: &'a Graph, keys: &'a [Register], base: Base, order: Order) -> Option<Self> {
        let (mask, adjacent, nodes) = (mask(base, order), base == Base::G2, graph.nodes());
        let known = (0..nodes).flat_map(|node| graph.from(node)).filter(|edge| edge.why.bit() & mask != 0);
        let arcs = known.flat_map(|edge| arcs(graph, adjacent, edge, KNOWN)).collect();
        let time = |node: u32| {
            let txn = if node >= nodes { node - nodes } else { node };
            let ended = (!graph.relays(txn)).then(|| all.txn(txn).completed.unwrap_or(all.txn(txn).invoked));
            ended.map_or(0, |at| at.index)
        };
        let count = if adjacent { nodes } else { nodes + graph.txns };
        let arranged = Arranged::new(count as usize, arcs, time)?;
        let mut touched = vec![Vec::new(); graph.txns as usize];
        for (number, writer) in (0..).zip(keys).flat_map(|(number, key)| key.writers.iter().map(move |w| (number, w))) {
            [writer.txn].iter().chain(&writer.readers).for_each(|txn| touched[*txn as usize].push(number));
        }
        Some(Self { graph, keys, touched, adjacent, arranged, choices: Vec::new(), refuted: Vec::new() })
    }

    fn run(&mut self, work: u64) -> Answer {
        let mut dirty: BTreeSet<u32> = (0..self.keys.len() as u32).collect();
        while let Some(key) = dirty.pop_first() {
            while let Some((before, after)) = self.conflict(key as usize) {
                if self.arranged.work > work {
                    return Answer::Unknown;
                }
                if let Err(basis) = self.decide(key as usize, before, after) {
                    return Answer::Impossible(basis.refuted.iter().map(|n| self.refuted[*n].clone()).collect());
                }
                let moved = std::mem::take(&mut self.arranged.moved);
                let txns = moved.into_iter().filter_map(|node| self.txn(node));
                dirty.extend(txns.flat_map(|txn| &self.touched[txn as usize]));
            }
        }
        Answer::Possible
    }

    /// The transaction that a node stands for, if it is no relay.
    fn txn(&self, node: u32) -> Option<u32> {
        let txn = if node >= self.graph.nodes() { node - self.graph.nodes() } else { node };
        (!self.graph.relays(txn)).then_some(txn)
    }

    /// Two writers of a key, the one next to the other, that what was read of the first does not let follow each other.
    fn conflict(&mut self, key: usize) -> Option<(usize, usize)> {
        let register = &self.keys[key];
        let mut order: Vec<usize> = (0..register.writers.len()).collect();
        order.sort_unstable_by_key(|writer| self.arranged.place(register.writers[*writer].txn));
        self.arranged.work += order.len() as u64;
        let backwards = |arc: Arc| self.arranged.place(arc.from) > self.arranged.place(arc.to);
        let broken = |pair: &&[usize]| {
            let edges = edges(register, pair[0], pair[1]);
            edges.into_iter().flat_map(|edge| arcs(self.graph, self.adjacent, edge, KNOWN)).any(backwards)
        };
        order.windows(2).find(broken).map(|pair| (pair[0], pair[1]))
    }

    /// Chooses one of two orders; if neither fits, takes choices back until something does. What is wrong whatever is
    /// chosen, if nothing does.
    fn decide(&mut self, key: usize, before: usize, after: usize) -> Result<(), Basis> {
        let choice = BTreeSet::from([self.choices.len()]);
        let Err(first) = self.suppose(key, before, after, Basis { choices: choice, ..Basis::default() }) else {
            return Ok(());
        };
        let mut wrong = match self.suppose(key, after, before, first) {
            Ok(()) => return Ok(()),
            Err(wrong) => wrong,
        };
        loop {
            let Some(last) = wrong.choices.pop_last() else { return Err(wrong) };
            let Choice { key, before, after, arcs, .. } = self.choices[last].clone();
            self.choices.truncate(last);
            self.arranged.truncate(arcs);
            match self.suppose(key, after, before, wrong) {
                Ok(()) => return Ok(()),
                Err(next) => wrong = next,
            }
        }
    }

    /// Lets one write come before another, on some basis; if that closes a cycle, why it cannot be, the basis included.
    fn suppose(&mut self, key: usize, before: usize, after: usize, basis: Basis) -> Result<(), Basis> {
        let (number, start) = (self.choices.len(), self.arranged.len());
        let register = &self.keys[key];
        let edges = edges(register, before, after);
        for arc in edges.into_iter().flat_map(|edge| arcs(self.graph, self.adjacent, edge, number as u32)) {
            let Err(circle) = self.arranged.add(arc) else { continue };
            self.arranged.truncate(start);
            let mut wrong = basis;
            wrong.choices.remove(&number);
            let others = circle.iter().map(|arc| arc.choice as usize).filter(|choice| *choice < number);
            others.for_each(|choice| wrong.join(&self.choices[choice].basis));
            wrong.refuted.insert(self.refuted.len());
            let (before, after) = (register.writers[before].txn, register.writers[after].txn);
            let cycle = without_relays(self.graph, &circle);
            self.refuted.push(Refuted { key: register.key, before, after, cycle });
            return Err(wrong);
        }
        self.choices.push(Choice { key, before, after, arcs: start, basis });
        Ok(())
    }
}

/// What follows if one write of a key comes before another.
fn edges(register: &Register, before: usize, after: usize) -> Vec<Edge> {
    let (before, to) = (&register.writers[before], register.writers[after].txn);
    let edge = |from: u32, why| Edge { from, to, why, key: register.key };
    let readers = before.readers.iter().filter(|reader| **reader != to);
    [edge(before.txn, Why::Ww)].into_iter().chain(readers.map(|reader| edge(*reader, Why::Rw))).collect()
}

/// The arcs that an edge is. Where reads that were overwritten count only if they are not next to each other, every
/// transaction has a second node, at which one comes in by such a read, and from which none of them leads on.
fn arcs(graph: &Graph, adjacent: bool, edge: Edge, choice: u32) -> impl Iterator<Item = Arc> {
    let second = |node: u32| graph.nodes() + node;
    let arc = move |from, to| Arc { from, to, edge, choice };
    let arcs = match (adjacent, edge.why) {
        (true, _) => [Some(arc(edge.from, edge.to)), None],
        (false, Why::Rw) if graph.relays(edge.to) => [Some(arc(edge.from, edge.to)), None],
        (false, Why::Rw) => [Some(arc(edge.from, second(edge.to))), None],
        (false, _) if graph.relays(edge.from) => [Some(arc(edge.from, edge.to)), None],
        (false, _) => [Some(arc(edge.from, edge.to)), Some(arc(second(edge.from), edge.to))],
    };
    arcs.into_iter().flatten()
}

/// A circle from transaction to transaction.
fn without_relays(graph: &Graph, circle: &[Arc]) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::new();
    let start = circle.iter().position(|arc| !graph.relays(arc.edge.from)).unwrap_or(0);
    for edge in circle[start..].iter().chain(&circle[..start]).map(|arc| arc.edge) {
        match edges.last_mut() {
            Some(last) if graph.relays(edge.from) => last.to = edge.to,
            _ => edges.push(edge),
        }
    }
    edges
}
