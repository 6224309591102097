//! Two programs that know nothing of the simulation, `std::net` with `std::thread`, while their link is cut and the server
//! is killed.
//!
//! `cargo run --example hosted` shows every event of one seed.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use sim::prelude::*;

/// Answers every line, with a thread for each connection.
fn server() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7000")?;
    loop {
        let (mut stream, _) = listener.accept()?;
        thread::spawn(move || {
            let lines = BufReader::new(stream.try_clone()?).lines();
            for line in lines {
                writeln!(stream, "you said {}", line?)?;
            }
            Ok::<(), std::io::Error>(())
        });
    }
}

/// Asks until it has ten answers, with a new connection after every error.
fn client() {
    let mut answers = 0;
    while answers < 10 {
        let asked = || -> std::io::Result<()> {
            let mut stream = TcpStream::connect("server:7000")?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            writeln!(stream, "hello")?;
            let mut answer = String::new();
            BufReader::new(stream).read_line(&mut answer)?;
            if answer == "you said hello\n" { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        };
        match asked() {
            Ok(()) => answers += 1,
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// A cut, then a kill and a restart, under both.
async fn scene() {
    let server = node("server").host(server);
    let client = node("client").host(client);
    let cut = sim::net::partition("client", "server");
    sim::time::sleep(random().range(1..3_000).ms()).await;
    drop(cut);
    sim::time::sleep(random().range(1..50).ms()).await;
    server.crash();
    sim::time::sleep(random().range(1..500).ms()).await;
    server.restart();
    client.join().await;
}

fn main() {
    let report = sim::simulation(1).record(true).run(scene);
    report.log.iter().flatten().for_each(|event| println!("{event}"));
    print!("{}", report.render(&[]));
}

#[cfg(test)]
mod tests {
    #[sim::test(seeds = 20)]
    async fn a_client_outlives_its_server() {
        super::scene().await;
    }
}
