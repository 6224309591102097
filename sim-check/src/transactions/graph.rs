//! The graph of what has to come before what: compressed rows, and Tarjan's components without recursion.
//!
//! Nodes are transactions, and after them *relays*. A relay stands between many that come before and many
//! that come after, so that n times m edges become n plus m. A path through relays is one edge.

/// Why one transaction has to come before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Why {
    /// It wrote a version, the other a later one.
    Ww,
    /// The other read a version that it wrote.
    Wr,
    /// It read a version, the other wrote the next one.
    Rw,
    /// The same process ran it earlier.
    Process,
    /// It ended before the other was invoked.
    Realtime,
    /// The other selected a version that it wrote, by a predicate.
    WrPredicate,
    /// It selected a version by a predicate, the other wrote a later one that the predicate judges otherwise.
    RwPredicate,
}

impl Why {
    pub(crate) const fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Why::Ww => "ww",
            Why::Wr => "wr",
            Why::Rw => "rw",
            Why::Process => "process",
            Why::Realtime => "realtime",
            Why::WrPredicate => "wrp",
            Why::RwPredicate => "rwp",
        }
    }

    /// Whether what was read was overwritten.
    pub(crate) fn is_rw(self) -> bool {
        matches!(self, Why::Rw | Why::RwPredicate)
    }

    /// Whether it takes a predicate to see it.
    pub(crate) fn is_predicate(self) -> bool {
        matches!(self, Why::WrPredicate | Why::RwPredicate)
    }
}

/// An edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) why: Why,
    /// The key that it is about, if it is about one.
    pub(crate) key: u32,
}

/// Why an edge is there and what it is about, in four bytes: there are fewer than 2^29 keys.
#[derive(Clone, Copy, Debug)]
struct Label(u32);

const KEY_BITS: u32 = 29;

impl Label {
    fn new(why: Why, key: u32) -> Self {
        assert!(key < 1 << KEY_BITS, "a history has fewer than 2^29 keys");
        Label((why as u32) << KEY_BITS | key)
    }

    fn why(self) -> Why {
        use Why::{Process, Realtime, Rw, RwPredicate, Wr, WrPredicate, Ww};
        const WHYS: [Why; 7] = [Ww, Wr, Rw, Process, Realtime, WrPredicate, RwPredicate];
        WHYS[(self.0 >> KEY_BITS) as usize]
    }

    fn key(self) -> u32 {
        self.0 & ((1 << KEY_BITS) - 1)
    }
}

/// Edges as they are found.
#[derive(Debug)]
pub(crate) struct Builder {
    txns: u32,
    nodes: u32,
    edges: Vec<(u32, u32, Label)>,
}

impl Builder {
    pub(crate) fn new(txns: u32) -> Self {
        Self { txns, nodes: txns, edges: Vec::new() }
    }

    /// Adds an edge, unless it would be one from a transaction to itself.
    pub(crate) fn edge(&mut self, from: u32, to: u32, why: Why, key: u32) {
        if from != to {
            self.edges.push((from, to, Label::new(why, key)));
        }
    }

    /// A new relay.
    pub(crate) fn relay(&mut self) -> u32 {
        self.nodes += 1;
        self.nodes - 1
    }

    /// Every one of `from` before every one of `to`, except before itself, by edges as many as both.
    pub(crate) fn all_before_all(&mut self, from: &[u32], to: &[u32], why: Why, key: u32) {
        if from.len() < 2 || to.len() < 2 {
            for (before, after) in from.iter().flat_map(|before| to.iter().map(move |after| (*before, *after))) {
                self.edge(before, after, why, key);
            }
            return;
        }
        // Relay n of `firsts` leads to the first n + 1 of `to`, relay n of `lasts` to all from n on.
        let firsts: Vec<u32> = to.iter().map(|_| self.relay()).collect();
        let lasts: Vec<u32> = to.iter().map(|_| self.relay()).collect();
        for n in 0..to.len() {
            self.edge(firsts[n], to[n], why, key);
            self.edge(lasts[n], to[n], why, key);
            if n > 0 {
                self.edge(firsts[n], firsts[n - 1], why, key);
                self.edge(lasts[n - 1], lasts[n], why, key);
            }
        }
        let mut places: Vec<(u32, usize)> = to.iter().copied().zip(0..).collect();
        places.sort_unstable();
        for before in from {
            match places.binary_search_by_key(before, |(txn, _)| *txn).map(|found| places[found].1) {
                Err(_) => self.edge(*before, lasts[0], why, key),
                Ok(place) => {
                    let (ahead, behind) = (place.checked_sub(1), lasts.get(place + 1));
                    let relays = ahead.map(|ahead| firsts[ahead]).into_iter().chain(behind.copied());
                    relays.for_each(|relay| self.edge(*before, relay, why, key));
                }
            }
        }
    }

    pub(crate) fn build(self) -> Graph {
        Graph::new(self.txns, self.nodes, self.edges)
    }
}

/// Edges in rows, by the node they leave.
#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) txns: u32,
    rows: Vec<u32>,
    edges: Vec<(u32, Label)>,
}

