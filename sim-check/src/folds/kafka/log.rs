//! What is wrong with the log itself, and with what came out of it.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{Partition, Record, name};
use super::{KafkaReport, Kind};
use crate::read::Phase;

pub(super) fn check(record: &Record, report: &mut KafkaReport) {
    for (key, partition) in (0..).zip(&record.partitions) {
        offsets(record, key, partition, report);
        lost(record, key, partition, report);
    }
    polls(record, report);
    unseen(record, report);
}

/// The event that first mentions one of some messages.
fn first_event(record: &Record, messages: &BTreeSet<u32>) -> u64 {
    let mentions = |act: &&super::record::Act| {
        act.sends.iter().chain(&act.polls).any(|((_, message), _)| messages.contains(message))
    };
    record.acts.iter().find(mentions).map_or(0, |act| act.at.index)
}

/// Two messages at one offset, one message at two.
fn offsets(record: &Record, key: u32, partition: &Partition, report: &mut KafkaReport) {
    let mut at: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    let name = record.show_key(key);
    for (offset, messages) in &partition.log {
        messages.iter().for_each(|message| at.entry(*message).or_default().push(*offset));
        if messages.len() > 1 {
            let values = super::super::some(messages.iter().map(|message| record.show(*message)));
            let story = format!("offset {offset} of {name} held {values}");
            report.add(Kind::InconsistentOffsets, first_event(record, messages), story);
        }
    }
    for (message, offsets) in at.iter().filter(|(_, offsets)| offsets.len() > 1) {
        let story = format!("{} is in {name} at offsets {offsets:?}", record.show(*message));
        report.add(Kind::Duplicate, first_event(record, &BTreeSet::from([*message])), story);
    }
}

/// Messages that took effect before one that was polled, and were not polled themselves.
fn lost(record: &Record, key: u32, partition: &Partition, report: &mut KafkaReport) {
    let (mut first, mut last) = (BTreeMap::new(), BTreeMap::new());
    for (place, messages) in partition.log.values().enumerate() {
        for message in messages {
            first.entry(*message).or_insert(place);
            last.insert(*message, place);
        }
    }
    let bound = first.iter().filter(|(message, _)| record.polled.contains(message)).map(|(_, place)| *place).max();
    let Some(bound) = bound else { return };
    let seen =
        partition.log.values().nth(bound).and_then(|at| at.iter().find(|message| record.polled.contains(message)));
    let due = last.iter().filter(|(message, place)| **place <= bound && !record.polled.contains(message));
    for (message, _) in due {
        let Some(writer) = record.writers.get(message).map(|writer| &record.acts[*writer]) else { continue };
        if record.committed(writer) {
            let story = format!(
                "{} was sent to {} by {}, and nobody polled it, although {} after it was polled",
                record.show(*message),
                record.show_key(key),
                name(writer),
                seen.map_or_else(String::new, |seen| record.show(*seen).to_string()),
            );
            report.add(Kind::LostWrite, writer.at.index, story);
        }
    }
}

/// Polls of what failed, and of what the poller itself sent.
fn polls(record: &Record, report: &mut KafkaReport) {
    let failed: BTreeSet<u32> = record
        .acts
        .iter()
        .filter(|act| act.phase == Phase::Fail)
        .flat_map(|act| act.sends.iter().map(|((_, message), _)| *message))
        .collect();
    for act in &record.acts {
        for ((key, message), _) in &act.polls {
            let (value, key) = (record.show(*message), record.show_key(*key));
            if act.phase == Phase::Ok && failed.contains(message) {
                let writer = &record.acts[record.writers[message]];
                let story = format!("{} polled {value} from {key}, which {} failed to send", name(act), name(writer));
                report.add(Kind::G1a, act.at.index, story);
            }
            if act.sends.iter().any(|((_, own), _)| own == message) {
                let story = format!("{} polled {value} from {key}, which it sends itself", name(act));
                report.add(Kind::PrecommittedRead, act.at.index, story);
            }
        }
    }
}

/// Messages that were acknowledged and never polled.
fn unseen(record: &Record, report: &mut KafkaReport) {
    for act in record.acts.iter().filter(|act| act.phase == Phase::Ok) {
        for ((key, message), _) in act.sends.iter().filter(|((_, message), _)| !record.polled.contains(message)) {
            let (value, key) = (record.show(*message), record.show_key(*key));
            let story = format!("{} sent {value} to {key}, and nobody ever polled it", name(act));
            report.add(Kind::Unseen, act.at.index, story);
        }
    }
}
