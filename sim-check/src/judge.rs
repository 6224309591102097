//! From the name of a model and the text of a history to a verdict.

use std::error::Error;
use std::fmt;
use std::io;

use crate::folds::{
    Bank, Fold, LongFork, bank, causal, causal_reverse, counter, fold, g2, kafka, long_fork, monotonic, sessions, set,
    set_full, total_queue, unique_ids,
};
use crate::history::Operation;
use crate::linearizable::linearizable;
use crate::model::{CasOp, CasRegister, FifoQueue, Kv, Model, MultiRegister, Mutex, Register, RegisterRet, keyed};
use crate::read::{self, ClientEvent, Format, Keys, ReadError, SourceError, Value};
use crate::transactions::{Consistency, RwRegister, closed_predicate, list_append, rw_register};
use crate::verdict::{Checker, Verdict};

/// The models that [`judge()`] knows, each with a line about it.
pub const MODELS: &[(&str, &str)] = &[
    ("cas-register", "one value: read, write, cas [from to]"),
    ("register", "one value: read, write"),
    ("kv", "strings by key: get, put, append"),
    ("mutex", "a lock: acquire, release"),
    ("fifo-queue", "what goes in first comes out first: enqueue value, dequeue"),
    ("multi-register", "values by key: txn [[:read key value] [:write key value] ...]"),
    ("list-append", "lists by key: [[:append key value] [:r key [value ...]] ...]"),
    ("rw-register", "values by key, each written once: [[:w key value] [:r key value] ...]"),
    (
        "closed-predicate",
        "values by key, each changed once: [[:rp predicate {key value ...}] [:insert key value] [:delete key] ...]",
    ),
    ("bank", "accounts whose sum stays: read {account balance ...}, transfer"),
    ("counter", "a sum: add number, read"),
    ("set", "elements: add element, read [element ...] at the end"),
    ("set-full", "elements: add element, read [element ...] all the time"),
    ("queue", "a queue that is drained: enqueue value, dequeue, drain [value ...]"),
    ("unique-ids", "numbers given once: generate"),
    ("long-fork", "keys written once: write [[:w key value]], read [[:r key value] ...] of a group"),
    ("kafka", "a log: send [[:send key [offset value]]], poll [[:poll {key [[offset value] ...]}]]"),
    ("causal", "a register in causal order: read-init, read, write, with :link and :position"),
    ("causal-reverse", "who sees a write sees those before it: write value, read [value ...]"),
    ("monotonic", "numbers that grow: read number, read {key number ...}"),
    ("sessions", "versions that a store tells: read [key version], write [key version]"),
    ("g2", "two inserts of which one is to be refused: insert [key [a b]]"),
];

/// What the text of a history does not tell.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What registers and keys hold before they are first written.
    ///
    /// By default a register starts at `nil` in a log and where some swap expects `nil`, else at `0`, and a key of `kv`
    /// is empty. EDN reads of `nil` are legal in every state, so a history that started at `nil` passes too.
    pub initial: Option<Value>,
    /// How many steps to search before the verdict is unknown; the default takes some seconds.
    pub budget: Option<u64>,
    /// The promise of transactions to hold them to; strict serializability by default.
    pub consistency: Option<Consistency>,
    /// What may be assumed of the order of the values of `rw-register`, beside that they begin with nothing.
    pub assumed: Vec<Assumption>,
    /// What the accounts of `bank` hold together; by default what the first read finds.
    pub total: Option<i64>,
    /// Whether balances of `bank` may be negative.
    pub negative_balances: bool,
    /// How many keys a group of `long-fork` has; by default as many as the first read.
    pub group_size: Option<usize>,
}

/// What may be assumed of the order in which registers held their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assumption {
    /// Who reads a key and writes it overwrote what it read.
    WritesFollowReads,
    /// Each key by itself is sequentially consistent.
    SequentialKeys,
    /// Each key by itself is linearizable.
    LinearizableKeys,
}

