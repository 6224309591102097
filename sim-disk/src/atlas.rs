//! Where faults of the medium may strike, so that enough of every chunk stays sound for a correct system to recover.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sim_core::NodeId;

use crate::kernel::act;

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
    /// Of the candidates, the places that may become faulty.
    pub(crate) fn allowed(&self, node: NodeId, candidates: &[(String, u64)]) -> Vec<usize> {
        let chunks: Vec<u64> = candidates.iter().map(|(path, offset)| self.chunk(path, *offset)).collect();
        let of_node: BTreeSet<u64> = chunks.iter().copied().collect();
        let sound = of_node.iter().filter(|chunk| !self.is_faulty(**chunk, node)).count();
        let allows = |chunk: u64| match self.atlas.0 {
            Rule::Anywhere => true,
            Rule::Helix { nodes, .. } => chunk % nodes == u64::from(node.0) % nodes,
            Rule::Quorum { replicas, .. } => {
                let faulty = self.faulty.get(&chunk).map_or(0, BTreeSet::len);
                self.is_faulty(chunk, node) || (faulty < replicas && sound > 1)
            }
        };
        (0..candidates.len()).filter(|place| allows(chunks[*place])).collect()
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

    pub(crate) fn mark(&mut self, node: NodeId, path: &str, offset: u64) {
        let chunk = self.chunk(path, offset);
        self.faulty.entry(chunk).or_default().insert(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Vec<(String, u64)> {
        (0..4).map(|page| ("data".to_string(), page * 4096)).collect()
    }

    #[test]
    fn at_most_so_many_replicas_of_a_chunk_are_faulty_and_none_loses_all() {
        let mut chart = Chart { atlas: Atlas::quorum_safe(1, |_, offset| offset / 4096), ..Chart::default() };
        let nodes = [1, 2, 3].map(NodeId);
        for round in 0..12 {
            let node = nodes[round % 3];
            let allowed = chart.allowed(node, &places());
            if let Some(place) = allowed.get(round / 3 % allowed.len().max(1)) {
                let (path, offset) = &places()[*place];
                chart.mark(node, path, *offset);
            }
        }
        assert!(chart.faulty.values().all(|nodes| nodes.len() == 1), "{:?}", chart.faulty);
        let losses = nodes.map(|node| chart.faulty.values().filter(|nodes| nodes.contains(&node)).count());
        assert!(losses.iter().all(|chunks| *chunks < 4) && chart.faulty.len() > 2, "{losses:?}");
    }

    #[test]
    fn a_helix_keeps_nodes_apart() {
        let chart = Chart { atlas: Atlas::helix(3, 4096), ..Chart::default() };
        assert_eq!(chart.allowed(NodeId(1), &places()), [1]);
        assert_eq!(chart.allowed(NodeId(3), &places()), [0, 3]);
    }
}
