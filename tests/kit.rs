//! What the rooms share: this very executable as a server of runs, and as a test harness.

use std::process::{Command, Output};

use sim::Report;
use sim_host::watch::Limits;
use sim_host::worker::Worker;
use sim_host::zygote::Request;

/// A fresh process that serves the simulated tests of this executable.
pub(crate) fn worker() -> Worker {
    Worker::start(&std::env::current_exe().unwrap(), None).unwrap().expect("this executable serves runs")
}

/// Has one run made.
pub(crate) fn run(worker: &mut Worker, test: &str, seed: u64) -> Report {
    worker.run(&Request { test: test.into(), seed, record: false, limits: Limits::default() })
}

/// Has one run made and kept in words.
pub(crate) fn record(worker: &mut Worker, test: &str, seed: u64) -> Report {
    worker.run(&Request { test: test.into(), seed, record: true, limits: Limits::default() })
}

/// Runs a test of this executable as `cargo test` does, with more in the environment.
pub(crate) fn harness(test: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env_remove("RUST_BACKTRACE").envs(environment.iter().copied());
    command.output().unwrap()
}

/// What a command printed, on either stream.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
