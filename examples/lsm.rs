//! A log-structured store that survives every crash: a memory table, sorted runs that are written once, and a manifest that
//! is replaced by rename; and what one line less does to it.
//!
//! A flush writes a run and syncs it, syncs the directory, writes a new manifest beside the old one and syncs that, renames
//! it, and syncs the directory again. What the manifest names is then whole, whatever a crash leaves. Puts are acknowledged
//! when they are flushed.

use std::collections::BTreeMap;
use std::io;

use sim::disk::blocking::{self, File};
use sim::disk::{FsProfile, Profile};

/// What a mutation leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Nothing.
    None,
    /// The fsync of a run before the manifest names it.
    NoFsyncOfRun,
    /// The fsync of the manifest before its rename.
    NoFsyncOfManifest,
    /// The fsync of the directory after the rename.
    NoFsyncOfDirectory,
    /// The manifest beside the old one: it is written in place.
    NoRename,
}

/// A store in the root of its disk.
pub struct Lsm {
    table: BTreeMap<String, String>,
    runs: Vec<u64>,
    mutation: Mutation,
}

fn sync(path: &str) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

impl Lsm {
    /// Opens the store: reads which runs there are.
    pub fn open(mutation: Mutation) -> io::Result<Lsm> {
        let manifest = match blocking::read_to_string("/manifest") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            manifest => manifest?,
        };
        let runs =
            manifest.split_whitespace().map(|run| run.parse().map_err(io::Error::other)).collect::<Result<_, _>>();
        Ok(Lsm { table: BTreeMap::new(), runs: runs?, mutation })
    }

    /// Puts a value, which is not durable before the next flush.
    pub fn put(&mut self, key: &str, value: &str) {
        self.table.insert(key.to_string(), value.to_string());
    }

    /// Looks a key up, in the memory table and then in the runs, the newest first.
    pub fn get(&self, key: &str) -> io::Result<Option<String>> {
        if let Some(value) = self.table.get(key) {
            return Ok(Some(value.clone()));
        }
        for run in self.runs.iter().rev() {
            let run = parse(&blocking::read_to_string(format!("/run-{run}"))?);
            if let Some(value) = run.get(key) {
                return Ok(Some(value.clone()));
            }
        }
        Ok(None)
    }

    /// Writes the memory table out as a run. When this returns, everything in it is durable.
    pub fn flush(&mut self) -> io::Result<()> {
        let number = self.runs.last().map_or(0, |last| last + 1);
        let run: String = self.table.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        blocking::write(format!("/run-{number}"), run)?;
        if self.mutation != Mutation::NoFsyncOfRun {
            sync(&format!("/run-{number}"))?;
        }
        sync("/")?;
        self.runs.push(number);
        self.publish()?;
        self.table.clear();
        Ok(())
    }

    fn publish(&self) -> io::Result<()> {
        let manifest: String = self.runs.iter().map(|run| format!("{run}\n")).collect();
        let beside = if self.mutation == Mutation::NoRename { "/manifest" } else { "/manifest.new" };
        blocking::write(beside, manifest)?;
        if self.mutation != Mutation::NoFsyncOfManifest {
            sync(beside)?;
        }
        if self.mutation != Mutation::NoRename {
            blocking::rename(beside, "/manifest")?;
        }
        if self.mutation != Mutation::NoFsyncOfDirectory {
            sync("/")?;
        }
        Ok(())
    }
}

/// A value of a key in a round: long enough for several pages in a run.
fn value(round: u32, key: &str) -> String {
    format!("{key}{round}").repeat(700)
}

/// Every crash of three flushes on a filesystem.
pub async fn every_crash(profile: FsProfile, mutation: Mutation) -> sim::disk::Explored {
    let mut options = sim::disk::options();
    options.profile = Profile::Is(profile);
    sim::disk::set_options(options);
    let workload = async move {
        let mut store = Lsm::open(mutation).expect("a store that can be made");
        for round in 0..3 {
            let keys = ["x", ["a", "b", "c"][round as usize]];
            for key in keys {
                sim::disk::begin_durable(key, value(round, key));
                store.put(key, &value(round, key));
            }
            store.flush().expect("a flush that can be made");
            keys.into_iter().for_each(|key| sim::disk::ack_durable(key, value(round, key)));
        }
    };
    let recover = move |ledger: std::rc::Rc<sim::disk::Ledger>| async move {
        let store = Lsm::open(mutation).map_err(|error| format!("the store does not open: {error}"))?;
        for key in ["a", "b", "c", "x"] {
            store.get(key).map_err(|error| format!("{key} cannot be read: {error}"))?;
        }
        ledger.check(|key| store.get(key).ok().flatten())
    };
    sim::disk::Exhaustive::new(sim::node(profile.name)).run(workload, recover).await
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
    println!("the store survives {} crash images", explore(Mutation::None).expect("a store that is right"));
    let mutations =
        [Mutation::NoFsyncOfRun, Mutation::NoFsyncOfManifest, Mutation::NoFsyncOfDirectory, Mutation::NoRename];
    for mutation in mutations {
        println!("\none line less:\n{}", explore(mutation).expect_err("a store that is wrong"));
    }
}

#[test]
fn every_crash_image_is_survived() {
    assert!(explore(Mutation::None).unwrap() > 500);
}

#[test]
fn a_run_that_was_not_synced_is_missed() {
    explore(Mutation::NoFsyncOfRun).unwrap_err();
}

#[test]
fn a_manifest_that_was_not_synced_is_missed() {
    explore(Mutation::NoFsyncOfManifest).unwrap_err();
}

#[test]
fn a_rename_that_was_not_synced_is_missed() {
    explore(Mutation::NoFsyncOfDirectory).unwrap_err();
}

#[test]
fn a_manifest_written_in_place_is_missed() {
    explore(Mutation::NoRename).unwrap_err();
}
