//! A lock with a lease. Its holder writes to a store until the lease ends by its own wall clock: when that clock is
//! stepped back, two clients write at once. With fencing tokens, the store refuses who was overtaken.
//!
//! After "How to do distributed locking" (Kleppmann, 2016). `cargo run --example lease` looks for a seed that shows it.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sim::net::{TcpListener, TcpStream};
use sim::prelude::*;
use sim::time::{sleep, timeout, wall_clock};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const LEASE: Duration = Duration::from_secs(2);

/// Serves one line per connection.
async fn serve<F: AsyncFn(&str) -> String + 'static>(port: u16, answer: F) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let answer = Rc::new(answer);
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = answer.clone();
        spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let answer = answer(line.trim_end()).await;
            stream.write_all(format!("{answer}\n").as_bytes()).await
        });
    }
}

async fn ask(server: &str, line: String) -> io::Result<String> {
    let mut stream = BufReader::new(TcpStream::connect(server).await?);
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_line(&mut answer).await?;
    Ok(answer.trim_end().to_string())
}

fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
}

/// Gives the lease to whoever asks while nobody has it: its end on the wall clock, and a token that grows.
async fn lock_server() -> io::Result<()> {
    let (token, ends) = (Cell::new(0u64), Cell::new(0u128));
    serve(7001, async move |_| {
        let now = millis(wall_clock());
        if now < ends.get() {
            return "busy".to_string();
        }
        ends.set(now + LEASE.as_millis());
        token.set(token.get() + 1);
        format!("{} {}", token.get(), ends.get())
    })
    .await
}

/// Takes writes. With `fencing` it refuses those with a token lower than one it has seen.
async fn store(fencing: bool) -> io::Result<()> {
    let newest = Cell::new(0u64);
    serve(7002, async move |line| {
        let token = line.parse().unwrap_or(0);
        if fencing && token < newest.get() {
            sim::reachable!("an overtaken holder is refused");
            return "refused".to_string();
        }
        always!(token >= newest.get(), "one holder at a time", "token {token} writes after {}", newest.get());
        newest.set(token);
        "written".to_string()
    })
    .await
}

/// Works under the lease whenever it gets it.
async fn client() -> io::Result<()> {
    loop {
        sleep(random().duration(10.ms()..200.ms())).await;
        let grant = ask("locks:7001", "acquire".into()).await?;
        let Some((token, ends)) = grant.split_once(' ') else { continue };
        let ends: u128 = ends.parse().map_err(io::Error::other)?;
        // A tenth of the lease is left for what is on its way.
        while millis(wall_clock()) + LEASE.as_millis() / 10 < ends {
            ask("store:7002", token.into()).await?;
            sleep(50.ms()).await;
        }
    }
}

async fn leases_under_skew(fencing: bool) {
    node("locks").start(lock_server);
    node("store").start(move || store(fencing));
    sleep(1.ms()).await;
    let clients = nodes("client", 2).start(|_| client());
    let back = random().range(0..5_000_000_000) as i64;
    faults().at(random().duration(1.secs()..9.secs()), clock_step("client-0", -back));
    let _ = timeout(15.secs(), clients.join()).await;
}

fn main() {
    let run = |seed| sim::simulation(seed).run(|| leases_under_skew(false));
    let failing = (0..500).map(run).find(|report| !report.passed());
    print!("{}", failing.map_or_else(|| "no seed shows it\n".to_string(), |report| report.render(&[])));
}

#[cfg(test)]
mod bugs {
    #[sim::test(seeds = 500, expect = "incorrect")]
    async fn a_clock_that_steps_back_makes_two_holders_of_a_lease() {
        super::leases_under_skew(false).await;
    }

    #[sim::test(seeds = 200)]
    async fn fencing_tokens_keep_the_overtaken_holder_out() {
        super::leases_under_skew(true).await;
    }
}
