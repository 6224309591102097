//! What the faces share: every call asks whether its process is alive, lets faults strike, and then asks the kernel.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sim_core::device::{self, Process, emit};
use sim_core::hash::hash_str;

use crate::kernel::{Kernel, act, act_if_running};
use crate::kinds;
use crate::lint::{Habit, Lint};
use crate::namespace::Rename;
use crate::open::{Follow, Mode};
use crate::path::words;
use crate::sync::Syncing;
use crate::volume::{Kind, Metadata, Volume};

/// The error of what a process does that has died.
#[cold]
pub(crate) fn dead() -> io::Error {
    io::Error::other("the process that did this on its disk has died")
}

pub(crate) fn living(process: Process) -> io::Result<Process> {
    if process.is_alive() { Ok(process) } else { Err(dead()) }
}

/// An open file: one reference to a descriptor of the kernel.
pub(crate) struct Handle {
    pub(crate) process: Process,
    pub(crate) slot: usize,
    pub(crate) path: Arc<str>,
}

impl Handle {
    pub(crate) fn open(path: &Path, mode: Mode) -> io::Result<Self> {
        const WHAT: &str = "fs::File::open";
        let process = living(device::process(WHAT))?;
        let words: Arc<str> = words(path).into();
        kinds::strikes_open(&words)?;
        living(process)?;
        let (slot, is_new) = act(WHAT, |kernel| kernel.open(process, path, &words, mode))?;
        match (is_new, mode.truncate) {
            (true, _) => note(process, "disk.create", &words),
            (false, true) => note(process, "disk.truncate", &words),
            (false, false) => {}
        }
        Ok(Handle { process, slot, path: words })
    }

    /// Does something with the kernel, if the process that opened this is alive.
    #[inline]
    pub(crate) fn act<R>(&self, what: &str, f: impl FnOnce(&mut Kernel) -> io::Result<R>) -> io::Result<R> {
        living(self.process)?;
        act(what, f)
    }

    #[inline]
    pub(crate) fn read(&self, at: Option<u64>, want: usize, put: impl FnMut(&[u8])) -> io::Result<usize> {
        let want = kinds::strikes_read(&self.path, want)?;
        self.act("fs::File::read", |kernel| kernel.read(self.slot, at, want, put))
    }

    #[inline]
    pub(crate) fn read_into(&self, at: Option<u64>, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = &mut *buffer;
        self.read(at, rest.len(), |part| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(part.len());
            head.copy_from_slice(part);
            rest = tail;
        })
    }

    pub(crate) fn read_to_end(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.read(None, usize::MAX, |part| bytes.extend_from_slice(part))? > 0 {}
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn write(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<usize> {
        living(self.process)?;
        let bytes = kinds::strikes_write(&self.path, bytes)?;
        living(self.process)?;
        let written = act("fs::File::write", |kernel| {
            kernel.refuses_sync_write(self.slot)?;
            kernel.write(self.slot, at, bytes, &self.path)
        })?;
        if written.sync {
            self.sync_now()?;
        }
        Ok(written.length)
    }

    pub(crate) fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.write(None, bytes)?;
            bytes = &bytes[written..];
        }
        Ok(())
    }

    pub(crate) fn seek(&self, to: SeekFrom) -> io::Result<u64> {
        self.act("fs::File::seek", |kernel| kernel.seek(self.slot, to))
    }

    pub(crate) fn set_len(&self, size: u64) -> io::Result<()> {
        self.act("fs::File::set_len", |kernel| kernel.set_size(self.slot, size, &self.path))
    }

    pub(crate) fn metadata(&self) -> io::Result<Metadata> {
        self.act("fs::File::metadata", |kernel| {
            let (descriptor, volume) = kernel.reach(self.slot);
            Ok(volume.metadata(descriptor.ino))
        })
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        self.act("fs::File::try_clone", |kernel| {
            kernel.duplicate(self.slot);
            Ok(Handle { process: self.process, slot: self.slot, path: self.path.clone() })
        })
    }

    /// An fsync that takes no time.
    pub(crate) fn sync_now(&self) -> io::Result<()> {
        living(self.process)?;
        let strike = kinds::strikes_fsync(&self.path)?;
        self.act("blocking::File::sync_all", |kernel| kernel.sync_now(self.slot, &self.path, strike))
    }

    /// An fsync that takes its time.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        living(self.process)?;
        let strike = kinds::strikes_fsync(&self.path)?;
        let token = self.act("fs::File::sync_all", |kernel| kernel.begin_sync(self.slot, &self.path, strike))?;
        Syncing::new(token, self.process).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.process.is_alive() {
            act_if_running(|kernel| kernel.close_file(self.slot));
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", self.path)
    }
}

/// An entry of a directory, as it was when the directory was read.
#[derive(Clone, Debug)]
pub(crate) struct DirItem {
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) ino: u64,
}

impl DirItem {
    pub(crate) fn file_name(&self) -> OsString {
        self.path.file_name().map(OsStr::to_os_string).unwrap_or_default()
    }
}

/// Adds an event about names, which are its words and move the digest.
fn note(process: Process, kind: &'static str, words: &str) {
    emit(process.node, kind, &[hash_str(words)], || words.to_string());
}

