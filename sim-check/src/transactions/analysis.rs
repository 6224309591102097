//! What was found in a history of transactions, and what follows from it.

use std::collections::BTreeMap;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::anomaly::{Anomaly, Findings, Kind};
use super::columns::{Status, Transactions};
use super::contested::Open;
use super::cycles::{Cycle, cycles};
use super::graph::{Builder, Edge};
use super::lattice::{Consistency, weakest};
use super::{orders, undecided};
use crate::linearizable::nothing_seen;
use crate::verdict::{Evidence, Tie, Verdict, Witness};

/// All that is wrong with a history of transactions.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The anomalies, a few of each kind.
    pub anomalies: Vec<Anomaly>,
    /// How many anomalies there are of each kind; cycles are counted by groups that are tied together.
    pub counts: BTreeMap<Kind, u64>,
    /// Why something may have been missed, if so.
    pub doubt: Option<String>,
    /// Anomalies that there may be: to look at all orders that the values may have had would have taken too long.
    pub undecided: Vec<Kind>,
    committed: usize,
    transactions: usize,
    witnesses: BTreeMap<u32, Witness>,
}

impl Analysis {
    /// Everything that the direct findings and the cycles of a graph tell.
    pub(super) fn new(
        all: &Transactions,
        mut graph: Builder,
        open: Open<'_>,
        mut findings: Findings,
        mut doubt: Option<String>,
        reason: impl Fn(&Edge) -> String,
    ) -> Self {
        orders::processes(all, &mut graph);
        orders::realtime(all, &mut graph);
        let graph = graph.build();
        let (found, gave_up) = cycles(&graph);
        for cycle in &found {
            findings.add_cycle(cycle.kind, || tell(all, &[(None, &cycle.edges)], &reason));
        }
        let undecided = undecided::decide(all, &graph, open, &mut findings, &reason);
        if gave_up {
            doubt.get_or_insert_with(|| "the search for cycles with a single rw edge was cut short".to_string());
        }
        let mut anomalies = findings.found;
        anomalies.sort_by_key(|anomaly| anomaly.kind);
        let named = anomalies.iter().flat_map(|anomaly| anomaly.transactions.iter());
        let witnesses = named.map(|id| (*id, witness(all, *id))).collect();
        let committed = all.iter().filter(|(_, txn)| txn.status == Status::Ok).count();
        Self { anomalies, counts: findings.counts, doubt, undecided, committed, transactions: all.len(), witnesses }
    }

    /// The models whose promise the history breaks.
    pub fn broken(&self) -> Vec<Consistency> {
        let broken = |model: &Consistency| self.counts.keys().any(|kind| kind.forbidden_by(*model));
        Consistency::ALL.iter().copied().filter(broken).collect()
    }

    /// The weakest of the models whose promise the history breaks: the others include one of these.
    pub fn weakest_broken(&self) -> Vec<Consistency> {
        weakest(&self.broken())
    }

    /// Whether the history keeps the promise of `model`.
    pub fn verdict(&self, model: Consistency) -> Verdict {
        if let Some(anomaly) = self.anomalies.iter().find(|anomaly| anomaly.kind.forbidden_by(model)) {
            return Verdict::Invalid(Box::new(self.evidence(model, anomaly)));
        }
        match &self.doubt {
            _ if self.committed == 0 => Verdict::Vacuous(nothing_seen(self.transactions)),
            Some(doubt) => Verdict::Unknown(doubt.clone()),
            None => match self.undecided.iter().find(|kind| kind.forbidden_by(model)) {
                Some(kind) => Verdict::Unknown(format!(
                    "whether some order of the values does without {kind} was not decided within the budget of work: tell \
                     more of the order, or write less to a key"
                )),
                None => Verdict::Valid,
            },
        }
    }

    fn evidence(&self, model: Consistency, anomaly: &Anomaly) -> Evidence {
        let mut witnesses = anomaly.transactions.iter().map(|id| self.witnesses[id].clone());
        let weakest: Vec<&str> = self.weakest_broken().iter().map(|model| model.name()).collect();
        Evidence {
            sentence: format!("not {model}: {}: {}; not even {}", anomaly.kind, anomaly.story, weakest.join(" or ")),
            key: anomaly.key.clone(),
            failed: witnesses.next().expect("an anomaly is about a transaction"),
            involved: witnesses.collect(),
            before: Vec::new(),
            core: Vec::new(),
            needed: None,
            ties: anomaly.ties.clone(),
        }
    }
}

