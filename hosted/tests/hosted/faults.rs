//! What may befall a hosted node: kill, pause, power loss, restart; and what nobody can end.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, OnceLock};
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
    mappings: usize,
    memory_kib: usize,
}

impl Footprint {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        Footprint {
            threads: std::fs::read_dir("/proc/self/task").unwrap().count(),
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: std::fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
            memory_kib: line.split_whitespace().nth(1).unwrap().parse().unwrap(),
        }
    }
}

/// The first fifth warms caches up; from then on nothing may be left behind but so much memory.
fn is_flat(footprints: &[Footprint], mib: usize) {
    let (early, late) = (&footprints[2], footprints.last().unwrap());
    assert_eq!(early.threads, late.threads, "{footprints:#?}");
    assert_eq!(early.descriptors, late.descriptors, "{footprints:#?}");
    assert!(late.mappings < early.mappings + 16, "{footprints:#?}");
    // A run that is compared with another keeps its log, which grows.
    let keeps_its_log = std::env::var_os("SIM_CHECK").is_some();
    assert!(keeps_its_log || late.memory_kib < early.memory_kib + mib * 1024, "{footprints:#?}");
}

#[sim::test(seed = 0, time_limit = "10h")]
async fn ten_thousand_restarts_on_the_fast_path_hold_flat() {
    let server = node("server").host_async(echo);
    is_flat(&restart_often(server, 10_000).await, 4);
}

#[sim::test(seed = 0, time_limit = "10h")]
async fn ten_thousand_restarts_with_threads_hold_flat() {
    let server = node("server").host(echo_with_threads);
    is_flat(&restart_often(server, 10_000).await, 4);
}

#[sim::test(seed = 0, time_limit = "10h")]
async fn ten_thousand_restarts_of_a_runtime_with_threads_hold_flat() {
    let server = node("server").host(echo_with_many_threads);
    // Some 20,000 threads were killed while parking_lot had them in its table, which has room for them ever after.
    is_flat(&restart_often(server, 10_000).await, 16);
}

#[sim::test(seed = 0, time_limit = "10h")]
async fn what_a_static_points_to_outlives_the_life_that_made_it() {
    type Shelf = BTreeMap<String, Arc<Vec<String>>>;
    static SHELF: OnceLock<Mutex<Shelf>> = OnceLock::new();
    let server = node("server").host(|| {
        let mut shelf = SHELF.get_or_init(Mutex::default).lock().unwrap();
        let life = shelf.len();
        shelf.insert(
            format!("life {life}"),
            Arc::new((0..10).map(|book| format!("book {book} of life {life}")).collect()),
        );
        drop(shelf);
        let _garbage: Vec<Vec<u8>> = (0..100).map(|size| vec![1; size * 100]).collect();
        std::thread::sleep(Duration::from_secs(3600));
    });
    for _ in 0..100 {
        sim::time::sleep(1.ms()).await;
        server.crash();
        server.restart();
    }
    let shelf = SHELF.get().unwrap().lock().unwrap();
    assert_eq!(shelf.len(), 100);
    for life in 0..100 {
        let books = &shelf[&format!("life {life}")];
        assert!(books.iter().enumerate().all(|(book, name)| *name == format!("book {book} of life {life}")));
    }
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
