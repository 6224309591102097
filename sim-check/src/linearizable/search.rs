//! What a search is, and what it finds.

use super::part::Part;
use crate::model::Model;

/// A search that can be given steps a few at a time.
pub(super) trait Search<M: Model> {
    /// Searches until it has an answer or has taken about `limit` steps in all.
    fn run(&mut self, limit: u64) -> Option<Finding<M>>;

    /// The steps taken so far.
    fn steps(&self) -> u64;
}

/// The answer of a search.
pub(super) enum Finding<M: Model> {
    /// There is an order that the model accepts.
    Linearizable,
    /// There is none.
    Blocked(Blocked<M>),
    /// There is none, and nobody looked for where that shows.
    Refused,
}

/// Why there is no order: the first return that no possible past gets past.
pub(super) struct Blocked<M: Model> {
    /// The position of that return in the events of the part.
    pub(super) at: u32,
    /// The possible pasts just before it.
    pub(super) survivors: Vec<Survivor<M>>,
}

/// A possible past.
pub(super) struct Survivor<M: Model> {
    pub(super) state: M::State,
    /// Whether the state stands for all states that no operation depends on.
    pub(super) unseen: bool,
    /// The open items that changed the state already.
    pub(super) applied: Vec<u32>,
}

/// Makes a search of a part.
pub(super) type Strategy<M> = for<'p> fn(&'p M, &'p Part<'p, M>) -> Box<dyn Search<M> + 'p>;
