//! What hosted programs print.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::task::Waker;

use sim_core::{Node, NodeId, ambient};

use super::descriptor::{Io, Object};
use super::device::{existing, hosts};
use crate::syscall::raw;

/// So much of each stream of a node is kept.
const KEPT: usize = 1 << 20;

/// A line that is longer is shown in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// What a node has printed so far: the last mebibyte of each stream.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Printed {
    /// On its standard output.
    pub stdout: Vec<u8>,
    /// On its standard error.
    pub stderr: Vec<u8>,
}

/// What a hosted node has printed, in this life and earlier ones.
pub fn printed(node: Node) -> Printed {
    existing().and_then(|hosts| hosts.output.borrow().get(&node.id()).cloned()).unwrap_or_default()
}

/// Lines that are not ended yet, by node and stream, and the name of the node.
#[derive(Default)]
pub(crate) struct Unended(RefCell<BTreeMap<(NodeId, c_int), Unfinished>>);

type Unfinished = (String, Vec<u8>);

impl Unended {
    /// Shows what a node has printed and not ended with a new line.
    pub(crate) fn end(&self, node: NodeId) {
        for stream in [1, 2] {
            let unended = self.0.borrow_mut().remove(&(node, stream));
            unended.into_iter().for_each(|(name, line)| show(&name, stream, &line));
        }
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        let unended = self.0.take();
        unended.into_iter().for_each(|((_, stream), (name, line))| show(&name, stream, &line));
    }
}

/// A hosted program writes to its standard output or error: kept for its node, and by the line put into the log of a
/// recorded run and passed on with the name of the node before it.
pub(crate) fn write(stream: c_int, bytes: &[u8]) {
    let node = sim_core::current_node();
    let hosts = hosts();
    {
        let mut output = hosts.output.borrow_mut();
        let printed = output.entry(node.id()).or_default();
        let kept = if stream == 1 { &mut printed.stdout } else { &mut printed.stderr };
        kept.extend_from_slice(bytes);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
    let (name, ended) = {
        let mut unended = hosts.unended.0.borrow_mut();
        let (name, line) = unended.entry((node.id(), stream)).or_insert_with(|| (node.name(), Vec::new()));
        line.extend_from_slice(bytes);
        let last = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        let length = if line.len() - last > LONGEST_LINE { line.len() } else { last };
        (name.clone(), line.drain(..length).collect::<Vec<u8>>())
    };
    show(&name, stream, &ended);
}

fn show(name: &str, stream: c_int, bytes: &[u8]) {
    let mut shown = String::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        ambient::remark(if stream == 1 { "stdout" } else { "stderr" }, line.to_string());
        shown += &format!("[{name}] {line}\n");
    }
    // SAFETY: a real descriptor, and bytes that are as long as said.
    unsafe { raw(libc::SYS_write, [stream as usize, shown.as_ptr() as usize, shown.len(), 0, 0, 0]) };
}

/// A standard stream that was duplicated.
pub(crate) struct Standard(pub(crate) c_int);

impl Object for Standard {
    fn read(&self, _buffer: &mut [u8], _waker: &Waker) -> Io<usize> {
        if self.0 == 0 { Ok(0) } else { Err(libc::EBADF) }
    }

    fn write(&self, bytes: &[u8], _waker: &Waker) -> Io<usize> {
        if self.0 == 0 {
            return Err(libc::EBADF);
        }
        write(self.0, bytes);
        Ok(bytes.len())
    }
}
