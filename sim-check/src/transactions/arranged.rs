//! A graph without circles whose order is kept while arcs come and go.
//!
//! An arc that already leads forwards costs nothing. One that leads backwards moves what lies between its ends, and
//! nothing else (Pearce and Kelly, 2006). Taking arcs away leaves the order as it is.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::graph::Edge;

/// An arc between two nodes, and the edge that it stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arc {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) edge: Edge,
    /// The choice that made it, or [`KNOWN`].
    pub(super) choice: u32,
}

/// In place of a choice: there was none.
pub(super) const KNOWN: u32 = u32::MAX;

/// The graph.
#[derive(Debug)]
pub(super) struct Arranged {
    /// Of each node its place in the order.
    places: Vec<u32>,
    /// Of each node the arcs that leave it, and those that lead to it.
    out: Vec<Vec<u32>>,
    into: Vec<Vec<u32>>,
    arcs: Vec<Arc>,
    /// The last search that reached each node, and the arc by which it did.
    seen: Vec<u32>,
    came: Vec<u32>,
    searches: u32,
    /// Nodes whose place has changed since somebody last looked.
    pub(super) moved: Vec<u32>,
    /// How many arcs were looked at.
    pub(super) work: u64,
}

impl Arranged {
    /// The order of some arcs in which, of nodes that might come next, the one with the least `time` does; nothing if they
    /// go in a circle.
    pub(super) fn new(nodes: usize, arcs: Vec<Arc>, time: impl Fn(u32) -> u64) -> Option<Self> {
        let (mut out, mut into) = (vec![Vec::new(); nodes], vec![Vec::new(); nodes]);
        for (number, arc) in (0..).zip(&arcs) {
            out[arc.from as usize].push(number);
            into[arc.to as usize].push(number);
        }
        let mut left: Vec<usize> = into.iter().map(Vec::len).collect();
        let roots = (0..nodes as u32).filter(|node| left[*node as usize] == 0);
        let mut next: BinaryHeap<Reverse<(u64, u32)>> = roots.map(|node| Reverse((time(node), node))).collect();
        let (mut places, mut placed) = (vec![0; nodes], 0);
        while let Some(Reverse((_, node))) = next.pop() {
            places[node as usize] = placed;
            placed += 1;
            for arc in &out[node as usize] {
                let to = arcs[*arc as usize].to;
                left[to as usize] -= 1;
                if left[to as usize] == 0 {
                    next.push(Reverse((time(to), to)));
                }
            }
        }
        let (seen, came) = (vec![0; nodes], vec![0; nodes]);
        let whole = placed as usize == nodes;
        whole.then_some(Self { places, out, into, arcs, seen, came, searches: 0, moved: Vec::new(), work: 0 })
    }

    /// Where a node is.
    pub(super) fn place(&self, node: u32) -> u32 {
        self.places[node as usize]
    }

    /// How many arcs there are.
    pub(super) fn len(&self) -> usize {
        self.arcs.len()
    }

    /// Adds an arc, or tells the circle that it would close, beginning with the arc itself.
    pub(super) fn add(&mut self, arc: Arc) -> Result<(), Vec<Arc>> {
        let (low, high) = (self.place(arc.to), self.place(arc.from));
        if low <= high {
            let after = self.reach(arc.to, |arranged, node| arranged.place(node) <= high, true);
            if self.seen[arc.from as usize] == self.searches {
                return Err(self.circle(arc));
            }
            let before = self.reach(arc.from, |arranged, node| arranged.place(node) >= low, false);
            self.swap(before, after);
        }
        let number = self.arcs.len() as u32;
        self.out[arc.from as usize].push(number);
        self.into[arc.to as usize].push(number);
        self.arcs.push(arc);
        Ok(())
    }

    /// Takes the last arcs away until so many are left.
    pub(super) fn truncate(&mut self, arcs: usize) {
        for arc in self.arcs.drain(arcs..).rev() {
            self.out[arc.from as usize].pop();
            self.into[arc.to as usize].pop();
        }
    }

