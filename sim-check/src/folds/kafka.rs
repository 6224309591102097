//! Logs such as Kafka's: partitions of messages at offsets, sent by producers and polled by consumers.
//!
//! The rules are those of Jepsen's `kafka` workload. The order of a partition comes from the offsets of polls, of
//! sends that were acknowledged, and of sends of unknown outcome of which some message was polled; offsets may have
//! gaps, which transactions leave.

mod log;
mod movement;
mod owners;
mod record;
mod ties;

use std::collections::BTreeMap;
use std::fmt;

use super::{Fold, evidence};
use crate::read::{ClientEvent, Phase};
use crate::verdict::{Evidence, Verdict};
use owners::Owners;
use record::Record;

/// Checks `send`, `poll` and `txn` of `[:send key [offset value]]` and `[:poll {key [[offset value] ...]}]`, with
/// `assign`, `subscribe` and `:rebalance-log` in between.
///
/// Each [`Kind`] breaks the promise but those that [`Kind::allowed`] names.
///
/// ```
/// use sim_check::folds::{fold, kafka};
/// use sim_check::read;
///
/// let events = read::events(
///     "{:process 0 :type :invoke :f :send :value [[:send x 7]]}
///      {:process 0 :type :ok     :f :send :value [[:send x [0 7]]]}
///      {:process 0 :type :invoke :f :send :value [[:send x 8]]}
///      {:process 0 :type :ok     :f :send :value [[:send x [1 8]]]}
///      {:process 1 :type :invoke :f :poll :value [[:poll]]}
///      {:process 1 :type :ok     :f :poll :value [[:poll {x [[1 8]]}]]}",
/// )?;
/// assert_eq!(
///     fold(&mut kafka(), &events).to_string(),
///     "lost-write: 7 was sent to x by client-0 at event 1, and nobody polled it, although 8 after it was polled; \
///      in all 1 lost-write, 1 unseen",
/// );
/// # Ok::<(), read::ReadError>(())
/// ```
pub fn kafka() -> Kafka {
    Kafka { ww_deps: false, subscribes: false, events: Vec::new(), owners: Owners::default() }
}

/// The check that [`kafka()`] makes.
#[derive(Clone, Debug)]
pub struct Kafka {
    ww_deps: bool,
    subscribes: bool,
    events: Vec<ClientEvent>,
    owners: Owners,
}

/// What can be wrong with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One offset held two messages.
    InconsistentOffsets,
    /// A message of a send that failed was polled.
    G1a,
    /// A message that was acknowledged is missing before one that was polled.
    LostWrite,
    /// One message is at two offsets.
    Duplicate,
    /// Two consumers owned a partition in one generation of their group.
    TwoOwners,
    /// A transaction polled what it sent itself.
    PrecommittedRead,
    /// Polls of one transaction go back.
    IntNonmonotonicPoll,
    /// Polls of one transaction leave messages out.
    IntPollSkip,
    /// Sends of one transaction are in the other order in the log.
    IntNonmonotonicSend,
    /// A consumer goes back from one operation to the next.
    NonmonotonicPoll,
    /// A consumer leaves messages out from one operation to the next.
    PollSkip,
    /// A producer's sends are in the other order in the log.
    NonmonotonicSend,
    /// Transactions polled from one another, or that and the order of processes or real time, in a circle.
    G1c,
    /// A message was acknowledged and never polled.
    Unseen,
    /// Sends of one transaction have others between them.
    IntSendSkip,
    /// Transactions overwrote one another in a circle; only with [`Kafka::ww_deps`].
    G0,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::InconsistentOffsets => "inconsistent-offsets",
            Kind::G1a => "G1a",
            Kind::LostWrite => "lost-write",
            Kind::Duplicate => "duplicate",
            Kind::TwoOwners => "two-owners",
            Kind::PrecommittedRead => "precommitted-read",
            Kind::IntNonmonotonicPoll => "int-nonmonotonic-poll",
            Kind::IntPollSkip => "int-poll-skip",
            Kind::IntNonmonotonicSend => "int-nonmonotonic-send",
            Kind::NonmonotonicPoll => "nonmonotonic-poll",
            Kind::PollSkip => "poll-skip",
            Kind::NonmonotonicSend => "nonmonotonic-send",
            Kind::G1c => "G1c",
            Kind::Unseen => "unseen",
            Kind::IntSendSkip => "int-send-skip",
            Kind::G0 => "G0",
        })
    }
}