impl Assumption {
    /// All of them, and the names that Elle has for them.
    pub const ALL: [(&str, Assumption); 3] = [
        ("wfr-keys", Assumption::WritesFollowReads),
        ("sequential-keys", Assumption::SequentialKeys),
        ("linearizable-keys", Assumption::LinearizableKeys),
    ];
}

/// Judges the history in `text`, a log, EDN or JSON, as one of the [`MODELS`].
///
/// ```
/// let text = "[{:process 0, :type :invoke, :f :write, :value 1}
///              {:process 0, :type :ok,     :f :write, :value 1}
///              {:process 1, :type :invoke, :f :read,  :value nil}
///              {:process 1, :type :ok,     :f :read,  :value 2}]";
/// assert_eq!(
///     sim_check::judge("register", text)?.to_string(),
///     "not linearizable: client-1 read 2 after write 1 was acknowledged; the state could only be 1",
/// );
/// # Ok::<(), sim_check::JudgeError>(())
/// ```
pub fn judge(model: &str, text: &str) -> Result<Verdict, JudgeError> {
    judge_with(model, text, &Options::default())
}

/// Like [`judge()`], with more said about the history.
pub fn judge_with(model: &str, text: &str, options: &Options) -> Result<Verdict, JudgeError> {
    let initial = || options.initial.clone().unwrap_or_else(|| default_initial(text));
    let verdict = match model {
        "cas-register" => {
            let keys = read::cas_registers(text)?;
            let initial = if options.initial.is_none() && swaps_nil(&keys) { Value::Nil } else { initial() };
            options.check_keys(CasRegister::starting_at(initial), &keys)
        }
        "register" => options.check_keys(Register::starting_at(initial()), &read::registers(text)?),
        "kv" => options.check(options.kv(), &read::kv(text)?),
        "mutex" => options.check(Mutex, &read::mutex(text)?),
        "fifo-queue" => options.check(FifoQueue::default(), &read::fifo_queue(text)?),
        "multi-register" => options.check(MultiRegister::starting_at(initial()), &read::multi_register(text)?),
        "list-append" => list_append().model(options.consistency()).judge(&read::transactions(text)?),
        "rw-register" => options.rw_register().judge(&read::transactions(text)?),
        "closed-predicate" => closed_predicate().model(options.consistency()).judge(&read::transactions(text)?),
        other => match options.one_pass(other) {
            Some(check) => judge_events(&*check, &read::events(text)?),
            None => return Err(JudgeError::UnknownModel(other.to_string())),
        },
    };
    Ok(verdict)
}

/// Like [`judge_with`], from a file or whatever can be read; of transactions only a small piece of the text is held
/// at a time.
pub fn judge_from(model: &str, mut source: impl io::Read, options: &Options) -> Result<Verdict, JudgeError> {
    match model {
        "list-append" => Ok(list_append().model(options.consistency()).judge(&read::transactions_from(source)?)),
        "rw-register" => Ok(options.rw_register().judge(&read::transactions_from(source)?)),
        "closed-predicate" => {
            Ok(closed_predicate().model(options.consistency()).judge(&read::transactions_from(source)?))
        }
        _ => {
            let mut bytes = Vec::new();
            source.read_to_end(&mut bytes).map_err(|error| JudgeError::Source(error.to_string()))?;
            let text = String::from_utf8(bytes).map_err(|error| {
                JudgeError::Source(format!("it is not text from byte {} on", error.utf8_error().valid_up_to()))
            })?;
            judge_with(model, &text, options)
        }
    }
}

/// The verdict on all events, or the worst of those on each key.
fn judge_events(check: &dyn Fn() -> Box<dyn Fold>, events: &[ClientEvent]) -> Verdict {
    let Some(keys) = read::by_key(events) else { return fold(&mut *check(), events) };
    let of_key = |(key, events): (&Value, &Vec<ClientEvent>)| match fold(&mut *check(), events) {
        Verdict::Invalid(mut evidence) => {
            evidence.sentence = format!("key {key}: {}", evidence.sentence);
            evidence.key = Some(key.to_string());
            Verdict::Invalid(evidence)
        }
        Verdict::Unknown(why) => Verdict::Unknown(format!("key {key}: {why}")),
        verdict => verdict,
    };
    Verdict::worst(keys.iter().map(of_key))
}

