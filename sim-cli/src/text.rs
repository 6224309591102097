//! Words on a terminal.

use std::io::Write;

use sim_core::event::printable;

/// Puts the answer of a command on standard output. That nobody reads it to its end (`| head`) is no error.
pub(crate) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Puts a line for whoever watches on standard error.
pub(crate) fn remark(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A text from outside as part of one line.
pub(crate) fn inline(text: &str) -> String {
    printable(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// So many of a thing: `1 seed`, `3,400 seeds`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    format!("{} {thing}{}", indicatif::HumanCount(number), if number == 1 { "" } else { "s" })
}
