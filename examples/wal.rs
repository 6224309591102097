//! A write-ahead log that survives every crash: each effect of a workload, each image of what a crash may leave, on every
//! filesystem; and what one line less does to it.
//!
//! A record is a length, a checksum and a body. An append is acknowledged after its fsync. Recovery reads to the first
//! record that does not check, and cuts the file there, so that nothing of a torn tail comes back behind a later append.

use std::io;

use sim::disk::blocking::File;
use sim::disk::{FsProfile, Profile};

/// What a mutation leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing.
    None,
    /// The fsync before an append is acknowledged.
    NoFsync,
    /// The fsync of the directory after the log is made.
    NoDirectoryFsync,
    /// The check of the checksum in recovery.
    NoChecksum,
}

/// A log, and where its next record goes.
pub struct Wal {
    file: File,
    end: u64,
    mutation: Mutation,
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

impl Wal {
    /// Opens the log and gives back its records.
    pub fn open(mutation: Mutation) -> io::Result<(Wal, Vec<Vec<u8>>)> {
        let file = File::options().read(true).write(true).create(true).open("/wal")?;
        if mutation != Mutation::NoDirectoryFsync {
            File::open("/")?.sync_all()?;
        }
        let length = file.metadata()?.len();
        let mut bytes = vec![0; length as usize];
        file.read_at(&mut bytes, 0)?;
        let records = records(&bytes, mutation);
        let end = records.iter().map(|record| record.len() as u64 + 8).sum();
        if end < length {
            file.set_len(end)?;
            file.sync_all()?;
        }
        Ok((Wal { file, end, mutation }, records))
    }

    /// Appends a record. When this returns, it is durable.
    pub fn append(&mut self, body: &[u8]) -> io::Result<()> {
        let record = [&(body.len() as u32).to_le_bytes()[..], &checksum(body).to_le_bytes(), body].concat();
        self.file.write_at(&record, self.end)?;
        if self.mutation != Mutation::NoFsync {
            self.file.sync_all()?;
        }
        self.end += record.len() as u64;
        Ok(())
    }
}

fn records(bytes: &[u8], mutation: Mutation) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((header, behind)) = rest.split_at_checked(8) {
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let Some((body, behind)) = behind.split_at_checked(number(0) as usize) else { break };
        if body.is_empty() || (mutation != Mutation::NoChecksum && checksum(body) != number(4)) {
            break;
        }
        records.push(body.to_vec());
        rest = behind;
    }
    records
}

/// The records that the workload appends: some within a sector, some over pages.
fn record(number: usize) -> Vec<u8> {
    vec![b'a' + number as u8; [20, 700, 5000][number % 3]]
}

/// Every crash of six appends on a filesystem.
pub async fn every_crash(profile: FsProfile, mutation: Mutation) -> sim::disk::Explored {
    let mut options = sim::disk::options();
    options.profile = Profile::Is(profile);
    sim::disk::set_options(options);
    let workload = async move {
        let (mut wal, _) = Wal::open(mutation).expect("a log that can be made");
        for number in 0..6 {
            sim::disk::begin_durable(number.to_string(), record(number));
            wal.append(&record(number)).expect("an append that can be made");
            sim::disk::ack_durable(number.to_string(), record(number));
        }
    };
    let machine = sim::node(profile.name);
    let recover = move |ledger: std::rc::Rc<sim::disk::Ledger>| async move {
        let (_, records) = Wal::open(mutation).map_err(|error| error.to_string())?;
        if let Some(wrong) = (0..records.len()).find(|number| records[*number] != record(*number)) {
            return Err(format!("record {wrong} is not what was appended"));
        }
        ledger.check(|key| records.get(key.parse::<usize>().ok()?))
    };
    sim::disk::Exhaustive::new(machine).run(workload, recover).await
}

/// Crashes of one mutation on all filesystems: the images that were tried, or the first that is not survived.
fn explore(mutation: Mutation) -> Result<usize, String> {
    let found = std::rc::Rc::new(std::cell::RefCell::new(Ok(0)));
    let into = found.clone();
    let report = sim::simulation(0).run(|| async move {
        for profile in FsProfile::ALL {
            let explored = every_crash(*profile, mutation).await;
            let so_far = into.borrow().clone();
            *into.borrow_mut() = match explored.failure {
                None => so_far.map(|images| images + explored.images),
                Some(failure) => so_far.and(Err(failure.to_string())),
            };
        }
    });
    assert!(report.passed(), "{}", report.message);
    found.replace(Ok(0))
}

fn main() {
    println!("the log survives {} crash images", explore(Mutation::None).expect("a log that is right"));
    for mutation in [Mutation::NoFsync, Mutation::NoDirectoryFsync, Mutation::NoChecksum] {
        println!("\none line less:\n{}", explore(mutation).expect_err("a log that is wrong"));
    }
}

#[test]
fn every_crash_image_is_survived() {
    let images = explore(Mutation::None).unwrap();
    assert!(images > 100, "{images}");
}

#[test]
fn without_an_fsync_a_record_is_lost() {
    assert!(explore(Mutation::NoFsync).unwrap_err().contains("was acknowledged and is gone"));
}

#[test]
fn without_an_fsync_of_the_directory_the_log_is_lost() {
    assert!(explore(Mutation::NoDirectoryFsync).unwrap_err().contains("was acknowledged and is gone"));
}

#[test]
fn without_a_checksum_a_torn_record_is_read() {
    assert!(explore(Mutation::NoChecksum).unwrap_err().contains("is not what was appended"));
}
