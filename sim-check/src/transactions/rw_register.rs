//! Transactions that write unique values to registers and read them.
//!
//! A register does not tell its history: that a value was read says who wrote it, but not what it
//! overwrote. Nothing is before what was there at first, and more is known if the caller
//! [says so](super::RwRegister). Of orders that are not known, it is [searched](super::contested) whether there are any that
//! explain what was read.

use std::collections::BTreeMap;

use super::analysis::{Analysis, order_reason, who};
use super::anomaly::{Findings, Kind};
use super::columns::{Act, Atom, Micro, Status, Transactions};
use super::contested::{Open, Register, Writer};
use super::graph::{Builder, Edge, Why};
use super::list_append::external_reads;
use super::register_orders::{Touch, Version, sources};
use super::register_writers::Writers;
use crate::transactions::RwRegister;

/// Finds all that is wrong with a history of writes and reads.
pub(super) fn analyse(all: &Transactions, options: &RwRegister) -> Analysis {
    let mut findings = Findings::default();
    let writers = Writers::new(all);
    for (id, _) in all.iter().filter(|(_, txn)| txn.status == Status::Ok) {
        internal(all, id, &mut findings);
        reads(all, &writers, id, options.garbage, &mut findings);
    }
    let touches = touches(all);
    let registers: Vec<Register> = (0..).zip(&touches).map(|(key, of)| register(all, &writers, key, of)).collect();
    lost_updates(all, &touches, &mut findings);
    let mut graph = Builder::new(all.len() as u32);
    for (key, touches) in (0..).zip(&touches) {
        dependencies(all, &writers, key, touches, options, &mut graph, &mut findings);
    }
    let doubt = writers.ambiguous.clone().or_else(|| all.uses(&[Act::Append], ":append, which belongs to list-append"));
    let doubt = doubt.or_else(|| all.uses(&Act::OF_PREDICATES, "what belongs to closed-predicate"));
    let open = Open { registers: &registers, work: options.budget };
    Analysis::new(all, graph, open, findings, doubt, |edge| reason(all, edge))
}

/// What a read found: a value, or that nothing was written yet.
fn version(all: &Transactions, read: &Micro) -> Version {
    all.atoms(read).first().copied()
}

fn show(all: &Transactions, version: Version) -> String {
    version.map_or("nothing".to_string(), |atom| all.value(atom).to_string())
}

/// Reads against what the transaction itself read and wrote before.
fn internal(all: &Transactions, id: u32, findings: &mut Findings) {
    let micros = all.micros(id);
    for (n, read) in micros.iter().enumerate().filter(|(_, micro)| micro.act.reads()) {
        let Some(before) = micros[..n].iter().rfind(|before| before.key == read.key) else { continue };
        let (expected, found) = (version(all, before), version(all, read));
        if expected != found {
            findings.add(Kind::Internal, || {
                let (name, me) = (all.key(read.key), who(all, id));
                let (found, expected) = (show(all, found), show(all, expected));
                let did = if before.act.reads() { "read" } else { "written" };
                let what = format!("{me} read {found} from {name}, although it had {did} {expected}");
                (Some(name), what, vec![id])
            });
        }
    }
}

/// Reads of what was never written, was undone, was not final, or came later.
fn reads(all: &Transactions, writers: &Writers, id: u32, garbage: bool, findings: &mut Findings) {
    for read in external_reads(all, id) {
        let Some(atom) = version(all, read) else { continue };
        let writer = writers.of(read.key, atom);
        let kind = match writer {
            None if garbage => Kind::GarbageRead,
            None => continue,
            Some(writer) if writer == id => Kind::FutureRead,
            Some(writer) if all.txn(writer).status == Status::Fail => Kind::G1a,
            Some(writer) if last_write(all, writer, read.key) != Some(atom) => Kind::G1b,
            Some(_) => continue,
        };
        findings.add(kind, || {
            let (name, value, me) = (all.key(read.key), all.value(atom), who(all, id));
            let by = writer.map_or("nobody".to_string(), |writer| who(all, writer));
            let how = match kind {
                Kind::G1a => " and aborted",
                Kind::G1b => " and overwrote itself",
                Kind::FutureRead => " only later",
                _ => "",
            };
            let ids = [id].into_iter().chain(writer.filter(|writer| *writer != id)).collect();
            (Some(name.clone()), format!("{me} read {value} from {name}, which {by} wrote{how}"), ids)
        });
    }
}

/// What a transaction leaves in a key.
fn last_write(all: &Transactions, id: u32, key: u32) -> Option<Atom> {
    let write = all.micros(id).iter().rfind(|micro| micro.key == key && micro.act == Act::Write);
    write.map(|write| all.atoms(write)[0])
}

