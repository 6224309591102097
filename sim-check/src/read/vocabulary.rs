//! What the words of a history mean to each model.

use super::event::{ClientEvent, Event, Pair, Phase, pairs};
use super::independent::is_independent;
use super::value::Value;
use super::{Fault, Format, Operations, ReadError, jepsen_edn, jepsen_log};
use crate::history::Operation;
use crate::model::{CasOp, KvOp, KvRet, Micro, MutexOp, QueueOp, QueueRet, RegisterOp, RegisterRet};

/// A history of a register with `:read`, `:write` and `:cas [from to]`.
pub fn cas_register(text: &str) -> Operations<CasOp<Value>, RegisterRet<Value>> {
    operations(text, cas_register_operation)
}

/// A history of one register or of many, with `:read`, `:write` and `:cas [from to]`.
pub fn cas_registers(text: &str) -> Result<Keys<CasOp<Value>, RegisterRet<Value>>, ReadError> {
    keys(text, cas_register_operation)
}

fn cas_register_operation(pair: &Pair<'_>) -> Result<Operation<CasOp<Value>, RegisterRet<Value>>, Fault> {
    match pair.invoke.f {
        "read" => Ok(pair.operation(CasOp::Read, read(pair))),
        "write" => Ok(pair.operation(CasOp::Write(pair.asked().clone()), written(pair))),
        "cas" => Ok(pair.operation(cas(pair)?, swapped(pair))),
        _ => Err(unknown(pair, ":read, :write or :cas")),
    }
}

/// A history of a register with `:read` and `:write`.
pub fn register(text: &str) -> Operations<RegisterOp<Value>, RegisterRet<Value>> {
    operations(text, register_operation)
}

/// A history of one register or of many, with `:read` and `:write`.
pub fn registers(text: &str) -> Result<Keys<RegisterOp<Value>, RegisterRet<Value>>, ReadError> {
    keys(text, register_operation)
}

fn register_operation(pair: &Pair<'_>) -> Result<Operation<RegisterOp<Value>, RegisterRet<Value>>, Fault> {
    match pair.invoke.f {
        "read" => Ok(pair.operation(RegisterOp::Read, read(pair))),
        "write" => Ok(pair.operation(RegisterOp::Write(pair.asked().clone()), written(pair))),
        _ => Err(unknown(pair, ":read or :write")),
    }
}

/// A history of a store of strings with `:get` (or `:read`), `:put` (or `:write`) and `:append`; the key is under `:key`, or all values are
/// `[key value]`.
pub fn kv(text: &str) -> Operations<KvOp, KvRet> {
    let name_keys = |events: &mut [Event<'_>]| {
        if events.iter().all(|event| event.key == Value::Nil && event.value.members().len() == 2) {
            events.iter_mut().for_each(unwrap);
        }
    };
    operations_of(text, name_keys, |pair| {
        let key = key(&pair.invoke)?;
        let value = || pair.asked().clone().into_text();
        let found = || pair.answer().map(|value| KvRet::Value(value.clone().into_text()));
        let done = pair.ended(Phase::Ok).then_some(KvRet::Written);
        match pair.invoke.f {
            "get" | "read" => Ok(pair.operation(KvOp::Get(key), found())),
            "put" | "write" => Ok(pair.operation(KvOp::Put(key, value()), done)),
            "append" => Ok(pair.operation(KvOp::Append(key, value()), done)),
            _ => Err(unknown(pair, ":get, :put or :append")),
        }
    })
}

/// A history of a lock with `:acquire` and `:release`.
pub fn mutex(text: &str) -> Operations<MutexOp, ()> {
    operations(text, |pair| {
        let done = pair.ended(Phase::Ok).then_some(());
        match pair.invoke.f {
            "acquire" => Ok(pair.operation(MutexOp::Acquire, done)),
            "release" => Ok(pair.operation(MutexOp::Release, done)),
            _ => Err(unknown(pair, ":acquire or :release")),
        }
    })
}

/// A history of a queue with `:enqueue` and `:dequeue`, which takes `nil` from a queue that is empty.
pub fn fifo_queue(text: &str) -> Operations<QueueOp<Value>, QueueRet<Value>> {
    operations(text, |pair| {
        let ok = pair.end.as_ref().filter(|end| end.phase == Phase::Ok);
        let taken = |end: &Event<'_>| QueueRet::Dequeued(Some(end.value.clone()).filter(|value| *value != Value::Nil));
        match pair.invoke.f {
            "enqueue" => {
                Ok(pair.operation(QueueOp::Enqueue(pair.invoke.value.clone()), ok.map(|_| QueueRet::Enqueued)))
            }
            "dequeue" => Ok(pair.operation(QueueOp::Dequeue, ok.map(taken))),
            _ => Err(unknown(pair, ":enqueue or :dequeue")),
        }
    })
}

