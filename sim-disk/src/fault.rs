//! Faults of the disk, and the operations at which faults of any kind may strike.
//!
//! The subject of an operation is the path as it was given, normalised and without the slash in front: `wal/*` matches
//! what is open as `/wal/000001`. An open file keeps the path it was opened by, also when it is renamed meanwhile. A fault
//! strikes before the operation has any effect, [amid](Selector::amid) a write of several pages, or
//! [after](Selector::after) it: a process killed after its third fsync has saved what it never says it has.

use sim_core::fault::{Fault, Selector};

use crate::crash::Image;
use crate::kernel::Disk;
use crate::kinds::{
    BIT_ROT, CRASH_POINT, EVICT, FSYNC, FSYNC_EIO, FULL, GONE, IO_ERROR, JOURNAL_EIO, KERNEL_CRASH, LOST_WRITE, MAKE,
    MISDIRECTED_READ, MISDIRECTED_WRITE, NO_SPACE, OPEN, POWER_LOSS, QUOTA, READ, READ_ONLY, REMOVE, RENAME, REPLACE,
    ROLL_BACK, SECTOR_ERROR, SEQUENCE, SET_LEN, SHORT, SNAPSHOT, STALE_READ, STALL, SWAP, TENANT, THROTTLE, WRITE,
};

/// The first fsync or fdatasync on nodes and paths that match; see [`Selector::nth`] for another.
///
/// ```
/// use sim_core::{Sim, fault::faults, node};
/// use sim_disk::{fs, fsync, fsync_eio};
/// let report = Sim::new(7).with_faults(sim_disk::KINDS).run(|| async {
///     faults().on(fsync("store", "wal/*"), fsync_eio());
///     let store = node("store").start(|| async {
///         fs::create_dir("/wal").await?;
///         let log = fs::File::create("/wal/1").await?;
///         let error = log.sync_all().await.unwrap_err();
///         assert_eq!(error.raw_os_error(), Some(5), "EIO");
///         Ok::<(), std::io::Error>(())
///     });
///     store.join().await;
/// });
/// assert!(report.passed(), "{}", report.message);
/// ```
pub fn fsync(node: &str, path: &str) -> Selector {
    Selector::new(FSYNC, node, path)
}

/// The first write on nodes and paths that match.
pub fn write(node: &str, path: &str) -> Selector {
    Selector::new(WRITE, node, path)
}

/// The first read on nodes and paths that match.
pub fn read(node: &str, path: &str) -> Selector {
    Selector::new(READ, node, path)
}

/// The first open on nodes and paths that match.
pub fn open(node: &str, path: &str) -> Selector {
    Selector::new(OPEN, node, path)
}

/// The first rename on nodes and new names that match.
pub fn rename(node: &str, to: &str) -> Selector {
    Selector::new(RENAME, node, to)
}

/// The first removal of a file or directory on nodes and paths that match.
pub fn remove(node: &str, path: &str) -> Selector {
    Selector::new(REMOVE, node, path)
}

/// The first change of a length on nodes and paths that match: `set_len`, and fallocate(2).
pub fn set_len(node: &str, path: &str) -> Selector {
    Selector::new(SET_LEN, node, path)
}

/// The first directory, symbolic or hard link made on nodes and paths that match. A file is made by an [`open`].
pub fn make(node: &str, path: &str) -> Selector {
    Selector::new(MAKE, node, path)
}

/// Lets a fault that strikes at operations wait on the disk of a node, for the next one that is selected. So it can have a
/// time and a rhythm: `faults().at(5.secs(), lurk(fsync("store", "wal/*"), fsync_eio()))`.
pub fn lurk(at: Selector, fault: Fault) -> Fault {
    Fault { target: vec![at.node], ..fault }.arg("at", at.point).arg("path", at.subject)
}

/// The device refuses the pages that an fsync writes. What becomes of them, who is told and when is what the
/// [`FsyncFailure`](crate::profile::FsyncFailure) of the machine's profile says. Place it with [`fsync`].
///
/// Where it strikes the fsync of a directory, it is a [`journal_eio`].
pub fn fsync_eio() -> Fault {
    Fault::new(FSYNC_EIO, &[])
}