    /// What can be reached from a node, forwards or backwards, the nearest first.
    fn reach(&mut self, start: u32, inside: impl Fn(&Self, u32) -> bool, forwards: bool) -> Vec<u32> {
        self.searches += 1;
        self.seen[start as usize] = self.searches;
        let (mut reached, mut next) = (vec![start], 0);
        while let Some(node) = reached.get(next).copied() {
            next += 1;
            let row = if forwards { &self.out[node as usize] } else { &self.into[node as usize] };
            self.work += row.len() as u64 + 1;
            for number in row {
                let arc = &self.arcs[*number as usize];
                let to = if forwards { arc.to } else { arc.from };
                if self.seen[to as usize] != self.searches && inside(self, to) {
                    self.seen[to as usize] = self.searches;
                    self.came[to as usize] = *number;
                    reached.push(to);
                }
            }
        }
        reached
    }

    /// The way by which the last search came from the end of an arc to its beginning, and the arc before it.
    fn circle(&self, closing: Arc) -> Vec<Arc> {
        let mut circle = Vec::new();
        let mut at = closing.from;
        while at != closing.to {
            let arc = self.arcs[self.came[at as usize] as usize];
            circle.push(arc);
            at = arc.from;
        }
        circle.push(closing);
        circle.reverse();
        circle
    }

    /// Gives the places of both to the first, and then to the second.
    fn swap(&mut self, before: Vec<u32>, after: Vec<u32>) {
        let in_order = |mut nodes: Vec<u32>| {
            nodes.sort_unstable_by_key(|node| self.place(*node));
            nodes
        };
        let nodes = [in_order(before), in_order(after)].concat();
        let mut places: Vec<u32> = nodes.iter().map(|node| self.place(*node)).collect();
        places.sort_unstable();
        for (node, place) in nodes.iter().zip(places) {
            self.places[*node as usize] = place;
        }
        self.moved.extend(nodes);
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Why;
    use super::*;
    use crate::dice::Dice;

    fn arc(from: u32, to: u32) -> Arc {
        Arc { from, to, edge: Edge { from, to, why: Why::Ww, key: 0 }, choice: KNOWN }
    }

    #[test]
    fn arcs_are_accepted_until_they_close_a_circle_and_the_order_fits_all() {
        for seed in 0..200 {
            let mut dice = Dice(seed << 20);
            let mut arranged = Arranged::new(12, Vec::new(), u64::from).expect("there is no arc yet");
            let mut reaches = [[false; 12]; 12];
            for _ in 0..60 {
                let (from, to) = (dice.roll(12) as usize, dice.roll(12) as usize);
                match arranged.add(arc(from as u32, to as u32)) {
                    Ok(()) => {
                        assert!(from != to && !reaches[to][from]);
                        let before: Vec<usize> = (0..12).filter(|node| *node == from || reaches[*node][from]).collect();
                        let after: Vec<usize> = (0..12).filter(|node| *node == to || reaches[to][*node]).collect();
                        before.iter().for_each(|one| after.iter().for_each(|other| reaches[*one][*other] = true));
                    }
                    Err(circle) => {
                        assert!(from == to || reaches[to][from]);
                        let next = circle.iter().cycle().skip(1);
                        assert!(circle.iter().zip(next).all(|(one, next)| one.to == next.from), "{circle:?}");
                    }
                }
                assert!(arranged.arcs.iter().all(|arc| arranged.place(arc.from) < arranged.place(arc.to)));
            }
        }
    }

    #[test]
    fn an_arc_that_was_taken_away_is_in_nobodys_way() {
        let mut arranged = Arranged::new(3, vec![arc(0, 1)], u64::from).expect("no circle");
        arranged.add(arc(1, 2)).expect("no circle");
        assert_eq!(arranged.add(arc(2, 0)).expect_err("a circle").len(), 3);
        arranged.truncate(1);
        arranged.add(arc(2, 0)).expect("no circle");
        assert!(Arranged::new(2, vec![arc(0, 1), arc(1, 0)], u64::from).is_none());
    }
}
