//! The behaviour of the disk, by room. Run one by its name: `cargo test crash_images`.

mod crash_images;
mod disk;
mod disk_conformance;
mod durable;
mod faults;
mod fsync_table;
mod kit;
mod media;
mod moments;
mod performance;
mod posix;
mod watch;
