//! EDN histories: one vector of maps, or one map after another.

use super::Fault;
use super::edn::Reader;
use super::event::{Event, Phase};
use super::value::Value;
use crate::history::Moment;

const SHAPE: &str = "an event is a map such as {:process 0, :type :invoke, :f :read, :value nil}";
const TYPES: &str = ":type that is :invoke, :ok, :fail or :info";

/// The events of an EDN history.
pub(super) fn events(text: &str) -> Result<Vec<Event<'_>>, Fault> {
    let mut reader = Reader::new(text);
    let mut events = Vec::new();
    let close = match reader.peek()? {
        Some(b'[') => Some(b']'),
        Some(b'(') => Some(b')'),
        _ => None,
    };
    if close.is_some() {
        reader.bump();
    }
    for index in 0.. {
        let ended = match close {
            Some(close) => reader.closes(close)?,
            None => reader.peek()?.is_none(),
        };
        if ended {
            break;
        }
        events.extend(event(&mut reader, index)?);
    }
    match reader.peek()? {
        None => Ok(events),
        Some(_) => Err(reader.fault(
            "expected the end of the text after the vector of events",
            "remove the rest or put it into a file of its own",
        )),
    }
}

/// The fields of an event that were met so far.
#[derive(Default)]
struct Fields<'t> {
    process: Option<Value>,
    phase: Option<&'t str>,
    f: Option<&'t str>,
    key: Value,
    value: Value,
    time: u64,
}

/// The event in the next map, unless it is of a process without a number.
fn event<'t>(reader: &mut Reader<'t>, index: u64) -> Result<Option<Event<'t>>, Fault> {
    if reader.peek()? != Some(b'{') {
        return Err(reader.fault("expected an event", SHAPE));
    }
    let offset = reader.offset();
    reader.bump();
    let mut fields = Fields::default();
    while !reader.closes(b'}')? {
        fields.read(reader)?;
    }
    let missing = |what| Fault::new(offset, format!("this event has no {what}"), SHAPE);
    let process = match fields.process.ok_or_else(|| missing(":process"))? {
        Value::Int(process) if process >= 0 => process.unsigned_abs(),
        _ => return Ok(None),
    };
    Ok(Some(Event {
        offset,
        process,
        phase: fields.phase.and_then(Phase::named).ok_or_else(|| missing(TYPES))?,
        f: fields.f.ok_or_else(|| missing(":f"))?,
        key: fields.key,
        value: fields.value,
        moment: Moment { index, time: fields.time },
    }))
}

impl<'t> Fields<'t> {
    fn read(&mut self, reader: &mut Reader<'t>) -> Result<(), Fault> {
        let Some(name) = reader.keyword()? else {
            reader.value()?;
            reader.value()?;
            return Ok(());
        };
        match name {
            "process" => self.process = Some(reader.value()?),
            "type" => self.phase = word(reader)?,
            "f" => self.f = word(reader)?,
            "key" => self.key = reader.value()?,
            "value" => self.value = reader.value()?,
            "time" => self.time = time(&reader.value()?),
            _ => drop(reader.value()?),
        }
        Ok(())
    }
}

/// The keyword that comes next; a value of another kind is skipped.
fn word<'t>(reader: &mut Reader<'t>) -> Result<Option<&'t str>, Fault> {
    let word = reader.keyword()?;
    if word.is_none() {
        reader.value()?;
    }
    Ok(word)
}

fn time(value: &Value) -> u64 {
    match value {
        Value::Int(time) => u64::try_from(*time).unwrap_or(0),
        _ => 0,
    }
}
