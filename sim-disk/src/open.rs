//! How a file is opened, as std and open(2) have it.

use std::io;

use crate::errno::Errno;

/// The flags of an open file: those of open(2), everything off by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mode {
    /// Reads.
    pub read: bool,
    /// Writes.
    pub write: bool,
    /// Every write goes to the end of the file (O_APPEND).
    pub append: bool,
    /// The file is cut to nothing (O_TRUNC).
    pub truncate: bool,
    /// The file is made where there is none (O_CREAT).
    pub create: bool,
    /// The file is made, and must not exist (O_CREAT and O_EXCL).
    pub create_new: bool,
    /// Reads and writes pass the page cache, in whole sectors (O_DIRECT).
    pub direct: bool,
    /// Every write is durable when it returns (O_DSYNC, O_SYNC).
    pub sync: bool,
    /// Only a directory is opened (O_DIRECTORY).
    pub directory: bool,
    /// A symbolic link at the end of the path is an error (O_NOFOLLOW).
    pub no_follow: bool,
    /// The permission bits of a new file. Kept, and never enforced.
    pub permissions: u32,
}

/// Whether a symbolic link at the end of a path is followed. Those before it always are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// It is.
    Always,
    /// It is what the path leads to.
    NotLast,
}

impl Mode {
    /// For reading.
    pub const READ: Mode = Mode {
        read: true,
        write: false,
        append: false,
        truncate: false,
        create: false,
        create_new: false,
        direct: false,
        sync: false,
        directory: false,
        no_follow: false,
        permissions: 0o644,
    };
    pub(crate) const CREATE: Mode = Mode { read: false, write: true, truncate: true, create: true, ..Mode::READ };
    pub(crate) const CREATE_NEW: Mode = Mode { write: true, create_new: true, ..Mode::READ };

    pub(crate) fn writes(self) -> bool {
        self.write || self.append
    }

    /// Refuses the combinations that std refuses.
    pub(crate) fn check(self) -> io::Result<Mode> {
        let makes = self.create || self.create_new;
        let valid = match (self.write, self.append) {
            (false, false) => self.read && !self.truncate && !makes,
            (_, true) => !self.truncate || self.create_new,
            (true, false) => true,
        };
        if valid {
            Ok(Mode { truncate: self.truncate && !self.create_new, permissions: 0o644, ..self })
        } else {
            Err(Errno::Invalid.into())
        }
    }
}
