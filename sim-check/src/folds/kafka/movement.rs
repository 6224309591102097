//! How clients move along partitions: within an operation, and from one to the next.

use std::collections::BTreeMap;

use super::record::{Act, Message, Record, name};
use super::{KafkaReport, Kind};
use crate::read::Phase;

pub(super) fn check(record: &Record, report: &mut KafkaReport) {
    for act in &record.acts {
        for (key, polls) in by_key(&act.polls) {
            if !act.rebalanced.contains(&key) {
                within(record, act, &polls, (Kind::IntPollSkip, Kind::IntNonmonotonicPoll), report);
            }
        }
        for sends in by_key(&act.sends).values() {
            within(record, act, sends, (Kind::IntSendSkip, Kind::IntNonmonotonicSend), report);
        }
    }
    between(record, report);
}

fn by_key(messages: &[(Message, Option<i64>)]) -> BTreeMap<u32, Vec<Message>> {
    let mut keys: BTreeMap<u32, Vec<Message>> = BTreeMap::new();
    messages.iter().for_each(|(message, _)| keys.entry(message.0).or_default().push(*message));
    keys
}

/// Two messages of a partition, one after the other, told as what the step between them is.
fn step(record: &Record, from: Message, to: Message, (skip, back): (Kind, Kind)) -> Option<(Kind, String)> {
    let step = record.step(from, to)?;
    let (before, after, key) = (record.show(from.1), record.show(to.1), record.show_key(from.0));
    match step {
        1 => None,
        2.. => {
            let start = record.place(from)? + 1;
            let skipped = &record.partitions[from.0 as usize].dense[start..start + step as usize - 1];
            let skipped = super::super::some(skipped.iter().map(|message| record.show(*message)));
            Some((skip, format!("went in {key} from {before} to {after}, past {skipped}")))
        }
        _ => Some((back, format!("went in {key} from {before} back to {after}"))),
    }
}

fn within(record: &Record, act: &Act, messages: &[Message], kinds: (Kind, Kind), report: &mut KafkaReport) {
    for pair in messages.windows(2) {
        if let Some((kind, story)) = step(record, pair[0], pair[1], kinds) {
            report.add(kind, act.at.index, format!("{} {story}", name(act)));
        }
    }
}

/// Where a client was in each partition: the operation, and the last message of it.
#[derive(Default)]
struct Position<'r> {
    polled: BTreeMap<u32, (&'r Act, Message)>,
    sent: BTreeMap<u32, (&'r Act, Message)>,
}

fn between(record: &Record, report: &mut KafkaReport) {
    let mut positions: BTreeMap<u64, Position<'_>> = BTreeMap::new();
    for act in &record.acts {
        let position = positions.entry(act.process).or_default();
        if let Some(keys) = act.assigned.as_ref().filter(|_| act.phase != Phase::Fail) {
            position.polled.retain(|key, _| keys.contains(key));
            position.sent.retain(|key, _| keys.contains(key));
        }
        let polls = by_key(&act.polls);
        go_on(record, act, &position.polled, &polls, (Kind::PollSkip, Kind::NonmonotonicPoll), report);
        if act.phase == Phase::Ok {
            leave(act, &mut position.polled, &polls);
        }
        if act.phase != Phase::Fail {
            let sends = by_key(&act.sends);
            go_on(record, act, &position.sent, &sends, (Kind::IntSendSkip, Kind::NonmonotonicSend), report);
            leave(act, &mut position.sent, &sends);
        }
    }
}

fn go_on(
    record: &Record,
    act: &Act,
    last: &BTreeMap<u32, (&Act, Message)>,
    now: &BTreeMap<u32, Vec<Message>>,
    kinds: (Kind, Kind),
    report: &mut KafkaReport,
) {
    for (key, messages) in now {
        let Some((before, from)) = last.get(key) else { continue };
        match step(record, *from, messages[0], kinds) {
            // Others may send in between.
            None | Some((Kind::IntSendSkip, _)) => {}
            Some((kind, story)) => {
                let after = before.at.index;
                report.add(kind, act.at.index, format!("{}, after event {after}, {story}", name(act)));
            }
        }
    }
}

fn leave<'r>(act: &'r Act, last: &mut BTreeMap<u32, (&'r Act, Message)>, now: &BTreeMap<u32, Vec<Message>>) {
    last.extend(now.iter().filter_map(|(key, messages)| Some((*key, (act, *messages.last()?)))));
}
