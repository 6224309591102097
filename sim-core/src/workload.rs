//! What a test draws for itself: which key, which value, how long to think. All from the seed.

use std::ops::Range;
use std::time::Duration;

use crate::choice::{Draws, Ratio, Stream, nanos};
use crate::event::EventKind;
use crate::world;

const DRAW: EventKind = EventKind::new("random");

/// The random choices of a test or of a node's workload, from the node's own stream.
///
/// Draw at the moment of use, and not a list in advance: then a change in one operation leaves the others as they were.
///
/// # Panics
/// Its methods panic outside a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Random(());

/// The random choices of the current node; see [`Random`].
pub fn random() -> Random {
    Random(())
}

impl Random {
    /// A number of the range; its start when the range is empty.
    #[track_caller]
    pub fn range(self, range: Range<u64>) -> u64 {
        draw(|draws| draws.range(range))
    }

    /// True with this probability.
    #[track_caller]
    pub fn chance(self, probability: Ratio) -> bool {
        draw(|draws| u64::from(draws.chance(probability))) == 1
    }

    /// A duration of the range.
    #[track_caller]
    pub fn duration(self, range: Range<Duration>) -> Duration {
        Duration::from_nanos(self.range(nanos(range.start)..nanos(range.end)))
    }

    /// One of the items.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn pick<T>(self, items: &[T]) -> &T {
        &items[self.range(0..items.len() as u64) as usize]
    }

    /// Puts the items into a random order.
    #[track_caller]
    pub fn shuffle<T>(self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.range(0..last as u64 + 1) as usize);
        }
    }
}

#[track_caller]
fn draw(f: impl FnOnce(&mut Draws) -> u64) -> u64 {
    world::with("random", |world| {
        let node = world.current_node();
        let fresh = || Box::new(world.choices.stream(Stream::WORKLOAD, u64::from(node.0)));
        // Taken out: a driver, which is code of a user, may look at nodes.
        let kept = world.nodes.borrow_mut()[node].workload.take();
        let mut draws = kept.unwrap_or_else(fresh);
        let drawn = f(&mut draws);
        world.nodes.borrow_mut()[node].workload = Some(draws);
        world.log.borrow_mut().note(world.now(), node.0, DRAW, &[drawn]);
        drawn
    })
}
