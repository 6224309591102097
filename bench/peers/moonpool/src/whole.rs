//! Whole simulations, through the harness.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bench_common::sizes::NAP;
use moonpool_sim::{Process, SimContext, SimulationBuilder, SimulationResult, TimeProvider, Workload};

/// How often a node has napped.
static NAPPED: AtomicU64 = AtomicU64::new(0);

/// A node: naps once.
struct Napper;

#[async_trait]
impl Process for Napper {
    fn name(&self) -> &str {
        "napper"
    }

    async fn run(&mut self, context: &SimContext) -> SimulationResult<()> {
        let _ = context.time().sleep(NAP).await;
        NAPPED.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What a simulation lasts for: a little longer than a nap.
struct Wait;

#[async_trait]
impl Workload for Wait {
    fn name(&self) -> &str {
        "wait"
    }

    async fn run(&mut self, context: &SimContext) -> SimulationResult<()> {
        let _ = context.time().sleep(NAP + Duration::from_millis(1)).await;
        Ok(())
    }
}

/// Whole simulations, each of nodes that nap.
pub fn sweep(simulations: u64, nodes: u64) -> u64 {
    let builder = SimulationBuilder::new().processes(nodes as usize, || Box::new(Napper) as Box<dyn Process>);
    let report = builder.workload(Wait).set_iterations(simulations as usize).run();
    assert_eq!(report.successful_runs as u64, simulations);
    // It lengthens a sleep now and then, chaos or not, so that a few nodes are cut off before they wake.
    assert!(NAPPED.load(Ordering::Relaxed) >= simulations * nodes * 99 / 100);
    simulations
}
