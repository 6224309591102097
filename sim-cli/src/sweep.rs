//! `cargo sim sweep`: many seeds of many tests.
//!
//! Every job is a thread with serving processes of its own. It takes a seed from the board, has it run, and puts the
//! result on the board: into the file, the tally and the progress bar. Nothing else is shared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sim_core::Report;
use sim_host::environment::{limits, variable};
use sim_host::watch::Limits;

use crate::arguments::{Shard, Sweep};
use crate::catalog::{Catalog, Test};
use crate::host::Host;
use crate::meter::Meter;
use crate::results::{Line, Results, numbered_directory};
use crate::seeds::{Queue, Seeds};
use crate::stop::Stop;
use crate::tally::{Story, Tally};
use crate::text::{count, remark, say};
use crate::{build, commit};

/// Builds, runs, and tells what was found; the exit code.
pub(crate) fn run(options: &Sweep) -> Result<u8, Stop> {
    let settings = Settings::new(options)?;
    let catalog = Catalog::build(&options.build)?;
    let tests = catalog.select(options.filter.as_deref(), options.exact)?;
    let directory = settings.results_directory()?;
    let (results, lines) = Results::open(&directory)?;
    let mut queue = Queue::new(tests.iter().map(|test| settings.seeds_of(test)));
    let mut tally = Tally::new(tests.len());
    let known = settings.recall(&tests, &lines, &mut queue, &mut tally);
    settings.announce(&directory, known, queue.left());

    let (start, meter) = (Instant::now(), Meter::new(queue.left()));
    let board = Board { tests: &tests, settings: &settings, queue, tally, results, meter, run_now: 0, stopped: None };
    let board = settings.work(board, &catalog)?;
    let story = Story {
        tests: &tests,
        all: &catalog.tests,
        tally: &board.tally,
        build: &options.build,
        partial: settings.shard != Shard::WHOLE,
        elapsed: start.elapsed(),
        run_now: board.run_now,
    };
    let (told, code) = story.tell();
    say(&told);
    Ok(code)
}

/// What the arguments and the environment say, and where the sweep was started.
struct Settings<'a> {
    options: &'a Sweep,
    shard: Shard,
    nightly: bool,
    limits: Limits,
    commit: Option<String>,
    /// This process moves about later; see [`crate::host`].
    here: PathBuf,
}

impl<'a> Settings<'a> {
    fn new(options: &'a Sweep) -> Result<Self, Stop> {
        let here = std::env::current_dir()
            .map_err(|error| Stop::Usage(format!("the current directory cannot be used: {error}")))?;
        let shard = match (options.shard, variable("SIM_SHARD")) {
            (Some(shard), _) => shard,
            (None, Some(text)) => text.parse().map_err(|error| Stop::Usage(format!("SIM_SHARD: {error}")))?,
            (None, None) => Shard::WHOLE,
        };
        let tier = options.tier.clone().or(variable("SIM_TIER"));
        let nightly = tier.as_deref() == Some("nightly");
        Ok(Settings {
            options,
            shard,
            nightly,
            limits: limits().map_err(Stop::Usage)?,
            commit: commit::current(&here),
            here,
        })
    }

    fn seeds_of(&self, test: &Test) -> Seeds {
        let own = if test.info.nightly && !self.nightly { 1 } else { test.info.seeds };
        let (start, count) = match test.info.seed {
            Some(only) => (only, 1),
            None => (self.options.start.0, self.options.seeds.map_or(own, u64::from)),
        };
        Seeds { start, count, shard: self.shard }
    }

    fn results_directory(&self) -> Result<PathBuf, Stop> {
        match &self.options.out {
            Some(directory) => Ok(self.here.join(directory)),
            None => numbered_directory(&build::target_directory(&self.here)?.join("sim")),
        }
    }