/// Whether some swap expects a register that was never written.
fn swaps_nil(keys: &Keys<CasOp<Value>, RegisterRet<Value>>) -> bool {
    let expects_nil = |op: &CasOp<Value>| matches!(op, CasOp::Cas { from: Value::Nil, .. });
    match keys {
        Keys::One(operations) => operations.iter().any(|operation| expects_nil(&operation.op)),
        Keys::Many(operations) => operations.iter().any(|operation| expects_nil(&operation.op.1)),
    }
}

fn default_initial(text: &str) -> Value {
    match Format::of(text) {
        Format::JepsenLog => Value::Nil,
        Format::Edn | Format::Json => Value::Int(0),
    }
}

impl Options {
    fn check<M: Model>(&self, model: M, operations: &[Operation<M::Op, M::Ret>]) -> Verdict {
        let checker = linearizable(model).minimal();
        match self.budget {
            Some(steps) => checker.budget(steps).check(operations),
            None => checker.check(operations),
        }
    }

    fn check_keys<M: Model>(&self, model: M, keys: &Keys<M::Op, M::Ret>) -> Verdict {
        match keys {
            Keys::One(operations) => self.check(model, operations),
            Keys::Many(operations) => self.check(keyed::<String, M>(model), operations),
        }
    }

    /// The model that is decided in one pass over the events.
    fn one_pass(&self, model: &str) -> Option<Box<dyn Fn() -> Box<dyn Fold> + '_>> {
        fn always<F: Fold + 'static>(check: fn() -> F) -> Box<dyn Fn() -> Box<dyn Fold>> {
            Box::new(move || Box::new(check()))
        }
        Some(match model {
            "bank" => Box::new(|| Box::new(self.bank())),
            "counter" => always(counter),
            "set" => always(set),
            "set-full" => always(set_full),
            "queue" => always(total_queue),
            "unique-ids" => always(unique_ids),
            "long-fork" => Box::new(|| Box::new(self.long_fork())),
            "kafka" => always(kafka),
            "causal" => always(causal),
            "causal-reverse" => always(causal_reverse),
            "monotonic" => always(monotonic),
            "sessions" => always(sessions),
            "g2" => always(g2),
            _ => return None,
        })
    }

    fn bank(&self) -> Bank {
        let bank = if self.negative_balances { bank().negative_balances() } else { bank() };
        self.total.into_iter().fold(bank, Bank::total)
    }

    fn long_fork(&self) -> LongFork {
        self.group_size.into_iter().fold(long_fork(), LongFork::group_size)
    }

    fn rw_register(&self) -> RwRegister {
        let checker = rw_register().model(self.consistency());
        let checker = self.budget.into_iter().fold(checker, RwRegister::budget);
        self.assumed.iter().fold(checker, |checker, assumption| match assumption {
            Assumption::WritesFollowReads => checker.writes_follow_reads(),
            Assumption::SequentialKeys => checker.sequential_keys(),
            Assumption::LinearizableKeys => checker.linearizable_keys(),
        })
    }

    fn consistency(&self) -> Consistency {
        self.consistency.unwrap_or(Consistency::StrictSerializable)
    }

    fn kv(&self) -> Kv {
        self.initial.clone().map_or_else(Kv::default, |value| Kv::starting_at(value.into_text()))
    }
}

/// Why there is no verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgeError {
    /// No model has this name.
    UnknownModel(String),
    /// The text is not a history of the model.
    Read(ReadError),
    /// There is no text.
    Source(String),
}

impl fmt::Display for JudgeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JudgeError::UnknownModel(name) => {
                let known: Vec<&str> = MODELS.iter().map(|(name, _)| *name).collect();
                write!(f, "there is no model {name:?}; there are {}", known.join(", "))
            }
            JudgeError::Read(error) => error.fmt(f),
            JudgeError::Source(problem) => f.write_str(problem),
        }
    }
}

