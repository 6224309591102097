//! openraft, a Raft from the registry: a replicated store of strings over TCP, with its log and its snapshots on disk.

mod journal;
mod server;
mod state;
mod wire;

use std::io::Cursor;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sim::check::model::{Kv, KvOp, KvRet};
use sim::net::{isolate_fault, partition_fault};
use sim::prelude::*;

use wire::{Answer, Connection, Question};

openraft::declare_raft_types!(
    /// What openraft is told of the store.
    Types:
        D = Put,
        R = (),
        SnapshotData = Cursor<Vec<u8>>,
);

/// A write: key, value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Put(String, String);

/// What the journal does, and does not, before a replica answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Care {
    Full,
    /// A planted bug.
    NeverSyncs,
    /// openraft leaves it to the store whether it keeps what is committed.
    ForgetsWhatIsCommitted,
}

const REPLICAS: u64 = 3;
const CLIENTS: usize = 3;
const PORT: u16 = 9000;

/// Clients work for so long, and faults strike meanwhile.
const WORK: Duration = Duration::from_secs(8);

type Seen = History<KvOp, KvRet>;

async fn cluster(care: Care) -> usize {
    for me in 0..REPLICAS {
        node(&format!("raft-{me}")).host(move || server::replica(me, care));
    }
    let history = Seen::new();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|place| {
            let seen = history.clone();
            node(&format!("client-{place}")).host_async(move || client(place as u64, seen.clone()))
        })
        .collect();
    plan_faults();
    for client in clients {
        client.join().await;
    }
    history.check(linearizable(Kv::default()));
    history.operations().iter().filter(|operation| operation.acknowledged().is_some()).count()
}

/// Draws two to five things that go wrong.
fn plan_faults() {
    let names: Vec<String> = (0..REPLICAS).map(|replica| format!("raft-{replica}")).collect();
    for _ in 0..random().range(2..6) {
        let at = random().range(1_000..6_000).ms();
        let lasting = random().range(100..2_000).ms();
        let (victim, other) = (random().pick(&names), random().pick(&names));
        let strike = match random().range(0..5) {
            0 => vec![crash(victim)],
            1 => vec![power_loss(victim)],
            2 => names.iter().map(|name| power_loss(name)).collect(),
            3 => vec![isolate_fault(victim)],
            _ if victim == other => vec![pause(victim)],
            _ => vec![partition_fault(victim, other)],
        };
        for fault in strike {
            faults().at(at, fault.lasting(lasting).may_miss());
        }
    }
}

/// Puts and gets, one at a time, at whichever replica leads.
async fn client(process: u64, seen: Seen) {
    let (mut leader, mut number) = (0, 0);
    let mut connection = Connection::default();
    while sim::time::elapsed() < WORK {
        tokio::time::sleep(Duration::from_millis(5 + fastrand::u64(..80))).await;
        number += 1;
        let key = format!("k{}", fastrand::u64(..2));
        let done = if fastrand::bool() {
            put(process, &seen, &mut connection, leader, Put(key, format!("{process}.{number}"))).await
        } else {
            get(process, &seen, &mut connection, leader, key).await
        };
        if !done {
            leader = fastrand::u64(..REPLICAS);
            connection = Connection::default();
        }
    }
}

async fn ask(connection: &mut Connection, leader: u64, question: &Question) -> Option<Answer> {
    let exchange = connection.ask(leader, question);
    tokio::time::timeout(Duration::from_secs(1), exchange).await.ok()?.ok()
}

async fn put(process: u64, seen: &Seen, connection: &mut Connection, leader: u64, put: Put) -> bool {
    let call = seen.invoke(process, KvOp::Put(put.0.clone(), put.1.clone()));
    match ask(connection, leader, &Question::Put(put)).await {
        Some(Answer::Done) => call.ok(KvRet::Written),
        Some(Answer::NotLeader) => {
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

async fn get(process: u64, seen: &Seen, connection: &mut Connection, leader: u64, key: String) -> bool {
    let call = seen.invoke(process, KvOp::Get(key.clone()));
    match ask(connection, leader, &Question::Get(key)).await {
        Some(Answer::Value(value)) => {
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

#[sim::test(seeds = 20)]
async fn the_store_is_linearizable_through_partitions_crashes_and_power_losses() {
    let done = cluster(Care::Full).await;
    assert!(done > 20, "only {done} operations were answered");
}

/// The planted bug: a journal that is not synced forgets votes and entries which others count on.
#[sim::test(seeds = 100, expect = "incorrect")]
async fn a_journal_that_never_syncs_loses_what_was_acknowledged() {
    cluster(Care::NeverSyncs).await;
}

/// A finding: with `RaftLogStorage::save_committed` left out, which is optional, a leader that is started again leads at once,
/// without an election, and confirms linearizable reads of the state that its last snapshot has.
#[sim::test(seeds = 100, expect = "incorrect")]
async fn a_store_that_forgets_what_is_committed_reads_the_past_after_a_restart() {
    cluster(Care::ForgetsWhatIsCommitted).await;
}
