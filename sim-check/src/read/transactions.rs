//! Histories of transactions, read event by event into columns.

use std::collections::BTreeMap;
use std::io;

use super::edn::Reader;
use super::event::{Event, Phase};
use super::stream::{self, SourceError};
use super::value::Value;
use super::{Fault, ReadError};
use crate::transactions::{Act, Atom, Draft, Status, Transactions};

const SHAPE: &str = "a transaction is a vector such as [[:append :x 1] [:r :x [1]] [:w :y 2]]";
const PREDICATES: &str = "a predicate is :true, [:= value] or [:mod modulus remainder]";

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
    transactions_from(text.as_bytes()).map_err(|error| match error {
        SourceError::Text(error) => error,
        SourceError::Source(_) => unreachable!("a string can be read, and is text"),
    })
}

/// Like [`transactions`], from a file or whatever can be read; of its text only a small piece is held at a time.
pub fn transactions_from(source: impl io::Read) -> Result<Transactions, SourceError> {
    let mut notes = Notes::default();
    stream::events(source, Notes::read_steps, Notes::note, &mut notes)?;
    Ok(notes.finish())
}

/// The micro-operations of an event, or why they are none. Events of other kinds have values of their own.
type Steps = Option<Result<(), Fault>>;

/// The transactions so far, and those that have not ended.
#[derive(Default)]
struct Notes {
    all: Transactions,
    /// What the event at hand says.
    draft: Draft,
    /// What each process asked for.
    open: BTreeMap<u64, (u32, Draft)>,
    /// Drafts to be used again.
    spare: Vec<Draft>,
}

impl Notes {
    /// Begins or ends a transaction.
    fn note(&mut self, mut event: Event<'_, Steps>) -> Result<(), Fault> {
        if event.phase == Phase::Info && !self.open.contains_key(&event.process) {
            return Ok(());
        }
        let steps = event.value.take().transpose()?;
        if steps.is_some() && self.draft.begins_all() && event.f != "init" {
            return Err(Fault::new(event.offset, "expected a transaction, found a map".to_string(), SHAPE));
        }
        if event.phase == Phase::Invoke {
            let txn = self.all.begin(event.process, event.moment);
            let asked = std::mem::replace(&mut self.draft, self.spare.pop().unwrap_or_default());
            if let Some((left, asked)) = self.open.insert(event.process, (txn, asked)) {
                self.all.commit(left, &asked);
            }
            return Ok(());
        }
        let status = match event.phase {
            // Without its results, all that is known is that it may have been.
            Phase::Ok if steps.is_some() => Status::Ok,
            Phase::Fail => Status::Fail,
            _ => Status::Info,
        };
        match self.open.remove(&event.process) {
            Some((txn, mut asked)) => {
                self.all.end(txn, status, event.moment);
                self.all.commit(txn, if steps.is_some() { &self.draft } else { &asked });
                asked.clear();
                self.spare.push(asked);
            }
            None => return Err(event.uninvoked()),
        }
        Ok(())
    }

    fn finish(mut self) -> Transactions {
        for (txn, asked) in self.open.values() {
            self.all.commit(*txn, asked);
        }
        self.all
    }

    /// Reads the micro-operations that come next. What turns out to be something else is skipped.
    fn read_steps(&mut self, reader: &mut Reader<'_>) -> Result<Steps, Fault> {
        let start = reader.offset();
        self.draft.clear();
        match self.vector(reader) {
            Ok(true) => Ok(Some(Ok(()))),
            Ok(false) => Ok(None),
            Err(fault) => {
                self.draft.clear();
                reader.back_to(start);
                reader.value()?;
                Ok(Some(Err(fault)))
            }
        }
    }

