//! The name service: which name leads to which node, and what it gets wrong.
//!
//! Every node answers to its name. A record may be changed ([`set_record`]), answers may take time ([`set_latency`]), and
//! faults make them late, wrong by one change (stale), or deny that the name exists.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use sim_core::fault::{Fault, FaultId, observed};
use sim_core::{Node, NodeId, Span};

use crate::kernel::{Kernel, act};

/// What the name service does to those that ask it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trouble {
    Delay(Duration),
    NxDomain,
    /// It answers with the record before the last change.
    Stale,
}

struct Case {
    trouble: Trouble,
    asking: Vec<NodeId>,
    fault: FaultId,
}

#[derive(Default)]
pub(crate) struct Dns {
    records: BTreeMap<String, IpAddr>,
    previous: BTreeMap<String, IpAddr>,
    cases: Vec<Case>,
    latency: Duration,
    /// What the questions of a node took that it has not waited for yet.
    owed: BTreeMap<NodeId, Duration>,
}

impl Dns {
    pub(crate) fn heal(&mut self) {
        self.cases.clear();
    }
}

/// Lets every answer take so long; nothing by default.
#[track_caller]
pub fn set_latency(latency: Duration) {
    act("net::dns::set_latency", |kernel| kernel.dns.latency = latency);
}

/// Lets a name lead to a node, from now on.
#[track_caller]
pub fn set_record(name: &str, node: Node) {
    act("net::dns::set_record", |kernel| kernel.set_record(name, kernel.addresses.v4(node.id())));
}

/// Answers to a node (or to `*`) come so much later; as before after [`lasting`](Fault::lasting).
pub fn delay_fault(asking: &str, by: Duration) -> Fault {
    Fault::new("dns.delay", &[asking]).arg("by", Span(by).to_string())
}

/// Tells a node that no name exists.
pub fn nxdomain_fault(asking: &str) -> Fault {
    Fault::new("dns.nxdomain", &[asking])
}

/// Tells a node where names led before they were changed last.
pub fn stale_fault(asking: &str) -> Fault {
    Fault::new("dns.stale", &[asking])
}

/// Gives the address of one node to another, as clouds do with the addresses of the dead. Records are right at once; who
/// kept the address, or asks a [stale](stale_fault) record, talks to the wrong machine. Connections of both are forgotten.
pub fn reuse_fault(from: &str, to: &str) -> Fault {
    Fault::new("dns.reuse", &[from, to])
}

pub(crate) fn strike(fault: &Fault, trouble: Trouble) -> Result<bool, String> {
    let asking = fault.targets()?.into_iter().map(Node::id).collect();
    act("net::dns", |kernel| {
        let changes = !matches!(trouble, Trouble::Stale) || !kernel.dns.previous.is_empty();
        kernel.dns.cases.push(Case { trouble, asking, fault: fault.id });
        Ok(changes)
    })
}

pub(crate) fn relent(fault: &Fault) -> Result<bool, String> {
    act("net::dns", |kernel| {
        // Of one that comes again before it is over, this ends one strike.
        if let Some(place) = kernel.dns.cases.iter().position(|case| case.fault == fault.id) {
            kernel.dns.cases.remove(place);
        }
    });
    Ok(true)
}

pub(crate) fn hand_over(from: Node, to: Node, fault: FaultId) -> bool {
    from != to
        && act("net::dns", |kernel| {
            let names = [from.name(), to.name()].map(|name| (kernel.record(&name), name));
            kernel.addresses.hand_over(from.id(), to.id());
            for (old, name) in names {
                kernel.dns.previous.extend(old.map(|old| (name, old)));
            }
            if kernel.forget_connections_of(&[from.id(), to.id()]) {
                observed(fault);
            }
            true
        })
}

impl Kernel {
    /// Where a name leads.
    fn record(&self, name: &str) -> Option<IpAddr> {
        let own = || Node::find(name).map(|node| self.addresses.v4(node.id()));
        self.dns.records.get(name).copied().or_else(own)
    }

    fn set_record(&mut self, name: &str, ip: IpAddr) {
        let before = self.record(name);
        self.dns.previous.extend(before.map(|before| (name.to_string(), before)));
        self.dns.records.insert(name.to_string(), ip);
    }

    /// A second copy of a node has its name from now on.
    pub(crate) fn name_moves(&mut self, from: NodeId, to: NodeId) {
        let name = crate::link::name(from);
        self.set_record(&name, self.addresses.v4(to));
    }

    fn answer(&mut self, asking: NodeId, name: &str) -> Option<IpAddr> {
        let mut took = self.dns.latency;
        let mut answer = self.record(name);
        let previous = self.dns.previous.get(name).copied();
        for case in self.dns.cases.iter().filter(|case| case.asking.contains(&asking)) {
            match case.trouble {
                Trouble::Delay(by) => took += by,
                Trouble::NxDomain => answer = None,
                Trouble::Stale if previous.is_none() => continue,
                Trouble::Stale => answer = previous,
            }
            observed(case.fault);
        }
        *self.dns.owed.entry(asking).or_default() += took;
        answer
    }
}

/// Where a name leads, for the current node.
pub(crate) fn resolve(host: &str) -> io::Result<IpAddr> {
    let asking = sim_core::current_node().id();
    act("net::lookup_host", |kernel| kernel.answer(asking, host)).ok_or_else(|| {
        let message = format!("`{}` is the name of no node: name or service not known", host.escape_debug());
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// Waits for as long as the questions of the current node took.
pub(crate) async fn wait() {
    let asking = sim_core::current_node().id();
    let owed = act("net::lookup_host", |kernel| kernel.dns.owed.remove(&asking)).unwrap_or_default();
    if !owed.is_zero() {
        sim_core::time::sleep(owed).await;
    }
}
