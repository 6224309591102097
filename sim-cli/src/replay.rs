//! `cargo sim replay`: one seed again, with every event.

use sim_core::Report;
use sim_host::environment::limits;

use crate::arguments::Replay;
use crate::catalog::Catalog;
use crate::host::Host;
use crate::stop::Stop;
use crate::text::say;

/// Runs the seed and shows what happened; the exit code of its outcome.
pub(crate) fn run(options: &Replay) -> Result<u8, Stop> {
    let limits = limits().map_err(Stop::Usage)?;
    let catalog = Catalog::build(&options.build)?;
    let test = catalog.find(&options.test)?;
    let report = Host::new(&catalog.executables, limits).run(test, options.seed.0, true)?;
    let report = if options.quiet { Report { log: None, ..report } } else { report };
    if options.json {
        let json = serde_json::to_string(&report)
            .map_err(|error| Stop::Internal(format!("the report is no JSON: {error}")))?;
        say(&format!("{json}\n"));
    } else {
        say(&events(&report));
        let next = test.next_steps(report.seed, &options.build);
        say(&report.render(if report.passed() { &[] } else { &next[1..] }));
    }
    Ok(report.outcome.exit_code())
}

fn events(report: &Report) -> String {
    let log = report.log.iter().flatten();
    let mut out: String = log.map(|event| format!("{event}\n")).collect();
    if !out.is_empty() {
        out.push('\n');
    }
    out
}
