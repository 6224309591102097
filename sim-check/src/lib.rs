//! Histories and verdicts: record what clients saw, then decide whether it can be explained.
//!
//! This crate knows no simulator. A [`History`] is filled by whoever runs operations, a [`Checker`] turns
//! its operations into a [`Verdict`], and [`judge()`] does the same for history files that other tools wrote.
//!
//! | module | what it is for |
//! |---|---|
//! | [`history`] | operations as clients saw them: invoked, then ok, failed, or never heard of again |
//! | [`model`] | what the system promises to be: a register, a key-value store, or a model of your own |
//! | [`mod@linearizable`] | the search for an order of the operations that the model accepts |
//! | [`transactions`] | which isolation level transactions got, and the anomalies that say so |
//! | [`folds`] | banks, counters, sets, queues, unique numbers: one pass, and the first event that breaks it |
//! | [`verdict`] | the answer, with evidence |
//! | [`read`] | Porcupine logs, Jepsen EDN and the same as JSON |
//! | [`picture`] | a page with lanes and graphs, and a timeline for a terminal |
//! | [`online`] | checks while a history grows |
//! | [`mod@sequential`] | one order that all processes agree on, without real time |
//! | [`mod@write`] | EDN and JSON lines for other tools |
//! | [`mod@judge`] | from the name of a model and the text of a file to a verdict |
//!
//! Everything here is a pure function of the history: no clock, no thread, no random hasher. The same
//! history gets the same verdict, the same evidence and the same number of steps on every machine.
//!
//! ```
//! use sim_check::{History, linearizable};
//! use sim_check::model::{Register, RegisterOp, RegisterRet};
//!
//! let history = History::new();
//! let write = history.invoke_at(1, RegisterOp::Write(9), 0);
//! write.ok_at(RegisterRet::Written, 10);
//! let read = history.invoke_at(2, RegisterOp::Read, 20);
//! read.ok_at(RegisterRet::Value(7), 30);
//!
//! let verdict = history.verdict(&linearizable(Register::<i64>::default()));
//! assert_eq!(
//!     verdict.to_string(),
//!     "not linearizable: client-2 read 7 after write 9 was acknowledged; the state could only be 9",
//! );
//! ```

#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
mod dice;
pub mod folds;
pub mod history;
pub mod judge;
pub mod linearizable;
pub mod model;
pub mod online;
pub mod picture;
pub mod read;
pub mod sequential;
pub mod transactions;
pub mod verdict;
pub mod write;

pub use history::{Call, History, Moment, Operation, Outcome};
pub use judge::{JudgeError, MODELS, judge};
pub use linearizable::{Linearizable, linearizable};
pub use model::Model;
pub use sequential::{Sequential, sequential};
pub use verdict::{Checker, Evidence, Tie, Verdict, Witness};
