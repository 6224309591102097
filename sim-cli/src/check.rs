//! `cargo sim check`: verdicts on histories that were recorded elsewhere.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sim_check::judge::{Options, judge_from};
use sim_check::transactions::Consistency;
use sim_check::{MODELS, Verdict};
use sim_core::Outcome;

use crate::arguments::Check;
use crate::stop::Stop;
use crate::text::{inline, say};

/// The exit code for a verdict that is not known. No run ends like that, so no outcome has it.
const UNKNOWN: u8 = 10;

/// The exit code for a file that is no history.
const UNREADABLE: u8 = 2;

/// Judges every file, a line each; the exit code of the worst.
pub(crate) fn run(options: &Check) -> Result<u8, Stop> {
    if !MODELS.iter().any(|(name, _)| *name == options.model) {
        return Err(unknown_model(&options.model));
    }
    let consistency = options.consistency.as_deref().map(consistency).transpose()?;
    let settings = Options { budget: options.budget, consistency, ..Options::default() };
    let mut codes = Vec::new();
    for file in &options.files {
        let (line, code) = judge_file(file, &options.model, &settings);
        say(&format!("{}: {}\n", inline(&file.to_string_lossy()), inline(&line)));
        codes.push(code);
    }
    let worst_first = [UNREADABLE, Outcome::Incorrect.exit_code(), UNKNOWN];
    Ok(worst_first.into_iter().find(|code| codes.contains(code)).unwrap_or(0))
}

/// What is said of a file, and the exit code.
fn judge_file(file: &Path, model: &str, options: &Options) -> (String, u8) {
    let judge = |source: Box<dyn Read>| judge_from(model, source, options).map_err(|error| error.to_string());
    let verdict = open(file).and_then(judge);
    match verdict {
        // In a file that another tool wrote, nothing to judge is nothing wrong. A test of ours would fail.
        Ok(Verdict::Vacuous(reason)) => (format!("valid, but nothing was tested: {reason}"), 0),
        Ok(verdict) => (verdict.to_string(), exit_code(&verdict)),
        Err(problem) => (format!("no history: {problem}"), UNREADABLE),
    }
}

fn exit_code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Valid | Verdict::Vacuous(_) => Outcome::Passed.exit_code(),
        Verdict::Invalid(_) => Outcome::Incorrect.exit_code(),
        Verdict::Unknown(_) => UNKNOWN,
    }
}

fn open(file: &Path) -> Result<Box<dyn Read>, String> {
    if file.is_dir() {
        return Err("it is a directory; name the files in it".to_string());
    }
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(file).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(Box::new(file))
}

fn consistency(name: &str) -> Result<Consistency, Stop> {
    let known: Vec<&str> = Consistency::ALL.iter().map(|model| model.name()).collect();
    let unknown = || format!("there is no consistency model {}; there are {}", inline(name), known.join(", "));
    Consistency::named(name).ok_or_else(|| Stop::Usage(unknown()))
}

fn unknown_model(name: &str) -> Stop {
    let known: String = MODELS.iter().map(|(name, promise)| format!("\n  {name:<15} {promise}")).collect();
    Stop::Usage(format!("there is no model {}; write `cargo sim check MODEL FILE...` with one of{known}", inline(name)))
}
