//! The event log of a run and its rolling digest.
//!
//! Whatever can make two runs differ is an event: a task picked, a timer, a message, a disk effect, a fault. Each one
//! moves the digest; its text is made only when the run is recorded.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::hash::{fold, hash_str};
use crate::units::seconds;

/// The kind of an event, such as `net.deliver`, with its hash.
#[derive(Clone, Copy, Debug)]
pub struct EventKind {
    name: &'static str,
    hash: u64,
}

impl EventKind {
    /// A kind called `name`. As a `const` it costs nothing at run time.
    pub const fn new(name: &'static str) -> Self {
        EventKind { name, hash: hash_str(name) }
    }
}

impl From<&'static str> for EventKind {
    fn from(name: &'static str) -> Self {
        EventKind::new(name)
    }
}

/// One line of the log of a recorded run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds of simulated time.
    pub at: u64,
    /// On which node.
    pub node: String,
    /// What kind of thing.
    pub kind: String,
    /// What exactly, in words.
    pub text: String,
    /// The digest of the run after this event.
    pub digest: u64,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { at, node, kind, text, .. } = self;
        let micros = at / 1_000 % 1_000;
        let stamp = seconds(*at);
        let stamp = stamp.trim_end_matches(" s");
        write!(f, "{stamp:>8}{micros:03} {:<10} {kind:<14} {}", printable(node), printable(text))
    }
}

/// A text from a program under test, made inert for a terminal: control characters are escaped.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

#[derive(Default)]
pub(crate) struct Log {
    digest: u64,
    count: u64,
    lines: Option<Vec<Event>>,
}

impl Log {
    pub(crate) fn new(recording: bool) -> Self {
        Log { lines: recording.then(Vec::new), ..Log::default() }
    }

    pub(crate) fn is_recording(&self) -> bool {
        self.lines.is_some()
    }

    #[inline]
    pub(crate) fn note(&mut self, at: u64, node: u32, kind: EventKind, fields: &[u64]) {
        self.count += 1;
        let mut digest = fold(self.digest ^ kind.hash, at);
        digest = fold(digest, u64::from(node));
        for field in fields {
            digest = fold(digest, *field);
        }
        self.digest = digest;
    }

    /// Adds the words of the event just noted.
    pub(crate) fn describe(&mut self, at: u64, node: String, kind: EventKind, text: String) {
        let digest = self.digest;
        if let Some(lines) = &mut self.lines {
            lines.push(Event { at, node, kind: kind.name.to_string(), text, digest });
        }
    }

    /// Adds words that are no event: what the program logged. They do not move the digest, because a sweep is silent.
    pub(crate) fn remark(&mut self, at: u64, node: String, kind: &str, text: String) {
        let digest = self.digest;
        if let Some(lines) = &mut self.lines {
            lines.push(Event { at, node, kind: kind.to_string(), text, digest });
        }
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn take_lines(&mut self) -> Option<Vec<Event>> {
        self.lines.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_depends_on_every_part_of_an_event() {
        let digest = |at, node, kind, fields: &[u64]| {
            let mut log = Log::default();
            log.note(at, node, EventKind::new(kind), fields);
            log.digest()
        };
        let base = digest(1, 2, "a", &[3, 4]);
        for other in [digest(9, 2, "a", &[3, 4]), digest(1, 9, "a", &[3, 4]), digest(1, 2, "b", &[3, 4])] {
            assert_ne!(base, other);
        }
        assert_ne!(base, digest(1, 2, "a", &[3, 5]));
        assert_ne!(base, digest(1, 2, "a", &[4, 3]));
    }

    #[test]
    fn what_a_program_prints_cannot_drive_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r\n"), "a\\u{1b}[2Jb\\r\n");
    }
}
