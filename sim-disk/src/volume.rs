//! The volume of one machine: inodes, and directories whose entries are live first and durable later.
//!
//! Every effect that is not durable yet carries an order number: a dirty page that of its last write, a changed name that
//! of its last change.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::rc::Rc;

use sim_core::NodeId;
use sim_core::choice::{Draws, Stream};
use sim_core::device;
use slab::Slab;

use crate::content::{Content, Writeback};
use crate::errno::Errno;
use crate::open::Mode;
use crate::path::Normal;

/// The stream of choices of the disk; the entity is the node.
const DISK: Stream = Stream::new("disk");

/// The number of an inode on its volume.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ino(pub(crate) usize);

pub(crate) const ROOT: Ino = Ino(0);

pub(crate) type Name = Rc<OsStr>;

/// A file or a directory, whatever its names are.
pub(crate) struct Inode {
    pub(crate) body: Body,
    links: u32,
    durable_links: u32,
    /// Descriptors and fsyncs that keep it without a name.
    holders: u32,
    /// How many fsyncs of it failed.
    errors: u32,
    /// Somebody was told of the last failure.
    error_seen: bool,
}

pub(crate) enum Body {
    File(Content),
    Directory(Directory),
}

/// The names in a directory: as processes see them, and as the medium has them.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) live: BTreeMap<Name, Ino>,
    pub(crate) durable: BTreeMap<Name, Ino>,
    /// Names that changed since the last fsync, each with the order number of its last change.
    changed: BTreeMap<Name, u64>,
    /// Where the medium has this directory itself.
    home: Option<(Ino, Name)>,
}

/// A name on its way to the medium. Keeps its directory and the inode it leads to.
pub(crate) struct NameChange {
    dir: Ino,
    name: Name,
    leads_to: Option<Ino>,
    order: u64,
}

impl NameChange {
    fn held(&self) -> impl Iterator<Item = Ino> + use<> {
        self.leads_to.into_iter().chain([self.dir])
    }
}

/// What an fsync has taken up.
pub(crate) struct Work {
    content: Option<Writeback>,
    names: Vec<NameChange>,
}

impl Work {
    /// Pages and names in it.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.content.as_ref().map_or(0, Writeback::page_count), self.names.len())
    }

    pub(crate) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }
}

/// What stat(2) tells of a file or directory, as far as this disk has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    directory: bool,
    size: u64,
    links: u64,
}

impl Metadata {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.directory
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        !self.directory
    }

    /// Always false: there are no symbolic links.
    pub fn is_symlink(&self) -> bool {
        false
    }

    /// Its length in bytes; 4096 for a directory.
    #[expect(clippy::len_without_is_empty, reason = "as std::fs::Metadata")]
    pub fn len(&self) -> u64 {
        self.size
    }

    /// How many names it has; for a directory, two more than it has directories.
    pub fn nlink(&self) -> u64 {
        self.links
    }
}

pub(crate) struct Volume {
    inodes: Slab<Inode>,
    /// How many effects there were.
    effects: u64,
    /// Directories in which names changed since their last fsync.
    restless: BTreeSet<Ino>,
    pub(crate) draws: Draws,
}

impl Volume {
    pub(crate) fn new(node: NodeId) -> Self {
        let mut inodes = Slab::new();
        let root = Inode { links: 1, durable_links: 1, ..Inode::new(Body::Directory(Directory::default())) };
        inodes.insert(root);
        Volume { inodes, effects: 0, restless: BTreeSet::new(), draws: device::draws(DISK, u64::from(node.0)) }
    }

    #[inline]
    pub(crate) fn next_effect(&mut self) -> u64 {
        self.effects += 1;
        self.effects
    }

    #[inline]
    pub(crate) fn inode(&mut self, ino: Ino) -> &mut Inode {
        &mut self.inodes[ino.0]
    }

    pub(crate) fn body(&self, ino: Ino) -> &Body {
        &self.inodes[ino.0].body
    }

    /// The content of a file.
    ///
    /// # Errors
    /// `EISDIR` for a directory.
    #[inline]
    pub(crate) fn content(&mut self, ino: Ino) -> io::Result<&mut Content> {
        match &mut self.inode(ino).body {
            Body::File(content) => Ok(content),
            Body::Directory(_) => Err(Errno::IsADirectory.into()),
        }
    }