/// A history of registers with `:txn [[:read key value] [:write key value] ...]`; reads and writes alone may be called
/// `:read` and `:write`.
pub fn multi_register(text: &str) -> Operations<Vec<Micro<Value, Value>>, ()> {
    operations(text, |pair| {
        if !matches!(pair.invoke.f, "txn" | "read" | "write") {
            return Err(unknown(pair, ":txn"));
        }
        let event = pair.end.as_ref().filter(|end| end.phase == Phase::Ok);
        let done = event.map(|_| ());
        Ok(pair.operation(txn(event.unwrap_or(&pair.invoke))?, done))
    })
}

/// The events of all clients, whatever they mean. An event without `:process` is of process 0.
pub fn events(text: &str) -> Result<Vec<ClientEvent>, ReadError> {
    let events = all_events(text, true).map_err(|fault| ReadError::new(text, fault))?;
    Ok(events.into_iter().map(client_event).collect())
}

/// The events of all clients, and what a nemesis did.
pub fn events_and_faults(text: &str) -> Result<(Vec<ClientEvent>, Vec<FaultEvent>), ReadError> {
    let format = Format::of(text);
    if format == Format::JepsenLog {
        return Ok((events(text)?, Vec::new()));
    }
    let all = jepsen_edn::events_and_faults(text, format).map_err(|fault| ReadError::new(text, fault))?;
    let (faults, clients): (Vec<_>, Vec<_>) = all.into_iter().partition(|event| event.process == jepsen_edn::NEMESIS);
    let fault = |event: Event<'_>| FaultEvent { f: event.f.to_string(), value: event.value, moment: event.moment };
    Ok((clients.into_iter().map(client_event).collect(), faults.into_iter().map(fault).collect()))
}

/// What a nemesis did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultEvent {
    /// The name of it.
    pub f: String,
    /// To whom, or how.
    pub value: Value,
    /// When.
    pub moment: crate::history::Moment,
}

fn client_event(event: Event<'_>) -> ClientEvent {
    ClientEvent {
        process: event.process,
        phase: event.phase,
        f: event.f.to_string(),
        value: event.value,
        also: event.also.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
        moment: event.moment,
    }
}

fn all_events(text: &str, lenient: bool) -> Result<Vec<Event<'_>>, Fault> {
    match Format::of(text) {
        Format::JepsenLog => jepsen_log::events(text),
        format => jepsen_edn::events(text, format, lenient),
    }
}

/// The operations of a history of one object, or of many that are told apart by a key.
#[derive(Clone, Debug)]
pub enum Keys<Op, Ret> {
    /// Of one object.
    One(Vec<Operation<Op, Ret>>),
    /// Of many: their values are `[key value]`, as Jepsen's `independent` writes them.
    Many(Vec<Operation<(String, Op), Ret>>),
}

fn keys<Op, Ret>(
    text: &str,
    translate: impl Fn(&Pair<'_>) -> Result<Operation<Op, Ret>, Fault>,
) -> Result<Keys<Op, Ret>, ReadError> {
    let read = || {
        let mut events = all_events(text, false)?;
        let many = is_independent(events.iter().map(|event| (event.f, &event.value)));
        if many {
            events.iter_mut().for_each(unwrap);
        }
        let pairs = pairs(Format::of(text), events)?;
        if !many {
            return Ok(Keys::One(pairs.iter().map(translate).collect::<Result<_, _>>()?));
        }
        let keyed = |pair: &Pair<'_>| {
            let Operation { process, op, invoked, outcome } = translate(pair)?;
            Ok(Operation { process, op: (pair.invoke.key.to_string(), op), invoked, outcome })
        };
        Ok(Keys::Many(pairs.iter().map(keyed).collect::<Result<_, _>>()?))
    };
    read().map_err(|fault| ReadError::new(text, fault))
}

/// Takes `[key value]` apart.
fn unwrap(event: &mut Event<'_>) {
    if let Value::List(pair) = &mut event.value {
        let value = pair.pop().unwrap_or_default();
        event.key = pair.pop().unwrap_or_default();
        event.value = value;
    }
}

