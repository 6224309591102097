//! What a power loss now would take, in words.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use sim_core::Node;
use sim_core::fault::FaultId;

use crate::kernel::act;
use crate::volume::{Body, Ino, Name, ROOT, Volume};

/// Something that a power loss now would take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unsynced {
    /// The path, without a slash in front.
    pub path: PathBuf,
    /// What of it.
    pub loss: Loss,
}

/// What of a path is not durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// Content: so many bytes in whole pages; none where only the length is at stake.
    Content {
        /// Cached bytes that the medium does not have.
        bytes: u64,
    },
    /// The name: it would be gone, or lead to what it led to before.
    Name,
    /// The removal of the name: it would be back.
    Removal,
}

impl fmt::Display for Unsynced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match self.loss {
            Loss::Content { bytes: 0 } => write!(f, "{path}: its length is not durable"),
            Loss::Content { bytes } => write!(f, "{path}: {bytes} bytes are not durable"),
            Loss::Name => write!(f, "{path}: its name is not durable"),
            Loss::Removal => write!(f, "{path}: its removal is not durable"),
        }
    }
}

/// What a power loss of `node` would take now, in the order of the paths. What stands in a directory whose name would be
/// lost goes with it, and is listed only when it would also be lost by itself.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn unsynced(node: Node) -> Vec<Unsynced> {
    act("disk::unsynced", |kernel| {
        let mut found = Vec::new();
        kernel.volume(node.id()).find_unsynced(ROOT, Path::new(""), &mut found);
        found
    })
}

/// Keeps the durable state of the disk of `node`, as the fault [`snapshot`](crate::snapshot) does. It shares every page with
/// the disk until one of them changes.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn take_snapshot(node: Node) {
    act("disk::take_snapshot", |kernel| kernel.machine(node.id()).take_snapshot(FaultId::default()));
}

impl Volume {
    fn find_unsynced(&self, ino: Ino, path: &Path, found: &mut Vec<Unsynced>) {
        let directory = match &self.get(ino).body {
            Body::Symlink(_) => return,
            Body::File(content) => {
                if let Some(bytes) = content.at_stake() {
                    found.push(Unsynced { path: path.to_path_buf(), loss: Loss::Content { bytes } });
                }
                return;
            }
            Body::Directory(directory) => directory,
        };
        let names: BTreeSet<&Name> = directory.live.keys().chain(directory.durable.keys()).collect();
        for name in names {
            let path = path.join(&**name);
            match (directory.live.get(name), directory.durable.get(name)) {
                (None, _) => found.push(Unsynced { path, loss: Loss::Removal }),
                (Some(live), durable) => {
                    if durable != Some(live) {
                        found.push(Unsynced { path: path.clone(), loss: Loss::Name });
                    }
                    self.find_unsynced(*live, &path, found);
                }
            }
        }
    }
}
