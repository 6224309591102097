//! EDN and JSON histories: one vector of maps, or one map after another.

use std::collections::BTreeMap;

use super::edn::Reader;
use super::event::{Event, Phase};
use super::value::Value;
use super::{Fault, Format};
use crate::history::Moment;

const SHAPE: &str = "an event is a map such as {:process 0, :type :invoke, :f :read, :value nil}";
const TYPES: &str = ":type that is :invoke, :ok, :fail or :info";

/// Keys of an event that are kept beside the usual ones.
const KEPT: &[&str] = &["rebalance-log", "generation", "position", "link"];

/// The events of an EDN or JSON history; `lenient` ones may lack `:process` and `:f`.
pub(super) fn events(text: &str, format: Format, lenient: bool) -> Result<Vec<Event<'_>>, Fault> {
    read_all(Events { lenient, ..Events::new(text, format, &mut Names::default())? })
}

/// The same with those of nemeses, under [`NEMESIS`].
pub(super) fn events_and_faults(text: &str, format: Format) -> Result<Vec<Event<'_>>, Fault> {
    read_all(Events { lenient: true, faults: true, ..Events::new(text, format, &mut Names::default())? })
}

/// In place of the number of a nemesis.
pub(super) const NEMESIS: u64 = u64::MAX;

/// Clients whose process is a name and no number get one: this, and the numbers after it, as they appear.
const FIRST_NAMED: u64 = 1_000_000_000;

/// The numbers of clients that have names.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, u64>);

impl Names {
    /// The number of a process, unless it is no client.
    fn client(&mut self, process: Value) -> Option<u64> {
        let name = match process {
            Value::Int(number) => return u64::try_from(number).ok(),
            Value::Str(name) | Value::Keyword(name) | Value::Other(name) if name != "nemesis" => name,
            _ => return None,
        };
        let number = name.parse().ok();
        Some(number.unwrap_or_else(|| {
            let next = FIRST_NAMED + self.0.len() as u64;
            *self.0.entry(name).or_insert(next)
        }))
    }
}

fn read_all<'t>(mut reader: Events<'t, '_>) -> Result<Vec<Event<'t>>, Fault> {
    let mut events = Vec::new();
    while let Some(event) = reader.next(Reader::value)? {
        events.push(event);
    }
    Ok(events)
}

/// The events of a history, one after another.
pub(super) struct Events<'t, 'n> {
    reader: Reader<'t>,
    names: &'n mut Names,
    /// Whether there is anything but blanks and comments.
    begun: bool,
    /// The bracket that ends them, if one begins them.
    close: Option<u8>,
    index: u64,
    /// Whether that bracket has come.
    over: bool,
    /// Whether an event may lack `:process` and `:f`.
    lenient: bool,
    /// Whether nemeses count.
    faults: bool,
}

/// A place between two events.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    begun: bool,
    close: Option<u8>,
    over: bool,
    index: u64,
    pub(super) offset: usize,
}

impl<'t, 'n> Events<'t, 'n> {
    pub(super) fn new(text: &'t str, format: Format, names: &'n mut Names) -> Result<Self, Fault> {
        let mut reader = if format == Format::Json { Reader::of_json(text) } else { Reader::new(text) };
        let first = reader.peek()?;
        let close = match first {
            Some(b'[') => Some(b']'),
            Some(b'(') => Some(b')'),
            _ => None,
        };
        if close.is_some() {
            reader.bump();
        }
        let begun = first.is_some();
        Ok(Self { reader, names, begun, close, over: false, index: 0, lenient: false, faults: false })
    }

    /// The events in a piece of a history, from where an earlier piece had come. An event without `:process` is
    /// of process 0, and one without `:f` is a `:txn`.
    pub(super) fn resume(text: &'t str, format: Format, place: &Place, names: &'n mut Names) -> Result<Self, Fault> {
        if !place.begun {
            return Ok(Self { lenient: true, ..Self::new(text, format, names)? });
        }
        let reader = if format == Format::Json { Reader::of_json(text) } else { Reader::new(text) };
        let Place { close, over, index, .. } = *place;
        Ok(Self { reader, names, begun: true, close, over, index, lenient: true, faults: false })
    }

