//! The cases with a network: a server, a client that starts a little later, and links of one millisecond.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bench_common::sizes::*;
use bench_common::work;
use sim::net::{LinkOptions, TcpListener, TcpStream, UdpSocket, ip_of, set_link_options};

use crate::simulate;

const EVERYWHERE: &str = "0.0.0.0:9000";

/// One simulation, over when both nodes are done.
fn between<Server, Client>(server: impl FnOnce() -> Server, client: impl FnOnce() -> Client)
where
    Server: Future<Output = ()> + 'static,
    Client: Future<Output = ()> + 'static,
{
    simulate(1, || {
        set_link_options(None, LinkOptions::fixed(LATENCY));
        let served = sim::node("server").spawn(server());
        let client = client();
        let asked = sim::node("client").spawn(async {
            sim::time::sleep(HEAD_START).await;
            client.await;
        });
        async {
            asked.await.expect("the client ends well");
            served.await.expect("the server ends well");
        }
    });
}

async fn accept() -> TcpStream {
    let listener = TcpListener::bind(EVERYWHERE).await.expect("a free port");
    listener.accept().await.expect("a connection").0
}

async fn connect() -> TcpStream {
    TcpStream::connect("server:9000").await.expect("a connection")
}

pub fn pingpong() -> u64 {
    between(|| async { work::echo(accept().await).await }, || async { work::ping(connect().await).await });
    ROUND_TRIPS
}

pub fn bulk() -> u64 {
    between(
        || async { work::receive_bulk(&mut accept().await).await },
        || async { work::send_bulk(&mut connect().await).await },
    );
    BULK_BYTES
}

pub fn udp() -> u64 {
    between(receive_datagrams, send_datagrams);
    DATAGRAMS
}

async fn receive_datagrams() {
    let socket = UdpSocket::bind(EVERYWHERE).await.expect("a free port");
    let mut buffer = [0; 2048];
    for _ in 0..DATAGRAMS {
        socket.recv_from(&mut buffer).await.expect("a datagram");
    }
}

async fn send_datagrams() {
    let socket = UdpSocket::bind(EVERYWHERE).await.expect("a free port");
    let to = SocketAddr::new(ip_of(sim::node("server")), 9000);
    let datagram = [1; DATAGRAM_BYTES];
    for number in 1..=DATAGRAMS {
        socket.send_to(&datagram, to).await.expect("a datagram is sent");
        if number % BURST == 0 {
            sim::time::sleep(BURST_PAUSE).await;
        }
    }
}

/// A thousand nodes in 40 zones that ping five neighbours and ask one each second, under faults of every kind, for a minute.
pub fn thousand() -> u64 {
    simulate(1, || async {
        sim::net::set_topology(sim::net::Topology::default());
        let group = sim::nodes("n", THOUSAND);
        for (place, node) in group.iter().enumerate() {
            node.zone(&format!("r{}/z{}", place % 4, place % 40)).on_panic(sim::OnPanic::EndTask);
        }
        group.start(neighbour);
        let minute = Duration::ZERO..Duration::from_secs(60);
        let mut swarm = sim::Swarm::on("n-*").window(minute);
        swarm.gap_mean = Duration::from_millis(100)..Duration::from_secs(1);
        swarm.kind_probability = sim::Ratio::ONE;
        sim::faults().swarm(swarm);
        sim::time::sleep(Duration::from_secs(60)).await;
    });
    1
}

const THOUSAND: usize = 1_000;

async fn neighbour(place: usize) -> std::io::Result<()> {
    let (listener, socket) = (TcpListener::bind(EVERYWHERE).await?, UdpSocket::bind(EVERYWHERE).await?);
    sim::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            sim::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut stream, b"here").await });
        }
    });
    let name = |step: usize| format!("n-{}", (place + step) % THOUSAND);
    loop {
        for step in [1, 2, 10, 100, 500] {
            // A name may lead nowhere for a while.
            let _ = socket.send_to(b"ping", (name(step), 9000)).await;
        }
        let asked = async {
            let mut answer = [0; 4];
            let mut stream = TcpStream::connect((name(7), 9000)).await?;
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await
        };
        let _ = sim::time::timeout(Duration::from_millis(500), asked).await;
        sim::time::sleep(Duration::from_millis(500)).await;
    }
}
