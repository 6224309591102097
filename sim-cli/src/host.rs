//! The processes that serve runs, for one job.

use sim_core::{Report, determinism};
use sim_host::watch::Limits;
use sim_host::worker::Worker;
use sim_host::zygote::{Request, TestInfo};

use crate::build::Executable;
use crate::catalog::Test;
use crate::stop::Stop;
use crate::text::remark;

/// One serving process for each executable, started when it is first needed.
pub(crate) struct Host<'a> {
    executables: &'a [Executable],
    workers: Vec<Option<Worker>>,
    limits: Limits,
}

impl<'a> Host<'a> {
    /// No process yet.
    pub(crate) fn new(executables: &'a [Executable], limits: Limits) -> Self {
        Host { executables, workers: executables.iter().map(|_| None).collect(), limits }
    }

    /// One run; recorded if its events are wanted.
    pub(crate) fn run(&mut self, test: &Test, seed: u64, record: bool) -> Result<Report, Stop> {
        let request = Request { test: test.info.name.clone(), seed, record, limits: self.limits };
        let (report, died) = self.attempt(test.executable, &request)?;
        // The server dies when somebody kills it, which is no fault of the seed, and its next run is undisturbed.
        // A seed that kills its server does so again.
        if died { Ok(self.attempt(test.executable, &request)?.0) } else { Ok(report) }
    }

    /// Two runs of a seed, and whether they are the same.
    pub(crate) fn run_twice(&mut self, test: &Test, seed: u64) -> Result<Report, Stop> {
        let first = self.run(test, seed, true)?;
        Ok(determinism::compare(first, &self.run(test, seed, true)?))
    }

    /// One run, and whether its server died over it. Then the next run has one that was started in the right place.
    fn attempt(&mut self, at: usize, request: &Request) -> Result<(Report, bool), Stop> {
        let executable = &self.executables[at];
        let worker = match &mut self.workers[at] {
            Some(worker) => worker,
            empty => empty.insert(executable.serve()?.ok_or_else(|| executable.changed())?),
        };
        let id = worker.id();
        let report = worker.run(request);
        let died = worker.id() != id;
        if died {
            self.workers[at] = None;
        }
        Ok((report, died))
    }
}

/// The simulated tests of an executable.
pub(crate) fn tests_of(executable: &Executable) -> Result<Vec<TestInfo>, Stop> {
    let Some(worker) = executable.serve()? else { return Ok(Vec::new()) };
    let hello = worker.hello();
    if !hello.fixed_addresses && !hello.tests.is_empty() {
        remark(
            "addresses are random here (personality(2) is not allowed): programs that use them differ from run to run",
        );
    }
    Ok(hello.tests.clone())
}

impl Executable {
    /// Starts it as a server, in the directory of its package. `None`: it has no simulated tests.
    fn serve(&self) -> Result<Option<Worker>, Stop> {
        let started = Worker::start(&self.path, Some(&self.directory));
        started.map_err(|error| {
            Stop::Internal(format!("cannot start {}: {error}; run the same command again", self.path.display()))
        })
    }

    fn changed(&self) -> Stop {
        Stop::Internal(format!("{} serves no runs any more: was it built anew meanwhile?", self.path.display()))
    }
}
