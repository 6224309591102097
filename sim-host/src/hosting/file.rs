//! Files as descriptors: those of the node's volume, and the few that the simulation itself writes.

use std::cell::Cell;
use std::ffi::{OsString, c_int};
use std::io::SeekFrom;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::task::Waker;

use sim_core::ambient;
use sim_disk::posix::{self, Follow, Kind, Metadata, Mode};

use super::descriptor::{Io, Object, errno_of};
use super::device::hosts;
use super::{memory, names, wait};

/// What an open file reads from and writes to.
enum Body {
    Disk(posix::File),
    /// A text that the simulation made, such as `/etc/hosts`.
    Text(Vec<u8>),
    Device(Device),
}

/// A device of characters: what it reads, and whether it takes what is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Device {
    /// `/dev/urandom`.
    Random,
    /// `/dev/null`.
    Null,
    /// `/dev/zero`.
    Zero,
    /// `/dev/full`.
    Full,
}

impl Device {
    fn at(path: &Path) -> Option<Self> {
        Some(match path.to_str()? {
            "/dev/urandom" | "/dev/random" => Device::Random,
            "/dev/null" => Device::Null,
            "/dev/zero" => Device::Zero,
            "/dev/full" => Device::Full,
            _ => return None,
        })
    }

    fn status() -> Status {
        Status::plain(libc::S_IFCHR | 0o666, 0)
    }

    fn read(self, buffer: &mut [u8]) -> usize {
        match self {
            Device::Null => return 0,
            Device::Random => _ = ambient::entropy(buffer),
            Device::Zero | Device::Full => buffer.fill(0),
        }
        buffer.len()
    }

    fn write(self, bytes: &[u8]) -> Io<usize> {
        if self == Device::Full { Err(libc::ENOSPC) } else { Ok(bytes.len()) }
    }
}

/// An open file or directory.
pub(crate) struct OpenFile {
    body: Body,
    pub(crate) path: PathBuf,
    pub(crate) flags: Cell<c_int>,
    /// Of a text; the disk keeps that of a file.
    position: Cell<u64>,
}

/// A result of the disk, with the number of the error.
pub(crate) fn told<T>(result: std::io::Result<T>) -> Io<T> {
    result.map_err(|error| {
        wait::leave_if_dead();
        errno_of(&error)
    })
}

/// A path of the process that runs, from the root on. What is left of `..` is for the disk to walk.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let directory = hosts().with_process(|state| state.directory.clone()).unwrap_or_else(|| "/".into());
    let mut out = PathBuf::from("/");
    for component in directory.join(path).components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => drop(out.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    out
}

pub(crate) fn exists(path: &Path) -> bool {
    posix::metadata(path, Follow::Always).is_ok()
}

/// Whether what is at a path is a directory.
pub(crate) fn is_directory(path: &Path) -> Io<bool> {
    told(posix::metadata(path, Follow::Always)).map(|found| found.is_dir())
}

/// The file that stands for a Unix socket at a path.
pub(crate) fn make_socket_file(path: &Path) -> Io<()> {
    let mode = Mode { write: true, create_new: true, permissions: 0o755, ..Mode::READ };
    match told(posix::open(path, mode)) {
        Ok(_) => Ok(()),
        Err(libc::EEXIST) => Err(libc::EADDRINUSE),
        Err(error) => Err(error),
    }
}

/// The flags of open(2) as the disk has them.
fn mode_of(flags: c_int, permissions: u32) -> Mode {
    let has = |flag| flags & flag == flag;
    let access = flags & libc::O_ACCMODE;
    let (create, excl) = (has(libc::O_CREAT), has(libc::O_EXCL));
    Mode {
        read: access != libc::O_WRONLY,
        write: access != libc::O_RDONLY,
        append: access != libc::O_RDONLY && has(libc::O_APPEND),
        truncate: has(libc::O_TRUNC),
        create: create && !excl,
        create_new: create && excl,
        direct: has(libc::O_DIRECT),
        sync: flags & (libc::O_SYNC | libc::O_DSYNC) != 0,
        directory: has(libc::O_DIRECTORY),
        no_follow: has(libc::O_NOFOLLOW),
        permissions: permissions & 0o7777,
    }
}