    fn directory(&self, ino: Ino) -> io::Result<&Directory> {
        match self.body(ino) {
            Body::Directory(directory) => Ok(directory),
            Body::File(_) => Err(Errno::NotADirectory.into()),
        }
    }

    /// Changes a directory, which the inode must be.
    fn with_directory<R>(&mut self, ino: Ino, change: impl FnOnce(&mut Directory) -> R) -> Option<R> {
        match &mut self.inode(ino).body {
            Body::Directory(directory) => Some(change(directory)),
            Body::File(_) => None,
        }
    }

    fn is_directory(&self, ino: Ino) -> bool {
        self.directory(ino).is_ok()
    }

    pub(crate) fn metadata(&self, ino: Ino) -> Metadata {
        let inode = &self.inodes[ino.0];
        match &inode.body {
            Body::File(content) => Metadata { directory: false, size: content.size(), links: u64::from(inode.links) },
            Body::Directory(directory) => {
                let inner = directory.live.values().filter(|ino| self.is_directory(**ino)).count() as u64;
                let links = if inode.links == 0 { 0 } else { 2 + inner };
                Metadata { directory: true, size: 4096, links }
            }
        }
    }
}

impl Inode {
    fn new(body: Body) -> Self {
        Inode { body, links: 0, durable_links: 0, holders: 0, errors: 0, error_seen: true }
    }

    /// What a new descriptor knows of failed fsyncs: all, unless nobody was told of the last one (errseq_sample in
    /// lib/errseq.c of Linux).
    pub(crate) fn sample_errors(&self) -> u32 {
        if self.error_seen { self.errors } else { self.errors - 1 }
    }

    /// Tells a descriptor once that an fsync failed since it last asked.
    pub(crate) fn check_errors(&mut self, known: &mut u32) -> io::Result<()> {
        if *known == self.errors {
            return Ok(());
        }
        *known = self.errors;
        self.error_seen = true;
        Err(Errno::Io.into())
    }
}

// Paths and names.
impl Volume {
    pub(crate) fn resolve(&self, path: &Normal) -> io::Result<Ino> {
        self.walk(path.names())
    }

