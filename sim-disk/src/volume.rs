//! The volume of one machine: inodes, the names that lead to them, and what of both is durable.
//!
//! Every effect has an order number. What is not durable yet stands in two lists: the effects on the content of each file,
//! and the changes of names of the whole volume.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::rc::Rc;

use sim_core::fault::{FaultId, observed};

use crate::content::{Content, Load};
use crate::effect::{Effect, Entry, NameOp, Order, What};
use crate::errno::Errno;
use crate::media::Media;
use crate::pages::WHOLE;
use crate::profile::{CrashOrder, FsProfile, JournalFailure, Report, SyncCommits, Told};

pub(crate) use crate::inode::{Attributes, Body, Directory, Ino, Inode, Name, ROOT, Stamps, TMP};

/// What stat(2) tells of a file or directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    pub(crate) kind: Kind,
    pub(crate) ino: Ino,
    pub(crate) size: u64,
    pub(crate) links: u64,
    pub(crate) blocks: u64,
    pub(crate) mode: u32,
    pub(crate) stamps: Stamps,
}

/// What a name leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
}

impl Metadata {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether it is a symbolic link that was not followed.
    pub fn is_symlink(&self) -> bool {
        self.kind == Kind::Symlink
    }

    /// Its length in bytes; 4096 for a directory, the length of its target for a symbolic link.
    #[expect(clippy::len_without_is_empty, reason = "as std::fs::Metadata")]
    pub fn len(&self) -> u64 {
        self.size
    }

    /// How many names it has; for a directory, two more than it has directories.
    pub fn nlink(&self) -> u64 {
        self.links
    }

    /// The number of its inode, which no other inode of its volume ever has.
    pub fn ino(&self) -> u64 {
        self.ino.0
    }

    /// The blocks it takes on its volume, in units of 512 bytes.
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The type and the permission bits, as `st_mode` has them.
    pub fn mode(&self) -> u32 {
        let kind = match self.kind {
            Kind::File => 0o100_000,
            Kind::Directory => 0o040_000,
            Kind::Symlink => 0o120_000,
        };
        kind | self.mode
    }

    /// When its content last changed, in nanoseconds since 1970 by the wall clock of the node.
    pub fn modified_ns(&self) -> u64 {
        self.stamps.modified
    }

    /// When it last changed in any way, as [`modified_ns`](Metadata::modified_ns).
    pub fn changed_ns(&self) -> u64 {
        self.stamps.changed
    }

    /// When it was last read, as programs have set it: reads do not move it.
    pub fn accessed_ns(&self) -> u64 {
        self.stamps.read
    }
}

/// What a volume still does after its journal failed, or its device did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) enum State {
    #[default]
    Writable,
    /// Changes fail with EROFS.
    ReadOnly,
    /// Everything fails with EIO.
    Shutdown,
    /// Everything fails with ENXIO.
    Gone,
}

impl State {
    fn reads(self) -> io::Result<()> {
        match self {
            State::Writable | State::ReadOnly => Ok(()),
            State::Shutdown => Err(Errno::Io.into()),
            State::Gone => Err(Errno::NoSuchDevice.into()),
        }
    }

    fn writes(self) -> io::Result<()> {
        match self {
            State::ReadOnly => Err(Errno::ReadOnly.into()),
            other => other.reads(),
        }
    }
}

/// A volume. A clone shares every page with the original.
#[derive(Clone)]
pub(crate) struct Volume {
    pub(crate) inodes: BTreeMap<Ino, Inode>,
    pub(crate) next_ino: u64,
    pub(crate) effects: Order,
    pub(crate) names: Vec<NameOp>,
    /// Files with effects that are not durable.
    pub(crate) dirty: BTreeSet<Ino>,
    pub(crate) media: Media,
    /// What its journal has come to.
    pub(crate) state: State,
    /// What its device has come to, and the fault that made it so.
    pub(crate) device: (State, FaultId),
    /// What the wall clock of the node says, set by the kernel before it changes anything.
    pub(crate) now: u64,
}

