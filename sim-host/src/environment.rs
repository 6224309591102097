//! The environment variables that `cargo test` and `cargo sim` both understand.

use std::time::Duration;

use crate::watch::Limits;

/// A variable; an empty one counts as absent.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A variable that is a whole number.
///
/// # Errors
/// Says what it is instead.
pub fn number(name: &str) -> Result<Option<u64>, String> {
    let Some(text) = variable(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{name}={}: expected a whole number", text.escape_debug()))
}

/// How much real time a run (`SIM_WALL_LIMIT`) and a poll (`SIM_POLL_LIMIT`) may take.
///
/// # Errors
/// For what is no number of seconds, or not between a second and a year.
pub fn limits() -> Result<Limits, String> {
    let default = Limits::default();
    Ok(Limits {
        run: seconds("SIM_WALL_LIMIT")?.unwrap_or(default.run),
        poll: seconds("SIM_POLL_LIMIT")?.unwrap_or(default.poll),
    })
}

fn seconds(name: &str) -> Result<Option<Duration>, String> {
    match number(name).map_err(|problem| format!("{problem} of seconds"))? {
        Some(seconds @ 1..=31_536_000) => Ok(Some(Duration::from_secs(seconds))),
        Some(seconds) => Err(format!("{name}={seconds}: expected 1 to 31536000 seconds")),
        None => Ok(None),
    }
}
