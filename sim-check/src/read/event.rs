//! Events of any format, and the operations that pairs of them make.

use std::collections::BTreeMap;

use super::value::Value;
use super::{Fault, Format};
use crate::history::{Moment, Operation, Outcome};

/// One event of one client.
#[derive(Debug)]
pub(super) struct Event<'t, V = Value> {
    /// Where it stands in the text.
    pub(super) offset: usize,
    pub(super) process: u64,
    pub(super) phase: Phase,
    pub(super) f: &'t str,
    pub(super) key: Value,
    pub(super) value: V,
    /// Other keys that some check looks at.
    pub(super) also: Vec<(&'t str, Value)>,
    pub(super) moment: Moment,
}

impl<V> Event<'_, V> {
    /// What to say of a completion without an invocation.
    pub(super) fn uninvoked(&self) -> Fault {
        Fault::new(
            self.offset,
            format!("process {} completes an operation that it never invoked", self.process),
            "the beginning of the history seems to be missing",
        )
    }
}

/// What an event says of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It begins.
    Invoke,
    /// It took effect.
    Ok,
    /// It certainly did not.
    Fail,
    /// It may have, or may yet.
    Info,
}

/// One event of one client, whatever it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientEvent {
    /// The client.
    pub process: u64,
    /// Whether the operation begins or how it ends.
    pub phase: Phase,
    /// The name of the operation.
    pub f: String,
    /// What is asked for or answered.
    pub value: Value,
    /// What else the history says of it: `:link` and `:position`, `:rebalance-log`, `:generation`.
    pub also: Vec<(String, Value)>,
    /// When it happened.
    pub moment: Moment,
}

impl ClientEvent {
    /// What the history says under another key.
    pub fn also(&self, name: &str) -> Option<&Value> {
        self.also.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl Phase {
    /// The phase that a keyword, without its colon, names.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "invoke" => Phase::Invoke,
            "ok" => Phase::Ok,
            "fail" => Phase::Fail,
            "info" => Phase::Info,
            _ => return None,
        })
    }
}

/// An invocation and its completion, if it has one.
#[derive(Debug)]
pub(super) struct Pair<'t> {
    pub(super) format: Format,
    pub(super) invoke: Event<'t>,
    pub(super) end: Option<Event<'t>>,
}

impl Pair<'_> {
    pub(super) fn ended(&self, phase: Phase) -> bool {
        self.end.as_ref().is_some_and(|end| end.phase == phase)
    }

    /// The value of the acknowledgement, if there is one that says something.
    pub(super) fn answer(&self) -> Option<&Value> {
        let end = self.end.as_ref().filter(|end| end.phase == Phase::Ok)?;
        let says = self.format == Format::JepsenLog || end.value != Value::Nil;
        says.then_some(&end.value)
    }

    /// What was asked for: what the acknowledgement says of it, if it does, else the invocation.
    pub(super) fn asked(&self) -> &Value {
        let told = self.end.as_ref().filter(|end| end.phase == Phase::Ok && end.value != Value::Nil);
        &told.unwrap_or(&self.invoke).value
    }

    /// The operation that the pair stands for. An end that tells no result leaves the outcome unknown.
    pub(super) fn operation<Op, Ret>(&self, op: Op, ret: Option<Ret>) -> Operation<Op, Ret> {
        let outcome = match (&self.end, ret) {
            (Some(end), Some(ret)) => Outcome::Ok { ret, at: end.moment },
            (Some(end), None) if end.phase == Phase::Fail => Outcome::Fail { at: end.moment },
            (Some(end), None) => Outcome::Info { at: end.moment },
            (None, _) => Outcome::Open,
        };
        Operation { process: self.invoke.process, op, invoked: self.invoke.moment, outcome }
    }
}

/// Pairs invocations with completions, in the order of the invocations.
pub(super) fn pairs(format: Format, events: Vec<Event<'_>>) -> Result<Vec<Pair<'_>>, Fault> {
    let mut pairs: Vec<Pair<'_>> = Vec::new();
    let mut open: BTreeMap<u64, usize> = BTreeMap::new();
    for event in events {
        if event.phase == Phase::Invoke {
            open.insert(event.process, pairs.len());
            pairs.push(Pair { format, invoke: event, end: None });
        } else if let Some(pair) = open.remove(&event.process) {
            pairs[pair].end = Some(event);
        } else if event.phase != Phase::Info {
            return Err(event.uninvoked());
        }
    }
    Ok(pairs)
}
