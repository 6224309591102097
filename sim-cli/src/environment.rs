//! The variables that `cargo test` understands too.

use std::time::Duration;

use sim_host::watch::Limits;

use crate::stop::Stop;

/// A variable; an empty one counts as absent.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// How much real time a run and a poll may take.
pub(crate) fn limits() -> Result<Limits, Stop> {
    let default = Limits::default();
    Ok(Limits {
        run: seconds("SIM_WALL_LIMIT")?.unwrap_or(default.run),
        poll: seconds("SIM_POLL_LIMIT")?.unwrap_or(default.poll),
    })
}

fn seconds(name: &str) -> Result<Option<Duration>, Stop> {
    let Some(text) = variable(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(Duration::from_secs(number))),
        Err(_) => Err(Stop::Usage(format!("{name}={}: expected a whole number of seconds", text.escape_debug()))),
    }
}
