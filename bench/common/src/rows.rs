//! Histories in the simplest form there is, so that every checker is given the same operations and none has to read Jepsen's.
//!
//! A line is an operation of a register or of a store of strings, in fields between tabs: client, call, return (the
//! position of an event, the largest number for one that never came), what (`read`, `write`, `cas`, `get`, `put`,
//! `append`), key, value, second value. A value that is not known is `?`, that of an empty register `nil`.

use std::time::{Duration, Instant};

/// One operation.
#[derive(Clone, Debug)]
pub struct Row {
    /// Who.
    pub client: u32,
    /// When it was called.
    pub call: i64,
    /// When it returned.
    pub end: i64,
    /// What it was.
    pub f: String,
    /// To what.
    pub key: String,
    /// What was read or written, or compared with.
    pub value: String,
    /// What was to be there instead, and whether it was (`true`, `false`, `?`).
    pub second: String,
}

/// The operations in a file.
pub fn read(path: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("a file of operations");
    text.lines().map(row).collect()
}

fn row(line: &str) -> Row {
    let fields: Vec<&str> = line.split('\t').collect();
    let [client, call, end, f, key, value, second] = fields[..] else { panic!("seven fields: {line:?}") };
    let number = |text: &str| text.parse().expect("a number");
    let text = |text: &str| text.to_string();
    let client = client.parse().expect("a number");
    Row {
        client,
        call: number(call),
        end: number(end),
        f: text(f),
        key: text(key),
        value: text(value),
        second: text(second),
    }
}

/// Runs a check of a file again and again for a while, and prints the least time it took.
pub fn measure(path: &str, check: impl FnMut() -> bool) {
    let mut check = check;
    let (begun, mut least, mut runs) = (Instant::now(), Duration::MAX, 0);
    let mut valid = true;
    while runs == 0 || (runs < 200 && begun.elapsed() < Duration::from_millis(300)) {
        let start = Instant::now();
        valid = check();
        least = least.min(start.elapsed());
        runs += 1;
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    println!("{{\"file\":\"{name}\",\"ns\":{},\"valid\":{valid}}}", least.as_nanos());
}
