//! The engine: arms faults, makes them happen, ends them, and counts.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::{Fault, FaultId, Moment, Plan, Selector, When};
use super::rhythm::Rhythm;
use super::swarm::{Budget, Swarm};
use super::target::{self, Role};
use crate::choice::{Draws, Stream, nanos};
use crate::device::Down;
use crate::glob::matches;
use crate::node::NodeId;
use crate::outcome::{Failure, Outcome};
use crate::units::{Span, seconds};
use crate::world::{self, World};

/// Acts a fault out, and says whether that changed anything: a fault that did not has not fired. An error ends the run and
/// is told to the user.
pub type Act = fn(&Fault) -> Result<bool, String>;

/// Draws a fault of a kind, for a [`Swarm`]: its targets among the names, its arguments, how long it lasts.
pub type Sample = fn(&mut Draws, &[String]) -> Fault;

/// A kind of fault: what makes it happen and what ends it.
pub struct FaultKind {
    /// The name, as [`Fault::kind`] has it: device, dot, verb.
    pub name: &'static str,
    /// Makes it happen.
    pub strike: Act,
    /// The opposite, for a fault that lasts.
    pub relent: Option<Act>,
    /// Draws one, for swarms.
    pub sample: Option<Sample>,
    /// Whether it takes nodes down, so that a [`Budget`] counts it.
    pub kills: bool,
}

impl FaultKind {
    /// A kind that happens and is over.
    pub const fn new(name: &'static str, strike: Act) -> Self {
        FaultKind { name, strike, relent: None, sample: None, kills: false }
    }

    /// Lets it last, until its opposite.
    pub const fn relent(mut self, relent: Act) -> Self {
        self.relent = Some(relent);
        self
    }

    /// Lets swarms draw it.
    pub const fn sample(mut self, sample: Sample) -> Self {
        self.sample = Some(sample);
        self
    }

    /// Says that it takes nodes down.
    pub const fn kills(mut self) -> Self {
        self.kills = true;
        self
    }
}

/// A fault of the plan after the run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FaultReport {
    /// Its kind.
    #[serde(default)]
    pub kind: String,
    /// The fault in words.
    pub fault: String,
    /// When it fired, in nanoseconds of simulated time: when it struck and changed something.
    pub fired_ns: Vec<u64>,
    /// How often a program met it: an operation that went another way because of it.
    #[serde(default)]
    pub observed: u64,
    /// How often a [`Budget`] made less of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub downgraded: u64,
    /// Whether it was allowed to miss.
    pub may_miss: bool,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A report shows at most so many times of one fault.
const TIMES_SHOWN: usize = 4;

impl fmt::Display for FaultReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times: Vec<String> =
            self.fired_ns.iter().take(TIMES_SHOWN).map(|at| format!("@{}", seconds(*at))).collect();
        write!(f, "{} {}", self.fault, times.join(" "))?;
        if self.fired_ns.len() > TIMES_SHOWN {
            write!(f, " and {} times more", self.fired_ns.len() - TIMES_SHOWN)?;
        }
        if self.downgraded > 0 {
            write!(f, " (downgraded {} times, to keep a quorum)", self.downgraded)?;
        }
        Ok(())
    }
}

struct Armed {
    fault: Fault,
    matches: u64,
    fired_ns: Vec<u64>,
    rounds: u32,
    observed: u64,
    downgraded: u64,
    draws: Option<Box<Draws>>,
}

#[derive(Default)]
pub(crate) struct Faults {
    kinds: Vec<&'static [FaultKind]>,
    /// Kinds that fire and do nothing.
    muted: Vec<String>,
    armed: Vec<Armed>,
    /// Faults that last, until they end.
    pub(super) lasting: BTreeMap<u64, Fault>,
    lasted: u64,
    pub(super) roles: BTreeMap<String, Role>,
    budgets: Vec<Budget>,
    /// How many armed faults still wait at an interposition point.
    waiting: usize,
    /// No fault begins any more.
    pub(super) over: bool,
    /// What struck, as it struck, and when.
    struck: Vec<(u64, Fault)>,
}

