//! The order in which the values of lists came to be.

use rustc_hash::FxHashMap;

use super::analysis::who;
use super::anomaly::{Findings, Kind};
use super::columns::{Act, Atom, Micro, Status, Transactions};
use super::list_append::short_list;

/// The place of a value that is in no read.
pub(super) const UNREAD: u32 = u32::MAX;

/// In place of a transaction.
const NOBODY: u32 = u32::MAX;

/// Who appended what, and the order of the appends to each key.
pub(super) struct Versions<'a> {
    /// Of each key, by value.
    writers: Vec<FxHashMap<Atom, Writer>>,
    longest: Vec<&'a [Atom]>,
    /// Of each value of the longest read, who appended it, unless that was undone or nobody did.
    live: Vec<Vec<u32>>,
    unread: Vec<Vec<u32>>,
    /// Of each key the longest read, and reads that are no beginning of it.
    whole: Vec<(u32, Micro)>,
    /// Two appends that cannot be told apart, if there are.
    pub(super) ambiguous: Option<String>,
}

#[derive(Clone, Copy)]
struct Writer {
    txn: u32,
    place: u32,
}

impl<'a> Versions<'a> {
    /// Finds the order, and what contradicts that there is one.
    pub(super) fn new(all: &'a Transactions, findings: &mut Findings) -> Self {
        let mut versions = Versions {
            writers: vec![FxHashMap::default(); all.keys()],
            longest: vec![&[]; all.keys()],
            live: vec![Vec::new(); all.keys()],
            unread: vec![Vec::new(); all.keys()],
            whole: Vec::new(),
            ambiguous: None,
        };
        versions.note_writers(all);
        versions.choose_longest(all, findings);
        versions.compare_reads(all, findings);
        versions.note_places(all);
        versions
    }

    fn note_writers(&mut self, all: &Transactions) {
        for (id, _) in all.iter() {
            for append in all.micros(id).iter().filter(|micro| micro.act == Act::Append) {
                let atom = all.atoms(append)[0];
                let other = self.writers[append.key as usize].insert(atom, Writer { txn: id, place: UNREAD });
                if let Some(other) = other {
                    self.ambiguous.get_or_insert_with(|| {
                        let (value, key) = (all.value(atom), all.key(append.key));
                        let (first, second) = (who(all, other.txn), who(all, id));
                        format!("{first} and {second} both append {value} to {key}: append each value to a key once")
                    });
                }
            }
        }
    }

