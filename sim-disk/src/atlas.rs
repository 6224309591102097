//! Where faults of the medium may strike, so that enough of every chunk stays sound for a correct system to recover.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sim_core::NodeId;

use crate::kernel::act;
use crate::spots::Spot;

type ChunkOf = Rc<dyn Fn(&str, u64) -> u64>;

/// Which places of which disks may be made faulty. Faults that it forbids do not fire.
#[derive(Clone, Default)]
pub struct Atlas(Rule);

#[derive(Clone, Default)]
enum Rule {
    #[default]
    Anywhere,
    Quorum {
        replicas: usize,
        chunk: ChunkOf,
    },
    Helix {
        nodes: u64,
        chunk_bytes: u64,
    },
}

impl Atlas {
    /// Faults anywhere.
    pub fn none() -> Self {
        Atlas::default()
    }

    /// Of each chunk at most so many replicas are faulty, and no replica loses all its chunks. `chunk` says which chunk a
    /// byte of a path belongs to, the same on all replicas. After TigerBeetle's storage fault atlas.
    pub fn quorum_safe(replicas: usize, chunk: impl Fn(&str, u64) -> u64 + 'static) -> Self {
        Atlas(Rule::Quorum { replicas, chunk: Rc::new(chunk) })
    }

    /// For systems nobody knows the chunks of: files are cut into chunks of so many bytes, and the node numbered `i` may be
    /// hit in the chunks that are `i` modulo `nodes` alone. After Jepsen's `helix`.
    ///
    /// # Panics
    /// When either is 0.
    #[track_caller]
    pub fn helix(nodes: u64, chunk_bytes: u64) -> Self {
        assert!(nodes > 0 && chunk_bytes > 0, "a helix needs nodes, and chunks that have bytes");
        Atlas(Rule::Helix { nodes, chunk_bytes })
    }
}

/// Sets the atlas of all disks.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn set_atlas(atlas: Atlas) {
    act("disk::set_atlas", |kernel| kernel.atlas = Chart { atlas, faulty: BTreeMap::new() });
}

/// An atlas, and the chunks that are faulty.
#[derive(Default)]
pub(crate) struct Chart {
    atlas: Atlas,
    faulty: BTreeMap<u64, BTreeSet<NodeId>>,
}

impl Chart {
    pub(crate) fn is_none(&self) -> bool {
        matches!(self.atlas.0, Rule::Anywhere)
    }

    /// How many chunks of a node are sound, given all that its medium has.
    pub(crate) fn sound(&self, node: NodeId, spots: &[Spot]) -> usize {
        if self.is_none() {
            return 0;
        }
        let chunks: BTreeSet<u64> = spots.iter().map(|spot| self.chunk(&spot.path, spot.offset)).collect();
        chunks.into_iter().filter(|chunk| !self.is_faulty(*chunk, node)).count()
    }

    /// Whether these may become faulty together on a node with so many sound chunks.
    pub(crate) fn allows(&self, node: NodeId, sound: usize, spots: &[Spot]) -> bool {
        let chunks: BTreeSet<u64> = spots.iter().map(|spot| self.chunk(&spot.path, spot.offset)).collect();
        match self.atlas.0 {
            Rule::Anywhere => true,
            Rule::Helix { nodes, .. } => chunks.iter().all(|chunk| chunk % nodes == u64::from(node.0) % nodes),
            Rule::Quorum { replicas, .. } => {
                let mut fresh = chunks.iter().filter(|chunk| !self.is_faulty(**chunk, node)).peekable();
                let others = |chunk: &u64| self.faulty.get(chunk).map_or(0, BTreeSet::len);
                fresh.peek().is_none() || (fresh.clone().count() < sound && fresh.all(|chunk| others(chunk) < replicas))
            }
        }
    }

    fn chunk(&self, path: &str, offset: u64) -> u64 {
        match &self.atlas.0 {
            Rule::Anywhere => 0,
            Rule::Quorum { chunk, .. } => chunk(path, offset),
            Rule::Helix { chunk_bytes, .. } => offset / chunk_bytes,
        }
    }

    fn is_faulty(&self, chunk: u64, node: NodeId) -> bool {
        self.faulty.get(&chunk).is_some_and(|nodes| nodes.contains(&node))
    }

    pub(crate) fn mark(&mut self, node: NodeId, spot: &Spot) {
        let chunk = self.chunk(&spot.path, spot.offset);
        self.faulty.entry(chunk).or_default().insert(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spots() -> Vec<Spot> {
        (0..4).map(|page| Spot::new("data", page * 4096)).collect()
    }

    fn allowed(chart: &Chart, node: NodeId) -> Vec<usize> {
        let (spots, sound) = (spots(), chart.sound(node, &spots()));
        (0..4).filter(|place| chart.allows(node, sound, &spots[*place..=*place])).collect()
    }

    #[test]
    fn at_most_so_many_replicas_of_a_chunk_are_faulty_and_none_loses_all() {
        let mut chart = Chart { atlas: Atlas::quorum_safe(1, |_, offset| offset / 4096), ..Chart::default() };
        let nodes = [1, 2, 3].map(NodeId);
        for round in 0..12 {
            let allowed = allowed(&chart, nodes[round % 3]);
            if let Some(place) = allowed.get(round / 3 % allowed.len().max(1)) {
                chart.mark(nodes[round % 3], &spots()[*place]);
            }
        }
        assert!(chart.faulty.values().all(|nodes| nodes.len() == 1), "{:?}", chart.faulty);
        let losses = nodes.map(|node| chart.faulty.values().filter(|nodes| nodes.contains(&node)).count());
        assert!(losses.iter().all(|chunks| *chunks < 4) && chart.faulty.len() > 2, "{losses:?}");
    }

    #[test]
    fn what_becomes_faulty_together_is_judged_together() {
        let chart = Chart { atlas: Atlas::quorum_safe(1, |_, offset| offset / 4096), ..Chart::default() };
        let sound = chart.sound(NodeId(1), &spots());
        assert!(chart.allows(NodeId(1), sound, &spots()[..3]) && !chart.allows(NodeId(1), sound, &spots()));
    }

    #[test]
    fn a_helix_keeps_nodes_apart() {
        let chart = Chart { atlas: Atlas::helix(3, 4096), ..Chart::default() };
        assert_eq!(allowed(&chart, NodeId(1)), [1]);
        assert_eq!(allowed(&chart, NodeId(3)), [0, 3]);
    }
}