impl Default for Volume {
    fn default() -> Self {
        let directory = Directory { parent: ROOT, ..Directory::default() };
        let attributes = Attributes { mode: 0o755, ..Attributes::default() };
        let root = Inode { links: 1, durable_links: 1, ..Inode::new(Body::Directory(directory), attributes) };
        Volume {
            inodes: BTreeMap::from([(ROOT, root)]),
            next_ino: ROOT.0 + 9,
            effects: 0,
            names: Vec::new(),
            dirty: BTreeSet::new(),
            media: Media::default(),
            state: State::default(),
            device: Default::default(),
            now: 0,
        }
    }
}

impl Volume {
    /// Has a directory `/tmp`, durable, as whoever set the machine up left it. Nothing happens where there is a name like that.
    pub(crate) fn have_tmp(&mut self) {
        let name: Name = std::ffi::OsStr::new("tmp").into();
        if self.inodes.contains_key(&TMP) || self.get(ROOT).directory().is_ok_and(|root| root.live.contains_key(&name))
        {
            return;
        }
        let directory = Directory { parent: ROOT, home: Some((ROOT, name.clone())), ..Directory::default() };
        let attributes = Attributes { mode: 0o1777, ..Attributes::default() };
        let tmp = Inode { links: 1, durable_links: 1, ..Inode::new(Body::Directory(directory), attributes) };
        self.inodes.insert(TMP, tmp);
        if let Some(root) = self.inode(ROOT).directory_mut() {
            Rc::make_mut(&mut root.live).insert(name.clone(), TMP);
            Rc::make_mut(&mut root.durable).insert(name, TMP);
        }
    }

    /// Whether it still takes changes.
    #[inline]
    pub(crate) fn may_write(&self) -> io::Result<()> {
        self.device.0.writes().inspect_err(|_| observed(self.device.1))?;
        self.state.writes()
    }

    /// Whether it still reads.
    #[inline]
    pub(crate) fn may_read(&self) -> io::Result<()> {
        self.device.0.reads().inspect_err(|_| observed(self.device.1))?;
        self.state.reads()
    }

    #[inline]
    pub(crate) fn next_effect(&mut self) -> Order {
        self.effects += 1;
        self.effects
    }

    /// How many effects there were.
    #[inline]
    pub(crate) fn effects(&self) -> Order {
        self.effects
    }

    #[inline]
    pub(crate) fn inode(&mut self, ino: Ino) -> &mut Inode {
        // An inode that something holds is never freed; a number from elsewhere is a fault of this crate.
        self.inodes.get_mut(&ino).unwrap_or_else(|| unreachable!("inode {ino:?} was freed"))
    }

    pub(crate) fn get(&self, ino: Ino) -> &Inode {
        self.inodes.get(&ino).unwrap_or_else(|| unreachable!("inode {ino:?} was freed"))
    }

    /// Does something with the content of a file, and with what reads its pages from the medium.
    #[inline]
    pub(crate) fn with_content<R>(
        &mut self,
        ino: Ino,
        f: impl FnOnce(&mut Content, Load) -> io::Result<R>,
    ) -> io::Result<R> {
        let Volume { inodes, media, .. } = self;
        let inode = inodes.get_mut(&ino).unwrap_or_else(|| unreachable!("inode {ino:?} was freed"));
        f(inode.content_mut()?, &mut |page, bytes, sectors| media.load((ino, page), bytes, sectors))
    }

    /// As [`with_content`](Volume::with_content), for a change; stamps it, and leaves a dirty file.
    #[inline]
    pub(crate) fn change_content<R>(
        &mut self,
        ino: Ino,
        f: impl FnOnce(&mut Content, Order, Load) -> io::Result<R>,
    ) -> io::Result<R> {
        self.may_write()?;
        let order = self.next_effect();
        let Volume { inodes, media, dirty, now, .. } = self;
        let inode = inodes.get_mut(&ino).unwrap_or_else(|| unreachable!("inode {ino:?} was freed"));
        let content = inode.content_mut()?;
        let was_clean = content.pending.is_empty();
        let result = f(content, order, &mut |page, bytes, sectors| media.load((ino, page), bytes, sectors))?;
        if was_clean {
            dirty.insert(ino);
        }
        let stamps = &mut inode.attributes.stamps;
        (stamps.modified, stamps.changed) = (*now, *now);
        Ok(result)
    }

