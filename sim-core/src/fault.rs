//! Faults: plain data that says where, what, when and for how long, and the engine that makes them happen.
//!
//! A [`Fault`] names its kind, and kinds are open: the core brings those of nodes and clocks, and every device brings
//! its own through [`FaultKind`]. A fault fires at a time, again and again with a [`Rhythm`], or at an interposition
//! point that a device offers with [`hit`]. One that was asked for and never fires makes the run vacuous, unless it
//! [may miss](Fault::may_miss): a fault test that injects nothing proves nothing. A kind also counts how often a program
//! [noticed](observed) it: a fault that nobody meets proves as little.
//!
//! | room | what is in it |
//! |---|---|
//! | `plan` | [`Fault`], [`Plan`], [`Selector`]: data |
//! | `rhythm` | [`Rhythm`]: what comes again; [`swizzle`] |
//! | `engine` | arming, firing, ending; interposition points; the meters |
//! | `target` | whom a fault is aimed at, when that is decided as it fires |
//! | `swarm` | [`Swarm`]: faults of random kinds; [`Budget`]: what keeps enough nodes alive |
//! | `kinds` | the kinds that the core itself brings |
//! | `heal` | the end of all faults: [`heal`], [`heal_core`], [`liveness`] |

mod engine;
mod heal;
mod kinds;
mod plan;
mod rhythm;
mod swarm;
mod target;

pub use crate::glob::matches;
pub(crate) use engine::Faults;
pub use engine::{
    Act, Arm, FaultKind, FaultReport, Sample, faults, hit, hit_after, hit_amid, kinds, observed, point, struck,
};
pub use heal::{Liveness, heal, heal_core, liveness};
pub(crate) use kinds::KINDS;
pub use kinds::{
    clock_drift, clock_rate, clock_reset, clock_sine, clock_step, clock_strobe, crash, fail_over, let_up,
    out_of_memory, pause, power_loss, slow_cpu, stop, suspend, take_down, upgrade,
};
pub use plan::{Fault, FaultId, Moment, Plan, PlanError, Selector, When};
pub use rhythm::{Rhythm, swizzle};
pub use swarm::{Budget, Swarm, away, one};
pub use target::role;