/// Looks at the volume of the process that is running.
pub(crate) fn look<R>(what: &str, f: impl FnOnce(&mut Volume) -> io::Result<R>) -> io::Result<R> {
    let process = living(device::process(what))?;
    act(what, |kernel| f(kernel.volume(process.node)))
}

/// Changes names; `words` are what faults and events see.
fn change(
    what: &str,
    kind: &'static str,
    words: &str,
    f: impl FnOnce(&mut Volume) -> io::Result<()>,
) -> io::Result<()> {
    let process = living(device::process(what))?;
    act(what, |kernel| {
        f(kernel.volume(process.node))?;
        kernel.stir(process.node);
        Ok::<(), io::Error>(())
    })?;
    note(process, kind, words);
    Ok(())
}

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    Handle::open(path, Mode::READ)?.read_to_end()
}

pub(crate) fn read_to_string(path: &Path) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
    String::from_utf8(read(path)?).map_err(not_text)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Handle::open(path, Mode::CREATE)?.write_all(bytes)
}

pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let from = Handle::open(from, Mode::READ)?;
    if from.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the source path is not a file"));
    }
    let to = Handle::open(to, Mode::CREATE)?;
    let bytes = from.read_to_end()?;
    to.write_all(&bytes)?;
    Ok(bytes.len() as u64)
}

pub(crate) fn stat(path: &Path, follow: Follow) -> io::Result<Metadata> {
    look("fs::metadata", |volume| volume.resolve(path, follow).map(|ino| volume.metadata(ino)))
}

pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    stat(path, Follow::Always)
}

pub(crate) fn symlink_metadata(path: &Path) -> io::Result<Metadata> {
    stat(path, Follow::NotLast)
}

pub(crate) fn try_exists(path: &Path) -> io::Result<bool> {
    match metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn mkdir(path: &Path, mode: u32) -> io::Result<()> {
    let most = act("fs::create_dir", |kernel| kernel.options.capacity.inodes);
    change("fs::create_dir", "disk.mkdir", &words(path), |volume| match most {
        Some(most) if volume.usage().1 >= most => Err(crate::errno::Errno::NoSpace.into()),
        _ => volume.mkdir(path, mode),
    })
}

pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    mkdir(path, 0o755)
}

pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let made = match (create_dir(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            create_dir_all(parent)?;
            create_dir(path)
        }
        (made, _) => made,
    };
    made.or_else(|error| if metadata(path).is_ok_and(|found| found.is_dir()) { Ok(()) } else { Err(error) })
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    change("fs::remove_file", "disk.unlink", &words(path), |volume| volume.unlink(path))
}

pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    change("fs::remove_dir", "disk.rmdir", &words(path), |volume| volume.rmdir(path))
}

/// As std's, takes what is gone already for removed, and a symbolic link for itself.
pub(crate) fn remove_dir_all(path: &Path) -> io::Result<()> {
    if symlink_metadata(path)?.is_symlink() {
        return remove_file(path);
    }
    let gone = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    for entry in read_dir(path)? {
        let is_directory = entry.kind == Kind::Directory;
        gone(if is_directory { remove_dir_all(&entry.path) } else { remove_file(&entry.path) })?;
    }
    gone(remove_dir(path))
}

pub(crate) fn rename_as(from: &Path, to: &Path, how: Rename) -> io::Result<()> {
    kinds::strikes_rename(&words(to))?;
    lint_rename(from)?;
    let both = format!("{} -> {}", words(from), words(to));
    change("fs::rename", "disk.rename", &both, |volume| volume.rename(from, to, how))
}

/// Notes a rename of a file whose content is not durable.
fn lint_rename(from: &Path) -> io::Result<()> {
    let process = living(device::process("fs::rename"))?;
    act("fs::rename", |kernel| {
        let machine = kernel.machine(process.node);
        let Ok(ino) = machine.volume.resolve(from, Follow::NotLast) else { return };
        if machine.volume.get(ino).content().is_some_and(|content| !content.pending.is_empty()) {
            machine.lints.insert(Lint { path: words(from), habit: Habit::RenamedWithoutFsync });
        }
    });
    Ok(())
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    rename_as(from, to, Rename::Replace)
}

pub(crate) fn hard_link(original: &Path, link: &Path) -> io::Result<()> {
    let both = format!("{} -> {}", words(link), words(original));
    change("fs::hard_link", "disk.link", &both, |volume| volume.link(original, link, Follow::NotLast))
}

pub(crate) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let both = format!("{} -> {}", words(link), target.display());
    change("fs::symlink", "disk.symlink", &both, |volume| volume.symlink(target, link))
}

pub(crate) fn read_link(path: &Path) -> io::Result<PathBuf> {
    look("fs::read_link", |volume| volume.readlink(path))
}

pub(crate) fn canonicalize(path: &Path) -> io::Result<PathBuf> {
    look("fs::canonicalize", |volume| volume.real_path(path))
}

pub(crate) fn read_dir(path: &Path) -> io::Result<Vec<DirItem>> {
    let names = look("fs::read_dir", |volume| {
        let dir = volume.resolve(path, Follow::Always)?;
        volume.list(dir)
    })?;
    let item = |(name, ino, kind): (crate::volume::Name, crate::volume::Ino, Kind)| DirItem {
        path: path.join(&*name),
        kind,
        ino: ino.0,
    };
    Ok(names.into_iter().map(item).collect())
}
