//! Partitions: both ways, one way, and of a node from all others.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use sim::net::{UdpSocket, isolate_fault, partition_fault, partition_oneway_fault};
use sim::prelude::*;
use sim::time::{Instant, sleep, timeout};

use super::kit::{ask, insist, serve};

/// A client that pays until it has an answer, and a bank that may know the payment by its number.
async fn pays_through_a_partition(numbered: bool) {
    let (seen, balance) = (Rc::new(RefCell::new(BTreeSet::new())), Rc::new(Cell::new(0)));
    let paid = balance.clone();
    node("bank").start(move || {
        let (seen, balance) = (seen.clone(), balance.clone());
        serve(move |number| {
            if !numbered || seen.borrow_mut().insert(number) {
                balance.set(balance.get() + 1);
            }
            async { "paid".to_string() }
        })
    });
    let payer = node("payer").spawn(async {
        for number in 0..10 {
            insist("bank", &number.to_string()).await;
            sleep(20.ms()).await;
        }
    });
    faults().at(random().duration(5.ms()..150.ms()), partition_fault("payer", "bank").lasting(1.secs()));
    payer.await.unwrap();
    sleep(5.secs()).await;
    always!(paid.get() == 10, "every payment is made once", "{} of 10", paid.get());
}

#[sim::test(seeds = 200, expect = "incorrect")]
async fn a_retry_without_a_number_pays_twice() {
    pays_through_a_partition(false).await;
}

#[sim::test(seeds = 200)]
async fn a_retry_with_a_number_pays_once() {
    pays_through_a_partition(true).await;
}

/// Two nodes send each other heartbeats; the second leads when it thinks the first is dead. `mutual`: the first leads only
/// as long as the second says that it hears it.
async fn leads_through_a_one_way_cut(mutual: bool) {
    let leading = Rc::new(RefCell::new([false; 2]));
    for me in 0..2usize {
        let leading = leading.clone();
        node(&format!("n{me}")).start(move || {
            let leading = leading.clone();
            async move {
                let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
                let other = format!("n{}:9", 1 - me);
                let mut quiet_since = Instant::now();
                loop {
                    let heard = quiet_since.elapsed() < 300.ms();
                    socket.send_to(&[u8::from(heard)], &other).await.unwrap();
                    let mut hears_me = [0];
                    if let Ok(Ok(_)) = timeout(50.ms(), socket.recv_from(&mut hears_me)).await {
                        quiet_since = Instant::now();
                        let may_lead = me == 0 && (!mutual || hears_me == [1]);
                        leading.borrow_mut()[me] = may_lead;
                        sleep(50.ms()).await;
                    } else if !heard {
                        // The first waits longer than the second needs to notice.
                        leading.borrow_mut()[me] =
                            if mutual { me == 1 && quiet_since.elapsed() > 1.secs() } else { true };
                    }
                }
            }
        });
    }
    faults().at(random().duration(500.ms()..1.secs()), partition_oneway_fault("n0", "n1"));
    for _ in 0..50 {
        sleep(100.ms()).await;
        always!(*leading.borrow() != [true, true], "one leader");
    }
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn a_leader_that_only_listens_does_not_know_that_nobody_hears_it() {
    leads_through_a_one_way_cut(false).await;
}

#[sim::test(seeds = 50)]
async fn a_leader_that_asks_whether_it_is_heard_steps_down() {
    leads_through_a_one_way_cut(true).await;
}

/// A leader of three that serves reads; the majority writes on without it. `asks`: it serves only what another confirms.
async fn reads_through_isolation(asks: bool) {
    let written = Rc::new(Cell::new(0u64));
    let copies = Rc::new(RefCell::new([0u64; 3]));
    for me in 0..3usize {
        let copies = copies.clone();
        node(&format!("n{me}")).start(move || {
            let copies = copies.clone();
            serve(move |line| {
                let copies = copies.clone();
                async move {
                    if let Some(value) = line.strip_prefix("write ") {
                        copies.borrow_mut()[me] = value.parse().unwrap();
                        return "written".to_string();
                    }
                    let mut newest = copies.borrow()[me];
                    if asks && line == "read" {
                        let other = format!("n{}", (me + 1) % 3);
                        match ask(&other, "peek", 200.ms()).await.map(|value| value.parse::<u64>().unwrap()) {
                            Ok(value) => newest = newest.max(value),
                            Err(_) => return "unsure".to_string(),
                        }
                    }
                    newest.to_string()
                }
            })
        });
    }
    let last = written.clone();
    node("writer").spawn(async move {
        for value in 1..40 {
            let mut copied = 0;
            for me in 0..3 {
                copied += u32::from(ask(&format!("n{me}"), &format!("write {value}"), 50.ms()).await.is_ok());
            }
            if copied >= 2 {
                last.set(value);
            }
            sleep(20.ms()).await;
        }
    });
    // The reader is on the leader's own machine, so that it is cut off with it.
    let at = random().duration(100.ms()..500.ms());
    faults().at(at, isolate_fault("n0").lasting(2.secs()));
    node("n0").spawn(async move {
        loop {
            let before = written.get();
            if let Ok(value) = ask("n0", "read", 500.ms()).await.unwrap_or_default().parse::<u64>() {
                always!(value >= before, "a read is not stale", "{value}, and {before} was written");
            }
            sleep(30.ms()).await;
        }
    });
    sleep(3.secs()).await;
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn an_isolated_leader_serves_what_is_old() {
    reads_through_isolation(false).await;
}

#[sim::test(seeds = 50)]
async fn a_leader_that_asks_another_serves_nothing_old() {
    reads_through_isolation(true).await;
}
