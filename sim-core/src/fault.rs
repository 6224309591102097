//! Faults: plain data that says where, what, when and for how long, and the engine that makes them happen.
//!
//! A [`Fault`] names its kind, and kinds are open: the core brings those of nodes and clocks, and every device brings
//! its own through [`FaultKind`]. A fault fires at a time, or at an interposition point that a device offers with
//! [`hit`]. One that was asked for and never fires makes the run vacuous, unless it [may miss](Fault::may_miss): a fault
//! test that injects nothing proves nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::choice::nanos;
use crate::device::Down;
use crate::glob::matches;
use crate::node::{Node, NodeId};
use crate::outcome::{Failure, Outcome};
use crate::units::{Span, seconds};
use crate::world::{self, World};

/// One fault, as data. Made by functions such as [`power_loss`], placed in time by [`Plan::at`] or [`Plan::on`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens: `node.crash`, `net.partition`, `disk.eio`, ...
    pub kind: String,
    /// The nodes it happens to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target: Vec<String>,
    /// Numbers and words its kind needs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, Value>,
    /// When it fires.
    #[serde(default)]
    pub when: When,
    /// How long it lasts before its opposite happens (restart, resume, heal); for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasting: Option<Span>,
    /// Whether the run counts even when this never fires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_miss: bool,
}

/// What makes a fault fire.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum When {
    /// This long after the start of the simulation.
    At(Span),
    /// An operation at an interposition point.
    On(Selector),
}

impl Default for When {
    fn default() -> Self {
        When::At(Span(Duration::ZERO))
    }
}

/// Selects operations: of a kind, on a node, on a subject such as a path, and which of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selector {
    /// The interposition point, such as `disk.fsync`.
    pub point: String,
    /// A pattern for the node's name: `*` matches any run of characters but `/`, `**` any run, `?` one character.
    pub node: String,
    /// A pattern for the subject of the operation, such as a path.
    pub subject: String,
    /// The how-manieth match fires; 1 is the first.
    #[serde(default = "first")]
    pub nth: u64,
}

fn first() -> u64 {
    1
}

impl Selector {
    /// The first operation at `point` on nodes and subjects that match.
    pub fn new(point: &str, node: &str, subject: &str) -> Self {
        Selector { point: point.into(), node: node.into(), subject: subject.into(), nth: 1 }
    }

    /// The `nth` match instead of the first.
    ///
    /// # Panics
    /// When `nth` is 0.
    #[track_caller]
    pub fn nth(mut self, nth: u64) -> Self {
        assert!(nth > 0, "operations are counted from 1");
        self.nth = nth;
        self
    }
}

impl Fault {
    /// A fault of a kind on some nodes, at the start of the run until it is placed.
    pub fn new(kind: &str, target: &[&str]) -> Self {
        Fault {
            kind: kind.into(),
            target: target.iter().map(|name| name.to_string()).collect(),
            args: BTreeMap::new(),
            when: When::default(),
            lasting: None,
            may_miss: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.args.insert(name.into(), value.into());
        self
    }

    /// Ends it after `duration`: its opposite happens then.
    pub fn lasting(mut self, duration: Duration) -> Self {
        self.lasting = Some(Span(duration));
        self
    }

    /// Lets the run count even when this fault never fires.
    pub fn may_miss(mut self) -> Self {
        self.may_miss = true;
        self
    }

    /// The integer argument `name`.
    pub fn integer(&self, name: &str) -> Result<i64, String> {
        let value = self.args.get(name).and_then(Value::as_i64);
        value.ok_or_else(|| format!("fault {} needs the integer argument `{name}`", self.kind))
    }

    /// The only target, as a node that exists.
    pub fn only_target(&self) -> Result<Node, String> {
        match self.targets()?[..] {
            [node] => Ok(node),
            _ => Err(format!("fault {} needs exactly one target", self.kind)),
        }
    }

    /// The targets, as nodes that exist.
    pub fn targets(&self) -> Result<Vec<Node>, String> {
        self.target.iter().map(|name| Node::find(name).ok_or_else(|| unknown_node(&self.kind, name))).collect()
    }
}

fn unknown_node(kind: &str, name: &str) -> String {
    let known = world::with("faults", |world| world.nodes.borrow().names().join(", "));
    format!("fault {kind} is aimed at node {name}, and there is no such node. The nodes are: {known}")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.split_once('.').map_or(&*self.kind, |(_, verb)| verb);
        write!(f, "{kind}")?;
        self.target.iter().try_for_each(|name| write!(f, " {name}"))?;
        self.args.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))?;
        if let Some(span) = self.lasting {
            write!(f, " for {span}")?;
        }
        if let When::On(Selector { point, node, subject, nth }) = &self.when {
            write!(f, " on {point} {node} {subject} (match {nth})")?;
        }
        Ok(())
    }
}

