//! Fsync and write-back: the way from the cache to the medium.
//!
//! An fsync covers what happened before it, and makes it durable when it completes. A power loss in between finds the
//! effects it covers as any others that are not durable; a killed process does not stop it, nor does dropping the future,
//! as neither stops the system call. It completes no earlier than those before it of the same file.

use std::io;
use std::sync::Arc;

use sim_core::NodeId;
use sim_core::choice::Ratio;
use sim_core::device::emit;
use sim_core::event::EventKind;

use crate::effect::Order;
use crate::errno::Errno;
use crate::inode::Attributes;
use crate::kernel::{Descriptor, Kernel};
use crate::lint::Habit;
use crate::operation::Operation;
use crate::profile::{Data, FsProfile, Report, SyncWrite};
use crate::strikes::{Failing, Strike};
use crate::volume::Ino;

const FSYNC: EventKind = EventKind::new("disk.fsync");

/// What an fsync brings to the medium.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    /// fsync(2): content and all that is known of the file.
    Everything,
    /// fdatasync(2): content, and what it takes to read that back. Times and permissions stay behind, and so do names where
    /// the file has no new length and no new blocks.
    Data,
}

/// What reaches the medium when an fsync completes.
pub(crate) struct Flush {
    pub(crate) ino: Ino,
    /// Who is told of a failure; nobody when the process has died.
    pub(crate) descriptor: Option<usize>,
    extent: Extent,
    strike: Strike,
    upto: Order,
    attributes: Attributes,
}

impl Kernel {
    /// Begins an fsync: what happened until now is on its way.
    fn take_up(&mut self, slot: usize, path: &Arc<str>, extent: Extent, strike: Strike) -> io::Result<Operation> {
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
        let attributes = volume.get(ino).attributes;
        if descriptor.failed {
            self.lint(slot, Habit::RetriedFailedFsync);
        }
        self.duplicate(slot);
        let flush = Flush { ino, descriptor: Some(slot), extent, strike, upto, attributes };
        Ok(Operation::new(process, path.clone(), "fsync", Some(flush)))
    }

    /// Starts an fsync that takes simulated time.
    pub(crate) fn begin_sync(
        &mut self,
        slot: usize,
        path: &Arc<str>,
        extent: Extent,
        strike: Strike,
    ) -> io::Result<u32> {
        let operation = self.take_up(slot, path, extent, strike)?;
        Ok(self.hand_over(slot, operation))
    }

    /// Lets the device write what is dirty of a file, in the time of an fsync.
    fn hand_over(&mut self, slot: usize, operation: Operation) -> u32 {
        let latency = self.options.fsync_latency_min..self.options.fsync_latency_max;
        let ino = self.descriptors[slot].ino;
        let machine = self.machine(operation.process.node);
        let latency = machine.draws.duration(latency).as_nanos() as u64;
        let upto = operation.flush.as_ref().map_or_else(|| machine.volume.effects(), |flush| flush.upto);
        let pages = machine.volume.get(ino).content().map_or(0, |content| content.dirty_pages(upto).len() as u64);
        self.give(operation, pages, latency)
    }

    /// As [`stage`](Kernel::stage), and says when the device has written it.
    pub(crate) fn begin_stage(&mut self, slot: usize) -> io::Result<u32> {
        self.stage(slot)?;
        let Descriptor { process, ref path, .. } = self.descriptors[slot];
        let operation = Operation::new(process, path.clone(), "a write-back", None);
        Ok(self.hand_over(slot, operation))
    }

