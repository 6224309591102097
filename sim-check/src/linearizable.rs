//! Linearizability: is there one order of the operations, each taking effect at one moment between its
//! invocation and its completion, that a [`Model`] accepts?
//!
//! Failed operations are left out. Operations of unknown outcome may take effect at any time after
//! their invocation, or never. Each key is judged apart.
//!
//! Two searches compete for every key, by numbers of steps and never by the clock: one goes through
//! the history event by event with all possible pasts at once (`breadth`), one follows a single past
//! and comes back when it ends (`depth`). What neither of them decides soon is decided without a search, if it
//! is a register or a queue in which no value occurs twice (`unique`). Where nothing is open, all that is left of
//! the past is the states that it may have led to. Both searches move by the same rules (`rules`), which never consider
//!
//! * an order in which an open read misses a state that it could have seen,
//! * of two pasts with the same state and the same updates, one that used up more crashed operations
//!   or left more reads waiting,
//! * a later of two identical operations before the earlier, or a crashed one that changes nothing
//!   or changes the state to one that no operation of the history depends on.

mod breadth;
mod config;
mod depth;
mod explain;
mod growing;
mod mask;
mod minimal;
mod part;
mod race;
mod rules;
mod search;
mod space;
mod tiny;
mod unique;

#[cfg(test)]
mod brute_force;

use crate::history::Operation;
use crate::model::Model;
use crate::online::Monitor;
use crate::verdict::{Checker, Verdict};

const DEFAULT_BUDGET: u64 = 200_000_000;

/// Checks that a history is linearizable with regard to `model`.
pub fn linearizable<M: Model>(model: M) -> Linearizable<M> {
    Linearizable { model, budget: DEFAULT_BUDGET, minimal: false }
}

/// The checker that [`linearizable()`] makes.
#[derive(Clone, Debug)]
pub struct Linearizable<M> {
    model: M,
    budget: u64,
    minimal: bool,
}

impl<M> Linearizable<M> {
    /// Gives up with [`Verdict::Unknown`] after about so many steps. The default takes some seconds.
    pub fn budget(mut self, steps: u64) -> Self {
        self.budget = steps;
        self
    }

    /// Looks, once something is wrong, for the few operations that cannot be explained together:
    /// [`Evidence::core`](crate::Evidence::core). That takes longer than to see that something is wrong.
    pub fn minimal(mut self) -> Self {
        self.minimal = true;
        self
    }
}

impl<M: Model> Checker<M::Op, M::Ret> for Linearizable<M> {
    fn check(&self, operations: &[Operation<M::Op, M::Ret>]) -> Verdict {
        if operations.iter().all(|operation| operation.acknowledged().is_none()) {
            return Verdict::Vacuous(nothing_seen(operations.len()));
        }
        if tiny::holds(&self.model, operations, self.budget) == Some(true) {
            return Verdict::Valid;
        }
        let mut parts = part::parts(&self.model, operations);
        let (part, blocked) = match race::race(&self.model, &parts, self.budget) {
            race::Finish::Linearizable => return Verdict::Valid,
            race::Finish::OutOfSteps(part) => return Verdict::Unknown(self.out_of_steps(&parts[part])),
            race::Finish::Blocked(part, blocked) => (part, blocked),
            race::Finish::Refused(part) => (part, race::what_was_possible(&self.model, &parts[part], self.budget)),
        };
        let part = &mut parts[part];
        let blocked = explain::spell_out(&self.model, part, blocked);
        let core = match self.minimal {
            true => minimal::core(&self.model, operations, part, blocked.at),
            false => Vec::new(),
        };
        let case = explain::Case::new(&self.model, operations, part, &blocked);
        Verdict::Invalid(Box::new(case.evidence(&core)))
    }

    fn monitor(self) -> Box<dyn Monitor<M::Op, M::Ret> + Send>
    where
        Self: Send + 'static,
        M::Op: Send + 'static,
        M::Ret: Send + 'static,
    {
        Box::new(growing::Growing::new(self))
    }
}

impl<M: Model> Linearizable<M> {
    /// Whether `operations` are linearizable, nothing if the steps ran out: [`check`](Checker::check) without evidence,
    /// for those who judge many small histories.
    pub fn holds(&self, operations: &[Operation<M::Op, M::Ret>]) -> Option<bool> {
        let few = tiny::holds(&self.model, operations, self.budget);
        few.or_else(|| self.search(operations))
    }

