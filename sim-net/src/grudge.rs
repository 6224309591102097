//! Who cannot reach whom: sets of directed links, and the shapes of partitions that Jepsen and others know by name.

use std::fmt;

use serde::{Deserialize, Serialize};
use sim_core::choice::Draws;
use sim_core::{Node, NodeId};

use crate::link::name;

/// A set of nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Nodes {
    bits: Vec<u64>,
    /// It holds all nodes but these.
    others: bool,
}

impl Nodes {
    fn of(nodes: &[NodeId]) -> Self {
        let mut set = Nodes::default();
        for node in nodes {
            let (word, bit) = (node.0 as usize / 64, node.0 % 64);
            if set.bits.len() <= word {
                set.bits.resize(word + 1, 0);
            }
            set.bits[word] |= 1 << bit;
        }
        set
    }

    fn all_but(nodes: &[NodeId]) -> Self {
        Nodes { others: true, ..Nodes::of(nodes) }
    }

    #[inline]
    fn has(&self, node: NodeId) -> bool {
        let (word, bit) = (node.0 as usize / 64, node.0 % 64);
        (self.bits.get(word).is_some_and(|bits| bits >> bit & 1 == 1)) != self.others
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = |id: &NodeId| self.has(*id) != self.others;
        let names: Vec<String> = (0..self.bits.len() as u32 * 64).map(NodeId).filter(member).map(name).collect();
        if self.others {
            f.write_str("all but ")?;
        }
        f.write_str(&names.join(" "))
    }
}

/// Directed links between sets of nodes: from any of the first set to any of the second.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grudge {
    blocks: Vec<(Nodes, Nodes)>,
    /// Between these there is peace.
    spared: Option<Nodes>,
}

impl Grudge {
    /// Every link from one of `from` to one of `to`.
    pub fn one_way(from: &[Node], to: &[Node]) -> Self {
        let mut grudge = Grudge::default();
        grudge.add(&ids(from), &ids(to));
        grudge
    }

    /// Every link between the two groups, both ways.
    pub fn between(a: &[Node], b: &[Node]) -> Self {
        let mut grudge = Grudge::default();
        grudge.add_both(&ids(a), &ids(b));
        grudge
    }

    /// Every link between these and all others, present and future.
    pub fn around(nodes: &[Node]) -> Self {
        let (inside, outside) = (Nodes::of(&ids(nodes)), Nodes::all_but(&ids(nodes)));
        Grudge { blocks: vec![(inside.clone(), outside.clone()), (outside, inside)], spared: None }
    }

    /// Whether it covers a link.
    #[inline]
    pub(crate) fn covers(&self, from: NodeId, to: NodeId) -> bool {
        from != to
            && self.blocks.iter().any(|(a, b)| a.has(from) && b.has(to))
            && !self.spared.as_ref().is_some_and(|spared| spared.has(from) && spared.has(to))
    }

    pub(crate) fn spare(&mut self, nodes: &[NodeId]) {
        self.spared = Some(Nodes::of(nodes));
    }

    /// Whether it covers no link at all.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    fn add(&mut self, from: &[NodeId], to: &[NodeId]) {
        if !from.is_empty() && !to.is_empty() {
            self.blocks.push((Nodes::of(from), Nodes::of(to)));
        }
    }

    fn add_both(&mut self, a: &[NodeId], b: &[NodeId]) {
        self.add(a, b);
        self.add(b, a);
    }

    /// Every node hears only those that `hears` says.
    fn hearing(nodes: &[NodeId], hears: impl Fn(usize, usize) -> bool) -> Self {
        let mut grudge = Grudge::default();
        for (place, node) in nodes.iter().enumerate() {
            let deaf_to = (0..nodes.len()).filter(|other| *other != place && !hears(place, *other));
            grudge.add(&deaf_to.map(|other| nodes[other]).collect::<Vec<_>>(), &[*node]);
        }
        grudge
    }
}

impl fmt::Display for Grudge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks: Vec<String> = self.blocks.iter().map(|(from, to)| format!("{from} > {to}")).collect();
        f.write_str(&blocks.join(", "))
    }
}

fn ids(nodes: &[Node]) -> Vec<NodeId> {
    nodes.iter().map(|node| node.id()).collect()
}