    fn walk<'a>(&self, mut names: impl Iterator<Item = &'a OsStr>) -> io::Result<Ino> {
        names.try_fold(ROOT, |ino, name| Ok(*self.directory(ino)?.live.get(name).ok_or(Errno::NotFound)?))
    }

    /// The directory that a path is in and its name there; `of_root` is the error for the root.
    fn place<'a>(&self, path: &'a Normal, of_root: Errno) -> io::Result<(Ino, &'a OsStr)> {
        let mut names = path.names();
        let name = names.next_back().ok_or(of_root)?;
        let dir = self.walk(names)?;
        self.directory(dir)?;
        Ok((dir, name))
    }

    fn entry(&self, dir: Ino, name: &OsStr) -> Option<Ino> {
        self.directory(dir).ok()?.live.get(name).copied()
    }

    /// A place for a new name.
    fn vacancy<'a>(&self, path: &'a Normal) -> io::Result<(Ino, &'a OsStr)> {
        let (dir, name) = self.place(path, Errno::Exists)?;
        match self.entry(dir, name) {
            Some(_) => Err(Errno::Exists.into()),
            None => Ok((dir, name)),
        }
    }

    /// Lets a live name lead elsewhere, or nowhere. Not durable before an fsync of the directory.
    fn relink(&mut self, order: u64, dir: Ino, name: &OsStr, leads_to: Option<Ino>) {
        if let Some(ino) = leads_to {
            self.inode(ino).links += 1;
        }
        self.restless.insert(dir);
        let old = self.with_directory(dir, |directory| {
            let name = Name::from(name);
            directory.changed.insert(name.clone(), order);
            match leads_to {
                Some(ino) => directory.live.insert(name, ino),
                None => directory.live.remove(&name),
            }
        });
        if let Some(old) = old.flatten() {
            self.inode(old).links -= 1;
            self.free_if_unused(old);
        }
    }

    fn add(&mut self, dir: Ino, name: &OsStr, body: Body) -> Ino {
        let ino = Ino(self.inodes.insert(Inode::new(body)));
        let order = self.next_effect();
        self.relink(order, dir, name, Some(ino));
        ino
    }

    /// Opens a file or directory, and makes a file where the mode says so. True: it is new.
    pub(crate) fn open(&mut self, path: &Normal, mode: Mode) -> io::Result<(Ino, bool)> {
        let makes = mode.create || mode.create_new;
        let found = match path.names().next() {
            None => Some(ROOT),
            Some(_) => {
                let (dir, name) = self.place(path, Errno::IsADirectory)?;
                let found = self.entry(dir, name);
                if found.is_none() && makes {
                    return Ok((self.add(dir, name, Body::File(Content::default())), true));
                }
                found
            }
        };
        let ino = found.ok_or(Errno::NotFound)?;
        if mode.create_new {
            return Err(Errno::Exists.into());
        }
        if self.is_directory(ino) && (mode.writes() || makes) {
            return Err(Errno::IsADirectory.into());
        }
        if mode.truncate {
            let order = self.next_effect();
            self.content(ino)?.set_size(order, 0);
        }
        Ok((ino, false))
    }

    pub(crate) fn mkdir(&mut self, path: &Normal) -> io::Result<()> {
        let (dir, name) = self.vacancy(path)?;
        self.add(dir, name, Body::Directory(Directory::default()));
        Ok(())
    }

    pub(crate) fn rmdir(&mut self, path: &Normal) -> io::Result<()> {
        let (dir, name) = self.place(path, Errno::Busy)?;
        let ino = self.entry(dir, name).ok_or(Errno::NotFound)?;
        if !self.directory(ino)?.live.is_empty() {
            return Err(Errno::NotEmpty.into());
        }
        let order = self.next_effect();
        self.relink(order, dir, name, None);
        Ok(())
    }

    pub(crate) fn unlink(&mut self, path: &Normal) -> io::Result<()> {
        let (dir, name) = self.place(path, Errno::IsADirectory)?;
        let ino = self.entry(dir, name).ok_or(Errno::NotFound)?;
        if self.is_directory(ino) {
            return Err(Errno::IsADirectory.into());
        }
        let order = self.next_effect();
        self.relink(order, dir, name, None);
        Ok(())
    }

    pub(crate) fn link(&mut self, original: &Normal, new: &Normal) -> io::Result<()> {
        let ino = self.resolve(original)?;
        let (dir, name) = self.vacancy(new)?;
        if self.is_directory(ino) {
            return Err(Errno::NotPermitted.into());
        }
        let order = self.next_effect();
        self.relink(order, dir, name, Some(ino));
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &Normal, to: &Normal) -> io::Result<()> {
        let (from_dir, from_name) = self.place(from, Errno::Busy)?;
        let (to_dir, to_name) = self.place(to, Errno::Busy)?;
        let ino = self.entry(from_dir, from_name).ok_or(Errno::NotFound)?;
        if to.is_inside(from) {
            return Err(Errno::Invalid.into());
        }
        if from.is_inside(to) {
            return Err(Errno::NotEmpty.into());
        }
        if let Some(target) = self.entry(to_dir, to_name) {
            if target == ino {
                return Ok(());
            }
            self.may_replace(ino, target)?;
        }
        let order = self.next_effect();
        self.relink(order, to_dir, to_name, Some(ino));
        self.relink(order, from_dir, from_name, None);
        Ok(())
    }

    fn may_replace(&self, ino: Ino, target: Ino) -> io::Result<()> {
        match (self.is_directory(ino), self.directory(target)) {
            (true, Ok(target)) if !target.live.is_empty() => Err(Errno::NotEmpty.into()),
            (true, Err(error)) => Err(error),
            (false, Ok(_)) => Err(Errno::IsADirectory.into()),
            _ => Ok(()),
        }
    }

    /// The names in a directory and whether each is one, in order.
    pub(crate) fn list(&self, path: &Normal) -> io::Result<Vec<(Name, bool)>> {
        let directory = self.directory(self.resolve(path)?)?;
        Ok(directory.live.iter().map(|(name, ino)| (name.clone(), self.is_directory(*ino))).collect())
    }
}

// The life of an inode.
impl Volume {
    pub(crate) fn hold(&mut self, ino: Ino) {
        self.inode(ino).holders += 1;
    }

    pub(crate) fn release(&mut self, ino: Ino) {
        self.inode(ino).holders -= 1;
        self.free_if_unused(ino);
    }

    /// Frees what has no name, live or durable, and nobody who keeps it.
    fn free_if_unused(&mut self, ino: Ino) {
        let inode = &self.inodes[ino.0];
        if inode.links + inode.durable_links + inode.holders > 0 {
            return;
        }
        self.restless.remove(&ino);
        if let Body::Directory(directory) = self.inodes.remove(ino.0).body {
            directory.durable.into_values().for_each(|inner| self.lose_durable_link(inner));
        }
    }

