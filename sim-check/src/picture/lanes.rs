//! Where things are: lanes from above, events from the left in their order.

use std::collections::{BTreeMap, BTreeSet};

use super::Picture;
use crate::history::Moment;

/// The places of events and clients.
pub(super) struct Lanes {
    columns: BTreeMap<u64, usize>,
    rows: BTreeMap<u64, usize>,
}

impl Lanes {
    pub(super) fn new(picture: &Picture) -> Self {
        let bars = picture.bars.iter().flat_map(|bar| [Some(bar.invoked), bar.ended]);
        let events: BTreeSet<u64> = bars.flatten().map(|moment| moment.index).collect();
        let clients: BTreeSet<u64> = picture.bars.iter().map(|bar| bar.process).collect();
        Lanes { columns: events.into_iter().zip(0..).collect(), rows: clients.into_iter().zip(0..).collect() }
    }

    /// How many columns there are.
    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// The clients and their rows.
    pub(super) fn rows(&self) -> &BTreeMap<u64, usize> {
        &self.rows
    }

    pub(super) fn row(&self, process: u64) -> usize {
        self.rows.get(&process).copied().unwrap_or(0)
    }

    /// The column of an event, or of the next one that is shown; of nothing, behind the last.
    pub(super) fn column(&self, moment: Option<Moment>) -> usize {
        let next = moment.and_then(|moment| self.columns.range(moment.index..).next());
        next.map_or(self.width(), |(_, column)| *column)
    }
}
