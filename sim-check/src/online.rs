//! Checks while a history grows: a run can stop when it is known to be wrong.
//!
//! ```
//! use sim_check::model::{Register, RegisterOp, RegisterRet};
//! use sim_check::online::Watch;
//! use sim_check::{History, linearizable};
//!
//! let history = History::new();
//! let mut watch = Watch::new(linearizable(Register::<i64>::default()));
//! history.invoke_at(1, RegisterOp::Write(9), 0).ok_at(RegisterRet::Written, 10);
//! assert!(watch.look(&history).is_none());
//! history.invoke_at(2, RegisterOp::Read, 20).ok_at(RegisterRet::Value(7), 30);
//! assert!(watch.look(&history).expect("nobody wrote 7").sentence.contains("read 7"));
//! ```

use crate::folds::{Fold, fold};
use crate::history::{History, Operation, Outcome};
use crate::read::{ClientEvent, Value};
use crate::verdict::{Checker, Evidence, Verdict};
use crate::write::{event_of, events_of};

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was invoked.
    Invoked,
    /// It ended, as its outcome tells.
    Ended,
    /// Its client is gone: nobody will tell how it ended.
    Abandoned,
}

/// Follows a history event by event. What is wrong with a part of a history is wrong with the whole.
pub trait Monitor<Op, Ret> {
    /// Takes note of news of `operation`, which was invoked after `number` others; evidence if they break the promise.
    fn note(&mut self, news: News, number: usize, operation: &Operation<Op, Ret>) -> Option<Evidence>;
}

/// A [`Monitor`] and how far it has followed.
///
/// [`linearizable`](crate::linearizable()) and [`folded`] checks see the first event that breaks the promise as it comes.
/// Others look at the whole history whenever it has grown by an eighth, and after every event while it is short.
pub struct Watch<Op, Ret> {
    monitor: Box<dyn Monitor<Op, Ret> + Send>,
    /// How many operations were seen, and which of them had not ended.
    seen: usize,
    pending: Vec<usize>,
}

impl<Op: Clone + Send + 'static, Ret: Clone + Send + 'static> Watch<Op, Ret> {
    /// Watches with `checker`, which has to be right about histories that go on.
    pub fn new(checker: impl Checker<Op, Ret> + Send + 'static) -> Self {
        Self { monitor: checker.monitor(), seen: 0, pending: Vec::new() }
    }
}

impl<Op: Clone, Ret: Clone> Watch<Op, Ret> {
    /// To be called after events; the evidence, if one of them broke the promise.
    pub fn look(&mut self, history: &History<Op, Ret>) -> Option<Evidence> {
        let mut news = self.news(history);
        news.sort_by_key(|(index, ..)| *index);
        news.into_iter().find_map(|(_, news, number, operation)| self.monitor.note(news, number, &operation))
    }

    /// What happened since the last time, with the place of each event in the history.
    fn news(&mut self, history: &History<Op, Ret>) -> Vec<(u64, News, usize, Operation<Op, Ret>)> {
        let mut news = Vec::new();
        let open = std::mem::take(&mut self.pending);
        let seen = self.seen;
        for number in open.into_iter().chain(seen..history.len()) {
            // Asked first, so that an end which is told in between is news of the next time.
            let pending = history.is_pending(number);
            let fresh = number >= seen;
            if pending && !fresh {
                self.pending.push(number);
                continue;
            }
            let Some(operation) = history.operation(number) else { break };
            if fresh {
                let invoked = Operation { outcome: Outcome::Open, ..operation.clone() };
                news.push((operation.invoked.index, News::Invoked, number, invoked));
                self.seen = number + 1;
            }
            match operation.ended() {
                _ if pending => self.pending.push(number),
                Some(at) => news.push((at.index, News::Ended, number, operation)),
                None => news.push((u64::MAX, News::Abandoned, number, operation)),
            }
        }
        news
    }
}

impl<Op, Ret> std::fmt::Debug for Watch<Op, Ret> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// Shorter histories are looked at after every event, longer ones each time they have grown by an eighth: in all that
/// takes a few times as long as looking once at the end.
const SHORT: usize = 64;
const PART: usize = 8;

/// How many events there have to be before the next look, after one at `events`.
pub(crate) fn next_look(events: usize, short: usize) -> usize {
    if events < short { events + 1 } else { events + events / PART }
}

/// Looks at the whole history again and again.
pub(crate) struct Whole<C, Op, Ret> {
    checker: C,
    operations: Vec<Operation<Op, Ret>>,
    events: usize,
    due: usize,
}

impl<C, Op, Ret> Whole<C, Op, Ret> {
    pub(crate) fn new(checker: C) -> Self {
        Whole { checker, operations: Vec::new(), events: 0, due: 0 }
    }
}

