//! What every peer of this project gets wrong somewhere, asked by small programs: each test is named after its question.

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use sim::net::{LinkOptions, TcpListener, TcpStream, partition, set_link_options};
use sim::prelude::*;
use sim::time::{Instant, elapsed, sleep, timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn passes<F: Future<Output = ()> + 'static>(body: impl FnOnce() -> F) {
    let report = sim::simulation(1).run(body);
    assert!(report.passed(), "{}", report.message);
}

/// A server that sends back what it receives.
async fn echo() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        sim::spawn(async move {
            let (mut reader, mut writer) = stream.into_split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
    }
}

async fn says(stream: &mut TcpStream, word: &[u8; 5]) -> std::io::Result<()> {
    stream.write_all(word).await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    assert_eq!(&answer, word);
    Ok(())
}

async fn connected() -> TcpStream {
    node("server").start(echo);
    sleep(1.ms()).await;
    let mut stream = TcpStream::connect("server:7").await.unwrap();
    says(&mut stream, b"hello").await.unwrap();
    stream
}

#[test]
fn what_does_the_peer_of_a_killed_node_read() {
    passes(|| async {
        let mut stream = connected().await;
        node("server").crash();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "its kernel closed the connection");
        let _ = stream.write_all(b"still there?").await;
        sleep(1.secs()).await;
        assert_eq!(stream.write(b"no").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_does_the_peer_of_a_node_without_power_read() {
    passes(|| async {
        let mut stream = connected().await;
        node("server").power_loss();
        assert!(timeout(60.secs(), stream.read(&mut [0; 8])).await.is_err(), "nothing: half-open");
        node("server").restart();
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset, "it rebooted");
    });
}

#[test]
fn does_a_stream_survive_a_healed_partition_of_500_ms() {
    passes(|| async {
        let mut stream = connected().await;
        let cut = partition("test", "server");
        stream.write_all(b"later").await.unwrap();
        sleep(500.ms()).await;
        drop(cut);
        let mut answer = [0; 5];
        timeout(1.secs(), stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"later");
    });
}

#[test]
fn does_write_all_need_a_flush() {
    passes(|| async {
        let mut stream = connected().await;
        timeout(1.secs(), says(&mut stream, b"again")).await.unwrap().unwrap();
    });
}

#[test]
fn what_does_connecting_to_a_partitioned_node_say_and_when() {
    passes(|| async {
        drop(connected().await);
        let _cut = partition("test", "server");
        let start = elapsed();
        assert_eq!(TcpStream::connect("server:7").await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!((elapsed() - start).as_secs(), 127, "as Linux with six retries");
    });
}

#[test]
fn what_do_65_connects_to_a_listener_that_does_not_accept_do() {
    passes(|| async {
        node("server").start(|| async {
            let _listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            std::future::pending::<()>().await;
        });
        sleep(1.ms()).await;
        let mut streams = Vec::new();
        for _ in 0..65 {
            streams.push(TcpStream::connect("server:7").await.unwrap());
        }
        for _ in 65..129 {
            streams.push(TcpStream::connect("server:7").await.unwrap());
        }
        let last = timeout(60.secs(), TcpStream::connect("server:7")).await;
        assert!(last.is_err(), "the backlog is full: its SYN is dropped and sent again");
    });
}

#[test]
fn does_a_writer_wait_for_its_reader() {
    passes(|| async {
        node("server").start(|| async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let _stream = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
        });
        sleep(1.ms()).await;
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        let mut written = 0;
        while let Ok(Ok(more)) = timeout(10.secs(), stream.write(&[0; 4_096])).await {
            written += more;
        }
        assert_eq!(written, sim::net::options().window);
    });
}

#[test]
fn does_fsync_fail_when_the_disk_does() {
    passes(|| async {
        faults().on(sim::disk::fsync("store", "log"), sim::disk::fsync_eio());
        let store = node("store").spawn(async {
            let file = sim::fs::File::create("/log").await.unwrap();
            file.sync_all().await.unwrap_err().raw_os_error()
        });
        assert_eq!(store.await.unwrap(), Some(5));
    });
}

#[test]
fn does_data_that_was_not_synced_survive_a_power_loss() {
    let lost = Rc::new(Cell::new(0));
    let runs = 50;
    for seed in 0..runs {
        let lost = lost.clone();
        let report = sim::simulation(seed).run(move || async move {
            let write = || async { sim::fs::write("/log", b"only in the cache").await };
            node("store").spawn(write()).await.unwrap().unwrap();
            node("store").power_loss();
            node("store").restart();
            let read = node("store").spawn(async { sim::fs::read("/log").await });
            let whole = read.await.unwrap().is_ok_and(|bytes| bytes == b"only in the cache");
            lost.set(lost.get() + u32::from(!whole));
        });
        assert!(report.passed(), "{}", report.message);
    }
    assert!(u64::from(lost.get()) > runs / 2, "lost in {} runs of {runs}", lost.get());
}

#[test]
fn is_a_panic_in_a_spawned_task_swallowed() {
    let report = sim::simulation(1).run(|| async {
        node("store").start(|| async {
            drop(sim::spawn(async { panic!("the index is gone") }));
            std::future::pending::<()>().await;
        });
        sleep(1.secs()).await;
    });
    assert_eq!(report.outcome, Outcome::Panicked);
    let told = ["the index is gone", "node store", "net_fidelity.rs"];
    assert!(told.iter().all(|part| report.message.contains(part)), "{}", report.message);
}

#[test]
fn how_long_is_a_sleep_of_10_us() {
    passes(|| async {
        sleep(10.us()).await;
        assert_eq!(elapsed(), 10.us());
    });
}

#[test]
fn do_the_clock_of_a_node_and_of_the_simulation_agree_on_a_sleep_of_50_ms() {
    passes(|| async {
        let (start, true_start) = (Instant::now(), elapsed());
        sleep(50.ms()).await;
        assert_eq!((start.elapsed(), elapsed() - true_start), (50.ms(), 50.ms()));
    });
}

#[test]
fn is_a_latency_of_200_to_900_us_what_it_says() {
    passes(|| async {
        set_link_options(None, LinkOptions { latency: (200.us()..900.us()).into(), ..LinkOptions::default() });
        // An answer in two small writes would wait for its first half to arrive.
        let mut options = sim::net::options();
        options.split_probability = Ratio::ZERO;
        sim::net::set_options(options);
        let mut stream = connected().await;
        let mut trips = Vec::new();
        for _ in 0..50 {
            let start = elapsed();
            says(&mut stream, b"there").await.unwrap();
            trips.push(elapsed() - start);
        }
        assert!(trips.iter().all(|trip| (400.us()..2_700.us()).contains(trip)), "{trips:?}");
        assert!(trips.iter().max() > trips.iter().min(), "they differ");
        assert!(trips.iter().any(|trip| *trip < 1_800.us()), "{trips:?}");
    });
}

#[test]
fn what_happens_when_all_tasks_are_blocked() {
    let report = sim::simulation(1).run(|| async {
        node("a").start(|| async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let _ = listener.accept().await;
        });
        std::future::pending::<()>().await;
    });
    assert_eq!(report.outcome, Outcome::Stuck);
    assert!(
        report.message.contains("accept") && report.message.contains("node") || report.message.contains("a:"),
        "{}",
        report.message
    );
}

#[test]
fn does_a_run_without_faults_ever_fail() {
    for seed in 0..500 {
        let report = sim::simulation(seed).run(|| async {
            let mut stream = connected().await;
            for _ in 0..5 {
                says(&mut stream, b"hello").await.unwrap();
            }
        });
        assert!(report.passed(), "{}", report.message);
    }
}

#[test]
fn does_a_seed_do_the_same_after_others_in_its_process() {
    let run = |seed| {
        sim::simulation(seed).run(|| async {
            let mut stream = connected().await;
            for _ in 0..random().range(1..9) {
                says(&mut stream, b"hello").await.unwrap();
            }
        })
    };
    let alone = run(7).digest;
    (0..5).for_each(|seed| drop(run(seed)));
    assert_eq!(run(7).digest, alone);
}

#[test]
fn does_a_timeout_fire_while_other_work_takes_simulated_time() {
    passes(|| async {
        node("busy").slow_cpu(Duration::from_millis(50));
        let busy = node("busy").spawn(async {
            let work = async {
                for _ in 0..20 {
                    sleep(1.ms()).await;
                }
            };
            timeout(200.ms(), work).await.is_err()
        });
        assert!(busy.await.unwrap(), "twenty polls of 50 ms each take longer than 200 ms");
    });
}

#[test]
fn does_a_timeout_fire_while_a_blocking_thread_sleeps() {
    use crate::kit::{run, worker};
    let report = run(&mut worker(), "net_fidelity::a_blocking_thread_that_sleeps", 1);
    assert!(report.passed(), "{}", report.message);
}

#[sim::test(seeds = 1)]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a program that knows nothing of the simulation"
)]
async fn a_blocking_thread_that_sleeps() {
    let program = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let blocking = tokio::task::spawn_blocking(|| std::thread::sleep(200.ms()));
            let (start, blocked) = (std::time::Instant::now(), tokio::time::timeout(10.ms(), blocking).await);
            assert!(blocked.is_err() && (10.ms()..20.ms()).contains(&start.elapsed()), "{:?}", start.elapsed());
        });
    };
    node("program").host(program).join().await;
}

#[sim::test(seeds = 3)]
async fn a_check_that_fails() {
    assert!(std::env::var_os("SIM_FIXTURE").is_none(), "it was asked for");
}

#[test]
fn which_seed_is_the_first_when_none_is_given_and_is_it_printed() {
    let output = crate::kit::harness("net_fidelity::a_check_that_fails", &[("SIM_FIXTURE", "fails")]);
    let said = crate::kit::printed(&output);
    assert!(said.contains("seed 0x0") && said.contains("SIM_SEED=0x0 cargo test"), "{said}");
}
