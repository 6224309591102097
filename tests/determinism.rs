//! A seed means the same everywhere: alone, in a sweep, second in a process, on a thread, in debug and in release.

use std::io::Write;
use std::rc::Rc;

use sim::disk::{fsync, fsync_eio};
use sim::fs::OpenOptions;
use sim::net::{self, LinkOptions, UdpSocket};
use sim::prelude::*;
use sim::time::{interval, sleep, timeout};
use tokio::io::AsyncWriteExt;

use super::bugs::kit::{ask, serve};
use super::kit::{harness, printed, record, run, worker};

/// Something of everything: nodes, streams, datagrams, files, clocks, faults, loss, random orders of hash maps.
#[expect(clippy::disallowed_types, reason = "its order must be the seed's too")]
async fn everything() {
    net::set_link_options(None, LinkOptions::default().loss(Ratio::percent(5)));
    node("server").start(|| {
        serve(|line| async move {
            let mut file = OpenOptions::new().append(true).create(true).open("log").await.unwrap();
            file.write_all(line.as_bytes()).await.unwrap();
            file.sync_all().await.map(|()| format!("{line} is safe")).unwrap_or_default()
        })
    });
    node("beacon").start(|| async {
        let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
        let mut ticks = interval(7.ms());
        loop {
            ticks.tick().await;
            socket.send_to(b"here", "server:9").await.unwrap();
        }
    });
    faults()
        .at(200.ms(), crash("server").lasting(100.ms()))
        .at(350.ms(), power_loss("server").lasting(150.ms()))
        .at(300.ms(), net::partition_fault("client-0", "server").lasting(200.ms()))
        .at(100.ms(), clock_rate("client-1", 1_200_000))
        .on(fsync("server", "log").nth(5), fsync_eio());
    let clients = nodes("client", 3).start(|place| async move {
        for round in 0..10 {
            let order: std::collections::HashSet<u32> = (0..10).collect();
            let first = order.into_iter().next().unwrap_or(0);
            let _ = ask("server", &format!("{place}.{round}.{first}"), 300.ms()).await;
            sleep(random().duration(1.ms()..50.ms())).await;
        }
    });
    timeout(60.secs(), clients.join()).await.unwrap();
    // No seed is done before the last fault has struck.
    sleep(1.secs()).await;
}

#[sim::test(seeds = 20)]
async fn fixture() {
    everything().await;
}

/// Pinned: debug and release builds, and every machine, must come to it. A change of what a seed means changes it, and
/// says so in the change log.
const DIGEST_OF_SEED_7: u64 = 0x2543_392b_b801_1d6b;

#[test]
fn a_seed_has_one_digest_alone_in_a_sweep_and_twice_in_a_process() {
    let digest = |worker: &mut _, seed| run(worker, "determinism::fixture", seed).digest;
    let mut sweep = worker();
    let of_others = [3, 4, 8].map(|seed| digest(&mut sweep, seed));
    let of_seed_7 = [digest(&mut worker(), 7), digest(&mut sweep, 7), digest(&mut sweep, 7)];
    assert!(of_seed_7.iter().all(|digest| *digest == DIGEST_OF_SEED_7), "{of_seed_7:#x?}");
    assert!(!of_others.contains(&DIGEST_OF_SEED_7));
}

#[test]
fn recording_a_run_changes_nothing() {
    let mut worker = worker();
    let (silent, recorded) =
        (run(&mut worker, "determinism::fixture", 7), record(&mut worker, "determinism::fixture", 7));
    assert!(recorded.log.is_some() && silent.log.is_none());
    assert_eq!((recorded.digest, recorded.events), (silent.digest, silent.events));
}

#[test]
fn the_determinism_check_passes_what_is_deterministic() {
    let output = harness("determinism::fixture", &[("SIM_CHECK", "1")]);
    assert!(output.status.success(), "{}", printed(&output));
}

/// Asks a real file how often it was asked: what a cache, a counter in a static, or a database of the host would be.
#[sim::test(seeds = 1)]
async fn counts_in_a_real_file() {
    let Ok(path) = std::env::var("SIM_FIXTURE_FILE") else { return };
    sleep(1.ms()).await;
    let count = std::fs::metadata(&path).unwrap().len();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    sleep((10 + count).ms()).await;
}

#[test]
fn the_determinism_check_names_the_first_event_that_differs() {
    let path = std::env::temp_dir().join(format!("detsim-determinism-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let output = harness(
        "determinism::counts_in_a_real_file",
        &[("SIM_CHECK", "1"), ("SIM_FIXTURE_FILE", path.to_str().unwrap())],
    );
    std::fs::remove_file(&path).unwrap();
    let said = printed(&output);
    assert!(!output.status.success());
    assert!(said.contains("determinism::counts_in_a_real_file: nondeterministic"), "{said}");
    assert!(said.contains("two runs of this seed differ at line 3"), "{said}");
    assert!(said.contains("first:     0.011000 test") && said.contains("second:    0.012000 test"), "{said}");
}

#[test]
fn tasks_that_share_a_reference_counted_cell_stay_in_their_simulation() {
    let shared = Rc::new(std::cell::Cell::new(0));
    for seed in 0..3 {
        let shared = shared.clone();
        assert!(sim::simulation(seed).run(|| async move { shared.set(shared.get() + 1) }).passed());
    }
    assert_eq!(shared.get(), 3);
}
