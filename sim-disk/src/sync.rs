//! Fsync: the way from the cache to the medium.
//!
//! An fsync covers what happened before it, and makes it durable when it completes. A power loss in between finds the
//! effects it covers as any others that are not durable; a killed process does not stop it, nor does dropping the future,
//! as neither stops the system call. It completes no earlier than those before it of the same file.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sim_core::NodeId;
use sim_core::choice::Ratio;
use sim_core::device::{self, Down, Process, emit};
use sim_core::event::EventKind;

use crate::effect::Order;
use crate::handle::dead;
use crate::kernel::{Descriptor, Kernel, act, act_if_running};
use crate::kinds::{Failing, Strike};
use crate::lint::Habit;
use crate::profile::{Data, FsProfile, Report, SyncWrite};
use crate::volume::Ino;

const FSYNC: EventKind = EventKind::new("disk.fsync");

/// An fsync under way or done.
pub(crate) struct Sync {
    process: Process,
    ino: Ino,
    path: Arc<str>,
    /// Who is told of a failure; nobody when the process has died.
    descriptor: Option<usize>,
    due: u64,
    strike: Strike,
    upto: Order,
    /// It has not reached the medium yet.
    under_way: bool,
    waker: Option<Waker>,
    /// Nobody will ask for the result.
    abandoned: bool,
    result: Option<io::Result<()>>,
}

impl Kernel {
    /// Begins an fsync: what happened until now is on its way.
    fn take_up(&mut self, slot: usize, path: &Arc<str>, strike: Strike) -> io::Result<Sync> {
        let (descriptor, volume) = self.reach(slot);
        volume.may_write()?;
        let (process, ino, known) = (descriptor.process, descriptor.ino, descriptor.errors);
        let profile = self.profile(process.node);
        let (descriptor, volume) = self.reach(slot);
        let told = profile.failure.told;
        if profile.failure.report == Report::Next && volume.inode(ino).owes_error(known, told) {
            volume.inode(ino).check_errors(&mut descriptor.errors, told)?;
        }
        let upto = volume.effects();
        if let Ok(content) = volume.inode(ino).content_mut() {
            content.stage(upto);
        }
        volume.hold(ino);
        if descriptor.failed {
            self.lint(slot, Habit::RetriedFailedFsync);
        }
        self.duplicate(slot);
        Ok(Sync {
            process,
            ino,
            path: path.clone(),
            descriptor: Some(slot),
            due: device::now(),
            strike,
            upto,
            under_way: true,
            waker: None,
            abandoned: false,
            result: None,
        })
    }

    fn earlier(&self, node: NodeId, ino: Ino) -> impl Iterator<Item = (&u32, &Sync)> {
        self.syncs.iter().filter(move |(_, sync)| sync.process.node == node && sync.ino == ino && sync.under_way)
    }

    /// Starts an fsync that takes simulated time.
    pub(crate) fn begin_sync(&mut self, slot: usize, path: &Arc<str>, strike: Strike) -> io::Result<u32> {
        let mut sync = self.take_up(slot, path, strike)?;
        let node = sync.process.node;
        let (min, max) = (self.options.fsync_latency_min, self.options.fsync_latency_max);
        let speed = self.options.performance;
        let machine = self.machine(node);
        let latency = machine.draws.duration(min..max);
        let content = machine.volume.get(sync.ino).content();
        let pages = content.map_or(0, |content| content.dirty_pages(sync.upto).len() as u64);
        let earliest = machine.queue.done(sync.due, path, pages, latency, &speed);
        sync.due = self.earlier(node, sync.ino).map(|(_, other)| other.due).fold(earliest, u64::max);
        let token = self.next_token();
        if let Some(id) = self.id {
            device::wake_at(id, sync.due, token);
        }
        self.syncs.insert(token, sync);
        Ok(token)
    }

    /// An fsync that takes no time. It completes those that it must not overtake.
    pub(crate) fn sync_now(&mut self, slot: usize, path: &Arc<str>, strike: Strike) -> io::Result<()> {
        let sync = self.take_up(slot, path, strike)?;
        let before: Vec<u32> = self.earlier(sync.process.node, sync.ino).map(|(token, _)| *token).collect();
        before.into_iter().for_each(|token| self.complete(token));
        self.finish(sync).result.unwrap_or(Ok(()))
    }

