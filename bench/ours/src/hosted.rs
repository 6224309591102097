//! pingpong between programs that know nothing of the simulation: tokio's own sockets, std's own sockets and threads.

use std::io::{Read, Write};

use bench_common::sizes::*;
use bench_common::work;
use sim::net::{LinkOptions, set_link_options};
use sim::prelude::Host;

use crate::simulate;

const EVERYWHERE: &str = "0.0.0.0:9000";
const SERVER: &str = "server:9000";

fn between(server: impl FnOnce(sim::Node) -> sim::Node, client: impl FnOnce(sim::Node) -> sim::Node) {
    simulate(1, || {
        set_link_options(None, LinkOptions::fixed(LATENCY));
        let nodes = [server(sim::node("server")), client(sim::node("client"))];
        async move {
            for node in nodes {
                node.join().await;
            }
        }
    });
}

/// On the fast path: two runtimes of tokio, without a thread of their own.
pub fn pingpong() -> u64 {
    let server = || async {
        let listener = tokio::net::TcpListener::bind(EVERYWHERE).await?;
        work::echo(listener.accept().await?.0).await;
        Ok::<(), std::io::Error>(())
    };
    let client = || async {
        tokio::time::sleep(HEAD_START).await;
        work::ping(tokio::net::TcpStream::connect(SERVER).await?).await;
        Ok::<(), std::io::Error>(())
    };
    between(|node| node.host_async(server), |node| node.host_async(client));
    ROUND_TRIPS
}

/// On threads: every wait is a hand-over between two of them.
pub fn pingpong_with_threads() -> u64 {
    let server = || {
        let (mut stream, _) = std::net::TcpListener::bind(EVERYWHERE)?.accept()?;
        let mut message = [0; PING_BYTES];
        for _ in 0..ROUND_TRIPS {
            stream.read_exact(&mut message)?;
            stream.write_all(&message)?;
        }
        Ok::<(), std::io::Error>(())
    };
    let client = || {
        std::thread::sleep(HEAD_START);
        let mut stream = std::net::TcpStream::connect(SERVER)?;
        let mut message = [1; PING_BYTES];
        for _ in 0..ROUND_TRIPS {
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
        }
        Ok::<(), std::io::Error>(())
    };
    between(|node| node.host(server), |node| node.host(client));
    ROUND_TRIPS
}
