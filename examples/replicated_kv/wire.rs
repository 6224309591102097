//! Messages: one question and one answer to a connection, a line of JSON each.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sim::net::{TcpListener, TcpStream};
use sim::spawn;
use sim::time::timeout;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// The port that everything listens on.
const PORT: u16 = 7000;

/// Who serves: the first member is the primary, the others are its backups.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) number: u64,
    pub(crate) members: Vec<usize>,
}

/// The contents of a replica.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// How many writes are in it.
    pub(crate) sequence: u64,
    pub(crate) values: BTreeMap<String, String>,
}

/// What one asks the monitor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ToMonitor {
    /// A replica starts: whatever it was a member of, it has forgotten.
    Booted(usize),
    /// A replica lives. As primary of view `in_view` it may have brought another up to date.
    Alive { replica: usize, in_view: u64, brought: Option<usize> },
}

/// What one asks a replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum ToReplica {
    Get {
        key: String,
    },
    Put {
        key: String,
        value: String,
    },
    /// From the primary: apply this write. Without one: say that you still follow me.
    Replicate {
        view: u64,
        sequence: u64,
        write: Option<(String, String)>,
    },
    /// From the primary: become this.
    Become {
        view: u64,
        contents: Contents,
    },
    /// From a replica that is no member: bring me up to date.
    Join {
        replica: usize,
    },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Value(String),
    Done,
    /// Not served, and nothing happened.
    NotPrimary,
    /// Not acknowledged, and it may have happened.
    Deposed,
    /// The asker's view is not the one in force.
    WrongView,
}

/// Asks a node once.
pub(crate) async fn ask<A: DeserializeOwned>(
    node: &str,
    question: &impl Serialize,
    patience: Duration,
) -> io::Result<A> {
    let exchange = async {
        let mut stream = BufReader::new(TcpStream::connect((node, PORT)).await?);
        stream.write_all(format!("{}\n", serde_json::to_string(question)?).as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        Ok(serde_json::from_str(&line)?)
    };
    timeout(patience, exchange).await?
}

/// Answers every question with `answer`, many at a time.
pub(crate) async fn serve<Q, A, F>(answer: impl Fn(Q) -> F + Clone + 'static) -> io::Result<()>
where
    Q: DeserializeOwned + 'static,
    A: Serialize + 'static,
    F: Future<Output = io::Result<A>> + 'static,
{
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let answer = answer(serde_json::from_str(&line)?).await?;
            stream.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await
        });
    }
}
