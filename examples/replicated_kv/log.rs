//! The write-ahead log of a replica: a line of JSON for every write, and one for every snapshot it was given.

use std::io::{self, SeekFrom};

use serde::{Deserialize, Serialize};
use sim::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::wire::Contents;

#[derive(Serialize, Deserialize)]
enum Record {
    Write { key: String, value: String },
    Snapshot(Contents),
}

pub(crate) struct Log {
    file: File,
    /// Whether `append` waits for the disk.
    syncs: bool,
}

impl Log {
    /// Opens the log, and returns what is in it. A half-written record at its end was never acknowledged: it is cut off.
    pub(crate) async fn open(syncs: bool) -> io::Result<(Log, Contents)> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).open("wal").await?;
        File::open("/").await?.sync_all().await?;
        let mut text = String::new();
        file.read_to_string(&mut text).await?;
        let (mut contents, mut valid) = (Contents::default(), 0);
        for line in text.split_inclusive('\n') {
            let Ok(record) = serde_json::from_str(line) else { break };
            apply(&mut contents, record);
            valid += line.len() as u64;
        }
        file.set_len(valid).await?;
        file.seek(SeekFrom::End(0)).await?;
        Ok((Log { file, syncs }, contents))
    }

    pub(crate) async fn write(&mut self, key: &str, value: &str) -> io::Result<()> {
        self.append(&Record::Write { key: key.into(), value: value.into() }).await
    }

    pub(crate) async fn snapshot(&mut self, contents: &Contents) -> io::Result<()> {
        self.append(&Record::Snapshot(contents.clone())).await
    }

    async fn append(&mut self, record: &Record) -> io::Result<()> {
        self.file.write_all(format!("{}\n", serde_json::to_string(record)?).as_bytes()).await?;
        self.file.flush().await?;
        if self.syncs { self.file.sync_all().await } else { Ok(()) }
    }
}

fn apply(contents: &mut Contents, record: Record) {
    match record {
        Record::Snapshot(snapshot) => *contents = snapshot,
        Record::Write { key, value } => {
            contents.sequence += 1;
            contents.values.insert(key, value);
        }
    }
}
