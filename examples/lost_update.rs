//! Two clients count up a number on a server. Who reads, adds one and writes back loses updates; who compares and swaps
//! does not.
//!
//! `cargo run --example lost_update` looks for a seed that shows it.

use std::cell::Cell;
use std::io;

use sim::net::{TcpListener, TcpStream};
use sim::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const CLIENTS: usize = 2;
const INCREMENTS: u64 = 5;

/// A number that can be read (`get`), set (`set 5`) and compared and swapped (`cas 4 5`).
async fn server() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7000").await?;
    let number = std::rc::Rc::new(Cell::new(0));
    loop {
        let (stream, _) = listener.accept().await?;
        let number = number.clone();
        spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).await? > 0 {
                let words: Vec<&str> = line.split_whitespace().collect();
                let done = match words[..] {
                    ["set", value] => {
                        number.set(value.parse().map_err(io::Error::other)?);
                        true
                    }
                    ["cas", from, to] if from == number.get().to_string() => {
                        number.set(to.parse().map_err(io::Error::other)?);
                        true
                    }
                    ["get"] => true,
                    _ => false,
                };
                stream.write_all(format!("{done} {}\n", number.get()).as_bytes()).await?;
                line.clear();
            }
            io::Result::Ok(())
        });
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect() -> io::Result<Client> {
        Ok(Client(BufReader::new(TcpStream::connect("server:7000").await?)))
    }

    /// Sends a command; whether it was done, and the number after it.
    async fn ask(&mut self, command: String) -> io::Result<(bool, u64)> {
        self.0.write_all(format!("{command}\n").as_bytes()).await?;
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        let (done, number) = line.trim_end().split_once(' ').ok_or_else(|| io::Error::other("half an answer"))?;
        Ok((done == "true", number.parse().map_err(io::Error::other)?))
    }
}

async fn increment_by_writing_back(client: &mut Client) -> io::Result<()> {
    let (_, number) = client.ask("get".into()).await?;
    client.ask(format!("set {}", number + 1)).await?;
    Ok(())
}

async fn increment_by_swapping(client: &mut Client) -> io::Result<()> {
    let (_, mut number) = client.ask("get".into()).await?;
    loop {
        let (done, now) = client.ask(format!("cas {number} {}", number + 1)).await?;
        if done {
            return Ok(());
        }
        number = now;
    }
}

async fn count(swap: bool) {
    node("server").start(server);
    let clients = nodes("client", CLIENTS).start(move |_| async move {
        sim::time::sleep(1.ms()).await;
        let mut client = Client::connect().await?;
        for _ in 0..INCREMENTS {
            sim::time::sleep(random().duration(0.ms()..20.ms())).await;
            match swap {
                true => increment_by_swapping(&mut client).await?,
                false => increment_by_writing_back(&mut client).await?,
            }
        }
        io::Result::Ok(())
    });
    clients.join().await;
    let (_, number) = Client::connect().await.unwrap().ask("get".into()).await.unwrap();
    always!(number == CLIENTS as u64 * INCREMENTS, "every increment counts", "the number is {number}");
}

fn main() {
    let failing = (0..500).map(|seed| sim::simulation(seed).run(|| count(false))).find(|report| !report.passed());
    print!("{}", failing.map_or_else(|| "no seed shows it\n".to_string(), |report| report.render(&[])));
}

#[cfg(test)]
mod bugs {
    #[sim::test(seeds = 500, expect = "incorrect")]
    async fn reading_and_writing_back_loses_updates() {
        super::count(false).await;
    }

    #[sim::test(seeds = 200)]
    async fn comparing_and_swapping_loses_none() {
        super::count(true).await;
    }
}
