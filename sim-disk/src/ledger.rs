//! The durability ledger: what a program has told others is safe, and so must be there after any crash.

use std::collections::BTreeMap;

use sim_core::Node;
use sim_core::device;
use sim_core::hash::fold;

use crate::kernel::act;

/// What a node has acknowledged, by key. It is the test's memory and no disk's: a crash takes nothing of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ledger {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Entry {
    acknowledged: Option<u64>,
    /// Values that were begun after that: a crash may leave any of them.
    begun: Vec<u64>,
}

fn fingerprint(value: &[u8]) -> u64 {
    let words = value.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(value.len() as u64, fold)
}

/// The current node is about to write a value: from now on a crash may leave it, or what was there before.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn begin_durable(key: impl Into<String>, value: impl AsRef<[u8]>) {
    with_entry("disk::begin_durable", key.into(), |entry| entry.begun.push(fingerprint(value.as_ref())));
}

/// The current node tells others that a value is safe: every crash from now on must leave it, or one that was
/// [begun](begin_durable) since.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn ack_durable(key: impl Into<String>, value: impl AsRef<[u8]>) {
    with_entry("disk::ack_durable", key.into(), |entry| {
        let print = fingerprint(value.as_ref());
        let done = entry.begun.iter().position(|begun| *begun == print);
        entry.begun.drain(..done.map_or(0, |place| place + 1));
        entry.acknowledged = Some(print);
    });
}

#[track_caller]
fn with_entry(what: &str, key: String, change: impl FnOnce(&mut Entry)) {
    let process = device::process(what);
    if process.is_alive() {
        act(what, |kernel| {
            change(kernel.machine(process.node).ledger.entries.entry(key).or_default());
            kernel.record(process.node);
        });
    }
}

/// What a node has acknowledged until now.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn ledger(node: Node) -> Ledger {
    act("disk::ledger", |kernel| kernel.machine(node.id()).ledger.clone())
}

impl Ledger {
    /// Compares with what a program finds under each key after a crash.
    ///
    /// # Errors
    /// The first key whose acknowledged value is neither there nor replaced by one that was begun later.
    pub fn check<V: AsRef<[u8]>>(&self, found: impl Fn(&str) -> Option<V>) -> Result<(), String> {
        for (key, Entry { acknowledged, begun }) in &self.entries {
            let Some(acknowledged) = acknowledged else { continue };
            let print = found(key).map(|value| fingerprint(value.as_ref()));
            match print {
                None => return Err(format!("{key} was acknowledged and is gone")),
                Some(print) if print == *acknowledged || begun.contains(&print) => {}
                Some(_) => return Err(format!("{key} was acknowledged with another value than it has now")),
            }
        }
        Ok(())
    }

    /// How many keys have been acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.entries.values().filter(|entry| entry.acknowledged.is_some()).count()
    }
}
