//! What a watchdog on another thread may see of a running simulation.

use std::panic::Location;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};

type Site = &'static Location<'static>;

/// Shared with a watchdog: which poll is under way, of which task.
#[derive(Default)]
pub struct Progress {
    polls: AtomicU64,
    slot: AtomicU32,
    names: Mutex<Names>,
}

#[derive(Default)]
struct Names {
    nodes: Vec<String>,
    /// By the slot of the task: its node and where it was spawned.
    tasks: Vec<Option<(u32, Site)>>,
}

impl Progress {
    #[inline]
    pub(crate) fn poll_starts(&self, slot: u32) {
        self.slot.store(slot, Ordering::Relaxed);
        // One writer: no read-modify-write is needed.
        self.polls.store(self.polls.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn name_node(&self, name: &str) {
        self.names().nodes.push(name.to_string());
    }

    pub(crate) fn name_task(&self, slot: u32, node: u32, site: Site) {
        let mut names = self.names();
        let slot = slot as usize;
        if names.tasks.len() <= slot {
            names.tasks.resize(slot + 1, None);
        }
        names.tasks[slot] = Some((node, site));
    }

    /// How many polls have started.
    pub fn polls(&self) -> u64 {
        self.polls.load(Ordering::Acquire)
    }

    /// The task of the latest poll in words: its node, and where it was spawned.
    pub fn task(&self) -> String {
        let names = self.names();
        match names.tasks.get(self.slot.load(Ordering::Relaxed) as usize) {
            Some(Some((node, site))) => {
                let node = names.nodes.get(*node as usize).map_or("?", String::as_str);
                format!("the task of node {node} spawned at {site}")
            }
            _ => "no task yet".to_string(),
        }
    }
}
