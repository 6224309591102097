//! From strongly connected transactions to named cycles.
//!
//! Every component is searched for the worst kind of cycle that it has, and for no kind that a worse one
//! implies: first in the data alone, then with the order of processes, then with real time. Searches go
//! over pairs of a node and *was it reached by a read that was overwritten*, each visited once: their
//! time is polynomial, where a search over simple paths may take for ever.

use std::collections::VecDeque;

use super::anomaly::{Base, Kind, Order};
use super::graph::{Edge, Graph, Why, components};

/// A cycle and what it is.
#[derive(Debug)]
pub(crate) struct Cycle {
    pub(crate) kind: Kind,
    /// From transaction to transaction, relays left out; the last leads to where the first begins.
    pub(crate) edges: Vec<Edge>,
}

/// How many edges the search for the shortest cycle of a component may look at.
const WORK: u64 = 20_000_000;

/// No cycle of this length was found.
const NONE: u32 = u32::MAX;

/// What a search may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Read no version that was overwritten.
    NoRw,
    /// Do so, but not twice in a row.
    NoAdjacentRw,
    /// Anything.
    Any,
}

/// One cycle or more for every component of `graph`; and whether a search gave up early.
pub(crate) fn cycles(graph: &Graph) -> (Vec<Cycle>, bool) {
    let mut search = Search::new(graph);
    let mut worst = vec![Base::ALL.len(); graph.nodes() as usize];
    let mut found = Vec::new();
    let whole = search.components(!0);
    let selects = |node: &u32| (0..graph.degree(*node)).any(|n| graph.edge(*node, n).why.is_predicate());
    let passes = match whole.iter().flatten().any(selects) {
        true => &[Predicates::Without, Predicates::With][..],
        false => &[Predicates::Without],
    };
    for order in [Order::Data, Order::Process, Order::Realtime] {
        for predicates in passes.iter().copied() {
            let split = |whole: &Vec<u32>| search.split(whole, predicates.add_to(mask(Base::G2, order)), Rule::Any);
            let components: Vec<Vec<u32>> = whole.iter().flat_map(split).collect();
            for component in components {
                let bound = component.iter().map(|node| worst[*node as usize]).min().unwrap_or(0);
                let Some((base, edges)) = search.worst(&component, (order, predicates), bound) else { continue };
                component.iter().for_each(|node| worst[*node as usize] = base as usize);
                found.push(Cycle { kind: kind(&edges), edges });
            }
        }
    }
    (found, search.gave_up)
}

/// Whether dependencies count that take a predicate to be seen.
#[derive(Clone, Copy, Debug)]
enum Predicates {
    Without,
    With,
}

impl Predicates {
    /// Lets through, beside the dependencies on items, those of the same kind on what a predicate selected.
    fn add_to(self, mask: u8) -> u8 {
        let add = |item: Why, predicate: Why| if mask & item.bit() != 0 { predicate.bit() } else { 0 };
        match self {
            Predicates::Without => mask,
            Predicates::With => mask | add(Why::Wr, Why::WrPredicate) | add(Why::Rw, Why::RwPredicate),
        }
    }
}

/// The edges that a cycle may have, where there are no predicates.
pub(super) fn mask(base: Base, order: Order) -> u8 {
    let data = match base {
        Base::G0 => Why::Ww.bit(),
        Base::G1c => Why::Ww.bit() | Why::Wr.bit(),
        _ => Why::Ww.bit() | Why::Wr.bit() | Why::Rw.bit(),
    };
    data | match order {
        Order::Data => 0,
        Order::Process => Why::Process.bit(),
        Order::Realtime => Why::Realtime.bit(),
    }
}

/// What a cycle is, by its edges.
pub(super) fn kind(edges: &[Edge]) -> Kind {
    let has = |why| edges.iter().any(|edge| edge.why == why);
    let rw = |n: usize| edges[n % edges.len()].why.is_rw();
    let base = match (0..edges.len()).filter(|n| rw(*n)).count() {
        0 if has(Why::Wr) || has(Why::WrPredicate) => Base::G1c,
        0 => Base::G0,
        1 => Base::GSingle,
        _ if (0..edges.len()).any(|n| rw(n) && rw(n + 1)) => Base::G2,
        _ => Base::GNonadjacent,
    };
    let order = match (has(Why::Realtime), has(Why::Process)) {
        (true, _) => Order::Realtime,
        (false, true) => Order::Process,
        (false, false) => Order::Data,
    };
    match base >= Base::GSingle && edges.iter().any(|edge| edge.why.is_predicate()) {
        true => Kind::PredicateCycle(base, order),
        false => Kind::Cycle(base, order),
    }
}

