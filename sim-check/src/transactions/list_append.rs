//! Transactions that append unique values to lists and read whole lists.
//!
//! A list tells its own history: whoever reads `[1 2 3]` knows who wrote, and in which order. So the longest
//! read of a key is the order of its versions, every other read has to be a beginning of it, and from there
//! it is known who overwrote whom and who read what before whom.

use super::analysis::{Analysis, order_reason, who};
use super::anomaly::{Findings, Kind};
use super::columns::{Act, Atom, Micro, Status, Transactions};
use super::contested::Open;
use super::graph::{Builder, Edge, Why};
use super::versions::{UNREAD, Versions};
use super::within;

/// Finds all that is wrong with a history of appends and reads.
pub(super) fn analyse(all: &Transactions) -> Analysis {
    let mut findings = Findings::default();
    let versions = Versions::new(all, &mut findings);
    aborted(all, &versions, &mut findings);
    within::check(all, &versions, &mut findings);
    let mut graph = Builder::new(all.len() as u32);
    dependencies(all, &versions, &mut graph);
    lost_updates(all, &versions, &mut findings);
    let doubt = versions.ambiguous.clone().or_else(|| all.uses(&[Act::Write], ":w, which belongs to rw-register"));
    let doubt = doubt.or_else(|| all.uses(&Act::OF_PREDICATES, "what belongs to closed-predicate"));
    let story = Story { all, versions: &versions };
    Analysis::new(all, graph, Open::default(), findings, doubt, |edge| story.reason(edge))
}

/// The first read of each key by each committed transaction, if the transaction had not appended to it.
pub(super) fn external_reads(all: &Transactions, id: u32) -> impl Iterator<Item = &Micro> {
    let micros = all.micros(id);
    let first = move |n: usize| micros[..n].iter().all(|earlier| earlier.key != micros[n].key);
    let committed = all.txn(id).status == Status::Ok;
    let reads = micros.iter().enumerate().filter(move |(n, micro)| committed && micro.act.reads() && first(*n));
    reads.map(|(_, micro)| micro)
}

/// What no transaction or an aborted one wrote, and was read or written over.
fn aborted(all: &Transactions, versions: &Versions<'_>, findings: &mut Findings) {
    for &(reader, ref micro) in versions.whole_reads() {
        let (key, atoms) = (micro.key, all.atoms(micro));
        for atom in atoms {
            let told = |what: String, ids| (Some(all.key(key)), what, ids);
            let (value, name) = (all.value(*atom), all.key(key));
            match versions.writer(key, *atom) {
                None => findings.add(Kind::GarbageRead, || {
                    let what = format!("{} read {value} in {name}, which nobody appended", who(all, reader));
                    told(what, vec![reader])
                }),
                Some(writer) if all.txn(writer).status == Status::Fail => findings.add(Kind::G1a, || {
                    let what = format!(
                        "{} read {value} in {name}, which {} appended and aborted",
                        who(all, reader),
                        who(all, writer)
                    );
                    told(what, vec![reader, writer])
                }),
                Some(_) => {}
            }
        }
    }
    for key in 0..all.keys() as u32 {
        let mut undone = None;
        for atom in versions.longest(key) {
            let Some(writer) = versions.writer(key, *atom) else { continue };
            match all.txn(writer).status {
                Status::Fail => undone = Some((writer, *atom)),
                Status::Info => {}
                Status::Ok => {
                    let Some((aborted, lost)) = undone.take() else { continue };
                    findings.add(Kind::DirtyUpdate, || {
                        let (name, lost, value) = (all.key(key), all.value(lost), all.value(*atom));
                        let (by, of) = (who(all, writer), who(all, aborted));
                        let what =
                            format!("{by} appended {value} to {name} after {lost}, which {of} appended and aborted");
                        (Some(name), what, vec![writer, aborted])
                    });
                }
            }
        }
    }
}

/// Committed transactions that read the same version of a key and each appended to it.
fn lost_updates(all: &Transactions, versions: &Versions<'_>, findings: &mut Findings) {
    let mut updates = Vec::new();
    for (id, _) in all.iter() {
        for read in external_reads(all, id) {
            let appends = |micro: &Micro| micro.act == Act::Append && micro.key == read.key;
            if versions.agrees(all, read) && all.micros(id).iter().any(appends) {
                updates.push((read.key, all.atoms(read).len(), id));
            }
        }
    }
    updates.sort_unstable();
    for same in updates.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)).filter(|same| same.len() > 1) {
        let (key, length, _) = same[0];
        findings.add(Kind::LostUpdate, || {
            let ids: Vec<u32> = same.iter().map(|(_, _, id)| *id).collect();
            let list = short_list(all, &versions.longest(key)[..length]);
            let people = ids.iter().map(|id| who(all, *id)).collect::<Vec<_>>().join(" and ");
            let name = all.key(key);
            let what = format!("{people} each read {name} as {list} and appended to it");
            (Some(name), what, ids)
        });
    }
}