    /// The longest read of each key in which nothing is twice.
    fn choose_longest(&mut self, all: &'a Transactions, findings: &mut Findings) {
        let mut chosen: Vec<Option<(u32, &'a Micro)>> = vec![None; all.keys()];
        for (id, read) in reads(all) {
            let best = &mut chosen[read.key as usize];
            if best.is_none_or(|(_, best)| all.atoms(best).len() < all.atoms(read).len()) {
                *best = Some((id, read));
            }
        }
        for (key, chosen) in (0..).zip(&mut chosen) {
            if chosen.is_some_and(|(_, read)| duplicate(all.atoms(read)).is_some()) {
                *chosen = self.longest_sound(all, key, findings);
            }
        }
        for (id, read) in chosen.into_iter().flatten() {
            self.longest[read.key as usize] = all.atoms(read);
            self.whole.push((id, *read));
        }
    }

    /// The slow way, for a key that was read with something twice.
    fn longest_sound(&self, all: &'a Transactions, key: u32, findings: &mut Findings) -> Option<(u32, &'a Micro)> {
        let mut sound: Option<(u32, &'a Micro)> = None;
        for (id, read) in reads(all).filter(|(_, read)| read.key == key) {
            match duplicate(all.atoms(read)) {
                Some(twice) => findings.add(Kind::DuplicateElements, || {
                    let (name, value) = (all.key(key), all.value(twice));
                    let list = short_list(all, all.atoms(read));
                    let what = format!("{} read {name} as {list}, with {value} in it twice", who(all, id));
                    (Some(name), what, vec![id])
                }),
                None if sound.is_none_or(|(_, best)| all.atoms(best).len() < all.atoms(read).len()) => {
                    sound = Some((id, read));
                }
                None => {}
            }
        }
        sound
    }

    fn compare_reads(&mut self, all: &Transactions, findings: &mut Findings) {
        let longest: Vec<(u32, Micro)> = self.whole.clone();
        for (id, read) in reads(all) {
            if self.agrees(all, read) {
                continue;
            }
            self.whole.push((id, *read));
            let Some((other, whole)) = longest.iter().find(|(_, whole)| whole.key == read.key) else { continue };
            findings.add(Kind::IncompatibleOrder, || {
                let (name, mine) = (all.key(read.key), short_list(all, all.atoms(read)));
                let (me, they) = (who(all, id), who(all, *other));
                let theirs = short_list(all, all.atoms(whole));
                let what =
                    format!("{me} read {name} as {mine}, {they} as {theirs}: neither is a beginning of the other");
                (Some(name), what, vec![id, *other])
            });
        }
    }

    fn note_places(&mut self, all: &Transactions) {
        for ((longest, writers), live) in self.longest.iter().zip(&mut self.writers).zip(&mut self.live) {
            let note = |(place, atom): (u32, &Atom)| {
                let Some(writer) = writers.get_mut(atom) else { return NOBODY };
                writer.place = place;
                if all.txn(writer.txn).status == Status::Fail { NOBODY } else { writer.txn }
            };
            *live = (0..).zip(*longest).map(note).collect();
        }
        for (id, _) in all.iter().filter(|(_, txn)| txn.status != Status::Fail) {
            for append in all.micros(id).iter().filter(|micro| micro.act == Act::Append) {
                let unread = &mut self.unread[append.key as usize];
                let place = self.writers[append.key as usize].get(&all.atoms(append)[0]).map(|writer| writer.place);
                if place == Some(UNREAD) && unread.last() != Some(&id) {
                    unread.push(id);
                }
            }
        }
    }

    /// The values of a key in their order, as far as they were read.
    pub(super) fn longest(&self, key: u32) -> &'a [Atom] {
        self.longest[key as usize]
    }

    /// Transactions that may have appended to a key what nobody read: after all that was.
    pub(super) fn unread(&self, key: u32) -> &[u32] {
        &self.unread[key as usize]
    }

    /// Reads that together hold everything that was read.
    pub(super) fn whole_reads(&self) -> &[(u32, Micro)] {
        &self.whole
    }

    pub(super) fn writer(&self, key: u32, atom: Atom) -> Option<u32> {
        self.writers[key as usize].get(&atom).map(|writer| writer.txn)
    }

    /// Who appended a value, unless that was undone.
    pub(super) fn live(&self, all: &Transactions, key: u32, atom: Atom) -> Option<u32> {
        self.writer(key, atom).filter(|writer| all.txn(*writer).status != Status::Fail)
    }

    /// Where in the order a value is, or [`UNREAD`].
    pub(super) fn place(&self, key: u32, atom: Atom) -> u32 {
        self.writers[key as usize].get(&atom).map_or(UNREAD, |writer| writer.place)
    }

    /// Whether a read is a beginning of the longest.
    pub(super) fn agrees(&self, all: &Transactions, read: &Micro) -> bool {
        let (longest, atoms) = (self.longest(read.key), all.atoms(read));
        let beginning = atoms.as_ptr() == longest.as_ptr() && atoms.len() <= longest.len();
        beginning || longest.starts_with(atoms)
    }

    /// Who wrote the versions of a key, those aside whose transaction aborted or is not known.
    pub(super) fn live_writers(&self, key: u32) -> impl Iterator<Item = u32> {
        self.live[key as usize].iter().copied().filter(|writer| *writer != NOBODY)
    }

    /// The last of some values that a live transaction appended.
    pub(super) fn last_live(&self, all: &Transactions, read: &Micro) -> Option<u32> {
        let (key, atoms) = (read.key, all.atoms(read));
        if self.agrees(all, read) {
            return self.live[key as usize][..atoms.len()].iter().rev().copied().find(|writer| *writer != NOBODY);
        }
        atoms.iter().rev().find_map(|atom| self.live(all, key, *atom))
    }

    /// Who appended next to a version of some length, and what.
    pub(super) fn next_live(&self, key: u32, length: usize) -> Option<(u32, Atom)> {
        let after = self.longest(key).iter().zip(&self.live[key as usize]).skip(length);
        after.map(|(atom, writer)| (*writer, *atom)).find(|(writer, _)| *writer != NOBODY)
    }
}

/// All reads whose result is known.
pub(super) fn reads(all: &Transactions) -> impl Iterator<Item = (u32, &Micro)> {
    let committed = all.iter().filter(|(_, txn)| txn.status == Status::Ok);
    committed.flat_map(|(id, _)| all.micros(id).iter().filter(|micro| micro.act.reads()).map(move |read| (id, read)))
}

/// A value that is in a list twice.
fn duplicate(atoms: &[Atom]) -> Option<Atom> {
    let mut sorted = atoms.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