    pub(crate) fn metadata(&self, ino: Ino) -> Metadata {
        let inode = self.get(ino);
        let (kind, size, links, blocks) = match &inode.body {
            Body::File(content) => (Kind::File, content.size(), u64::from(inode.links), content.blocks * 8),
            Body::Symlink(target) => (Kind::Symlink, target.as_os_str().len() as u64, u64::from(inode.links), 0),
            Body::Directory(directory) => {
                let inner = directory.live.values().filter(|ino| self.get(**ino).is_directory()).count() as u64;
                (Kind::Directory, 4096, if inode.links == 0 { 0 } else { 2 + inner }, 8)
            }
        };
        let Attributes { mode, stamps } = inode.attributes;
        Metadata { kind, ino, size, links, blocks, mode, stamps }
    }

    /// Pages with a block, and inodes.
    pub(crate) fn usage(&self) -> (u64, u64) {
        let blocks = self.inodes.values().filter_map(Inode::content).map(|content| content.blocks).sum();
        (blocks, self.inodes.len() as u64)
    }
}

// The life of an inode.
impl Volume {
    pub(crate) fn add_inode(&mut self, body: Body, mode: u32) -> Ino {
        let ino = Ino(self.next_ino);
        self.next_ino += 1;
        let stamps = Stamps { read: self.now, modified: self.now, changed: self.now };
        self.inodes.insert(ino, Inode::new(body, Attributes { stamps, mode }));
        ino
    }

    pub(crate) fn hold(&mut self, ino: Ino) {
        self.inode(ino).holders += 1;
    }

    pub(crate) fn release(&mut self, ino: Ino) {
        self.inode(ino).holders -= 1;
        self.free_if_unused(ino);
    }

    /// Frees what has no name, live or durable, and nobody who keeps it.
    fn free_if_unused(&mut self, ino: Ino) {
        let inode = self.get(ino);
        if inode.links + inode.durable_links + inode.holders > 0 {
            return;
        }
        self.dirty.remove(&ino);
        self.media.forget(ino);
        if let Some(Inode { body: Body::Directory(directory), .. }) = self.inodes.remove(&ino) {
            directory.durable.values().for_each(|inner| self.lose_durable_link(*inner));
        }
    }

    fn lose_durable_link(&mut self, ino: Ino) {
        let inode = self.inode(ino);
        inode.durable_links -= 1;
        inode.directory_mut().into_iter().for_each(|directory| directory.home = None);
        self.free_if_unused(ino);
    }

    /// Lets names lead elsewhere, or nowhere. Not durable before an fsync of their directories.
    pub(crate) fn relink(&mut self, entries: Vec<Entry>, replaces_with: Option<Ino>) {
        let order = self.next_effect();
        let op = NameOp { order, entries, replaces_with };
        op.held().for_each(|ino| self.hold(ino));
        let targets = op.entries.iter().filter_map(|entry| entry.to);
        targets.for_each(|ino| self.inode(ino).links += 1);
        let mut left = Vec::new();
        for Entry { dir, name, to } in &op.entries {
            let now = self.now;
            let inode = self.inode(*dir);
            (inode.attributes.stamps.modified, inode.attributes.stamps.changed) = (now, now);
            let live = inode.directory_mut().map(|directory| Rc::make_mut(&mut directory.live));
            left.extend(live.and_then(|live| match to {
                Some(ino) => live.insert(name.clone(), *ino),
                None => live.remove(name),
            }));
            if let Some(directory) = to.and_then(|ino| self.inode(ino).directory_mut()) {
                directory.parent = *dir;
            }
        }
        for ino in left {
            let now = self.now;
            let inode = self.inode(ino);
            inode.links -= 1;
            inode.attributes.stamps.changed = now;
            self.free_if_unused(ino);
        }
        self.names.push(op);
    }
}

// What becomes durable.
impl Volume {
    /// Makes durable what an fsync of `ino` covers, up to an effect: its content, and names as the profile has it.
    pub(crate) fn settle(&mut self, ino: Ino, upto: Order, crash: &CrashOrder) {
        self.settle_content(ino, upto);
        match crash.sync_commits {
            SyncCommits::Itself => self.settle_names_of(ino, upto),
            SyncCommits::Names => {
                self.settle_metadata(upto);
                self.settle_names(upto, crash);
            }
            SyncCommits::Everything => self.settle_all(upto, crash),
        }
    }

