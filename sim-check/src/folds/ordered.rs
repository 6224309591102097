//! Promises about the order in which things come into sight: causal registers, writes that show others, numbers that
//! only grow, and pairs of inserts of which one has to see the other.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fold, acknowledges, evidence, some};
use crate::read::{ClientEvent, Phase, Value};
use crate::verdict::{Evidence, Verdict};

/// Checks one causal register: `read-init`, and then `read` and `write` of 1, 2, ... in causal order, each with the
/// `:position` that it got and the `:link` to the position that it follows (`:init` at first), as Jepsen's `causal`.
pub fn causal() -> Causal {
    Causal { value: Value::Int(0), counter: 0, last: Value::Nil, seen: false }
}

/// The check that [`causal()`] makes.
#[derive(Clone, Debug)]
pub struct Causal {
    value: Value,
    counter: i64,
    last: Value,
    seen: bool,
}

impl Causal {
    fn problem(&self, event: &ClientEvent) -> Option<String> {
        let link = event.also("link").cloned().unwrap_or_default();
        if link != Value::Keyword("init".into()) && link != Value::from("init") && link != self.last {
            return Some(format!("links to {link}, where the last position seen was {}", self.last));
        }
        let (value, next) = (&event.value, Value::Int(self.counter + 1));
        match event.f.as_str() {
            "write" if *value != next => Some(format!("wrote {value}, where {next} was to follow")),
            "read-init" if self.counter == 0 && *value != Value::Int(0) => {
                Some(format!("read {value} at first, not 0"))
            }
            "read" | "read-init" if *value != Value::Nil && *value != self.value => {
                Some(format!("read {value}, where the register held {}", self.value))
            }
            _ => None,
        }
    }
}

impl Fold for Causal {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        if event.phase != Phase::Ok || !matches!(event.f.as_str(), "read" | "read-init" | "write") {
            return None;
        }
        self.seen = true;
        if let Some(problem) = self.problem(event) {
            let sentence = format!("not causal: client-{} at event {} {problem}", event.process, event.moment.index);
            return Some(evidence(event, sentence));
        }
        if event.f == "write" {
            self.counter += 1;
            self.value = event.value.clone();
        }
        self.last = event.also("position").cloned().unwrap_or_default();
        None
    }

    fn finish(&mut self) -> Verdict {
        decided(self.seen)
    }
}

/// Checks writes of unique values and reads of all that was written: who sees a write sees all that was acknowledged
/// before it began. Jepsen's `causal-reverse`; elle-cli calls it `comments`.
pub fn causal_reverse() -> CausalReverse {
    CausalReverse { acknowledged: BTreeMap::new(), begun: BTreeMap::new(), seen: false }
}

/// The check that [`causal_reverse()`] makes.
#[derive(Clone, Debug)]
pub struct CausalReverse {
    /// The event at which each write was acknowledged, and the writes by that event.
    acknowledged: BTreeMap<u64, Value>,
    /// The event at which each write was invoked.
    begun: BTreeMap<Value, u64>,
    seen: bool,
}

impl Fold for CausalReverse {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        match (event.f.as_str(), event.phase) {
            ("write", Phase::Invoke) => drop(self.begun.insert(event.value.clone(), event.moment.index)),
            ("write", Phase::Ok) => drop(self.acknowledged.insert(event.moment.index, event.value.clone())),
            _ => {}
        }
        let Value::List(found) = &event.value else { return None };
        if !acknowledges(event, "read") {
            return None;
        }
        self.seen = true;
        let latest = found.iter().filter_map(|value| Some((*self.begun.get(value)?, value))).max()?;
        let found: BTreeSet<&Value> = found.iter().collect();
        let due = self.acknowledged.range(..latest.0).map(|(_, value)| value);
        let mut missing = due.filter(|value| !found.contains(value)).peekable();
        missing.peek()?;
        let (client, at, seen, missing) = (event.process, event.moment.index, latest.1, some(missing));
        let sentence = format!(
            "client-{client} at event {at} saw {seen} and not {missing}, acknowledged before the write of {seen} began"
        );
        Some(evidence(event, sentence))
    }

    fn finish(&mut self) -> Verdict {
        decided(self.seen)
    }
}

