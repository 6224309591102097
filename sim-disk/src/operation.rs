//! Operations that the device works on, and those who wait for them.
//!
//! An operation is planned for the time at which the device will have done it. While the device is stalled it is held back,
//! and planned anew when the stall is over.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use sim_core::NodeId;
use sim_core::device::{self, Down, Process};

use crate::handle::dead;
use crate::kernel::{Kernel, act, act_if_running};
use crate::sync::Flush;

/// Something that the device of a machine does.
pub(crate) struct Operation {
    pub(crate) process: Process,
    pub(crate) path: Arc<str>,
    pub(crate) what: &'static str,
    pub(crate) due: u64,
    /// What reaches the medium when it is done, where it is an fsync.
    pub(crate) flush: Option<Flush>,
    waker: Option<Waker>,
    /// Nobody will ask for the result.
    abandoned: bool,
    pub(crate) result: Option<io::Result<()>>,
}

impl Operation {
    pub(crate) fn new(process: Process, path: Arc<str>, what: &'static str, flush: Option<Flush>) -> Self {
        Operation { process, path, what, due: device::now(), flush, waker: None, abandoned: false, result: None }
    }
}

impl Kernel {
    /// Gives an operation on so many pages to the device.
    pub(crate) fn give(&mut self, mut operation: Operation, pages: u64, latency: u64) -> u32 {
        let (machine, options) = self.machine_and_options(operation.process.node);
        let times = machine.ills.times(&operation.path);
        let done = machine.queue.done(operation.due, pages, latency, times, &options.performance);
        operation.due = self.before(&operation).map(|(_, other)| other.due).fold(done, u64::max);
        let token = self.next_token();
        let (node, due) = (operation.process.node, operation.due);
        self.operations.insert(token, operation);
        self.plan(node, token, due);
        token
    }

    /// The fsyncs of the same file that are under way: no later one overtakes them.
    pub(crate) fn before(&self, operation: &Operation) -> impl Iterator<Item = (&u32, &Operation)> {
        let key = |operation: &Operation| Some((operation.process.node, operation.flush.as_ref()?.ino));
        let mine = key(operation);
        self.operations.iter().filter(move |(_, other)| mine.is_some() && key(other) == mine)
    }

    fn plan(&mut self, node: NodeId, token: u32, due: u64) {
        let machine = self.machine(node);
        if machine.ills.stalls() {
            machine.held.push((token, due.saturating_sub(device::now())));
        } else if let Some(id) = self.id {
            device::wake_at(id, due, token);
        }
    }

    /// A stall may be over: what was held back goes on.
    pub(crate) fn release_held(&mut self, node: NodeId) {
        let mut held = std::mem::take(&mut self.machine(node).held);
        held.sort_unstable();
        for (token, rest) in held {
            let Some(operation) = self.operations.get_mut(&token) else { continue };
            operation.due = device::now() + rest;
            let due = operation.due;
            self.plan(node, token, due);
        }
    }

    /// The time of an operation has come.
    pub(crate) fn due(&mut self, token: u32) {
        let Some(node) = self.operations.get(&token).map(|operation| operation.process.node) else { return };
        if self.machine(node).ills.stalls() {
            self.machine(node).held.push((token, 0));
        } else {
            self.complete(token);
        }
    }

    /// The device has done an operation.
    pub(crate) fn complete(&mut self, token: u32) {
        let Some(operation) = self.operations.remove(&token) else { return };
        let mut operation = self.finish(operation);
        self.wakes.extend(operation.waker.take());
        if !operation.abandoned {
            self.operations.insert(token, operation);
        }
    }

    fn poll_operation(&mut self, token: u32, waker: &Waker) -> (Poll<io::Result<()>>, Option<Waker>) {
        let Some(operation) = self.operations.get_mut(&token) else { return (Poll::Ready(Err(dead())), None) };
        if let Some(result) = operation.result.take() {
            let done = self.operations.remove(&token);
            return (Poll::Ready(result), done.and_then(|operation| operation.waker));
        }
        let old = operation.waker.replace(waker.clone());
        if let Some(id) = self.id {
            device::waiting(id, operation.what, u64::from(token));
        }
        (Poll::Pending, old)
    }

    fn abandon(&mut self, token: u32) -> Option<Waker> {
        let operation = self.operations.get_mut(&token)?;
        operation.abandoned = true;
        if operation.flush.is_some() { operation.waker.take() } else { self.operations.remove(&token)?.waker }
    }

    /// The processes of a node are gone: nobody hears of their fsyncs, which go on unless the memory went.
    pub(crate) fn drop_operations_of(&mut self, node: NodeId, how: Down) {
        for operation in self.operations.values_mut().filter(|operation| operation.process.node == node) {
            operation.flush.iter_mut().for_each(|flush| flush.descriptor = None);
            operation.abandoned = true;
            self.wakes.extend(operation.waker.take());
        }
        let goes_on = |operation: &Operation| how == Down::Kill && operation.flush.is_some();
        self.operations.retain(|_, operation| operation.process.node != node || goes_on(operation));
    }

    pub(crate) fn describe_wait(&self, what: &'static str, token: u64) -> String {
        let operation = u32::try_from(token).ok().and_then(|token| self.operations.get(&token));
        operation.map_or_else(|| what.to_string(), |operation| format!("{what} of {}", operation.path))
    }
}

/// The future of an operation that has begun.
#[must_use = "the result of an fsync says whether anything was saved"]
pub(crate) struct Waiting {
    token: u32,
    process: Process,
}

impl Waiting {
    pub(crate) fn new(token: u32, process: Process) -> Self {
        Waiting { token, process }
    }
}

impl Future for Waiting {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.process.is_alive() {
            return Poll::Ready(Err(dead()));
        }
        let (polled, old) = act("fs::File::sync_all", |kernel| kernel.poll_operation(self.token, cx.waker()));
        drop(old);
        polled
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let waker = act_if_running(|kernel| kernel.abandon(self.token));
        drop(waker);
    }
}

/// What a file waits for between two polls.
#[derive(Default)]
pub(crate) struct Busy {
    reading: Option<Waiting>,
    /// With the length that has been written.
    writing: Option<(Waiting, usize)>,
}

impl Busy {
    /// A read: `begin` says what there is to wait for, and `read` is what happens then.
    pub(crate) fn poll_read<R>(
        &mut self,
        cx: &mut Context<'_>,
        begin: impl FnOnce() -> io::Result<Option<Waiting>>,
        read: impl FnOnce() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        if self.reading.is_none() {
            self.reading = begin()?;
        }
        if let Some(waiting) = &mut self.reading {
            let waited = ready!(Pin::new(waiting).poll(cx));
            self.reading = None;
            waited?;
        }
        Poll::Ready(read())
    }

    /// A write, which `write` begins: it happens at once, and is done when the device says so, and `end` what comes of it.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce() -> io::Result<(usize, Option<Waiting>)>,
        end: impl FnOnce(io::Result<usize>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if self.writing.is_none() {
            match write()? {
                (length, None) => return Poll::Ready(Ok(length)),
                (length, Some(waiting)) => self.writing = Some((waiting, length)),
            }
        }
        let Some((waiting, length)) = &mut self.writing else { return Poll::Ready(Ok(0)) };
        let length = *length;
        let waited = ready!(Pin::new(waiting).poll(cx));
        self.writing = None;
        Poll::Ready(end(waited.map(|()| length)))
    }
}
