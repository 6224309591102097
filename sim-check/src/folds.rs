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
#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod checkers;
#[cfg(test)]
mod checkers_kafka;
mod counter;
mod kafka;
mod long_fork;
mod model_queue;
mod ordered;
mod queue;
mod sessions;
mod set;
mod set_full;
mod unique_ids;

pub use bank::{Bank, bank};
pub use counter::{Counter, counter};
pub use kafka::{Kafka, KafkaReport, Kind as KafkaKind, Problem as KafkaProblem, kafka};
pub use long_fork::{LongFork, long_fork};
pub use model_queue::{ModelQueue, model_queue};
pub use ordered::{Causal, CausalReverse, G2, Monotonic, causal, causal_reverse, g2, monotonic};
pub use queue::{TotalQueue, total_queue};
pub use sessions::{Guarantee, Sessions, sessions};
pub use set::{Set, set};
pub use set_full::{SetFull, SetReport, set_full};
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
    Evidence {
        sentence,
        key: None,
        failed,
        involved: Vec::new(),
        before: Vec::new(),
        core: Vec::new(),
        needed: None,
        ties: Vec::new(),
    }
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