    /// An fsync that takes no time. It completes those that it must not overtake.
    pub(crate) fn sync_now(&mut self, slot: usize, path: &Arc<str>, extent: Extent, strike: Strike) -> io::Result<()> {
        let operation = self.take_up(slot, path, extent, strike)?;
        let before: Vec<u32> = self.before(&operation).map(|(token, _)| *token).collect();
        before.into_iter().for_each(|token| self.complete(token));
        self.finish(operation).result.unwrap_or(Ok(()))
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

    /// Brings to the medium what an operation covers, and tells its descriptor how it went.
    pub(crate) fn finish(&mut self, mut operation: Operation) -> Operation {
        let node = operation.process.node;
        let Some(flush) = operation.flush.take() else {
            operation.result = Some(Ok(()));
            return operation;
        };
        let ino = flush.ino;
        let profile = self.profile(node);
        let volume = self.volume(node);
        let mut result = volume.may_write();
        let mut failed = false;
        if result.is_ok() {
            let dirty = volume.get(ino).content().map_or(Vec::new(), |content| content.dirty_pages(flush.upto));
            let names = volume.names.len();
            failed = self.bring(node, &operation.path, &flush, &dirty, &profile);
            let (pages, names) = (dirty.len(), names - self.volume(node).names.len());
            emit(node, FSYNC, &[ino.0, pages as u64, names as u64, u64::from(failed)], || {
                let how = if failed { "EIO, not written" } else { "durable" };
                format!("{}: {pages} pages and {names} names {how}", operation.path)
            });
        }
        if let Some(slot) = flush.descriptor {
            let (descriptor, volume) = self.reach(slot);
            result = result.and_then(|()| volume.tell(ino, &mut descriptor.errors, failed, &profile));
            descriptor.failed = result.is_err();
            operation.result = Some(result);
            self.close(slot);
        }
        self.record(node);
        self.volume(node).release(ino);
        self.burn(node);
        operation
    }

    /// Brings to the medium what an fsync covers, or fails to. True: it failed.
    fn bring(&mut self, node: NodeId, path: &str, flush: &Flush, dirty: &[u64], profile: &FsProfile) -> bool {
        let Flush { ino, upto, extent, attributes, ref strike, .. } = *flush;
        for (how, id) in &strike.wrong {
            self.settle_wrong(node, ino, upto, *how, *id);
        }
        let volume = self.volume(node);
        let refused = volume.media.refused(path, dirty);
        let is_directory = volume.get(ino).is_directory();
        match &strike.failing {
            None if refused.is_empty() => match extent {
                Extent::Data if !volume.needs_metadata(ino, upto) => volume.settle_content(ino, upto),
                _ => {
                    volume.settle(ino, upto, &profile.crash);
                    volume.inode(ino).durable_attributes = attributes;
                }
            },
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
    ///
    /// # Errors
    /// EIO when the device refused a page, of which the descriptors of its file are told too.
    pub(crate) fn sync_volume(&mut self, node: NodeId) -> io::Result<()> {
        let profile = self.profile(node);
        let volume = self.volume(node);
        volume.may_write()?;
        let upto = volume.effects();
        let files: Vec<Ino> = volume.dirty.iter().copied().collect();
        let failed = self.write_out(node, &files, upto, &profile);
        let volume = self.volume(node);
        volume.settle_all(upto, &profile.crash);
        volume.inodes.values_mut().for_each(|inode| inode.durable_attributes = inode.attributes);
        volume.consume_errors(profile.failure.told);
        self.record(node);
        emit(node, "disk.sync", &[upto], || "the whole volume is durable".to_string());
        if failed { Err(Errno::Io.into()) } else { Ok(()) }
    }

    /// Hands what is dirty of a file to the device, without its metadata and without a flush (sync_file_range(2)).
    pub(crate) fn stage(&mut self, slot: usize) -> io::Result<()> {
        let device_cache = self.options.device_cache;
        let (descriptor, volume) = self.reach(slot);
        volume.may_write()?;
        let upto = volume.effects();
        volume.stage(descriptor.ino, upto, device_cache)
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
        if machine.volume.may_write().is_err() || machine.ills.stalls() {
            return;
        }
        let one_by_one = profile.crash.data != Data::OnePrefix && !machine.draws.chance(Ratio::new(1, 2));
        let files: Vec<Ino> = machine.volume.dirty.iter().copied().collect();
        let chosen: Vec<Ino> =
            files.into_iter().filter(|_| !one_by_one || machine.draws.chance(Ratio::new(1, 2))).collect();
        self.write_out(node, &chosen, upto, &profile);
        if !one_by_one {
            self.volume(node).settle_all(upto, &profile.crash);
        }
        self.record(node);
        let all = u64::from(!one_by_one);
        emit(node, "disk.write_back", &[chosen.len() as u64, all], || format!("{} files, unasked", chosen.len()));
    }

    /// Brings the content of files to the medium, as far as the device takes it. Nobody is told but by a later fsync. True:
    /// it refused something.
    fn write_out(&mut self, node: NodeId, files: &[Ino], upto: Order, profile: &FsProfile) -> bool {
        let mut failed = false;
        for ino in files {
            let volume = self.volume(node);
            let refused = match volume.media.sequences.is_empty() {
                true => Vec::new(),
                false => {
                    let path = volume.name_of(*ino);
                    let dirty = volume.get(*ino).content().map_or(Vec::new(), |content| content.dirty_pages(upto));
                    volume.media.refused(path.trim_start_matches('/'), &dirty)
                }
            };
            if refused.is_empty() {
                volume.settle_content(*ino, upto);
                volume.settle_attributes(*ino);
            } else {
                volume.fail(*ino, upto, profile, |page| refused.contains(&page));
            }
            failed |= !refused.is_empty();
        }
        failed
    }
}
