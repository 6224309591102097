//! What faults have laid on the device of a machine, each for as long as it lasts.

use sim_core::fault::{FaultId, matches, observed};
use sim_core::hash::fold;

use crate::volume::State;

/// Something that is wrong for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ill {
    /// The volume takes no changes, or the device is gone.
    State(State),
    /// The device answers nothing.
    Stalled,
    /// What it does for files that match takes so many times as long.
    Slow { pattern: String, times: u64 },
    /// There is no free block.
    Full,
    /// Somebody else has blocks.
    Tenant(Tenant),
}

/// Somebody who shares the volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Tenant {
    /// How many blocks he takes at most.
    pub(crate) blocks: u64,
    /// What his share drifts by; he takes all where it is absent.
    pub(crate) drift: Option<u64>,
}

/// How long the share of a tenant that drifts goes one way, in nanoseconds.
const DRIFT: u64 = 1_000_000_000;

impl Tenant {
    /// How many blocks he has at a time.
    fn share(&self, now: u64) -> u64 {
        let Some(seed) = self.drift else { return self.blocks };
        let stop = |number: u64| fold(seed, number) % (self.blocks + 1);
        let (from, to, part) = (stop(now / DRIFT), stop(now / DRIFT + 1), now % DRIFT);
        let mix = u128::from(from) * u128::from(DRIFT - part) + u128::from(to) * u128::from(part);
        (mix / u128::from(DRIFT)) as u64
    }
}

/// All that is wrong with a device now.
#[derive(Default)]
pub(crate) struct Ills(Vec<(FaultId, Ill)>);

impl Ills {
    pub(crate) fn lay(&mut self, id: FaultId, ill: Ill) {
        self.0.push((id, ill));
    }

    /// One ill of a fault is over. Whether there was one.
    pub(crate) fn lift(&mut self, id: FaultId) -> bool {
        let place = self.0.iter().position(|(of, _)| *of == id);
        place.map(|place| self.0.remove(place)).is_some()
    }

    #[inline]
    pub(crate) fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    /// All is well.
    pub(crate) fn heal(&mut self) {
        self.0.clear();
    }

    /// Another device is there.
    pub(crate) fn replace_device(&mut self) {
        self.0.retain(|(_, ill)| !matches!(ill, Ill::State(_)));
    }

    /// What the volume does still do, and whose doing that is.
    pub(crate) fn state(&self) -> (State, FaultId) {
        let states = self.0.iter().filter_map(|(id, ill)| match ill {
            Ill::State(state) => Some((*state, *id)),
            _ => None,
        });
        states.max_by_key(|(state, _)| *state).unwrap_or_default()
    }

    /// Whether an operation of the device does not get through, which its program notices.
    pub(crate) fn stalls(&self) -> bool {
        let stalls = self.0.iter().filter(|(_, ill)| *ill == Ill::Stalled);
        stalls.map(|(id, _)| observed(*id)).count() > 0
    }

    /// How many times as long an operation on a file takes, which its program notices.
    pub(crate) fn times(&self, path: &str) -> u64 {
        let slow = self.0.iter().filter_map(|(id, ill)| match ill {
            Ill::Slow { pattern, times } if matches(pattern, path) => Some((*id, *times)),
            _ => None,
        });
        slow.inspect(|(id, _)| observed(*id)).map(|(_, times)| times).product()
    }

    /// Of so many blocks of a volume those that its own files may have; `None` where nothing limits them.
    pub(crate) fn blocks(&self, capacity: Option<u64>, now: u64) -> Option<u64> {
        let is_full = self.0.iter().any(|(_, ill)| *ill == Ill::Full);
        let taken = self.0.iter().map(|(_, ill)| if let Ill::Tenant(tenant) = ill { tenant.share(now) } else { 0 });
        if is_full { Some(0) } else { capacity.map(|blocks| blocks.saturating_sub(taken.sum())) }
    }

    /// A program finds no space.
    pub(crate) fn blame_for_space(&self) {
        let mine = self.0.iter().filter(|(_, ill)| matches!(ill, Ill::Full | Ill::Tenant(_)));
        mine.for_each(|(id, _)| observed(*id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fault_laid_ends_with_it_and_no_other() {
        let mut ills = Ills::default();
        let id = FaultId::default();
        ills.lay(id, Ill::State(State::Gone));
        ills.lay(id, Ill::State(State::ReadOnly));
        assert_eq!(ills.state().0, State::Gone);
        assert!(ills.lift(id));
        assert_eq!(ills.state().0, State::ReadOnly);
        assert!(ills.lift(id) && !ills.lift(id));
        assert_eq!(ills.state().0, State::Writable);
    }

    #[test]
    fn a_tenant_drifts_without_jumps_between_nothing_and_his_most() {
        let tenant = Tenant { blocks: 1_000, drift: Some(7) };
        let shares: Vec<u64> = (0..2_000).map(|step| tenant.share(step * DRIFT / 100)).collect();
        assert!(shares.iter().any(|share| *share < 100) && shares.iter().any(|share| *share > 900));
        assert!(shares.windows(2).all(|pair| pair[0].abs_diff(pair[1]) <= 11) && shares.iter().all(|s| *s <= 1_000));
        assert_eq!(Tenant { blocks: 9, drift: None }.share(5), 9);
    }
}
