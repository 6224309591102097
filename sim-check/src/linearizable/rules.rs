//! The moves both searches make: what is open before an event, and what may take effect there.

use super::config::Config;
use super::mask::Mask;
use super::part::{Event, Kind, NEVER, Part};
use super::search::{Blocked, Survivor};
use super::space::Space;
use crate::model::Model;

/// The open operations before one event of a part, and the steps they can take.
pub(super) struct Rules<'p, M: Model> {
    pub(super) part: &'p Part<'p, M>,
    pub(super) space: Space<'p, M>,
    /// The event that comes next.
    at: u32,
    /// Open updates and crashed operations; those that return earlier come first.
    open: Vec<u32>,
    reads: Vec<u32>,
    /// What `open` offers, when it was last asked.
    moves: Vec<Move>,
    moves_at: u32,
    /// Of each class the latest of `moves`.
    latest: Vec<u32>,
}

/// An open operation that may take effect.
#[derive(Clone, Copy)]
struct Move {
    class: u32,
    slot: u32,
    crashed: bool,
    /// The slot of an identical operation that has to go first, since it returns earlier.
    twin: Option<u32>,
}

impl<'p, M: Model> Rules<'p, M> {
    pub(super) fn new(model: &'p M, part: &'p Part<'p, M>) -> Self {
        Self {
            part,
            space: Space::new(model, part),
            at: 0,
            open: vec![],
            reads: vec![],
            moves: vec![],
            moves_at: NEVER,
            latest: vec![NEVER; part.classes.len()],
        }
    }

    /// Goes to stand before event `at`.
    pub(super) fn seek(&mut self, at: u32) {
        while self.at < at {
            match self.part.events[self.at as usize] {
                Event::Call(item) => self.add(item),
                Event::Return(item) => self.take(item),
            }
            self.at += 1;
            self.space.steps += 1;
        }
        while self.at > at {
            self.at -= 1;
            match self.part.events[self.at as usize] {
                Event::Call(item) => self.take(item),
                Event::Return(item) => self.add(item),
            }
        }
    }

    fn list(&mut self, item: u32) -> &mut Vec<u32> {
        match self.part.items[item as usize].kind {
            Kind::Read => &mut self.reads,
            Kind::Update | Kind::Crashed => &mut self.open,
        }
    }

    fn add(&mut self, item: u32) {
        let items = &self.part.items;
        let rank = |item: u32| (items[item as usize].due, item);
        let list = self.list(item);
        let place = list.partition_point(|other| rank(*other) < rank(item));
        list.insert(place, item);
    }

    fn take(&mut self, item: u32) {
        self.list(item).retain(|other| *other != item);
    }

    /// Lets `config` see the call of an item: a read may have its value at once.
    pub(super) fn call<K: Mask>(&mut self, item: u32, config: &mut Config<K>) {
        let item = self.part.items[item as usize];
        if item.kind == Kind::Read && self.space.step(config.state, item.class).is_none() {
            config.debt.insert(item.slot);
        }
    }

    /// Lets `config` see the return of an item; if the item did not take effect, nothing changes.
    pub(super) fn pass<K: Mask>(&self, item: u32, config: &mut Config<K>) -> bool {
        let took_effect = self.has_passed(item, config);
        let item = self.part.items[item as usize];
        if item.kind != Kind::Read {
            config.done.remove(item.slot);
        }
        took_effect
    }

    /// Whether an item that returns next has taken effect in `config`.
    pub(super) fn has_passed<K: Mask>(&self, item: u32, config: &Config<K>) -> bool {
        let item = self.part.items[item as usize];
        if item.kind == Kind::Read { !config.debt.has(item.slot) } else { config.done.has(item.slot) }
    }

    /// Whether it has, or may be the next that does.
    pub(super) fn can_pass<K: Mask>(&mut self, item: u32, config: &Config<K>) -> bool {
        self.has_passed(item, config) || self.space.step(config.state, self.part.items[item as usize].class).is_some()
    }

    /// Whether an item that returns next can take effect in some state that the moves here lead to, each made as often as
    /// it takes: where it cannot, no past goes on. Only asked where there are few states.
    pub(super) fn is_within_reach(&mut self, item: u32, state: u32) -> bool {
        let class = self.part.items[item as usize].class;
        let mut reached = vec![state];
        let mut n = 0;
        while let Some(state) = reached.get(n).copied() {
            if !self.space.has_few() || self.space.step(state, class).is_some() {
                return true;
            }
            for place in 0..self.moves.len() {
                let next = self.space.step(state, self.moves[place].class);
                reached.extend(next.filter(|next| !reached.contains(next)));
            }
            n += 1;
        }
        false
    }

    /// Every past that `config` becomes when one more open operation takes effect. Those in which
    /// operations that return soon go first come first.
    pub(super) fn extend<K: Mask>(&mut self, config: &Config<K>, out: &mut Vec<Config<K>>) {
        self.list_moves();
        self.space.steps += self.moves.len() as u64;
        for n in 0..self.moves.len() {
            out.extend(self.apply(config, self.moves[n]));
        }
    }

    fn apply<K: Mask>(&mut self, config: &Config<K>, this: Move) -> Option<Config<K>> {
        let used = if this.crashed { &config.debt } else { &config.done };
        if used.has(this.slot) || this.twin.is_some_and(|twin| !used.has(twin)) {
            return None;
        }
        let state = self.space.step(config.state, this.class)?;
        if this.crashed && (state == config.state || self.space.is_unseen(state)) {
            return None;
        }
        let mut next = Config { state, ..config.clone() };
        let used = if this.crashed { &mut next.debt } else { &mut next.done };
        used.insert(this.slot);
        if state != config.state {
            self.settle(&mut next);
        }
        Some(next)
    }

    /// Lets the open reads that still wait see their value if it is there now.
    fn settle<K: Mask>(&mut self, config: &mut Config<K>) {
        for read in &self.reads {
            let read = self.part.items[*read as usize];
            let waits = config.debt.has(read.slot);
            if waits && self.space.step(config.state, read.class).is_some() {
                config.debt.remove(read.slot);
            }
        }
    }

    fn list_moves(&mut self) {
        if self.moves_at == self.at {
            return;
        }
        self.moves_at = self.at;
        self.moves.clear();
        for item in &self.open {
            let item = self.part.items[*item as usize];
            // What was noted for another place is no move of the same class here.
            let latest = std::mem::replace(&mut self.latest[item.class as usize], self.moves.len() as u32);
            let twin = self.moves.get(latest as usize).filter(|twin| twin.class == item.class).map(|twin| twin.slot);
            let crashed = item.kind == Kind::Crashed;
            self.moves.push(Move { class: item.class, slot: item.slot, crashed, twin });
        }
    }

    /// The finding that none of `before`, which stand before this return, gets past it.
    pub(super) fn blocked<K: Mask>(&self, before: &[Config<K>]) -> Blocked<M> {
        let survivors = before.iter().map(|config| self.survivor(config)).collect();
        Blocked { at: self.at, survivors }
    }

    fn survivor<K: Mask>(&self, config: &Config<K>) -> Survivor<M> {
        let (state, unseen) = self.space.state(config.state);
        let took_effect = |item: &&u32| {
            let item = self.part.items[**item as usize];
            let used = if item.kind == Kind::Crashed { &config.debt } else { &config.done };
            used.has(item.slot)
        };
        let applied = self.open.iter().filter(took_effect).copied().collect();
        Survivor { state: state.clone(), unseen, applied }
    }
}
