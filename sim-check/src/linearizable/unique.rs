//! Registers and queues in which no value occurs twice: decided in n log n steps, however much overlaps.
//!
//! Who reads or takes a value then tells which operation put it there. A register is linearizable if and only if its
//! *zones* do not collide (Gibbons and Korach, Testing Shared Memories, 1997). A queue is if and only if nothing is taken
//! that was not put there before, or twice; nothing overtakes; and nobody found it empty while it never was (Henzinger,
//! Sezgin and Vafeiadis, Aspect-Oriented Linearizability Proofs, 2013).

use std::collections::BTreeMap;

use super::part::{Class, Event, Kind, NEVER, Part};
use crate::model::{Model, Role};

/// A part of which can be told without a search whether it is linearizable.
pub(super) struct Unique<'a, 'h, M: Model> {
    part: &'a Part<'h, M>,
    /// By class.
    roles: Vec<Role<M::State>>,
    init: M::State,
    queue: bool,
}

impl<'a, 'h, M: Model> Unique<'a, 'h, M> {
    /// Nothing if the part is of another kind.
    pub(super) fn new(model: &M, part: &'a Part<'h, M>) -> Option<Self> {
        let (op, ret) = part.classes.first()?;
        let queue = match model.role(op, *ret) {
            Role::Other => return None,
            Role::Reads(_) | Role::Writes(_) => false,
            Role::Puts(_) | Role::Takes(_) | Role::FindsEmpty => true,
        };
        let known = |(op, ret): &Class<'h, M>| Some(model.role(op, *ret)).filter(|role| *role != Role::Other);
        let roles = part.classes.iter().map(known).collect::<Option<_>>()?;
        Some(Unique { part, roles, init: model.init(), queue })
    }

    /// Whether the events before `end` are linearizable; nothing if some value occurs twice.
    fn holds_before(&self, end: u32) -> Option<bool> {
        let prefix = Prefix { part: self.part, roles: &self.roles, init: &self.init, end };
        if self.queue { queue(&prefix) } else { register(&prefix) }
    }

    /// Whether the part is linearizable; nothing if some value occurs twice.
    pub(super) fn holds(&self) -> Option<bool> {
        self.holds_before(self.part.events.len() as u32)
    }

    /// The return that no order explains, in a part that is not linearizable.
    pub(super) fn blocked_at(&self) -> u32 {
        let (mut good, mut bad) = (0, self.part.events.len() as u32);
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            let fine = self.holds_before(middle).unwrap_or(true);
            *(if fine { &mut good } else { &mut bad }) = middle;
        }
        good
    }
}

/// The events of a part before some event.
struct Prefix<'a, 'h, M: Model> {
    part: &'a Part<'h, M>,
    /// By class.
    roles: &'a [Role<M::State>],
    init: &'a M::State,
    end: u32,
}

/// An operation: when it is called and when it returns, [`NEVER`] if it need not.
#[derive(Clone, Copy)]
struct Span {
    call: u32,
    due: u32,
}

impl<'a, M: Model> Prefix<'a, '_, M> {
    /// The operations that are called, what they do, and whether what they found is known.
    fn operations(&self) -> impl Iterator<Item = (Span, &'a Role<M::State>, bool)> {
        let (part, roles, end) = (self.part, self.roles, self.end);
        let called = part.events[..end as usize].iter().zip(0..).filter_map(|(event, call)| match event {
            Event::Call(item) => Some((part.items[*item as usize], call)),
            Event::Return(_) => None,
        });
        called.map(move |(item, call)| {
            let due = if item.due < end { item.due } else { NEVER };
            (Span { call, due }, &roles[item.class as usize], item.kind != Kind::Crashed)
        })
    }
}

/// A write and its reads: from the earliest return of one of them to the latest call.
struct Cluster {
    written: u32,
    /// Positions are counted from 1: before them is what was there at first.
    earliest: u32,
    latest: u32,
    counts: bool,
}

