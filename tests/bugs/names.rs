//! Messages that reach the wrong one: by a stale name, at an address of another, or from a former life.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use sim::net::dns::{reuse_fault, set_record, stale_fault};
use sim::net::{UdpSocket, record, replay};
use sim::prelude::*;
use sim::time::{elapsed, sleep};

use super::kit::{ask, save, serve};

/// What every store holds, by its name.
type Stores = Rc<RefCell<BTreeMap<&'static str, Vec<u64>>>>;

/// A store that takes values for a service. `checks`: only for the service that it is now.
fn start_store(name: &'static str, serves: impl Fn() -> &'static str + Clone + 'static, stores: &Stores, checks: bool) {
    let stores = stores.clone();
    stores.borrow_mut().insert(name, Vec::new());
    node(name).start(move || {
        let (stores, serves) = (stores.clone(), serves.clone());
        serve(move |line| {
            let (service, value) = line.split_once(' ').unwrap();
            let takes = !checks || service == serves();
            if takes {
                stores.borrow_mut().get_mut(name).unwrap().push(value.parse().unwrap());
            }
            async move { if takes { "kept" } else { "not here" }.to_string() }
        })
    });
}

/// Writes values to a service; which were acknowledged, with when.
async fn write_to(service: &'static str) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    for value in 0..50 {
        if ask(service, &format!("{service} {value}"), 200.ms()).await.is_ok_and(|answer| answer == "kept") {
            acknowledged.push(value);
        }
        sleep(20.ms()).await;
    }
    acknowledged
}

/// The addresses of the dead go to the living: `orders` moves, and `billing` gets its address.
async fn writes_through_a_reused_address(checks: bool) {
    let stores = Stores::default();
    start_store("orders", || "orders", &stores, checks);
    start_store("billing", || "billing", &stores, checks);
    let at = random().duration(50.ms()..500.ms());
    faults().at(at, reuse_fault("orders", "billing")).at(at, stale_fault("client").lasting(300.ms()));
    let acknowledged = node("client").spawn(write_to("orders")).await.unwrap();
    let (orders, billing) = (&stores.borrow()["orders"], &stores.borrow()["billing"]);
    let lost: Vec<&u64> = acknowledged.iter().filter(|value| !orders.contains(value)).collect();
    always!(lost.is_empty(), "orders has its orders", "{lost:?} are missing, and billing has {billing:?}");
    always!(acknowledged.last() == Some(&49), "orders is written to again", "{acknowledged:?}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_store_at_the_address_of_another_takes_what_is_not_for_it() {
    writes_through_a_reused_address(false).await;
}

#[sim::test(seeds = 10)]
async fn a_store_that_looks_for_whom_a_write_is_refuses_it() {
    writes_through_a_reused_address(true).await;
}

/// The name `primary` moves from one store to another, and a client hears of it late.
async fn writes_through_a_stale_name(checks: bool) {
    let (stores, moves) = (Stores::default(), random().duration(50.ms()..500.ms()));
    let role = |first: bool| move || if first == (elapsed() < moves) { "primary" } else { "archive" };
    start_store("a", role(true), &stores, checks);
    start_store("b", role(false), &stores, checks);
    set_record("primary", node("a"));
    faults().at(moves + 1.ms(), stale_fault("client").lasting(300.ms()));
    let written = node("client").spawn(write_to("primary"));
    sleep(moves).await;
    set_record("primary", node("b"));
    // What was on its way as the name moved is for whoever has the name then.
    sleep(10.ms()).await;
    let before = stores.borrow()["a"].clone();
    let acknowledged = written.await.unwrap();
    let (a, b) = (&stores.borrow()["a"], &stores.borrow()["b"]);
    let lost: Vec<&u64> = acknowledged.iter().filter(|value| !before.contains(value) && !b.contains(value)).collect();
    always!(lost.is_empty(), "the primary has what was written", "{lost:?} are missing, and the old one has {a:?}");
    always!(acknowledged.last() == Some(&49), "the primary is written to again", "{acknowledged:?}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_stale_name_sends_writes_to_a_store_that_is_primary_no_more() {
    writes_through_a_stale_name(false).await;
}

#[sim::test(seeds = 10)]
async fn a_store_that_knows_that_it_is_primary_no_more_refuses_them() {
    writes_through_a_stale_name(true).await;
}

/// Sends a gauge to a replica, with its life, which a file counts, and a number, which begins again in every life.
async fn gauge() -> std::io::Result<()> {
    let life = sim::fs::read_to_string("life").await.map_or(0, |text| text.parse::<u64>().unwrap()) + 1;
    save("life", &life.to_string()).await?;
    let socket = UdpSocket::bind("0.0.0.0:9").await?;
    for number in 0u64.. {
        let level = elapsed().as_micros();
        socket.send_to(format!("{life} {number} {level}").as_bytes(), "replica:9").await?;
        sleep(20.ms()).await;
    }
    Ok(())
}

/// Shows the newest level: that of the newest number of the newest life (`by_life`), or since the last first number.
async fn replica(by_life: bool) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:9").await?;
    let (mut newest, mut shown) = ((0, 0), 0);
    let mut message = [0; 100];
    loop {
        let (length, _) = socket.recv_from(&mut message).await?;
        let words = std::str::from_utf8(&message[..length]).unwrap().split(' ');
        let [life, number, level] = words.map(|word| word.parse().unwrap()).collect::<Vec<u64>>()[..] else { continue };
        let place = if by_life { (life, number) } else { (0, number) };
        if place > newest || !by_life && number == 0 {
            newest = place;
            always!(level >= shown, "the gauge shows nothing old", "{level} after {shown}");
            shown = level;
        }
    }
}

async fn shows_through_a_restart(by_life: bool) {
    node("replica").start(move || replica(by_life));
    node("gauge").start(gauge);
    let kept = record(|packet| packet.to.name() == "replica");
    let dies = random().duration(200.ms()..1.secs());
    faults().at(dies, crash("gauge").lasting(50.ms()));
    sleep(dies).await;
    kept.stop();
    // One of the last messages was on its way for longer than the restart took.
    let late = kept.packets();
    sleep(random().duration(50.ms()..500.ms())).await;
    always!(replay(&late[late.len() - 1 - random().range(0..5) as usize]), "it is sent again");
    sleep(1.secs()).await;
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_message_of_a_former_life_passes_for_a_new_one() {
    shows_through_a_restart(false).await;
}

#[sim::test(seeds = 10)]
async fn a_message_of_a_former_life_is_known_by_its_life() {
    shows_through_a_restart(true).await;
}