    /// Reads a vector of micro-operations; `false` if there is nil instead.
    fn vector(&mut self, reader: &mut Reader<'_>) -> Result<bool, Fault> {
        let Some(close) = opens(reader)? else {
            let offset = reader.offset();
            return match reader.value()? {
                Value::Nil => Ok(false),
                Value::Map(entries) => {
                    for (key, value) in entries {
                        let (key, value) = (self.all.atom(key_of_map(key)), self.all.atom(value));
                        self.draft.value(value);
                        self.draft.micro(Act::Init, key);
                    }
                    Ok(true)
                }
                other => Err(Fault::new(offset, format!("expected a transaction, found {other}"), SHAPE)),
            };
        };
        while !reader.closes(close)? {
            self.micro(reader)?;
        }
        Ok(true)
    }

    fn micro(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        let offset = reader.offset();
        let Some(close) = opens(reader)? else {
            return Err(reader.fault("expected a micro-operation", SHAPE));
        };
        let name = reader.word()?.unwrap_or_default();
        let key = self.atom(reader)?;
        let act = match name {
            "append" => self.one(reader, Act::Append)?,
            "w" => self.one(reader, Act::Write)?,
            "r" => self.found(reader)?,
            "insert" => self.one(reader, Act::Insert)?,
            "delete" => self.deleted(reader)?,
            "rp" if is_predicate(&self.all.value(key)) => self.selected(reader)?,
            "rp" => return Err(Fault::new(offset, "expected a predicate".to_string(), PREDICATES)),
            _ => {
                let problem = format!("expected :append, :r, :w, :insert, :delete or :rp, found {name:?}");
                return Err(Fault::new(offset, problem, SHAPE));
            }
        };
        self.draft.micro(act, key);
        match reader.closes(close)? {
            true => Ok(()),
            false => Err(reader.fault("expected the end of a micro-operation", SHAPE)),
        }
    }

    /// Skips what may be said of a deletion beside its key: nothing.
    fn deleted(&mut self, reader: &mut Reader<'_>) -> Result<Act, Fault> {
        if !matches!(reader.peek()?, Some(b']' | b')')) {
            reader.value()?;
        }
        Ok(Act::Delete)
    }

    /// What a predicate selected: a map, or nil where that is not known.
    fn selected(&mut self, reader: &mut Reader<'_>) -> Result<Act, Fault> {
        if matches!(reader.peek()?, Some(b']' | b')')) {
            return Ok(Act::ReadWhere);
        }
        let offset = reader.offset();
        match reader.value()? {
            Value::Nil => {}
            Value::Map(entries) => {
                for value in entries.into_iter().flat_map(|(key, value)| [key_of_map(key), value]) {
                    let atom = self.all.atom(value);
                    self.draft.value(atom);
                }
            }
            other => {
                let problem = format!("expected what was selected, as {{key value}}, found {other}");
                return Err(Fault::new(offset, problem, SHAPE));
            }
        }
        Ok(Act::ReadWhere)
    }

    fn one(&mut self, reader: &mut Reader<'_>, act: Act) -> Result<Act, Fault> {
        let atom = self.atom(reader)?;
        self.draft.value(atom);
        Ok(act)
    }

    /// What a read found.
    fn found(&mut self, reader: &mut Reader<'_>) -> Result<Act, Fault> {
        if let Some(close) = opens(reader)? {
            while let Some(number) = reader.int() {
                self.draft.value(Atom::number(number));
            }
            while !reader.closes(close)? {
                self.one(reader, Act::ReadList)?;
            }
            return Ok(Act::ReadList);
        }
        // What is not known of a read may be left out.
        if matches!(reader.peek()?, Some(b']' | b')')) {
            return Ok(Act::ReadNil);
        }
        match reader.value()? {
            Value::Nil => Ok(Act::ReadNil),
            value => {
                let atom = self.all.atom(value);
                self.draft.value(atom);
                Ok(Act::ReadOne)
            }
        }
    }

    fn atom(&mut self, reader: &mut Reader<'_>) -> Result<Atom, Fault> {
        if let Some(number) = reader.int() {
            return Ok(Atom::number(number));
        }
        let value = reader.value()?;
        Ok(self.all.atom(value))
    }
}

