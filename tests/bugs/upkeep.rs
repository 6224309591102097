//! What operators do: graceful stops, upgrades, and replacements of what they take for dead.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;

use sim::prelude::*;
use sim::time::{elapsed, sleep, timeout};

use super::kit::{ask, insist, save, serve};

/// Takes readings, and writes them to a file now and then. `drains`: also when it is asked to end.
async fn collector(drains: bool) -> std::io::Result<()> {
    let stored = sim::fs::read_to_string("readings").await.ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let taken = Rc::new(Cell::new(stored));
    let count = taken.clone();
    spawn(serve(move |line| {
        if line == "reading" {
            count.set(count.get() + 1);
        }
        let answer = count.get().to_string();
        async { answer }
    }));
    let mut saved = stored;
    loop {
        let asked = async { if drains { sim::stop_requested().await } else { pending().await } };
        let ends = timeout(200.ms(), asked).await.is_ok();
        while saved < taken.get() {
            saved = taken.get();
            save("readings", &saved.to_string()).await?;
        }
        if ends {
            return Ok(());
        }
    }
}

async fn collects_through_a_stop(drains: bool) {
    let collector = node("collector").start(move || collector(drains));
    let at = random().duration(50.ms()..500.ms());
    faults().at(at, sim::stop("collector", 50.ms()));
    let mut acknowledged = 0;
    while elapsed() < 600.ms() {
        acknowledged += u64::from(ask("collector", "reading", 20.ms()).await.is_ok());
        sleep(10.ms()).await;
    }
    collector.restart();
    let kept: u64 = insist("collector", "count").await.parse().unwrap();
    always!(kept >= acknowledged, "a stop in good order loses no reading", "{kept} of {acknowledged}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_collector_that_ignores_the_request_to_end_loses_what_it_had_not_saved() {
    collects_through_a_stop(false).await;
}

#[sim::test(seeds = 10)]
async fn a_collector_that_drains_when_asked_to_end_loses_nothing() {
    collects_through_a_stop(true).await;
}

/// A till that keeps its money in a file: the first build in euros, the second in cents. `tagged`: the file says which.
async fn till(cents: bool, tagged: bool) -> std::io::Result<()> {
    let text = sim::fs::read_to_string("till").await.unwrap_or_else(|_| "0".to_string());
    let in_file = match text.split_once(' ') {
        Some(("cents", number)) => number.parse::<u64>().unwrap() / if cents { 1 } else { 100 },
        Some((_, number)) => number.parse::<u64>().unwrap() * if cents { 100 } else { 1 },
        None => text.parse().unwrap(),
    };
    let money = Rc::new(Cell::new(in_file));
    serve(move |line| {
        let money = money.clone();
        async move {
            let unit = if cents { 100 } else { 1 };
            if line == "euro" {
                money.set(money.get() + unit);
                let tag = if !tagged {
                    ""
                } else if cents {
                    "cents "
                } else {
                    "euros "
                };
                save("till", &format!("{tag}{}", money.get())).await.unwrap();
            }
            (money.get() / unit).to_string()
        }
    })
    .await
}

async fn counts_money_through_an_upgrade(tagged: bool) {
    node("till").start(move || till(false, tagged)).build("2", move || till(true, tagged));
    faults().at(random().duration(50.ms()..500.ms()), sim::upgrade("till", "2").lasting(300.ms()));
    let (mut paid, mut tried) = (0, 0);
    while elapsed() < 1.secs() {
        tried += 1;
        paid += u64::from(ask("till", "euro", 1.secs()).await.is_ok());
        sleep(10.ms()).await;
    }
    let counted: u64 = insist("till", "count").await.parse().unwrap();
    always!((paid..=tried).contains(&counted), "what was paid is in the till", "{counted} of {paid} to {tried}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_build_misreads_what_another_build_wrote() {
    counts_money_through_an_upgrade(false).await;
}

#[sim::test(seeds = 10)]
async fn a_build_that_reads_the_unit_from_the_file_counts_right() {
    counts_money_through_an_upgrade(true).await;
}

/// What the store of a leader holds: the newest epoch that was given out, and a count.
type Held = Rc<RefCell<(u64, u64)>>;

/// Gives a leader that starts an epoch and the count, and takes counts. `fences`: only of the newest epoch.
fn keep_count(held: &Held, line: &str, fences: bool) -> String {
    let (newest, count) = &mut *held.borrow_mut();
    let Some((epoch, next)) = line.split_once(' ') else {
        *newest += 1;
        return format!("{newest} {count}");
    };
    let (epoch, next): (u64, u64) = (epoch.parse().unwrap(), next.parse().unwrap());
    if fences && epoch < *newest {
        return "fenced".to_string();
    }
    always!(next > *count, "every write builds on the one before", "{next} after {count}");
    *count = next;
    "kept".to_string()
}

/// Counts, and writes the count of its own memory to the store, until it is told that another leads.
async fn lead() {
    let start = insist("store", "start").await;
    let (epoch, count) = start.split_once(' ').unwrap();
    let mut count: u64 = count.parse().unwrap();
    loop {
        sleep(random().duration(5.ms()..20.ms())).await;
        count += 1;
        match ask("store", &format!("{epoch} {count}"), 1.secs()).await {
            Ok(answer) if answer == "kept" => {}
            _ => return,
        }
    }
}

async fn leads_through_a_replacement(fences: bool) {
    let held = Held::default();
    let store = held.clone();
    node("store").start(move || {
        let store = store.clone();
        serve(move |line| {
            let answer = keep_count(&store, &line, fences);
            async { answer }
        })
    });
    node("leader").start(lead);
    faults().at(random().duration(50.ms()..500.ms()), sim::fail_over("leader"));
    sleep(1.secs()).await;
    let (epochs, count) = *held.borrow();
    always!(epochs == 2 && count > 20, "the replacement leads", "{count} in epoch {epochs}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_leader_that_was_replaced_and_lives_overwrites_its_replacement() {
    leads_through_a_replacement(false).await;
}

#[sim::test(seeds = 10)]
async fn a_store_that_fences_old_epochs_hears_only_the_replacement() {
    leads_through_a_replacement(true).await;
}