    fn search(&self, operations: &[Operation<M::Op, M::Ret>]) -> Option<bool> {
        match race::race(&self.model, &part::parts(&self.model, operations), self.budget) {
            race::Finish::Linearizable => Some(true),
            race::Finish::Blocked(..) | race::Finish::Refused(_) => Some(false),
            race::Finish::OutOfSteps(_) => None,
        }
    }

    fn out_of_steps(&self, part: &part::Part<'_, M>) -> String {
        let place = match &part.key {
            Some(key) => format!("key {key} was"),
            None => "the history was".to_string(),
        };
        format!("{place} undecided after {} steps: overlap fewer operations or raise the budget", self.budget)
    }
}

pub(crate) fn nothing_seen(operations: usize) -> String {
    match operations {
        0 => "no operation was recorded".to_string(),
        1 => "the only operation was not acknowledged".to_string(),
        n => format!("none of {n} operations was acknowledged"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::History;
    use crate::model::{CasOp, CasRegister, Register, RegisterOp, RegisterRet};

    fn read(history: &History<RegisterOp<i64>, RegisterRet<i64>>, process: u64, value: i64) {
        history.invoke_at(process, RegisterOp::Read, 0).ok_at(RegisterRet::Value(value), 0);
    }

    #[test]
    fn evidence_names_the_acknowledged_write_and_what_was_open() {
        let history = History::new();
        history.invoke_at(1, RegisterOp::Write(9), 0).ok_at(RegisterRet::Written, 0);
        history.invoke_at(2, RegisterOp::Write(5), 0).info_at(0);
        read(&history, 3, 5);
        read(&history, 1, 7);

        let verdict = history.verdict(&linearizable(Register::default()));
        let evidence = verdict.evidence().expect("nobody wrote 7");
        assert_eq!(
            evidence.sentence,
            "not linearizable: client-1 read 7 after write 9 was acknowledged; \
             the state could only be 5"
        );
        let involved: Vec<&str> = evidence.involved.iter().map(|op| op.what.as_str()).collect();
        assert_eq!(involved, ["write 9", "write 5"]);
        assert_eq!(evidence.before[0].applied, [1]);
        assert_eq!(evidence.needed.as_deref(), Some("the state would have had to be 7"));
    }

    #[test]
    fn of_a_long_history_only_what_cannot_be_explained_together_is_shown() {
        let history = History::new();
        for n in 0..40 {
            history.invoke_at(1, RegisterOp::Write(n), 0).ok_at(RegisterRet::Written, 0);
            read(&history, 2, n);
        }
        history.invoke_at(1, RegisterOp::Write(100), 0).ok_at(RegisterRet::Written, 0);
        read(&history, 3, 20);
        read(&history, 3, 100);
        let verdict = history.verdict(&linearizable(Register::default()).minimal());
        let core = &verdict.evidence().expect("20 was overwritten").core;
        let words: Vec<&str> = core.iter().map(|op| op.what.as_str()).collect();
        // That 20 was read and 21 after it makes the write of 20 old; nothing else of the forty matters.
        assert!(words.len() <= 4 && words.contains(&"read 20"), "{words:?}");
    }

    #[test]
    fn a_crashed_write_may_be_seen_late_but_not_undone() {
        let history = History::new();
        drop(history.invoke_at(1, RegisterOp::Write(5), 0));
        read(&history, 2, 0);
        read(&history, 2, 5);
        assert!(history.verdict(&linearizable(Register::default())).is_valid());
        read(&history, 2, 0);
        assert!(history.verdict(&linearizable(Register::default())).evidence().is_some());
    }

    #[test]
    fn hundreds_of_crashed_operations_are_no_obstacle() {
        let history = History::new();
        for value in 0..300 {
            history.invoke_at(value, CasOp::Write(value), 0).info_at(0);
        }
        for value in (100..200).rev() {
            history.invoke_at(1000, CasOp::Read, 0).ok_at(RegisterRet::Value(value), 0);
        }
        assert!(history.verdict(&linearizable(CasRegister::default())).is_valid());
        history.invoke_at(1000, CasOp::Read, 0).ok_at(RegisterRet::Value(150), 0);
        assert!(history.verdict(&linearizable(CasRegister::default())).evidence().is_some());
    }

    #[test]
    fn a_history_in_which_nothing_was_acknowledged_is_vacuous() {
        let history: History<RegisterOp<i64>, RegisterRet<i64>> = History::new();
        history.invoke_at(1, RegisterOp::Read, 0).fail_at(0);
        drop(history.invoke_at(2, RegisterOp::Read, 0));
        assert_eq!(
            history.verdict(&linearizable(Register::default())).to_string(),
            "vacuous: none of 2 operations was acknowledged"
        );
    }
}
