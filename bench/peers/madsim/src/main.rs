//! madsim, with madsim-tokio in the place of tokio: links of one millisecond, no faults.

#[cfg(not(madsim))]
compile_error!("madsim needs --cfg madsim: build in the folder peers/madsim, and without RUSTFLAGS");

use std::future::{Future, pending};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bench_common::sizes::*;
use bench_common::work;
use madsim::Config;
use madsim::runtime::{Builder, Handle, NodeHandle, Runtime};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::sleep;

fn main() {
    bench_common::main(&[
        ("pingpong", pingpong),
        ("timers", || run(1, work::timers(|number| tokio::spawn(work::sleeper(number, sleep))))),
        ("spawn", || run(1, work::spawns(SPAWNS, |number| tokio::spawn(async move { number })))),
        ("sweep-5", || sweep(20_000, SWEEP_NODES)),
        ("sweep-5-threads", sweep_on_threads),
        ("start-100", || sweep(2_000, START_NODES)),
        ("idle-1000", || run(1, idle())),
        ("udp", udp),
        ("bulk", bulk),
    ]);
}

fn config() -> Config {
    let mut config = Config::default();
    config.net.send_latency = LATENCY..LATENCY + Duration::from_nanos(1);
    config
}

fn run<T>(seed: u64, body: impl Future<Output = T>) -> T {
    Runtime::with_seed_and_config(seed, config()).block_on(body)
}

/// The address of the node of this number.
fn address(number: u64) -> IpAddr {
    let [high, low] = u16::try_from(number + 1).expect("few nodes").to_be_bytes();
    Ipv4Addr::new(10, 0, high, low).into()
}

fn node(number: u64) -> NodeHandle {
    Handle::current().create_node().name(format!("n-{number}")).ip(address(number)).build()
}

/// One simulation, over when both nodes are done.
fn between<Server, Client>(server: fn(SocketAddr) -> Server, client: fn(SocketAddr) -> Client)
where
    Server: Future<Output = ()> + Send + 'static,
    Client: Future<Output = ()> + Send + 'static,
{
    let at = SocketAddr::new(address(0), 9000);
    run(1, async move {
        let served = node(0).spawn(server(at));
        let asked = node(1).spawn(async move {
            sleep(HEAD_START).await;
            client(at).await;
        });
        served.await.expect("the server ends well");
        asked.await.expect("the client ends well");
    });
}

async fn accept(at: SocketAddr) -> TcpStream {
    let listener = TcpListener::bind(at).await.expect("a free port");
    listener.accept().await.expect("a connection").0
}

async fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.expect("a connection")
}

fn pingpong() -> u64 {
    between(
        |at| async move { work::echo(accept(at).await).await },
        |to| async move { work::ping(connect(to).await).await },
    );
    ROUND_TRIPS
}

fn bulk() -> u64 {
    between(
        |at| async move { work::receive_bulk(&mut accept(at).await).await },
        |to| async move { work::send_bulk(&mut connect(to).await).await },
    );
    BULK_BYTES
}

/// Whole simulations on this thread.
fn sweep(simulations: u64, nodes: u64) -> u64 {
    for seed in 0..simulations {
        run(seed, naps(nodes));
    }
    simulations
}

/// Whole simulations as `#[madsim::test]` runs them: a thread for every seed, which is its isolation.
fn sweep_on_threads() -> u64 {
    let simulations = 2_000;
    let builder = Builder {
        seed: 0,
        count: simulations,
        jobs: 1,
        config: config(),
        time_limit: None,
        check: false,
        allow_system_thread: false,
    };
    builder.run(|| naps(SWEEP_NODES));
    simulations
}

async fn naps(nodes: u64) {
    let naps: Vec<_> = (0..nodes).map(|number| node(number).spawn(sleep(NAP))).collect();
    for nap in naps {
        nap.await.expect("a nap ends well");
    }
}

async fn idle() -> u64 {
    for number in 0..IDLE_NODES {
        let name = format!("n-{number}");
        Handle::current().create_node().name(name).ip(address(number)).init(pending::<()>).build();
    }
    sleep(IDLE).await;
    1
}

fn udp() -> u64 {
    between(receive_datagrams, send_datagrams);
    DATAGRAMS
}

async fn receive_datagrams(at: SocketAddr) {
    let socket = UdpSocket::bind(at).await.expect("a free port");
    let mut buffer = [0; 2048];
    for _ in 0..DATAGRAMS {
        socket.recv_from(&mut buffer).await.expect("a datagram");
    }
}

/// The call that sends sleeps by itself here, a millisecond at least.
async fn send_datagrams(to: SocketAddr) {
    let socket = UdpSocket::bind(SocketAddr::new(address(1), 9000)).await.expect("a free port");
    let datagram = [1; DATAGRAM_BYTES];
    for number in 1..=DATAGRAMS {
        socket.send_to(to, &datagram).await.expect("a datagram is sent");
        if number % BURST == 0 {
            sleep(BURST_PAUSE).await;
        }
    }
}
