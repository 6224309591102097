//! A trivial simulation of five nodes as users write it; `bench-ours sweep-5-isolated` asks this executable for its runs.

use bench_common::sizes::{NAP, SWEEP_NODES};

#[sim::test]
async fn five_nodes() {
    let group = sim::nodes("n", SWEEP_NODES as usize);
    let naps: Vec<_> = group.iter().map(|node| node.spawn(sim::time::sleep(NAP))).collect();
    for nap in naps {
        nap.await.unwrap();
    }
}
