//! Every check that is one pass, against its definition written out in full, on many small histories.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::dice::Dice;
use crate::history::Moment;
use crate::read::Value;

mod logs;
mod orders;
mod queues;
mod sets;
mod sums;

const HISTORIES: u64 = 100_000;

impl Dice {
    fn int(&mut self, sides: u64) -> Value {
        Value::Int(self.roll(sides) as i64)
    }

    fn elements(&mut self) -> Value {
        Value::List((0..4).filter(|_| self.roll(4) > 0).map(Value::Int).collect())
    }
}

/// What an operation asks for, and what it may be answered.
type Draw = fn(&mut Dice) -> (&'static str, Value, Value);

/// A few overlapping operations of three clients, some failed, some of unknown outcome.
fn random(dice: &mut Dice, draw: Draw) -> Vec<ClientEvent> {
    let mut events: Vec<ClientEvent> = Vec::new();
    let mut open: BTreeMap<u64, (&'static str, Value, Value)> = BTreeMap::new();
    for _ in 0..4 + dice.roll(9) {
        let process = dice.roll(3);
        let (phase, f, value) = match open.remove(&process) {
            None => {
                let asked = draw(dice);
                open.insert(process, asked.clone());
                (Phase::Invoke, asked.0, asked.1)
            }
            Some((f, asked, answer)) => match dice.roll(8) {
                0 => (Phase::Fail, f, asked),
                1 => (Phase::Info, f, asked),
                _ => (Phase::Ok, f, answer),
            },
        };
        let moment = Moment { index: events.len() as u64, time: 0 };
        events.push(ClientEvent { process, phase, f: f.to_string(), value, also: Vec::new(), moment });
    }
    events
}

/// What a check may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Fine,
    Broken,
    Open,
}

fn said(verdict: &Verdict) -> Said {
    match verdict {
        Verdict::Valid | Verdict::Vacuous(_) => Said::Fine,
        Verdict::Invalid(_) => Said::Broken,
        Verdict::Unknown(_) => Said::Open,
    }
}

/// An operation in full: invocation, completion.
type Pair<'e> = (&'e ClientEvent, Option<&'e ClientEvent>);

fn pairs(events: &[ClientEvent]) -> Vec<Pair<'_>> {
    let invoked = events.iter().enumerate().filter(|(_, event)| event.phase == Phase::Invoke);
    let end = |(n, event): (usize, &ClientEvent)| events[n + 1..].iter().find(|end| end.process == event.process);
    invoked.map(|(n, event)| (event, end((n, event)))).collect()
}

fn ended<'e>(pair: &Pair<'e>, phase: Phase) -> Option<&'e ClientEvent> {
    pair.1.filter(|end| end.phase == phase)
}

fn oks<'e>(events: &'e [ClientEvent], f: &str) -> Vec<&'e ClientEvent> {
    events.iter().filter(|event| event.phase == Phase::Ok && event.f == f).collect()
}

/// Agreement on random histories, of which a fair part must be fine and a fair part broken.
fn agree(draw: Draw, check: fn() -> Box<dyn Fold>, definition: fn(&[ClientEvent]) -> Said) {
    let (mut fine, mut broken) = (0, 0);
    for seed in 0..HISTORIES {
        let events = random(&mut Dice(seed << 20), draw);
        let verdict = fold(&mut *check(), &events);
        let expected = definition(&events);
        assert_eq!(said(&verdict), expected, "{verdict} of {events:#?}");
        fine += u64::from(expected == Said::Fine);
        broken += u64::from(expected == Said::Broken);
    }
    assert!(fine > HISTORIES / 100 && broken > HISTORIES / 100, "{fine} fine and {broken} broken of {HISTORIES}");
}

fn broken_if(broken: bool) -> Said {
    if broken { Said::Broken } else { Said::Fine }
}