impl Error for JudgeError {}

impl From<SourceError> for JudgeError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Source(error) => JudgeError::Source(error.to_string()),
            SourceError::Text(error) => JudgeError::Read(error),
        }
    }
}

impl From<ReadError> for JudgeError {
    fn from(error: ReadError) -> Self {
        JudgeError::Read(error)
    }
}

#[cfg(test)]
mod checkers;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_model_is_known_and_finds_nothing_in_an_empty_history() {
        for (model, _) in MODELS {
            let verdict = judge(model, "[]").expect(model);
            assert_eq!(verdict.to_string(), "vacuous: no operation was recorded", "{model}");
        }
    }

    #[test]
    fn an_unknown_model_is_answered_with_the_known_ones() {
        let error = judge("stack", "[]").expect_err("there is no stack");
        let known = "there is no model \"stack\"; there are cas-register, register, kv, mutex, fifo-queue, multi-register, list-append";
        assert!(error.to_string().starts_with(known), "{error}");
    }

    #[test]
    fn an_option_changes_where_a_register_starts() {
        let text = "{:process 1 :type :invoke :f :read :value nil} {:process 1 :type :ok :f :read :value 5}";
        assert!(!judge("register", text).expect("a history").is_valid());
        let options = Options { initial: Some(5.into()), ..Options::default() };
        assert!(judge_with("register", text, &options).expect("a history").is_valid());
    }

    #[test]
    fn a_register_starts_at_nil_if_a_swap_expects_that() {
        let swap = |from: &str| {
            let event = |phase| format!("{{:process 1 :type :{phase} :f :cas :value [{from} 1]}}");
            judge("cas-register", &(event("invoke") + &event("ok"))).expect("a history")
        };
        assert!(swap("nil").is_valid() && swap("0").is_valid() && !swap("2").is_valid());
    }

    #[test]
    fn options_say_what_a_history_does_not() {
        let judged = |model: &str, text: &str, options| judge_with(model, text, &options).expect("a history");
        let read = |process: u64, value: &str| format!("{{:process {process} :type :ok :f :read :value {value}}}");
        let balances = read(1, "{0 5 1 5}") + &read(1, "{0 -5 1 15}");
        assert!(!judged("bank", &balances, Options::default()).is_valid());
        assert!(judged("bank", &balances, Options { negative_balances: true, ..Options::default() }).is_valid());
        assert!(!judged("bank", &read(1, "[5 5]"), Options { total: Some(11), ..Options::default() }).is_valid());
        let group = read(1, "[[:r 1 nil] [:r 2 nil]]");
        assert!(judged("long-fork", &group, Options { group_size: Some(2), ..Options::default() }).is_valid());
        assert!(!judged("long-fork", &group, Options { group_size: Some(3), ..Options::default() }).is_valid());
    }

    #[test]
    fn registers_are_held_to_what_is_assumed_of_them() {
        let event = |phase, txn| format!("{{:process 1 :type :{phase} :value {txn}}}");
        let txns = ["[[:w x 1]]", "[[:w x 2]]", "[[:r x 2]]", "[[:r x 1]]"];
        let text: String = txns.map(|txn| event("invoke", txn) + &event("ok", txn)).concat();
        for (name, assumption) in Assumption::ALL {
            let consistency = Some(Consistency::ReadUncommitted);
            let options = Options { assumed: vec![assumption], consistency, ..Options::default() };
            let verdict = judge_with("rw-register", &text, &options).expect("a history");
            assert_eq!(verdict.is_valid(), assumption == Assumption::WritesFollowReads, "{name}: {verdict}");
        }
    }

    #[test]
    fn a_budget_that_is_too_small_gives_unknown_and_not_a_verdict() {
        let text = "{:process 1 :type :invoke :f :acquire} {:process 1 :type :ok :f :acquire}";
        let options = Options { budget: Some(0), ..Options::default() };
        let verdict = judge_with("mutex", text, &options).expect("a history");
        assert!(matches!(verdict, Verdict::Unknown(_)), "{verdict}");
    }
}
