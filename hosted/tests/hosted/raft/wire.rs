//! Questions and answers as JSON over TCP, each behind its length.

use std::io;

use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{PORT, Put, Types};

#[derive(Serialize, Deserialize)]
pub(super) enum Question {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    Install(InstallSnapshotRequest<Types>),
    Put(Put),
    Get(String),
}

#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Append(Result<AppendEntriesResponse<u64>, RaftError<u64>>),
    Vote(Result<VoteResponse<u64>, RaftError<u64>>),
    Install(Result<InstallSnapshotResponse<u64>, RaftError<u64, InstallSnapshotError>>),
    Done,
    Value(String),
    /// Nothing was done.
    NotLeader,
    /// It may have been done.
    Unknown,
}

pub(super) async fn send<T: Serialize>(stream: &mut TcpStream, message: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    stream.write_u32(bytes.len() as u32).await?;
    stream.write_all(&bytes).await
}

pub(super) async fn receive<T: DeserializeOwned>(stream: &mut TcpStream) -> io::Result<T> {
    let mut bytes = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut bytes).await?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// A connection to a replica, made when it is needed.
#[derive(Default)]
pub(super) struct Connection(Option<TcpStream>);

impl Connection {
    /// Asks, and waits for the answer. Whoever does not wait for it leaves no half of an exchange behind.
    pub(super) async fn ask(&mut self, replica: u64, question: &Question) -> io::Result<Answer> {
        let mut stream = match self.0.take() {
            Some(stream) => stream,
            None => TcpStream::connect((format!("raft-{replica}"), PORT)).await?,
        };
        send(&mut stream, question).await?;
        let answer = receive(&mut stream).await?;
        self.0 = Some(stream);
        Ok(answer)
    }
}

/// Makes connections to peers.
pub(super) struct Peers;

pub(super) struct Peer {
    id: u64,
    connection: Connection,
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, id: u64, _node: &BasicNode) -> Peer {
        Peer { id, connection: Connection::default() }
    }
}

type Asked<T, E = openraft::error::Infallible> = Result<T, RPCError<u64, BasicNode, RaftError<u64, E>>>;

impl Peer {
    async fn ask<T, E: std::error::Error>(
        &mut self,
        question: Question,
        expected: impl FnOnce(Answer) -> Option<Result<T, RaftError<u64, E>>>,
    ) -> Asked<T, E> {
        let answer = self.connection.ask(self.id, &question).await.map_err(|error| Unreachable::new(&error))?;
        match expected(answer) {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(RemoteError::new(self.id, error).into()),
            None => Err(Unreachable::new(&io::Error::from(io::ErrorKind::InvalidData)).into()),
        }
    }
}

macro_rules! asks {
    ($($function:ident($request:ty) -> $response:ty, $error:ty: $kind:ident;)*) => {
        impl RaftNetwork<Types> for Peer {
            $(async fn $function(&mut self, request: $request, _option: RPCOption) -> Asked<$response, $error> {
                let expected = |answer| match answer {
                    Answer::$kind(result) => Some(result),
                    _ => None,
                };
                self.ask(Question::$kind(request), expected).await
            })*
        }
    };
}

asks! {
    append_entries(AppendEntriesRequest<Types>) -> AppendEntriesResponse<u64>, openraft::error::Infallible: Append;
    vote(VoteRequest<u64>) -> VoteResponse<u64>, openraft::error::Infallible: Vote;
    install_snapshot(InstallSnapshotRequest<Types>) -> InstallSnapshotResponse<u64>, InstallSnapshotError: Install;
}