/// Whether a register is linearizable; nothing if a value is written twice.
fn register<M: Model>(prefix: &Prefix<'_, '_, M>) -> Option<bool> {
    let mut clusters: BTreeMap<&M::State, Cluster> = BTreeMap::new();
    clusters.insert(prefix.init, Cluster { written: 0, earliest: 0, latest: 0, counts: true });
    for (span, role, _) in prefix.operations() {
        match role {
            Role::Writes(state) => {
                let (written, earliest) = (span.call + 1, span.due.saturating_add(1));
                let cluster = Cluster { written, earliest, latest: written, counts: span.due != NEVER };
                if clusters.insert(state, cluster).is_some() {
                    return None;
                }
            }
            Role::Reads(_) => {}
            _ => return None,
        }
    }
    for (span, role, _) in prefix.operations().filter(|(span, ..)| span.due != NEVER) {
        let Role::Reads(state) = role else { continue };
        let (call, due) = (span.call + 1, span.due + 1);
        let Some(cluster) = clusters.get_mut(state).filter(|cluster| cluster.written < due) else { return Some(false) };
        cluster.earliest = cluster.earliest.min(due);
        cluster.latest = cluster.latest.max(call);
        cluster.counts = true;
    }
    let zones = clusters.values().filter(|cluster| cluster.counts);
    let (mut forward, backward): (Vec<_>, Vec<_>) = zones.partition(|zone| zone.earliest < zone.latest);
    forward.sort_unstable_by_key(|zone| zone.earliest);
    // In a forward zone its value has to be there all the time; in a backward zone some time will do.
    let apart = forward.windows(2).all(|pair| pair[0].latest < pair[1].earliest);
    let inside = |zone: &&Cluster| {
        let before = forward.partition_point(|other| other.earliest < zone.latest);
        before > 0 && zone.earliest < forward[before - 1].latest
    };
    Some(apart && !backward.iter().any(inside))
}

/// A value of a queue, and who took it.
struct Held {
    put: Span,
    taken: Option<Span>,
}

/// Whether a queue is linearizable; nothing if a value is put there twice, or who took what is not known.
fn queue<M: Model>(prefix: &Prefix<'_, '_, M>) -> Option<bool> {
    let mut held: BTreeMap<&M::State, Held> = BTreeMap::new();
    for (put, role, known) in prefix.operations() {
        match role {
            Role::Puts(value) if held.insert(value, Held { put, taken: None }).is_some() => return None,
            Role::Puts(_) => {}
            Role::Takes(_) | Role::FindsEmpty if known => {}
            _ => return None,
        }
    }
    let mut empty = Vec::new();
    for (span, role, _) in prefix.operations() {
        let returned = span.due != NEVER;
        match role {
            Role::FindsEmpty if returned => empty.push(span),
            Role::Takes(value) => {
                let put = held.get_mut(value).filter(|held| held.put.call < span.due);
                match put.map(|held| &mut held.taken) {
                    Some(taken @ None) => *taken = Some(span),
                    // Of two that took it one may not have been, but not if both returned.
                    Some(Some(other)) if other.due == NEVER => *other = if returned { span } else { *other },
                    _ if returned => return Some(false),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    let values: Vec<&Held> = held.values().collect();
    Some(in_order(&values) && empty_at_times(&values, &empty))
}

/// Whether nothing was taken although something that was there before it was not.
fn in_order(values: &[&Held]) -> bool {
    let mut by_return: Vec<&&Held> = values.iter().filter(|held| held.put.due != NEVER).collect();
    by_return.sort_unstable_by_key(|held| held.put.due);
    let mut by_call: Vec<(&Held, Span)> = values.iter().filter_map(|held| Some((*held, held.taken?))).collect();
    by_call.sort_unstable_by_key(|(held, _)| held.put.call);
    let (mut before, mut latest) = (0, 0);
    by_call.into_iter().all(|(held, taken)| {
        while let Some(other) = by_return.get(before).filter(|other| other.put.due < held.put.call) {
            latest = latest.max(other.taken.map_or(NEVER, |taken| taken.call));
            before += 1;
        }
        latest <= taken.due
    })
}

/// Whether the queue can have been empty once during each of these operations.
fn empty_at_times(values: &[&Held], empty: &[Span]) -> bool {
    let surely = |held: &&Held| (held.put.due, held.taken.map_or(NEVER, |taken| taken.call));
    let mut full: Vec<(u32, u32)> = values.iter().map(surely).filter(|(from, to)| from < to).collect();
    full.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (from, to) in full {
        match merged.last_mut() {
            Some(last) if from < last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    empty.iter().all(|span| {
        let before = merged.partition_point(|(from, _)| *from < span.call);
        before == 0 || merged[before - 1].1 < span.due
    })
}
