//! Faults of the disk, and the operations at which faults of any kind may strike.
//!
//! The subject of an operation is the path as it was given, normalised and without the slash in front: `wal/*` matches
//! what is open as `/wal/000001`. An open file keeps the path it was opened by, also when it is renamed meanwhile. A fault
//! strikes before the operation has any effect: a power loss at the third fsync finds nothing of it done.

use sim_core::fault::{Fault, FaultKind, Selector, hit};

pub(crate) const FSYNC: &str = "disk.fsync";
pub(crate) const WRITE: &str = "disk.write";
pub(crate) const RENAME: &str = "disk.rename";
const FSYNC_EIO: &str = "disk.fsync_eio";

/// The fault kinds of the disk, for [`sim_core::Sim::with_faults`].
pub const KINDS: &[FaultKind] = &[FaultKind::new(FSYNC_EIO, |fault| {
    Err(format!("fault {} needs an fsync to happen at: .on(fsync(node, pattern), ..)", fault.kind))
})];

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

/// The first rename on nodes and new names that match.
pub fn rename(node: &str, to: &str) -> Selector {
    Selector::new(RENAME, node, to)
}

/// An fsync fails with EIO, as on Linux with ext4 (`data=ordered`) or XFS: the pages it should have written count as
/// clean and are never written, the length of the file is. Every descriptor that is open hears of it once; an fsync after
/// that returns `Ok` and has saved nothing of them. Readers see the new content until the power goes; after that they see
/// what was on the medium, and zeros where that had nothing (Rebello et al., "Can Applications Recover from fsync
/// Failures?", ATC 2020). Place it with [`fsync`].
///
/// Where it strikes the fsync of a directory, no name becomes durable, and a later fsync can still make them so: the
/// aborted journal and read-only volume that follow on Linux are not simulated.
pub fn fsync_eio() -> Fault {
    Fault::new(FSYNC_EIO, &[])
}

/// Lets faults strike at an fsync. True: it is to fail.
pub(crate) fn strikes_fsync(path: &str) -> bool {
    !hit(FSYNC, path, &[FSYNC_EIO]).is_empty()
}

/// Lets faults strike at an operation that has no fault of its own.
#[inline]
pub(crate) fn strikes(point: &str, subject: &str) {
    hit(point, subject, &[]);
}