/// A partition by name. Who is on which side is drawn when it comes; those of Jepsen's nemeses have their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shape {
    /// One node against the others.
    IsolateOne,
    /// Two halves.
    Halves,
    /// A random majority against the rest.
    Majority,
    /// At most a third against the rest.
    MinorityThird,
    /// Every node hears a majority, and no two the same one: nodes on a ring that hear their nearest.
    MajoritiesRing,
    /// Two halves, and one node that both hear.
    Bridge,
    /// All hear one node, and it alone.
    Star,
    /// One half is heard by the other, and hears nothing.
    OneWay,
    /// Two nodes do not hear each other; all else is well.
    PartialPair,
    /// Every node hears only its two neighbours on a line.
    Chain,
    /// One zone, as [`Node::zone`] says, against the others; its first part (the region) decides.
    Zone,
    /// One to all but one of the nodes, every number equally likely, against the rest.
    UniformSize,
    /// Every node on a random side.
    UniformAssign,
    /// Every pair of nodes with chance one half.
    RandomGraph,
}

impl Shape {
    /// All of them.
    pub const ALL: [Shape; 14] = [
        Shape::IsolateOne,
        Shape::Halves,
        Shape::Majority,
        Shape::MinorityThird,
        Shape::MajoritiesRing,
        Shape::Bridge,
        Shape::Star,
        Shape::OneWay,
        Shape::PartialPair,
        Shape::Chain,
        Shape::Zone,
        Shape::UniformSize,
        Shape::UniformAssign,
        Shape::RandomGraph,
    ];

    /// The name it has in a plan.
    pub fn name(self) -> String {
        let value = serde_json::to_value(self).ok();
        value.and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
    }

    /// The shape of a name.
    pub(crate) fn named(name: &str) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.name() == name)
    }

    /// Draws who cannot reach whom. Of fewer than two nodes nothing can be cut.
    pub fn grudge(self, nodes: &[Node], draws: &mut Draws) -> Grudge {
        let mut order = ids(nodes);
        let n = order.len();
        if n < 2 {
            return Grudge::default();
        }
        for last in (1..n).rev() {
            order.swap(last, draws.below(last as u64 + 1) as usize);
        }
        let mut grudge = Grudge::default();
        let split = |at: usize| {
            let (a, b) = order.split_at(at);
            let mut grudge = Grudge::default();
            grudge.add_both(a, b);
            grudge
        };
        match self {
            Shape::IsolateOne => split(1),
            Shape::Halves => split(n / 2),
            Shape::Majority => split((n - 1) / 2 + usize::from(n == 2)),
            Shape::MinorityThird => split((n / 3).max(1)),
            Shape::UniformSize => split(1 + draws.below(n as u64 - 1) as usize),
            Shape::MajoritiesRing => {
                // With itself, each hears n / 2 others: a majority of n.
                let (before, after) = ((n / 2) / 2, (n / 2).div_ceil(2));
                Grudge::hearing(&order, |me, other| {
                    let ahead = (other + n - me) % n;
                    ahead <= after || n - ahead <= before
                })
            }
            Shape::Bridge if n > 2 => {
                let (a, b) = order[1..].split_at((n - 1) / 2);
                grudge.add_both(a, b);
                grudge
            }
            Shape::Bridge | Shape::PartialPair => {
                grudge.add_both(&order[..1], &order[1..2]);
                grudge
            }
            Shape::Star => Grudge::hearing(&order, |me, other| me == 0 || other == 0),
            Shape::Chain => Grudge::hearing(&order, |me, other| me.abs_diff(other) == 1),
            Shape::OneWay => {
                let (a, b) = order.split_at(n / 2);
                grudge.add(b, a);
                grudge
            }
            Shape::Zone => Shape::zone(&order, draws),
            Shape::UniformAssign => {
                let (a, b): (Vec<NodeId>, Vec<NodeId>) = order.iter().partition(|_| draws.below(2) == 1);
                grudge.add_both(&a, &b);
                grudge
            }
            Shape::RandomGraph => {
                for (place, node) in order.iter().enumerate() {
                    let cut = order[..place].iter().copied().filter(|_| draws.below(2) == 1).collect::<Vec<_>>();
                    grudge.add_both(&cut, &[*node]);
                }
                grudge
            }
        }
    }

    fn zone(order: &[NodeId], draws: &mut Draws) -> Grudge {
        let region = |id: &NodeId| {
            let zone = Node::from_id(*id).and_then(Node::zone_name).unwrap_or_default();
            zone.split('/').next().unwrap_or_default().to_string()
        };
        let chosen = region(&order[draws.below(order.len() as u64) as usize]);
        let (inside, outside): (Vec<NodeId>, Vec<NodeId>) = order.iter().partition(|id| region(id) == chosen);
        let mut grudge = Grudge::default();
        grudge.add_both(&inside, &outside);
        grudge
    }
}
