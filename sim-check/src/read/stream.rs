//! Histories too long to hold: read event by event, in pieces.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};

use super::edn::{BYTE_ORDER_MARK, Reader};
use super::event::Event;
use super::jepsen_edn::{Events, Names, Place};
use super::{CUT, Fault, Format, ReadError};

/// How much is asked for at a time.
const PIECE: usize = 1 << 18;

/// Why a source is not a history.
#[derive(Debug)]
pub enum SourceError {
    /// It cannot be read, or is not text.
    Source(io::Error),
    /// Its text is not a history.
    Text(ReadError),
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceError::Source(error) => error.fmt(f),
            SourceError::Text(error) => error.fmt(f),
        }
    }
}

impl Error for SourceError {}

/// The text that was read and not used yet, and where it stands in the whole.
struct Piece {
    bytes: Vec<u8>,
    /// How much of it is used.
    used: usize,
    /// How much of it is known to be text.
    text: usize,
    over: bool,
    before: u64,
    lines: usize,
    column: usize,
}

/// Reads the values of events by `value`, and hands each event to `note`.
pub(super) fn events<N, V: Default>(
    source: impl Read,
    value: impl Fn(&mut N, &mut Reader<'_>) -> Result<V, Fault>,
    note: impl Fn(&mut N, Event<'_, V>) -> Result<(), Fault>,
    notes: &mut N,
) -> Result<(), SourceError> {
    let mut source = source;
    let mut piece = Piece { bytes: vec![], used: 0, text: 0, over: false, before: 0, lines: 0, column: 0 };
    let (mut place, mut names) = (Place::default(), Names::default());
    let mut format = None;
    loop {
        piece.read_more(&mut source).map_err(SourceError::Source)?;
        // What a history is written in shows when something of it is there.
        if format.is_none() && !piece.over && piece.begins_blank() {
            continue;
        }
        let format = *format.get_or_insert_with(|| Format::of(piece.rest()));
        let done = all_of((&piece, format), &mut place, &mut names, (&value, &note), notes);
        if let Err(fault) = done {
            return Err(SourceError::Text(piece.error(fault)));
        }
        piece.used += place.offset;
        if piece.over {
            return Ok(());
        }
    }
}

/// Notes all events that a piece has whole; leaves `place` behind the last of them.
fn all_of<N, V: Default>(
    (piece, format): (&Piece, Format),
    place: &mut Place,
    names: &mut Names,
    (value, note): (
        impl Fn(&mut N, &mut Reader<'_>) -> Result<V, Fault>,
        impl Fn(&mut N, Event<'_, V>) -> Result<(), Fault>,
    ),
    notes: &mut N,
) -> Result<(), Fault> {
    let begun = *place;
    place.offset = 0;
    let cut = |fault: &Fault| fault.advice == CUT && !piece.over;
    let mut events = match Events::resume(piece.rest(), format, &begun, names) {
        Err(fault) if cut(&fault) => return Ok(()),
        events => events?,
    };
    *place = events.place();
    loop {
        match events.next(|reader| value(notes, reader)) {
            Err(fault) if cut(&fault) => return Ok(()),
            Err(fault) => return Err(fault),
            Ok(None) => return Ok(()),
            Ok(Some(event)) => note(notes, event)?,
        }
        *place = events.place();
    }
}

impl Piece {
    /// The text at hand.
    fn rest(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.used..self.text]).unwrap_or_default()
    }

    fn begins_blank(&self) -> bool {
        let blank = |c: char| c.is_whitespace() || matches!(c, '[' | '(' | '{' | ',' | BYTE_ORDER_MARK);
        self.rest().chars().all(blank)
    }

    /// Drops what was used and reads as much again as is left, or a piece if that is more.
    fn read_more(&mut self, source: &mut impl Read) -> io::Result<()> {
        let used = &self.bytes[..self.used];
        self.lines += used.iter().filter(|byte| **byte == b'\n').count();
        let line = used.iter().rposition(|byte| *byte == b'\n').map_or(used, |newline| &used[newline + 1..]);
        let characters = String::from_utf8_lossy(line).chars().count();
        self.column = if line.len() == used.len() { self.column + characters } else { characters };
        self.before += self.used as u64;
        self.bytes.drain(..self.used);
        let wanted = PIECE.max(self.bytes.len());
        let read = source.by_ref().take(wanted as u64).read_to_end(&mut self.bytes)?;
        self.over = read == 0;
        self.used = 0;
        self.text = match std::str::from_utf8(&self.bytes) {
            Ok(text) => text.len(),
            Err(error) if error.error_len().is_none() && !self.over => error.valid_up_to(),
            Err(error) => {
                let place = self.before + error.valid_up_to() as u64;
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is not text from byte {place} on")));
            }
        };
        Ok(())
    }

    fn error(&self, fault: Fault) -> ReadError {
        let error = ReadError::new(self.rest(), fault);
        let column = if error.line == 1 { error.column + self.column } else { error.column };
        ReadError { line: error.line + self.lines, column, ..error }
    }
}