fn operations<Op, Ret>(
    text: &str,
    translate: impl Fn(&Pair<'_>) -> Result<Operation<Op, Ret>, Fault>,
) -> Operations<Op, Ret> {
    operations_of(text, |_| {}, translate)
}

/// The same of events that are prepared first.
fn operations_of<Op, Ret>(
    text: &str,
    prepare: impl Fn(&mut [Event<'_>]),
    translate: impl Fn(&Pair<'_>) -> Result<Operation<Op, Ret>, Fault>,
) -> Operations<Op, Ret> {
    let pairs = all_events(text, false).and_then(|mut events| {
        prepare(&mut events);
        pairs(Format::of(text), events)
    });
    let translated = pairs.and_then(|pairs| pairs.iter().map(translate).collect());
    translated.map_err(|fault| ReadError::new(text, fault))
}

fn read(pair: &Pair<'_>) -> Option<RegisterRet<Value>> {
    pair.answer().cloned().map(RegisterRet::Value)
}

fn written(pair: &Pair<'_>) -> Option<RegisterRet<Value>> {
    pair.ended(Phase::Ok).then_some(RegisterRet::Written)
}

fn swapped(pair: &Pair<'_>) -> Option<RegisterRet<Value>> {
    match pair.end.as_ref()?.phase {
        Phase::Ok => Some(RegisterRet::Swapped(true)),
        Phase::Fail if pair.format == Format::JepsenLog => Some(RegisterRet::Swapped(false)),
        _ => None,
    }
}

fn key(invoke: &Event<'_>) -> Result<String, Fault> {
    match &invoke.key {
        Value::Nil => Err(Fault::new(
            invoke.offset,
            "this operation has no :key",
            "every operation of a key-value store names its key, as in :key \"a\"",
        )),
        key => Ok(key.clone().into_text()),
    }
}

fn cas(pair: &Pair<'_>) -> Result<CasOp<Value>, Fault> {
    match pair.asked() {
        Value::List(values) if values.len() == 2 => Ok(CasOp::Cas { from: values[0].clone(), to: values[1].clone() }),
        other => Err(Fault::new(
            pair.invoke.offset,
            format!("expected [from to] as the value of :cas, found {other}"),
            "write the value expected and the value that replaces it",
        )),
    }
}

fn txn(event: &Event<'_>) -> Result<Vec<Micro<Value, Value>>, Fault> {
    let micros = match &event.value {
        Value::List(members) => members.iter().map(micro).collect(),
        _ => None,
    };
    micros.ok_or_else(|| {
        Fault::new(
            event.offset,
            format!("expected [[:read key value] ...] as the value of :{}, found {}", event.f, event.value),
            "every member is a vector of :read or :write, a key and a value",
        )
    })
}

fn micro(value: &Value) -> Option<Micro<Value, Value>> {
    let reads = |f: &Value| f.is_named("read") || f.is_named("r");
    let Value::List(parts) = value else {
        return None;
    };
    match parts.as_slice() {
        [f, key, Value::Nil] if reads(f) => Some(Micro::Read(key.clone(), None)),
        [f, key, value] if reads(f) => Some(Micro::Read(key.clone(), Some(value.clone()))),
        [f, key, value] if f.is_named("write") || f.is_named("w") => Some(Micro::Write(key.clone(), value.clone())),
        _ => None,
    }
}

fn unknown(pair: &Pair<'_>, known: &str) -> Fault {
    Fault::new(
        pair.invoke.offset,
        format!("expected {known}, found :{}", pair.invoke.f),
        "this looks like the history of another model",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    const LOG: &str = "INFO  jepsen.util - 1\t:invoke\t:cas\t[1 2]\n\
                       INFO  jepsen.core - starting\n\
                       INFO  jepsen.util - 1\t:fail\t:cas\t[1 2]\n\
                       INFO  jepsen.util - :nemesis\t:info\t:stop\tnil\n";

    #[test]
    fn a_failed_swap_happened_in_a_log_and_did_not_in_edn() {
        let logged = cas_register(LOG).expect("the log is whole");
        assert_eq!(logged[0].acknowledged().map(|(ret, _)| ret), Some(&RegisterRet::Swapped(false)));

        let edn = "{:process 1 :type :invoke :f :cas :value [1 2]}
                   {:process 1 :type :fail :f :cas :value [1 2]}";
        assert!(cas_register(edn).expect("the history is whole")[0].failed());
    }

    #[test]
    fn a_read_of_nil_found_nothing_in_a_log_and_anything_in_edn() {
        let log = "INFO  jepsen.util - 1\t:invoke\t:read\tnil\nINFO  jepsen.util - 1\t:ok\t:read\tnil";
        let ret = RegisterRet::Value(Value::Nil);
        assert_eq!(register(log).expect("whole")[0].acknowledged().map(|(ret, _)| ret), Some(&ret));

        let edn = "[{:process 1 :type :invoke :f :read :value nil}
                    {:process 1 :type :ok :f :read :value nil}]";
        assert!(matches!(register(edn).expect("whole")[0].outcome, Outcome::Info { .. }));
    }

    #[test]
    fn what_was_written_is_what_the_acknowledgement_says() {
        let edn = "{:process 1 :type :invoke :f :write :value 1} {:process 1 :type :ok :f :write :value 2}
                   {:process 1 :type :invoke :f :write :value 3} {:process 1 :type :ok :f :write}";
        let asked: Vec<_> = register(edn).expect("whole").into_iter().map(|operation| operation.op).collect();
        assert_eq!(asked, [RegisterOp::Write(2.into()), RegisterOp::Write(3.into())]);
    }

    #[test]
    fn many_registers_are_known_by_their_reads_or_their_swaps() {
        let history = |f: &str, value: &str| {
            format!(
                "{{:process 1 :type :invoke :f :{f} :value {value}}} {{:process 1 :type :ok :f :{f} :value {value}}}"
            )
        };
        let many = |text: &str| matches!(cas_registers(text).expect("whole"), Keys::Many(_));
        assert!(many(&history("read", "[x nil]")) && many(&history("cas", "[x [1 2]]")));
        assert!(!many(&history("cas", "[1 2]")) && !many(&history("write", "[x 1]")));
        let pairs = kv(&history("put", "[x \"a\"]")).expect("whole");
        assert_eq!(pairs[0].op, KvOp::Put("x".into(), "a".into()));
        assert_eq!(kv(&history("write", "[x 7]")).expect("whole")[0].op, KvOp::Put("x".into(), "7".into()));
        let alone = multi_register(&history("write", "[[:write x 1]]")).expect("whole");
        assert_eq!(alone[0].op, [Micro::Write(Value::Other("x".into()), 1.into())]);
    }

    #[test]
    fn clients_may_have_names_and_a_nemesis_is_none() {
        let edn = "{:process \"b\" :type :invoke :f :read} {:process :nemesis :type :invoke :f :stop}
                   {:process :c1 :type :invoke :f :read} {:process \"7\" :type :invoke :f :read}
                   {:process \"b\" :type :ok :f :read :value 1} {:process 7 :type :ok :f :read :value 2}";
        let clients = |text: &str| -> Vec<u64> {
            register(text).expect("whole").iter().map(|operation| operation.process).collect()
        };
        assert_eq!(clients(edn), [1_000_000_000, 1_000_000_001, 7]);
        let json = r#"{"process":"a","type":":invoke","f":":read"} {"process":"nemesis","type":"info","f":"x"}"#;
        assert_eq!(clients(json), [1_000_000_000]);
    }

    #[test]
    fn a_log_cut_in_a_line_is_an_error_there() {
        for end in ["INFO  jepsen.ut", "INFO  jepsen.util - 1\t:in", "INFO  jepsen.util - 1\t:ok\t:cas\t[1"] {
            let error = cas_register(&format!("{LOG}{end}")).expect_err(end);
            assert_eq!(error.line, 5, "{error}");
        }
    }

    #[test]
    fn errors_say_where_and_what_to_do() {
        let wrong_model = "[{:process :nemesis :type :info :f :stop}\n {:process 3, :type :invoke, :f :txn}]";
        assert_eq!(
            cas_register(wrong_model).expect_err("not a register").to_string(),
            "line 2, column 2: expected :read, :write or :cas, found :txn; \
             this looks like the history of another model"
        );
        assert_eq!(
            register("some text").expect_err("no history").problem,
            "this is neither EDN nor a log with lines of jepsen.util"
        );
        let headless = "{:process 3, :type :ok, :f :read, :value 1}";
        assert_eq!(
            cas_register(headless).expect_err("no invocation").to_string(),
            "line 1, column 1: process 3 completes an operation that it never invoked; \
             the beginning of the history seems to be missing"
        );
    }
}
