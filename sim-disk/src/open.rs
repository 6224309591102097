//! How a file is opened, as std and open(2) have it.

use std::io;

use crate::errno::Errno;

/// The flags of an `OpenOptions`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mode {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
}

impl Mode {
    pub(crate) const READ: Mode =
        Mode { read: true, write: false, append: false, truncate: false, create: false, create_new: false };
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
            Ok(Mode { truncate: self.truncate && !self.create_new, ..self })
        } else {
            Err(Errno::Invalid.into())
        }
    }
}