/// Opens a file of the process that runs.
pub(crate) fn open(path: &Path, flags: c_int, permissions: u32) -> Io<OpenFile> {
    let path = absolute(path);
    let body = match Device::at(&path) {
        Some(device) => Body::Device(device),
        None => match path.to_str().and_then(names::text_of).filter(|_| !exists(&path)) {
            Some(text) => Body::Text(text.into_bytes()),
            None => Body::Disk(told(posix::open(&path, mode_of(flags, permissions)))?),
        },
    };
    let opened = OpenFile { body, path, flags: Cell::new(flags), position: Cell::new(0) };
    if flags & libc::O_TRUNC != 0 {
        opened.cut(0..u64::MAX)?;
    }
    Ok(opened)
}

/// What stat(2) tells of a file.
pub(crate) struct Status {
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) inode: u64,
    pub(crate) links: u64,
    pub(crate) blocks: u64,
    /// When it was read, modified and changed, in nanoseconds since 1970.
    pub(crate) times: [u64; 3],
}

impl Status {
    /// Of something that is not on the disk.
    pub(crate) fn plain(mode: u32, size: u64) -> Self {
        Status { mode, size, inode: 0, links: 1, blocks: 0, times: [0; 3] }
    }
}

impl From<Metadata> for Status {
    fn from(found: Metadata) -> Self {
        let times = [found.accessed_ns(), found.modified_ns(), found.changed_ns()];
        let (mode, links, blocks) = (found.mode(), found.nlink(), found.blocks());
        Status { mode, size: found.len(), inode: found.ino(), links, blocks, times }
    }
}

/// stat(2) and lstat(2).
pub(crate) fn status(path: &Path, follow: bool) -> Io<Status> {
    let path = absolute(path);
    let follow = if follow { Follow::Always } else { Follow::NotLast };
    match told(posix::metadata(&path, follow)) {
        Ok(found) => Ok(found.into()),
        Err(error) => match Device::at(&path) {
            Some(_) => Ok(Device::status()),
            None => match path.to_str().and_then(names::text_of) {
                Some(text) => Ok(Status::plain(libc::S_IFREG | 0o444, text.len() as u64)),
                None => Err(error),
            },
        },
    }
}

impl OpenFile {
    /// The file on the disk.
    pub(crate) fn disk(&self) -> Io<&posix::File> {
        match &self.body {
            Body::Disk(file) => Ok(file),
            _ => Err(libc::EINVAL),
        }
    }

    /// Whether it is `/dev/zero`, whose mappings are memory like any other.
    pub(crate) fn is_zeros(&self) -> bool {
        matches!(self.body, Body::Device(Device::Zero))
    }

    pub(crate) fn status(&self) -> Io<Status> {
        match &self.body {
            Body::Disk(file) => told(file.metadata()).map(Status::from),
            Body::Text(text) => Ok(Status::plain(libc::S_IFREG | 0o444, text.len() as u64)),
            Body::Device(_) => Ok(Device::status()),
        }
    }

    /// Reads at an offset, or at the position, which moves on.
    pub(crate) fn read_from(&self, at: Option<u64>, buffer: &mut [u8]) -> Io<usize> {
        match &self.body {
            Body::Disk(file) => {
                if memory::any() {
                    let start = at.map_or_else(|| self.seek(0, libc::SEEK_CUR), Ok)?;
                    hosts().mappings.before_read(self, start..start.saturating_add(buffer.len() as u64))?;
                }
                match wait::can_wait() {
                    true => told(wait::block_on_future("read", file.read_in_time(at, buffer))),
                    false => told(file.read(at, buffer)),
                }
            }
            Body::Text(text) => {
                let start = usize::try_from(at.unwrap_or(self.position.get())).unwrap_or(usize::MAX).min(text.len());
                let length = buffer.len().min(text.len() - start);
                buffer[..length].copy_from_slice(&text[start..start + length]);
                if at.is_none() {
                    self.position.set((start + length) as u64);
                }
                Ok(length)
            }
            Body::Device(device) => Ok(device.read(buffer)),
        }
    }