/// As [`fsync_eio`], for these pages of the file alone, counted from 0.
pub fn fsync_eio_of_pages(pages: &[u64]) -> Fault {
    fsync_eio().arg("pages", pages.to_vec())
}

/// The filesystem cannot write its journal at an fsync: nothing becomes durable, and the volume is read-only or shut down
/// from then on, as the profile has it. Place it with [`fsync`].
pub fn journal_eio() -> Fault {
    Fault::new(JOURNAL_EIO, &[])
}

/// The operation fails with EIO and has no effect. Place it with [`read`], [`write()`], [`open`] or [`rename`].
pub fn io_error() -> Fault {
    Fault::new(IO_ERROR, &[])
}

/// The operation finds no space: ENOSPC, and no effect. Place it with [`write()`], [`open`], [`rename`], or with [`fsync`],
/// where it is late news of a write that was taken before.
pub fn no_space() -> Fault {
    Fault::new(NO_SPACE, &[])
}

/// As [`no_space`], for a user who has used up his share: EDQUOT. Place it with [`write()`], [`open`] or [`rename`].
pub fn quota() -> Fault {
    Fault::new(QUOTA, &[])
}

/// The operation does a part of what it was asked for, one byte at the least. Place it with [`read`] or [`write()`].
pub fn short() -> Fault {
    Fault::new(SHORT, &[])
}

/// The kernel of a machine crashes: its page cache is lost, and what had reached the cache of the device is not. With
/// [`lasting`](Fault::lasting) it restarts after that time, as after each of the following.
pub fn kernel_crash(node: &str) -> Fault {
    Fault::new(KERNEL_CRASH, &[node])
}

/// Cuts the power of a machine and says what that keeps; `node.power_loss` leaves it to
/// [`Options::crash_image`](crate::Options).
pub fn power_loss_with(node: &str, image: Image) -> Fault {
    Fault::new(POWER_LOSS, &[node]).arg("image", image.to_string())
}

/// A machine loses its power, and comes back with an empty disk.
pub fn replace_disk(node: &str) -> Fault {
    Fault::new(REPLACE, &[node])
}

/// Keeps the durable state of a disk, for [`roll_back`].
pub fn snapshot(node: &str) -> Fault {
    Fault::new(SNAPSHOT, &[node])
}

/// A machine loses its power, and comes back with the disk of its last [`snapshot`], as a virtual machine does that was
/// restored.
pub fn roll_back(node: &str) -> Fault {
    Fault::new(ROLL_BACK, &[node])
}

/// Two machines lose their power, and come back with the disk of each other.
pub fn swap_disks(one: &str, other: &str) -> Fault {
    Fault::new(SWAP, &[one, other])
}

/// Drops every clean page from the cache of a machine: what a failed write-back left there alone is gone, and reads reach
/// the device.
pub fn evict(node: &str) -> Fault {
    Fault::new(EVICT, &[node])
}

/// The volume takes no changes: EROFS; for ever, or while it [lasts](Fault::lasting).
pub fn read_only(node: &str) -> Fault {
    Fault::new(READ_ONLY, &[node])
}

/// The device is gone: every operation fails with ENXIO; for ever, or while it [lasts](Fault::lasting).
pub fn device_gone(node: &str) -> Fault {
    Fault::new(GONE, &[node])
}

/// A sector of the medium cannot be read any more, until it is written again or the fault has [lasted](Fault::lasting): EIO
/// for reads that reach it, those of the page around it included unless they pass the cache. Which sector of the files that
/// match is drawn, among those that the [atlas](crate::set_atlas) allows; it is met when it is not cached. As all faults of
/// the medium it needs something durable to strike, and with [`Plan::at`](sim_core::fault::Plan::at) a time.
pub fn sector_error(node: &str, path: &str) -> Fault {
    Fault::new(SECTOR_ERROR, &[node]).arg("path", path)
}