/// A list of faults: from code, from a file, or drawn by a generator.
///
/// ```
/// use sim_core::{Units, fault::{Plan, crash}};
/// let plan = Plan::new().at(5.secs(), crash("store").lasting(2.secs()));
/// let file = plan.to_json();
/// assert_eq!(Plan::from_json(&file).unwrap(), plan);
/// ```
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The faults, in no particular order.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// No fault.
    pub fn new() -> Self {
        Plan::default()
    }

    /// Adds a fault at a time since the start of the simulation.
    pub fn at(mut self, after: Duration, fault: Fault) -> Self {
        self.faults.push(Fault { when: When::At(Span(after)), ..fault });
        self
    }

    /// Adds a fault at an operation.
    pub fn on(mut self, selector: Selector, fault: Fault) -> Self {
        self.faults.push(Fault { when: When::On(selector), ..fault });
        self
    }

    /// The plan as a file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// A plan from a file's text.
    ///
    /// # Errors
    /// Says line, column and what was expected there.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        serde_json::from_str(text).map_err(|error| PlanError(format!("this is not a plan: {error}")))
    }
}

/// A plan that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanError(String);

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. A plan looks like {{\"faults\": [{{\"kind\": \"node.crash\", ", self.0)?;
        f.write_str("\"target\": [\"store\"], \"when\": {\"at\": \"5s\"}, \"lasting\": \"2s\"}]}")
    }
}

impl std::error::Error for PlanError {}

/// Acts a fault out, and says whether that changed anything: a fault that did not has not fired. An error ends the run and
/// is told to the user.
pub type Act = fn(&Fault) -> Result<bool, String>;

/// A kind of fault: what makes it happen and what ends it.
pub struct FaultKind {
    /// The name, as [`Fault::kind`] has it: device, dot, verb.
    pub name: &'static str,
    /// Makes it happen.
    pub strike: Act,
    /// The opposite, for a fault that lasts.
    pub relent: Option<Act>,
}

/// Kills the process of a node; with [`lasting`](Fault::lasting), it restarts after that time.
pub fn crash(node: &str) -> Fault {
    Fault::new("node.crash", &[node])
}

/// Cuts the power of a node; with [`lasting`](Fault::lasting), it restarts after that time.
pub fn power_loss(node: &str) -> Fault {
    Fault::new("node.power_loss", &[node])
}

/// Freezes the tasks of a node; with [`lasting`](Fault::lasting), they go on after that time.
pub fn pause(node: &str) -> Fault {
    Fault::new("node.pause", &[node])
}

/// Steps the wall clock of a node by so many nanoseconds, back when negative.
pub fn clock_step(node: &str, by_ns: i64) -> Fault {
    Fault::new("clock.step", &[node]).arg("by_ns", by_ns)
}

/// Runs the monotonic clock of a node at a rate in parts per million; right again after [`lasting`](Fault::lasting).
pub fn clock_rate(node: &str, ppm: u32) -> Fault {
    Fault::new("clock.rate", &[node]).arg("ppm", ppm)
}

const RIGHT_PPM: u32 = 1_000_000;

/// The kinds that the core itself brings.
pub(crate) const KINDS: &[FaultKind] = &[
    FaultKind { name: "node.crash", strike: |f| go_down(f, Down::Kill), relent: Some(come_up) },
    FaultKind { name: "node.power_loss", strike: |f| go_down(f, Down::PowerLoss), relent: Some(come_up) },
    FaultKind {
        name: "node.pause",
        strike: |f| on_node(f, |world, id| world.hold_frozen(id, f.lasting.is_some())),
        relent: Some(|f| {
            on_node(f, |world, id| {
                world.let_thaw(id);
                true
            })
        }),
    },
    FaultKind {
        name: "clock.step",
        strike: |f| {
            let (clock, by) = (f.only_target()?.clock(), f.integer("by_ns")?);
            let size = Duration::from_nanos(by.unsigned_abs());
            if by < 0 {
                clock.step_back(size)
            } else {
                clock.step_forward(size)
            }
            Ok(by != 0)
        },
        relent: None,
    },
    FaultKind {
        name: "clock.rate",
        strike: |f| run_at(f, f.integer("ppm")?),
        relent: Some(|f| run_at(f, RIGHT_PPM.into())),
    },
];