impl Faults {
    pub(crate) fn set_kinds(&mut self, kinds: Vec<&'static [FaultKind]>, muted: Vec<String>) {
        (self.kinds, self.muted) = (kinds, muted);
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = &'static FaultKind> {
        self.kinds.iter().flat_map(|kinds| kinds.iter())
    }

    pub(super) fn kind(&self, name: &str) -> Option<&'static FaultKind> {
        self.kinds().find(|kind| kind.name == name)
    }

    #[track_caller]
    fn assert_possible(&self, fault: &Fault) {
        let Some(kind) = self.kind(&fault.kind) else {
            let known: Vec<&str> = self.kinds().map(|kind| kind.name).collect();
            panic!("there is no fault of kind `{}`; the kinds are: {}", fault.kind, known.join(", "));
        };
        let lasts = fault.lasting.is_some() || matches!(&fault.when, When::Every(rhythm) if rhythm.lasting.is_some());
        let ends = !lasts || kind.relent.is_some();
        assert!(ends, "a fault of kind {} cannot last: it has no opposite. Leave .lasting(..) out", kind.name);
    }

    pub(crate) fn report(&self) -> Vec<FaultReport> {
        let report = |armed: &Armed| FaultReport {
            kind: armed.fault.kind.clone(),
            fault: armed.fault.to_string(),
            fired_ns: armed.fired_ns.clone(),
            observed: armed.observed,
            downgraded: armed.downgraded,
            may_miss: armed.fault.may_miss,
        };
        self.armed.iter().map(report).collect()
    }

    /// What struck, as a plan that says the same again.
    pub(crate) fn as_struck(&self) -> Plan {
        Plan { faults: self.struck.iter().map(|(_, fault)| fault.clone()).collect() }
    }

    /// The first fault that was asked for and never fired, and not for the sake of a budget.
    pub(crate) fn missed(&self) -> Option<&Fault> {
        let missed = |armed: &&Armed| armed.fired_ns.is_empty() && armed.downgraded == 0 && !armed.fault.may_miss;
        self.armed.iter().find(missed).map(|armed| &armed.fault)
    }

    /// Counts an operation and says which armed faults it sets off.
    fn matching(&mut self, moment: Moment, point: &str, node: &str, subject: &str) -> Vec<usize> {
        let mut fired = Vec::new();
        for (place, armed) in self.armed.iter_mut().enumerate() {
            let When::On(selector) = &armed.fault.when else {
                continue;
            };
            let is_here = selector.point == point && selector.moment == moment;
            let counts = is_here && matches(&selector.node, node) && matches(&selector.subject, subject);
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

    /// Arms a fault that comes again and again.
    #[track_caller]
    pub fn every(self, rhythm: Rhythm, fault: Fault) -> Self {
        self.plan(Plan::new().every(rhythm, fault))
    }

    /// Arms faults of random kinds.
    #[track_caller]
    pub fn swarm(self, swarm: Swarm) -> Self {
        let plan = world::with("faults", |world| swarm.plan(&world.faults.borrow(), &mut Swarm::draws(world)));
        self.plan(plan)
    }

    /// Keeps enough nodes up, whatever the faults say.
    #[track_caller]
    pub fn budget(self, budget: Budget) -> Self {
        world::with("faults", |world| world.faults.borrow_mut().budgets.push(budget));
        self
    }

    /// Arms every fault of a plan.
    ///
    /// # Panics
    /// When a fault is of a kind that nobody registered.
    #[track_caller]
    pub fn plan(self, plan: Plan) -> Self {
        world::with("faults", |world| {
            if world.acts() {
                plan.faults.into_iter().for_each(|fault| world.arm(fault));
            }
        });
        self
    }
}

impl World {
    #[track_caller]
    fn arm(&self, mut fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        faults.assert_possible(&fault);
        let place = faults.armed.len();
        fault.id = FaultId(place as u32);
        let mut draws: Option<Box<Draws>> = None;
        let first = match &fault.when {
            When::At(Span(after)) => Some(nanos(*after).saturating_sub(self.now())),
            When::On(_) => None,
            When::Every(rhythm) => {
                let gap = rhythm.gap.draw_nanos(draws.insert(self.fault_draws(place)));
                Some(nanos(rhythm.from.0).saturating_sub(self.now()).saturating_add(gap))
            }
        };
        faults.waiting += usize::from(first.is_none());
        let again = matches!(fault.when, When::Every(_));
        faults.armed.push(Armed {
            fault,
            matches: 0,
            fired_ns: Vec::new(),
            rounds: 0,
            observed: 0,
            downgraded: 0,
            draws,
        });
        drop(faults);
        if let Some(after) = first {
            self.call_after(after, move || {
                world::with("faults", |world| if again { world.come_again(place) } else { world.strike(place, None) });
            });
        }
    }

    fn fault_draws(&self, place: usize) -> Box<Draws> {
        Box::new(self.choices.stream(Stream::FAULT, place as u64))
    }

    /// Lets a draw be made for an armed fault, with nothing borrowed.
    fn draw<R>(&self, place: usize, draw: impl FnOnce(&mut Draws) -> R) -> R {
        let kept = self.faults.borrow_mut().armed[place].draws.take();
        let mut draws = kept.unwrap_or_else(|| self.fault_draws(place));
        let drawn = draw(&mut draws);
        self.faults.borrow_mut().armed[place].draws = Some(draws);
        drawn
    }

    /// A fault with a rhythm: strikes, and comes again.
    fn come_again(&self, place: usize) {
        let rhythm = {
            let mut faults = self.faults.borrow_mut();
            let armed = &mut faults.armed[place];
            armed.rounds += 1;
            let When::Every(rhythm) = armed.fault.when.clone() else { return };
            let over = rhythm.until.is_some_and(|until| self.now() >= nanos(until.0));
            if over || rhythm.times.is_some_and(|times| armed.rounds > times) || faults.over {
                return;
            }
            rhythm
        };
        let lasting = rhythm.lasting.as_ref().map(|lasting| self.draw(place, |draws| lasting.draw(draws)));
        self.strike(place, lasting);
        let gap = self.draw(place, |draws| rhythm.gap.draw_nanos(draws));
        // Never twice at one moment: the run would not move on.
        let after = gap.saturating_add(lasting.map_or(0, nanos)).max(1);
        self.call_after(after, move || world::with("faults", |world| world.come_again(place)));
    }

    /// The fault as it strikes now: drawn where its kind draws it, aimed at nodes by name. None: there is nobody to strike.
    fn aim(&self, place: usize, lasting: Option<Duration>) -> Result<Option<Fault>, String> {
        let mut fault = self.faults.borrow().armed[place].fault.clone();
        let sample = self.faults.borrow().kind(&fault.kind).and_then(|kind| kind.sample);
        if let (true, Some(sample), Ok(among)) = (fault.target.is_empty(), sample, fault.word("among")) {
            let among = target::names(self, among, true);
            if among.is_empty() {
                return Ok(None);
            }
            let drawn = self.draw(place, |draws| sample(draws, &among));
            fault = Fault { may_miss: fault.may_miss, when: fault.when, id: fault.id, ..drawn };
        }
        let mut targets = Vec::new();
        for target in &fault.target {
            let means = self.draw(place, |draws| target::resolve(self, &fault.kind, target, draws))?;
            if means.is_empty() {
                return Ok(None);
            }
            targets.extend(means);
        }
        fault.target = targets;
        if lasting.is_some() {
            fault.lasting = lasting.map(Span);
        }
        Ok(Some(fault))
    }

    /// Makes an armed fault happen, and its opposite when it has lasted.
    fn strike(&self, place: usize, lasting: Option<Duration>) {
        if self.faults.borrow().over {
            return;
        }
        let mut fault = match self.aim(place, lasting) {
            Ok(Some(fault)) => fault,
            Ok(None) => return self.emit("fault.idle", &[place as u64], || "nobody to strike".to_string()),
            Err(message) => return self.fail(Failure::new(Outcome::Panicked, message)),
        };
        let mut kind = self.faults.borrow().kind(&fault.kind);
        if kind.is_some_and(|kind| kind.kills) && self.over_budget(&fault) {
            fault = self.to_reboot(fault);
            kind = self.faults.borrow().kind(&fault.kind);
        }
        let Some(kind) = kind else { return };
        self.emit("fault", &[place as u64], || fault.to_string());
        if self.is_muted(kind.name) {
            return self.count_firing(place, &fault);
        }
        let held = self.budgets_hold();
        match (kind.strike)(&fault) {
            Err(message) => return self.fail(Failure::new(Outcome::Panicked, message)),
            Ok(true) if held && !kind.kills && kind.relent.is_some() && !self.budgets_hold() => {
                self.downgrade(place, &fault, "nothing");
                return self.relent(&fault);
            }
            Ok(true) => self.count_firing(place, &fault),
            Ok(false) => self.emit("fault.idle", &[place as u64], || format!("{fault}: nothing changed")),
        }
        if let Some(Span(lasting)) = fault.lasting.filter(|_| kind.relent.is_some()) {
            self.end_after(nanos(lasting), fault);
        }
    }

    /// Makes a reboot of a fault that would leave too few nodes up.
    fn to_reboot(&self, fault: Fault) -> Fault {
        self.downgrade(fault.id.0 as usize, &fault, "a reboot");
        Fault { kind: "node.crash".into(), lasting: Some(Span(Duration::ZERO)), args: BTreeMap::new(), ..fault }
    }

    /// Takes a node down for a fault, if what is up may spare it now; else reboots it.
    pub(super) fn take_down_for(&self, fault: &Fault, node: NodeId, how: Down) -> bool {
        self.count_killed(node, fault);
        if self.over_budget(fault) {
            let reboot = self.to_reboot(fault.clone());
            let changed = self.hold_down(node, Down::Kill, true);
            self.end_after(0, reboot);
            return changed;
        }
        self.hold_down(node, how, fault.lasting.is_some())
    }

    fn is_muted(&self, kind: &str) -> bool {
        self.faults.borrow().muted.iter().any(|muted| muted == kind)
    }

    fn downgrade(&self, place: usize, fault: &Fault, to: &str) {
        self.emit("fault.downgraded", &[place as u64], || format!("{fault}: to {to}"));
        self.faults.borrow_mut().armed[place].downgraded += 1;
    }

    fn over_budget(&self, fault: &Fault) -> bool {
        self.faults.borrow().budgets.iter().any(|budget| budget.forbids(self, fault))
    }

    fn budgets_hold(&self) -> bool {
        self.faults.borrow().budgets.iter().all(|budget| budget.holds(self))
    }

    fn end_after(&self, after: u64, fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        faults.lasted += 1;
        let serial = faults.lasted;
        faults.lasting.insert(serial, fault);
        drop(faults);
        self.call_after(after, move || {
            world::with("faults", |world| {
                let fault = world.faults.borrow_mut().lasting.remove(&serial);
                fault.into_iter().for_each(|fault| world.relent(&fault));
            });
        });
    }

    /// The opposite of a fault that lasted.
    pub(super) fn relent(&self, fault: &Fault) {
        self.emit("fault.over", &[u64::from(fault.id.0)], || fault.to_string());
        let relent = self.faults.borrow().kind(&fault.kind).and_then(|kind| kind.relent);
        if let Some(Err(message)) = relent.map(|relent| relent(fault)) {
            self.fail(Failure::new(Outcome::Panicked, message));
        }
    }

    fn count_firing(&self, place: usize, fault: &Fault) {
        let now = self.now();
        let mut faults = self.faults.borrow_mut();
        faults.armed[place].fired_ns.push(now);
        let when = match &fault.when {
            When::Every(_) => When::At(Span(Duration::from_nanos(now))),
            other => other.clone(),
        };
        faults.struck.push((now, Fault { when, id: FaultId::default(), ..fault.clone() }));
    }

    /// Counts a fault as fired that took effect some time after it struck.
    pub(crate) fn count_late(&self, fault: &Fault) {
        self.count_firing(fault.id.0 as usize, fault);
    }

    pub(crate) fn observe(&self, fault: FaultId) {
        if let Some(armed) = self.faults.borrow_mut().armed.get_mut(fault.0 as usize) {
            armed.observed += 1;
        }
    }
}

/// The kinds of faults that the running simulation knows.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn kinds() -> Vec<&'static str> {
    world::with("fault::kinds", |world| world.faults.borrow().kinds().map(|kind| kind.name).collect())
}

