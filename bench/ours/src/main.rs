//! The cases on this framework, through its facade.

mod disk;
mod hosted;
mod isolated;
mod net;

use std::future::{Future, pending};

use bench_common::sizes::*;
use bench_common::work;

fn main() {
    bench_common::main(&[
        ("pingpong", net::pingpong),
        ("hosted", hosted::pingpong),
        ("hosted-threads", hosted::pingpong_with_threads),
        ("timers", timers),
        ("spawn", spawn),
        ("sweep-5", || sweep(20_000, SWEEP_NODES as usize)),
        ("sweep-5-isolated", isolated::sweep),
        ("start-100", || sweep(2_000, START_NODES as usize)),
        ("idle-1000", idle),
        ("udp", net::udp),
        ("bulk", net::bulk),
        ("disk-write", disk::write),
        ("disk-read", disk::read),
        ("disk-fsync", disk::fsync),
        ("disk-snapshot", disk::snapshot),
        ("disk-images", disk::images),
        ("thousand", net::thousand),
    ]);
}

/// One simulation, which must pass.
fn simulate<Fut: Future<Output = ()> + 'static>(seed: u64, body: impl FnOnce() -> Fut) {
    let report = sim::simulation(seed).run(body);
    assert!(report.passed(), "{}", report.message);
}

fn timers() -> u64 {
    simulate(1, || async {
        work::timers(|number| sim::spawn(work::sleeper(number, sim::time::sleep))).await;
    });
    SLEEPERS * SLEEPS
}

/// A million polls at one instant count as a loop without end here, so time moves now and then.
fn spawn() -> u64 {
    simulate(1, || async {
        for _ in 0..SPAWN_PARTS {
            work::spawns(SPAWNS / SPAWN_PARTS, |number| sim::spawn(async move { number })).await;
            sim::time::sleep(NAP).await;
        }
    });
    SPAWNS
}

/// Whole simulations, each of nodes with a task that naps.
fn sweep(simulations: u64, nodes: usize) -> u64 {
    for seed in 0..simulations {
        simulate(seed, || async move {
            let group = sim::nodes("n", nodes);
            let naps: Vec<_> = group.iter().map(|node| node.spawn(sim::time::sleep(NAP))).collect();
            for nap in naps {
                nap.await.expect("a nap ends well");
            }
        });
    }
    simulations
}

fn idle() -> u64 {
    simulate(1, || async {
        sim::nodes("n", IDLE_NODES as usize).start(|_| pending::<()>());
        sim::time::sleep(IDLE).await;
    });
    1
}
