//! Circles of operations that each have to come before the other.

use super::record::Record;
use super::{KafkaReport, Kind};
use crate::read::Phase;
use crate::transactions::{Base, Kind as Anomaly, Status, Transactions, Why, explain_cycles};

pub(super) fn check(record: &Record, ww_deps: bool, report: &mut KafkaReport) {
    let mut all = Transactions::default();
    // Transactions are numbered in the order of their invocation.
    let mut order: Vec<usize> = (0..record.acts.len()).collect();
    order.sort_by_key(|act| record.acts[*act].invoked.index);
    let mut numbers = vec![0; order.len()];
    for act in order {
        let acted = &record.acts[act];
        numbers[act] = all.begin(acted.process, acted.invoked);
        let status = match acted.phase {
            Phase::Ok => Status::Ok,
            Phase::Fail => Status::Fail,
            _ => Status::Info,
        };
        all.end(numbers[act], status, acted.at);
    }
    let edges = edges(record, ww_deps, &numbers);
    let tell = |edge: &crate::transactions::Edge| match edge.why {
        Why::Wr => format!("{{to}} polled from {} what {{from}} sent", record.show_key(edge.key)),
        _ => format!("{{to}} sent to {} after {{from}}", record.show_key(edge.key)),
    };
    for (kind, story, transactions) in explain_cycles(&all, edges, tell) {
        let kind = match kind {
            Anomaly::Cycle(Base::G0, _) => Kind::G0,
            _ => Kind::G1c,
        };
        let event = transactions.iter().filter_map(|txn| all.txn(*txn).completed).map(|at| at.index).max();
        report.add(kind, event.unwrap_or(0), story);
    }
}

fn edges(record: &Record, ww_deps: bool, numbers: &[u32]) -> Vec<(u32, u32, Why, u32)> {
    let mut edges = Vec::new();
    for (number, act) in record.acts.iter().enumerate().filter(|(_, act)| act.phase != Phase::Fail) {
        for ((key, message), _) in &act.polls {
            if let Some(writer) = record.writers.get(message) {
                edges.push((numbers[*writer], numbers[number], Why::Wr, *key));
            }
        }
    }
    for (key, partition) in (0..).zip(&record.partitions).filter(|_| ww_deps) {
        let writers: Vec<usize> = partition.dense.iter().filter_map(|m| record.writers.get(m).copied()).collect();
        edges.extend(writers.windows(2).map(|pair| (numbers[pair[0]], numbers[pair[1]], Why::Ww, key)));
    }
    edges
}
