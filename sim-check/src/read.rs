//! Histories that other tools wrote: Porcupine's text logs of Jepsen runs, EDN as Jepsen, Knossos, Elle
//! and Porcupine write it, and the same as JSON, which elle-cli reads.
//!
//! EDN may be one vector of maps or one map after another; tags, metadata, comments and commas mean nothing. Keys other
//! than `:process`, `:type`, `:f`, `:value`, `:key` and `:time` are ignored, and so is the process `:nemesis`. Clients whose
//! process is another name get the numbers from 1,000,000,000 on, as they appear. Every map counts as an event, so
//! indices are those of the file. Where all values are pairs `[key value]`, as Jepsen's `independent` makes them, each
//! key is judged apart. Maps and sets are the same if they hold the same, and `2.0`, `2N` and `2M` are `2`.
//!
//! ```
//! use sim_check::read;
//!
//! let operations = read::cas_register(
//!     "{:process 0, :type :invoke, :f :write, :value 3}
//!      {:process 0, :type :ok,     :f :write, :value 3}",
//! )?;
//! assert_eq!(operations.len(), 1);
//!
//! let cut = read::cas_register("{:process 0, :type :inv").unwrap_err();
//! assert_eq!((cut.line, cut.column), (1, 24));
//! # Ok::<(), read::ReadError>(())
//! ```

mod edn;
mod event;
mod independent;
mod jepsen_edn;
mod jepsen_log;
mod stream;
mod transactions;
mod value;
mod vocabulary;

use std::error::Error;
use std::fmt;

pub use event::{ClientEvent, Phase};
pub use independent::by_key;
pub use stream::SourceError;
pub use transactions::{transactions, transactions_from};
pub use value::Value;
pub use vocabulary::{
    FaultEvent, Keys, cas_register, cas_registers, events, events_and_faults, fifo_queue, kv, multi_register, mutex,
    register, registers,
};

use crate::history::Operation;

/// The operations in a text, in the order of their invocation, or why it has none.
pub type Operations<Op, Ret> = Result<Vec<Operation<Op, Ret>>, ReadError>;

/// How a history is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line an event, as Jepsen once logged them: `INFO  jepsen.util - 3  :invoke  :read  nil`.
    ///
    /// A compare-and-swap that ends in `:fail` took place and found another value; a read of `nil`
    /// found the register empty.
    JepsenLog,
    /// One EDN map an event.
    ///
    /// An operation that ends in `:fail` did not happen; a read of `nil` may have found anything.
    Edn,
    /// One JSON object an event, with the same keys. Everything else is as in EDN.
    Json,
}

impl Format {
    /// The format that `text` is written in: JSON or EDN if it begins like one, else a log.
    pub fn of(text: &str) -> Self {
        let text = text.trim_start_matches(edn::BYTE_ORDER_MARK);
        let begins_like_edn = |line: &str| line.starts_with([';', '[', '(', '{', '#', '^', ',']);
        let inside = text.trim_start().trim_start_matches('[').trim_start();
        if inside.strip_prefix('{').is_some_and(|object| object.trim_start().starts_with('"')) {
            return Format::Json;
        }
        match text.lines().map(str::trim_start).find(|line| !line.is_empty()) {
            Some(line) if begins_like_edn(line) => Format::Edn,
            _ => Format::JepsenLog,
        }
    }
}

/// Why a text is not a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The line, counted from 1.
    pub line: usize,
    /// The character in that line, counted from 1.
    pub column: usize,
    /// What was expected there and what was found.
    pub problem: String,
    /// What to do about it.
    pub advice: &'static str,
}

impl ReadError {
    fn new(text: &str, fault: Fault) -> Self {
        let before = text.get(..fault.offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ReadError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            problem: fault.problem,
            advice: fault.advice,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ReadError { line, column, problem, advice } = self;
        write!(f, "line {line}, column {column}: {problem}; {advice}")
    }
}

impl Error for ReadError {}

/// A [`ReadError`] before its line and column are known.
#[derive(Debug)]
struct Fault {
    offset: usize,
    problem: String,
    advice: &'static str,
}

impl Fault {
    fn new(offset: usize, problem: impl Into<String>, advice: &'static str) -> Self {
        Fault { offset, problem: problem.into(), advice }
    }
}

const CUT: &str = "the history seems to be cut off: get the rest, or remove its unfinished end";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats_are_told_apart_by_how_they_begin() {
        assert_eq!(Format::of("\n ; made by hand\n[{}]"), Format::Edn);
        assert_eq!(Format::of("{:process 1"), Format::Edn);
        assert_eq!(Format::of("\u{feff}[{\"process\": 1"), Format::Json);
        assert_eq!(Format::of("\n[\n { \"process\": 1"), Format::Json);
        assert_eq!(Format::of("INFO  jepsen.util - 1\t:invoke"), Format::JepsenLog);
        assert_eq!(Format::of(""), Format::JepsenLog);
    }

    fn read_with_all(text: &str) {
        let _ = cas_register(text);
        let _ = register(text);
        let _ = kv(text);
        let _ = mutex(text);
        let _ = multi_register(text);
        let _ = transactions(text);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            read_with_all(&String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn no_jumble_of_tokens_makes_a_reader_panic(
            tokens in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", "(", ")", "#{", "#_", "#t ", "\"", "\\", ";", "\n", "é", "^",
                    "INFO  jepsen.util - ", "1", "99999999999999999999", "-", "nil", " ", "\t",
                    ":process ", ":type ", ":invoke ", ":ok ", ":fail ", ":info ", ":f ", ":value ",
                    ":key ", ":append ", ":r ", "\"value\"", ":read ", ":write ", ":cas ", ":txn ", ":acquire ", ":timed-out",
                ]),
                0..60,
            ),
        ) {
            read_with_all(&tokens.concat());
        }
    }

    #[test]
    fn nesting_without_end_is_an_error_and_not_a_stack_overflow() {
        let deep = format!("{{:value {}", "[".repeat(100_000));
        let error = cas_register(&deep).expect_err("nothing nests that deep");
        assert!(error.to_string().contains("nested"), "{error}");
        let discards = "#_".repeat(100_000);
        cas_register(&discards).expect_err("nothing to discard");
    }
}
