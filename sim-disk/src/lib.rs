//! The simulated disk of detsim, with the names of `tokio::fs` and of `std::fs`.
//!
//! Every node is a machine with one volume, which outlives its processes. What a program writes stands in the page cache
//! of its machine first, and every process of that machine reads it there. It is durable only when an fsync has said so.
//! A crash of the machine finds some of the rest done and some not, torn and out of order, as far as its filesystem, a
//! [`FsProfile`], allows that. A killed process takes nothing with it.
//!
//! | room | what is in it |
//! |---|---|
//! | [`fs`] | the async face: [`fs::File`], [`fs::OpenOptions`], and functions such as [`fs::rename`] |
//! | [`blocking`] | the same for code that does not await |
//! | [`posix`] | the same disk call by call: locks, holes, renameat2, mappings |
//! | [`profile`] | filesystems as data: what a failed fsync leaves, what a crash may keep |
//! | `face`, `handle` | the text of the faces, written once; is the process alive, do faults strike, then ask the kernel |
//! | `kernel`, `machine` | descriptors and machines: the [`Disk`] device |
//! | `sync` | fsync and write-back: the way to the medium |
//! | `volume`, `inode`, `namespace` | inodes, and the names that lead to them, live and durable |
//! | `content`, `medium`, `pages` | the bytes of one file: cached, on the medium, and the table of pages under both |
//! | `effect`, `crash` | what is not durable yet, and which of it a crash keeps |
//! | `media` | what is wrong with the device |
//! | `fault`, `kinds` | the faults, the operations at which they strike, and what they do |
//! | `performance`, `atlas` | how fast devices are; where faults of the medium may strike |
//! | [`Exhaustive`] | every crash of a bounded workload |
//! | `ledger`, `replicas`, `lint` | what must survive; what must be equal; habits that lose data |
//! | `unsynced`, `lsof` | what a power loss now would take; what is open |
//!
//! Errors are those of Linux, with its numbers. Permission bits are kept and never enforced: every process is root. Reads
//! move no times, as with `noatime`.

mod atlas;
mod condition;
mod content;
mod crash;
mod effect;
mod errno;
mod exhaustive;
mod face;
mod fault;
mod handle;
mod inode;
mod kernel;
mod kinds;
mod ledger;
mod lint;
mod locks;
mod lsof;
mod machine;
mod media;
mod medium;
mod namespace;
mod open;
mod operation;
mod options;
mod pages;
mod path;
mod performance;
mod replicas;
mod sequence;
mod spots;
mod strikes;
mod sync;
mod unsynced;
mod volume;

pub mod blocking;
pub mod fs;
pub mod posix;
pub mod profile;

pub use atlas::{Atlas, set_atlas};
pub use crash::{Crash, Image, ImageError};
pub use exhaustive::{CrashFailure, Exhaustive, Explored};
pub use fault::{
    bit_rot, crash_at_an_effect, device_gone, disk_full, drifting_tenant, evict, fsync, fsync_eio, fsync_eio_of_pages,
    io_error, journal_eio, kernel_crash, lost_write, lurk, make, marker, misdirected_read, misdirected_write, no_space,
    open, page_sequence, power_loss_with, quota, reach_crash_point, read, read_only, remove, rename, replace_disk,
    roll_back, sector_error, set_len, short, snapshot, stale_read, stall, swap_disks, tenant, throttle, write,
};
pub use kernel::Disk;
pub use kinds::KINDS;
pub use ledger::{Ledger, ack_durable, begin_durable, ledger};
pub use lint::{Habit, Lint, lints};
pub use lsof::{OpenFile, open_files};
pub use options::{Capacity, Options, Profile, Sector, options, set_options};
pub use performance::Performance;
pub use profile::FsProfile;
pub use replicas::same_on;
pub use sequence::{Sequence, SequenceError};
pub use unsynced::{Loss, Unsynced, take_snapshot, unsynced};