/// What struck so far, each fault with the time since the start of the simulation at which it did.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn struck() -> Vec<(Duration, Fault)> {
    let struck = |world: &World| world.faults.borrow().struck.clone();
    world::with("fault::struck", struck).into_iter().map(|(at, fault)| (Duration::from_nanos(at), fault)).collect()
}

/// Counts that a program met a fault: an operation of its went another way because of it. For devices; one that is not
/// armed counts for nothing.
#[inline]
pub fn observed(fault: FaultId) {
    if fault != FaultId::default() {
        world::try_with(|world| world.observe(fault));
    }
}

/// A moment that faults may wait for, in a program or a test: [`Selector::new`]`("point", node, name)` strikes there.
#[inline]
pub fn point(name: &str) {
    hit("point", name, &[]);
}

/// An interposition point: tells the fault engine of an operation of the current node, and returns the faults of kinds
/// in `own` that it sets off, for the device to act out. Faults of other kinds happen right here.
#[inline]
pub fn hit(point: &str, subject: &str, own: &[&str]) -> Vec<Fault> {
    world::with("fault::hit", |world| world.hit(Moment::Before, point, subject, own, || {}))
}

/// The middle of an operation: where a fault strikes there, `part` does a part of it first. Whether one did.
#[inline]
pub fn hit_amid(point: &str, subject: &str, part: impl FnOnce()) -> bool {
    strikes_at(Moment::Amid, point, subject, part)
}

