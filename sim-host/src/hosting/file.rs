//! Files as descriptors: those of the node's volume, and the few that the simulation itself writes.

use std::cell::Cell;
use std::ffi::c_int;
use std::future::Future;
use std::path::{Component, Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use sim_core::ambient;
use sim_disk::fs;

use super::descriptor::{Io, Object, errno_of};
use super::device::{Entry, hosts};
use super::names;

/// What an open file reads from and writes to.
pub(crate) enum Body {
    Disk(fs::File),
    /// A text that the simulation made, such as `/etc/hosts`.
    Text(Vec<u8>),
    /// `/dev/urandom`.
    Random,
    /// `/dev/null`.
    Null,
}

/// An open file or directory.
pub(crate) struct OpenFile {
    pub(crate) body: Body,
    pub(crate) path: PathBuf,
    pub(crate) flags: c_int,
    position: Cell<u64>,
}

/// The result of a future that never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = std::io::Result<T>>) -> Io<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map_err(|error| errno_of(&error)),
        Poll::Pending => Err(libc::EIO),
    }
}

/// A path of the process that runs, from the root on and without `.` and `..`.
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
    at_once(fs::try_exists(path)).unwrap_or(false)
}

/// Whether what is at a path is a directory.
pub(crate) fn is_directory(path: &Path) -> Io<bool> {
    at_once(fs::metadata(path)).map(|found| found.is_dir())
}

/// The file that stands for a Unix socket at a path.
pub(crate) fn make_socket_file(path: &Path) -> Io<()> {
    if exists(path) {
        return Err(libc::EADDRINUSE);
    }
    let made = at_once(fs::OpenOptions::new().write(true).create_new(true).open(path));
    made.map(|_| ()).map_err(|error| if error == libc::EEXIST { libc::EADDRINUSE } else { error })
}

/// Opens a file of the process that runs.
pub(crate) fn open(path: &Path, flags: c_int) -> Io<OpenFile> {
    let path = absolute(path);
    let body = match path.to_str() {
        Some("/dev/urandom" | "/dev/random") => Body::Random,
        Some("/dev/null") => Body::Null,
        Some(words) => match names::text_of(words) {
            Some(text) => Body::Text(text.into_bytes()),
            None => Body::Disk(open_on_disk(&path, flags)?),
        },
        None => Body::Disk(open_on_disk(&path, flags)?),
    };
    Ok(OpenFile { body, path, flags, position: Cell::new(0) })
}

fn open_on_disk(path: &Path, flags: c_int) -> Io<fs::File> {
    let access = flags & libc::O_ACCMODE;
    let has = |flag| flags & flag != 0;
    let writes = access == libc::O_WRONLY || access == libc::O_RDWR;
    let known = at_once(fs::metadata(path));
    let creates = has(libc::O_CREAT);
    if has(libc::O_DIRECTORY) && known.as_ref().is_ok_and(|found| !found.is_dir()) {
        return Err(libc::ENOTDIR);
    }
    if creates && has(libc::O_EXCL) && known.is_ok() {
        return Err(libc::EEXIST);
    }
    // The faces refuse to create or truncate what they do not write, and Linux does not.
    let any = writes || creates || has(libc::O_TRUNC);
    let mut options = fs::OpenOptions::new();
    options.read(true).write(any && known.as_ref().map_or(true, |found| !found.is_dir() || writes));
    options.create(creates).truncate(has(libc::O_TRUNC));
    at_once(options.open(path))
}

impl OpenFile {
    fn may_read(&self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_WRONLY
    }

    fn may_write(&self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_RDONLY
    }

    pub(crate) fn size(&self) -> u64 {
        match &self.body {
            Body::Disk(file) => at_once(file.metadata()).map_or(0, |found| found.len()),
            Body::Text(text) => text.len() as u64,
            Body::Random | Body::Null => 0,
        }
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Io<usize> {
        if !self.may_read() {
            return Err(libc::EBADF);
        }
        match &self.body {
            Body::Disk(file) => at_once(file.read_at(buffer, offset)),
            Body::Text(text) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                let length = buffer.len().min(text.len() - start);
                buffer[..length].copy_from_slice(&text[start..start + length]);
                Ok(length)
            }
            Body::Random => {
                ambient::entropy(buffer);
                Ok(buffer.len())
            }
            Body::Null => Ok(0),
        }
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Io<usize> {
        if !self.may_write() {
            return Err(libc::EBADF);
        }
        match &self.body {
            Body::Disk(file) => at_once(file.write_at(bytes, offset)),
            Body::Text(_) => Err(libc::EACCES),
            Body::Random | Body::Null => Ok(bytes.len()),
        }
    }

    pub(crate) fn seek(&self, offset: i64, whence: c_int) -> Io<u64> {
        let base = match whence {
            libc::SEEK_SET => 0,
            libc::SEEK_CUR => self.position.get(),
            libc::SEEK_END => self.size(),
            _ => return Err(libc::EINVAL),
        };
        let position = base.checked_add_signed(offset).ok_or(libc::EINVAL)?;
        self.position.set(position);
        Ok(position)
    }
}

impl Object for OpenFile {
    fn read(&self, buffer: &mut [u8], _waker: &Waker) -> Io<usize> {
        let length = self.read_at(buffer, self.position.get())?;
        self.position.set(self.position.get() + length as u64);
        Ok(length)
    }

    fn write(&self, bytes: &[u8], _waker: &Waker) -> Io<usize> {
        let at = if self.flags & libc::O_APPEND != 0 { self.size() } else { self.position.get() };
        let length = self.write_at(bytes, at)?;
        self.position.set(at + length as u64);
        Ok(length)
    }

    fn as_file(&self) -> Option<&OpenFile> {
        Some(self)
    }
}

/// A descriptor was closed.
pub(crate) fn on_close(_entry: &Entry) {}