/// Checks reads of numbers, or of `{key number ...}`, that only grow: no client reads less than it did before.
pub fn monotonic() -> Monotonic {
    Monotonic { everywhere: false, last: BTreeMap::new(), open: BTreeMap::new(), seen: false }
}

/// The check that [`monotonic()`] makes.
#[derive(Clone, Debug)]
pub struct Monotonic {
    everywhere: bool,
    /// The most that each client read from each key; under no client, the most that was read at all.
    last: BTreeMap<(Option<u64>, Value), (i64, u64, u64)>,
    /// What there was to see when the open read of a client began.
    open: BTreeMap<u64, BTreeMap<Value, (i64, u64, u64)>>,
    seen: bool,
}

impl Monotonic {
    /// Demands it of all clients together: no read finds less than one that had ended before it began.
    pub fn for_all_clients(mut self) -> Self {
        self.everywhere = true;
        self
    }

    fn begin(&mut self, process: u64) {
        if self.everywhere {
            let all = self.last.iter().filter(|((client, _), _)| client.is_none());
            self.open.insert(process, all.map(|((_, key), last)| (key.clone(), *last)).collect());
        }
    }

    fn note(&mut self, event: &ClientEvent, key: &Value, found: i64) -> Option<Evidence> {
        let process = event.process;
        let own = self.last.get(&(Some(process), key.clone())).copied();
        let before = self.open.get(&process).and_then(|open| open.get(key)).copied();
        let at = (found, process, event.moment.index);
        for client in [Some(process), None] {
            let last = self.last.entry((client, key.clone())).or_insert(at);
            *last = (*last).max(at);
        }
        let (most, who, when) = own.into_iter().chain(before).max()?;
        let of = if *key == Value::Nil { String::new() } else { format!(" from {key}") };
        let story = || {
            let now = event.moment.index;
            format!("client-{process} read {found}{of} at event {now}, after client-{who} read {most} at event {when}")
        };
        (found < most).then(|| evidence(event, story()))
    }
}

impl Fold for Monotonic {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        if event.f != "read" {
            return None;
        }
        if event.phase == Phase::Invoke {
            self.begin(event.process);
        }
        if event.phase != Phase::Ok {
            return None;
        }
        self.seen = true;
        match &event.value {
            Value::Int(found) => self.note(event, &Value::Nil, *found),
            Value::Map(found) => found.iter().find_map(|(key, value)| match value {
                Value::Int(found) => self.note(event, key, *found),
                _ => None,
            }),
            _ => None,
        }
    }

    fn finish(&mut self) -> Verdict {
        decided(self.seen)
    }
}

/// Checks `insert` of `[key [a b]]`, two of each key, each of which is to be refused if it sees the other: at most
/// one of a key is acknowledged. Jepsen's `adya` test of G2.
pub fn g2() -> G2 {
    G2 { inserted: BTreeMap::new(), seen: false }
}

/// The check that [`g2()`] makes.
#[derive(Clone, Debug)]
pub struct G2 {
    inserted: BTreeMap<Value, (u64, u64)>,
    seen: bool,
}

impl Fold for G2 {
    fn on_event(&mut self, event: &ClientEvent) -> Option<Evidence> {
        self.seen |= event.f == "insert";
        if !acknowledges(event, "insert") {
            return None;
        }
        let Value::List(parts) = &event.value else { return None };
        let key = parts.first()?;
        let now = (event.process, event.moment.index);
        let (client, before) = self.inserted.insert(key.clone(), now)?;
        let sentence = format!(
            "G2: client-{} at event {} and client-{client} at event {before} both inserted for {key}, \
             although either would have been refused had it seen the other",
            now.0, now.1
        );
        Some(evidence(event, sentence))
    }

    fn finish(&mut self) -> Verdict {
        decided(self.seen)
    }
}

fn decided(seen: bool) -> Verdict {
    match seen {
        true => Verdict::Valid,
        false => Verdict::Vacuous("nothing was acknowledged that could be judged".to_string()),
    }
}
