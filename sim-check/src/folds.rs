//! Promises that one pass over the events decides: banks, counters, sets, queues, unique numbers.
//!
//! Each check is a [`Fold`]: it is shown every event as it happens, says so at the first that breaks its
//! promise for good, and says at the end what only the end tells. The rules are those of Jepsen's checkers
//! of the same names, where they are not said to be others.
//!
//! ```
//! use sim_check::folds::{counter, fold};
//! use sim_check::read;
//!
//! let events = read::events(
//!     "{:process 0 :type :invoke :f :add :value 2} {:process 0 :type :ok :f :add :value 2}
//!      {:process 1 :type :invoke :f :read}         {:process 1 :type :ok :f :read :value 3}",
//! )?;
//! assert_eq!(
//!     fold(&mut counter(), &events).to_string(),
//!     "client-1 read 3 from the counter at event 3, which was between 2 and 2",
//! );
//! # Ok::<(), read::ReadError>(())
//! ```

mod bank;
mod counter;
mod queue;
mod set;
mod unique_ids;

pub use bank::{Bank, bank};
pub use counter::{Counter, counter};
pub use queue::{TotalQueue, total_queue};
pub use set::{Set, set};
pub use unique_ids::{UniqueIds, unique_ids};

use crate::read::{ClientEvent, Phase};
use crate::verdict::{Evidence, Verdict, Witness};

/// A check that is shown one event after another.
pub trait Fold {
    /// Takes note of an event; evidence if it breaks the promise whatever comes later.
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence>;

    /// The verdict when nothing comes later, if no event broke the promise.
    fn finish(&mut self) -> Verdict;
}

/// The verdict of a check on a whole history.
pub fn fold(check: &mut dyn Fold, events: &[ClientEvent]) -> Verdict {
    if events.is_empty() {
        return Verdict::Vacuous("no operation was recorded".to_string());
    }
    let broken = events.iter().find_map(|event| check.on_event(event));
    broken.map_or_else(|| check.finish(), |evidence| Verdict::Invalid(Box::new(evidence)))
}

/// Whether an event is the acknowledgement of an operation of some name.
fn acknowledges(event: &ClientEvent, f: &str) -> bool {
    event.phase == Phase::Ok && event.f == f
}

fn evidence(event: &ClientEvent, sentence: String) -> Evidence {
    let failed = Witness {
        process: event.process,
        what: format!("{} {}", event.f, event.value),
        invoked: event.moment,
        acknowledged: Some(event.moment).filter(|_| event.phase == Phase::Ok),
    };
    Evidence { sentence, key: None, failed, involved: Vec::new(), before: Vec::new() }
}

/// A few of many values.
fn some<'v>(values: impl Iterator<Item = &'v crate::read::Value>) -> String {
    const SHOWN: usize = 8;
    let mut values: Vec<String> = values.take(SHOWN + 1).map(ToString::to_string).collect();
    if values.len() > SHOWN {
        values[SHOWN] = "...".to_string();
    }
    values.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    fn judge(check: &mut dyn Fold, events: &[(u64, &str, &str, &str)]) -> String {
        let line = |(process, phase, f, value): &(u64, &str, &str, &str)| {
            format!("{{:process {process} :type :{phase} :f :{f} :value {value}}}\n")
        };
        let text: String = events.iter().map(line).collect();
        fold(check, &read::events(&text).expect("a history")).to_string()
    }

    #[test]
    fn a_bank_neither_loses_money_nor_lends_it() {
        let first = (1, "ok", "read", "{0 6 1 4}");
        assert_eq!(judge(&mut bank(), &[first, (2, "ok", "read", "{0 1 1 9}")]), "valid");
        let sentence = judge(&mut bank(), &[first, (2, "ok", "read", "{0 6 1 5}")]);
        assert_eq!(sentence, "client-2 read balances at event 1 that sum up to 11 instead of 10");
        let sentence = judge(&mut bank(), &[first, (2, "ok", "read", "{0 -1 1 11}")]);
        assert_eq!(sentence, "client-2 read a balance of -1 in account 0 at event 1");
        assert_eq!(judge(&mut bank().negative_balances(), &[first, (2, "ok", "read", "{0 -1 1 11}")]), "valid");
        let sentence = judge(&mut bank().total(9), &[first]);
        assert_eq!(sentence, "client-1 read balances at event 0 that sum up to 10 instead of 9");
        let sentence = judge(&mut bank(), &[first, (2, "ok", "read", "{0 6 7 4}")]);
        assert_eq!(sentence, "client-2 read account 7 at event 1, which there was not at first");
        assert!(judge(&mut bank(), &[(1, "ok", "transfer", "nil")]).starts_with("unknown"));
    }

    #[test]
    fn a_counter_is_between_what_was_acknowledged_and_what_was_tried() {
        let open = [(1, "invoke", "add", "2"), (2, "invoke", "read", "nil")];
        let read = |value| judge(&mut counter(), &[open[0], open[1], (2, "ok", "read", value)]);
        assert_eq!([read("0"), read("2")], ["valid", "valid"]);
        assert!(read("3").contains("between 0 and 2"));
        let failed = [open[0], (1, "fail", "add", "2"), open[1], (2, "ok", "read", "2")];
        assert!(judge(&mut counter(), &failed).contains("between 0 and 0"));
        let negative = [(1, "invoke", "add", "-2"), open[1], (2, "ok", "read", "-2")];
        assert_eq!(judge(&mut counter(), &negative), "valid");
    }

    #[test]
    fn a_set_loses_nothing_and_invents_nothing() {
        let add = [(1, "invoke", "add", "7"), (1, "ok", "add", "7"), (2, "invoke", "add", "8")];
        let end = |value| judge(&mut set(), &[add[0], add[1], add[2], (3, "ok", "read", value)]);
        assert_eq!([end("[7]"), end("#{7 8}")], ["valid", "valid"]);
        assert_eq!(end("[8]"), "client-3 did not find 7 at event 3, of which the add was acknowledged");
        assert_eq!(end("[7 9]"), "client-3 found 9 at event 3, which nobody added");
        assert!(judge(&mut set(), &add).starts_with("unknown"));
    }

    #[test]
    fn a_queue_gives_what_it_was_given() {
        let put = [(1, "invoke", "enqueue", "7"), (1, "ok", "enqueue", "7")];
        assert_eq!(judge(&mut total_queue(), &[put[0], put[1], (2, "ok", "dequeue", "7")]), "valid");
        assert_eq!(judge(&mut total_queue(), &[put[0], put[1], (2, "ok", "drain", "[7]")]), "valid");
        assert!(judge(&mut total_queue(), &put).starts_with("client-1 was told that 7 is in the queue"));
        let unexpected = judge(&mut total_queue(), &[(2, "ok", "dequeue", "7")]);
        assert_eq!(unexpected, "client-2 took 7 from the queue at event 0, which nobody had put there");
        let twice = [put[0], put[1], (2, "ok", "dequeue", "7"), (2, "ok", "dequeue", "7")];
        assert_eq!(judge(&mut total_queue(), &twice), "valid");
        assert!(judge(&mut total_queue().exactly_once(), &twice).contains("more often"));
    }

    #[test]
    fn unique_numbers_are_given_once() {
        let given = |value| (1, "ok", "generate", value);
        assert_eq!(judge(&mut unique_ids(), &[given("1"), given("2")]), "valid");
        let twice = judge(&mut unique_ids(), &[given("1"), given("1")]);
        assert_eq!(twice, "client-1 was given 1 at event 1, which client-1 was given at event 0");
    }
}
