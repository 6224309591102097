//! The disk: what the calls of its blocking face cost in real time.

use std::cell::Cell;
use std::rc::Rc;

use sim::disk::blocking::{self, File};
use sim::disk::{Exhaustive, FsProfile};

use super::simulate;

const PAGE: usize = 4096;
/// What the processor's caches hold: what is measured is our work, and not how fast the memory is.
const PAGES: u64 = 512;
const OPERATIONS: u64 = 1_000_000;

/// A file of 2 MiB, which is synced whenever it has been written once: dirty pages do not pile up.
fn file() -> File {
    let file = File::options().read(true).write(true).create(true).open("/f").expect("a file");
    for page in 0..PAGES {
        file.write_at(&[7; PAGE], page * PAGE as u64).expect("a write");
    }
    file.sync_all().expect("an fsync");
    file
}

pub fn write() -> u64 {
    simulate(1, || async {
        let (file, bytes) = (file(), [8; PAGE]);
        for operation in 0..OPERATIONS {
            let page = operation % PAGES;
            file.write_at(&bytes, page * PAGE as u64).expect("a write");
            if page == PAGES - 1 {
                file.sync_all().expect("an fsync");
            }
        }
    });
    OPERATIONS
}

pub fn read() -> u64 {
    simulate(1, || async {
        let (file, mut bytes) = (file(), [0; PAGE]);
        for operation in 0..OPERATIONS {
            file.read_at(&mut bytes, operation % PAGES * PAGE as u64).expect("a read");
        }
    });
    OPERATIONS
}

pub fn fsync() -> u64 {
    simulate(1, || async {
        let (file, bytes) = (file(), [8; PAGE]);
        for operation in 0..OPERATIONS {
            file.write_at(&bytes, operation % PAGES * PAGE as u64).expect("a write");
            file.sync_all().expect("an fsync");
        }
    });
    OPERATIONS
}

pub fn snapshot() -> u64 {
    const SNAPSHOTS: u64 = 1_000;
    simulate(1, || async {
        for name in 0..4 {
            blocking::write(format!("/{name}"), vec![7; 16 << 20]).expect("a write");
            File::open(format!("/{name}")).and_then(|file| file.sync_all()).expect("an fsync");
        }
        File::open("/").and_then(|root| root.sync_all()).expect("an fsync");
        for _ in 0..SNAPSHOTS {
            sim::disk::take_snapshot(sim::current_node());
        }
    });
    SNAPSHOTS
}

/// A log of 40 records, synced every fourth; the recovery reads it.
pub fn images() -> u64 {
    let images = Rc::new(Cell::new(0));
    let total = images.clone();
    simulate(1, move || async move {
        for round in 0..20 {
            let mut options = sim::disk::options();
            options.profile = FsProfile::POSIX_MINIMAL.into();
            sim::disk::set_options(options);
            let workload = async {
                let log = File::create("/log").expect("a file");
                for record in 0..40u64 {
                    log.write_at(&[1; 100], record * 100).expect("a write");
                    if record % 4 == 3 {
                        log.sync_all().expect("an fsync");
                    }
                }
            };
            let recover = |_| async {
                let _ = blocking::read("/log");
                Ok(())
            };
            let explored = Exhaustive::new(sim::node(&format!("n{round}"))).run(workload, recover).await;
            total.set(total.get() + explored.images as u64);
        }
    });
    images.get()
}
