//! Crash and pause.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sim::prelude::*;
use sim::time::{Instant, sleep};

use super::kit::{insist, serve};

/// Counts what it acknowledges, in memory or in a file.
async fn counter(in_a_file: bool) -> std::io::Result<()> {
    let load = || async { sim::fs::read_to_string("count").await.ok().and_then(|text| text.parse().ok()).unwrap_or(0) };
    let count = Rc::new(Cell::new(if in_a_file { load().await } else { 0u64 }));
    serve(move |line| {
        let count = count.clone();
        async move {
            if line == "add" {
                count.set(count.get() + 1);
                if in_a_file {
                    sim::fs::write("count", count.get().to_string()).await.unwrap();
                }
            }
            count.get().to_string()
        }
    })
    .await
}

async fn counts_through_a_crash(in_a_file: bool) {
    node("counter").start(move || counter(in_a_file));
    faults().at(random().duration(10.ms()..200.ms()), crash("counter").lasting(100.ms()));
    let mut acknowledged = 0;
    for _ in 0..20 {
        insist("counter", "add").await;
        acknowledged += 1;
        sleep(10.ms()).await;
    }
    let count: u64 = insist("counter", "get").await.parse().unwrap();
    always!(count >= acknowledged, "what was acknowledged is counted", "{count} of {acknowledged}");
}

#[sim::test(seeds = 100, expect = "incorrect")]
async fn a_count_in_memory_dies_with_its_process() {
    counts_through_a_crash(false).await;
}

#[sim::test(seeds = 100)]
async fn a_count_in_a_file_survives_its_process() {
    counts_through_a_crash(true).await;
}

const LEASE: Duration = Duration::from_millis(500);

/// A leader that renews its lease and then works; the other takes over when the lease has run out.
async fn leads_through_a_pause(looks_again: bool) {
    let lease: Rc<Cell<(u64, Instant)>> = Rc::new(Cell::new((0, Instant::now())));
    for place in 0..2u64 {
        let lease = lease.clone();
        node(&format!("leader-{place}")).start(move || {
            let lease = lease.clone();
            async move {
                loop {
                    let (holder, ends) = lease.get();
                    if holder == place || ends < Instant::now() {
                        let mine = Instant::now() + LEASE;
                        lease.set((place, mine));
                        // The work takes a while to prepare.
                        sleep(random().duration(10.ms()..50.ms())).await;
                        if looks_again && mine < Instant::now() {
                            continue;
                        }
                        always!(lease.get().0 == place, "only the holder of the lease works");
                    }
                    sleep(100.ms()).await;
                }
            }
        });
    }
    faults().at(random().duration(100.ms()..900.ms()), pause("leader-0").lasting(1.secs()).may_miss());
    faults().at(random().duration(100.ms()..900.ms()), pause("leader-1").lasting(1.secs()).may_miss());
    sleep(5.secs()).await;
}

#[sim::test(seeds = 100, expect = "incorrect")]
async fn a_paused_leader_works_when_its_lease_is_over() {
    leads_through_a_pause(false).await;
}

#[sim::test(seeds = 100)]
async fn a_leader_that_looks_at_the_clock_after_a_pause_stops() {
    leads_through_a_pause(true).await;
}