    fn lose_durable_link(&mut self, ino: Ino) {
        self.with_directory(ino, |directory| directory.home = None);
        self.inode(ino).durable_links -= 1;
        self.free_if_unused(ino);
    }
}

// What becomes durable.
impl Volume {
    /// Takes up what an fsync of `ino` has to write; with `journal`, every changed name of the volume as well. Holds the
    /// inode until the fsync releases it.
    pub(crate) fn take_up(&mut self, ino: Ino, journal: bool) -> Work {
        self.hold(ino);
        let mut work = Work { content: None, names: Vec::new() };
        match &mut self.inode(ino).body {
            Body::File(content) => work.content = Some(content.take_up()),
            Body::Directory(_) => self.take_up_names(ino, &mut work.names),
        }
        if journal {
            let dirs: Vec<Ino> = self.restless.iter().copied().collect();
            dirs.into_iter().for_each(|dir| self.take_up_names(dir, &mut work.names));
        }
        work
    }

    fn take_up_names(&mut self, dir: Ino, names: &mut Vec<NameChange>) {
        self.restless.remove(&dir);
        let taken = self.with_directory(dir, |directory| {
            let changed = std::mem::take(&mut directory.changed).into_iter();
            let change = |(name, order)| NameChange { dir, leads_to: directory.live.get(&name).copied(), name, order };
            changed.map(change).collect::<Vec<_>>()
        });
        for change in taken.into_iter().flatten() {
            change.held().for_each(|ino| self.hold(ino));
            names.push(change);
        }
    }

    /// Makes durable what an fsync of `ino` took up. When it `fails`, pages are lost and names stay to be taken up again.
    pub(crate) fn settle(&mut self, ino: Ino, work: Work, fails: bool) {
        if let (Some(writeback), Ok(content)) = (work.content, self.content(ino)) {
            content.settle(writeback, fails);
        }
        for change in work.names {
            let held = change.held();
            if fails {
                self.restless.insert(change.dir);
                self.with_directory(change.dir, |dir| *dir.changed.entry(change.name).or_insert(change.order));
            } else {
                self.make_durable(change);
            }
            held.for_each(|ino| self.release(ino));
        }
        if fails {
            let inode = self.inode(ino);
            inode.errors += 1;
            inode.error_seen = false;
        }
    }

    fn make_durable(&mut self, change: NameChange) {
        let NameChange { dir, name, leads_to, .. } = change;
        if let Some(ino) = leads_to {
            self.leave_home(ino);
            self.inode(ino).durable_links += 1;
        }
        let old = self.with_directory(dir, |directory| match leads_to {
            Some(ino) => directory.durable.insert(name.clone(), ino),
            None => directory.durable.remove(&name),
        });
        if let Some(old) = old.flatten() {
            self.lose_durable_link(old);
        }
        if let Some(ino) = leads_to {
            self.with_directory(ino, |directory| directory.home = Some((dir, name)));
        }
    }

    /// A directory has one parent: a new durable name of it takes the old one away.
    fn leave_home(&mut self, ino: Ino) {
        let home = self.with_directory(ino, |directory| directory.home.take());
        if let Some((dir, name)) = home.flatten() {
            let left = self.with_directory(dir, |directory| directory.durable.remove(&name));
            if left.flatten().is_some() {
                self.inode(ino).durable_links -= 1;
            }
        }
    }

