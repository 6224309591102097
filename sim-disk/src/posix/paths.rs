//! The calls that take a path.

use std::io;
use std::path::{Path, PathBuf};

use sim_core::device;

use super::{permit, stamp};
use crate::handle::{self, look};
use crate::kernel::act;
use crate::namespace::Rename;
use crate::open::Follow;
use crate::pages::PAGE;
use crate::volume::Metadata;

/// stat(2) and lstat(2).
///
/// # Errors
/// Those of stat(2).
pub fn metadata(path: &Path, follow: Follow) -> io::Result<Metadata> {
    handle::stat(path, follow)
}

/// mkdir(2).
///
/// # Errors
/// Those of mkdir(2).
pub fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    handle::mkdir(path, mode & 0o7777)
}

/// Has a directory `/tmp` on the volume of the machine, as one that was set up for programs does: durable, and without an
/// event. Does nothing where there is one.
///
/// # Errors
/// When the process has died.
pub fn have_tmp() -> io::Result<()> {
    look("posix::have_tmp", |volume| {
        volume.have_tmp();
        Ok(())
    })
}

/// rmdir(2).
///
/// # Errors
/// Those of rmdir(2).
pub fn remove_dir(path: &Path) -> io::Result<()> {
    handle::remove_dir(path)
}

/// unlink(2).
///
/// # Errors
/// Those of unlink(2).
pub fn unlink(path: &Path) -> io::Result<()> {
    handle::remove_file(path)
}

/// renameat2(2).
///
/// # Errors
/// Those of rename(2).
pub fn rename(from: &Path, to: &Path, how: Rename) -> io::Result<()> {
    handle::rename_as(from, to, how)
}

/// link(2).
///
/// # Errors
/// Those of link(2).
pub fn link(original: &Path, link: &Path) -> io::Result<()> {
    handle::hard_link(original, link)
}

/// symlink(2).
///
/// # Errors
/// Those of symlink(2).
pub fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    handle::symlink(target, link)
}

/// readlink(2).
///
/// # Errors
/// Those of readlink(2).
pub fn read_link(path: &Path) -> io::Result<PathBuf> {
    handle::read_link(path)
}

/// realpath(3).
///
/// # Errors
/// Those of realpath(3).
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    handle::canonicalize(path)
}

/// utimensat(2), with nanoseconds since 1970.
///
/// # Errors
/// Those of utimensat(2).
pub fn set_times(path: &Path, follow: Follow, read: Option<u64>, modified: Option<u64>) -> io::Result<()> {
    look("posix::set_times", |volume| {
        let ino = volume.resolve(path, follow)?;
        stamp(volume, ino, read, modified)
    })
}

/// chmod(2). Kept, and never enforced.
///
/// # Errors
/// Those of chmod(2).
pub fn set_permissions(path: &Path, mode: u32) -> io::Result<()> {
    look("posix::set_permissions", |volume| {
        let ino = volume.resolve(path, Follow::Always)?;
        permit(volume, ino, mode)
    })
}

/// sync(2): the whole volume of the machine, in no time.
///
/// # Errors
/// EROFS, EIO after the journal has failed, which sync(2) itself would not tell.
pub fn sync_all() -> io::Result<()> {
    let process = handle::living(device::process("posix::sync_all"))?;
    act("posix::sync_all", |kernel| kernel.sync_volume(process.node))
}

/// The numbers of statfs(2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VolumeStatus {
    /// Bytes in a block.
    pub block_size: u64,
    /// Blocks of the volume.
    pub blocks: u64,
    /// Of them free.
    pub free_blocks: u64,
    /// Inodes of the volume.
    pub inodes: u64,
    /// Of them free.
    pub free_inodes: u64,
}

/// statfs(2). A volume without a limit shows one of 1 TiB and 2^26 inodes.
///
/// # Errors
/// EIO when the volume is shut down.
pub fn volume_status() -> io::Result<VolumeStatus> {
    let (most, capacity) = act("posix::volume_status", |kernel| {
        let node = device::process("posix::volume_status").node;
        let (machine, options) = kernel.machine_and_options(node);
        (machine.most_blocks(options), options.capacity)
    });
    look("posix::volume_status", |volume| {
        volume.may_read()?;
        let (used, used_inodes) = volume.usage();
        let blocks = capacity.bytes.unwrap_or(1 << 40) / PAGE as u64;
        let inodes = capacity.inodes.unwrap_or(1 << 26);
        Ok(VolumeStatus {
            block_size: PAGE as u64,
            blocks,
            free_blocks: most.unwrap_or(blocks).saturating_sub(used),
            inodes,
            free_inodes: inodes.saturating_sub(used_inodes),
        })
    })
}