/// The edges that the lists tell.
fn dependencies(all: &Transactions, versions: &Versions<'_>, graph: &mut Builder) {
    for key in 0..all.keys() as u32 {
        let mut last = None;
        for writer in versions.live_writers(key) {
            if let Some(before) = last.replace(writer) {
                graph.edge(before, writer, Why::Ww, key);
            }
        }
        if let Some(last) = last {
            versions.unread(key).iter().for_each(|after| graph.edge(last, *after, Why::Ww, key));
        }
    }
    let mut at_end: Vec<Vec<u32>> = vec![Vec::new(); all.keys()];
    for (id, _) in all.iter() {
        for read in external_reads(all, id) {
            let (key, atoms) = (read.key, all.atoms(read));
            if let Some(writer) = versions.last_live(all, read) {
                graph.edge(writer, id, Why::Wr, key);
            }
            if !versions.agrees(all, read) {
                continue;
            }
            match versions.next_live(key, atoms.len()) {
                Some((writer, _)) => graph.edge(id, writer, Why::Rw, key),
                None => at_end[key as usize].push(id),
            }
        }
    }
    for (key, readers) in (0..).zip(&at_end) {
        graph.all_before_all(readers, versions.unread(key), Why::Rw, key);
    }
}

/// Says why edges are there.
struct Story<'a> {
    all: &'a Transactions,
    versions: &'a Versions<'a>,
}

impl Story<'_> {
    fn reason(&self, edge: &Edge) -> String {
        let (all, key) = (self.all, self.all.key(edge.key));
        match edge.why {
            Why::Process | Why::Realtime | Why::WrPredicate | Why::RwPredicate => order_reason(all, edge),
            Why::Ww => match self.overwrite(edge) {
                Some((old, new)) => format!("{{to}} appended {new} to {key} after {{from}} appended {old}"),
                None => format!("{{to}} appended to {key} after {{from}} did"),
            },
            Why::Wr => {
                let seen = self.read(edge.to, edge.key).unwrap_or_default();
                format!("{{to}}'s read of {} from {key} shows what {{from}} appended", short_list(all, seen))
            }
            Why::Rw => {
                let seen = self.read(edge.from, edge.key).unwrap_or_default();
                let new = self.next(edge, seen.len()).map(|new| all.value(new).to_string()).unwrap_or_default();
                format!("{{to}} appended {new} to {key} after {{from}}'s read of {}", short_list(all, seen))
            }
        }
    }

    /// What a transaction read from a key first.
    fn read(&self, id: u32, key: u32) -> Option<&[Atom]> {
        external_reads(self.all, id).find(|read| read.key == key).map(|read| self.all.atoms(read))
    }

    /// The append of an edge's end that followed a version of some length.
    fn next(&self, edge: &Edge, length: usize) -> Option<Atom> {
        let next = self.versions.next_live(edge.key, length).filter(|(writer, _)| *writer == edge.to);
        next.map(|(_, atom)| atom).or_else(|| self.appends(edge.to, edge.key).find(|atom| self.unread(edge.key, *atom)))
    }

    /// The last append of an edge's start, and that of its end which followed.
    fn overwrite(&self, edge: &Edge) -> Option<(String, String)> {
        let longest = self.versions.longest(edge.key);
        let value = |atom: Atom| self.all.value(atom).to_string();
        let pair = self.appends(edge.to, edge.key).find_map(|new| {
            let place = self.versions.place(edge.key, new);
            let before = if place == UNREAD { longest } else { &longest[..place as usize] };
            let old = before.iter().rfind(|old| self.versions.live(self.all, edge.key, **old).is_some())?;
            (self.versions.writer(edge.key, *old) == Some(edge.from)).then_some((*old, new))
        });
        pair.map(|(old, new)| (value(old), value(new)))
    }

    fn appends(&self, id: u32, key: u32) -> impl Iterator<Item = Atom> {
        let appends = self.all.micros(id).iter().filter(move |micro| micro.act == Act::Append && micro.key == key);
        appends.map(|micro| self.all.atoms(micro)[0])
    }

    fn unread(&self, key: u32, atom: Atom) -> bool {
        self.versions.place(key, atom) == UNREAD
    }
}

/// The end of a long list is what tells versions apart.
pub(super) fn short_list(all: &Transactions, atoms: &[Atom]) -> String {
    const SHOWN: usize = 4;
    match atoms.len().checked_sub(SHOWN + 1) {
        None => all.list(atoms),
        Some(_) => {
            let (hidden, shown) = atoms.split_at(atoms.len() - SHOWN);
            format!("[({} more) {}", hidden.len(), &all.list(shown)[1..])
        }
    }
}