    /// The power went: every inode is as the medium has it, and what has no name there is gone.
    pub(crate) fn lose_power(&mut self) {
        self.restless.clear();
        for (_, inode) in &mut self.inodes {
            (inode.links, inode.holders, inode.errors, inode.error_seen) = (0, 0, 0, true);
            match &mut inode.body {
                Body::File(content) => content.lose_power(),
                Body::Directory(directory) => {
                    directory.live = directory.durable.clone();
                    directory.changed.clear();
                }
            }
        }
        let mut reached = vec![ROOT];
        while let Some(ino) = reached.pop() {
            let inode = self.inode(ino);
            inode.links += 1;
            if let (1, Body::Directory(directory)) = (inode.links, &inode.body) {
                reached.extend(directory.live.values());
            }
        }
        self.inodes.retain(|_, inode| {
            inode.durable_links = inode.links;
            inode.links > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use sim_core::time::sleep;
    use sim_core::{Sim, Units, node, spawn};

    use super::*;
    use crate::blocking::{self, File};
    use crate::kernel::act;
    use crate::{fs, fsync, fsync_eio};

    /// Checks that every link and every holder is counted, and that nothing is kept for nobody.
    fn check(volume: &Volume, is_idle: bool) {
        let mut counted = BTreeMap::<usize, (u32, u32)>::from([(ROOT.0, (1, 1))]);
        for (number, inode) in &volume.inodes {
            let Body::Directory(directory) = &inode.body else { continue };
            directory.live.values().for_each(|ino| counted.entry(ino.0).or_default().0 += 1);
            directory.durable.values().for_each(|ino| counted.entry(ino.0).or_default().1 += 1);
            assert!(directory.changed.is_empty() || volume.restless.contains(&Ino(number)));
            for (name, ino) in &directory.durable {
                let home = volume.directory(*ino).ok().map(|directory| directory.home.as_ref());
                assert!(home.is_none_or(|home| home == Some(&(Ino(number), name.clone()))), "{name:?}");
            }
        }
        for (number, inode) in &volume.inodes {
            assert_eq!((inode.links, inode.durable_links), counted.remove(&number).unwrap_or_default(), "{number}");
            assert!(inode.links + inode.durable_links + inode.holders > 0);
            assert!(!is_idle || inode.holders == 0);
        }
        assert!(counted.is_empty());
    }

    async fn scribble(steps: u64) {
        const PATHS: [&str; 8] = ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/b/c", "b/a/c"];
        let mut draws = device::draws(Stream::WORKLOAD, device::now());
        let mut open = Vec::new();
        for _ in 0..steps {
            let [path, other] = [0; 2].map(|_| PATHS[draws.below(PATHS.len() as u64) as usize]);
            let _ = match draws.below(9) {
                0 | 1 => blocking::create_dir(path),
                2 => blocking::write(path, other),
                3 | 4 => blocking::rename(path, other),
                5 => blocking::hard_link(path, other),
                6 => blocking::remove_file(path).or_else(|_| blocking::remove_dir(path)),
                7 => fs::File::open(if path == "a" { "/" } else { path })
                    .await
                    .map(|file| drop(spawn(async move { file.sync_all().await }))),
                _ => File::open(path).map(|file| open.push(file)),
            };
            open.truncate(3);
            if draws.below(5) == 0 {
                sleep(1.ms()).await;
            }
        }
    }

    #[test]
    fn links_are_counted_and_nothing_leaks() {
        for seed in 0..100 {
            let report = Sim::new(seed).with_faults(crate::KINDS).run(move || async move {
                sim_core::fault::faults()
                    .on(fsync("store", "**").nth(7), fsync_eio().may_miss())
                    .on(fsync("store", ".").nth(3), fsync_eio().may_miss());
                crate::set_options(crate::Options { sync_file_implies_entry: seed % 4 == 0, ..crate::options() });
                let store = node("store").start(|| scribble(300));
                let checked = |is_idle| act("test", |kernel| check(kernel.volume(store.id()), is_idle));
                for round in 0..20 {
                    sleep(7.ms()).await;
                    checked(false);
                    if round % 2 == 0 {
                        store.power_loss()
                    } else {
                        store.crash()
                    }
                    checked(false);
                    sleep(6.ms()).await;
                    checked(true);
                    store.restart();
                }
            });
            assert!(report.passed(), "{}", report.render(&[]));
        }
    }

    #[test]
    fn what_nobody_can_reach_is_freed() {
        let report = Sim::new(1).run(|| async {
            let inodes = || act("test", |kernel| kernel.volume(NodeId::SUPERVISOR).inodes.len());
            blocking::write("/x", "1").unwrap();
            let open = File::open("/x").unwrap();
            blocking::remove_file("/x").unwrap();
            assert_eq!(inodes(), 2, "open");
            drop(open);
            assert_eq!(inodes(), 1);
            blocking::create_dir("/d").unwrap();
            blocking::write("/d/x", "1").unwrap();
            for dir in ["/d", "/"] {
                File::open(dir).unwrap().sync_all().unwrap();
            }
            blocking::remove_dir_all("/d").unwrap();
            assert_eq!(inodes(), 3, "on the medium");
            File::open("/").unwrap().sync_all().unwrap();
            assert_eq!(inodes(), 1);
        });
        assert!(report.passed(), "{}", report.render(&[]));
    }
}
