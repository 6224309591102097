//! Faults of the disk, and the operations at which faults of any kind may strike.
//!
//! The subject of an operation is the path as it was given, normalised and without the slash in front: `wal/*` matches
//! what is open as `/wal/000001`. An open file keeps the path it was opened by, also when it is renamed meanwhile. A fault
//! strikes before the operation has any effect: a power loss at the third fsync finds nothing of it done.

use std::io;

use sim_core::fault::{Fault, FaultKind, Selector, hit, observed};
use sim_core::{Node, NodeId};

use crate::crash::{Crash, Image};
use crate::errno::Errno;
use crate::kernel::act;
use crate::machine::Machine;
use crate::volume::State;

pub(crate) const FSYNC: &str = "disk.fsync";
pub(crate) const WRITE: &str = "disk.write";
pub(crate) const READ: &str = "disk.read";
pub(crate) const OPEN: &str = "disk.open";
pub(crate) const RENAME: &str = "disk.rename";
const FSYNC_EIO: &str = "disk.fsync_eio";
const JOURNAL_EIO: &str = "disk.journal_eio";
const IO_ERROR: &str = "disk.io_error";
const NO_SPACE: &str = "disk.no_space";
const SHORT: &str = "disk.short";
const KERNEL_CRASH: &str = "disk.kernel_crash";
const POWER_LOSS: &str = "disk.power_loss";
const REPLACE: &str = "disk.replace";
const SNAPSHOT: &str = "disk.snapshot";
const ROLL_BACK: &str = "disk.roll_back";
const SWAP: &str = "disk.swap";
const EVICT: &str = "disk.evict";
const READ_ONLY: &str = "disk.read_only";
const GONE: &str = "disk.gone";

/// The fault kinds of the disk, for [`sim_core::Sim::with_faults`].
pub const KINDS: &[FaultKind] = &[
    placed(FSYNC_EIO),
    placed(JOURNAL_EIO),
    placed(IO_ERROR),
    placed(NO_SPACE),
    placed(SHORT),
    FaultKind::new(KERNEL_CRASH, |fault| go_down(fault, Crash::Kernel)).relent(come_up),
    FaultKind::new(POWER_LOSS, |fault| go_down(fault, Crash::Power)).relent(come_up),
    FaultKind::new(REPLACE, |fault| go_down(fault, Crash::Replaced)).relent(come_up),
    FaultKind::new(SNAPSHOT, |fault| with_machine(fault, Machine::take_snapshot)),
    FaultKind::new(ROLL_BACK, |fault| go_down(fault, Crash::RolledBack)).relent(come_up),
    FaultKind::new(SWAP, swap_volumes).relent(come_up),
    FaultKind::new(EVICT, |fault| with_machine(fault, |machine| machine.volume.evict() > 0)),
    FaultKind::new(READ_ONLY, |fault| become_state(fault, State::ReadOnly)).relent(recover),
    FaultKind::new(GONE, |fault| become_state(fault, State::Gone)).relent(recover),
];

/// The only node that a fault strikes.
fn target(fault: &Fault) -> Result<Node, String> {
    let node = fault.only_target()?;
    match node.id() {
        NodeId::SUPERVISOR if fault.kind != EVICT => {
            Err(format!("fault {}: the node of the test itself cannot fail", fault.kind))
        }
        _ => Ok(node),
    }
}

fn with_machine(fault: &Fault, change: impl FnOnce(&mut Machine) -> bool) -> Result<bool, String> {
    let node = target(fault)?;
    Ok(act("faults", |kernel| change(kernel.machine(node.id()))))
}

fn become_state(fault: &Fault, state: State) -> Result<bool, String> {
    with_machine(fault, |machine| std::mem::replace(&mut machine.volume.state, state) != state)
}

fn recover(fault: &Fault) -> Result<bool, String> {
    become_state(fault, State::Writable)
}

fn image(fault: &Fault) -> Result<Option<Image>, String> {
    let Some(text) = fault.args.get("image").and_then(|image| image.as_str()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| format!("fault {}: {error}", fault.kind))
}

fn go_down(fault: &Fault, crash: Crash) -> Result<bool, String> {
    let (node, image) = (target(fault)?, image(fault)?);
    let lacks = crash == Crash::RolledBack && act("faults", |kernel| kernel.machine(node.id()).snapshot.is_none());
    if lacks {
        return Err(format!("fault {} needs a snapshot to come back to: place {SNAPSHOT} before it", fault.kind));
    }
    act("faults", |kernel| kernel.machine(node.id()).next_crash = Some((crash, image)));
    // A node that is down already loses its memory all the same.
    node.power_loss();
    let left = act("faults", |kernel| kernel.machine(node.id()).next_crash.is_some());
    if left {
        act("faults", |kernel| kernel.lose_memory(node.id()));
    }
    Ok(true)
}

