//! The work of the cases, generic over the framework that it runs in.
//!
//! Every write is flushed: madsim sends nothing before that, and to the others it means nothing.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::prng::Prng;
use crate::sizes::*;

/// Sends every ping back: the server of the case pingpong.
pub async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut message = [0; PING_BYTES];
    for _ in 0..ROUND_TRIPS {
        stream.read_exact(&mut message).await.expect("a ping");
        stream.write_all(&message).await.expect("a pong is sent");
        stream.flush().await.expect("a pong is sent");
    }
}

/// Sends pings and waits for each to come back: the client of the case pingpong.
pub async fn ping(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut message = [7; PING_BYTES];
    for _ in 0..ROUND_TRIPS {
        stream.write_all(&message).await.expect("a ping is sent");
        stream.flush().await.expect("a ping is sent");
        stream.read_exact(&mut message).await.expect("a pong");
    }
}

/// Reads all bytes of the case bulk.
pub async fn receive_bulk(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; BULK_WRITE];
    let mut received = 0;
    while received < BULK_BYTES {
        let length = stream.read(&mut buffer).await.expect("bytes");
        assert!(length > 0, "the stream ended after {received} bytes");
        received += length as u64;
    }
}

/// Writes all bytes of the case bulk.
pub async fn send_bulk(stream: &mut (impl AsyncWrite + Unpin)) {
    let bytes = vec![3; BULK_WRITE];
    for _ in 0..BULK_BYTES / BULK_WRITE as u64 {
        stream.write_all(&bytes).await.expect("bytes are sent");
        stream.flush().await.expect("bytes are sent");
    }
}

/// Spawns the tasks of the case timers and joins them; returns how many timers fired. A task runs [`sleeper`].
pub async fn timers<Handle, Error>(spawn: impl Fn(u64) -> Handle) -> u64
where
    Handle: Future<Output = Result<(), Error>>,
    Error: std::fmt::Debug,
{
    let sleepers: Vec<Handle> = (0..SLEEPERS).map(spawn).collect();
    for sleeper in sleepers {
        sleeper.await.expect("a sleeper ends well");
    }
    SLEEPERS * SLEEPS
}

/// A task of the case timers: sleeps again and again.
pub async fn sleeper(number: u64, sleep: impl AsyncFn(Duration)) {
    let mut lengths = Prng::new(number);
    for _ in 0..SLEEPS {
        sleep(Duration::from_millis(lengths.up_to(LONGEST_SLEEP_MS))).await;
    }
}

/// Spawns tasks that return the number they are given, and joins them, batch by batch; returns how many.
pub async fn spawns<Handle, Error>(count: u64, spawn: impl Fn(u64) -> Handle) -> u64
where
    Handle: Future<Output = Result<u64, Error>>,
    Error: std::fmt::Debug,
{
    for _ in 0..count / SPAWN_BATCH {
        let batch: Vec<Handle> = (0..SPAWN_BATCH).map(&spawn).collect();
        for (task, number) in batch.into_iter().zip(0..) {
            assert_eq!(task.await.expect("a task ends well"), number);
        }
    }
    count
}
