//! tokio's runtimes, both of them, on both ways to host.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::io;
use std::time::Duration;

use sim::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut buffer = [0; 1024];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                let slow = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(3)));
                slow.await.unwrap();
                if stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask() -> io::Result<()> {
    let mut stream = TcpStream::connect("server:7").await?;
    for _ in 0..10 {
        stream.write_all(b"hello").await?;
        let mut answer = [0; 5];
        tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await??;
        assert_eq!(&answer, b"hello");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// What the attribute makes of an async main is a function that blocks.
#[tokio::main(flavor = "multi_thread", worker_threads = 3)]
async fn main_of_the_server() -> io::Result<()> {
    serve().await
}

#[tokio::main]
async fn main_of_the_client() -> io::Result<()> {
    let asks: Vec<_> = (0..4).map(|_| tokio::spawn(ask())).collect();
    for ask in asks {
        ask.await.unwrap()?;
    }
    Ok(())
}

#[sim::test(seeds = 20)]
async fn tokio_main_with_many_threads_and_spawn_blocking() {
    node("server").host(main_of_the_server);
    sim::time::sleep(50.ms()).await;
    node("client").host(main_of_the_client).join().await;
}

#[sim::test(seeds = 20)]
async fn tokio_on_the_fast_path() {
    node("server").host_async(serve);
    sim::time::sleep(50.ms()).await;
    node("client").host_async(ask).join().await;
}

#[sim::test(seeds = 20)]
async fn native_and_hosted_nodes_talk_to_each_other() {
    node("server").host_async(serve);
    sim::time::sleep(50.ms()).await;
    let mut stream = sim::net::TcpStream::connect("server:7").await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
}

/// Pinned: debug and release builds come to it. It changes with the programs' dependencies, and with what a seed means.
const DIGEST_OF_SEED_7: u64 = 0x36af_2b1e_4aa2_28d0;

#[test]
fn a_seed_of_hosted_programs_has_one_digest_in_debug_and_in_release() {
    let report = sim::simulation(7).run(async || {
        node("server").host(main_of_the_server);
        sim::time::sleep(50.ms()).await;
        node("client").host(main_of_the_client).join().await;
    });
    assert!(report.passed() && report.digest == DIGEST_OF_SEED_7, "{report:#x?}");
}