    /// Writes at an offset, or at the position, which moves on.
    pub(crate) fn write_to(&self, at: Option<u64>, bytes: &[u8]) -> Io<usize> {
        match &self.body {
            Body::Disk(file) => {
                let written = match wait::can_wait() {
                    true => told(wait::block_on_future("write", file.write_in_time(at, bytes)))?,
                    false => told(file.write(at, bytes))?,
                };
                if memory::any() {
                    let appends = self.flags.get() & libc::O_APPEND != 0;
                    let start = match at {
                        Some(at) if !appends => at,
                        Some(_) => self.status()?.size - written as u64,
                        None => self.seek(0, libc::SEEK_CUR)? - written as u64,
                    };
                    hosts().mappings.after_write(self, start, &bytes[..written])?;
                }
                Ok(written)
            }
            Body::Text(_) => Err(libc::EACCES),
            Body::Device(device) => device.write(bytes),
        }
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Io<usize> {
        self.read_from(Some(offset), buffer)
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Io<usize> {
        self.write_to(Some(offset), bytes)
    }

    pub(crate) fn seek(&self, offset: i64, whence: c_int) -> Io<u64> {
        if let Body::Disk(file) = &self.body {
            let start = || u64::try_from(offset).map_err(|_| libc::EINVAL);
            return told(match whence {
                libc::SEEK_SET => file.seek(SeekFrom::Start(start()?)),
                libc::SEEK_CUR => file.seek(SeekFrom::Current(offset)),
                libc::SEEK_END => file.seek(SeekFrom::End(offset)),
                libc::SEEK_DATA => file.seek_sparse(start()?, true),
                libc::SEEK_HOLE => file.seek_sparse(start()?, false),
                _ => return Err(libc::EINVAL),
            });
        }
        let base = match whence {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => self.position.get(),
            libc::SEEK_END => self.status()?.size,
            _ => return Err(libc::EINVAL),
        };
        let position = base.checked_add_signed(offset).ok_or(libc::EINVAL)?;
        self.position.set(position);
        Ok(position)
    }

    /// fsync(2): takes its time, but for hosted code that is on no thread of its own and cannot wait.
    pub(crate) fn sync(&self) -> Io<()> {
        let Body::Disk(file) = &self.body else { return Ok(()) };
        self.bring_stores()?;
        match wait::can_wait() {
            true => told(wait::block_on_future("fsync", file.sync())),
            false => told(file.sync_now()),
        }
    }

    /// fdatasync(2), likewise.
    pub(crate) fn sync_data(&self) -> Io<()> {
        let Body::Disk(file) = &self.body else { return Ok(()) };
        self.bring_stores()?;
        match wait::can_wait() {
            true => told(wait::block_on_future("fdatasync", file.sync_data())),
            false => told(file.sync_data_now()),
        }
    }

    /// sync_file_range(2) of the whole file, waited for or not.
    pub(crate) fn sync_range(&self, waits: bool) -> Io<()> {
        let file = self.disk()?;
        self.bring_stores()?;
        match waits && wait::can_wait() {
            true => told(wait::block_on_future("sync_file_range", file.sync_range_in_time())),
            false => told(file.sync_range()),
        }
    }

    /// Brings what was stored through mappings of the file to it.
    fn bring_stores(&self) -> Io<()> {
        if memory::any() { hosts().mappings.before_read(self, 0..u64::MAX) } else { Ok(()) }
    }

    /// ftruncate(2).
    pub(crate) fn set_len(&self, size: u64) -> Io<()> {
        let before = self.status()?.size;
        told(self.disk()?.set_len(size))?;
        self.cut(size.min(before)..u64::MAX)
    }

    /// A range of the file has become zeros: so it has in memory.
    pub(crate) fn cut(&self, range: Range<u64>) -> Io<()> {
        if memory::any() {
            hosts().mappings.after_cut(self.status()?.inode, range);
        }
        Ok(())
    }

    /// The names in a directory, with the number and the kind of what they lead to.
    pub(crate) fn list(&self) -> Io<Vec<(OsString, u64, u8)>> {
        let kind = |kind| match kind {
            Kind::File => libc::DT_REG,
            Kind::Directory => libc::DT_DIR,
            Kind::Symlink => libc::DT_LNK,
        };
        let list = told(self.disk()?.list())?;
        let dots = [".", ".."].map(|name| (name.into(), 1, libc::DT_DIR));
        Ok(dots.into_iter().chain(list.into_iter().map(|(name, inode, what)| (name, inode, kind(what)))).collect())
    }
}

impl Object for OpenFile {
    fn read(&self, buffer: &mut [u8], _waker: &Waker) -> Io<usize> {
        self.read_from(None, buffer)
    }

    fn write(&self, bytes: &[u8], _waker: &Waker) -> Io<usize> {
        self.write_to(None, bytes)
    }

    fn as_file(&self) -> Option<&OpenFile> {
        Some(self)
    }
}