impl<C: Checker<Op, Ret>, Op: Clone, Ret: Clone> Monitor<Op, Ret> for Whole<C, Op, Ret> {
    fn note(&mut self, news: News, number: usize, operation: &Operation<Op, Ret>) -> Option<Evidence> {
        self.events += 1;
        match self.operations.get_mut(number) {
            Some(known) => known.clone_from(operation),
            None => self.operations.push(operation.clone()),
        }
        if news != News::Ended || self.events < self.due {
            return None;
        }
        self.due = next_look(self.events, SHORT);
        match self.checker.check(&self.operations) {
            Verdict::Invalid(evidence) => Some(*evidence),
            _ => None,
        }
    }
}

/// A [`Fold`] as a [`Checker`] of recorded operations: `check` makes a new one for each history, and `asked` and `told`
/// say what operations and answers are called, as for [`events_of`].
///
/// ```
/// use sim_check::folds::counter;
/// use sim_check::online::folded;
/// use sim_check::read::Value;
/// use sim_check::History;
///
/// let checker = folded(counter, |add: &Option<i64>| match add {
///     Some(add) => ("add".to_string(), (*add).into()),
///     None => ("read".to_string(), Value::Nil),
/// }, |found: &i64| Some((*found).into()));
/// let history = History::new();
/// history.invoke_at(1, Some(2), 0).ok_at(2, 1);
/// history.invoke_at(1, None, 2).ok_at(3, 3);
/// assert!(history.verdict(&checker).to_string().contains("read 3 from the counter"));
/// ```
pub fn folded<Op, Ret, F, C, A, T>(check: C, asked: A, told: T) -> Folded<C, A, T>
where
    F: Fold,
    C: Fn() -> F,
    A: Fn(&Op) -> (String, Value),
    T: Fn(&Ret) -> Option<Value>,
{
    Folded { check, asked, told }
}

/// The checker that [`folded`] makes.
#[derive(Clone, Debug)]
pub struct Folded<C, A, T> {
    check: C,
    asked: A,
    told: T,
}

impl<Op, Ret, F, C, A, T> Checker<Op, Ret> for Folded<C, A, T>
where
    F: Fold + Send + 'static,
    C: Fn() -> F,
    A: Fn(&Op) -> (String, Value),
    T: Fn(&Ret) -> Option<Value>,
{
    fn check(&self, operations: &[Operation<Op, Ret>]) -> Verdict {
        let events: Vec<ClientEvent> = events_of(operations, &self.asked, &self.told);
        fold(&mut (self.check)(), &events)
    }

    fn monitor(self) -> Box<dyn Monitor<Op, Ret> + Send>
    where
        Self: Send + 'static,
    {
        let (fold, words) = ((self.check)(), self);
        Box::new(Folding { fold, words })
    }
}

/// A fold that is under way.
struct Folding<F, W> {
    fold: F,
    words: W,
}

impl<Op, Ret, F, C, A, T> Monitor<Op, Ret> for Folding<F, Folded<C, A, T>>
where
    F: Fold,
    A: Fn(&Op) -> (String, Value),
    T: Fn(&Ret) -> Option<Value>,
{
    fn note(&mut self, news: News, _: usize, operation: &Operation<Op, Ret>) -> Option<Evidence> {
        let event = match news {
            News::Abandoned => return None,
            News::Invoked | News::Ended => event_of(operation, &self.words.asked, &self.words.told),
        };
        self.fold.on_event(&event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folds::counter;
    use crate::linearizable;
    use crate::model::{Register, RegisterOp, RegisterRet};

    #[test]
    fn a_long_history_is_stopped_soon_after_it_went_wrong() {
        let history = History::new();
        let no_seven = |operations: &[Operation<u64, u64>]| match operations.iter().find(|operation| operation.op == 7)
        {
            Some(_) => linearizable(Register::<u64>::default()).check(&wrong()),
            None => Verdict::Valid,
        };
        let mut watch = Watch::new(no_seven);
        for n in 0..4_000 {
            history.invoke_at(1, if n == 1_000 { 7 } else { 0 }, 0).ok_at(0, 0);
            if watch.look(&history).is_some() {
                assert!((1_000..1_200).contains(&n), "{n}");
                return;
            }
        }
        panic!("nobody noticed");
    }

    /// A read of what nobody wrote.
    fn wrong() -> Vec<Operation<RegisterOp<u64>, RegisterRet<u64>>> {
        let history = History::new();
        history.invoke_at(1, RegisterOp::Read, 0).ok_at(RegisterRet::Value(7), 0);
        history.operations()
    }

    #[test]
    fn one_pass_is_stopped_at_the_event_that_broke_the_promise() {
        let add = |add: &Option<i64>| match add {
            Some(add) => ("add".to_string(), (*add).into()),
            None => ("read".to_string(), Value::Nil),
        };
        let history = History::new();
        let mut watch = Watch::new(folded(counter, add, |found: &i64| Some((*found).into())));
        for n in 0..5_000 {
            history.invoke_at(1, Some(1), 0).ok_at(1, 0);
            history.invoke_at(1, None, 0).ok_at(if n == 3_456 { 7 } else { n + 1 }, 0);
            if let Some(evidence) = watch.look(&history) {
                assert_eq!((n, evidence.failed.invoked.index), (3_456, 3_456 * 4 + 3));
                return;
            }
        }
        panic!("nobody noticed");
    }
}
