//! A deterministic competition: every search of every part is given steps in turn, four times as many in
//! each round, until one of them settles the matter.

use super::breadth::Breadth;
use super::depth::Depth;
use super::mask::Wide;
use super::part::Part;
use super::search::{Blocked, Finding, Search, Strategy};
use super::unique::Unique;
use crate::model::Model;

const FIRST_GRANT: u64 = 1 << 12;
/// Most histories are explained by following a single past with few ways back: that is tried first.
const TRY_PER_EVENT: u64 = 24;
/// Long histories without much overlap are not handed from search to search.
const GRANT_PER_EVENT: u64 = 16;

/// How many steps to spend on saying what was possible where it is known that nothing was.
const TO_EXPLAIN: u64 = 1 << 20;

/// How a race ended.
pub(super) enum Finish<M: Model> {
    /// All parts are linearizable.
    Linearizable,
    /// The part with this position is not.
    Blocked(usize, Blocked<M>),
    /// Nor is this one, which was not searched: [`what_was_possible`] tells more.
    Refused(usize),
    /// The steps ran out; the part with this position was undecided.
    OutOfSteps(usize),
}

/// A part and its searches; a search is made when it first gets steps.
struct Lane<'p, M: Model> {
    part: usize,
    searches: [Option<Box<dyn Search<M> + 'p>>; 2],
}

/// Runs the race with `budget` steps in all.
pub(super) fn race<'p, M: Model>(model: &'p M, parts: &'p [Part<'p, M>], budget: u64) -> Finish<M> {
    let lane = |part| Lane { part, searches: [None, None] };
    let mut lanes: Vec<Lane<'p, M>> = (0..parts.len()).map(lane).collect();
    let mut left = budget;
    let mut grant = FIRST_GRANT;
    while !lanes.is_empty() {
        let mut undecided = Vec::new();
        for mut lane in lanes {
            match lane.run(model, &parts[lane.part], grant, &mut left) {
                Some(Finding::Linearizable) => {}
                Some(Finding::Blocked(blocked)) => return Finish::Blocked(lane.part, blocked),
                Some(Finding::Refused) => return Finish::Refused(lane.part),
                None if left == 0 => return Finish::OutOfSteps(lane.part),
                None => undecided.push(lane),
            }
        }
        lanes = undecided;
        grant = grant.saturating_mul(4);
    }
    Finish::Linearizable
}

/// The return at which a part is blocked that was refused without a search; and the pasts that are possible before it,
/// none if it takes more than `steps` to find them.
pub(super) fn what_was_possible<M: Model>(model: &M, part: &Part<'_, M>, steps: u64) -> Blocked<M> {
    let [breadth, _] = strategies(part.slots);
    match breadth(model, part).run(steps.min(TO_EXPLAIN)) {
        Some(Finding::Blocked(blocked)) => blocked,
        _ => {
            let at = Unique::new(model, part).map_or(0, |unique| unique.blocked_at());
            Blocked { at, survivors: Vec::new() }
        }
    }
}

impl<'p, M: Model> Lane<'p, M> {
    fn run(&mut self, model: &'p M, part: &'p Part<'p, M>, grant: u64, left: &mut u64) -> Option<Finding<M>> {
        let events = part.events.len() as u64;
        let [breadth, depth] = strategies(part.slots);
        let grant = grant.max(GRANT_PER_EVENT * events);
        if self.searches[1].is_none() {
            let easy = self.search((1, depth), model, part, TRY_PER_EVENT * events, left);
            if easy.is_some() || *left == 0 {
                return easy;
            }
            if let Some(holds) = Unique::new(model, part).and_then(|unique| unique.holds()) {
                return Some(if holds { Finding::Linearizable } else { Finding::Refused });
            }
        }
        let first = self.search((0, breadth), model, part, grant, left);
        first.or_else(|| self.search((1, depth), model, part, grant, left))
    }

    fn search(
        &mut self,
        (which, strategy): (usize, Strategy<M>),
        model: &'p M,
        part: &'p Part<'p, M>,
        grant: u64,
        left: &mut u64,
    ) -> Option<Finding<M>> {
        let search = self.searches[which].get_or_insert_with(|| strategy(model, part));
        let before = search.steps();
        let finding = search.run(before.saturating_add(grant.min(*left)));
        *left = left.saturating_sub(search.steps() - before);
        finding
    }
}

/// The searches to run, with the narrowest sets that hold so many slots.
pub(super) fn strategies<M: Model>(slots: u32) -> [Strategy<M>; 2] {
    match slots {
        0..=64 => [|m, p| Box::new(Breadth::<M, u64>::new(m, p)), |m, p| Box::new(Depth::<M, u64>::new(m, p))],
        65..=128 => [|m, p| Box::new(Breadth::<M, u128>::new(m, p)), |m, p| Box::new(Depth::<M, u128>::new(m, p))],
        _ => [|m, p| Box::new(Breadth::<M, Wide>::new(m, p)), |m, p| Box::new(Depth::<M, Wide>::new(m, p))],
    }
}