    /// Whether a descriptor that writes through would rather report an earlier error than write.
    pub(crate) fn refuses_sync_write(&mut self, slot: usize) -> io::Result<()> {
        let Descriptor { mode, process, .. } = self.descriptors[slot];
        if !mode.sync {
            return Ok(());
        }
        let failure = self.profile(process.node).failure;
        let (descriptor, volume) = self.reach(slot);
        match failure.sync_write {
            SyncWrite::ReportsFirst => volume.inode(descriptor.ino).check_errors(&mut descriptor.errors, failure.told),
            SyncWrite::IsFsync => Ok(()),
        }
    }

    /// An fsync has taken its time.
    pub(crate) fn complete(&mut self, token: u32) {
        let Some(sync) = self.syncs.remove(&token) else { return };
        let mut sync = if sync.under_way { self.finish(sync) } else { sync };
        self.wakes.extend(sync.waker.take());
        if !sync.abandoned {
            self.syncs.insert(token, sync);
        }
    }

    /// Brings to the medium what an fsync covers, and tells its descriptor how it went.
    fn finish(&mut self, mut sync: Sync) -> Sync {
        let (node, ino) = (sync.process.node, sync.ino);
        let profile = self.profile(node);
        let volume = self.volume(node);
        let mut result = volume.may_write();
        let mut failed = false;
        if result.is_ok() {
            let dirty = volume.get(ino).content().map_or(Vec::new(), |content| content.dirty_pages(sync.upto));
            let names = volume.names.len();
            failed = self.bring(&sync, &dirty, &profile);
            let (pages, names) = (dirty.len(), names - self.volume(node).names.len());
            emit(node, FSYNC, &[ino.0, pages as u64, names as u64, u64::from(failed)], || {
                let how = if failed { "EIO, not written" } else { "durable" };
                format!("{}: {pages} pages and {names} names {how}", sync.path)
            });
        }
        sync.under_way = false;
        if let Some(slot) = sync.descriptor.take() {
            let (descriptor, volume) = self.reach(slot);
            result = result.and_then(|()| volume.tell(ino, &mut descriptor.errors, failed, &profile));
            descriptor.failed = result.is_err();
            sync.result = Some(result);
            self.close(slot);
        }
        self.record(node);
        self.volume(node).release(ino);
        sync
    }

    /// Brings to the medium what an fsync covers, or fails to. True: it failed.
    fn bring(&mut self, sync: &Sync, dirty: &[u64], profile: &FsProfile) -> bool {
        let Sync { process, ino, upto, ref strike, .. } = *sync;
        for (how, id) in &strike.wrong {
            self.do_wrong(process.node, ino, upto, *how, *id);
        }
        let volume = self.volume(process.node);
        let refused = volume.media.refused(&sync.path, dirty);
        let is_directory = volume.get(ino).is_directory();
        match &strike.failing {
            None if refused.is_empty() => volume.settle(ino, upto, &profile.crash),
            Some(Failing::Journal) => volume.fail_journal(ino, profile),
            Some(_) if is_directory => volume.fail_journal(ino, profile),
            Some(Failing::AllPages) => volume.fail(ino, upto, profile, |_| true),
            Some(Failing::Pages(pages)) => {
                volume.fail(ino, upto, profile, |page| pages.contains(&page) || refused.contains(&page));
            }
            None => volume.fail(ino, upto, profile, |page| refused.contains(&page)),
        }
        strike.failing.is_some() || !refused.is_empty()
    }

    /// Makes everything on a volume durable (syncfs(2)).
    pub(crate) fn sync_volume(&mut self, node: NodeId) -> io::Result<()> {
        let profile = self.profile(node);
        let volume = self.volume(node);
        volume.may_write()?;
        let upto = volume.effects();
        volume.settle_all(upto, &profile.crash);
        volume.consume_errors(profile.failure.told);
        self.record(node);
        emit(node, "disk.sync", &[upto], || "the whole volume is durable".to_string());
        Ok(())
    }

