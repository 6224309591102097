//! What a search knows of one possible past, and sets of such pasts without the pointless ones.

#![expect(clippy::disallowed_types, reason = "the hasher is fixed, and nothing iterates over the map")]

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use super::mask::Mask;

/// One possible past, standing before an event of the history.
#[derive(Clone, Debug)]
pub(super) struct Config<K> {
    /// The event it stands before.
    pub(super) at: u32,
    /// The state it led to.
    pub(super) state: u32,
    /// The open updates that took effect.
    pub(super) done: K,
    /// What it would be better off without: reads still waiting to see their value, and crashed
    /// operations that were used up.
    pub(super) debt: K,
}

impl<K: Mask> Config<K> {
    /// The past before the first event.
    pub(super) fn start(state: u32) -> Self {
        Config { at: 0, state, done: K::default(), debt: K::default() }
    }
}

/// Configurations none of which is better than another: of two that differ in debt alone, the one with
/// less debt can do whatever the other can.
pub(super) struct Antichain<K> {
    /// The latest node with a place, state and set of updates; the nodes form a list.
    heads: HashMap<(u32, u32, K), u32, FxBuildHasher>,
    nodes: Vec<Node<K>>,
    /// How many comparisons were made.
    pub(super) compared: u64,
}

struct Node<K> {
    config: Config<K>,
    next: u32,
    beaten: bool,
}

const END: u32 = u32::MAX;
/// A table larger than this many times its content is replaced rather than cleared.
const SPARSE: usize = 64;

impl<K: Mask> Antichain<K> {
    pub(super) fn new() -> Self {
        Self { heads: HashMap::default(), nodes: Vec::new(), compared: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Adds `config` and returns its number, unless one at least as good is there.
    pub(super) fn insert(&mut self, config: Config<K>) -> Option<u32> {
        let number = self.nodes.len() as u32;
        let head = self.heads.entry((config.at, config.state, config.done.clone())).or_insert(END);
        let mut cursor = *head;
        while cursor != END {
            let node = &mut self.nodes[cursor as usize];
            self.compared += 1;
            if !node.beaten && node.config.debt.is_subset(&config.debt) {
                return None;
            }
            node.beaten |= config.debt.is_subset(&node.config.debt);
            cursor = node.next;
        }
        let next = std::mem::replace(head, number);
        self.nodes.push(Node { config, next, beaten: false });
        Some(number)
    }

    /// The configuration with a number, unless a better one came since.
    pub(super) fn get(&self, number: u32) -> Option<&Config<K>> {
        let node = &self.nodes[number as usize];
        (!node.beaten).then_some(&node.config)
    }

    /// Moves all configurations to the end of `out`, in the order in which they came.
    pub(super) fn drain_into(&mut self, out: &mut Vec<Config<K>>) {
        let best = self.nodes.drain(..).filter(|node| !node.beaten);
        out.extend(best.map(|node| node.config));
        self.clear();
    }

    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        if self.heads.capacity() > SPARSE * (self.heads.len() + 1) {
            self.heads = HashMap::default();
        }
        self.heads.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owing(debt: u64) -> Config<u64> {
        Config { at: 0, state: 0, done: 0, debt }
    }

    #[test]
    fn less_debt_beats_more_in_either_order() {
        let mut chain = Antichain::new();
        let worse = chain.insert(owing(0b11)).expect("the first is always new");
        assert!(chain.insert(owing(0b111)).is_none());
        assert!(chain.insert(owing(0b100)).is_some());
        assert!(chain.insert(owing(0b01)).is_some());
        assert!(chain.get(worse).is_none());

        let mut left = Vec::new();
        chain.drain_into(&mut left);
        assert_eq!(left.iter().map(|config| config.debt).collect::<Vec<_>>(), [0b100, 0b01]);
        assert!(chain.is_empty());
    }
}