struct Search<'g> {
    graph: &'g Graph,
    /// The component that each node is in, for the search at hand.
    member: Vec<u32>,
    members: u32,
    /// For each pair the number of the search that reached it, its distance, and the edge it came by.
    seen: Vec<u32>,
    seens: u32,
    came: Vec<(u32, u32, Edge)>,
    work: u64,
    gave_up: bool,
}

impl<'g> Search<'g> {
    fn new(graph: &'g Graph) -> Self {
        let nodes = graph.nodes() as usize;
        Self {
            graph,
            member: vec![0; nodes],
            members: 0,
            seen: Vec::new(),
            seens: 0,
            came: Vec::new(),
            work: 0,
            gave_up: false,
        }
    }

    /// The components of the whole graph with the edges of a mask.
    fn components(&self, mask: u8) -> Vec<Vec<u32>> {
        let graph = self.graph;
        let step = |node, n: usize| {
            let edge = graph.edge(node, n);
            (edge.why.bit() & mask != 0).then_some(edge.to)
        };
        components(graph.nodes(), |node| graph.degree(node), step)
    }

    /// The components of some nodes with the edges of a mask, each with its transactions and relays.
    fn split(&self, nodes: &[u32], mask: u8, rule: Rule) -> Vec<Vec<u32>> {
        let graph = self.graph;
        // Each node twice: reached by a read that was overwritten, or not.
        let twice = if rule == Rule::NoAdjacentRw { 2 } else { 1 };
        let place = |node: u32| nodes.binary_search(&node).ok();
        let row = |pair: u32| graph.degree(nodes[pair as usize / twice]);
        let step = |pair: u32, n: usize| {
            let edge = graph.edge(nodes[pair as usize / twice], n);
            let by_rw = pair as usize % twice == 1;
            let to = place(edge.to).filter(|_| edge.why.bit() & mask != 0)?;
            let legal = twice == 1 || allowed(graph, rule, &edge, by_rw);
            legal.then_some((to * twice + usize::from(twice == 2 && edge.why.is_rw())) as u32)
        };
        let found = components((nodes.len() * twice) as u32, row, step);
        let name = |component: Vec<u32>| {
            let mut members: Vec<u32> = component.into_iter().map(|pair| nodes[pair as usize / twice]).collect();
            members.dedup();
            members
        };
        found.into_iter().map(name).collect()
    }

    /// The worst kind of cycle in a component, below `bound`, and a shortest cycle of that kind.
    fn worst(
        &mut self,
        component: &[u32],
        (order, predicates): (Order, Predicates),
        bound: usize,
    ) -> Option<(Base, Vec<Edge>)> {
        self.work = 0;
        Base::ALL.into_iter().take(bound).find_map(|base| {
            let rule = match base {
                Base::GSingle | Base::GNonadjacent => Rule::NoAdjacentRw,
                _ => Rule::Any,
            };
            let mut best: Option<Vec<Edge>> = None;
            let mask = predicates.add_to(mask(base, order));
            for part in self.split(component, mask, rule) {
                let cycle = self.shortest(&part, base, mask);
                if let Some(cycle) = cycle.filter(|new| best.as_ref().is_none_or(|old| new.len() < old.len())) {
                    best = Some(cycle);
                }
            }
            best.map(|cycle| (base, cycle))
        })
    }

    /// A shortest cycle of a kind in a part that is known to have no worse one.
    fn shortest(&mut self, part: &[u32], base: Base, mask: u8) -> Option<Vec<Edge>> {
        self.members += 1;
        part.iter().for_each(|node| self.member[*node as usize] = self.members);
        let mut best: Option<Vec<Edge>> = None;
        for node in part.iter().copied().filter(|node| !self.graph.relays(*node)) {
            if base <= Base::G1c {
                self.improve(&mut best, node, None, (Rule::Any, mask));
                continue;
            }
            let rule = match base {
                Base::GSingle => Rule::NoRw,
                Base::GNonadjacent => Rule::NoAdjacentRw,
                _ => Rule::Any,
            };
            for n in 0..self.graph.degree(node) {
                let edge = self.graph.edge(node, n);
                if edge.why.is_rw() && edge.why.bit() & mask != 0 && self.member[edge.to as usize] == self.members {
                    self.improve(&mut best, node, Some(edge), (rule, mask));
                }
            }
            if best.as_ref().is_some_and(|best| best.len() == 2) {
                break;
            }
        }
        best
    }