    /// Hands what is dirty of a file to the device, without its metadata and without a flush (sync_file_range(2)).
    pub(crate) fn stage(&mut self, slot: usize) -> io::Result<()> {
        let device_cache = self.options.device_cache;
        let (descriptor, volume) = self.reach(slot);
        volume.may_write()?;
        let (upto, ino) = (volume.effects(), descriptor.ino);
        let content = volume.inode(ino).content_mut()?;
        content.stage(upto);
        if !device_cache {
            content.settle(upto);
        }
        Ok(())
    }

    /// The flusher of a machine writes back some of what is dirty, and sleeps again.
    pub(crate) fn flush(&mut self, node: NodeId) {
        self.machine(node).flusher_awake = false;
        self.write_back(node);
        self.stir(node);
    }

    /// Writes back each dirty file or not, by chance; where a filesystem keeps everything in order, all of it.
    pub(crate) fn write_back(&mut self, node: NodeId) {
        let profile = self.profile(node);
        let machine = self.machine(node);
        let upto = machine.volume.effects();
        if machine.volume.may_write().is_err() {
            return;
        }
        let one_by_one = profile.crash.data != Data::OnePrefix && !machine.draws.chance(Ratio::new(1, 2));
        let files: Vec<Ino> = machine.volume.dirty.iter().copied().collect();
        let chosen: Vec<Ino> =
            files.into_iter().filter(|_| !one_by_one || machine.draws.chance(Ratio::new(1, 2))).collect();
        chosen.iter().for_each(|ino| machine.volume.settle_content(*ino, upto));
        if !one_by_one {
            machine.volume.settle_all(upto, &profile.crash);
        }
        self.record(node);
        let all = u64::from(!one_by_one);
        emit(node, "disk.write_back", &[chosen.len() as u64, all], || format!("{} files, unasked", chosen.len()));
    }

    fn poll_sync(&mut self, token: u32, waker: &Waker) -> (Poll<io::Result<()>>, Option<Waker>) {
        let Some(sync) = self.syncs.get_mut(&token) else { return (Poll::Ready(Err(dead())), None) };
        if let Some(result) = sync.result.take() {
            let done = self.syncs.remove(&token);
            return (Poll::Ready(result), done.and_then(|sync| sync.waker));
        }
        let old = sync.waker.replace(waker.clone());
        if let Some(id) = self.id {
            device::waiting(id, "fsync", u64::from(token));
        }
        (Poll::Pending, old)
    }

    fn abandon(&mut self, token: u32) -> Option<Waker> {
        let sync = self.syncs.get_mut(&token)?;
        sync.abandoned = true;
        if sync.under_way { sync.waker.take() } else { self.syncs.remove(&token)?.waker }
    }

    /// The processes of a node are gone: nobody hears of their fsyncs, which go on unless the memory went.
    pub(crate) fn drop_syncs_of(&mut self, node: NodeId, how: Down) {
        for sync in self.syncs.values_mut().filter(|sync| sync.process.node == node) {
            sync.descriptor = None;
            sync.abandoned = true;
            self.wakes.extend(sync.waker.take());
        }
        self.syncs.retain(|_, sync| sync.process.node != node || (how == Down::Kill && sync.under_way));
    }

    pub(crate) fn describe_wait(&self, what: &'static str, token: u64) -> String {
        let sync = u32::try_from(token).ok().and_then(|token| self.syncs.get(&token));
        sync.map_or_else(|| what.to_string(), |sync| format!("{what} of {}", sync.path))
    }
}

/// The future of an fsync that has begun.
#[must_use = "the result of an fsync says whether anything was saved"]
pub(crate) struct Syncing {
    token: u32,
    process: Process,
}

impl Syncing {
    pub(crate) fn new(token: u32, process: Process) -> Self {
        Syncing { token, process }
    }
}

impl Future for Syncing {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.process.is_alive() {
            return Poll::Ready(Err(dead()));
        }
        let (polled, old) = act("fs::File::sync_all", |kernel| kernel.poll_sync(self.token, cx.waker()));
        drop(old);
        polled
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        let waker = act_if_running(|kernel| kernel.abandon(self.token));
        drop(waker);
    }
}
