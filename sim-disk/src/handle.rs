//! What the faces share: every call asks whether its process is alive, lets faults strike, and then asks the kernel.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sim_core::device::{self, Process, emit};
use sim_core::fault::{hit_after, hit_amid};
use sim_core::hash::hash_str;

use crate::kernel::{Allocate, Kernel, act, act_if_running};
use crate::kinds;
use crate::lint::{Habit, Lint};
use crate::namespace::Rename;
use crate::open::{Follow, Mode};
use crate::operation::Waiting;
use crate::pages::PAGE;
use crate::path::{self, words};
use crate::strikes::{strikes, strikes_fsync};
use crate::sync::Extent;
use crate::volume::{Kind, Metadata, Volume};

/// The error of what a process does that has died.
#[cold]
pub(crate) fn dead() -> io::Error {
    io::Error::other("the process that did this on its disk has died")
}

pub(crate) fn living(process: Process) -> io::Result<Process> {
    if process.is_alive() { Ok(process) } else { Err(dead()) }
}

/// An operation is done, and faults strike before its caller hears of it.
#[inline]
fn done<R>(process: Process, point: &str, subject: &str, result: io::Result<R>) -> io::Result<R> {
    if hit_after(point, subject) { living(process).and(result) } else { result }
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
        strikes(kinds::OPEN, &words, 1)?;
        living(process)?;
        let opened = act(WHAT, |kernel| {
            kernel.meets(process.node, kinds::OPEN, &words, 1)?;
            kernel.open(process, path, &words, mode)
        });
        let (slot, is_new) = done(process, kinds::OPEN, &words, opened)?;
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
        let want = strikes(kinds::READ, &self.path, want)?;
        let read = self.act("fs::File::read", |kernel| {
            let want = kernel.meets(self.process.node, kinds::READ, &self.path, want)?;
            kernel.read(self.slot, at, want, put)
        });
        done(self.process, kinds::READ, &self.path, read)
    }

    /// What a read waits for, if for anything.
    pub(crate) fn begin_read(&self, at: Option<u64>, want: usize) -> io::Result<Option<Waiting>> {
        let token = self.act("fs::File::read", |kernel| Ok(kernel.begin_read(self.slot, at, want)))?;
        Ok(token.map(|token| Waiting::new(token, self.process)))
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

    /// Writes as far as the page cache, or past it. True: it must be synced before it is done.
    #[inline]
    fn write_part(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<(usize, bool)> {
        living(self.process)?;
        let length = strikes(kinds::WRITE, &self.path, bytes.len())?;
        if length > PAGE {
            let mut part = Ok((0, false));
            if hit_amid(kinds::WRITE, &self.path, || part = self.write_pages(at, bytes)) {
                return living(self.process).and(part);
            }
        }
        let length = length.min(bytes.len());
        living(self.process)?;
        act("fs::File::write", |kernel| {
            let length = kernel.meets(self.process.node, kinds::WRITE, &self.path, length)?;
            kernel.refuses_sync_write(self.slot)?;
            kernel.write(self.slot, at, &bytes[..length], &self.path)
        })
    }

    /// Some pages of a write, and at the least the first: what a process has done that is killed in the middle of it.
    fn write_pages(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<(usize, bool)> {
        self.act("fs::File::write", |kernel| {
            let draws = &mut kernel.machine(self.process.node).crash_draws;
            let pages = 1 + draws.below(bytes.len().div_ceil(PAGE) as u64 - 1) as usize;
            kernel.write(self.slot, at, &bytes[..pages * PAGE], &self.path)
        })
    }

    /// A write that takes no time.
    #[inline]
    pub(crate) fn write(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<usize> {
        let written = self.write_part(at, bytes).and_then(|(length, syncs)| {
            if syncs {
                self.sync_now(Extent::Data)?;
            }
            Ok(length)
        });
        done(self.process, kinds::WRITE, &self.path, written)
    }

    /// A write, and what to wait for before it is done, if for anything.
    pub(crate) fn begin_write(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<(usize, Option<Waiting>)> {
        let written = self.write_part(at, bytes).and_then(|(length, syncs)| match syncs {
            true => Ok((length, Some(self.begin_sync(Extent::Data)?))),
            false => {
                let token = self.act("fs::File::write", |kernel| Ok(kernel.begin_write(self.slot, length)))?;
                Ok((length, token.map(|token| Waiting::new(token, self.process))))
            }
        });
        match written {
            // Whoever has waited says that it is done.
            Ok((_, Some(_))) => written,
            _ => done(self.process, kinds::WRITE, &self.path, written),
        }
    }

    /// A write that was waited for is done.
    pub(crate) fn end_write(&self, result: io::Result<usize>) -> io::Result<usize> {
        done(self.process, kinds::WRITE, &self.path, result)
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
        self.change_length("fs::File::set_len", |kernel| kernel.set_size(self.slot, size, &self.path))
    }

    pub(crate) fn allocate(&self, how: Allocate, from: u64, length: u64) -> io::Result<()> {
        self.change_length("posix::File::allocate", |kernel| kernel.allocate(self.slot, how, from, length, &self.path))
    }

    fn change_length(&self, what: &str, f: impl FnOnce(&mut Kernel) -> io::Result<()>) -> io::Result<()> {
        living(self.process)?;
        strikes(kinds::SET_LEN, &self.path, 1)?;
        let changed = self.act(what, |kernel| {
            kernel.meets(self.process.node, kinds::SET_LEN, &self.path, 1)?;
            f(kernel)
        });
        done(self.process, kinds::SET_LEN, &self.path, changed)
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
    pub(crate) fn sync_now(&self, extent: Extent) -> io::Result<()> {
        living(self.process)?;
        let mut strike = strikes_fsync(&self.path)?;
        let synced = self.act("blocking::File::sync_all", |kernel| {
            kernel.meets_fsync(self.process.node, &self.path, &mut strike)?;
            kernel.sync_now(self.slot, &self.path, extent, strike)
        });
        done(self.process, kinds::FSYNC, &self.path, synced)
    }

    fn begin_sync(&self, extent: Extent) -> io::Result<Waiting> {
        living(self.process)?;
        let mut strike = strikes_fsync(&self.path)?;
        let token = self.act("fs::File::sync_all", |kernel| {
            kernel.meets_fsync(self.process.node, &self.path, &mut strike)?;
            kernel.begin_sync(self.slot, &self.path, extent, strike)
        })?;
        Ok(Waiting::new(token, self.process))
    }

    /// An fsync that takes its time.
    pub(crate) async fn sync(&self, extent: Extent) -> io::Result<()> {
        let synced = match self.begin_sync(extent) {
            Ok(waiting) => waiting.await,
            Err(error) => Err(error),
        };
        done(self.process, kinds::FSYNC, &self.path, synced)
    }

    /// A write-back that is waited for.
    pub(crate) async fn stage(&self) -> io::Result<()> {
        let token = self.act("fs::File::write", |kernel| kernel.begin_stage(self.slot))?;
        Waiting::new(token, self.process).await
    }

    /// A read that takes its time.
    pub(crate) async fn read_in_time(&self, at: Option<u64>, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(waiting) = self.begin_read(at, buffer.len())? {
            waiting.await?;
        }
        self.read_into(at, buffer)
    }

    /// A write that takes its time.
    pub(crate) async fn write_in_time(&self, at: Option<u64>, bytes: &[u8]) -> io::Result<usize> {
        match self.begin_write(at, bytes)? {
            (length, None) => Ok(length),
            (length, Some(waiting)) => self.end_write(waiting.await.map(|()| length)),
        }
    }

    /// Reads to the end in its time.
    pub(crate) async fn load(&self) -> io::Result<Vec<u8>> {
        if let Some(waiting) = self.begin_read(None, usize::MAX)? {
            waiting.await?;
        }
        self.read_to_end()
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

/// Changes names, after and before the faults that strike at `point`, whose subject is the path. The `words` are what
/// events say.
fn change(
    what: &str,
    point: &'static str,
    path: &Path,
    (kind, words): (&'static str, &str),
    f: impl FnOnce(&mut Volume) -> io::Result<()>,
) -> io::Result<()> {
    let process = living(device::process(what))?;
    let subject = path::words(path);
    strikes(point, &subject, 1)?;
    living(process)?;
    let changed = act(what, |kernel| {
        kernel.meets(process.node, point, &subject, 1)?;
        f(kernel.volume(process.node))?;
        kernel.stir(process.node);
        Ok(())
    });
    if changed.is_ok() {
        note(process, kind, words);
    }
    done(process, point, &subject, changed)
}

pub(crate) fn read_now(path: &Path) -> io::Result<Vec<u8>> {
    Handle::open(path, Mode::READ)?.read_to_end()
}

pub(crate) async fn read(path: &Path) -> io::Result<Vec<u8>> {
    Handle::open(path, Mode::READ)?.load().await
}

pub(crate) fn text(bytes: Vec<u8>) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
    String::from_utf8(bytes).map_err(not_text)
}

pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Handle::open(path, Mode::CREATE)?.write_all(bytes)
}

/// The two ends of a copy.
fn ends(from: &Path, to: &Path) -> io::Result<(Handle, Handle)> {
    let from = Handle::open(from, Mode::READ)?;
    if from.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the source path is not a file"));
    }
    Ok((from, Handle::open(to, Mode::CREATE)?))
}

pub(crate) fn copy_now(from: &Path, to: &Path) -> io::Result<u64> {
    let (from, to) = ends(from, to)?;
    let bytes = from.read_to_end()?;
    to.write_all(&bytes)?;
    Ok(bytes.len() as u64)
}

pub(crate) async fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let (from, to) = ends(from, to)?;
    let bytes = from.load().await?;
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
    change("fs::create_dir", kinds::MAKE, path, ("disk.mkdir", &words(path)), |volume| match most {
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
    let removed =
        change("fs::remove_file", kinds::REMOVE, path, ("disk.unlink", &words(path)), |volume| volume.unlink(path));
    match removed {
        // A socket is a file of another device.
        Err(error) if error.kind() == io::ErrorKind::NotFound && device::unlink(&path.to_string_lossy()) => Ok(()),
        removed => removed,
    }
}

pub(crate) fn remove_dir(path: &Path) -> io::Result<()> {
    change("fs::remove_dir", kinds::REMOVE, path, ("disk.rmdir", &words(path)), |volume| volume.rmdir(path))
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
    let both = format!("{} -> {}", words(from), words(to));
    lint_rename(from)?;
    change("fs::rename", kinds::RENAME, to, ("disk.rename", &both), |volume| volume.rename(from, to, how))
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
    change("fs::hard_link", kinds::MAKE, link, ("disk.link", &both), |volume| {
        volume.link(original, link, Follow::NotLast)
    })
}

pub(crate) fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    let both = format!("{} -> {}", words(link), target.display());
    change("fs::symlink", kinds::MAKE, link, ("disk.symlink", &both), |volume| volume.symlink(target, link))
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
