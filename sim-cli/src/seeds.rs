//! Which seeds a test gets, and the order in which a sweep hands them out.

use std::collections::BTreeSet;

use crate::arguments::Shard;

/// Some seeds in a row, or every n-th of them. After the last seed that there is comes 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds {
    /// The first.
    pub(crate) start: u64,
    /// How many, over all shards.
    pub(crate) count: u64,
    /// The part that is wanted.
    pub(crate) shard: Shard,
}

impl Seeds {
    /// How many are in the wanted part.
    pub(crate) fn len(&self) -> u64 {
        self.count.saturating_sub(self.shard.part - 1).div_ceil(self.shard.of)
    }

    /// Whether a seed is in the wanted part.
    pub(crate) fn contains(&self, seed: u64) -> bool {
        let offset = seed.wrapping_sub(self.start);
        offset < self.count && offset % self.shard.of == self.shard.part - 1
    }

    fn nth(&self, index: u64) -> Option<u64> {
        let offset = (index < self.len()).then(|| index * self.shard.of + self.shard.part - 1)?;
        Some(self.start.wrapping_add(offset))
    }
}

/// The seeds of one test that are still to be run.
struct Lane {
    seeds: Seeds,
    next: u64,
    done: BTreeSet<u64>,
}

impl Lane {
    fn left(&self) -> u64 {
        self.seeds.len() - self.next - self.done.len() as u64
    }

    fn next(&mut self) -> Option<u64> {
        loop {
            let seed = self.seeds.nth(self.next)?;
            self.next += 1;
            if !self.done.remove(&seed) {
                return Some(seed);
            }
        }
    }
}

/// Hands out seeds, one of each test in turn, so that a slow test does not keep the others waiting.
pub(crate) struct Queue {
    lanes: Vec<Lane>,
    turn: usize,
}

impl Queue {
    /// A lane for each test.
    pub(crate) fn new(seeds: impl IntoIterator<Item = Seeds>) -> Self {
        let lane = |seeds| Lane { seeds, next: 0, done: BTreeSet::new() };
        Queue { lanes: seeds.into_iter().map(lane).collect(), turn: 0 }
    }

    /// Leaves out a seed that was run before. False: it is none of the test's, or was left out already.
    pub(crate) fn skip(&mut self, test: usize, seed: u64) -> bool {
        let lane = &mut self.lanes[test];
        lane.seeds.contains(seed) && lane.done.insert(seed)
    }

    /// A test, and a seed for it.
    pub(crate) fn next(&mut self) -> Option<(usize, u64)> {
        for _ in 0..self.lanes.len() {
            let test = self.turn;
            self.turn = (test + 1) % self.lanes.len();
            if let Some(seed) = self.lanes[test].next() {
                return Some((test, seed));
            }
        }
        None
    }

    /// How many seeds are still to be handed out.
    pub(crate) fn left(&self) -> u64 {
        self.lanes.iter().map(Lane::left).fold(0, u64::saturating_add)
    }

    /// Hands out no more seeds of a test; returns how many it would have.
    pub(crate) fn close(&mut self, test: usize) -> u64 {
        let lane = &mut self.lanes[test];
        let left = lane.left();
        (lane.next, lane.done) = (lane.seeds.len(), BTreeSet::new());
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue) -> Vec<(usize, u64)> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn shards_divide_the_seeds() {
        let mut all: Vec<u64> = Vec::new();
        for part in 1..=3 {
            let seeds = Seeds { start: u64::MAX - 2, count: 10, shard: Shard { part, of: 3 } };
            let own: Vec<u64> = (0..).map_while(|index| seeds.nth(index)).collect();
            assert_eq!(own.len() as u64, seeds.len());
            assert!(own.iter().all(|seed| seeds.contains(*seed)));
            all.extend(own);
        }
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, u64::MAX - 2, u64::MAX - 1, u64::MAX]);
    }

    #[test]
    fn a_shard_beyond_the_last_seed_is_empty() {
        let seeds = Seeds { start: 0, count: 1, shard: Shard { part: 2, of: 3 } };
        assert_eq!((seeds.len(), seeds.nth(0)), (0, None));
    }

    #[test]
    fn tests_take_turns_and_what_is_done_is_left_out() {
        let seeds = |count| Seeds { start: 5, count, shard: Shard::WHOLE };
        let mut queue = Queue::new([seeds(3), seeds(1)]);
        assert!(queue.skip(0, 6) && !queue.skip(0, 6) && !queue.skip(0, 8));
        assert_eq!(drain(&mut queue), [(0, 5), (1, 5), (0, 7)]);
    }

    #[test]
    fn a_closed_test_says_what_it_still_had() {
        let mut queue = Queue::new([Seeds { start: 0, count: 10, shard: Shard::WHOLE }]);
        queue.skip(0, 9);
        queue.next();
        assert_eq!((queue.left(), queue.close(0), queue.next(), queue.left()), (8, 8, None, 0));
    }
}