/// The end of an operation, whatever came of it: tells the fault engine before the program hears of it. Whether a fault
/// struck.
#[inline]
pub fn hit_after(point: &str, subject: &str) -> bool {
    strikes_at(Moment::After, point, subject, || {})
}

fn strikes_at(moment: Moment, point: &str, subject: &str, first: impl FnOnce()) -> bool {
    let mut struck = false;
    world::with("fault::hit", |world| {
        world.hit(moment, point, subject, &[], || {
            first();
            struck = true;
        })
    });
    struck
}

impl World {
    #[inline]
    fn hit(&self, moment: Moment, point: &str, subject: &str, own: &[&str], first: impl FnOnce()) -> Vec<Fault> {
        if self.faults.borrow().waiting == 0 || self.running.get().dead {
            return Vec::new();
        }
        let node = self.nodes.borrow()[self.current_node()].name.clone();
        let fired = self.faults.borrow_mut().matching(moment, point, &node, subject);
        if !fired.is_empty() {
            first();
        }
        let mut to_act_out = Vec::new();
        for place in fired {
            let fault = self.faults.borrow().armed[place].fault.clone();
            if own.contains(&&*fault.kind) {
                self.emit("fault", &[place as u64], || fault.to_string());
                self.count_firing(place, &fault);
                if self.is_muted(&fault.kind) {
                    continue;
                }
                let ends = self.faults.borrow().kind(&fault.kind).is_some_and(|kind| kind.relent.is_some());
                if let Some(Span(lasting)) = fault.lasting.filter(|_| ends) {
                    self.end_after(nanos(lasting), fault.clone());
                }
                to_act_out.push(fault);
            } else {
                self.strike(place, None);
            }
        }
        to_act_out
    }
}