    /// Makes everything durable that happened up to an effect.
    pub(crate) fn settle_all(&mut self, upto: Order, crash: &CrashOrder) {
        let files: Vec<Ino> = self.dirty.iter().copied().collect();
        for ino in files {
            self.settle_content(ino, upto);
            self.settle_attributes(ino);
        }
        self.settle_names(upto, crash);
    }

    /// Whether an fdatasync of a file must write metadata too: it is new, or has another length or other blocks.
    pub(crate) fn needs_metadata(&self, ino: Ino, upto: Order) -> bool {
        let inode = self.get(ino);
        let effects = inode.content().map_or(&[][..], |content| &content.pending);
        let changes_map = |effect: &Effect| !matches!(effect.what, What::Data { fresh: false, .. });
        inode.durable_links == 0
            || inode.is_directory()
            || effects.iter().any(|effect| effect.order <= upto && changes_map(effect))
    }

    /// Commits cuts, holes and reserved blocks of all files, with what of their content came before.
    fn settle_metadata(&mut self, upto: Order) {
        let last = |ino: &Ino| {
            let effects = self.get(*ino).content()?.pending.iter();
            let mut mine = effects.filter(|effect| effect.order <= upto && effect.is_metadata());
            Some((*ino, mine.next_back()?.order))
        };
        let cut: Vec<(Ino, Order)> = self.dirty.iter().filter_map(last).collect();
        cut.into_iter().for_each(|(ino, upto)| self.settle_content(ino, upto));
    }

    /// Hands pages of a file to the device, which keeps them in its cache where it has one.
    pub(crate) fn stage(&mut self, ino: Ino, upto: Order, device_cache: bool) -> io::Result<()> {
        let Volume { inodes, media, .. } = self;
        let inode = inodes.get_mut(&ino).unwrap_or_else(|| unreachable!("inode {ino:?} was freed"));
        let content = inode.content_mut()?;
        content.stage(upto);
        if !device_cache {
            content.settle_pages(upto, |page| media.mend((ino, page), WHOLE));
        }
        Ok(())
    }

    pub(crate) fn settle_content(&mut self, ino: Ino, upto: Order) {
        let Volume { inodes, media, dirty, .. } = self;
        let Some(Body::File(content)) = inodes.get_mut(&ino).map(|inode| &mut inode.body) else { return };
        media.settle(ino, content, upto);
        if content.pending.is_empty() {
            dirty.remove(&ino);
        }
    }

    /// Makes durable what is known of a file beside its content.
    pub(crate) fn settle_attributes(&mut self, ino: Ino) {
        let inode = self.inode(ino);
        inode.durable_attributes = inode.attributes;
    }

    fn settle_names(&mut self, upto: Order, crash: &CrashOrder) {
        let rest = self.names.partition_point(|op| op.order <= upto);
        let ops: Vec<NameOp> = self.names.drain(..rest).collect();
        for op in ops {
            if let Some(source) = op.replaces_with.filter(|_| crash.replace_flushes) {
                self.settle_content(source, op.order);
            }
            let held: Vec<Ino> = op.held().collect();
            op.entries.into_iter().for_each(|entry| self.make_durable(entry));
            held.iter().for_each(|ino| self.settle_attributes(*ino));
            held.into_iter().for_each(|ino| self.release(ino));
        }
    }

    /// Makes the names in one directory durable: a rename to or from another is torn in two.
    fn settle_names_of(&mut self, dir: Ino, upto: Order) {
        if !self.get(dir).is_directory() {
            return;
        }
        let mut settled = Vec::new();
        for op in self.names.iter_mut().filter(|op| op.order <= upto) {
            settled.extend(op.entries.extract_if(.., |entry| entry.dir == dir));
        }
        self.names.retain(|op| !op.entries.is_empty());
        for entry in settled {
            let held = [entry.to, Some(entry.dir)];
            self.make_durable(entry);
            self.settle_attributes(dir);
            held.into_iter().flatten().for_each(|ino| self.release(ino));
        }
    }

