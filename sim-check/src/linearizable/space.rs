//! The states of a part, numbered as they are discovered, and the steps between them.

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::part::Part;
use crate::model::Model;

const ILLEGAL: u32 = u32::MAX;
/// So few states may be gone through again and again.
const FEW: usize = 32;
/// The least number of states to remember.
const ROOM: usize = 1 << 10;
const EMPTY: Memo = Memo { state: u32::MAX, class: 0, next: 0 };

/// Numbers states and remembers steps. Steps that share a place in memory displace each other.
pub(super) struct Space<'p, M: Model> {
    model: &'p M,
    part: &'p Part<'p, M>,
    states: IndexSet<M::State, FxBuildHasher>,
    /// How many of them may be there before those of the past are forgotten.
    room: usize,
    /// The state that stands for all that no operation depends on.
    unseen: Option<u32>,
    memo: Vec<Memo>,
    /// How many steps were asked for.
    pub(super) steps: u64,
}

#[derive(Clone, Copy)]
struct Memo {
    state: u32,
    class: u32,
    next: u32,
}

impl<'p, M: Model> Space<'p, M> {
    pub(super) fn new(model: &'p M, part: &'p Part<'p, M>) -> Self {
        let memory = (part.items.len() * 4).next_power_of_two().clamp(1 << 6, 1 << 16);
        let states = IndexSet::default();
        Space { model, part, states, room: ROOM, unseen: None, memo: vec![EMPTY; memory], steps: 0 }
    }

    /// The number of the state before the first operation.
    pub(super) fn init(&mut self) -> u32 {
        self.number(self.model.init())
    }

    /// The state after an operation of `class`, if it is legal in `state`.
    pub(super) fn step(&mut self, state: u32, class: u32) -> Option<u32> {
        self.steps += 1;
        let place = self.place(state, class);
        let memo = self.memo[place];
        let next = if memo.state == state && memo.class == class {
            memo.next
        } else {
            let next = self.compute(state, class);
            self.memo[place] = Memo { state, class, next };
            next
        };
        (next != ILLEGAL).then_some(next)
    }

    /// How many states are remembered.
    #[cfg(test)]
    pub(super) fn states(&self) -> usize {
        self.states.len()
    }

    /// Whether so few states were met that all may be gone through.
    pub(super) fn has_few(&self) -> bool {
        self.states.len() <= FEW
    }

    /// Whether so many states were met that it pays to [forget](Self::forget) those that nobody can come back to.
    pub(super) fn is_crowded(&self) -> bool {
        self.states.len() > self.room
    }

    /// Forgets all states but those with these numbers, and numbers them anew.
    pub(super) fn forget<'n>(&mut self, kept: impl Iterator<Item = &'n mut u32>) {
        let all = std::mem::take(&mut self.states);
        let unseen = self.unseen.take();
        for number in kept {
            let new = self.states.insert_full(all[*number as usize].clone()).0 as u32;
            self.unseen = self.unseen.or((unseen == Some(*number)).then_some(new));
            *number = new;
        }
        self.memo.fill(EMPTY);
        self.room = ROOM.max(2 * self.states.len());
    }

    /// Whether a number stands for all states that no operation depends on.
    pub(super) fn is_unseen(&self, number: u32) -> bool {
        self.unseen == Some(number)
    }

    /// The state with a number, and whether it stands for all unseen ones.
    pub(super) fn state(&self, number: u32) -> (&M::State, bool) {
        (&self.states[number as usize], self.is_unseen(number))
    }

    fn place(&self, state: u32, class: u32) -> usize {
        let mixed = (state ^ class.rotate_left(16)).wrapping_mul(0x9E37_79B1);
        (mixed >> 12) as usize & (self.memo.len() - 1)
    }

    fn compute(&mut self, state: u32, class: u32) -> u32 {
        let (op, ret) = self.part.classes[class as usize];
        match self.model.step(&self.states[state as usize], op, ret) {
            Some(next) => self.number(next),
            None => ILLEGAL,
        }
    }

    /// The number of a state.
    pub(super) fn number(&mut self, state: M::State) -> u32 {
        if let Some(known) = self.states.get_index_of(&state) {
            return known as u32;
        }
        let seen = self.is_seen(&state);
        match self.unseen {
            Some(unseen) if !seen => unseen,
            _ => {
                let number = self.states.insert_full(state).0 as u32;
                self.unseen = if seen { self.unseen } else { Some(number) };
                number
            }
        }
    }

    /// Whether an operation of the part depends on `state`. What it becomes follows it in order, so
    /// that looking at the next state that is depended on suffices.
    fn is_seen(&self, state: &M::State) -> bool {
        let Some(sights) = &self.part.sights else { return true };
        let next = sights.range(state..).next();
        next.is_some_and(|seen| self.model.becomes(state, seen))
    }
}
