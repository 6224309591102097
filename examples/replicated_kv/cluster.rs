//! The test: three replicas, a monitor, clients that write down what they see, and things that go wrong.

use std::time::Duration;

use sim::check::model::{Kv, KvOp, KvRet};
use sim::net::{isolate_fault, partition_fault};
use sim::prelude::*;
use sim::time::{elapsed, sleep};

use crate::Bug;
use crate::monitor::monitor;
use crate::replica::replica;
use crate::wire::{Answer, ToReplica, ask};

const REPLICAS: usize = 3;
const CLIENTS: usize = 3;
const PATIENCE: Duration = Duration::from_millis(600);

/// Clients work for so long, and faults strike meanwhile.
const WORK: Duration = Duration::from_secs(4);

type Seen = History<KvOp, KvRet>;

pub(crate) async fn cluster(bug: Option<Bug>) {
    node("monitor").start(move || monitor(bug));
    nodes("kv", REPLICAS).start(move |me| replica(me, bug));
    let history = Seen::new();
    let seen = history.clone();
    let clients = nodes("client", CLIENTS).start(move |place| client(place as u64, seen.clone()));
    plan_faults();
    clients.join().await;
    history.check(linearizable(Kv::default()));
}

/// Draws one to three things that go wrong.
fn plan_faults() {
    let names: Vec<String> = (0..REPLICAS).map(|replica| format!("kv-{replica}")).collect();
    for _ in 0..random().range(1..4) {
        let at = random().range(300..3_000).ms();
        let lasting = random().range(100..1_500).ms();
        let victim = random().pick(&names);
        let strike = match random().range(0..5) {
            0 => vec![crash(victim)],
            1 => vec![power_loss(victim)],
            2 => names.iter().map(|name| power_loss(name)).collect(),
            3 => vec![isolate_fault(victim)],
            _ => vec![partition_fault(victim, "monitor")],
        };
        for fault in strike {
            faults().at(at, fault.lasting(lasting).may_miss());
        }
    }
}

/// Puts and gets, one at a time, at whichever replica serves.
async fn client(process: u64, seen: Seen) {
    let (mut primary, mut operation) = (0, 0);
    while elapsed() < WORK {
        sleep(random().duration(1.ms()..60.ms())).await;
        operation += 1;
        let key = format!("k{}", random().range(0..2));
        let done = if random().chance(Ratio::percent(50)) {
            put(process, &seen, primary, key, format!("{process}.{operation}")).await
        } else {
            get(process, &seen, primary, key).await
        };
        if !done {
            primary = random().range(0..REPLICAS as u64);
        }
    }
}

async fn put(process: u64, seen: &Seen, at: u64, key: String, value: String) -> bool {
    let call = seen.invoke(process, KvOp::Put(key.clone(), value.clone()));
    match ask(&format!("kv-{at}"), &ToReplica::Put { key, value }, PATIENCE).await {
        Ok(Answer::Done) => call.ok(KvRet::Written),
        Ok(Answer::NotPrimary) => {
            call.fail();
            return false;
        }
        // It may have happened, or happen yet.
        _ => {
            call.info();
            return false;
        }
    }
    true
}

async fn get(process: u64, seen: &Seen, at: u64, key: String) -> bool {
    let call = seen.invoke(process, KvOp::Get(key.clone()));
    match ask(&format!("kv-{at}"), &ToReplica::Get { key }, PATIENCE).await {
        Ok(Answer::Value(value)) => {
            call.ok(KvRet::Value(value));
            true
        }
        // Whether it happened makes no difference.
        _ => {
            call.fail();
            false
        }
    }
}
