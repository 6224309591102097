//! Why a command ends without an answer.

use std::fmt;

/// Why a command ends without an answer. The text says what, where, and what to type next.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something that the user can mend.
    Usage(String),
    /// Something that nobody foresaw.
    Internal(String),
}

impl Stop {
    /// As the help says it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Stop::Internal(_) => 1,
            Stop::Usage(_) => 2,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Stop::Usage(text) | Stop::Internal(text)) = self;
        f.write_str(text)
    }
}