/// Whether a value is a predicate that can be evaluated.
fn is_predicate(value: &Value) -> bool {
    match value.members() {
        [] => value.is_named("true") || *value == Value::Bool(true),
        [name, _] => name.is_named("="),
        [name, Value::Int(modulus), Value::Int(_)] => name.is_named("mod") && *modulus != 0,
        _ => false,
    }
}

/// A key of a map. JSON has strings only, where keys of micro-operations are numbers.
fn key_of_map(key: Value) -> Value {
    match &key {
        Value::Str(text) => text.parse().map_or(key, Value::Int),
        _ => key,
    }
}

/// Skips the beginning of a vector or a list, if it comes next; what ends it.
fn opens(reader: &mut Reader<'_>) -> Result<Option<u8>, Fault> {
    let close = match reader.peek()? {
        Some(b'[') => b']',
        Some(b'(') => b')',
        _ => return Ok(None),
    };
    reader.bump();
    Ok(Some(close))
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
        let lists = edn.replace('[', "(").replace(']', ")");
        for text in [edn, json, &lists] {
            let all = transactions(text).expect("a history");
            assert_eq!(all.describe(0), "append 2 to 1, read \"k\": [7 8]");
            assert_eq!((all.len(), all.txn(0).process), (1, 3));
        }
    }

    /// A source that gives a few bytes at a time.
    struct Drip<'t>(&'t [u8], usize);

    impl io::Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let some = self.0.len().min(self.1).min(buffer.len());
            let (now, later) = self.0.split_at(some);
            buffer[..some].copy_from_slice(now);
            self.0 = later;
            Ok(some)
        }
    }

    #[test]
    fn a_history_that_comes_in_pieces_is_the_same_history() {
        let edn = "[ ; é ] a comment {\n{:type :invoke :process 3 :value [[:append \"é\" 12] [:r 7 nil]]}\n
                   {:type :info, :process :nemesis, :value {:cut [1 2]}} #_{:x 1} ; more
                   #jepsen.history.Op{:type :ok :process 3 :value [[:append \"é\" 12] [:r 7 [123 456]]]} ] ; the end";
        let whole = transactions(edn).expect("a history");
        for size in 1..60 {
            let pieces = transactions_from(Drip(edn.as_bytes(), size)).expect("a history");
            assert_eq!((pieces.len(), pieces.describe(0)), (1, whole.describe(0)), "{size} bytes at a time");
            assert_eq!(pieces.txn(0).completed, whole.txn(0).completed);
            let cut = &edn.as_bytes()[..edn.len() - 40];
            let Err(SourceError::Text(error)) = transactions_from(Drip(cut, size)) else { panic!("it is cut") };
            assert_eq!(Some(error), transactions(std::str::from_utf8(cut).expect("text")).err());
        }
        let Err(SourceError::Source(error)) = transactions_from(&b"{:type :invoke \xff"[..]) else { panic!("no text") };
        assert_eq!(error.to_string(), "it is not text from byte 15 on");
    }

    #[test]
    fn what_nobody_asked_for_and_what_a_read_leaves_out_do_not_matter() {
        let all = transactions(
            "{:process 7 :type :info :f :stop :value \"n1\"}
             {:process 3 :type :invoke :value [[:r x]]} {:process 3 :type :ok :value [[:r x [1]]]}",
        );
        assert_eq!(all.expect("a history").describe(0), "read x: [1]");
    }

    #[test]
    fn what_is_no_transaction_is_named_where_it_stands() {
        let error =
            transactions("{:type :invoke, :process 1,\n :value [[:append 1 2] [:remove 1 2]]}").expect_err("no");
        assert_eq!((error.line, error.column), (2, 24));
        assert!(error.problem.contains("remove"), "{error}");
        transactions("{:type :invoke :process 1 :value [[:r 1 [2 ").expect_err("cut");
        transactions(r#"[{"type": "invoke", "value": [["r", 1, [2 "#).expect_err("cut");
        transactions("{:type :ok :process 1 :value []}").expect_err("never invoked");
    }
}
