//! Fsync: the way from the cache to the medium.
//!
//! An fsync takes up at once what is dirty, and makes it durable when it completes. A power loss in between takes it; a
//! killed process does not stop it, nor does dropping the future, as neither stops the system call. It completes no
//! earlier than those before it of the same file, and than those that carry names.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sim_core::NodeId;
use sim_core::device::{self, Down, Process, emit};
use sim_core::event::EventKind;

use crate::handle::dead;
use crate::kernel::{Kernel, act, act_if_running};
use crate::volume::{Ino, Work};

const FSYNC: EventKind = EventKind::new("disk.fsync");

/// An fsync under way or done.
pub(crate) struct Sync {
    process: Process,
    ino: Ino,
    path: Arc<str>,
    /// Who is told of a failure; nobody when the process has died.
    descriptor: Option<usize>,
    due: u64,
    fails: bool,
    /// What it brings to the medium, until it has.
    work: Option<Work>,
    waker: Option<Waker>,
    /// Nobody will ask for the result.
    abandoned: bool,
    result: Option<io::Result<()>>,
}

impl Sync {
    /// Whether an fsync of `ino` on `node` that comes after this one must not overtake it.
    fn holds_back(&self, node: NodeId, ino: Ino) -> bool {
        let carries_names = |work: &Work| self.ino == ino || work.has_names();
        self.process.node == node && self.work.as_ref().is_some_and(carries_names)
    }
}

impl Kernel {
    /// Takes up what an fsync has to write.
    fn take_up(&mut self, slot: usize, path: &Arc<str>, fails: bool) -> Sync {
        let journal = self.options.sync_file_implies_entry;
        let (descriptor, volume) = self.reach(slot);
        let (process, ino) = (descriptor.process, descriptor.ino);
        let work = Some(volume.take_up(ino, journal));
        self.duplicate(slot);
        Sync {
            process,
            ino,
            path: path.clone(),
            descriptor: Some(slot),
            due: device::now(),
            fails,
            work,
            waker: None,
            abandoned: false,
            result: None,
        }
    }

    /// Starts an fsync that takes simulated time.
    pub(crate) fn begin_sync(&mut self, slot: usize, path: &Arc<str>, fails: bool) -> u32 {
        let mut sync = self.take_up(slot, path, fails);
        let (min, max) = (self.options.fsync_latency_min, self.options.fsync_latency_max);
        let latency = self.volume(sync.process.node).draws.duration(min..max);
        let earliest = sync.due + latency.as_nanos() as u64;
        let before = self.syncs.values().filter(|other| other.holds_back(sync.process.node, sync.ino));
        sync.due = before.map(|other| other.due).fold(earliest, u64::max);
        let token = self.next_sync;
        self.next_sync = token.wrapping_add(1);
        if let Some(id) = self.id {
            device::wake_at(id, sync.due, token);
        }
        self.syncs.insert(token, sync);
        token
    }

    /// An fsync that takes no time. It completes those that it must not overtake.
    pub(crate) fn sync_now(&mut self, slot: usize, path: &Arc<str>, fails: bool) -> io::Result<()> {
        let sync = self.take_up(slot, path, fails);
        let before = self.syncs.iter().filter(|(_, other)| other.holds_back(sync.process.node, sync.ino));
        let before: Vec<u32> = before.map(|(token, _)| *token).collect();
        before.into_iter().for_each(|token| self.complete(token));
        self.finish(sync).result.unwrap_or(Ok(()))
    }

    /// An fsync has taken its time.
    pub(crate) fn complete(&mut self, token: u32) {
        let Some(sync) = self.syncs.remove(&token) else { return };
        let mut sync = if sync.work.is_some() { self.finish(sync) } else { sync };
        self.wakes.extend(sync.waker.take());
        if !sync.abandoned {
            self.syncs.insert(token, sync);
        }
    }

    /// Brings to the medium what an fsync took up, and tells its descriptor how it went.
    fn finish(&mut self, mut sync: Sync) -> Sync {
        let node = sync.process.node;
        if let Some(work) = sync.work.take() {
            let (pages, names) = work.size();
            self.volume(node).settle(sync.ino, work, sync.fails);
            let fields = [sync.ino.0 as u64, pages as u64, names as u64, u64::from(sync.fails)];
            emit(node, FSYNC, &fields, || {
                let how = if sync.fails { "EIO, not written" } else { "durable" };
                format!("{}: {pages} pages and {names} names {how}", sync.path)
            });
        }
        if let Some(slot) = sync.descriptor.take() {
            let (descriptor, volume) = self.reach(slot);
            sync.result = Some(volume.inode(sync.ino).check_errors(&mut descriptor.errors));
            self.close(slot);
        }
        self.volume(node).release(sync.ino);
        sync
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
        match sync.work {
            Some(_) => sync.waker.take(),
            None => self.syncs.remove(&token)?.waker,
        }
    }

    /// The processes of a node are gone: nobody hears of their fsyncs, which go on unless the power went.
    pub(crate) fn drop_syncs_of(&mut self, node: NodeId, how: Down) {
        for sync in self.syncs.values_mut().filter(|sync| sync.process.node == node) {
            sync.descriptor = None;
            sync.abandoned = true;
            self.wakes.extend(sync.waker.take());
        }
        self.syncs.retain(|_, sync| sync.process.node != node || (how == Down::Kill && sync.work.is_some()));
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
