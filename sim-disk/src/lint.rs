//! Habits that lose data sooner or later, whether or not a crash has come yet.

use std::fmt;

use sim_core::Node;

use crate::kernel::act;

/// What a program did.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Habit {
    /// It called fsync again on a descriptor that had just reported a failure, without writing again: on Linux the second
    /// one succeeds and has saved nothing.
    RetriedFailedFsync,
    /// It renamed a file whose content was not synced: the name may survive without it.
    RenamedWithoutFsync,
    /// It synced a file and not the directory that has its name.
    CreatedWithoutDirectoryFsync,
    /// It closed a descriptor that had an error to report.
    ClosedWithUnreportedError,
}

/// A habit, and where it was seen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Lint {
    /// The path, without a slash in front.
    pub path: String,
    /// What was done.
    pub habit: Habit,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self.habit {
            Habit::RetriedFailedFsync => "fsync was tried again after it failed: write again first, or give up",
            Habit::RenamedWithoutFsync => "renamed before its content was synced: call sync_all on it first",
            Habit::CreatedWithoutDirectoryFsync => "synced, and its name is not: call sync_all on its directory",
            Habit::ClosedWithUnreportedError => "closed with an error that nobody was told of: call sync_all before",
        };
        write!(f, "{}: {words}", self.path)
    }
}

/// What a node did on its disk that is unsafe, on some filesystem if not on its own; each once, in the order of paths.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn lints(node: Node) -> Vec<Lint> {
    act("disk::lints", |kernel| {
        let machine = kernel.machine(node.id());
        let mut lints = machine.lints.clone();
        for entry in machine.volume.names.iter().flat_map(|op| &op.entries) {
            let content = entry.to.and_then(|ino| machine.volume.get(ino).content());
            if content.is_some_and(|content| content.pending.is_empty() && content.size() > 0) {
                let path = machine.volume.path_of(entry.dir).join(&*entry.name);
                let path = crate::path::words(&path);
                lints.insert(Lint { path, habit: Habit::CreatedWithoutDirectoryFsync });
            }
        }
        lints.into_iter().collect()
    })
}
