//! Answers that do not come: lost replies, peers that died silently, and links that jam.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use sim::check::model::{RegisterOp, RegisterRet};
use sim::net::{Keepalive, Mode, TcpListener, TcpStream, link_fault, partition_oneway_fault};
use sim::prelude::*;
use sim::time::{elapsed, sleep, timeout};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

use super::kit::{ask, insist, serve};

/// Why a write did not succeed.
enum Failed {
    /// It was not done, and will not be.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// Writes to a register. `knows`: a silence says nothing, as the register may have done what it was asked for.
async fn write(value: u64, knows: bool) -> Result<(), Failed> {
    match ask("register", &value.to_string(), 100.ms()).await {
        Ok(_) => Ok(()),
        Err(error) if knows && error.kind() != io::ErrorKind::ConnectionRefused => Err(Failed::Unknown),
        Err(_) => Err(Failed::Refused),
    }
}

async fn writes_through_lost_replies(knows: bool) {
    let value = Rc::new(Cell::new(0));
    node("register").start(move || {
        let value = value.clone();
        serve(move |line| {
            line.parse().into_iter().for_each(|new| value.set(new));
            let answer = value.get().to_string();
            async { answer }
        })
    });
    let at = random().duration(5.ms()..200.ms());
    faults().at(at, partition_oneway_fault("register", "writer").lasting(300.ms()));
    let history = History::new();
    let (writes, reads) = (history.clone(), history.clone());
    let writer = node("writer").spawn(async move {
        for value in 1..40 {
            let call = writes.invoke(0, RegisterOp::Write(value));
            match write(value, knows).await {
                Ok(()) => call.ok(RegisterRet::Written),
                Err(Failed::Refused) => call.fail(),
                Err(Failed::Unknown) => call.info(),
            }
            sleep(random().duration(1.ms()..5.ms())).await;
        }
    });
    node("reader").spawn(async move {
        loop {
            let call = reads.invoke(1, RegisterOp::Read);
            call.ok(RegisterRet::Value(insist("register", "read").await.parse().unwrap()));
            sleep(random().duration(1.ms()..10.ms())).await;
        }
    });
    writer.await.unwrap();
    history.check(linearizable(Register::<u64>::default()));
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn a_lost_reply_is_taken_for_a_failed_write() {
    writes_through_lost_replies(false).await;
}

#[sim::test(seeds = 50)]
async fn a_lost_reply_is_told_as_unknown() {
    writes_through_lost_replies(true).await;
}

/// How a client notices that nobody is there any more.
#[derive(Clone, Copy, PartialEq)]
enum Notices {
    Nothing,
    ByTimeout,
    ByProbes,
}

/// Sends letters over one connection, and waits for the answer to each, which takes the server a while.
async fn correspond(done: &Cell<u64>, notices: Notices) -> io::Result<()> {
    let stream = TcpStream::connect("server:7000").await?;
    if notices == Notices::ByProbes {
        stream.set_keepalive(Some(Keepalive::new(500.ms(), 100.ms(), 3)));
    }
    let mut stream = BufReader::new(stream);
    while done.get() < 20 {
        stream.write_all(b"letter\n").await?;
        let mut answer = String::new();
        let read = stream.read_line(&mut answer);
        let read = if notices == Notices::ByTimeout { timeout(500.ms(), read).await?? } else { read.await? };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        done.set(done.get() + 1);
    }
    Ok(())
}

async fn answer_slowly() -> io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7000").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        spawn(async move {
            let mut stream = BufReader::new(stream);
            while stream.read_line(&mut String::new()).await? > 0 {
                sleep(50.ms()).await;
                stream.write_all(b"answer\n").await?;
            }
            io::Result::Ok(())
        });
    }
}

async fn corresponds_through_a_power_loss(notices: Notices) {
    node("server").start(answer_slowly);
    faults().at(random().duration(5.ms()..1.secs()), power_loss("server").lasting(1.secs()));
    let done = Rc::new(Cell::new(0));
    let answered = done.clone();
    let client = node("client").spawn(async move {
        while correspond(&done, notices).await.is_err() {
            sleep(100.ms()).await;
        }
    });
    client.await.unwrap();
    always!(answered.get() == 20, "every letter is answered", "{} were", answered.get());
}

#[sim::test(seeds = 10, expect = "stuck")]
async fn a_client_without_a_timeout_waits_for_a_dead_server_for_ever() {
    corresponds_through_a_power_loss(Notices::Nothing).await;
}

#[sim::test(seeds = 10)]
async fn a_client_with_a_timeout_asks_again() {
    corresponds_through_a_power_loss(Notices::ByTimeout).await;
}

#[sim::test(seeds = 10)]
async fn a_client_whose_connection_is_probed_asks_again() {
    corresponds_through_a_power_loss(Notices::ByProbes).await;
}

const ROOM: usize = 500;

/// Measures every millisecond and sends what it measured. `bounded`: it drops what finds no room.
async fn measures_through_a_jam(bounded: bool) {
    let waiting: Rc<RefCell<VecDeque<[u8; 1_000]>>> = Rc::default();
    node("archive").start(|| async {
        let (mut stream, _) = TcpListener::bind("0.0.0.0:7000").await?.accept().await?;
        let mut buffer = vec![0; 64 * 1024];
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    });
    let (queue, (added, mut news)) = (waiting.clone(), mpsc::channel(1));
    node("sensor").spawn(async move {
        let mut stream = TcpStream::connect("archive:7000").await.unwrap();
        while news.recv().await.is_some() {
            loop {
                let Some(measured) = queue.borrow_mut().pop_front() else { break };
                stream.write_all(&measured).await.unwrap();
            }
        }
    });
    let (queue, longest) = (waiting.clone(), Rc::new(Cell::new(0)));
    let most = longest.clone();
    node("sensor").spawn(async move {
        loop {
            sleep(1.ms()).await;
            if !bounded || queue.borrow().len() < ROOM {
                queue.borrow_mut().push_back([0; 1_000]);
            }
            most.set(most.get().max(queue.borrow().len()));
            added.try_send(()).ok();
        }
    });
    let jam = random().duration(100.ms()..2.secs());
    faults().at(random().duration(100.ms()..1.secs()), link_fault("sensor", "archive", Mode::Jam).lasting(jam));
    while elapsed() < 4.secs() {
        sleep(100.ms()).await;
        always!(longest.get() <= ROOM, "what waits has room", "{} wait for {ROOM} places", longest.get());
    }
    always!(waiting.borrow().len() < ROOM, "the jam is over", "{} wait", waiting.borrow().len());
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_queue_without_bound_grows_behind_a_jam() {
    measures_through_a_jam(false).await;
}

#[sim::test(seeds = 10)]
async fn a_queue_with_a_bound_drops_behind_a_jam() {
    measures_through_a_jam(true).await;
}
