//! Faults and plans as data.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rhythm::Rhythm;
use super::target;
use crate::node::Node;
use crate::units::Span;

/// One fault, as data. Made by functions such as [`power_loss`](super::power_loss), placed in time by [`Plan::at`] or [`Plan::on`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens: `node.crash`, `net.partition`, `disk.eio`, ...
    pub kind: String,
    /// The nodes it happens to: names; `@role` for whoever has that [role](super::role) then; a pattern with `*` or `?`
    /// for one of the running nodes that match; `all:` and a pattern for every node that matches.
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
    /// Which fault of the run it is, once it is armed.
    #[serde(skip)]
    pub id: FaultId,
}

/// The number of an armed fault in its run; every fault that is not armed has the default one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FaultId(pub(crate) u32);

impl Default for FaultId {
    fn default() -> Self {
        FaultId(u32::MAX)
    }
}

/// What makes a fault fire.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum When {
    /// This long after the start of the simulation.
    At(Span),
    /// An operation at an interposition point.
    On(Selector),
    /// Again and again.
    Every(Rhythm),
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
    /// At which moment of it.
    #[serde(default, skip_serializing_if = "Moment::is_before")]
    pub moment: Moment,
}

fn first() -> u64 {
    1
}

/// A moment of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Nothing of it is done.
    #[default]
    Before,
    /// A part of it is done; only operations that have parts get there.
    Amid,
    /// It is done, and its caller has not heard yet.
    After,
}

impl Moment {
    fn is_before(&self) -> bool {
        *self == Moment::Before
    }
}

impl Selector {
    /// The first operation at `point` on nodes and subjects that match.
    pub fn new(point: &str, node: &str, subject: &str) -> Self {
        let moment = Moment::Before;
        Selector { point: point.into(), node: node.into(), subject: subject.into(), nth: 1, moment }
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

    /// Before the operation has any effect, as selectors have it unless they say otherwise.
    pub fn before(mut self) -> Self {
        self.moment = Moment::Before;
        self
    }

    /// When a part of the operation is done, where it is one that has parts, such as a write of several pages.
    pub fn amid(mut self) -> Self {
        self.moment = Moment::Amid;
        self
    }

    /// When the operation is done, well or not, and its caller has not heard of it. For faults of nodes, clocks and links;
    /// those that make an operation fail must come before it.
    pub fn after(mut self) -> Self {
        self.moment = Moment::After;
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
            id: FaultId::default(),
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
        self.target.iter().map(|name| target::named(&self.kind, name)).collect()
    }

    /// The argument `name` as a length of time, such as `"200ms"`.
    pub fn span(&self, name: &str) -> Result<Duration, String> {
        let text = self.args.get(name).and_then(Value::as_str);
        let text = text.ok_or_else(|| format!("fault {} needs the argument `{name}`, such as \"200ms\"", self.kind))?;
        let span: Span = text.parse().map_err(|error| format!("fault {}: `{name}`: {error}", self.kind))?;
        Ok(span.0)
    }

    /// The argument `name` as a word.
    pub fn word(&self, name: &str) -> Result<&str, String> {
        let word = self.args.get(name).and_then(Value::as_str);
        word.ok_or_else(|| format!("fault {} needs the argument `{name}`, a word", self.kind))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.split_once('.').map_or(&*self.kind, |(_, verb)| verb);
        write!(f, "{kind}")?;
        self.target.iter().try_for_each(|name| write!(f, " {name}"))?;
        self.args.iter().try_for_each(|(name, value)| match value {
            Value::String(word) => write!(f, " {name}={word}"),
            other => write!(f, " {name}={other}"),
        })?;
        if let Some(span) = self.lasting {
            write!(f, " for {span}")?;
        }
        if let When::On(Selector { point, node, subject, nth, moment }) = &self.when {
            let moment = match moment {
                Moment::Before => "",
                Moment::Amid => ", amid it",
                Moment::After => ", after it",
            };
            write!(f, " on {point} {node} {subject} (match {nth}{moment})")?;
        }
        if let When::Every(rhythm) = &self.when {
            write!(f, " {rhythm}")?;
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
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
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

    /// Whether it has no fault.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
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

    /// Adds a fault that comes again and again.
    pub fn every(mut self, rhythm: Rhythm, fault: Fault) -> Self {
        self.faults.push(Fault { when: When::Every(rhythm), ..fault });
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

#[cfg(test)]
mod tests {
    use super::super::power_loss;
    use super::*;
    use crate::Units;

    #[test]
    fn a_plan_file_reads_like_what_it_does() {
        let plan = Plan::new()
            .at(5.secs(), power_loss("store"))
            .on(Selector::new("disk.fsync", "store", "wal/*").nth(3), Fault::new("disk.eio", &[]).may_miss())
            .on(Selector::new("disk.write", "store", "**").after(), power_loss("store"));
        let words: Vec<String> = plan.faults.iter().map(ToString::to_string).collect();
        let [at, before, after] = &words[..] else { panic!("{words:?}") };
        assert_eq!((&**at, &**before), ("power_loss store", "eio on disk.fsync store wal/* (match 3)"));
        assert_eq!(after, "power_loss store on disk.write store ** (match 1, after it)");
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
