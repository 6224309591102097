//! Deterministic simulation testing: a whole distributed system, every node with its network, disk and clocks, in one
//! process under one seed.
//!
//! ```
//! use sim::net::{TcpListener, TcpStream};
//! use sim::prelude::*;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! async fn server() -> std::io::Result<()> {
//!     let listener = TcpListener::bind("0.0.0.0:7").await?;
//!     let (mut stream, _) = listener.accept().await?;
//!     let mut question = [0; 5];
//!     stream.read_exact(&mut question).await?;
//!     stream.write_all(&question).await
//! }
//!
//! // In a test: `#[sim::test(seeds = 50)] async fn an_echo_comes_back() { .. }` around the same body.
//! let report = sim::simulation(7).run(|| async {
//!     node("server").start(server);
//!     sim::time::sleep(1.ms()).await;
//!     let mut stream = TcpStream::connect("server:7").await.unwrap();
//!     stream.write_all(b"hello").await.unwrap();
//!     let mut answer = [0; 5];
//!     stream.read_exact(&mut answer).await.unwrap();
//!     assert_eq!(&answer, b"hello");
//! });
//! assert!(report.passed(), "{}", report.message);
//! ```
//!
//! Where to look: [`macro@test`] for tests, [`node()`] and [`nodes`] for machines, [`net`] and [`fs`] for what they have,
//! [`time`] for clocks, [`faults`] for what goes wrong, [`History`] and [`check`] for whether the system was right,
//! [`simulation`] for a run by hand. The README shows one failing program from its sweep to its fix.

extern crate self as sim;

mod harness;
mod history;

pub use harness::{Case, simulation};
pub use history::{Call, History};
pub use sim_check as check;
pub use sim_core::fault::{
    Budget, Fault, Plan, Rhythm, Selector, Swarm, clock_drift, clock_rate, clock_reset, clock_sine, clock_step,
    clock_strobe, crash, fail_over, faults, heal, heal_core, liveness, out_of_memory, pause, power_loss, slow_cpu,
    stop, suspend, swizzle, upgrade,
};
pub use sim_core::{
    AbortHandle, Clock, Failure, JoinError, JoinHandle, Node, NodeGroup, NodeId, OnPanic, Outcome, Random, Ratio,
    Report, Seed, Sim, Spread, Units, always, buggify, current_node, fail, node, nodes, random, reachable, sometimes,
    spawn, stop_requested, zone,
};
pub use sim_core::{choice, determinism, device, event, fault, task, time};
pub use sim_disk as disk;
pub use sim_disk::fs;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use sim_host::hosting as host;
pub use sim_net as net;

/// Makes an `async fn` a test that runs in a simulation, once for every seed.
///
/// It goes on an `async fn` without arguments, as in `#[sim::test(seeds = 200, time_limit = "10min")]`; every file of
/// `examples/` ends with some.
///
/// | option | what it says | default |
/// |---|---|---|
/// | `seeds = 200` | how many seeds `cargo test` runs, counted from 0 | 10 |
/// | `seed = 7` | the only seed to run | |
/// | `time_limit = "10min"` | simulated time after which a run is stuck; `ms`, `s`, `min`, `h` | 1 h |
/// | `tier = "nightly"` | `cargo test` runs one seed only, and all of them where `SIM_TIER=nightly` | `"quick"` |
/// | `expect = "incorrect"` | some seed shall have this outcome, and none another failure: for planted bugs | all pass |
/// | `crate = "x"` | what the crate `sim` is called where the dependency was renamed | `"sim"` |
///
/// The function may return `()` or a `Result` whose error can be displayed.
///
/// The environment: `SIM_SEED` runs that seed alone and shows what it does, expected or not. `SIM_SEEDS` replaces the
/// number of seeds. `SIM_CHECK=1` runs every seed twice and names the first event that differs. `SIM_ISOLATION=thread`
/// runs seeds on threads instead of processes, which is faster and cannot promise that process-wide state (statics, the
/// keys of `tokio::select!`, addresses) is the same in every run. `SIM_WALL_LIMIT` and `SIM_POLL_LIMIT` are the seconds of
/// real time that a run and a single poll may take, 300 and 10.
pub use sim_macros::test;

/// What a test most often needs; without `test`, which would clash with the built-in attribute.
pub mod prelude {
    pub use crate::check::linearizable;
    pub use crate::check::model::{CasRegister, Kv, Register};
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub use crate::host::node::Host;
    pub use crate::{
        Budget, Fault, History, Outcome, Plan, Ratio, Rhythm, Selector, Swarm, Units, always, buggify, clock_rate,
        clock_step, crash, faults, node, nodes, pause, power_loss, random, reachable, sometimes, spawn,
    };
}

#[doc(hidden)]
pub mod __private {
    pub use crate::harness::{Case, TESTS};
    pub use linkme;
}