fn come_up(fault: &Fault) -> Result<bool, String> {
    for node in fault.targets()? {
        if !node.is_up() {
            node.restart();
        }
    }
    Ok(true)
}

fn swap_volumes(fault: &Fault) -> Result<bool, String> {
    let [one, other] = fault.targets()?[..] else {
        return Err(format!("fault {} needs exactly two targets", fault.kind));
    };
    [one, other].into_iter().for_each(Node::power_loss);
    act("faults", |kernel| {
        let volume = std::mem::take(&mut kernel.machine(one.id()).volume);
        let volume = std::mem::replace(&mut kernel.machine(other.id()).volume, volume);
        kernel.machine(one.id()).volume = volume;
    });
    Ok(one != other)
}

/// A kind that needs an operation to happen at.
const fn placed(name: &'static str) -> FaultKind {
    FaultKind::new(name, |fault| {
        let point = if fault.kind == FSYNC_EIO || fault.kind == JOURNAL_EIO { "fsync" } else { "write" };
        Err(format!("fault {} needs an operation to happen at: .on({point}(node, pattern), ..)", fault.kind))
    })
}

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

/// The operation fails with EIO and has no effect. Place it with [`read`], [`write`], [`open`] or [`rename`].
pub fn io_error() -> Fault {
    Fault::new(IO_ERROR, &[])
}

/// The operation finds no space: ENOSPC, and no effect. Place it with [`write`], [`open`], [`rename`], or with [`fsync`],
/// where it is late news of a write that was taken before.
pub fn no_space() -> Fault {
    Fault::new(NO_SPACE, &[])
}

/// The operation does a part of what it was asked for, one byte at the least. Place it with [`read`] or [`write`].
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

/// Which pages of an fsync the device refuses.
pub(crate) enum Failing {
    AllPages,
    Pages(Vec<u64>),
    /// It cannot write its metadata.
    Journal,
}

/// Lets faults strike at an fsync. Some: it is to fail.
pub(crate) fn strikes_fsync(path: &str) -> io::Result<Option<Failing>> {
    let mut failing = None;
    for fault in hit(FSYNC, path, &[FSYNC_EIO, JOURNAL_EIO, NO_SPACE]) {
        observed(fault.id);
        failing = Some(match &*fault.kind {
            FSYNC_EIO => match fault.args.get("pages").and_then(|pages| pages.as_array()) {
                Some(pages) => Failing::Pages(pages.iter().filter_map(|page| page.as_u64()).collect()),
                None => Failing::AllPages,
            },
            JOURNAL_EIO => Failing::Journal,
            _ => return Err(Errno::NoSpace.into()),
        });
    }
    Ok(failing)
}

/// Lets the faults strike that make an operation fail or do a part of it.
#[inline]
fn strikes(point: &str, subject: &str, own: &[&str]) -> io::Result<bool> {
    let mut is_short = false;
    for fault in hit(point, subject, own) {
        observed(fault.id);
        match &*fault.kind {
            IO_ERROR => return Err(Errno::Io.into()),
            NO_SPACE => return Err(Errno::NoSpace.into()),
            _ => is_short = true,
        }
    }
    Ok(is_short)
}

/// Half of it, and a byte at the least.
fn half(length: usize) -> usize {
    length.min(length / 2 + 1)
}

#[inline]
pub(crate) fn strikes_write<'a>(path: &str, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
    let is_short = strikes(WRITE, path, &[IO_ERROR, NO_SPACE, SHORT])?;
    Ok(if is_short { &bytes[..half(bytes.len())] } else { bytes })
}

#[inline]
pub(crate) fn strikes_read(path: &str, want: usize) -> io::Result<usize> {
    let is_short = strikes(READ, path, &[IO_ERROR, SHORT])?;
    Ok(if is_short { half(want.min(4096)) } else { want })
}

pub(crate) fn strikes_open(path: &str) -> io::Result<()> {
    strikes(OPEN, path, &[IO_ERROR, NO_SPACE]).map(drop)
}

pub(crate) fn strikes_rename(path: &str) -> io::Result<()> {
    strikes(RENAME, path, &[IO_ERROR, NO_SPACE]).map(drop)
}
