//! What a client may rely on within its session, when the store tells versions (Terry et al. 1994).

use std::collections::BTreeMap;
use std::fmt;

use super::{Fold, evidence};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks `read` and `write` that are answered with `[key version]`, versions being numbers that grow with every write of
/// a key: each client reads its writes, reads monotonically, writes monotonically, and writes after what it read.
pub fn sessions() -> Sessions {
    Sessions { demanded: Guarantee::ALL.to_vec(), read: BTreeMap::new(), written: BTreeMap::new(), seen: false }
}

/// A promise to one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// A read finds the session's last write of the key, or a later one.
    ReadYourWrites,
    /// A read finds what the session read of the key last, or a later version.
    MonotonicReads,
    /// A write of the session comes after those of the session before it.
    MonotonicWrites,
    /// A write comes after what the session read of the key.
    WritesFollowReads,
}

impl Guarantee {
    /// All four.
    pub const ALL: [Guarantee; 4] =
        [Self::ReadYourWrites, Self::MonotonicReads, Self::MonotonicWrites, Self::WritesFollowReads];
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Guarantee::ReadYourWrites => "read your writes",
            Guarantee::MonotonicReads => "monotonic reads",
            Guarantee::MonotonicWrites => "monotonic writes",
            Guarantee::WritesFollowReads => "writes follow reads",
        })
    }
}

/// The check that [`sessions()`] makes.
#[derive(Clone, Debug)]
pub struct Sessions {
    demanded: Vec<Guarantee>,
    /// The newest version that each session read of each key, and the event.
    read: BTreeMap<(u64, Value), (i64, u64)>,
    written: BTreeMap<(u64, Value), (i64, u64)>,
    seen: bool,
}

impl Sessions {
    /// Demands these guarantees alone.
    pub fn only(mut self, demanded: impl IntoIterator<Item = Guarantee>) -> Self {
        self.demanded = demanded.into_iter().collect();
        self
    }

    fn broken(&self, event: &ClientEvent, key: &Value, version: i64) -> Option<Evidence> {
        let of = (event.process, key.clone());
        let (read, written) = (self.read.get(&of), self.written.get(&of));
        let checks = match event.f.as_str() {
            // Writes get versions of their own, so they have to be newer; reads may find the same again.
            "write" => [
                (Guarantee::MonotonicWrites, written.filter(|last| version <= last.0), "written"),
                (Guarantee::WritesFollowReads, read.filter(|last| version <= last.0), "read"),
            ],
            _ => [
                (Guarantee::ReadYourWrites, written.filter(|last| version < last.0), "written"),
                (Guarantee::MonotonicReads, read.filter(|last| version < last.0), "read"),
            ],
        };
        let (guarantee, last, did) = checks
            .into_iter()
            .filter(|(guarantee, ..)| self.demanded.contains(guarantee))
            .find_map(|(guarantee, last, did)| Some((guarantee, last?, did)))?;
        let (client, at, (newer, when)) = (event.process, event.moment.index, last);
        let does = if event.f == "write" { "wrote" } else { "read" };
        let sentence = format!(
            "not {guarantee}: client-{client} {does} version {version} of {key} at event {at}, having {did} {newer} at event {when}"
        );
        Some(evidence(event, sentence))
    }
}

impl Fold for Sessions {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        let [key, Value::Int(version)] = event.value.members() else { return None };
        if event.phase != Phase::Ok || !matches!(event.f.as_str(), "read" | "write") {
            return None;
        }
        self.seen = true;
        let broken = self.broken(event, key, *version);
        let newest = if event.f == "write" { &mut self.written } else { &mut self.read };
        let now = (*version, event.moment.index);
        let last = newest.entry((event.process, key.clone())).or_insert(now);
        *last = (*last).max(now);
        broken
    }

    fn finish(&mut self) -> Verdict {
        match self.seen {
            true => Verdict::Valid,
            false => Verdict::Vacuous("no version was read or written".to_string()),
        }
    }
}
