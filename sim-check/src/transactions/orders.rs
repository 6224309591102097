//! The orders that transactions have beside that of their data: within a process, and in real time.

use std::collections::BTreeMap;

use super::columns::{Status, Transactions};
use super::graph::{Builder, Why};

/// What a process did first comes first. Nothing need come after what may not have ended.
pub(crate) fn processes(all: &Transactions, graph: &mut Builder) {
    let mut last: BTreeMap<u64, u32> = BTreeMap::new();
    for (id, txn) in all.iter().filter(|(_, txn)| txn.status != Status::Fail) {
        if let Some(before) = last.get(&txn.process) {
            graph.edge(*before, id, Why::Process, 0);
        }
        if txn.status == Status::Ok {
            last.insert(txn.process, id);
        }
    }
}

/// What ended before another began comes first: by a chain of relays, one for the ends between two
/// invocations, so that there are as many edges as events.
pub(crate) fn realtime(all: &Transactions, graph: &mut Builder) {
    let mut chain: Option<u32> = None;
    let mut fresh = false;
    for (_, id, ends) in events(all) {
        if !ends {
            if let Some(relay) = chain {
                graph.edge(relay, id, Why::Realtime, 0);
            }
            fresh = false;
            continue;
        }
        if !fresh {
            let relay = graph.relay();
            if let Some(before) = chain {
                graph.edge(before, relay, Why::Realtime, 0);
            }
            (chain, fresh) = (Some(relay), true);
        }
        if let Some(relay) = chain {
            graph.edge(id, relay, Why::Realtime, 0);
        }
    }
}

/// Invocations, and ends of what committed, in the order of the history.
fn events(all: &Transactions) -> Vec<(u64, u32, bool)> {
    let may_count = all.iter().filter(|(_, txn)| txn.status != Status::Fail);
    let mut events: Vec<_> = may_count.map(|(id, txn)| (txn.invoked.index, id, false)).collect();
    let ended = all.iter().filter(|(_, txn)| txn.status == Status::Ok);
    events.extend(ended.filter_map(|(id, txn)| Some((txn.completed?.index, id, true))));
    events.sort_unstable();
    events
}