fn witness(all: &Transactions, id: u32) -> Witness {
    let txn = all.txn(id);
    let acknowledged = txn.completed.filter(|_| txn.status == Status::Ok);
    Witness { process: txn.process, what: all.describe(id), invoked: txn.invoked, acknowledged }
}

/// The story of some cycles: why each transaction comes before the next, and the last before the first. Where there are
/// several, each is what follows if some edge is there.
pub(super) fn tell(
    all: &Transactions,
    cycles: &[(Option<Edge>, &[Edge])],
    reason: &impl Fn(&Edge) -> String,
) -> (String, Vec<u32>, Vec<Tie>) {
    let edges = cycles.iter().flat_map(|(supposed, cycle)| cycle.iter().chain(supposed));
    let ids: IndexSet<u32, FxBuildHasher> = edges.flat_map(|edge| [edge.from, edge.to]).collect();
    let place = |id: u32| ids.get_index_of(&id).unwrap_or(0);
    let because = |edge: &Edge| {
        let (from, to) = (name(place(edge.from)), name(place(edge.to)));
        reason(edge).replace("{from}", &from).replace("{to}", &to)
    };
    let tie = |edge: &Edge| {
        let (from, to) = (place(edge.from), place(edge.to));
        Tie { from, to, kind: edge.why.name().to_string(), reason: because(edge) }
    };
    let told = |(supposed, cycle): &(Option<Edge>, &[Edge])| {
        let steps = cycle.iter().map(tie);
        let steps = steps.map(|tie| format!("{} < {}, because {}", name(tie.from), name(tie.to), tie.reason));
        let supposed = supposed.map_or_else(String::new, |edge| format!("if {}: ", because(&edge)));
        format!("{supposed}{}", steps.collect::<Vec<_>>().join("; "))
    };
    let stories: Vec<String> = cycles.iter().map(told).collect();
    let drawn: IndexSet<Edge, FxBuildHasher> = cycles.iter().flat_map(|(_, cycle)| cycle.iter().copied()).collect();
    let ties = drawn.iter().map(tie).collect();
    let who = ids.iter().map(|id| format!("{} is {}", name(place(*id)), who(all, *id))).collect::<Vec<_>>();
    let either = if cycles.len() > 1 { " either way" } else { "" };
    (format!("{}: a contradiction{either} ({})", stories.join("; "), who.join(", ")), ids.into_iter().collect(), ties)
}

/// What a transaction of a cycle is called.
fn name(place: usize) -> String {
    format!("T{}", place + 1)
}

/// A transaction by its client and the event that invoked it.
pub(super) fn who(all: &Transactions, id: u32) -> String {
    let txn = all.txn(id);
    format!("client-{} at event {}", txn.process, txn.invoked.index)
}

/// The reason for an edge that is not about data.
pub(super) fn order_reason(all: &Transactions, edge: &Edge) -> String {
    let (before, after) = (all.txn(edge.from), all.txn(edge.to));
    match (edge.why, before.completed) {
        (super::graph::Why::Process, _) => format!("client-{} ran {{from}} before {{to}}", after.process),
        (_, Some(end)) => {
            let invoked = after.invoked.index;
            format!("{{from}} completed at event {}, before {{to}} was invoked at event {invoked}", end.index)
        }
        (_, None) => "{from} ended before {to} began".to_string(),
    }
}

/// The cycles that edges make with one another and with the orders of processes and of real time, each in words.
pub(crate) fn explain_cycles(
    all: &Transactions,
    edges: Vec<(u32, u32, super::graph::Why, u32)>,
    reason: impl Fn(&Edge) -> String,
) -> Vec<(Kind, String, Vec<u32>)> {
    let mut graph = Builder::new(all.len() as u32);
    edges.into_iter().for_each(|(from, to, why, key)| graph.edge(from, to, why, key));
    orders::processes(all, &mut graph);
    orders::realtime(all, &mut graph);
    let reason = |edge: &Edge| match edge.why {
        super::graph::Why::Process | super::graph::Why::Realtime => order_reason(all, edge),
        _ => reason(edge),
    };
    let told = |cycle: &Cycle| {
        let (story, transactions, _) = tell(all, &[(None, &cycle.edges)], &reason);
        (cycle.kind, story, transactions)
    };
    cycles(&graph.build()).0.iter().map(told).collect()
}
