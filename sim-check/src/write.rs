//! Histories written down for other tools: an EDN map or a JSON object a line, as Jepsen, Elle and elle-cli read them.
//!
//! ```
//! use sim_check::History;
//! use sim_check::model::{RegisterOp, RegisterRet};
//! use sim_check::write::{edn, events_of, json};
//!
//! let history = History::new();
//! history.invoke_at(0, RegisterOp::Write(3), 10).ok_at(RegisterRet::Written, 20);
//! history.invoke_at(1, RegisterOp::Read, 30).ok_at(RegisterRet::Value(3), 40);
//!
//! let asked = |op: &RegisterOp<i64>| match op {
//!     RegisterOp::Write(value) => ("write".to_string(), (*value).into()),
//!     RegisterOp::Read => ("read".to_string(), Default::default()),
//! };
//! let told = |ret: &RegisterRet<i64>| match ret {
//!     RegisterRet::Value(value) => Some((*value).into()),
//!     _ => None,
//! };
//! let events = events_of(&history.operations(), asked, told);
//! let mut lines = Vec::new();
//! edn(&mut lines, &events)?;
//! let lines = String::from_utf8(lines).expect("text");
//! assert_eq!(
//!     lines.lines().last(),
//!     Some("{:index 3, :time 40, :type :ok, :process 1, :f :read, :value 3}"),
//! );
//! assert!(sim_check::judge("register", &lines).expect("a history").is_valid());
//! json(&mut std::io::sink(), &events)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fmt;
use std::io::{self, Write};

use crate::history::{Moment, Operation, Outcome};
use crate::read::{ClientEvent, Phase, Value};

/// The events of recorded operations in their order: `asked` names an operation and what it asks for, `told` what it
/// was told, or that its answer is what it asked for.
pub fn events_of<Op, Ret>(
    operations: &[Operation<Op, Ret>],
    asked: impl Fn(&Op) -> (String, Value),
    told: impl Fn(&Ret) -> Option<Value>,
) -> Vec<ClientEvent> {
    let mut events = Vec::with_capacity(operations.len() * 2);
    for operation in operations {
        if operation.ended().is_some() {
            let (f, value) = asked(&operation.op);
            events.push(event(operation.process, Phase::Invoke, f, value, operation.invoked));
        }
        events.push(event_of(operation, &asked, &told));
    }
    events.sort_by_key(|event| event.moment.index);
    events
}

/// The last event of an operation: its end, or its invocation if it has not ended.
pub(crate) fn event_of<Op, Ret>(
    operation: &Operation<Op, Ret>,
    asked: impl Fn(&Op) -> (String, Value),
    told: impl Fn(&Ret) -> Option<Value>,
) -> ClientEvent {
    let (f, value) = asked(&operation.op);
    let (phase, value, moment) = match &operation.outcome {
        Outcome::Ok { ret, at } => (Phase::Ok, told(ret).unwrap_or(value), *at),
        Outcome::Fail { at } => (Phase::Fail, value, *at),
        Outcome::Info { at } => (Phase::Info, value, *at),
        Outcome::Open => (Phase::Invoke, value, operation.invoked),
    };
    event(operation.process, phase, f, value, moment)
}

fn event(process: u64, phase: Phase, f: String, value: Value, moment: Moment) -> ClientEvent {
    ClientEvent { process, phase, f, value, also: Vec::new(), moment }
}

/// Writes an EDN map a line.
pub fn edn(out: &mut impl Write, events: &[ClientEvent]) -> io::Result<()> {
    for event in events {
        let ClientEvent { process, f, value, moment, .. } = event;
        let (Moment { index, time }, phase) = (moment, phase(event));
        write!(out, "{{:index {index}, :time {time}, :type :{phase}, :process {process}, :f :{f}, :value {value}")?;
        event.also.iter().try_for_each(|(name, value)| write!(out, ", :{name} {value}"))?;
        out.write_all(b"}\n")?;
    }
    Ok(())
}

/// Writes a JSON object a line. Keywords become strings, and so do the keys of maps.
pub fn json(out: &mut impl Write, events: &[ClientEvent]) -> io::Result<()> {
    for event in events {
        let (Moment { index, time }, phase) = (event.moment, phase(event));
        let (process, f, value) = (event.process, Quoted(&event.f), Json(&event.value));
        write!(
            out,
            "{{\"index\":{index},\"time\":{time},\"type\":\"{phase}\",\"process\":{process},\"f\":{f},\"value\":{value}"
        )?;
        event.also.iter().try_for_each(|(name, value)| write!(out, ",{}:{}", Quoted(name), Json(value)))?;
        out.write_all(b"}\n")?;
    }
    Ok(())
}

fn phase(event: &ClientEvent) -> &'static str {
    match event.phase {
        Phase::Invoke => "invoke",
        Phase::Ok => "ok",
        Phase::Fail => "fail",
        Phase::Info => "info",
    }
}

/// A value as JSON.
struct Json<'v>(&'v Value);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Nil => f.write_str("null"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Str(text) | Value::Keyword(text) | Value::Other(text) => Quoted(text).fmt(f),
            Value::List(members) => {
                f.write_str("[")?;
                for (n, member) in members.iter().enumerate() {
                    write!(f, "{}{}", if n > 0 { "," } else { "" }, Json(member))?;
                }
                f.write_str("]")
            }
            Value::Map(entries) => {
                f.write_str("{")?;
                for (n, (key, value)) in entries.iter().enumerate() {
                    let key = key.clone().into_text();
                    write!(f, "{}{}:{}", if n > 0 { "," } else { "" }, Quoted(&key), Json(value))?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A string of JSON.
struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c if c.is_control() => {
                    let mut units = [0; 2];
                    c.encode_utf16(&mut units).iter().try_for_each(|unit| write!(f, "\\u{unit:04x}"))?;
                }
                c => fmt::Write::write_char(f, c)?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read;

    const TEXT: &str = "{:process 1, :type :invoke, :f :add, :value \"a\\\"\\n\\u00e9\", :time 3}
                        {:process :nemesis, :type :info, :f :start}
                        {:process 1, :type :ok, :f :add, :value [1 nil {\"k\" true}], :time 4, :link 7}";

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let events = read::events(TEXT).expect("a history");
        let renumbered = |mut events: Vec<ClientEvent>| {
            (0..).zip(&mut events).for_each(|(index, event)| event.moment.index = index);
            events
        };
        let (mut as_edn, mut as_json) = (Vec::new(), Vec::new());
        edn(&mut as_edn, &events).expect("memory");
        json(&mut as_json, &events).expect("memory");
        for text in [as_edn, as_json] {
            let text = String::from_utf8(text).expect("text");
            assert_eq!(read::events(&text).expect(&text), renumbered(events.clone()), "{text}");
        }
    }
}
