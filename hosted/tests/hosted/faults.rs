//! What may befall a hosted node: kill, pause, power loss, restart; and what nobody can end.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sim::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn echo_with_threads() -> std::io::Result<()> {
    let listener = std::net::TcpListener::bind("0.0.0.0:7")?;
    let beats = Arc::new(Mutex::new(Vec::new()));
    let heart = beats.clone();
    std::thread::spawn(move || {
        loop {
            heart.lock().unwrap().push([0u8; 4096]);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    loop {
        let (mut stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn echo_with_many_threads() -> std::io::Result<()> {
    echo().await
}

async fn echo() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Talks to the server until it is killed under the connection, and again after its restart.
async fn restart_often(server: sim::Node, times: u32) -> Vec<Footprint> {
    let mut footprints = Vec::new();
    for round in 0..times {
        let mut stream = loop {
            match sim::net::TcpStream::connect("server:7").await {
                Ok(stream) => break stream,
                Err(_) => sim::time::sleep(1.ms()).await,
            }
        };
        stream.write_all(b"hello").await.unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.unwrap();
        if round % 2 == 0 {
            server.crash();
        } else {
            server.power_loss();
        }
        server.restart();
        if round % (times / 10) == 0 {
            footprints.push(Footprint::now());
        }
    }
    footprints
}

/// What this process has of the real machine.
#[derive(Debug)]
struct Footprint {
    threads: usize,
    descriptors: usize,
    memory_kib: usize,
}

impl Footprint {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        Footprint {
            threads: std::fs::read_dir("/proc/self/task").unwrap().count(),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            memory_kib: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
        }
    }
}

/// The first tenth warms caches up; from then on no thread and no descriptor may be left behind.
fn leaves_nothing_behind(footprints: &[Footprint]) {
    let (early, late) = (&footprints[2], footprints.last().unwrap());
    assert_eq!(early.threads, late.threads, "{footprints:#?}");
    assert_eq!(early.descriptors, late.descriptors, "{footprints:#?}");
}

/// Nor may memory grow.
fn is_flat(footprints: &[Footprint]) {
    leaves_nothing_behind(footprints);
    let (early, late) = (&footprints[2], footprints.last().unwrap());
    assert!(late.memory_kib < early.memory_kib + 4096, "{footprints:#?}");
}

#[sim::test(seed = 0, time_limit = "10h")]
async fn ten_thousand_restarts_on_the_fast_path_hold_flat() {
    let server = node("server").host_async(echo);
    is_flat(&restart_often(server, 10_000).await);
}

#[sim::test(seed = 0, time_limit = "10h")]
async fn ten_thousand_restarts_with_threads_leave_no_thread_behind() {
    let server = node("server").host(echo_with_threads);
    leaves_nothing_behind(&restart_often(server, 10_000).await);
}

#[sim::test(seed = 0, time_limit = "10h")]
async fn ten_thousand_restarts_of_a_runtime_with_threads_leave_no_thread_behind() {
    let server = node("server").host(echo_with_many_threads);
    leaves_nothing_behind(&restart_often(server, 10_000).await);
}

#[sim::test(seeds = 20)]
async fn a_paused_node_is_silent_and_goes_on() {
    let server = node("server").host(echo_with_threads);
    sim::time::sleep(10.ms()).await;
    let mut stream = sim::net::TcpStream::connect("server:7").await.unwrap();
    server.pause();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    assert!(sim::time::timeout(10.secs(), stream.read_exact(&mut answer)).await.is_err());
    server.resume();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

#[sim::test(seed = 0, expect = "stuck")]
async fn a_deadlock_of_two_locks_is_stuck() {
    let program = || {
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        let other = locks.clone();
        let thread = std::thread::spawn(move || {
            let _second = other.1.lock().unwrap();
            std::thread::sleep(Duration::from_millis(1));
            let _first = other.0.lock().unwrap();
        });
        let _first = locks.0.lock().unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let _second = locks.1.lock().unwrap();
        thread.join().unwrap();
    };
    node("program").host(program).join().await;
}
