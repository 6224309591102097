//! `cargo sim check`: verdicts on histories that were recorded elsewhere.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sim_check::judge::{Assumption, Options, judge_from};
use sim_check::picture::{Picture, page, terminal};
use sim_check::read::Value;
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

/// Judges every file: a line each, and below it what shows that something is wrong; the exit code of the worst.
pub(crate) fn run(options: &Check) -> Result<u8, Stop> {
    if !MODELS.iter().any(|(name, _)| *name == options.model) {
        return Err(unknown_model(&options.model));
    }
    let settings = settings(options)?;
    let (mut codes, mut pictures) = (Vec::new(), Vec::new());
    for file in &options.files {
        let name = file.to_string_lossy();
        let judged = match options.html {
            Some(_) => draw(file, &options.model, &settings).map(|(verdict, picture)| {
                pictures.push(picture);
                verdict
            }),
            None => open(file).and_then(|source| judge(source, &options.model, &settings)),
        };
        let (line, code) = told(&judged);
        say(&format!("{}: {}\n", inline(&name), inline(&line)));
        if let Ok(verdict) = &judged {
            terminal(verdict).lines().for_each(|line| say(&format!("    {line}\n")));
        }
        codes.push(code);
    }
    if let Some(out) = &options.html {
        let problem = |error| Stop::Usage(format!("the pictures cannot be written to {}: {error}", out.display()));
        fs::write(out, page(&pictures)).map_err(problem)?;
    }
    let worst_first = [UNREADABLE, Outcome::Incorrect.exit_code(), UNKNOWN];
    Ok(worst_first.into_iter().find(|code| codes.contains(code)).unwrap_or(0))
}

fn settings(options: &Check) -> Result<Options, Stop> {
    let initial = options.initial.as_deref().map(Value::parse).transpose();
    Ok(Options {
        initial: initial.map_err(|error| Stop::Usage(format!("--initial is no value: {error}")))?,
        budget: options.budget,
        consistency: options.consistency.as_deref().map(consistency).transpose()?,
        assumed: options.assume.iter().map(|name| assumption(name)).collect::<Result<_, _>>()?,
        total: options.total_amount,
        negative_balances: options.allow_negative_balances,
        group_size: options.group_size,
    })
}

fn judge(source: impl Read, model: &str, options: &Options) -> Result<Verdict, String> {
    judge_from(model, source, options).map_err(|error| error.to_string())
}

/// Longer histories are drawn from their evidence alone.
const DRAWN: usize = 64 << 20;

/// The verdict on a file, and a picture of it.
fn draw(file: &Path, model: &str, options: &Options) -> Result<(Verdict, Picture), String> {
    let mut bytes = Vec::new();
    let mut source = open(file)?;
    let read = source.by_ref().take(DRAWN as u64).read_to_end(&mut bytes);
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    let verdict = judge(bytes.as_slice().chain(source), model, options)?;
    let name = file.to_string_lossy();
    let picture = match std::str::from_utf8(&bytes) {
        Ok(text) if bytes.len() < DRAWN => Picture::of_text(name, text, &verdict),
        _ => Picture::of_evidence(name, &verdict),
    };
    Ok((verdict, picture))
}

/// What is said of a file, and the exit code.
fn told(judged: &Result<Verdict, String>) -> (String, u8) {
    match judged {
        // In a file that another tool wrote, nothing to judge is nothing wrong. A test of ours would fail.
        Ok(Verdict::Vacuous(reason)) => (format!("valid, but nothing was tested: {reason}"), 0),
        Ok(verdict) => (verdict.to_string(), exit_code(verdict)),
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

fn assumption(name: &str) -> Result<Assumption, Stop> {
    let named = Assumption::ALL.iter().find(|(known, _)| *known == name);
    let unknown =
        || format!("there is nothing to assume by the name {}; there are {}", inline(name), list(Assumption::ALL));
    named.map(|(_, assumption)| *assumption).ok_or_else(|| Stop::Usage(unknown()))
}

fn list<T>(named: impl IntoIterator<Item = (&'static str, T)>) -> String {
    named.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

fn consistency(name: &str) -> Result<Consistency, Stop> {
    let known = || list(Consistency::ALL.iter().map(|model| (model.name(), model)));
    let unknown = || format!("there is no consistency model {}; there are {}", inline(name), known());
    Consistency::named(name).ok_or_else(|| Stop::Usage(unknown()))
}

fn unknown_model(name: &str) -> Stop {
    let known: String = MODELS.iter().map(|(name, promise)| format!("\n  {name:<15} {promise}")).collect();
    Stop::Usage(format!("there is no model {}; write `cargo sim check MODEL FILE...` with one of{known}", inline(name)))
}
