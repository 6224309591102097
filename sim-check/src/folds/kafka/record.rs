//! What was sent and polled, and the order that offsets give it.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use crate::history::Moment;
use crate::read::{ClientEvent, Phase, Value};

/// A message: its partition, and its number among the messages of all partitions.
pub(super) type Message = (u32, u32);

/// One operation of a producer or a consumer.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) process: u64,
    pub(super) phase: Phase,
    pub(super) invoked: Moment,
    pub(super) at: Moment,
    /// What was sent, and at which offset if that is known.
    pub(super) sends: Vec<(Message, Option<i64>)>,
    /// What was polled, likewise.
    pub(super) polls: Vec<(Message, Option<i64>)>,
    /// Partitions that came or went while it ran.
    pub(super) rebalanced: BTreeSet<u32>,
    /// The partitions asked for by `assign` or `subscribe`.
    pub(super) assigned: Option<BTreeSet<u32>>,
}

/// The order of one partition.
#[derive(Debug, Default)]
pub(super) struct Partition {
    /// The messages at each offset that is known to hold some.
    pub(super) log: BTreeMap<i64, BTreeSet<u32>>,
    /// One message for each of these offsets.
    pub(super) dense: Vec<u32>,
    pub(super) places: BTreeMap<u32, usize>,
}

/// A history of a log.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) acts: Vec<Act>,
    keys: IndexSet<Value, FxBuildHasher>,
    messages: IndexSet<(u32, Value), FxBuildHasher>,
    /// Who sent each message last.
    pub(super) writers: BTreeMap<u32, usize>,
    /// What committed operations polled.
    pub(super) polled: BTreeSet<u32>,
    pub(super) partitions: Vec<Partition>,
}

/// Whether operations of this name send or poll.
pub(super) fn is_log(f: &str) -> bool {
    matches!(f, "send" | "poll" | "txn")
}

impl Record {
    pub(super) fn new(events: &[ClientEvent]) -> Self {
        let mut record = Record {
            acts: Vec::new(),
            keys: IndexSet::default(),
            messages: IndexSet::default(),
            writers: BTreeMap::new(),
            polled: BTreeSet::new(),
            partitions: Vec::new(),
        };
        record.read(events);
        for (number, act) in record.acts.iter().enumerate() {
            record.writers.extend(act.sends.iter().map(|((_, message), _)| (*message, number)));
            if act.phase == Phase::Ok {
                record.polled.extend(act.polls.iter().map(|((_, message), _)| *message));
            }
        }
        record.order();
        record
    }

    /// Completed operations in the order of their ends, then those that never ended.
    fn read(&mut self, events: &[ClientEvent]) {
        let mut open: BTreeMap<u64, &ClientEvent> = BTreeMap::new();
        for event in events {
            if event.phase == Phase::Invoke {
                if let Some(left) = open.insert(event.process, event) {
                    self.act(left, left.moment, Phase::Info);
                }
                continue;
            }
            let invoked = open.remove(&event.process).map_or(event.moment, |invoke| invoke.moment);
            self.act(event, invoked, event.phase);
        }
        for left in open.into_values() {
            self.act(left, left.moment, Phase::Info);
        }
    }

    fn act(&mut self, event: &ClientEvent, invoked: Moment, phase: Phase) {
        let moves = matches!(event.f.as_str(), "assign" | "subscribe");
        if !moves && !is_log(&event.f) {
            return;
        }
        let mut act = Act {
            process: event.process,
            phase,
            invoked,
            at: event.moment,
            sends: Vec::new(),
            polls: Vec::new(),
            rebalanced: BTreeSet::new(),
            assigned: None,
        };
        let Value::List(parts) = &event.value else { return };
        if moves {
            act.assigned = Some(parts.iter().map(|key| self.key(key)).collect());
        } else {
            parts.iter().for_each(|part| self.micro(part, &event.f, &mut act));
        }
        if let Some(Value::List(log)) = event.also("rebalance-log") {
            let keys = log.iter().filter_map(|entry| entry.field("keys")).flat_map(Value::members);
            act.rebalanced = keys.map(|key| self.key(key)).collect();
        }
        self.acts.push(act);
    }

