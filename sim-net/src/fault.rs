//! Cuts between nodes: as guards in a test, and as faults of a plan.

use std::collections::BTreeSet;

use sim_core::fault::{Fault, FaultKind};
use sim_core::{Node, NodeId};

use crate::kernel::{act, act_if_running};
use crate::link::CutId;

/// The fault kinds of the network, for [`sim_core::Sim::with_faults`].
pub const KINDS: &[FaultKind] = &[
    FaultKind::new("net.partition", |fault| strike(fault, both_ways(fault)?)).relent(relent),
    FaultKind::new("net.partition_oneway", |fault| strike(fault, one_way(fault)?)).relent(relent),
    FaultKind::new("net.isolate", |fault| strike(fault, around(fault.only_target()?))).relent(relent),
];

/// Cuts of faults that last, to be healed when these are over.
pub(crate) type Lasting = Vec<(Fault, CutId)>;

fn strike(fault: &Fault, pairs: Pairs) -> Result<bool, String> {
    act("net::partition", |kernel| {
        let cut = kernel.links.cut(&pairs);
        if fault.lasting.is_some() {
            kernel.lasting.push((fault.clone(), cut));
        }
    });
    Ok(!pairs.is_empty())
}

fn relent(fault: &Fault) -> Result<bool, String> {
    act("net::partition", |kernel| {
        if let Some(place) = kernel.lasting.iter().position(|(lasting, _)| lasting == fault) {
            let (_, cut) = kernel.lasting.remove(place);
            kernel.links.heal(cut);
        }
    });
    Ok(true)
}

/// Cuts the links between two nodes, both ways; with [`lasting`](Fault::lasting), heals them after that time.
pub fn partition_fault(a: &str, b: &str) -> Fault {
    Fault::new("net.partition", &[a, b])
}

/// Cuts the link from one node to another; what it sends the other way still arrives.
pub fn partition_oneway_fault(from: &str, to: &str) -> Fault {
    Fault::new("net.partition_oneway", &[from, to])
}

/// Cuts a node off from every other, both ways.
pub fn isolate_fault(node: &str) -> Fault {
    Fault::new("net.isolate", &[node])
}

type Pairs = Vec<(NodeId, NodeId)>;

fn one_way(fault: &Fault) -> Result<Pairs, String> {
    match fault.targets()?[..] {
        [from, to] => Ok(vec![(from.id(), to.id())]),
        _ => Err(format!("fault {} needs exactly two targets", fault.kind)),
    }
}

fn both_ways(fault: &Fault) -> Result<Pairs, String> {
    let mut pairs = one_way(fault)?;
    pairs.extend(pairs.clone().into_iter().map(|(from, to)| (to, from)));
    Ok(pairs)
}

fn around(node: Node) -> Pairs {
    let others = (0..).map_while(|number| Node::from_id(NodeId(number))).filter(|other| *other != node);
    others.flat_map(|other| [(node.id(), other.id()), (other.id(), node.id())]).collect()
}

/// A cut that heals when this is dropped.
#[must_use = "the partition heals when this guard is dropped; keep it, or call .forget() to leave the cut"]
#[derive(Debug)]
pub struct Partition {
    cut: Option<CutId>,
}

impl Partition {
    fn new(pairs: Pairs) -> Self {
        Partition { cut: Some(act("net::partition", |kernel| kernel.links.cut(&pairs))) }
    }

    /// Heals it now; the same as dropping it.
    pub fn heal(self) {}

    /// Leaves the cut until [`heal_all`].
    pub fn forget(mut self) {
        self.cut = None;
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        act_if_running(|kernel| self.cut.into_iter().for_each(|cut| kernel.links.heal(cut)));
    }
}

/// Cuts the links between two nodes, both ways, until the guard is dropped.
///
/// # Panics
/// When there is no node of such a name.
#[track_caller]
pub fn partition(a: &str, b: &str) -> Partition {
    cut(&[a], &[b])
}

/// Cuts the link from one node to another until the guard is dropped; the way back stays open.
///
/// # Panics
/// When there is no node of such a name.
#[track_caller]
pub fn partition_oneway(from: &str, to: &str) -> Partition {
    Partition::new(vec![(known(from).id(), known(to).id())])
}

/// Cuts a node off from every other one that exists now, both ways, until the guard is dropped.
///
/// # Panics
/// When there is no node of such a name.
#[track_caller]
pub fn isolate(node: &str) -> Partition {
    Partition::new(around(known(node)))
}

/// Cuts every link between two groups of nodes, both ways, until the guard is dropped.
///
/// # Panics
/// When there is no node of such a name.
#[track_caller]
pub fn cut(one: &[&str], other: &[&str]) -> Partition {
    let ids = |names: &[&str]| names.iter().map(|name| known(name).id()).collect::<BTreeSet<_>>();
    let (one, other) = (ids(one), ids(other));
    let pairs = one.iter().flat_map(|a| other.iter().flat_map(move |b| [(*a, *b), (*b, *a)]));
    Partition::new(pairs.filter(|(from, to)| from != to).collect())
}

/// Heals every link, whoever cut it.
#[track_caller]
pub fn heal_all() {
    act("net::heal_all", |kernel| kernel.links.heal_all());
}

#[track_caller]
fn known(name: &str) -> Node {
    Node::find(name).unwrap_or_else(|| {
        let names: Vec<String> = (0..).map_while(|number| Node::from_id(NodeId(number))).map(Node::name).collect();
        panic!("no node is called {name}; the nodes are: {}", names.join(", "))
    })
}
