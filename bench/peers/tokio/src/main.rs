//! The reference, which simulates nothing: tokio on one thread, its clock paused.
//!
//! It has no nodes and no links, so a node is a task here, and the network is either the kernel's loopback interface or a
//! pipe in memory (`tokio::io::duplex`), both without latency.

use std::future::{Future, pending};

use bench_common::sizes::*;
use bench_common::work;
use tokio::io::{DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;
use tokio::time::sleep;

const LOOPBACK: &str = "127.0.0.1:0";

fn main() {
    bench_common::main(&[
        ("pingpong-loopback", || pingpong(loopback())),
        ("pingpong-duplex", || pingpong(pipe())),
        ("timers", || run(work::timers(|number| tokio::spawn(work::sleeper(number, sleep))))),
        ("spawn", || run(work::spawns(SPAWNS, |number| tokio::spawn(async move { number })))),
        ("sweep-5", || sweep(20_000, SWEEP_NODES)),
        ("start-100", || sweep(2_000, START_NODES)),
        ("idle-1000", || run(idle())),
        ("udp", || run(udp())),
        ("bulk-loopback", || bulk(loopback())),
        ("bulk-duplex", || bulk(pipe())),
    ]);
}

fn run<T>(body: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
    runtime.block_on(body)
}

async fn loopback() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOOPBACK).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let client = TcpStream::connect(address).await.expect("a connection");
    let (server, _) = listener.accept().await.expect("a connection");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a stream without delay");
    }
    (client, server)
}

async fn pipe() -> (DuplexStream, DuplexStream) {
    duplex(256 << 10)
}

/// A connection: the client's end and the server's.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static {}

impl<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static> Stream for S {}

fn pingpong<S: Stream>(connect: impl Future<Output = (S, S)>) -> u64 {
    run(async {
        let (client, server) = connect.await;
        let served = tokio::spawn(work::echo(server));
        work::ping(client).await;
        served.await.expect("the server ends well");
        ROUND_TRIPS
    })
}

fn bulk<S: Stream>(connect: impl Future<Output = (S, S)>) -> u64 {
    run(async {
        let (mut client, mut server) = connect.await;
        let served = tokio::spawn(async move { work::receive_bulk(&mut server).await });
        work::send_bulk(&mut client).await;
        served.await.expect("the server ends well");
        BULK_BYTES
    })
}

/// A runtime for every simulation.
fn sweep(simulations: u64, nodes: u64) -> u64 {
    for _ in 0..simulations {
        run(async {
            let naps: Vec<_> = (0..nodes).map(|_| tokio::spawn(sleep(NAP))).collect();
            for nap in naps {
                nap.await.expect("a nap ends well");
            }
        });
    }
    simulations
}

async fn idle() -> u64 {
    for _ in 0..IDLE_NODES {
        tokio::spawn(pending::<()>());
    }
    sleep(IDLE).await;
    1
}

async fn udp() -> u64 {
    let receiver = UdpSocket::bind(LOOPBACK).await.expect("a free port");
    let to = receiver.local_addr().expect("an address");
    let received = tokio::spawn(async move {
        let mut buffer = [0; 2048];
        for _ in 0..DATAGRAMS {
            receiver.recv_from(&mut buffer).await.expect("a datagram");
        }
    });
    let sender = UdpSocket::bind(LOOPBACK).await.expect("a free port");
    let datagram = [1; DATAGRAM_BYTES];
    for number in 1..=DATAGRAMS {
        sender.send_to(&datagram, to).await.expect("a datagram is sent");
        if number % BURST == 0 {
            sleep(BURST_PAUSE).await;
        }
    }
    received.await.expect("the receiver ends well");
    DATAGRAMS
}
