//! One past at a time, as far as it goes; then back to the latest choice.
//!
//! Makes the same moves as [`Breadth`](super::breadth::Breadth) in another order, and remembers where it
//! has been. It turns back at once where no state in reach lets the next operation return. Better when pasts
//! are many and most of them can be continued to the end.

use super::config::{Antichain, Config};
use super::mask::Mask;
use super::part::{Event, Part};
use super::rules::Rules;
use super::search::{Finding, Search};
use crate::model::Model;

/// So many pasts are remembered whether or not one can come back to them.
const REMEMBERED: usize = 1 << 10;

pub(super) struct Depth<'p, M: Model, K> {
    rules: Rules<'p, M>,
    visited: Antichain<K>,
    /// Pasts to go on from, the most promising last.
    stack: Vec<Config<K>>,
    /// The furthest return that was reached, and the pasts that reached it.
    furthest: u32,
    arrivals: Vec<Config<K>>,
}

impl<'p, M: Model, K: Mask> Depth<'p, M, K> {
    pub(super) fn new(model: &'p M, part: &'p Part<'p, M>) -> Self {
        let mut rules = Rules::new(model, part);
        let stack = vec![Config::start(rules.space.init())];
        Self { rules, visited: Antichain::new(), stack, furthest: 0, arrivals: vec![] }
    }

    /// How much it remembers.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.rules.space.states() + self.visited.len() + self.stack.len() + self.arrivals.len()
    }

    /// Moves on while there is no choice; whether a return that needs one is reached.
    fn travel(&mut self, config: &mut Config<K>) -> bool {
        while let Some(event) = self.rules.part.events.get(config.at as usize) {
            match event {
                Event::Call(item) => self.rules.call(*item, config),
                Event::Return(item) if !self.rules.pass(*item, config) => return true,
                Event::Return(_) => {}
            }
            config.at += 1;
            self.rules.space.steps += 1;
        }
        false
    }

    fn arrive(&mut self, config: &Config<K>) {
        if config.at > self.furthest {
            self.furthest = config.at;
            self.arrivals.clear();
        }
        if config.at == self.furthest {
            self.arrivals.push(config.clone());
        }
    }

    fn branch(&mut self, config: &Config<K>) {
        self.rules.seek(config.at);
        let others = self.stack.len();
        self.rules.extend(config, &mut self.stack);
        let Event::Return(due) = self.rules.part.events[config.at as usize] else { return };
        // Where what returns cannot take effect at once, it is best to go where it can next.
        let ahead = self.stack.get(others).is_some_and(|first| self.rules.has_passed(due, first));
        if !ahead {
            let (rules, next) = (&mut self.rules, &mut self.stack[others..]);
            next.sort_by_key(|next| !rules.can_pass(due, next));
            let near = next.first().is_some_and(|next| rules.can_pass(due, next));
            if !near && !rules.is_within_reach(due, config.state) {
                return self.stack.truncate(others);
            }
        }
        self.stack[others..].reverse();
    }
}

impl<M: Model, K: Mask> Search<M> for Depth<'_, M, K> {
    fn run(&mut self, limit: u64) -> Option<Finding<M>> {
        while self.steps() < limit {
            let Some(mut config) = self.stack.pop() else {
                self.rules.seek(self.furthest);
                return Some(Finding::Blocked(self.rules.blocked(&self.arrivals)));
            };
            let from = config.at;
            if !self.travel(&mut config) {
                return Some(Finding::Linearizable);
            }
            // Where there is no other past to go on from, nobody comes back to what is behind.
            if self.stack.is_empty() && self.visited.len() > REMEMBERED {
                self.visited.clear();
                if self.rules.space.is_crowded() {
                    let kept = self.arrivals.iter_mut().chain([&mut config]);
                    self.rules.space.forget(kept.map(|config| &mut config.state));
                }
            }
            if self.visited.insert(config.clone()).is_none() {
                continue;
            }
            if config.at > from {
                self.arrive(&config);
            }
            self.branch(&config);
        }
        None
    }

    fn steps(&self) -> u64 {
        self.rules.space.steps + self.visited.compared
    }
}
