//! The operations of one key, prepared for a search: numbered, classified, and put in slots.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use crate::history::{Operation, Outcome};
use crate::model::{Model, Sight};

/// A position in [`Part::events`] that no event has.
pub(super) const NEVER: u32 = u32::MAX;

/// The operations of one key that may have happened.
pub(super) struct Part<'h, M: Model> {
    pub(super) key: Option<String>,
    /// In the order of invocation.
    pub(super) items: Vec<Item>,
    /// In the order of the history.
    pub(super) events: Vec<Event>,
    /// What is the same for all items that ask and are told the same.
    pub(super) classes: IndexSet<Class<'h, M>, FxBuildHasher>,
    /// The states that some operation depends on; nothing if that may be any.
    pub(super) sights: Option<BTreeSet<M::State>>,
    /// How many slots the largest set of a search needs.
    pub(super) slots: u32,
}

/// An operation and what is known of its result.
pub(super) type Class<'h, M> = (&'h <M as Model>::Op, Option<&'h <M as Model>::Ret>);

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub(super) class: u32,
    pub(super) kind: Kind,
    /// Its place in sets: in `done` for an update, in `debt` for the others.
    pub(super) slot: u32,
    /// The position of its return, or [`NEVER`].
    pub(super) due: u32,
    /// Its place in the list that was handed to the checker.
    pub(super) source: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Acknowledged, and it may have changed the state.
    Update,
    /// Acknowledged, and it changed nothing.
    Read,
    /// Of unknown outcome: it may take effect from its call on, or never.
    Crashed,
}

/// A step of the history; the number is that of an item.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    Call(u32),
    Return(u32),
}

/// The parts of a history, in the order of their keys.
pub(super) fn parts<'h, M: Model>(model: &M, operations: &'h [Operation<M::Op, M::Ret>]) -> Vec<Part<'h, M>> {
    let counting = || (0..).zip(operations).filter(|(_, operation)| !operation.failed());
    if counting().all(|(_, operation)| model.key(&operation.op).is_none()) {
        return vec![Part::new(model, None, operations, counting().map(|(source, _)| source))];
    }
    let mut by_key: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for (source, operation) in counting() {
        by_key.entry(model.key(&operation.op)).or_default().push(source);
    }
    let part = |(key, sources): (Option<Cow<'_, str>>, Vec<u32>)| {
        Part::new(model, key.map(Cow::into_owned), operations, sources.into_iter())
    };
    by_key.into_iter().map(part).collect()
}

impl<'h, M: Model> Part<'h, M> {
    pub(super) fn new(
        model: &M,
        key: Option<String>,
        operations: &'h [Operation<M::Op, M::Ret>],
        sources: impl Iterator<Item = u32>,
    ) -> Self {
        let mut part =
            Part { key, items: vec![], events: vec![], classes: IndexSet::default(), sights: None, slots: 0 };
        let mut moments = Vec::with_capacity(sources.size_hint().1.unwrap_or(0) * 2);
        for source in sources {
            part.admit(model, &operations[source as usize], source, &mut moments);
        }
        moments.sort_unstable();
        let event = |(_, returns, item)| if returns { Event::Return(item) } else { Event::Call(item) };
        part.events = moments.into_iter().map(event).collect();
        part.assign_slots();
        part.sights = part.collect_sights(model);
        part
    }

    /// Takes in an operation, unless it can neither fail nor matter, and notes when it is called
    /// and returns. At equal indices calls sort before returns: the operations overlap.
    fn admit(
        &mut self,
        model: &M,
        operation: &'h Operation<M::Op, M::Ret>,
        source: u32,
        moments: &mut Vec<(u64, bool, u32)>,
    ) {
        let ret = operation.acknowledged();
        let class = (&operation.op, ret.map(|(ret, _)| ret));
        let kind = match (model.reads_only(class.0, class.1), ret) {
            (true, None) => return,
            (true, Some(_)) => Kind::Read,
            (false, Some(_)) => Kind::Update,
            (false, None) => Kind::Crashed,
        };
        let item = self.items.len() as u32;
        let invoked = operation.invoked.index;
        moments.push((invoked, false, item));
        if let Outcome::Ok { at, .. } = &operation.outcome {
            moments.push((at.index.max(invoked), true, item));
        }
        let class = self.classes.insert_full(class).0 as u32;
        self.items.push(Item { class, kind, slot: 0, due: NEVER, source });
    }

    fn collect_sights(&self, model: &M) -> Option<BTreeSet<M::State>> {
        let mut sights = BTreeSet::new();
        for (op, ret) in &self.classes {
            match model.sight(op, *ret) {
                Sight::Everything => return None,
                Sight::Nothing => {}
                Sight::Only(state) => drop(sights.insert(state)),
            }
        }
        Some(sights)
    }

    /// Gives each item a slot that no other item uses while it is open.
    fn assign_slots(&mut self) {
        let mut done = Slots::default();
        let mut debt = Slots::default();
        for (at, event) in self.events.iter().enumerate() {
            let (Event::Call(item) | Event::Return(item)) = *event;
            let item = &mut self.items[item as usize];
            let slots = if item.kind == Kind::Update { &mut done } else { &mut debt };
            match event {
                Event::Call(_) => item.slot = slots.take(),
                Event::Return(_) => {
                    item.due = at as u32;
                    slots.free.push(item.slot);
                }
            }
        }
        self.slots = done.count.max(debt.count);
    }
}

#[derive(Default)]
struct Slots {
    free: Vec<u32>,
    count: u32,
}

impl Slots {
    fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }
}
