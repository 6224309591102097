//! The face for code that speaks POSIX: the same disk as [`crate::fs`], call by call as the kernel of a machine has them.
//!
//! Every function acts for the process that is running. Errors are those of Linux, in
//! [`raw_os_error`](io::Error::raw_os_error); one without a number means that the process has died. Paths are from the
//! root: whoever knows a working directory or a descriptor of a directory joins them before.

mod locks;
mod paths;

use std::io::{self, IoSlice, IoSliceMut, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sim_core::NodeId;

use crate::handle::Handle;
use crate::kernel::act;
use crate::pages::PAGE;
use crate::sync::Extent;
use crate::volume::{Ino, Stamps, Volume};

pub use crate::kernel::Allocate;
pub use crate::locks::RangeLock;
pub use crate::namespace::Rename;
pub use crate::open::{Follow, Mode};
pub use crate::volume::{Kind, Metadata};
pub use locks::LockOwner;
pub use paths::{
    VolumeStatus, create_dir, have_tmp, link, metadata, read_link, real_path, remove_dir, rename, set_permissions,
    set_times, symlink, sync_all, unlink, volume_status,
};

/// An open file description (open(2)), or one more reference to it. Dropping the last one closes it.
#[derive(Debug)]
pub struct File(Handle);

/// Opens a file or a directory; unlike std's, refuses no combination that open(2) takes.
///
/// # Errors
/// Those of open(2).
///
/// # Panics
/// Outside a simulation, as every function here.
pub fn open(path: &Path, mode: Mode) -> io::Result<File> {
    Handle::open(path, mode).map(File)
}

impl File {
    /// Reads at an offset, or at the position (`None`), which moves on then.
    ///
    /// # Errors
    /// Those of read(2).
    pub fn read(&self, at: Option<u64>, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_into(at, buffer)
    }

    /// Writes at an offset, or at the position (`None`), which moves on then. How many bytes, which may be a part.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn write(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(at, bytes)
    }

    /// Reads into several buffers in turn: readv(2), preadv(2).
    ///
    /// # Errors
    /// Those of readv(2).
    pub fn read_vectored(&self, at: Option<u64>, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let want = buffers.iter().map(|buffer| buffer.len()).sum();
        let mut rest = buffers.iter_mut().flat_map(|buffer| buffer.iter_mut());
        self.0.read(at, want, |part| rest.by_ref().zip(part).for_each(|(to, byte)| *to = *byte))
    }

    /// Writes several buffers as one: writev(2), pwritev(2).
    ///
    /// # Errors
    /// Those of writev(2).
    pub fn write_vectored(&self, at: Option<u64>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write(at, &buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect::<Vec<u8>>())
    }

    /// Moves the position, and says where it is.
    ///
    /// # Errors
    /// EINVAL before the start and behind 16 TiB.
    pub fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }

    /// Moves to the next data, or to the next hole, from `offset` on (SEEK_DATA, SEEK_HOLE).
    ///
    /// # Errors
    /// ENXIO behind the last data, and behind the end.
    pub fn seek_sparse(&self, offset: u64, data: bool) -> io::Result<u64> {
        self.0.act("posix::File::seek_sparse", |kernel| kernel.seek_sparse(self.0.slot, offset, data))
    }

    /// The next data from `offset` on, up to the next hole; none behind the last. Moves no position.
    ///
    /// # Errors
    /// EISDIR for a directory.
    pub fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.with(|volume, ino| {
            let content = volume.inode(ino).content_mut()?;
            Ok(content.next_data(offset).and_then(|start| Some(start..content.next_hole(start)?)))
        })
    }

    /// Cuts the file, or extends it with a hole (ftruncate(2)).
    ///
    /// # Errors
    /// EINVAL when not open for writing, EFBIG beyond 16 TiB.
    pub fn set_len(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    /// Reserves blocks or frees them (fallocate(2)).
    ///
    /// # Errors
    /// EBADF when not open for writing, EINVAL for nothing, EFBIG, ENOSPC, ENODEV for a directory.
    pub fn allocate(&self, how: Allocate, from: u64, length: u64) -> io::Result<()> {
        self.0.allocate(how, from, length)
    }

    /// fsync(2), in simulated time. Dropping the future does not stop it.
    ///
    /// # Errors
    /// See [`crate::fs::File::sync_all`].
    pub async fn sync(&self) -> io::Result<()> {
        self.0.sync(Extent::Everything).await
    }

    /// fsync(2) in no time, for who cannot wait.
    ///
    /// # Errors
    /// See [`crate::fs::File::sync_all`].
    pub fn sync_now(&self) -> io::Result<()> {
        self.0.sync_now(Extent::Everything)
    }

    /// fdatasync(2), in simulated time. Dropping the future does not stop it.
    ///
    /// # Errors
    /// See [`crate::fs::File::sync_data`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.0.sync(Extent::Data).await
    }

    /// fdatasync(2) in no time, for who cannot wait.
    ///
    /// # Errors
    /// See [`crate::fs::File::sync_data`].
    pub fn sync_data_now(&self) -> io::Result<()> {
        self.0.sync_now(Extent::Data)
    }

    /// As [`read`](File::read), in the time that the device takes.
    ///
    /// # Errors
    /// Those of read(2).
    pub async fn read_in_time(&self, at: Option<u64>, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_in_time(at, buffer).await
    }

    /// As [`write`](File::write), in the time that the device takes.
    ///
    /// # Errors
    /// Those of write(2).
    pub async fn write_in_time(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_in_time(at, bytes).await
    }

    /// Hands what is dirty to the device, without metadata and without a flush of its cache (sync_file_range(2)).
    ///
    /// # Errors
    /// EROFS, EIO after the journal has failed.
    pub fn sync_range(&self) -> io::Result<()> {
        self.0.act("posix::File::sync_range", |kernel| kernel.stage(self.0.slot))
    }

    /// As [`sync_range`](File::sync_range), until the device has written it: as long as an fsync takes, and no more durable.
    ///
    /// # Errors
    /// As there.
    pub async fn sync_range_in_time(&self) -> io::Result<()> {
        self.0.stage().await
    }

    /// Makes the whole volume durable, in no time (syncfs(2)).
    ///
    /// # Errors
    /// EROFS, EIO after the journal has failed.
    pub fn sync_volume(&self) -> io::Result<()> {
        self.0.act("posix::File::sync_volume", |kernel| kernel.sync_volume(self.0.process.node))
    }

    /// fstat(2).
    ///
    /// # Errors
    /// When the process has died.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// One more reference to the same description (dup(2)).
    ///
    /// # Errors
    /// When the process has died.
    pub fn duplicate(&self) -> io::Result<File> {
        self.0.try_clone().map(File)
    }

    /// The flags it was opened with.
    ///
    /// # Errors
    /// When the process has died.
    pub fn mode(&self) -> io::Result<Mode> {
        self.0.act("posix::File::mode", |kernel| Ok(kernel.descriptors[self.0.slot].mode))
    }

    /// Changes O_APPEND and O_DIRECT, which fcntl(2) may do with F_SETFL.
    ///
    /// # Errors
    /// When the process has died.
    pub fn set_mode(&self, append: bool, direct: bool) -> io::Result<()> {
        self.0.act("posix::File::set_mode", |kernel| {
            let mode = &mut kernel.descriptors[self.0.slot].mode;
            (mode.append, mode.direct) = (append, direct);
            // What was open for writing still is.
            mode.write |= !append && mode.append;
            Ok(())
        })
    }

    /// The entries of an open directory as they are now, without `.` and `..`, sorted by name: name, inode, kind.
    ///
    /// # Errors
    /// ENOTDIR.
    pub fn list(&self) -> io::Result<Vec<(std::ffi::OsString, u64, Kind)>> {
        self.with(|volume, ino| {
            let list = volume.list(ino)?;
            Ok(list.into_iter().map(|(name, ino, kind)| (name.to_os_string(), ino.0, kind)).collect())
        })
    }

    /// The path that leads to it now, for openat(2) and its like; one of them, where it has several.
    ///
    /// # Errors
    /// When the process has died.
    pub fn path(&self) -> io::Result<PathBuf> {
        self.with(|volume, ino| match volume.get(ino).is_directory() {
            true => Ok(volume.path_of(ino)),
            false => Ok(PathBuf::from(volume.name_of(ino))),
        })
    }

    /// Sets the times that are given, in nanoseconds since 1970 (futimens(2)).
    ///
    /// # Errors
    /// EROFS after the journal has failed.
    pub fn set_times(&self, read: Option<u64>, modified: Option<u64>) -> io::Result<()> {
        self.with(|volume, ino| stamp(volume, ino, read, modified))
    }

    /// Sets the permission bits (fchmod(2)). Kept, and never enforced.
    ///
    /// # Errors
    /// EROFS after the journal has failed.
    pub fn set_permissions(&self, mode: u32) -> io::Result<()> {
        self.with(|volume, ino| permit(volume, ino, mode))
    }

    fn with<R>(&self, f: impl FnOnce(&mut Volume, Ino) -> io::Result<R>) -> io::Result<R> {
        self.0.act("posix::File", |kernel| {
            let (descriptor, volume) = kernel.reach_now(self.0.slot);
            f(volume, descriptor.ino)
        })
    }

    /// The bytes of a range as a read-only mapping has them (mmap(2)): of this moment, in pages that are shared with the
    /// cache and copied when somebody writes. Behind the end of the file there are zeros.
    ///
    /// # Errors
    /// EIO where the device cannot read a page, which a program would learn by SIGBUS.
    pub fn view(&self, offset: u64, length: usize) -> io::Result<View> {
        let first = offset / PAGE as u64;
        let count = (offset % PAGE as u64) as usize + length;
        let pages = self.with(|volume, ino| {
            volume.with_content(ino, |content, load| {
                (first..first + count.div_ceil(PAGE) as u64).map(|page| content.view(page, load)).collect()
            })
        })?;
        Ok(View { pages, start: (offset % PAGE as u64) as usize, length })
    }
}

