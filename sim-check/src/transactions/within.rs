//! Reads of lists against what their own transaction did, and against the transactions they saw in part.

use super::analysis::who;
use super::anomaly::{Findings, Kind};
use super::columns::{Act, Atom, Micro, Status, Transactions};
use super::list_append::{external_reads, short_list};
use super::versions::{UNREAD, Versions};

/// Finds internal anomalies, future reads and intermediate reads.
pub(super) fn check(all: &Transactions, versions: &Versions<'_>, findings: &mut Findings) {
    for (id, _) in all.iter().filter(|(_, txn)| txn.status == Status::Ok) {
        internal(all, id, findings);
        future(all, versions, id, findings);
        intermediate(all, versions, id, findings);
    }
}

/// What a transaction knows of a key by its own reads and appends.
struct Known<'a> {
    key: u32,
    /// What it read last.
    read: Option<&'a [Atom]>,
    /// What it appended since.
    appended: Vec<Atom>,
}

impl Known<'_> {
    fn allows(&self, seen: &[Atom]) -> bool {
        let length = self.read.map(|read| read.len() + self.appended.len());
        seen.ends_with(&self.appended)
            && self.read.is_none_or(|read| seen.starts_with(read))
            && length.is_none_or(|length| seen.len() == length)
    }
}

fn internal(all: &Transactions, id: u32, findings: &mut Findings) {
    let micros = all.micros(id);
    if micros.len() < 2 {
        return;
    }
    let mut known: Vec<Known<'_>> = Vec::new();
    for micro in micros {
        let place = known.iter().position(|known| known.key == micro.key).unwrap_or_else(|| {
            known.push(Known { key: micro.key, read: None, appended: Vec::new() });
            known.len() - 1
        });
        let (known, atoms) = (&mut known[place], all.atoms(micro));
        if !micro.act.reads() {
            known.appended.extend_from_slice(atoms);
            continue;
        }
        if !known.allows(atoms) {
            findings.add(Kind::Internal, || {
                let (name, seen) = (all.key(micro.key), short_list(all, atoms));
                let before = match known.read {
                    Some(read) => format!("it had read {}", short_list(all, read)),
                    None => "it had read nothing".to_string(),
                };
                let appended = short_list(all, &known.appended);
                let what = format!("{} read {name} as {seen}, although {before} and appended {appended}", who(all, id));
                (Some(name), what, vec![id])
            });
        }
        (known.read, known.appended) = (Some(atoms), Vec::new());
    }
}

fn future(all: &Transactions, versions: &Versions<'_>, id: u32, findings: &mut Findings) {
    let micros = all.micros(id);
    for (n, read) in micros.iter().enumerate().filter(|(_, micro)| micro.act.reads()) {
        let seen = all.atoms(read);
        let later = micros[n..].iter().filter(|later| later.act == Act::Append && later.key == read.key);
        for own in later.map(|append| all.atoms(append)[0]) {
            let shown = match versions.agrees(all, read) {
                true => {
                    versions.place(read.key, own) != UNREAD && (versions.place(read.key, own) as usize) < seen.len()
                }
                false => seen.contains(&own),
            };
            if shown {
                findings.add(Kind::FutureRead, || {
                    let (name, value) = (all.key(read.key), all.value(own));
                    let what = format!("{} read {value} in {name} before it appended that itself", who(all, id));
                    (Some(name), what, vec![id])
                });
            }
        }
    }
}

fn intermediate(all: &Transactions, versions: &Versions<'_>, id: u32, findings: &mut Findings) {
    for read in external_reads(all, id) {
        let Some(last) = all.atoms(read).last() else { continue };
        let writer = versions.writer(read.key, *last).filter(|writer| *writer != id);
        let Some(writer) = writer else { continue };
        let appends = |micro: &&Micro| micro.act == Act::Append && micro.key == read.key;
        let final_append = all.micros(writer).iter().rfind(appends);
        if final_append.is_some_and(|append| all.atoms(append)[0] != *last) {
            findings.add(Kind::G1b, || {
                let (name, value) = (all.key(read.key), all.value(*last));
                let (me, they) = (who(all, id), who(all, writer));
                let what = format!("{me} read {name} up to {value}, after which {they} appended to it once more");
                (Some(name), what, vec![id, writer])
            });
        }
    }
}