/// What each transaction that may have committed read first from each key, and left there.
fn touches(all: &Transactions) -> Vec<Vec<Touch>> {
    let mut touches = vec![Vec::new(); all.keys()];
    for (id, txn) in all.iter().filter(|(_, txn)| txn.status != Status::Fail) {
        let micros = all.micros(id);
        for (n, micro) in micros.iter().enumerate() {
            if micros[..n].iter().any(|earlier| earlier.key == micro.key) {
                continue;
            }
            let read = (micro.act.reads() && txn.status == Status::Ok).then(|| version(all, micro));
            let wrote = last_write(all, id, micro.key);
            if read.is_some() || wrote.is_some() {
                touches[micro.key as usize].push(Touch { txn: id, read, wrote });
            }
        }
    }
    touches
}

/// Who wrote a key and took effect, and who read what of it.
fn register(all: &Transactions, writers: &Writers, key: u32, touches: &[Touch]) -> Register {
    let mut readers: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut unwritten = Vec::new();
    for touch in touches {
        match touch.read {
            Some(None) => unwritten.push(touch.txn),
            Some(read) => {
                if let Some(writer) = live(all, writers, key, read).filter(|writer| *writer != touch.txn) {
                    readers.entry(writer).or_default().push(touch.txn);
                }
            }
            None => {}
        }
    }
    let took_effect = |touch: &&Touch| {
        let seen = readers.contains_key(&touch.txn) || all.txn(touch.txn).status == Status::Ok;
        touch.wrote.is_some() && seen
    };
    let writer =
        |touch: &Touch| Writer { txn: touch.txn, readers: readers.get(&touch.txn).cloned().unwrap_or_default() };
    Register { key, writers: touches.iter().filter(took_effect).map(writer).collect(), unwritten }
}

/// Who wrote a version, unless that was undone or nobody did.
fn live(all: &Transactions, writers: &Writers, key: u32, version: Version) -> Option<u32> {
    let writer = version.and_then(|atom| writers.of(key, atom));
    writer.filter(|writer| all.txn(*writer).status != Status::Fail)
}

fn lost_updates(all: &Transactions, touches: &[Vec<Touch>], findings: &mut Findings) {
    for (key, touches) in (0..).zip(touches) {
        let committed = touches.iter().filter(|touch| touch.wrote.is_some());
        let mut updates: Vec<(Version, u32)> = committed.filter_map(|touch| Some((touch.read?, touch.txn))).collect();
        updates.sort_unstable();
        for same in updates.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            findings.add(Kind::LostUpdate, || {
                let ids: Vec<u32> = same.iter().map(|(_, id)| *id).collect();
                let people = ids.iter().map(|id| who(all, *id)).collect::<Vec<_>>().join(" and ");
                let (name, value) = (all.key(key), show(all, same[0].0));
                (Some(name.clone()), format!("{people} each read {value} from {name} and wrote it"), ids)
            });
        }
    }
}

/// The edges that one key tells.
fn dependencies(
    all: &Transactions,
    writers: &Writers,
    key: u32,
    touches: &[Touch],
    options: &RwRegister,
    graph: &mut Builder,
    findings: &mut Findings,
) {
    let live = |version| live(all, writers, key, version);
    let orders = sources(all, key, touches, options, findings);
    let mut readers: Vec<Vec<u32>> = vec![Vec::new(); orders.versions.len()];
    for touch in touches {
        let Some(read) = touch.read else { continue };
        if let Some(writer) = live(read) {
            graph.edge(writer, touch.txn, Why::Wr, key);
        }
        let number = orders.versions.get_index_of(&read).expect("all versions are numbered");
        readers[number].push(touch.txn);
    }
    for (number, after) in orders.next.iter().enumerate() {
        let mut next: Vec<u32> = after.iter().filter_map(|next| live(orders.versions[*next as usize])).collect();
        next.sort_unstable();
        next.dedup();
        if let Some(writer) = live(orders.versions[number]) {
            next.iter().for_each(|next| graph.edge(writer, *next, Why::Ww, key));
        }
        graph.all_before_all(&readers[number], &next, Why::Rw, key);
    }
}

fn reason(all: &Transactions, edge: &Edge) -> String {
    let name = all.key(edge.key);
    let wrote = |id| show(all, last_write(all, id, edge.key));
    let read = |id| {
        let read = external_reads(all, id).find(|read| read.key == edge.key);
        show(all, read.and_then(|read| version(all, read)))
    };
    match edge.why {
        Why::Process | Why::Realtime | Why::WrPredicate | Why::RwPredicate => order_reason(all, edge),
        Why::Ww => format!("{{to}} overwrote {{from}}'s {} in {name} with {}", wrote(edge.from), wrote(edge.to)),
        Why::Wr => format!("{{to}} read {} from {name}, which {{from}} wrote", read(edge.to)),
        Why::Rw => format!("{{to}} wrote {} to {name} after {{from}}'s read of {}", wrote(edge.to), read(edge.from)),
    }
}
