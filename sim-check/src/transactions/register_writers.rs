//! Who wrote which value to which register.

use rustc_hash::FxHashMap;

use super::analysis::who;
use super::columns::{Act, Atom, Transactions};

/// The writer of every value.
pub(super) struct Writers {
    by_value: FxHashMap<(u32, Atom), u32>,
    /// Two writes that cannot be told apart, if there are.
    pub(super) ambiguous: Option<String>,
}

impl Writers {
    pub(super) fn new(all: &Transactions) -> Self {
        let mut writers = Self { by_value: FxHashMap::default(), ambiguous: None };
        for (id, _) in all.iter() {
            for write in all.micros(id).iter().filter(|micro| micro.act == Act::Write) {
                let atom = all.atoms(write)[0];
                if let Some(other) = writers.by_value.insert((write.key, atom), id) {
                    writers.ambiguous.get_or_insert_with(|| {
                        let (first, second) = (who(all, other), who(all, id));
                        let (value, key) = (all.value(atom), all.key(write.key));
                        format!("{first} and {second} both write {value} to {key}: write each value to a key once")
                    });
                }
            }
        }
        writers
    }

    pub(super) fn of(&self, key: u32, atom: Atom) -> Option<u32> {
        self.by_value.get(&(key, atom)).copied()
    }
}
