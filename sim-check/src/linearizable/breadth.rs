//! Event by event: all possible pasts before an event become all possible pasts after it.
//!
//! Operations take effect just in time: not before a return forces one of them to. Where nothing is open, a past is no more
//! than the state that it led to: every such quiescent moment cuts the history, and what goes on is the set of states that
//! are possible there. States that no past is in are forgotten, at cuts and in between. So memory and time per event
//! depend on how many operations overlap, never on how long the history is.

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
        if self.rules.space.is_crowded() {
            self.rules.space.forget(self.before.iter_mut().map(|config| &mut config.state));
        }
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

#[cfg(test)]
mod tests {
    use super::super::depth::Depth;
    use super::super::part;
    use super::*;
    use crate::history::{History, Operation};
    use crate::model::{Kv, KvOp, KvRet, Register, RegisterOp, RegisterRet};

    const OPERATIONS: u64 = 120_000;

    /// Two clients that write and read, one after another in pairs that overlap.
    fn long_history() -> Vec<Operation<RegisterOp<u64>, RegisterRet<u64>>> {
        let history = History::new();
        for n in 0..OPERATIONS / 2 {
            let write = history.invoke_at(1, RegisterOp::Write(n), n);
            let read = history.invoke_at(2, RegisterOp::Read, n);
            write.ok_at(RegisterRet::Written, n);
            read.ok_at(RegisterRet::Value(n), n);
        }
        history.operations()
    }

    /// Runs a search bit by bit, and returns the most of something that it had in between.
    fn most<M: Model, S: Search<M>>(mut search: S, measure: impl Fn(&S) -> usize) -> usize {
        let mut most = 0;
        loop {
            most = most.max(measure(&search));
            match search.run(search.steps() + 1000) {
                None => {}
                Some(Finding::Linearizable) => return most,
                Some(_) => panic!("the history is linearizable"),
            }
        }
    }

    #[test]
    fn what_is_remembered_of_a_history_does_not_grow_with_its_length() {
        let (model, operations) = (Register::<u64>::default(), long_history());
        let parts = part::parts(&model, &operations);
        let breadth = Breadth::<_, u64>::new(&model, &parts[0]);
        let held = |search: &Breadth<'_, _, u64>| {
            search.rules.space.states() + search.before.len() + search.met.len() + search.after.len()
        };
        assert!(most(breadth, held) < 5000);
        let depth = Depth::<_, u64>::new(&model, &parts[0]);
        assert!(most(depth, |search| search.held()) < 5000);
    }

    #[test]
    fn states_that_grow_are_not_kept_when_the_past_is_cut_off() {
        let history = History::new();
        for n in 0..5000 {
            let first = history.invoke_at(1, KvOp::Append("x".into(), "a".into()), n);
            history.invoke_at(2, KvOp::Append("x".into(), "b".into()), n).ok_at(KvRet::Written, n);
            first.ok_at(KvRet::Written, n);
            let found = "ab".repeat(n as usize + 1);
            history.invoke_at(1, KvOp::Get("x".into()), n).ok_at(KvRet::Value(found), n);
        }
        let (model, operations) = (Kv::default(), history.operations());
        let parts = part::parts(&model, &operations);
        let breadth = Breadth::<_, u64>::new(&model, &parts[0]);
        assert!(most(breadth, |search| search.rules.space.states()) < 2000);
    }
}
