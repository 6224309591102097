//! turmoil: links of one millisecond, its default tick of one millisecond, no faults.
//!
//! A simulation of its ends when all clients have, so a server whose end matters tells its client. It has no case
//! idle-1000: the time of a tick grows with the cube of the nodes, and there are 60,000 ticks.

use std::cell::Cell;
use std::future::{Future, pending};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use bench_common::sizes::*;
use bench_common::work;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream, UdpSocket};
use turmoil::{Builder, Result, Sim};

const EVERYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 9000);

/// Longer than any of the simulations.
const NO_LIMIT: Duration = Duration::from_secs(1_000_000_000);

fn main() {
    bench_common::main(&[
        ("pingpong", pingpong),
        ("timers", timers),
        ("spawn", spawn),
        ("sweep-5", || sweep(2_000, SWEEP_NODES)),
        ("start-100", || sweep(20, START_NODES)),
        ("udp", udp),
        ("bulk", bulk),
    ]);
}

fn simulation<'a>(seed: u64) -> Sim<'a> {
    let mut builder = Builder::new();
    builder.rng_seed(seed).simulation_duration(NO_LIMIT);
    builder.min_message_latency(LATENCY).max_message_latency(LATENCY);
    builder.build()
}

fn run(mut simulation: Sim<'_>) {
    simulation.run().expect("a simulation that passes");
}

/// One simulation of a client alone.
fn alone(client: impl Future<Output = Result> + 'static) {
    let mut simulation = simulation(1);
    simulation.client("client", client);
    run(simulation);
}

/// One simulation of a server and a client.
fn between<Server, Client>(server: fn() -> Server, client: Client)
where
    Server: Future<Output = Result> + 'static,
    Client: Future<Output = Result> + 'static,
{
    let mut simulation = simulation(1);
    simulation.host("server", server);
    simulation.client("client", client);
    run(simulation);
}

async fn accept() -> Result<TcpStream> {
    Ok(TcpListener::bind(EVERYWHERE).await?.accept().await?.0)
}

fn pingpong() -> u64 {
    let server = || async {
        work::echo(accept().await?).await;
        Ok(())
    };
    between(server, async {
        work::ping(TcpStream::connect("server:9000").await?).await;
        Ok(())
    });
    ROUND_TRIPS
}

fn timers() -> u64 {
    alone(async {
        work::timers(|number| tokio::spawn(work::sleeper(number, sleep))).await;
        Ok(())
    });
    SLEEPERS * SLEEPS
}

fn spawn() -> u64 {
    alone(async {
        work::spawns(SPAWNS, |number| tokio::spawn(async move { number })).await;
        Ok(())
    });
    SPAWNS
}

fn sweep(simulations: u64, nodes: u64) -> u64 {
    for seed in 0..simulations {
        let mut simulation = simulation(seed);
        let napped = Rc::new(Cell::new(0));
        for number in 0..nodes {
            let napped = napped.clone();
            simulation.client(format!("n-{number}"), async move {
                sleep(NAP).await;
                napped.set(napped.get() + 1);
                Ok(())
            });
        }
        run(simulation);
        assert_eq!(napped.get(), nodes);
    }
    simulations
}

fn udp() -> u64 {
    between(receive_datagrams, send_datagrams());
    DATAGRAMS
}

async fn receive_datagrams() -> Result {
    let socket = UdpSocket::bind(EVERYWHERE).await?;
    let mut buffer = [0; 2048];
    for number in 1..=DATAGRAMS {
        let (_, from) = socket.recv_from(&mut buffer).await?;
        if number == DATAGRAMS {
            socket.send_to(&[1], from).await?;
        }
    }
    pending().await
}

async fn send_datagrams() -> Result {
    let socket = UdpSocket::bind(EVERYWHERE).await?;
    let to = SocketAddr::new(turmoil::lookup("server"), 9000);
    let datagram = [1; DATAGRAM_BYTES];
    for number in 1..=DATAGRAMS {
        socket.send_to(&datagram, to).await?;
        if number % BURST == 0 {
            sleep(BURST_PAUSE).await;
        }
    }
    socket.recv_from(&mut [0]).await?;
    Ok(())
}

fn bulk() -> u64 {
    let server = || async {
        let mut stream = accept().await?;
        work::receive_bulk(&mut stream).await;
        stream.write_all(&[1]).await?;
        pending().await
    };
    between(server, async {
        let mut stream = TcpStream::connect("server:9000").await?;
        work::send_bulk(&mut stream).await;
        stream.read_exact(&mut [0]).await?;
        Ok(())
    });
    BULK_BYTES
}
