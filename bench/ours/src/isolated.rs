//! The case sweep-5-isolated: the same path as a test takes, a forked process for every seed.

use std::path::PathBuf;

use sim_host::watch::Limits;
use sim_host::worker::Worker;
use sim_host::zygote::Request;

const SIMULATIONS: u64 = 2_000;

/// Asks the test executable that the command line names, `tests/isolated.rs` built, for one run after the other. Starting
/// that executable is a part of the time, and a small one.
pub fn sweep() -> u64 {
    let executable = std::env::args_os().nth(2).map(PathBuf::from).expect("the path of the executable `isolated`");
    let worker = Worker::start(&executable, None).expect("an executable");
    let mut worker = worker.expect("an executable with simulated tests");
    for seed in 0..SIMULATIONS {
        let request = Request { test: "five_nodes".to_string(), seed, record: false, limits: Limits::default() };
        let report = worker.run(&request);
        assert!(report.passed(), "{}", report.message);
    }
    SIMULATIONS
}
