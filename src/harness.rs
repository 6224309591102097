//! From `#[sim::test]` to runs: which seeds, in which isolation, and what to print when one fails.

use std::sync::{Arc, Once};
use std::time::Duration;

use linkme::distributed_slice;
use sim_core::mark::{MARKS, MarkKind};
use sim_core::{Outcome, Progress, Report, Seed, Sim, determinism};
use sim_host::environment::{self, number, variable};
use sim_host::watch::{self, Limits};
use sim_host::worker::Worker;
use sim_host::zygote::{self, Request, SERVERS, TestInfo};

/// A simulated test, registered at link time by the attribute.
#[doc(hidden)]
pub struct Case {
    pub path: &'static str,
    pub package: &'static str,
    pub file: &'static str,
    pub seeds: u64,
    pub seed: Option<u64>,
    pub time_limit_ns: u64,
    pub nightly: bool,
    pub expect: Option<Outcome>,
    pub run: fn(Sim) -> Report,
}

/// All simulated tests of this executable.
#[doc(hidden)]
#[distributed_slice]
pub static TESTS: [Case];

/// A simulation with a network and a disk, to be run by hand on this thread.
///
/// ```
/// let report = sim::simulation(7).run(|| async { sim::time::sleep(std::time::Duration::from_secs(1)).await });
/// assert!(report.passed());
/// ```
pub fn simulation(seed: impl Into<Seed>) -> Sim {
    Sim::new(seed).with_faults(sim_net::KINDS).with_faults(sim_disk::KINDS)
}

impl Case {
    /// The name of the test, as Cargo's harness has it.
    fn name(&self) -> &'static str {
        self.path.split_once("::").map_or(self.path, |(_, name)| name)
    }

    fn info(&self) -> TestInfo {
        let wanted = MARKS
            .iter()
            .filter(|mark| matches!(mark.kind, MarkKind::Sometimes | MarkKind::Reachable | MarkKind::Always));
        TestInfo {
            name: self.name().to_string(),
            package: self.package.to_string(),
            file: self.file.to_string(),
            seeds: self.seeds,
            seed: self.seed,
            nightly: self.nightly,
            expect: self.expect,
            marks: wanted.map(|mark| mark.name.to_string()).collect(),
        }
    }

    fn run(&self, request: &Request, progress: Arc<Progress>) -> Report {
        let limit = Duration::from_nanos(self.time_limit_ns);
        let sim = simulation(request.seed).record(request.record).time_limit(limit).progress(progress);
        Report { test: self.name().to_string(), ..(self.run)(sim) }
    }

    /// The body of the test function: runs the seeds, and fails as a test fails.
    pub fn check(&'static self) {
        let settings = Settings::from_environment(self).unwrap_or_else(|message| give_up(&message));
        let mut runner = Runner::new(self, settings.isolated);
        let mut found = None;
        for seed in settings.seeds.clone() {
            let report = runner.run(seed, &settings);
            if report.passed() {
                continue;
            }
            if settings.expect == Some(report.outcome) {
                found = Some(report);
                break;
            }
            give_up(&report.render(&self.next_steps(&report)));
        }
        match (found, settings.expect) {
            (Some(report), _) => println!("as expected:\n{}", report.render(&self.next_steps(&report))),
            (None, Some(outcome)) if settings.complete => {
                let last = Seed(*settings.seeds.end());
                give_up(&format!("{}: expected some seed to be {outcome}, and all to {last} passed", self.name()))
            }
            (None, _) => {
                let (first, last) = (Seed(*settings.seeds.start()), Seed(*settings.seeds.end()));
                println!("{}: passed with seeds {first} to {last}", self.name());
            }
        }
    }

    fn next_steps(&self, report: &Report) -> Vec<(&'static str, String)> {
        let (seed, name, package) = (Seed(report.seed), self.name(), self.package);
        let mut steps = vec![
            ("replay", format!("SIM_SEED={seed} cargo test -p {package} {name} -- --exact")),
            ("events", format!("cargo sim replay {name} {seed}")),
        ];
        steps.extend(sim_host::commit().map(|commit| ("commit", commit)));
        steps
    }
}

