//! Faults of processes, clocks and names end what they began, and fire only when they change something.

use std::cell::Cell;
use std::rc::Rc;

use sim::prelude::*;
use sim::time::{elapsed, sleep};

/// Starts a node that writes a file now and then, or waits to be asked to stop; how often it was started.
fn lives(name: &str, drains: bool, op_every: u64) -> Rc<Cell<u32>> {
    let lives = Rc::new(Cell::new(0));
    let count = lives.clone();
    node(name).start(move || {
        count.set(count.get() + 1);
        async move {
            if drains {
                sim::stop_requested().await;
                return;
            }
            loop {
                sleep(op_every.ms()).await;
                sim::fs::write("f", "x").await.unwrap();
            }
        }
    });
    lives
}

#[sim::test(seeds = 1)]
async fn a_program_that_drains_when_asked_to_stop_is_restarted_when_the_fault_is_over() {
    let lives = lives("x", true, 10);
    faults().at(100.ms(), sim::stop("x", 500.ms()).lasting(1.secs()));
    sleep(10.secs()).await;
    assert_eq!(lives.get(), 2);
}

#[sim::test(seeds = 1)]
async fn one_that_ignores_a_long_grace_is_restarted_when_the_fault_is_over() {
    let lives = lives("x", false, 10);
    faults().at(100.ms(), sim::stop("x", 2.secs()).lasting(1.secs()));
    sleep(10.secs()).await;
    assert_eq!(lives.get(), 2);
}

#[sim::test(seeds = 1)]
async fn a_process_that_did_not_notice_that_memory_ran_out_lives() {
    let lives = lives("x", false, 1000);
    faults().at(100.ms(), sim::out_of_memory("x").lasting(100.ms()).may_miss());
    sleep(10.secs()).await;
    assert!(node("x").is_up(), "{}", lives.get());
}

#[sim::test(seeds = 1, expect = "vacuous")]
async fn memory_that_runs_out_unnoticed_is_no_fault_that_fired() {
    let _lives = lives("x", false, 1_000_000);
    faults().at(100.ms(), sim::out_of_memory("x"));
    sleep(10.secs()).await;
}

#[sim::test(seeds = 1, expect = "vacuous")]
async fn a_reset_of_a_right_clock_has_not_fired() {
    let _lives = lives("x", false, 100);
    faults().at(100.ms(), sim::clock_reset("x"));
    sleep(1.secs()).await;
}

#[sim::test(seeds = 1, expect = "vacuous")]
async fn a_drift_of_nothing_has_not_fired() {
    let _lives = lives("x", false, 100);
    faults().at(100.ms(), sim::clock_drift("x", 0));
    sleep(1.secs()).await;
}

#[sim::test(seeds = 1, expect = "vacuous")]
async fn a_stale_record_where_nothing_changed_has_not_fired() {
    let _lives = lives("x", false, 100);
    faults().at(100.ms(), sim::net::dns::stale_fault("x"));
    sleep(1.secs()).await;
}

#[sim::test(seeds = 1)]
async fn a_second_copy_has_the_builds_of_the_first() {
    let _lives = lives("x", false, 100);
    node("x").build("2", || async {});
    node("x").fail_over();
    node("x~2").upgrade("2");
}

#[sim::test(seeds = 1)]
async fn of_two_troubles_of_names_that_overlap_each_ends_its_own() {
    let _lives = lives("x", false, 100);
    node("c");
    // 100..1100 and 600..1600
    let r = Rhythm { gap: 500.ms().into(), ..Rhythm::poisson(1.secs()) }.times(2);
    faults().every(r, sim::net::dns::nxdomain_fault("c").lasting(900.ms()));
    sleep(1_700.ms()).await;
    let found = node("c").spawn(async { sim::net::lookup_host("x:1").await.is_ok() }).await.unwrap();
    assert!(!found, "the second is not over before 1.9 s");
}

#[sim::test(seeds = 1)]
async fn of_two_faults_that_slow_a_node_the_last_makes_it_fast() {
    node("c").start(|| async {});
    let r = Rhythm { gap: 500.ms().into(), ..Rhythm::poisson(1.secs()) }.times(2);
    faults().every(r, sim::slow_cpu("c", 10.ms()).lasting(900.ms()));
    sleep(1_700.ms()).await;
    let took = node("c")
        .spawn(async {
            let t = elapsed();
            for _ in 0..5 {
                sim::task::yield_now().await
            }
            elapsed() - t
        })
        .await
        .unwrap();
    assert!(took > 20.ms(), "{took:?}: the second is not over before 1.9 s");
}