impl Kind {
    /// Whether a log may do that: transactions interleave; who subscribes is moved about by rebalances; and where
    /// overwriting counts, reading what is not isolated closes circles.
    pub fn allowed(self, subscribes: bool, ww_deps: bool) -> bool {
        match self {
            Kind::IntSendSkip | Kind::G0 => true,
            Kind::PollSkip | Kind::NonmonotonicPoll => subscribes,
            Kind::G1c => ww_deps,
            _ => false,
        }
    }
}

/// Something wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is called.
    pub kind: Kind,
    /// What happened, in words.
    pub story: String,
    /// The event at which it shows.
    pub event: u64,
}

/// All that is wrong with a log.
#[derive(Clone, Debug, Default)]
pub struct KafkaReport {
    /// The problems of each kind, in the order of the history.
    pub problems: BTreeMap<Kind, Vec<Problem>>,
    /// Why nothing can be decided, if so: a message that nobody sent.
    pub doubt: Option<String>,
}

impl KafkaReport {
    fn add(&mut self, kind: Kind, event: u64, story: String) {
        self.problems.entry(kind).or_default().push(Problem { kind, story, event });
    }

    /// How many there are of each kind, in words.
    fn counts(&self) -> String {
        let counts: Vec<String> = self.problems.iter().map(|(kind, all)| format!("{} {kind}", all.len())).collect();
        counts.join(", ")
    }
}

impl Kafka {
    /// Infers from offsets who overwrote whom. Circles of that are normal, since logs do not isolate writes, so with
    /// it neither G0 nor G1c break the promise.
    pub fn ww_deps(mut self) -> Self {
        self.ww_deps = true;
        self
    }

    /// All that is wrong with the events so far, allowed or not.
    pub fn report(&self) -> KafkaReport {
        let record = Record::new(&self.events);
        let mut report = KafkaReport { problems: BTreeMap::new(), doubt: record.unsent() };
        for problem in self.owners.problems() {
            report.problems.entry(problem.kind).or_default().push(problem.clone());
        }
        log::check(&record, &mut report);
        movement::check(&record, &mut report);
        ties::check(&record, self.ww_deps, &mut report);
        for problems in report.problems.values_mut() {
            problems.sort_by_key(|problem| problem.event);
        }
        report
    }

    fn broken(&self, report: &KafkaReport) -> Option<Evidence> {
        let broken = |kind: &&Kind| !kind.allowed(self.subscribes, self.ww_deps);
        let worst = &report.problems[report.problems.keys().find(broken)?][0];
        let sentence = format!("{}: {}; in all {}", worst.kind, worst.story, report.counts());
        let event = self.events.iter().find(|event| event.moment.index == worst.event)?;
        Some(evidence(event, sentence))
    }
}

impl Fold for Kafka {
    /// Ownership and failed sends that were polled are told at once; everything else needs the whole log.
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        self.subscribes |= event.f == "subscribe";
        self.events.push(event.clone());
        let problem = self.owners.note(event)?;
        Some(evidence(event, format!("{}: {}", problem.kind, problem.story)))
    }

    fn finish(&mut self) -> Verdict {
        if !self.events.iter().any(|event| event.phase == Phase::Ok && record::is_log(&event.f)) {
            return Verdict::Vacuous("no send and no poll was acknowledged".to_string());
        }
        let report = self.report();
        match (self.broken(&report), &report.doubt) {
            (Some(evidence), _) => Verdict::Invalid(Box::new(evidence)),
            (None, Some(doubt)) => Verdict::Unknown(doubt.clone()),
            (None, None) => Verdict::Valid,
        }
    }
}
