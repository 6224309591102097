//! Text logs: one line an event, between lines of other kinds that are skipped.

use super::edn::Reader;
use super::event::{Event, Phase};
use super::value::Value;
use super::{CUT, Fault};
use crate::history::Moment;

const HEADER: [&str; 3] = ["INFO", "jepsen.util", "-"];
const SHAPE: &str = "an event is a process, a type such as :invoke, an operation and a value";

/// The events of a log.
pub(super) fn events(text: &str) -> Result<Vec<Event<'_>>, Fault> {
    let mut events = Vec::new();
    let mut headed = text.trim().is_empty();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let whole = line.ends_with('\n');
        if let Some(rest) = after_header(line) {
            headed = true;
            let start = offset + (line.len() - rest.len());
            events.extend(event(rest.trim_end(), start, events.len() as u64)?);
        } else if !whole && begins_header(line) {
            return Err(Fault::new(offset + line.len(), "the last line ends in its head", CUT));
        }
        offset += line.len();
    }
    if !headed {
        return Err(Fault::new(0, "this is neither EDN nor a log with lines of jepsen.util", SHAPE));
    }
    Ok(events)
}

/// What follows the head of a line that is an event.
fn after_header(line: &str) -> Option<&str> {
    HEADER.iter().try_fold(line, |rest, word| rest.trim_start().strip_prefix(word))
}

/// Whether a line is a beginning of a head.
fn begins_header(line: &str) -> bool {
    let mut words = line.split_whitespace().zip(HEADER);
    !line.trim().is_empty() && words.all(|(word, head)| head.starts_with(word))
}

/// The event in a line, unless it is of a process without a number.
fn event(line: &str, start: usize, index: u64) -> Result<Option<Event<'_>>, Fault> {
    let at = |mut fault: Fault| {
        fault.offset += start;
        fault
    };
    let mut reader = Reader::new(line);
    reader.peek().map_err(at)?;
    let offset = start + reader.offset();
    let Ok(process) = reader.token().parse() else {
        return Ok(None);
    };
    let (phase, f, value) = rest(&mut reader).map_err(at)?;
    let moment = Moment { index, time: 0 };
    Ok(Some(Event { offset, process, phase, f, key: Value::Nil, value, also: vec![], moment }))
}

fn rest<'t>(reader: &mut Reader<'t>) -> Result<(Phase, &'t str, Value), Fault> {
    reader.peek()?;
    let place = reader.offset();
    let Some(phase) = reader.keyword()?.and_then(Phase::named) else {
        return Err(Fault::new(place, "expected :invoke, :ok, :fail or :info", SHAPE));
    };
    let Some(f) = reader.keyword()?.filter(|f| !f.is_empty()) else {
        return Err(reader.fault("expected an operation such as :read", SHAPE));
    };
    Ok((phase, f, reader.value()?))
}
