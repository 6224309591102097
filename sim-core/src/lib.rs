//! The core of detsim: one run of one seed.
//!
//! | room | what is in it |
//! |---|---|
//! | [`Sim`] | options, the run, the [`Report`] |
//! | [`choice`] | the keyed choice stream: all randomness of a run |
//! | [`time`], [`Clock`] | simulated time, and what each node believes about it |
//! | [`task`] | spawn, join, abort |
//! | [`node`](mod@node) | machines that crash, lose power, pause and restart |
//! | [`device`] | how a network or a disk takes part without being known here |
//! | [`fault`] | faults as data, plans, interposition points |
//! | [`event`] | the log and its digest |
//! | [`mark`] | `always!`, `sometimes!`, `reachable!`, `buggify!` |
//! | [`ambient`] | what the operating system would tell the running program |
//! | [`determinism`] | the comparison of two runs of one seed |
//!
//! Start reading at `sim.rs`, then `executor.rs`. The crate uses no operating system: no clock, no entropy, no thread.
//! Users meet all this under the name `sim`, from the package `detsim`.

mod agenda;
mod clock;
mod executor;
mod glob;
pub mod hash;
mod life;
mod outcome;
mod panics;
mod process;
mod progress;
mod seed;
mod sim;
mod spread;
mod tasks;
mod trace;
mod units;
mod workload;
mod world;

pub mod ambient;
pub mod choice;
pub mod determinism;
pub mod device;
pub mod event;
pub mod fault;
pub mod mark;
pub mod node;
pub mod task;
pub mod time;

pub use choice::Ratio;
pub use clock::{Clock, EPOCH_SECONDS};
pub use node::{Node, NodeGroup, NodeId, OnPanic, current_node, node, nodes, zone};
pub use outcome::{Failure, Outcome, Report};
pub use process::stop_requested;
pub use progress::Progress;
pub use seed::{Seed, SeedError};
pub use sim::{Sim, fail};
pub use spread::Spread;
pub use task::{AbortHandle, JoinError, JoinHandle, spawn};
pub use units::{Span, Units};
pub use workload::{Random, random};

#[doc(hidden)]
pub mod __private {
    pub use linkme;
}
