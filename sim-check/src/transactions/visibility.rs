//! What has to be seen by whoever saw something else: of a transaction all or nothing (read atomic), and of what a
//! transaction saw all that it had seen (causal). Both are decided in polynomial time, whatever the order of values:
//! who reads a value although another writer of the key was to be seen puts that one before it (Cerone et al. 2015).

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::anomaly::Kind;
use super::contested::{Open, Register};
use super::cycles::{Cycle, cycles};
use super::graph::{Builder, Edge, Why};

/// Cycles that show that a promise about visibility is broken, whatever the order of values.
pub(super) struct Unseen {
    pub(super) cycles: Vec<Cycle>,
    /// For an overwriting edge, whose reads show it.
    pub(super) shown_by: FxHashMap<(u32, u32, u32), u32>,
}

/// Nothing if the budget ran out.
pub(super) fn unseen(txns: u32, open: Open<'_>, kind: Kind) -> Option<Unseen> {
    let sights = Sights::new(txns, open.registers);
    let mut graph = Builder::new(txns);
    for (reader, seen) in (0..).zip(&sights.seen) {
        seen.iter().for_each(|(writer, key)| graph.edge(*writer, reader, Why::Wr, *key));
    }
    let (mut shown_by, mut work) = (FxHashMap::default(), 0);
    for reader in 0..txns {
        let visible = match kind {
            Kind::FracturedRead => sights.seen[reader as usize].iter().map(|(writer, _)| *writer).collect(),
            _ => sights.ancestors(reader, &mut work),
        };
        if work > open.work {
            return None;
        }
        for edge in sights.edges(reader, &visible) {
            graph.edge(edge.from, edge.to, edge.why, edge.key);
            shown_by.insert((edge.from, edge.to, edge.key), reader);
        }
    }
    let inferred = |cycle: &Cycle| cycle.edges.iter().any(|edge| edge.why != Why::Wr);
    let cycles = cycles(&graph.build()).0.into_iter().filter(inferred).collect();
    Some(Unseen { cycles, shown_by })
}

struct Sights {
    /// Of each transaction whose values it read, and from which key.
    seen: Vec<Vec<(u32, u32)>>,
    /// Of each transaction what it found in which key: the value of a writer, or nothing.
    found: Vec<Vec<(u32, Option<u32>)>>,
    /// Of each transaction the keys that it wrote.
    wrote: Vec<Vec<u32>>,
}

impl Sights {
    fn new(txns: u32, registers: &[Register]) -> Self {
        let count = txns as usize;
        let (mut seen, mut found, mut wrote) =
            (vec![Vec::new(); count], vec![Vec::new(); count], vec![Vec::new(); count]);
        for register in registers {
            register.unwritten.iter().for_each(|reader| found[*reader as usize].push((register.key, None)));
            for writer in &register.writers {
                wrote[writer.txn as usize].push(register.key);
                for reader in &writer.readers {
                    seen[*reader as usize].push((writer.txn, register.key));
                    found[*reader as usize].push((register.key, Some(writer.txn)));
                }
            }
        }
        Self { seen, found, wrote }
    }

    /// Whom a transaction saw, whom those saw, and so on.
    fn ancestors(&self, reader: u32, work: &mut u64) -> Vec<u32> {
        let mut known = BTreeSet::from([reader]);
        let (mut reached, mut next) = (vec![reader], 0);
        while let Some(txn) = reached.get(next).copied() {
            next += 1;
            *work += 1 + self.seen[txn as usize].len() as u64;
            let new = self.seen[txn as usize].iter().map(|(writer, _)| *writer);
            reached.extend(new.filter(|writer| known.insert(*writer)));
        }
        reached.split_off(1)
    }

    /// What follows from what a transaction found, where these are visible to it.
    fn edges(&self, reader: u32, visible: &[u32]) -> Vec<Edge> {
        let others = visible.iter().filter(|writer| **writer != reader);
        let writes = others.flat_map(|writer| self.wrote[*writer as usize].iter().map(move |key| (*writer, *key)));
        let edge = |(writer, key): (u32, u32)| {
            let (_, found) = self.found[reader as usize].iter().find(|(found, _)| *found == key)?;
            Some(match found {
                None => Edge { from: reader, to: writer, why: Why::Rw, key },
                Some(found) => Edge { from: writer, to: *found, why: Why::Ww, key },
            })
        };
        writes.filter_map(edge).filter(|edge| edge.from != edge.to).collect()
    }
}