/// Brings bytes that a program has stored through a mapping (mmap(2)) to the page cache of its machine: those that are other
/// than what is there, up to the end of the file. No call fails for them, and the program may have been killed meanwhile.
///
/// # Errors
/// EIO where the device cannot read a page, EROFS after the journal has failed.
pub fn store(node: NodeId, ino: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
    act("posix::store", |kernel| kernel.store(node, Ino(ino), offset, bytes))
}

/// Bytes of a file as they were at one moment; see [`File::view`].
#[derive(Clone, Debug)]
pub struct View {
    pages: Vec<Rc<[u8; PAGE]>>,
    start: usize,
    length: usize,
}

impl View {
    /// How many bytes.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The byte at a place, if it is one of them.
    pub fn get(&self, place: usize) -> Option<u8> {
        let at = (place < self.length).then_some(self.start + place)?;
        Some(self.pages[at / PAGE][at % PAGE])
    }

    /// A copy of all of them.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pages.iter().flat_map(|page| page.iter().copied()).skip(self.start).take(self.length).collect()
    }
}

fn stamp(volume: &mut Volume, ino: Ino, read: Option<u64>, modified: Option<u64>) -> io::Result<()> {
    volume.may_write()?;
    let changed = volume.now;
    let stamps = &mut volume.inode(ino).attributes.stamps;
    *stamps = Stamps { read: read.unwrap_or(stamps.read), modified: modified.unwrap_or(stamps.modified), changed };
    Ok(())
}

fn permit(volume: &mut Volume, ino: Ino, mode: u32) -> io::Result<()> {
    volume.may_write()?;
    volume.inode(ino).attributes.mode = mode & 0o7777;
    Ok(())
}
