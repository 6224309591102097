//! Histories of transactions, read event by event into columns.

use std::collections::BTreeMap;

use super::edn::Reader;
use super::event::{Event, Phase};
use super::value::Value;
use super::{Fault, Format, ReadError, jepsen_edn};
use crate::transactions::{Act, Atom, Span, Status, Transactions};

const SHAPE: &str = "a transaction is a vector such as [[:append :x 1] [:r :x [1]] [:w :y 2]]";

/// A history of `[[:append key value] [:r key [value ...]] [:w key value] ...]`, as EDN or JSON.
///
/// `:f` may be missing, and so may `:process` where there is one client only.
///
/// ```
/// let text = r#"[{"type": "invoke", "process": 0, "value": [["append", "x", 1]]},
///                {"type": "ok",     "process": 0, "value": [["append", "x", 1]]}]"#;
/// assert_eq!(sim_check::read::transactions(text)?.len(), 1);
/// # Ok::<(), sim_check::read::ReadError>(())
/// ```
pub fn transactions(text: &str) -> Result<Transactions, ReadError> {
    read(text).map_err(|fault| ReadError::new(text, fault))
}

/// The micro-operations of an event, or why they are none. Events of other kinds have values of their own.
type Steps = Option<Result<Span, Fault>>;

fn read(text: &str) -> Result<Transactions, Fault> {
    let mut all = Transactions::default();
    let mut open: BTreeMap<u64, u32> = BTreeMap::new();
    let mut events = jepsen_edn::Events::lenient(text, Format::of(text))?;
    while let Some(event) = events.next(|reader| steps(reader, &mut all))? {
        note(&mut all, &mut open, event)?;
    }
    Ok(all)
}

/// Begins or ends a transaction.
fn note(all: &mut Transactions, open: &mut BTreeMap<u64, u32>, mut event: Event<'_, Steps>) -> Result<(), Fault> {
    let steps = event.value.take().transpose()?;
    if event.phase == Phase::Invoke {
        let none = (all.mark(), all.mark());
        let txn = all.begin(event.process, event.moment, steps.unwrap_or(none));
        open.insert(event.process, txn);
        return Ok(());
    }
    let status = match event.phase {
        // Without its results, all that is known is that it may have been.
        Phase::Ok if steps.is_some() => Status::Ok,
        Phase::Fail => Status::Fail,
        _ => Status::Info,
    };
    match open.remove(&event.process) {
        Some(txn) => all.end(txn, status, event.moment, steps),
        None if event.phase == Phase::Info => {}
        None => return Err(event.uninvoked()),
    }
    Ok(())
}

/// The micro-operations that come next. What turns out to be something else is skipped.
fn steps(reader: &mut Reader<'_>, all: &mut Transactions) -> Result<Steps, Fault> {
    let (start, mark, pooled) = (reader.offset(), all.mark(), all.pooled());
    match vector(reader, all) {
        Ok(true) => Ok(Some(Ok((mark, all.mark())))),
        Ok(false) => Ok(None),
        Err(fault) => {
            all.forget(mark, pooled);
            reader.back_to(start);
            reader.value()?;
            Ok(Some(Err(fault)))
        }
    }
}

/// Reads a vector of micro-operations; `false` if there is nil instead.
fn vector(reader: &mut Reader<'_>, all: &mut Transactions) -> Result<bool, Fault> {
    if !opens(reader)? {
        let offset = reader.offset();
        return match reader.value()? {
            Value::Nil => Ok(false),
            other => Err(Fault::new(offset, format!("expected a transaction, found {other}"), SHAPE)),
        };
    }
    while !reader.closes(b']')? {
        micro(reader, all)?;
    }
    Ok(true)
}

fn micro(reader: &mut Reader<'_>, all: &mut Transactions) -> Result<(), Fault> {
    let offset = reader.offset();
    if !opens(reader)? {
        return Err(reader.fault("expected a micro-operation", SHAPE));
    }
    let name = reader.word()?.unwrap_or_default();
    let key = atom(reader, all)?;
    let from = all.pooled();
    let act = match name {
        "append" => one(reader, all, Act::Append)?,
        "w" => one(reader, all, Act::Write)?,
        "r" => found(reader, all)?,
        _ => {
            let problem = format!("expected :append, :r or :w, found {name:?}");
            return Err(Fault::new(offset, problem, SHAPE));
        }
    };
    all.micro(act, key, from);
    match reader.closes(b']')? {
        true => Ok(()),
        false => Err(reader.fault("expected the end of a micro-operation", SHAPE)),
    }
}

fn one(reader: &mut Reader<'_>, all: &mut Transactions, act: Act) -> Result<Act, Fault> {
    let atom = atom(reader, all)?;
    all.pool(atom);
    Ok(act)
}

/// What a read found.
fn found(reader: &mut Reader<'_>, all: &mut Transactions) -> Result<Act, Fault> {
    if opens(reader)? {
        while !reader.closes(b']')? {
            one(reader, all, Act::ReadList)?;
        }
        return Ok(Act::ReadList);
    }
    let value = reader.value()?;
    if value == Value::Nil {
        return Ok(Act::ReadNil);
    }
    let atom = all.atom(value);
    all.pool(atom);
    Ok(Act::ReadOne)
}

fn atom(reader: &mut Reader<'_>, all: &mut Transactions) -> Result<Atom, Fault> {
    let value = reader.value()?;
    Ok(all.atom(value))
}

/// Skips the beginning of a vector, if it comes next.
fn opens(reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let opens = reader.peek()? == Some(b'[');
    if opens {
        reader.bump();
    }
    Ok(opens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edn_and_json_say_the_same() {
        let edn = "; a comment\n{:type :invoke :process 3 :value [[:append 1 2] [:r \"k\" nil]]}
                   {:type :info, :process :nemesis, :value {:cut [1 2]}}
                   {:type :ok :process 3 :value [[:append 1 2] [:r \"k\" [7 8]]]}";
        let json = r#"[{"type":"invoke","process":3,"value":[["append",1,2],["r","k",null]]},
                       {"type":"ok","process":3,"value":[["append",1,2],["r","k",[7,8]]],"also":{"a":"\"b:,"}}]"#;
        for text in [edn, json] {
            let all = transactions(text).expect("a history");
            assert_eq!(all.describe(0), "append 2 to 1, read \"k\": [7 8]");
            assert_eq!((all.len(), all.txn(0).process), (1, 3));
        }
    }

    #[test]
    fn what_is_no_transaction_is_named_where_it_stands() {
        let error =
            transactions("{:type :invoke, :process 1,\n :value [[:append 1 2] [:delete 1 2]]}").expect_err("no");
        assert_eq!((error.line, error.column), (2, 24));
        assert!(error.problem.contains("delete"), "{error}");
        transactions("{:type :invoke :process 1 :value [[:r 1 [2 ").expect_err("cut");
        transactions(r#"[{"type": "invoke", "value": [["r", 1, [2 "#).expect_err("cut");
        transactions("{:type :ok :process 1 :value []}").expect_err("never invoked");
    }
}