    fn micro(&mut self, part: &Value, f: &str, act: &mut Act) {
        match part.members() {
            [name, key, value] if name.is_named("send") && f != "poll" => {
                let (offset, value) = match value.members() {
                    [offset, value] => (offset.as_int(), value),
                    _ => (None, value),
                };
                let message = self.message(key, value);
                act.sends.push((message, offset));
            }
            [name, Value::Map(found), ..] if name.is_named("poll") && f != "send" => {
                for (key, pairs) in found {
                    for pair in pairs.members() {
                        let [offset, value] = pair.members() else { continue };
                        let message = self.message(key, value);
                        act.polls.push((message, offset.as_int()));
                    }
                }
            }
            _ => {}
        }
    }

    /// Keys of JSON objects are strings, whatever they stand for.
    fn key(&mut self, key: &Value) -> u32 {
        let number = match key {
            Value::Str(text) | Value::Keyword(text) => text.parse().ok(),
            _ => None,
        };
        let key = number.map_or_else(|| key.clone(), Value::Int);
        let number = self.keys.insert_full(key).0;
        self.partitions.resize_with(self.keys.len(), Partition::default);
        number as u32
    }

    fn message(&mut self, key: &Value, value: &Value) -> Message {
        let key = self.key(key);
        (key, self.messages.insert_full((key, value.clone())).0 as u32)
    }

    fn order(&mut self) {
        for act in &self.acts {
            let polls = act.polls.iter();
            let sends = act.sends.iter().filter(|_| committed(act, &self.polled));
            for ((key, message), offset) in polls.chain(sends) {
                if let Some(offset) = offset {
                    self.partitions[*key as usize].log.entry(*offset).or_default().insert(*message);
                }
            }
        }
        for partition in &mut self.partitions {
            partition.dense = partition.log.values().filter_map(|messages| messages.first()).copied().collect();
            partition.places = partition.dense.iter().copied().zip(0..).collect();
        }
    }

    /// Whether an operation took effect: it was acknowledged, or somebody polled what it sent.
    pub(super) fn committed(&self, act: &Act) -> bool {
        committed(act, &self.polled)
    }

    /// Where a message is in the order of its partition.
    pub(super) fn place(&self, (key, message): Message) -> Option<usize> {
        self.partitions[key as usize].places.get(&message).copied()
    }

    /// How far it is from one message to another, if both have a place.
    pub(super) fn step(&self, from: Message, to: Message) -> Option<i64> {
        Some(self.place(to)? as i64 - self.place(from)? as i64)
    }

    pub(super) fn show_key(&self, key: u32) -> &Value {
        &self.keys[key as usize]
    }

    pub(super) fn show(&self, message: u32) -> &Value {
        &self.messages[message as usize].1
    }

    /// A message that was polled and never sent, in words.
    pub(super) fn unsent(&self) -> Option<String> {
        let polls = self.acts.iter().flat_map(|act| act.polls.iter().map(move |poll| (act, poll.0)));
        let (act, (key, message)) = polls.into_iter().find(|(_, (_, message))| !self.writers.contains_key(message))?;
        let (who, value, key) = (name(act), self.show(message), self.show_key(key));
        Some(format!("{who} polled {value} from {key}, which nobody sent: record all sends"))
    }
}

fn committed(act: &Act, polled: &BTreeSet<u32>) -> bool {
    match act.phase {
        Phase::Ok => true,
        Phase::Info => act.sends.iter().any(|((_, message), _)| polled.contains(message)),
        _ => false,
    }
}

/// An operation in words.
pub(super) fn name(act: &Act) -> String {
    format!("client-{} at event {}", act.process, act.at.index)
}