impl Graph {
    fn new(txns: u32, nodes: u32, unsorted: Vec<(u32, u32, Label)>) -> Self {
        let mut rows = vec![0_u32; nodes as usize + 1];
        for (from, ..) in &unsorted {
            rows[*from as usize] += 1;
        }
        let mut end = 0;
        for row in &mut rows {
            end += std::mem::replace(row, end);
        }
        // Each row's beginning moves to its end as the row is filled, and is moved back after.
        let mut edges = vec![(0, Label(0)); unsorted.len()];
        for (from, to, label) in unsorted {
            let place = &mut rows[from as usize];
            edges[*place as usize] = (to, label);
            *place += 1;
        }
        rows.copy_within(..nodes as usize, 1);
        rows[0] = 0;
        Self { txns, rows, edges }
    }

    pub(crate) fn nodes(&self) -> u32 {
        self.rows.len() as u32 - 1
    }

    /// How many edges leave a node.
    pub(crate) fn degree(&self, node: u32) -> usize {
        (self.rows[node as usize + 1] - self.rows[node as usize]) as usize
    }

    /// One of the edges that leave a node.
    pub(crate) fn edge(&self, node: u32, n: usize) -> Edge {
        let (to, label) = self.edges[self.rows[node as usize] as usize + n];
        Edge { from: node, to, why: label.why(), key: label.key() }
    }

    /// The edges that leave a node.
    pub(crate) fn from(&self, node: u32) -> impl Iterator<Item = Edge> {
        (0..self.degree(node)).map(move |n| self.edge(node, n))
    }

    pub(crate) fn relays(&self, node: u32) -> bool {
        node >= self.txns
    }
}

/// The strongly connected components of two nodes or more, each in the order of its numbers.
///
/// `step` calls back with every node that comes after one.
pub(crate) fn components(
    nodes: u32,
    row: impl Fn(u32) -> usize,
    step: impl Fn(u32, usize) -> Option<u32>,
) -> Vec<Vec<u32>> {
    const NEW: u32 = u32::MAX;
    let count = nodes as usize;
    let (mut index, mut low, mut on_stack) = (vec![NEW; count], vec![0_u32; count], vec![false; count]);
    let (mut stack, mut calls, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 0;
    for root in 0..nodes {
        if index[root as usize] != NEW {
            continue;
        }
        calls.push((root, 0));
        while let Some((node, edge)) = calls.last_mut() {
            let (at, n) = (*node as usize, *edge);
            if n == 0 {
                (index[at], low[at], on_stack[at]) = (next, next, true);
                stack.push(*node);
                next += 1;
            }
            *edge += 1;
            if n < row(*node) {
                match step(*node, n) {
                    Some(to) if index[to as usize] == NEW => calls.push((to, 0)),
                    Some(to) if on_stack[to as usize] => low[at] = low[at].min(index[to as usize]),
                    _ => {}
                }
                continue;
            }
            calls.pop();
            if let Some((parent, _)) = calls.last() {
                let parent = *parent as usize;
                low[parent] = low[parent].min(low[at]);
            }
            if low[at] == index[at] {
                let from = stack.iter().rposition(|node| *node as usize == at).expect("a root is on the stack");
                let mut component = stack.split_off(from);
                component.iter().for_each(|node| on_stack[*node as usize] = false);
                if component.len() > 1 {
                    component.sort_unstable();
                    found.push(component);
                }
            }
        }
    }
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sccs(txns: u32, pairs: &[(u32, u32)]) -> Vec<Vec<u32>> {
        let mut builder = Builder::new(txns);
        pairs.iter().for_each(|(from, to)| builder.edge(*from, *to, Why::Ww, 0));
        let graph = builder.build();
        components(graph.nodes(), |node| graph.degree(node), |node, n| Some(graph.edge(node, n).to))
    }

    #[test]
    fn components_are_what_goes_in_circles() {
        assert_eq!(sccs(4, &[(0, 1), (1, 2), (2, 3)]), Vec::<Vec<u32>>::new());
        assert_eq!(sccs(6, &[(0, 1), (1, 0), (1, 2), (2, 3), (3, 4), (4, 2), (4, 5)]), [vec![0, 1], vec![2, 3, 4]]);
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let pairs: Vec<_> = (0..200_000).map(|n| (n, (n + 1) % 200_000)).collect();
        assert_eq!(sccs(200_000, &pairs).len(), 1);
    }

    #[test]
    fn relays_lead_from_all_to_all_others_and_from_nobody_to_itself() {
        for (from, to) in [(vec![0, 1, 2], vec![1, 2, 3]), (vec![0, 4], vec![1, 2]), (vec![0, 1], vec![0, 1])] {
            let mut builder = Builder::new(5);
            builder.all_before_all(&from, &to, Why::Rw, 0);
            let graph = builder.build();
            for before in 0..5 {
                let mut reached = Vec::new();
                let mut left = vec![before];
                while let Some(node) = left.pop() {
                    let after = graph.from(node).map(|edge| edge.to);
                    let (relays, txns): (Vec<u32>, Vec<u32>) = after.partition(|node| graph.relays(*node));
                    left.extend(relays);
                    reached.extend(txns);
                }
                reached.sort_unstable();
                reached.dedup();
                let expected = to.iter().copied().filter(|after| from.contains(&before) && *after != before);
                assert_eq!(reached, expected.collect::<Vec<_>>(), "{before} of {from:?} before {to:?}");
            }
        }
    }
}