fn on_node(fault: &Fault, act: impl Fn(&World, NodeId) -> bool) -> Result<bool, String> {
    let node = fault.only_target()?;
    node.check_started().map_err(|problem| format!("fault {}: {problem}", fault.kind))?;
    Ok(world::with("faults", |world| act(world, node.id())))
}

fn go_down(fault: &Fault, how: Down) -> Result<bool, String> {
    on_node(fault, |world, id| world.hold_down(id, how, fault.lasting.is_some()))
}

fn come_up(fault: &Fault) -> Result<bool, String> {
    on_node(fault, |world, id| {
        world.let_up(id);
        true
    })
}

fn run_at(fault: &Fault, ppm: i64) -> Result<bool, String> {
    let range = 500_000..=2_000_000;
    let ppm = u32::try_from(ppm).ok().filter(|ppm| range.contains(ppm));
    let ppm = ppm.ok_or_else(|| format!("fault {}: a rate is 500,000 to 2,000,000 ppm", fault.kind))?;
    fault.only_target()?.clock().rate_ppm(ppm);
    Ok(true)
}

/// A fault of the plan after the run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultReport {
    /// The fault in words.
    pub fault: String,
    /// When it fired, in nanoseconds of simulated time: when it struck and changed something.
    pub fired_ns: Vec<u64>,
    /// Whether it was allowed to miss.
    pub may_miss: bool,
}

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times: Vec<String> = self.fired_ns.iter().map(|at| format!("@{}", seconds(*at))).collect();
        write!(f, "{} {}", self.fault, times.join(" "))
    }
}

struct Armed {
    fault: Fault,
    matches: u64,
    fired_ns: Vec<u64>,
}

#[derive(Default)]
pub(crate) struct Faults {
    kinds: Vec<&'static [FaultKind]>,
    armed: Vec<Armed>,
    /// How many armed faults still wait at an interposition point.
    waiting: usize,
}

impl Faults {
    pub(crate) fn set_kinds(&mut self, kinds: Vec<&'static [FaultKind]>) {
        self.kinds = kinds;
    }

    fn kind(&self, name: &str) -> Option<&'static FaultKind> {
        self.kinds.iter().flat_map(|kinds| kinds.iter()).find(|kind| kind.name == name)
    }

    #[track_caller]
    fn assert_possible(&self, fault: &Fault) {
        let Some(kind) = self.kind(&fault.kind) else {
            let known: Vec<&str> = self.kinds.iter().flat_map(|kinds| kinds.iter()).map(|kind| kind.name).collect();
            panic!("there is no fault of kind `{}`; the kinds are: {}", fault.kind, known.join(", "));
        };
        let ends = fault.lasting.is_none() || kind.relent.is_some();
        assert!(ends, "a fault of kind {} cannot last: it has no opposite. Leave .lasting(..) out", kind.name);
    }

    pub(crate) fn report(&self) -> Vec<FaultReport> {
        let report = |armed: &Armed| FaultReport {
            fault: armed.fault.to_string(),
            fired_ns: armed.fired_ns.clone(),
            may_miss: armed.fault.may_miss,
        };
        self.armed.iter().map(report).collect()
    }

    /// The first fault that was asked for and never fired.
    pub(crate) fn missed(&self) -> Option<&Fault> {
        self.armed.iter().find(|armed| armed.fired_ns.is_empty() && !armed.fault.may_miss).map(|armed| &armed.fault)
    }

    /// Counts an operation and says which armed faults it sets off.
    fn matching(&mut self, point: &str, node: &str, subject: &str) -> Vec<usize> {
        let mut fired = Vec::new();
        for (place, armed) in self.armed.iter_mut().enumerate() {
            let When::On(selector) = &armed.fault.when else {
                continue;
            };
            let counts =
                selector.point == point && matches(&selector.node, node) && matches(&selector.subject, subject);
            if counts && armed.matches < selector.nth {
                armed.matches += 1;
                if armed.matches == selector.nth {
                    fired.push(place);
                }
            }
        }
        self.waiting -= fired.len();
        fired
    }
}

/// Arms faults in the running simulation.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn faults() -> Arm {
    world::with("faults", |_| Arm(()))
}

