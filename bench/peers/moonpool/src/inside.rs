//! What happens inside one simulation, on the world and the executor themselves.

use std::future::{Future, pending};
use std::time::Duration;

use bench_common::prng::Prng;
use bench_common::sizes::*;
use bench_common::work;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use moonpool_sim::executor::{Executor, JoinHandle, spawn, until_stalled};
use moonpool_sim::network::sim::SimTcpStream;
use moonpool_sim::{
    ChaosConfiguration, LatencyDistribution, NetworkConfiguration, NetworkProvider, SimNetworkProvider,
    SimTimeProvider, SimWorld, TcpListenerTrait, TimeProvider,
};

const SERVER: &str = "10.0.0.1:9000";

fn always(latency: Duration) -> LatencyDistribution {
    LatencyDistribution::Uniform { start: latency, end: latency }
}

/// The latency of a link is in the write.
fn network() -> NetworkConfiguration {
    NetworkConfiguration {
        bind_latency: always(Duration::ZERO),
        accept_latency: always(Duration::ZERO),
        connect_latency: always(LATENCY),
        read_latency: always(Duration::ZERO),
        write_latency: always(LATENCY),
        chaos: ChaosConfiguration::disabled(),
    }
}

/// Runs a simulation until the task that `start` returns has ended.
fn run<T: 'static>(start: impl FnOnce(&SimWorld) -> JoinHandle<T>) {
    Executor::new(1).block_on(async {
        let mut world = SimWorld::new_with_network_config_and_seed(network(), 1);
        let task = start(&world);
        loop {
            until_stalled().await;
            if task.is_finished() {
                return;
            }
            world.step();
        }
    });
}

/// A task whose end matters to nobody.
fn start(name: &str, task: impl Future<Output = ()> + Send + 'static) {
    drop(spawn(name, task));
}

async fn accept(network: SimNetworkProvider) -> SimTcpStream {
    let listener = network.bind(SERVER).await.expect("a free port");
    listener.accept().await.expect("a connection").0
}

async fn connect(network: SimNetworkProvider) -> SimTcpStream {
    network.connect(SERVER).await.expect("a connection")
}

pub fn pingpong() -> u64 {
    run(|world| {
        let (server, client) = (world.network_provider(), world.network_provider());
        start("server", async { echo(accept(server).await).await });
        spawn("client", async { ping(connect(client).await).await })
    });
    ROUND_TRIPS
}

/// Sends every ping back.
async fn echo(mut stream: SimTcpStream) {
    let mut message = [0; PING_BYTES];
    for _ in 0..ROUND_TRIPS {
        stream.read_exact(&mut message).await.expect("a ping");
        stream.write_all(&message).await.expect("a pong is sent");
    }
}

/// Sends pings and waits for each to come back.
async fn ping(mut stream: SimTcpStream) {
    let mut message = [7; PING_BYTES];
    for _ in 0..ROUND_TRIPS {
        stream.write_all(&message).await.expect("a ping is sent");
        stream.read_exact(&mut message).await.expect("a pong");
    }
}

pub fn bulk() -> u64 {
    run(|world| {
        let (server, client) = (world.network_provider(), world.network_provider());
        let served = spawn("server", async { receive_bulk(accept(server).await).await });
        start("client", async { send_bulk(connect(client).await).await });
        served
    });
    BULK_BYTES
}

async fn receive_bulk(mut stream: SimTcpStream) {
    let mut buffer = vec![0; BULK_WRITE];
    let mut received = 0;
    while received < BULK_BYTES {
        let length = stream.read(&mut buffer).await.expect("bytes");
        assert!(length > 0, "the stream ended after {received} bytes");
        received += length as u64;
    }
}

/// Keeps the stream open after the last byte, until the simulation ends.
async fn send_bulk(mut stream: SimTcpStream) {
    let bytes = vec![3; BULK_WRITE];
    for _ in 0..BULK_BYTES / BULK_WRITE as u64 {
        stream.write_all(&bytes).await.expect("bytes are sent");
    }
    pending().await
}

pub fn timers() -> u64 {
    run(|world| {
        let time = world.time_provider();
        spawn("root", work::timers(move |number| spawn("sleeper", sleeper(number, time.clone()))))
    });
    SLEEPERS * SLEEPS
}

async fn sleeper(number: u64, time: SimTimeProvider) {
    let mut lengths = Prng::new(number);
    for _ in 0..SLEEPS {
        time.sleep(Duration::from_millis(lengths.up_to(LONGEST_SLEEP_MS))).await.expect("time goes on");
    }
}

/// A million polls without a pause count as a loop without end here, so time moves now and then.
pub fn spawns() -> u64 {
    run(|world| {
        let time = world.time_provider();
        spawn("root", async move {
            for _ in 0..SPAWN_PARTS {
                work::spawns(SPAWNS / SPAWN_PARTS, |number| spawn("task", async move { number })).await;
                time.sleep(NAP).await.expect("time goes on");
            }
        })
    });
    SPAWNS
}
