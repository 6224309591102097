//! Crash, pause, a slow processor, and memory that runs out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sim::prelude::*;
use sim::time::{Instant, elapsed, sleep};

use super::kit::{insist, save, serve};

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

const FRESH: Duration = Duration::from_millis(100);

/// A server that reads a price and then promises how long it is fresh: from when it read it (`first`), or from now.
async fn promises_freshness(first: bool) {
    let replaced: Rc<RefCell<Vec<Duration>>> = Rc::default();
    let prices = replaced.clone();
    node("prices").start(move || {
        let prices = prices.clone();
        serve(move |_| {
            let prices = prices.clone();
            async move {
                let before = elapsed();
                let price = prices.borrow().len();
                for _step_of_the_answer in 0..5 {
                    sim::task::yield_now().await;
                }
                let until = FRESH + if first { before } else { elapsed() };
                format!("{price} {}", until.as_nanos())
            }
        })
    });
    faults().at(
        random().duration(100.ms()..500.ms()),
        sim::slow_cpu("prices", random().duration(1.ms()..10.ms())).lasting(300.ms()),
    );
    let ticker = replaced.clone();
    node("exchange").spawn(async move {
        loop {
            sleep(random().duration(1.ms()..50.ms())).await;
            ticker.borrow_mut().push(elapsed());
        }
    });
    for _ in 0..50 {
        let answer = insist("prices", "get").await;
        sleep(FRESH).await;
        let mut words = answer.split(' ').map(|word| word.parse::<u64>().unwrap());
        let (price, until) = (words.next().unwrap() as usize, Duration::from_nanos(words.next().unwrap()));
        let gone = replaced.borrow().get(price).copied();
        let late = gone.map(|gone| until.saturating_sub(gone)).unwrap_or_default();
        always!(late <= FRESH, "a price is shown no longer than promised after it is gone", "{late:?}");
    }
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_promise_that_counts_from_the_answer_forgets_what_the_answer_took() {
    promises_freshness(false).await;
}

#[sim::test(seeds = 10)]
async fn a_promise_that_counts_from_the_question_holds() {
    promises_freshness(true).await;
}

/// Moves coins between two purses, one file for each, or one for both that is replaced as a whole.
async fn moves_coins(at_once: bool) -> std::io::Result<()> {
    loop {
        let (left, right) = purses(at_once).await.unwrap_or((0, 100));
        if right == 0 {
            return Ok(());
        }
        if at_once {
            save("purses", &format!("{} {}", left + 1, right - 1)).await?;
        } else {
            save("left", &(left + 1).to_string()).await?;
            save("right", &(right - 1).to_string()).await?;
        }
        sleep(5.ms()).await;
    }
}

async fn purses(at_once: bool) -> std::io::Result<(i64, i64)> {
    let text = match at_once {
        true => sim::fs::read_to_string("purses").await?,
        false => format!("{} {}", sim::fs::read_to_string("left").await?, sim::fs::read_to_string("right").await?),
    };
    let mut purses = text.split(' ').map(|coins| coins.parse().unwrap());
    Ok((purses.next().unwrap(), purses.next().unwrap()))
}

async fn keeps_coins_without_memory(at_once: bool) {
    let bank = node("bank").start(move || moves_coins(at_once));
    let write = Selector::new("disk.write", "bank", "*").nth(random().range(1..100));
    faults().on(write, sim::out_of_memory("bank").lasting(100.ms()));
    sleep(5.secs()).await;
    let (left, right) = bank.spawn(purses(at_once)).await.unwrap().unwrap();
    always!(left + right == 100, "no coin is lost or made", "{left} and {right}");
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn a_transfer_of_two_writes_dies_between_them() {
    keeps_coins_without_memory(false).await;
}

#[sim::test(seeds = 50)]
async fn a_transfer_of_one_rename_is_whole() {
    keeps_coins_without_memory(true).await;
}
