//! What hosted programs print.

use std::ffi::c_int;

use sim_core::{Node, ambient};

use super::device::{existing, hosts};
use crate::syscall::raw;

/// So much of each stream of a node is kept.
const KEPT: usize = 1 << 20;

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

/// A hosted program writes to its standard output or error: kept for its node, put into the log of a recorded run, and
/// passed on with the name of the node before every line.
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
    let name = node.name();
    let mut shown = String::new();
    for line in String::from_utf8_lossy(bytes).lines() {
        ambient::remark(if stream == 1 { "stdout" } else { "stderr" }, line.to_string());
        shown += &format!("[{name}] {line}\n");
    }
    // SAFETY: a real descriptor, and bytes that are as long as said.
    unsafe { raw(libc::SYS_write, [stream as usize, shown.as_ptr() as usize, shown.len(), 0, 0, 0]) };
}
