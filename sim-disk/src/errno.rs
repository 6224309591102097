//! The numbers of Linux errors (errno(3)).

use std::io;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(crate) enum Errno {
    NotPermitted = 1,
    NotFound = 2,
    Io = 5,
    NoSuchDevice = 6,
    BadDescriptor = 9,
    WouldBlock = 11,
    Busy = 16,
    Exists = 17,
    NotADirectory = 20,
    IsADirectory = 21,
    Invalid = 22,
    TooManyFiles = 24,
    FileTooBig = 27,
    NoSpace = 28,
    ReadOnly = 30,
    NameTooLong = 36,
    NotEmpty = 39,
    TooManyLinks = 40,
    Quota = 122,
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        io::Error::from_raw_os_error(errno as i32)
    }
}
