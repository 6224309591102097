//! Event by event: all possible pasts before an event become all possible pasts after it.
//!
//! Operations take effect just in time: not before a return forces one of them to. Memory and time per
//! event depend on how many operations overlap, never on how long the history is.

use super::config::{Antichain, Config};
use super::mask::Mask;
use super::part::{Event, Part};
use super::rules::Rules;
use super::search::{Finding, Search};
use super::space::Space;
use crate::model::Model;

pub(super) struct Breadth<'p, M: Model, K> {
    rules: Rules<'p, M>,
    at: u32,
    /// All possible pasts before event `at`.
    pub(super) before: Vec<Config<K>>,
    /// Is the return at `at` being worked on?
    returning: bool,
    /// Pasts met on the way past the return, and those of them that were not extended yet: at once, and
    /// when all that used fewer crashed operations are done.
    met: Antichain<K>,
    now: Vec<u32>,
    later: Vec<u32>,
    /// Pasts that got past the return.
    after: Antichain<K>,
    extended: Vec<Config<K>>,
}

impl<'p, M: Model, K: Mask> Breadth<'p, M, K> {
    pub(super) fn new(model: &'p M, part: &'p Part<'p, M>) -> Self {
        Self::resume(model, part, 0, |space| vec![Config::start(space.init())])
    }

    /// A search that begins at event `at`, before which there are the `pasts`.
    pub(super) fn resume(
        model: &'p M,
        part: &'p Part<'p, M>,
        at: u32,
        pasts: impl FnOnce(&mut Space<'p, M>) -> Vec<Config<K>>,
    ) -> Self {
        let mut rules = Rules::new(model, part);
        rules.seek(at);
        let before = pasts(&mut rules.space);
        Self {
            rules,
            at,
            before,
            returning: false,
            met: Antichain::new(),
            now: vec![],
            later: vec![],
            after: Antichain::new(),
            extended: vec![],
        }
    }

    fn call(&mut self, item: u32) {
        for config in &mut self.before {
            self.rules.call(item, config);
        }
        self.advance();
    }

    fn advance(&mut self) {
        self.at += 1;
        self.rules.seek(self.at);
    }

    fn begin_return(&mut self, item: u32) {
        self.returning = true;
        for n in 0..self.before.len() {
            self.meet(item, self.before[n].clone(), false);
        }
    }

    /// Notes a past on the way: behind the return if it gets there, else to be extended.
    fn meet(&mut self, item: u32, mut config: Config<K>, crashed: bool) {
        if self.rules.pass(item, &mut config) {
            self.after.insert(config);
        } else if let Some(number) = self.met.insert(config) {
            if crashed { &mut self.later } else { &mut self.now }.push(number);
        }
    }

    /// Extends pasts until none is left or `limit` is reached; whether none is left.
    fn explore(&mut self, item: u32, limit: u64) -> bool {
        while self.steps() < limit {
            if self.now.is_empty() {
                std::mem::swap(&mut self.now, &mut self.later);
            }
            let Some(number) = self.now.pop() else {
                return true;
            };
            let Some(config) = self.met.get(number).cloned() else {
                continue;
            };
            let mut extended = std::mem::take(&mut self.extended);
            self.rules.extend(&config, &mut extended);
            for next in extended.drain(..) {
                let crashed = next.done == config.done;
                self.meet(item, next, crashed);
            }
            self.extended = extended;
        }
        false
    }

    fn end_return(&mut self) -> Option<Finding<M>> {
        if self.after.is_empty() {
            return Some(Finding::Blocked(self.rules.blocked(&self.before)));
        }
        self.returning = false;
        self.met.clear();
        self.before.clear();
        self.after.drain_into(&mut self.before);
        self.advance();
        None
    }

    /// Searches up to event `end`; that all before it is linearizable leaves the possible pasts in `before`.
    pub(super) fn run_to(&mut self, end: u32, limit: u64) -> Option<Finding<M>> {
        while self.at < end {
            let item = match self.rules.part.events[self.at as usize] {
                Event::Call(item) => {
                    self.call(item);
                    continue;
                }
                Event::Return(item) => item,
            };
            if !self.returning {
                self.begin_return(item);
            }
            if !self.explore(item, limit) {
                return None;
            }
            if let Some(finding) = self.end_return() {
                return Some(finding);
            }
        }
        Some(Finding::Linearizable)
    }

    /// The state with a number.
    pub(super) fn state(&self, number: u32) -> &M::State {
        self.rules.space.state(number).0
    }
}

impl<M: Model, K: Mask> Search<M> for Breadth<'_, M, K> {
    fn run(&mut self, limit: u64) -> Option<Finding<M>> {
        self.run_to(self.rules.part.events.len() as u32, limit)
    }

    fn steps(&self) -> u64 {
        self.rules.space.steps + self.met.compared + self.after.compared
    }
}
