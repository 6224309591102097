//! The strings themselves, in memory, and their snapshot, which is on disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, OptionalSend, RaftSnapshotBuilder, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};

use super::{Put, Types};

type Failure = StorageError<u64>;
type Meta = SnapshotMeta<u64, BasicNode>;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Strings {
    applied: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    values: BTreeMap<String, String>,
}

impl Strings {
    fn meta(&self) -> Meta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
            snapshot_id: format!("{:?}", self.applied),
        }
    }
}

/// Clones are one state.
#[derive(Clone)]
pub(super) struct State {
    strings: Arc<Mutex<Strings>>,
    directory: PathBuf,
}

impl State {
    /// What the last snapshot in a directory has.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let strings = match std::fs::read(directory.join("snapshot")) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Strings::default(),
            Err(error) => return Err(error),
        };
        Ok(State { strings: Arc::new(Mutex::new(strings)), directory: directory.to_path_buf() })
    }

    pub(super) fn get(&self, key: &str) -> String {
        self.strings.lock().unwrap().values.get(key).cloned().unwrap_or_default()
    }

    /// Replaces the snapshot, at once and for good.
    fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        let fresh = self.directory.join("snapshot.new");
        let mut file = File::create(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(fresh, self.directory.join("snapshot"))?;
        File::open(&self.directory)?.sync_all()
    }

    fn kept(&self) -> io::Result<Option<Snapshot<Types>>> {
        let bytes = match std::fs::read(self.directory.join("snapshot")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let strings: Strings = serde_json::from_slice(&bytes)?;
        Ok(Some(Snapshot { meta: strings.meta(), snapshot: Box::new(Cursor::new(bytes)) }))
    }
}

fn snapshot_failed(error: io::Error) -> Failure {
    StorageIOError::write_snapshot(None, &error).into()
}

impl RaftSnapshotBuilder<Types> for State {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let strings = self.strings.lock().unwrap().clone();
        let bytes = serde_json::to_vec(&strings).map_err(|error| snapshot_failed(error.into()))?;
        self.keep(&bytes).map_err(snapshot_failed)?;
        Ok(Snapshot { meta: strings.meta(), snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<Types> for State {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>), Failure> {
        let strings = self.strings.lock().unwrap();
        Ok((strings.applied, strings.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<()>, Failure>
    where
        I: IntoIterator<Item = Entry<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut strings = self.strings.lock().unwrap();
        let mut answers = Vec::new();
        for entry in entries {
            strings.applied = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(Put(key, value)) => drop(strings.values.insert(key, value)),
                EntryPayload::Membership(members) => {
                    strings.membership = StoredMembership::new(Some(entry.log_id), members);
                }
            }
            answers.push(());
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, _meta: &Meta, snapshot: Box<Cursor<Vec<u8>>>) -> Result<(), Failure> {
        let bytes = snapshot.into_inner();
        let strings = serde_json::from_slice(&bytes).map_err(|error| snapshot_failed(error.into()))?;
        self.keep(&bytes).map_err(snapshot_failed)?;
        *self.strings.lock().unwrap() = strings;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        self.kept().map_err(|error| StorageIOError::read_snapshot(None, &error).into())
    }
}