    /// Looks for a cycle through `node` that is shorter than the best.
    fn improve(&mut self, best: &mut Option<Vec<Edge>>, node: u32, first: Option<Edge>, limits: (Rule, u8)) {
        if self.work >= WORK {
            // The first is always looked for to its end; a shorter one need not be found.
            self.gave_up |= best.is_none() && limits.0 == Rule::NoRw;
            if best.is_some() || limits.0 == Rule::NoRw {
                return;
            }
        }
        let longest = best.as_ref().map_or(NONE, |best| best.len() as u32 - 1);
        if let Some(path) = self.back(node, first, limits, longest) {
            *best = Some(path);
        }
    }

    /// A shortest way from `goal`, by the edge `first` if it is given, back to `goal`.
    fn back(&mut self, goal: u32, first: Option<Edge>, (rule, mask): (Rule, u8), longest: u32) -> Option<Vec<Edge>> {
        let pairs = self.graph.nodes() as usize * 2;
        if self.seen.is_empty() {
            let nothing = Edge { from: 0, to: 0, why: Why::Ww, key: 0 };
            self.seen = vec![0; pairs];
            self.came = vec![(0, 0, nothing); pairs];
        }
        self.seens += 1;
        let mut queue = VecDeque::new();
        match first {
            Some(edge) => self.reach(&mut queue, 0, edge, NONE),
            None => self.leave(&mut queue, (goal, false), 0, (rule, mask), NONE),
        }
        while let Some((node, by_rw, distance)) = queue.pop_front() {
            let pair = node as usize * 2 + usize::from(by_rw);
            if distance > longest {
                return None;
            }
            if self.seen[pair] == self.seens && self.came[pair].0 < distance {
                continue;
            }
            if node == goal && !(by_rw && rule == Rule::NoAdjacentRw) {
                return Some(self.path(pair as u32));
            }
            self.leave(&mut queue, (node, by_rw), distance, (rule, mask), pair as u32);
        }
        None
    }

    fn leave(
        &mut self,
        queue: &mut Queue,
        (node, by_rw): (u32, bool),
        distance: u32,
        (rule, mask): (Rule, u8),
        from: u32,
    ) {
        let graph = self.graph;
        for edge in graph.from(node) {
            self.work += 1;
            let inside = self.member[edge.to as usize] == self.members && edge.why.bit() & mask != 0;
            if inside && allowed(graph, rule, &edge, by_rw) {
                self.reach(queue, distance, edge, from);
            }
        }
    }

    /// Comes to the end of an edge, unless one came there sooner.
    fn reach(&mut self, queue: &mut Queue, distance: u32, edge: Edge, from: u32) {
        let by_rw = edge.why.is_rw();
        let pair = edge.to as usize * 2 + usize::from(by_rw);
        let relays = self.graph.relays(edge.to);
        let distance = distance + u32::from(!relays);
        if self.seen[pair] == self.seens && self.came[pair].0 <= distance {
            return;
        }
        self.seen[pair] = self.seens;
        self.came[pair] = (distance, from, edge);
        let entry = (edge.to, by_rw, distance);
        if relays { queue.push_front(entry) } else { queue.push_back(entry) }
    }

    /// The way by which a pair was reached, from transaction to transaction.
    fn path(&self, pair: u32) -> Vec<Edge> {
        let mut edges: Vec<Edge> = Vec::new();
        let mut at = pair;
        while at != NONE {
            let (_, before, edge) = self.came[at as usize];
            match edges.last_mut() {
                Some(last) if self.graph.relays(last.from) => last.from = edge.from,
                _ => edges.push(edge),
            }
            at = before;
        }
        edges.reverse();
        edges
    }
}

/// Nodes, whether a read that was overwritten led there, and how many transactions away they are.
type Queue = VecDeque<(u32, bool, u32)>;

/// Whether an edge may follow; edges that leave a relay only continue what led there.
fn allowed(graph: &Graph, rule: Rule, edge: &Edge, by_rw: bool) -> bool {
    !edge.why.is_rw()
        || match rule {
            Rule::Any => true,
            Rule::NoRw => graph.relays(edge.from),
            Rule::NoAdjacentRw => !by_rw || graph.relays(edge.from),
        }
}
