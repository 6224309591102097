//! What holds of registers whatever the order of their values: the levels that need every order to be looked at.

use super::analysis::{tell, who};
use super::anomaly::{Base, Findings, Kind, Order};
use super::columns::Transactions;
use super::contested::{Answer, Open, Refuted, mildest, possible};
use super::graph::{Edge, Graph, Why};
use super::visibility::{Unseen, unseen};
use crate::verdict::Tie;

/// The levels, a stronger one before those that it implies.
const LEVELS: [(Base, Order); 6] = [
    (Base::G2, Order::Realtime),
    (Base::GNonadjacent, Order::Realtime),
    (Base::G2, Order::Process),
    (Base::GNonadjacent, Order::Process),
    (Base::G2, Order::Data),
    (Base::GNonadjacent, Order::Data),
];

/// How many ways to go wrong are told of one contradiction.
const TOLD: usize = 4;

/// Adds what no order of the values can avoid, and returns what was not decided.
pub(super) fn decide(
    all: &Transactions,
    graph: &Graph,
    open: Open<'_>,
    findings: &mut Findings,
    reason: &impl Fn(&Edge) -> String,
) -> Vec<Kind> {
    let (mut avoided, mut undecided): (Vec<(Base, Order)>, _) = (Vec::new(), Vec::new());
    if open.registers.is_empty() {
        return undecided;
    }
    for (base, order) in LEVELS {
        if avoided.iter().any(|(without, beside)| base <= *without && order <= *beside) || found(findings, base, order)
        {
            continue;
        }
        match possible(all, graph, open, (base, order)) {
            Answer::Possible => avoided.push((base, order)),
            Answer::Unknown => undecided.push(Kind::Cycle(base, order)),
            Answer::Impossible(refuted) => {
                let kind = mildest(&refuted).expect("something is refuted where there was no cycle before");
                findings.add_cycle(kind, || explain(all, &refuted, reason));
            }
        }
    }
    if avoided.is_empty() {
        undecided.extend(visibility(all, open, findings, reason));
    }
    undecided
}

/// Whether there is a cycle of a base, or a worse one, in data and an order beside them.
fn found(findings: &Findings, base: Base, order: Order) -> bool {
    let implies = |kind: &Kind| matches!(kind, Kind::Cycle(worse, weaker) if *worse <= base && *weaker <= order);
    findings.counts.keys().any(implies)
}

/// The ways in which things go wrong; the last few, which rest on the others.
fn explain(all: &Transactions, refuted: &[Refuted], reason: &impl Fn(&Edge) -> String) -> (String, Vec<u32>, Vec<Tie>) {
    let supposed = |refuted: &Refuted| Edge { from: refuted.before, to: refuted.after, why: Why::Ww, key: refuted.key };
    let more = refuted.len().saturating_sub(TOLD);
    let told: Vec<_> = refuted[more..].iter().map(|way| (Some(supposed(way)), way.cycle.as_slice())).collect();
    let (story, ids, ties) = tell(all, &told, reason);
    let others = if more > 0 { format!("{more} more orders are contradictions; ") } else { String::new() };
    (others + &story, ids, ties)
}

/// Adds transactions that were seen in part or out of order; what was not decided.
fn visibility(
    all: &Transactions,
    open: Open<'_>,
    findings: &mut Findings,
    reason: &impl Fn(&Edge) -> String,
) -> Option<Kind> {
    for kind in [Kind::FracturedRead, Kind::CausalityViolation] {
        let Some(Unseen { cycles, shown_by }) = unseen(all.len() as u32, open, kind) else { return Some(kind) };
        let shown = |edge: &Edge| match shown_by.get(&(edge.from, edge.to, edge.key)).filter(|_| edge.why == Why::Ww) {
            Some(reader) => format!("{}, as {} saw both and read that", reason(edge), who(all, *reader)),
            None => reason(edge),
        };
        for cycle in &cycles {
            findings.add_cycle(kind, || tell(all, &[(None, &cycle.edges)], &shown));
        }
        if !cycles.is_empty() {
            return None;
        }
    }
    None
}