/// Fails the test with a message that nothing is printed around.
fn give_up(message: &str) -> ! {
    eprintln!("{message}");
    std::panic::resume_unwind(Box::new("the simulation failed"))
}

/// What the environment says about a test.
struct Settings {
    seeds: std::ops::RangeInclusive<u64>,
    expect: Option<Outcome>,
    /// So many seeds that an expected failure should be among them.
    complete: bool,
    twice: bool,
    isolated: bool,
    limits: Limits,
}

impl Settings {
    fn from_environment(case: &Case) -> Result<Settings, String> {
        let only = match variable("SIM_SEED") {
            Some(text) => Some(text.parse::<Seed>().map_err(|error| format!("SIM_SEED: {error}"))?.0),
            None => None,
        };
        let all = !case.nightly || variable("SIM_TIER").as_deref() == Some("nightly");
        let count = number("SIM_SEEDS")?.unwrap_or(if all { case.seeds } else { 1 });
        if count == 0 {
            return Err("SIM_SEEDS: a test needs at least one seed".to_string());
        }
        let first = only.or(case.seed);
        let isolated = match variable("SIM_ISOLATION").as_deref() {
            None => sim_host::HAS_PROCESSES,
            Some("process") if sim_host::HAS_PROCESSES => true,
            Some("process") => {
                return Err("SIM_ISOLATION=process: this system has only SIM_ISOLATION=thread".to_string());
            }
            Some("thread") => false,
            Some(other) => return Err(format!("SIM_ISOLATION={}: write process or thread", other.escape_debug())),
        };
        Ok(Settings {
            seeds: first.map_or(0..=count - 1, |seed| seed..=seed),
            complete: count >= case.seeds,
            expect: case.expect.filter(|_| only.is_none()),
            twice: variable("SIM_CHECK").is_some_and(|value| value != "0"),
            isolated,
            limits: environment::limits()?,
        })
    }
}

/// Runs seeds of one case.
struct Runner {
    case: &'static Case,
    worker: Option<Worker>,
}

impl Runner {
    fn new(case: &'static Case, isolated: bool) -> Self {
        let worker = if isolated { start_worker() } else { None };
        Runner { case, worker }
    }

    fn run(&mut self, seed: u64, settings: &Settings) -> Report {
        let test = self.case.name().to_string();
        let request = Request { test, seed, record: settings.twice, limits: settings.limits };
        let first = self.once(&request);
        if settings.twice { determinism::compare(first, &self.once(&request)) } else { first }
    }

    fn once(&mut self, request: &Request) -> Report {
        if let Some(worker) = &mut self.worker {
            return worker.run(request);
        }
        let (case, asked) = (self.case, request.clone());
        let watched = watch::watch(request.limits, move |progress| case.run(&asked, progress));
        watched.unwrap_or_else(|failure| Report::lost(&request.test, Seed(request.seed), failure))
    }
}

/// This executable again, as a server of runs.
fn start_worker() -> Option<Worker> {
    static WARNED: Once = Once::new();
    let worker = std::env::current_exe().and_then(|executable| Worker::start(&executable, None));
    let problem = match &worker {
        Ok(Some(worker)) if worker.hello().fixed_addresses => None,
        Ok(Some(_)) => {
            Some("addresses are random here (personality(2) is not allowed): programs that use them differ".to_string())
        }
        Ok(None) => Some("this executable does not serve runs; they are isolated by threads only".to_string()),
        Err(error) => Some(format!("cannot start a process for the runs ({error}); they are isolated by threads only")),
    };
    if let Some(problem) = problem {
        WARNED.call_once(|| eprintln!("sim: {problem}"));
    }
    worker.ok().flatten()
}

/// What this executable does when it is started to serve.
#[distributed_slice(SERVERS)]
static SERVER: fn() = || {
    let tests = TESTS.iter().map(Case::info).collect();
    zygote::serve(tests, |request, progress| match TESTS.iter().find(|case| case.name() == request.test) {
        Some(case) => case.run(request, progress),
        None => {
            let message = format!("this executable has no simulated test {}", request.test);
            Report::lost(&request.test, Seed(request.seed), sim_core::Failure::new(Outcome::Panicked, message))
        }
    })
};