    /// Where this is.
    pub(super) fn place(&self) -> Place {
        let (close, over, index) = (self.close, self.over, self.index);
        let offset = if self.begun { self.reader.offset() } else { 0 };
        Place { begun: self.begun, close, over, index, offset }
    }

    /// The next event of a client, its value read by `value`.
    pub(super) fn next<V: Default>(
        &mut self,
        mut value: impl FnMut(&mut Reader<'t>) -> Result<V, Fault>,
    ) -> Result<Option<Event<'t, V>>, Fault> {
        while !self.ended()? {
            let index = self.index;
            self.index += 1;
            let event = self.event(index, &mut value)?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    fn ended(&mut self) -> Result<bool, Fault> {
        match self.close {
            None => return Ok(self.reader.peek()?.is_none()),
            Some(close) if !self.over && !self.reader.closes(close)? => return Ok(false),
            Some(_) => self.over = true,
        }
        match self.reader.peek()? {
            None => Ok(true),
            Some(_) => Err(self.reader.fault(
                "expected the end of the text after the vector of events",
                "remove the rest or put it into a file of its own",
            )),
        }
    }

    /// The event in the next map, unless it is of a process that does not count.
    fn event<V: Default>(
        &mut self,
        index: u64,
        value: &mut impl FnMut(&mut Reader<'t>) -> Result<V, Fault>,
    ) -> Result<Option<Event<'t, V>>, Fault> {
        let reader = &mut self.reader;
        if reader.peek()? != Some(b'{') {
            return Err(reader.fault("expected an event", SHAPE));
        }
        let offset = reader.offset();
        reader.bump();
        let mut fields = Fields::default();
        while !reader.closes(b'}')? {
            fields.read(reader, value)?;
        }
        if self.lenient {
            fields.process = fields.process.or(Some(Value::Int(0)));
            fields.f = fields.f.or(Some("txn"));
        }
        let process = fields.process.take().ok_or_else(|| missing(offset, ":process"))?;
        match self.names.client(process).or(self.faults.then_some(NEMESIS)) {
            Some(process) => fields.event(offset, process, index).map(Some),
            None => Ok(None),
        }
    }
}

/// The fields of an event that were met so far.
#[derive(Default)]
struct Fields<'t, V> {
    process: Option<Value>,
    phase: Option<&'t str>,
    f: Option<&'t str>,
    key: Value,
    value: V,
    also: Vec<(&'t str, Value)>,
    time: u64,
}

impl<'t, V> Fields<'t, V> {
    fn read(
        &mut self,
        reader: &mut Reader<'t>,
        value: &mut impl FnMut(&mut Reader<'t>) -> Result<V, Fault>,
    ) -> Result<(), Fault> {
        let Some(name) = reader.word()? else {
            reader.value()?;
            reader.value()?;
            return Ok(());
        };
        match name {
            "process" => self.process = Some(reader.value()?),
            "type" => self.phase = word(reader)?,
            "f" => self.f = word(reader)?,
            "key" => self.key = reader.value()?,
            "value" => self.value = value(reader)?,
            "time" => self.time = time(&reader.value()?),
            kept if KEPT.contains(&kept) => self.also.push((kept, reader.value()?)),
            _ => drop(reader.value()?),
        }
        Ok(())
    }

    fn event(self, offset: usize, process: u64, index: u64) -> Result<Event<'t, V>, Fault> {
        Ok(Event {
            offset,
            process,
            phase: self.phase.and_then(Phase::named).ok_or_else(|| missing(offset, TYPES))?,
            f: self.f.ok_or_else(|| missing(offset, ":f"))?,
            key: self.key,
            value: self.value,
            also: self.also,
            moment: Moment { index, time: self.time },
        })
    }
}

fn missing(offset: usize, what: &str) -> Fault {
    Fault::new(offset, format!("this event has no {what}"), SHAPE)
}

/// The keyword or string that comes next, without a colon; a value of another kind is skipped.
fn word<'t>(reader: &mut Reader<'t>) -> Result<Option<&'t str>, Fault> {
    let word = reader.word()?;
    if word.is_none() {
        reader.value()?;
    }
    Ok(word.map(|word| word.strip_prefix(':').unwrap_or(word)))
}

fn time(value: &Value) -> u64 {
    match value {
        Value::Int(time) => u64::try_from(*time).unwrap_or(0),
        _ => 0,
    }
}
