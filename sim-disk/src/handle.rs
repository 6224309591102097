//! What the two faces share: every call asks whether its process is alive, lets faults strike, and then asks the kernel.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sim_core::device::{self, Process, emit};
use sim_core::hash::hash_str;

use crate::fault;
use crate::kernel::{Kernel, act, act_if_running};
use crate::open::Mode;
use crate::path::Normal;
use crate::sync::Syncing;
use crate::volume::{Metadata, Volume};

/// The error of what a process does that has died.
#[cold]
pub(crate) fn dead() -> io::Error {
    io::Error::other("the process that did this on its disk has died")
}

fn living(process: Process) -> io::Result<Process> {
    if process.is_alive() { Ok(process) } else { Err(dead()) }
}

/// An open file: one reference to a descriptor of the kernel.
pub(crate) struct Handle {
    process: Process,
    slot: usize,
    path: Arc<str>,
}

impl Handle {
    pub(crate) fn open(path: &Path, mode: Mode) -> io::Result<Self> {
        const WHAT: &str = "fs::File::open";
        let process = living(device::process(WHAT))?;
        let path = Normal::new(path)?;
        let (slot, is_new) = act(WHAT, |kernel| kernel.open(process, &path, mode))?;
        let path: Arc<str> = path.words().into();
        match (is_new, mode.truncate) {
            (true, _) => note(process, "disk.create", &path),
            (false, true) => note(process, "disk.truncate", &path),
            (false, false) => {}
        }
        Ok(Handle { process, slot, path })
    }

    /// Does something with the kernel, if the process that opened this is alive.
    #[inline]
    fn act<R>(&self, what: &str, f: impl FnOnce(&mut Kernel) -> io::Result<R>) -> io::Result<R> {
        living(self.process)?;
        act(what, f)
    }

    #[inline]
    pub(crate) fn read(&self, at: Option<u64>, want: usize, put: impl FnMut(&[u8])) -> io::Result<usize> {
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
        self.read(None, usize::MAX, |part| bytes.extend_from_slice(part))?;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn write(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<usize> {
        living(self.process)?;
        fault::strikes(fault::WRITE, &self.path);
        self.act("fs::File::write", |kernel| kernel.write(self.slot, at, bytes, &self.path))
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
        let fails = fault::strikes_fsync(&self.path);
        self.act("blocking::File::sync_all", |kernel| kernel.sync_now(self.slot, &self.path, fails))
    }

    /// An fsync that takes its time.
    pub(crate) async fn sync(&self) -> io::Result<()> {
        living(self.process)?;
        let fails = fault::strikes_fsync(&self.path);
        let begin = |kernel: &mut Kernel| Ok(kernel.begin_sync(self.slot, &self.path, fails));
        let token = self.act("fs::File::sync_all", begin)?;
        Syncing::new(token, self.process).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.process.is_alive() {
            act_if_running(|kernel| kernel.close(self.slot));
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
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    pub(crate) directory: bool,
}

impl Entry {
    pub(crate) fn file_name(&self) -> OsString {
        self.path.file_name().map(OsStr::to_os_string).unwrap_or_default()
    }
}

/// Adds an event about names, which are its words and move the digest.
fn note(process: Process, kind: &'static str, words: &str) {
    emit(process.node, kind, &[hash_str(words)], || words.to_string());
}

/// A path of the process that is running.
fn given(what: &str, path: &Path) -> io::Result<(Process, Normal)> {
    Ok((living(device::process(what))?, Normal::new(path)?))
}

/// Changes one name.
fn change(
    what: &str,
    kind: &'static str,
    path: &Path,
    f: impl FnOnce(&mut Volume, &Normal) -> io::Result<()>,
) -> io::Result<()> {
    let (process, path) = given(what, path)?;
    act(what, |kernel| f(kernel.volume(process.node), &path))?;
    note(process, kind, &path.words());
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

pub(crate) fn metadata(path: &Path) -> io::Result<Metadata> {
    const WHAT: &str = "fs::metadata";
    let (process, path) = given(WHAT, path)?;
    act(WHAT, |kernel| {
        let volume = kernel.volume(process.node);
        volume.resolve(&path).map(|ino| volume.metadata(ino))
    })
}

pub(crate) fn try_exists(path: &Path) -> io::Result<bool> {
    match metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    change("fs::create_dir", "disk.mkdir", path, Volume::mkdir)
}

pub(crate) fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    match (create_dir(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            create_dir_all(parent)?;
            create_dir(path)
        }
        (Err(_), _) if metadata(path).is_ok_and(|found| found.is_dir()) => Ok(()),
        (result, _) => result,
    }
}

pub(crate) fn remove_file(path: &Path) -> io::Result<()> {
    change("fs::remove_file", "disk.unlink", path, Volume::unlink)
}

pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    change("fs::remove_dir", "disk.rmdir", path, Volume::rmdir)
}

pub(crate) fn remove_dir_all(path: &Path) -> io::Result<()> {
    for entry in read_dir(path)? {
        if entry.directory { remove_dir_all(&entry.path)? } else { remove_file(&entry.path)? }
    }
    remove_dir(path)
}

pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    const WHAT: &str = "fs::rename";
    let (process, from) = given(WHAT, from)?;
    let to = Normal::new(to)?;
    fault::strikes(fault::RENAME, &to.words());
    living(process)?;
    act(WHAT, |kernel| kernel.volume(process.node).rename(&from, &to))?;
    note(process, "disk.rename", &format!("{} -> {}", from.words(), to.words()));
    Ok(())
}

pub(crate) fn hard_link(original: &Path, link: &Path) -> io::Result<()> {
    const WHAT: &str = "fs::hard_link";
    let (process, original) = given(WHAT, original)?;
    let link = Normal::new(link)?;
    act(WHAT, |kernel| kernel.volume(process.node).link(&original, &link))?;
    note(process, "disk.link", &format!("{} -> {}", link.words(), original.words()));
    Ok(())
}

pub(crate) fn read_dir(path: &Path) -> io::Result<Vec<Entry>> {
    const WHAT: &str = "fs::read_dir";
    let (process, normal) = given(WHAT, path)?;
    let names = act(WHAT, |kernel| kernel.volume(process.node).list(&normal))?;
    Ok(names.into_iter().map(|(name, directory)| Entry { path: path.join(&*name), directory }).collect())
}
