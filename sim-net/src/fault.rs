//! Conditions of links as guards in a test, and as faults of a plan.

use serde_json::Value;
use sim_core::choice::{Draws, Stream};
use sim_core::fault::{Fault, FaultId, FaultKind, away, one};
use sim_core::{Node, NodeId};

use crate::condition::{ConditionId, Mode};
use crate::dns;
use crate::grudge::{Grudge, Shape};
use crate::kernel::{Kernel, act, act_if_running};

/// The fault kinds of the network, for [`sim_core::Sim::with_faults`].
pub const KINDS: &[FaultKind] = &[
    FaultKind::new("net.partition", |f| lay(f, pair(f)?, Mode::Drop)).relent(lift).sample(|draws, among| {
        let (a, b) = two(draws, among);
        partition_fault(&a, &b).lasting(away(draws))
    }),
    FaultKind::new("net.partition_oneway", |f| lay(f, towards(f)?, Mode::Drop)).relent(lift).sample(|draws, among| {
        let (a, b) = two(draws, among);
        partition_oneway_fault(&a, &b).lasting(away(draws))
    }),
    FaultKind::new("net.isolate", |f| lay(f, Grudge::around(&f.targets()?), Mode::Drop))
        .relent(lift)
        .sample(|draws, among| isolate_fault(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("net.shape", strike_shape).relent(lift).sample(|draws, among| {
        let shape = Shape::ALL[draws.below(Shape::ALL.len() as u64) as usize];
        let names: Vec<&str> = among.iter().map(String::as_str).collect();
        shape_fault(shape, &names).lasting(away(draws))
    }),
    FaultKind::new("net.link", |f| lay(f, pair_or_around(f)?, mode(f)?)).relent(lift).sample(|draws, among| {
        const MODES: [Mode; 7] = [
            Mode::Slow(100),
            Mode::Slow(1_000),
            Mode::Jam,
            Mode::JamShuffled,
            Mode::Reset,
            Mode::Refuse,
            Mode::Blackhole,
        ];
        let (a, b) = two(draws, among);
        let mode = MODES[draws.below(MODES.len() as u64) as usize];
        link_fault(&a, &b, mode).lasting(away(draws))
    }),
    FaultKind::new("dns.delay", |f| dns::strike(f, dns::Trouble::Delay(f.span("by")?))).relent(dns::relent).sample(
        |draws, among| {
            let by = std::time::Duration::from_millis(draws.range(10..10_000));
            dns::delay_fault(&one(draws, among), by).lasting(away(draws))
        },
    ),
    FaultKind::new("dns.nxdomain", |f| dns::strike(f, dns::Trouble::NxDomain))
        .relent(dns::relent)
        .sample(|draws, among| dns::nxdomain_fault(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("dns.stale", |f| dns::strike(f, dns::Trouble::Stale))
        .relent(dns::relent)
        .sample(|draws, among| dns::stale_fault(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("dns.reuse", |f| match f.targets()?[..] {
        [from, to] => Ok(dns::hand_over(from, to, f.id)),
        _ => Err(needs_two(f)),
    }),
];

/// Conditions of faults, to be lifted when these are over.
pub(crate) type Lasting = Vec<(Fault, ConditionId)>;

/// Cuts the links between two nodes, both ways; with [`lasting`](Fault::lasting), heals them after that time.
pub fn partition_fault(a: &str, b: &str) -> Fault {
    Fault::new("net.partition", &[a, b])
}

/// Cuts the link from one node to another; what it sends the other way still arrives.
pub fn partition_oneway_fault(from: &str, to: &str) -> Fault {
    Fault::new("net.partition_oneway", &[from, to])
}

/// Cuts a node off from every other, both ways; `@leader` cuts off whoever [leads](sim_core::fault::role) then.
pub fn isolate_fault(node: &str) -> Fault {
    Fault::new("net.isolate", &[node])
}

/// Cuts these nodes from each other in a [`Shape`]; `all:store-*` stands for every node that matches.
pub fn shape_fault(shape: Shape, nodes: &[&str]) -> Fault {
    Fault::new("net.shape", nodes).arg("shape", shape.name())
}

/// Lays a [`Mode`] on the link from one node to another.
pub fn link_fault(from: &str, to: &str, mode: Mode) -> Fault {
    Fault::new("net.link", &[from, to]).arg("mode", serde_json::to_value(mode).unwrap_or(Value::Null))
}

/// Lays a [`Mode`] on every link of a node, both ways.
pub fn links_fault(node: &str, mode: Mode) -> Fault {
    Fault::new("net.link", &[node]).arg("mode", serde_json::to_value(mode).unwrap_or(Value::Null))
}

/// Two of them, which are the same where there is only one.
fn two(draws: &mut Draws, among: &[String]) -> (String, String) {
    let first = draws.below(among.len() as u64) as usize;
    let second = draws.below(among.len() as u64 - u64::from(among.len() > 1)) as usize;
    (among[first].clone(), among[(first + 1 + second) % among.len()].clone())
}

fn mode(fault: &Fault) -> Result<Mode, String> {
    let value = fault.args.get("mode").cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| {
        let modes = "drop, {\"slow\": 100}, jam, jam-shuffled, reset, refuse, blackhole";
        format!("fault {}: `mode`: {error}. The modes are: {modes}", fault.kind)
    })
}

fn needs_two(fault: &Fault) -> String {
    format!("fault {} needs exactly two targets", fault.kind)
}

fn pair(fault: &Fault) -> Result<Grudge, String> {
    match fault.targets()?[..] {
        [a, b] => Ok(Grudge::between(&[a], &[b])),
        _ => Err(needs_two(fault)),
    }
}

fn towards(fault: &Fault) -> Result<Grudge, String> {
    match fault.targets()?[..] {
        [from, to] => Ok(Grudge::one_way(&[from], &[to])),
        _ => Err(needs_two(fault)),
    }
}

fn pair_or_around(fault: &Fault) -> Result<Grudge, String> {
    match fault.targets()?[..] {
        [from, to] => Ok(Grudge::one_way(&[from], &[to])),
        [node] => Ok(Grudge::around(&[node])),
        _ => Err(format!("fault {} needs one target or two", fault.kind)),
    }
}

fn strike_shape(fault: &Fault) -> Result<bool, String> {
    let name = fault.word("shape")?;
    let shape = Shape::named(name).ok_or_else(|| {
        let known: Vec<String> = Shape::ALL.into_iter().map(Shape::name).collect();
        format!(
            "fault {}: no partition is called `{}`; they are: {}",
            fault.kind,
            name.escape_debug(),
            known.join(", ")
        )
    })?;
    let grudge = draw_shape(shape, &fault.targets()?);
    lay(fault, grudge, Mode::Drop)
}

fn draw_shape(shape: Shape, nodes: &[Node]) -> Grudge {
    const SHAPES: Stream = Stream::new("net/shape");
    let kept = act("net::shape", |kernel| kernel.shapes.take());
    let mut draws = kept.unwrap_or_else(|| Box::new(sim_core::device::draws(SHAPES, 0)));
    let grudge = shape.grudge(nodes, &mut draws);
    act("net::shape", |kernel| kernel.shapes = Some(draws));
    grudge
}

fn lay(fault: &Fault, grudge: Grudge, mode: Mode) -> Result<bool, String> {
    if grudge.is_empty() {
        return Ok(false);
    }
    act("net::partition", |kernel| {
        let id = kernel.links.conditions.lay(grudge, mode, fault.id);
        kernel.lasting.push((fault.clone(), id));
    });
    Ok(true)
}

fn lift(fault: &Fault) -> Result<bool, String> {
    act("net::partition", |kernel| {
        if let Some(place) = kernel.lasting.iter().position(|(lasting, _)| lasting == fault) {
            let (_, id) = kernel.lasting.remove(place);
            kernel.lift(id);
        }
    });
    Ok(true)
}

impl Kernel {
    pub(crate) fn lift(&mut self, id: ConditionId) {
        self.links.conditions.lift(id);
        self.release_held();
    }
}

/// A condition of links that ends when this is dropped.
#[must_use = "the links heal when this guard is dropped; keep it, or call .forget() to leave them as they are"]
#[derive(Debug)]
pub struct Partition {
    condition: Option<ConditionId>,
}

impl Partition {
    #[track_caller]
    fn new(grudge: Grudge, mode: Mode) -> Self {
        let lay = |kernel: &mut Kernel| kernel.links.conditions.lay(grudge, mode, FaultId::default());
        Partition { condition: Some(act("net::partition", lay)) }
    }

    /// Heals it now; the same as dropping it.
    pub fn heal(self) {}

    /// Leaves it until [`heal_all`].
    pub fn forget(mut self) {
        self.condition = None;
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        act_if_running(|kernel| self.condition.into_iter().for_each(|id| kernel.lift(id)));
    }
}

/// Lays a mode on links until the guard is dropped.
#[track_caller]
pub fn lay_on(grudge: Grudge, mode: Mode) -> Partition {
    Partition::new(grudge, mode)
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
    Partition::new(Grudge::one_way(&[known(from)], &[known(to)]), Mode::Drop)
}

/// Cuts a node off from every other one, both ways, until the guard is dropped.
///
/// # Panics
/// When there is no node of such a name.
#[track_caller]
pub fn isolate(node: &str) -> Partition {
    Partition::new(Grudge::around(&[known(node)]), Mode::Drop)
}

/// Cuts every link between two groups of nodes, both ways, until the guard is dropped.
///
/// # Panics
/// When there is no node of such a name.
#[track_caller]
pub fn cut(one: &[&str], other: &[&str]) -> Partition {
    let all = |names: &[&str]| names.iter().map(|name| known(name)).collect::<Vec<_>>();
    Partition::new(Grudge::between(&all(one), &all(other)), Mode::Drop)
}

/// Cuts nodes from each other in a shape, drawn now, until the guard is dropped.
#[track_caller]
pub fn partition_in_shape(shape: Shape, nodes: impl IntoIterator<Item = Node>) -> Partition {
    Partition::new(draw_shape(shape, &nodes.into_iter().collect::<Vec<_>>()), Mode::Drop)
}

/// Lays a mode on the link from one node to another until the guard is dropped.
///
/// # Panics
/// When there is no node of such a name.
#[track_caller]
pub fn link(from: &str, to: &str, mode: Mode) -> Partition {
    Partition::new(Grudge::one_way(&[known(from)], &[known(to)]), mode)
}

/// Heals every link, whoever cut it.
#[track_caller]
pub fn heal_all() {
    act("net::heal_all", |kernel| {
        kernel.links.conditions.heal(None);
        kernel.release_held();
    });
}

#[track_caller]
pub(crate) fn known(name: &str) -> Node {
    Node::find(name).unwrap_or_else(|| {
        let names: Vec<String> = (0..).map_while(|number| Node::from_id(NodeId(number))).map(Node::name).collect();
        panic!("no node is called {name}; the nodes are: {}", names.join(", "))
    })
}
