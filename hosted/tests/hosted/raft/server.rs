//! A replica: openraft with its journal and state, and whoever connects.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use openraft::{BasicNode, Config, Raft, SnapshotPolicy};
use tokio::net::{TcpListener, TcpStream};

use super::journal::Journal;
use super::state::State;
use super::wire::{Answer, Peers, Question, receive, send};
use super::{Care, PORT, REPLICAS, Types};

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
pub(super) async fn replica(me: u64, care: Care) -> Result<(), String> {
    serve(me, care).await.map_err(|error| error.to_string())
}

async fn serve(me: u64, care: Care) -> Result<(), Failure> {
    let directory = Path::new("/raft");
    std::fs::create_dir_all(directory)?;
    std::fs::File::open("/")?.sync_all()?;
    let journal = Journal::open(directory, care)?;
    let state = State::open(directory)?;
    let config = Config {
        heartbeat_interval: 100,
        election_timeout_min: 300,
        election_timeout_max: 600,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(40),
        max_in_snapshot_log_to_keep: 10,
        ..Config::default()
    };
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let raft = Raft::new(me, Arc::new(config.validate()?), Peers, journal, state.clone()).await?;
    if !raft.is_initialized().await? {
        let members = (0..REPLICAS).map(|id| (id, BasicNode::new(format!("raft-{id}:{PORT}"))));
        // All replicas do this with the same members, and one may be the first to be heard by another.
        let _ = raft.initialize(members.collect::<BTreeMap<_, _>>()).await;
    }
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(converse(stream, me, raft.clone(), state.clone()));
    }
}

/// Answers one connection until it breaks.
async fn converse(mut stream: TcpStream, me: u64, raft: Raft<Types>, state: State) {
    while let Ok(question) = receive(&mut stream).await {
        let answer = answer(question, me, &raft, &state).await;
        if send(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}

async fn answer(question: Question, me: u64, raft: &Raft<Types>, state: &State) -> Answer {
    match question {
        Question::Append(request) => Answer::Append(raft.append_entries(request).await),
        Question::Vote(request) => Answer::Vote(raft.vote(request).await),
        Question::Install(request) => Answer::Install(raft.install_snapshot(request).await),
        _ if raft.current_leader().await != Some(me) => Answer::NotLeader,
        // An entry of a leader that steps down may be committed by the next one, whatever the error says.
        Question::Put(put) => raft.client_write(put).await.map_or(Answer::Unknown, |_| Answer::Done),
        Question::Get(key) => match raft.ensure_linearizable().await {
            Ok(_) => Answer::Value(state.get(&key)),
            Err(_) => Answer::NotLeader,
        },
    }
}
