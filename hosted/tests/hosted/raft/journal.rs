//! The log of a replica: one file to which every change is appended, and read again at the start.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Write};
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Mutex};

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{Entry, LogId, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote};
use serde::{Deserialize, Serialize};

use super::{Care, Types};

type Failure = StorageError<u64>;

/// A change, as the file has it.
#[derive(Serialize, Deserialize)]
enum Change {
    Vote(Vote<u64>),
    Committed(Option<LogId<u64>>),
    Append(Entry<Types>),
    /// All entries from this one on are void.
    Truncate(u64),
    /// All entries up to this one are in a snapshot.
    Purge(LogId<u64>),
}

#[derive(Default)]
struct Contents {
    vote: Option<Vote<u64>>,
    committed: Option<LogId<u64>>,
    purged: Option<LogId<u64>>,
    entries: BTreeMap<u64, Entry<Types>>,
}

impl Contents {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Vote(vote) => self.vote = Some(vote),
            Change::Committed(upto) => self.committed = upto,
            Change::Append(entry) => drop(self.entries.insert(entry.log_id.index, entry)),
            Change::Truncate(from) => drop(self.entries.split_off(&from)),
            Change::Purge(upto) => {
                self.entries = self.entries.split_off(&(upto.index + 1));
                self.purged = Some(upto);
            }
        }
    }
}

struct Inner {
    contents: Contents,
    file: File,
    care: Care,
}

/// Clones are one journal.
#[derive(Clone)]
pub(super) struct Journal(Arc<Mutex<Inner>>);

fn checksum(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// A line of the file; `None` for what a power loss left of one.
fn parse(line: &str) -> Option<Change> {
    let (sum, text) = line.strip_suffix('\n')?.split_once(' ')?;
    (u64::from_str_radix(sum, 16) == Ok(checksum(text))).then(|| serde_json::from_str(text).ok()).flatten()
}

impl Journal {
    /// Opens the journal in a directory, which exists, and cuts off what was not written to its end.
    pub(super) fn open(directory: &Path, care: Care) -> io::Result<Self> {
        let path = directory.join("journal");
        let file = OpenOptions::new().create(true).read(true).append(true).open(&path)?;
        File::open(directory)?.sync_all()?;
        let bytes = std::fs::read(&path)?;
        let (mut contents, mut whole) = (Contents::default(), 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(change) = std::str::from_utf8(line).ok().and_then(parse) else { break };
            contents.apply(change);
            whole += line.len();
        }
        file.set_len(whole as u64)?;
        file.sync_all()?;
        Ok(Journal(Arc::new(Mutex::new(Inner { contents, file, care }))))
    }

    fn with<R>(&self, f: impl FnOnce(&mut Inner) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }

    #[expect(clippy::result_large_err, reason = "the error of openraft")]
    fn write(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), Failure> {
        self.with(|inner| inner.write(changes)).map_err(|error| StorageIOError::write_logs(&error).into())
    }
}

impl Inner {
    fn write(&mut self, changes: impl IntoIterator<Item = Change>) -> io::Result<()> {
        let mut lines = String::new();
        for change in changes {
            let text = serde_json::to_string(&change)?;
            lines += &format!("{:x} {text}\n", checksum(&text));
            self.contents.apply(change);
        }
        self.file.write_all(lines.as_bytes())?;
        match self.care {
            Care::NeverSyncs => Ok(()),
            Care::Full | Care::ForgetsWhatIsCommitted => self.file.sync_data(),
        }
    }
}

impl RaftLogReader<Types> for Journal {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + std::fmt::Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry<Types>>, Failure> {
        Ok(self.with(|inner| inner.contents.entries.range(range).map(|(_, entry)| entry.clone()).collect()))
    }
}

impl RaftLogStorage<Types> for Journal {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, Failure> {
        Ok(self.with(|inner| {
            let purged = inner.contents.purged;
            let last = inner.contents.entries.values().next_back().map(|entry| entry.log_id);
            LogState { last_purged_log_id: purged, last_log_id: last.or(purged) }
        }))
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), Failure> {
        self.write([Change::Vote(*vote)])
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Failure> {
        Ok(self.with(|inner| inner.contents.vote))
    }

    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> Result<(), Failure> {
        match self.with(|inner| inner.care) {
            Care::ForgetsWhatIsCommitted => Ok(()),
            Care::Full | Care::NeverSyncs => self.write([Change::Committed(committed)]),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId<u64>>, Failure> {
        Ok(self.with(|inner| inner.contents.committed))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.write(entries.into_iter().map(Change::Append))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: LogId<u64>) -> Result<(), Failure> {
        self.write([Change::Truncate(from.index)])
    }

    async fn purge(&mut self, upto: LogId<u64>) -> Result<(), Failure> {
        self.write([Change::Purge(upto)])
    }
}