/// A bit of a sector of the medium flips: reads that reach it get it wrong. Else as [`sector_error`].
pub fn bit_rot(node: &str, path: &str) -> Fault {
    Fault::new(BIT_ROT, &[node]).arg("path", path)
}

/// The next read that reaches a sector of the medium gets that of another page of the same file. Else as [`sector_error`].
pub fn misdirected_read(node: &str, path: &str) -> Fault {
    Fault::new(MISDIRECTED_READ, &[node]).arg("path", path)
}

/// The last page that an fsync writes is acknowledged and dropped, and there is again when the fault has
/// [lasted](Fault::lasting). Place it with [`fsync`], as the next two.
pub fn lost_write() -> Fault {
    Fault::new(LOST_WRITE, &[])
}

/// The last page that an fsync writes lands in the place of another page of the file, which is lost, and not in its own.
pub fn misdirected_write() -> Fault {
    Fault::new(MISDIRECTED_WRITE, &[])
}

/// The next read that reaches the last page that an fsync wrote finds what was there before.
pub fn stale_read() -> Fault {
    Fault::new(STALE_READ, &[])
}

/// Write-backs of a page of the files that match fail in the order of a [`Sequence`](crate::Sequence), such as `wwxW`.
pub fn page_sequence(node: &str, path: &str, page: u64, sequence: &str) -> Fault {
    Fault::new(SEQUENCE, &[node]).arg("path", path).arg("page", page).arg("sequence", sequence)
}

/// The device answers nothing, what it was given before included: it hangs for ever, or while it [lasts](Fault::lasting).
/// The face that does not await cannot wait, and does not feel it.
pub fn stall(node: &str) -> Fault {
    Fault::new(STALL, &[node])
}

/// What the device does for files that match takes so many times as long; for ever, or while it [lasts](Fault::lasting).
/// `**` slows the whole device, another pattern a range of it.
pub fn throttle(node: &str, path: &str, times: u32) -> Fault {
    Fault::new(THROTTLE, &[node]).arg("path", path).arg("times", times)
}

/// The volume has no free block: writes that need one fail with ENOSPC; for ever, or while it [lasts](Fault::lasting).
pub fn disk_full(node: &str) -> Fault {
    Fault::new(FULL, &[node])
}

/// Somebody else takes so many bytes of the capacity of the volume; gives them back after [`lasting`](Fault::lasting).
pub fn tenant(node: &str, bytes: u64) -> Fault {
    Fault::new(TENANT, &[node]).arg("bytes", bytes)
}

/// As [`tenant`], with a share that drifts between nothing and so many bytes.
pub fn drifting_tenant(node: &str, bytes: u64) -> Fault {
    tenant(node, bytes).arg("drifts", true)
}

/// The machine loses its power at one of its next effects, drawn: ten times more likely at a moment that leaves
/// something in flight than at one that does not. `within` is how many effects it may take at most; it is met when the
/// power goes.
pub fn crash_at_an_effect(node: &str, within: u32) -> Fault {
    Fault::new(CRASH_POINT, &[node]).arg("within", within)
}

/// A moment that a program names with [`crash_point!`](crate::crash_point).
pub fn marker(node: &str, name: &str) -> Selector {
    Selector::new("point", node, name)
}

/// What [`crash_point!`](crate::crash_point) calls.
#[doc(hidden)]
pub fn reach_crash_point(name: &str) {
    if sim_core::device::with_existing(|_: &Disk| ()).is_some() {
        sim_core::fault::point(name);
    }
}

/// Names a moment at which a fault may strike: `faults().on(marker("store", "after-manifest-rename"), crash("store"))`.
/// Nothing happens outside a simulation, and in one whose disk was not used yet.
///
/// ```
/// sim_disk::crash_point!("after-manifest-rename");
/// ```
#[macro_export]
macro_rules! crash_point {
    ($name:expr) => {
        $crate::reach_crash_point($name)
    };
}
