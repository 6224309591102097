//! `cargo sim`: sweeps over seeds, replays, and verdicts on history files.
//!
//! | room | what is in it |
//! |---|---|
//! | `arguments` | what can be typed, and the exit codes |
//! | `build` | has Cargo build the tests, and finds the executables |
//! | `catalog` | the simulated tests that they have, and how people name them |
//! | `host` | the processes that serve runs, for one job |
//! | `seeds` | which seeds a test gets, and the order in which a sweep hands them out |
//! | `results` | the JSON lines of a sweep, and how it is continued |
//! | `commit` | which program the results belong to |
//! | `tally` | failures in groups, expectations, marks: what a sweep found |
//! | `meter` | the progress bar |
//! | `sweep`, `replay`, `list`, `check` | the commands |
//! | `environment`, `stop`, `text` | variables, errors, words on a terminal |
//!
//! Start reading at `sweep.rs`. Nothing is simulated in this process: every run is made by a child of a child, so an
//! abort, a hang or an exhausted memory is one line of the results.

#![expect(clippy::disallowed_types, reason = "it tells people how fast it is, outside of every simulation")]

mod arguments;
mod build;
mod catalog;
mod check;
mod commit;
mod host;
mod list;
mod meter;
mod replay;
mod results;
mod seeds;
mod stop;
mod sweep;
mod tally;
mod text;

use std::process::ExitCode;

use clap::Parser;

use crate::arguments::{Arguments, Command};

fn main() -> ExitCode {
    // As a subcommand of Cargo it is called `cargo-sim sim sweep`.
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|word| word == "sim") {
        words.remove(1);
    }
    let done = match Arguments::parse_from(words).command {
        Command::Sweep(options) => sweep::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::List(options) => list::run(&options),
        Command::Check(options) => check::run(&options),
    };
    ExitCode::from(done.unwrap_or_else(|stop| {
        text::remark(&format!("error: {stop}"));
        stop.exit_code()
    }))
}
