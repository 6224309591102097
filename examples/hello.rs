//! Two nodes: one greets, the other answers.
//!
//! `cargo run --example hello` runs it once and shows its log; `cargo test --example hello` runs it with many seeds.

use std::io;

use sim::net::{TcpListener, TcpStream};
use sim::prelude::*;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// Answers every line with a greeting.
async fn greeter() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7000").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut name = String::new();
            stream.read_line(&mut name).await?;
            stream.write_all(format!("hello, {name}").as_bytes()).await
        });
    }
}

/// Says its name and returns the answer.
async fn greet(name: &str) -> io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect("greeter:7000").await?);
    stream.write_all(format!("{name}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(answer.trim_end().to_string())
}

async fn two_nodes() {
    node("greeter").start(greeter);
    let caller = node("caller").spawn(async {
        sim::time::sleep(1.ms()).await;
        greet("world").await
    });
    assert_eq!(caller.await.unwrap().unwrap(), "hello, world");
}

fn main() {
    let report = sim::simulation(1).record(true).run(two_nodes);
    report.log.iter().flatten().for_each(|event| println!("{event}"));
    print!("{}", report.render(&[]));
}

#[cfg(test)]
mod tests {
    #[sim::test(seeds = 100)]
    async fn a_greeting_is_answered() {
        super::two_nodes().await;
    }
}
