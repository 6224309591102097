//! The JSON lines of a sweep, and how it is continued.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sim_core::Report;

use crate::stop::Stop;

/// A finished seed. Lines of several sweeps can be thrown together: each says what it is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The package of the test.
    pub(crate) package: String,
    /// The target of the test, such as `replicated_kv` for `tests/replicated_kv.rs`.
    pub(crate) target: String,
    /// The run, without its events; with what the program printed only where no earlier failure of the kind was shorter.
    #[serde(flatten)]
    pub(crate) report: Report,
    /// The program; see [`crate::commit`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// Real milliseconds.
    pub(crate) wall_ms: u64,
    /// What failures of one kind have in common, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<String>,
    /// Whether it passed, or ended as the test expects.
    pub(crate) expected: bool,
    /// Whether two runs of it were compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) checked: bool,
}

/// The file `results.jsonl`. A line is in the hands of the operating system as soon as its seed is done.
pub(crate) struct Results {
    path: PathBuf,
    file: File,
}

impl Results {
    /// Opens or makes the file in `directory`, and reads what is in it. A last line that was cut off when its sweep
    /// was killed is removed; its seed is run again.
    pub(crate) fn open(directory: &Path) -> Result<(Results, Vec<Line>), Stop> {
        let path = directory.join("results.jsonl");
        let unusable = |error: io::Error| {
            Stop::Usage(format!("cannot use {}: {error}; name another directory with --out", path.display()))
        };
        fs::create_dir_all(directory).map_err(unusable)?;
        let mut file = File::options().read(true).append(true).create(true).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(in_use(&path)),
            // Where the file system has no locks, there are none.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unusable)?;
        let last = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole = if begins_like_a_line(&bytes[last..]) { last } else { bytes.len() };
        let lines = parse(&path, &bytes[..whole])?;
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(unusable)?;
        Ok((Results { path, file }, lines))
    }

    /// Adds a finished seed.
    pub(crate) fn append(&mut self, line: &Line) -> Result<(), Stop> {
        let written = serde_json::to_string(line).map_err(io::Error::from);
        let written = written.and_then(|text| self.file.write_all(format!("{text}\n").as_bytes()));
        written.map_err(|error| {
            let path = self.path.display();
            Stop::Internal(format!("cannot write to {path}: {error}; the same command with --out continues"))
        })
    }
}

/// Whether this may be what is left of a [`Line`]; else the file is somebody else's.
fn begins_like_a_line(rest: &[u8]) -> bool {
    const BEGIN: &[u8] = br#"{"package":""#;
    rest.starts_with(BEGIN) || BEGIN.starts_with(rest)
}

fn in_use(path: &Path) -> Stop {
    Stop::Usage(format!("another sweep is writing {}: wait for it, or name another directory", path.display()))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Line>, Stop> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').enumerate();
    let parsed = lines.map(|(index, line)| {
        serde_json::from_slice(line).map_err(|error| {
            let (path, number, column) = (path.display(), index + 1, error.column());
            let problem = error.to_string();
            let problem = problem.split(" at line ").next().unwrap_or_default();
            Stop::Usage(format!(
                "{path}, line {number}, column {column} is no result of a sweep: {problem}; remove the line (its seed \
                 is run again), or name another directory with --out"
            ))
        })
    });
    parsed.collect()
}

/// Makes the next of the numbered directories in `parent`.
pub(crate) fn numbered_directory(parent: &Path) -> Result<PathBuf, Stop> {
    let unusable = |error: io::Error| {
        Stop::Usage(format!("cannot make a directory in {}: {error}; name one with --out", parent.display()))
    };
    fs::create_dir_all(parent).map_err(unusable)?;
    let names = fs::read_dir(parent).map_err(unusable)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let last: u32 = names.filter_map(|name| name.parse().ok()).max().unwrap_or(0);
    for number in last.saturating_add(1).. {
        let directory = parent.join(format!("{number:04}"));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            // Another sweep was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(unusable(error)),
        }
    }
    Err(Stop::Internal(format!("{} has no free number", parent.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sim_core::{Failure, Outcome, Seed};

    /// A directory that is gone with its test.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("cargo-sim-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).expect("a temporary directory");
            Scratch(directory)
        }

        fn file(&self) -> PathBuf {
            self.0.join("results.jsonl")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn line(seed: u64) -> Line {
        Line {
            package: "p".into(),
            target: "t".into(),
            report: Report::lost("a::b", Seed(seed), Failure::new(Outcome::Incorrect, "two\nlines")),
            commit: None,
            wall_ms: 3,
            signature: Some("0x1".into()),
            expected: false,
            checked: false,
        }
    }

    fn written(scratch: &Scratch, seeds: &[u64]) {
        let (mut results, _) = Results::open(&scratch.0).expect("a file");
        seeds.iter().for_each(|seed| results.append(&line(*seed)).expect("room"));
    }

    #[test]
    fn what_was_written_is_there_when_the_sweep_continues() {
        let scratch = Scratch::new("continue");
        written(&scratch, &[1, 2]);
        written(&scratch, &[u64::MAX]);
        let (_, lines) = Results::open(&scratch.0).expect("a file");
        assert_eq!(lines, [line(1), line(2), line(u64::MAX)]);
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_removed() {
        let scratch = Scratch::new("cut");
        written(&scratch, &[1, 2]);
        let whole = fs::read(scratch.file()).expect("a file");
        let first = whole.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
        for length in [first + 1, first + 20, whole.len() - 1] {
            fs::write(scratch.file(), &whole[..length]).expect("room");
            written(&scratch, &[3]);
            let (_, lines) = Results::open(&scratch.0).expect("a file");
            assert_eq!(lines, [line(1), line(3)], "cut to {length}");
        }
    }

    #[test]
    fn any_other_broken_line_is_named_and_left_alone() {
        let scratch = Scratch::new("broken");
        written(&scratch, &[1, 2]);
        let broken = fs::read_to_string(scratch.file()).expect("a file").replace("0x1\",\"outcome", "1\",\"outcome");
        fs::write(scratch.file(), &broken).expect("room");
        let message = Results::open(&scratch.0).err().expect("a broken line").to_string();
        assert!(message.contains("results.jsonl, line 1, column"), "{message}");
        assert!(message.contains("expected 0x and hex digits; remove the line"), "{message}");
        assert_eq!(fs::read_to_string(scratch.file()).expect("a file"), broken);
    }

    #[test]
    fn what_is_not_of_a_sweep_is_not_cut() {
        let scratch = Scratch::new("foreign");
        fs::write(scratch.file(), "a diary").expect("room");
        let message = Results::open(&scratch.0).err().expect("no results").to_string();
        assert!(message.contains("results.jsonl, line 1, column 1 is no result"), "{message}");
        assert_eq!(fs::read_to_string(scratch.file()).expect("a file"), "a diary");
    }

    #[test]
    fn two_sweeps_do_not_share_a_file() {
        let scratch = Scratch::new("shared");
        let (first, _) = Results::open(&scratch.0).expect("a file");
        let message = Results::open(&scratch.0).err().expect("it is in use").to_string();
        assert!(message.contains("another sweep is writing"), "{message}");
        drop(first);
        Results::open(&scratch.0).expect("it is free again");
    }

    #[test]
    fn directories_are_numbered_past_the_last() {
        let scratch = Scratch::new("numbered");
        fs::create_dir(scratch.0.join("0041")).expect("room");
        assert_eq!(numbered_directory(&scratch.0).expect("room"), scratch.0.join("0042"));
        assert_eq!(numbered_directory(&scratch.0).expect("room"), scratch.0.join("0043"));
    }
}