    fn announce(&self, directory: &Path, known: u64, left: u64) {
        let shown = directory.strip_prefix(&self.here).unwrap_or(directory).display();
        if known > 0 {
            let total = count(known.saturating_add(left), "seed");
            remark(&format!("continuing {shown}: {} of {total} are done", indicatif::HumanCount(known)));
            return;
        }
        remark(&format!("results go to {shown}/results.jsonl; a sweep that was stopped continues with --out {shown}"));
    }

    /// Takes over what an earlier sweep of the same program has found; returns how many seeds that spares.
    fn recall(&self, tests: &[Test], lines: &[Line], queue: &mut Queue, tally: &mut Tally) -> u64 {
        let name = |test: &Test| (test.info.package.clone(), test.target.clone(), test.info.name.clone());
        let known: BTreeMap<_, usize> = tests.iter().enumerate().map(|(index, test)| (name(test), index)).collect();
        let mut spared = 0;
        for line in lines.iter().filter(|line| line.commit == self.commit && (line.checked || !self.options.check)) {
            let name = (line.package.clone(), line.target.clone(), line.report.test.clone());
            let Some(index) = known.get(&name).copied() else { continue };
            if queue.skip(index, line.report.seed) {
                tally.add(index, tests[index].info.expect, &line.report);
                spared += 1;
            }
        }
        for index in (0..tests.len()).filter(|index| tally.is_caught(*index)) {
            queue.close(index);
        }
        spared
    }

    /// Has all jobs work until the board is done.
    fn work<'b>(&self, board: Board<'b>, catalog: &Catalog) -> Result<Board<'b>, Stop> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let jobs = self.options.jobs.map_or(processors, usize::from);
        let jobs = jobs.min(usize::try_from(board.queue.left()).unwrap_or(usize::MAX));
        let board = Mutex::new(board);
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| self.job(&board, Host::new(&catalog.executables, self.limits)));
            }
        });
        let board = board.into_inner().unwrap_or_else(PoisonError::into_inner);
        board.meter.finish();
        match board.stopped {
            Some(stop) => Err(stop),
            None => Ok(board),
        }
    }

    /// Runs seeds until there are no more, or until one job had to stop: what a full disk has cut is the last line.
    fn job<'b>(&self, board: &Mutex<Board<'b>>, mut host: Host<'_>) {
        let board = || -> MutexGuard<'_, Board<'b>> { board.lock().unwrap_or_else(PoisonError::into_inner) };
        let tests = board().tests;
        loop {
            let Some((index, seed)) = board().queue.next() else { return };
            let (test, start) = (&tests[index], Instant::now());
            let run = if self.options.check { host.run_twice(test, seed) } else { host.run(test, seed, false) };
            let mut board = board();
            if board.stopped.is_some() {
                return;
            }
            if let Err(stop) = run.and_then(|report| board.finish(index, report, start.elapsed())) {
                board.stopped = Some(stop);
                return;
            }
        }
    }
}

/// What the jobs share.
struct Board<'a> {
    tests: &'a [Test],
    settings: &'a Settings<'a>,
    queue: Queue,
    tally: Tally,
    results: Results,
    meter: Meter,
    run_now: u64,
    stopped: Option<Stop>,
}

impl Board<'_> {
    /// Takes the result of a seed.
    fn finish(&mut self, index: usize, report: Report, took: Duration) -> Result<(), Stop> {
        let test = &self.tests[index];
        let meaning = self.tally.add(index, test.info.expect, &report);
        let signature = (!report.passed()).then(|| format!("{:#x}", report.signature()));
        let output = if meaning.shown { report.output } else { String::new() };
        let line = Line {
            package: test.info.package.clone(),
            target: test.target.clone(),
            report: Report { log: None, output, ..report },
            commit: self.settings.commit.clone(),
            wall_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            signature,
            expected: meaning.expected,
            checked: self.settings.options.check,
        };
        self.results.append(&line)?;
        self.run_now += 1;
        self.meter.advance(!meaning.expected);
        if self.tally.is_caught(index) {
            self.meter.shorten(self.queue.close(index));
        }
        Ok(())
    }
}
