//! What the processes of a machine have open, in the manner of lsof(8).

use std::fmt;

use sim_core::Node;

use crate::kernel::act;

/// An open file description of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenFile {
    /// Its number among those of the simulation.
    pub descriptor: usize,
    /// The path it was opened by.
    pub path: String,
    /// The number of its inode.
    pub ino: u64,
    /// Whether it reads, writes, or both: `r`, `w`, `u`.
    pub access: char,
    /// Its lock: `W` and `R` on the whole file, `w` and `r` on a part of it.
    pub lock: Option<&'static str>,
    /// The length of the file.
    pub size: u64,
    /// Whether it has no name any more.
    pub deleted: bool,
    /// Whether an fsync would tell of a write-back that failed.
    pub owes_error: bool,
}

impl fmt::Display for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenFile { descriptor, access, ino, size, path, .. } = self;
        write!(f, "{descriptor:>4}{access}{:1} {ino:>6} {size:>10} {path}", self.lock.unwrap_or(""))?;
        write!(
            f,
            "{}{}",
            if self.deleted { " (deleted)" } else { "" },
            if self.owes_error { " (EIO unreported)" } else { "" }
        )
    }
}

/// What a node has open, in the order of descriptors; one line each when displayed.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn open_files(node: Node) -> Vec<OpenFile> {
    act("disk::open_files", |kernel| {
        let told = kernel.profile(node.id()).failure.told;
        kernel.machine(node.id());
        let machine = kernel.known_machine(node.id());
        let volume = &machine.volume;
        let mine = kernel.descriptors.iter().filter(|(_, open)| open.process.node == node.id());
        let open_file = |(slot, descriptor): (usize, &crate::kernel::Descriptor)| {
            let (ino, mode) = (descriptor.ino, descriptor.mode);
            let access = match (mode.read, mode.writes()) {
                (true, true) => 'u',
                (false, true) => 'w',
                _ => 'r',
            };
            let metadata = volume.metadata(ino);
            OpenFile {
                descriptor: slot,
                path: descriptor.path.to_string(),
                ino: ino.0,
                access,
                lock: machine.locks.get(&ino).and_then(|locks| locks.of(slot)),
                size: metadata.len(),
                deleted: metadata.nlink() == 0,
                owes_error: volume.get(ino).owes_error(descriptor.errors, told),
            }
        };
        mine.map(open_file).collect()
    })
}