    pub(crate) fn make_durable(&mut self, entry: Entry) {
        let Entry { dir, name, to } = entry;
        if let Some(ino) = to {
            self.leave_home(ino);
            self.inode(ino).durable_links += 1;
        }
        let durable = self.inode(dir).directory_mut().map(|directory| Rc::make_mut(&mut directory.durable));
        let old = durable.and_then(|durable| match to {
            Some(ino) => durable.insert(name.clone(), ino),
            None => durable.remove(&name),
        });
        if let Some(old) = old {
            self.lose_durable_link(old);
        }
        if let Some(directory) = to.and_then(|ino| self.inode(ino).directory_mut()) {
            directory.home = Some((dir, name));
        }
    }

    /// A directory has one parent: a new durable name of it takes the old one away.
    fn leave_home(&mut self, ino: Ino) {
        let home = self.inode(ino).directory_mut().and_then(|directory| directory.home.take());
        let Some((dir, name)) = home else { return };
        let left = self.inodes.get_mut(&dir).and_then(Inode::directory_mut);
        if left.and_then(|directory| Rc::make_mut(&mut directory.durable).remove(&name)).is_some() {
            self.inode(ino).durable_links -= 1;
        }
    }

    /// A write-back of a file failed for the pages for which `fails` holds.
    pub(crate) fn fail(&mut self, ino: Ino, upto: Order, profile: &FsProfile, fails: impl Fn(u64) -> bool) {
        if let Ok(content) = self.inode(ino).content_mut() {
            content.fail(upto, &profile.failure, fails);
            if content.pending.is_empty() {
                self.dirty.remove(&ino);
            }
        }
        self.inode(ino).record_error();
    }

    /// The journal could not be written.
    pub(crate) fn fail_journal(&mut self, ino: Ino, profile: &FsProfile) {
        self.inode(ino).record_error();
        self.state = match profile.failure.journal {
            JournalFailure::Retry => self.state,
            JournalFailure::ReadOnly => State::ReadOnly,
            JournalFailure::Shutdown => State::Shutdown,
        };
    }

    /// Tells a descriptor whether a write-back failed, given what it knew when it asked.
    pub(crate) fn tell(&mut self, ino: Ino, known: &mut u32, fails_now: bool, profile: &FsProfile) -> io::Result<()> {
        let late = fails_now && profile.failure.report == Report::Next;
        if late { Ok(()) } else { self.inode(ino).check_errors(known, profile.failure.told) }
    }

    /// A sync(2) or syncfs(2) has passed all files.
    pub(crate) fn consume_errors(&mut self, told: Told) {
        self.inodes.values_mut().for_each(|inode| inode.consume_error(told));
    }

    /// Drops every clean page from the cache, and says how many.
    pub(crate) fn evict(&mut self) -> usize {
        let files = self.inodes.values_mut().filter_map(|inode| inode.content_mut().ok());
        files.map(Content::evict).sum()
    }

    /// The machine starts again: every inode is as the medium has it, and what has no name there is gone.
    pub(crate) fn boot(&mut self) {
        self.names.clear();
        self.dirty.clear();
        self.state = State::Writable;
        for inode in self.inodes.values_mut() {
            (inode.links, inode.holders) = (0, 0);
            inode.attributes = inode.durable_attributes;
            inode.forget_errors();
            match &mut inode.body {
                Body::File(content) => *content = Content::of(std::mem::take(&mut content.medium)),
                Body::Directory(directory) => directory.live = directory.durable.clone(),
                Body::Symlink(_) => {}
            }
        }
        self.count_links();
        let lost: Vec<Ino> = self.inodes.iter().filter(|(_, inode)| inode.links == 0).map(|(ino, _)| *ino).collect();
        for ino in lost {
            self.inodes.remove(&ino);
            self.media.forget(ino);
        }
        self.inodes.values_mut().for_each(|inode| inode.durable_links = inode.links);
    }

    /// Counts the names that lead to each inode from the root, and tells directories where they are.
    fn count_links(&mut self) {
        let mut reached = vec![(ROOT, ROOT)];
        while let Some((ino, parent)) = reached.pop() {
            let inode = self.inode(ino);
            inode.links += 1;
            if let (1, Body::Directory(directory)) = (inode.links, &mut inode.body) {
                directory.parent = parent;
                reached.extend(directory.live.values().map(|inner| (*inner, ino)));
            }
        }
    }
}