/// Arms each fault as it is given; see [`faults`].
pub struct Arm(());

impl Arm {
    /// Arms a fault at a time since the start of the simulation; at once when that has passed.
    #[track_caller]
    pub fn at(self, after: Duration, fault: Fault) -> Self {
        self.plan(Plan::new().at(after, fault))
    }

    /// Arms a fault at an operation.
    #[track_caller]
    pub fn on(self, selector: Selector, fault: Fault) -> Self {
        self.plan(Plan::new().on(selector, fault))
    }

    /// Arms every fault of a plan.
    ///
    /// # Panics
    /// When a fault is of a kind that nobody registered.
    #[track_caller]
    pub fn plan(self, plan: Plan) -> Self {
        world::with("faults", |world| {
            if !world.acts() {
                return;
            }
            for fault in plan.faults {
                let mut faults = world.faults.borrow_mut();
                faults.assert_possible(&fault);
                let place = faults.armed.len();
                match fault.when {
                    When::At(Span(after)) => world.call_after(nanos(after).saturating_sub(world.now()), move || {
                        world::with("faults", |world| world.strike(place));
                    }),
                    When::On(_) => faults.waiting += 1,
                }
                faults.armed.push(Armed { fault, matches: 0, fired_ns: Vec::new() });
            }
        });
        self
    }
}

impl World {
    /// Makes an armed fault happen, and its opposite when it has lasted.
    fn strike(&self, place: usize) {
        let fault = self.faults.borrow().armed[place].fault.clone();
        let kind = self.faults.borrow().kind(&fault.kind);
        let Some(kind) = kind else { return };
        self.emit("fault", &[place as u64], || fault.to_string());
        match (kind.strike)(&fault) {
            Err(message) => return self.fail(Failure::new(Outcome::Panicked, message)),
            Ok(true) => self.count_firing(place),
            Ok(false) => self.emit("fault.idle", &[place as u64], || format!("{fault}: nothing to change")),
        }
        if let (Some(Span(lasting)), Some(relent)) = (fault.lasting, kind.relent) {
            self.call_after(nanos(lasting), move || {
                world::with("faults", |world| {
                    world.emit("fault.over", &[place as u64], || fault.to_string());
                    if let Err(message) = relent(&fault) {
                        world.fail(Failure::new(Outcome::Panicked, message));
                    }
                });
            });
        }
    }

    fn count_firing(&self, place: usize) {
        let now = self.now();
        self.faults.borrow_mut().armed[place].fired_ns.push(now);
    }
}

/// An interposition point: tells the fault engine of an operation of the current node, and returns the faults of kinds
/// in `own` that it sets off, for the device to act out. Faults of other kinds happen right here.
#[inline]
pub fn hit(point: &str, subject: &str, own: &[&str]) -> Vec<Fault> {
    world::with("fault::hit", |world| {
        if world.faults.borrow().waiting == 0 || world.running.get().dead {
            return Vec::new();
        }
        let node = world.nodes.borrow()[world.current_node()].name.clone();
        let fired = world.faults.borrow_mut().matching(point, &node, subject);
        let mut to_act_out = Vec::new();
        for place in fired {
            let fault = world.faults.borrow().armed[place].fault.clone();
            if own.contains(&&*fault.kind) {
                world.emit("fault", &[place as u64], || fault.to_string());
                world.count_firing(place);
                to_act_out.push(fault);
            } else {
                world.strike(place);
            }
        }
        to_act_out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Units;

    #[test]
    fn a_plan_file_reads_like_what_it_does() {
        let plan = Plan::new()
            .at(5.secs(), power_loss("store"))
            .on(Selector::new("disk.fsync", "store", "wal/*").nth(3), Fault::new("disk.eio", &[]).may_miss());
        let words: Vec<String> = plan.faults.iter().map(ToString::to_string).collect();
        assert_eq!(words, ["power_loss store", "eio on disk.fsync store wal/* (match 3)"]);
        assert_eq!(Plan::from_json(&plan.to_json()), Ok(plan));
    }

    #[test]
    fn a_malformed_plan_says_where_and_shows_a_right_one() {
        for text in ["", "{", "{\"faults\": [{\"kind\": 3}]}", "{\"faults\": [{\"kind\": \"x\", \"wen\": 1}]}"] {
            let message = Plan::from_json(text).unwrap_err().to_string();
            assert!(message.contains("line 1") && message.contains("node.crash"), "{message}");
        }
    }
}
