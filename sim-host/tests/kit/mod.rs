//! What tests of hosted programs begin with.

use std::sync::Arc;

use sim_core::{Outcome, Report, Sim, node};
use sim_host::hosting::node::Host;

/// Runs a program on a node, alone.
pub(crate) fn run(program: impl Fn() + Send + Sync + 'static) -> Report {
    Sim::new(1).run(async || {
        let program: Arc<dyn Fn() + Send + Sync> = Arc::new(program);
        node("program").host(move || program()).join().await;
    })
}

/// Runs a program, which shall have nothing to complain of.
#[track_caller]
pub(crate) fn passes(program: impl Fn() + Send + Sync + 'static) {
    has_passed(&run(program));
}

#[track_caller]
pub(crate) fn has_passed(report: &Report) {
    assert_eq!(report.outcome, Outcome::Passed, "{}", report.message);
}
