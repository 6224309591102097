//! `std::thread` and the locks of the standard library, parking_lot and crossbeam.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what hosted programs use")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use sim::prelude::*;

/// A program with everything that std has for threads. It takes a bit more than an hour of its time.
fn all_of_std() {
    let start = Instant::now();
    let shared = Arc::new((Mutex::new(0u32), Condvar::new()));
    let barrier = Arc::new(Barrier::new(4));
    let readings = Arc::new(RwLock::new(Vec::new()));
    let (send, receive) = mpsc::channel();
    let workers: Vec<_> = (0..4)
        .map(|number| {
            let (shared, barrier, readings, send) = (shared.clone(), barrier.clone(), readings.clone(), send.clone());
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                barrier.wait();
                thread::sleep(Duration::from_secs(900 * (number + 1)));
                readings.write().unwrap().push(number);
                *shared.0.lock().unwrap() += 1;
                shared.1.notify_all();
                send.send(number).unwrap();
                number
            })
        })
        .map(Result::unwrap)
        .collect();
    let mut count = shared.0.lock().unwrap();
    while *count < 4 {
        count = shared.1.wait(count).unwrap();
    }
    drop(count);
    let results: Vec<u64> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
    assert_eq!(results, [0, 1, 2, 3]);
    drop(send);
    assert_eq!(receive.iter().count(), 4);
    assert_eq!(*readings.read().unwrap(), [0, 1, 2, 3]);
    assert_eq!(start.elapsed().as_secs(), 3600);
    let mut scoped = [1, 2, 3];
    thread::scope(|scope| scoped.iter_mut().for_each(|number| drop(scope.spawn(|| *number *= 2))));
    assert_eq!(scoped, [2, 4, 6]);
}

#[sim::test(seeds = 20, time_limit = "3h")]
async fn threads_of_std_run_under_the_baton() {
    node("program").host(all_of_std).join().await;
    assert_eq!(sim::time::elapsed().as_secs(), 3600);
}

/// A counter that is read and written in two steps: threads that run between them lose counts.
fn lost_updates() -> u64 {
    let count = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let count = count.clone();
            thread::spawn(move || {
                for _ in 0..10 {
                    let read = count.load(Ordering::SeqCst);
                    thread::yield_now();
                    count.store(read + 1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    count.load(Ordering::SeqCst)
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn a_race_between_threads_is_found() {
    let count = Arc::new(AtomicU64::new(0));
    let result = count.clone();
    node("program").host(move || result.store(lost_updates(), Ordering::SeqCst)).join().await;
    let count = count.load(Ordering::SeqCst);
    always!(count == 30, "no update is lost", "{count} of 30");
}

#[sim::test(seeds = 20)]
async fn parking_lot_and_crossbeam() {
    let program = || {
        let shared = Arc::new((parking_lot::Mutex::new(0), parking_lot::Condvar::new()));
        let (send, receive) = crossbeam::channel::bounded::<u32>(2);
        let waits = crossbeam::sync::WaitGroup::new();
        for number in 0..4 {
            let (shared, send, waits) = (shared.clone(), send.clone(), waits.clone());
            thread::spawn(move || {
                for _ in 0..10 {
                    send.send(number).unwrap();
                    let mut count = shared.0.lock();
                    *count += 1;
                    thread::sleep(Duration::from_millis(1));
                    shared.1.notify_one();
                }
                drop(waits);
            });
        }
        drop(send);
        let ticks = crossbeam::channel::tick(Duration::from_millis(5));
        let mut sum = 0;
        loop {
            crossbeam::select! {
                recv(receive) -> number => match number {
                    Ok(number) => sum += number,
                    Err(_) => break,
                },
                recv(ticks) -> _ => {}
            }
        }
        waits.wait();
        let mut count = shared.0.lock();
        while *count < 40 {
            shared.1.wait(&mut count);
        }
        assert_eq!((sum, *count), (60, 40));
    };
    node("program").host(program).join().await;
}

/// The sum of the squares below a million, by rayon's threads.
fn sum_of_squares(pool: &rayon::ThreadPool) -> u64 {
    use rayon::prelude::*;
    let (low, high) = pool.install(|| {
        rayon::join(
            || (0..500_000u64).into_par_iter().map(|number| number * number).sum::<u64>(),
            || (500_000..1_000_000u64).into_par_iter().map(|number| number * number).sum::<u64>(),
        )
    });
    low + high
}

#[sim::test(seeds = 20)]
async fn rayon_pools_of_two_nodes_and_after_a_restart() {
    let program = || {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(sum_of_squares(&pool), 333_332_833_333_500_000);
        let total = AtomicU64::new(0);
        pool.scope(|scope| {
            for number in 1..=10 {
                let total = &total;
                scope.spawn(move |_| {
                    thread::sleep(Duration::from_millis(number));
                    total.fetch_add(number, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(total.into_inner(), 55);
    };
    let (first, second) = (node("first").host(program), node("second").host(program));
    sim::time::sleep(5.ms()).await;
    first.crash();
    first.restart();
    first.join().await;
    second.join().await;
}

#[sim::test(seeds = 5)]
async fn a_thread_that_only_calls_does_not_stop_the_clocks() {
    let program = || {
        let alarm = thread::spawn(|| thread::sleep(Duration::from_millis(5)));
        let mut log = std::fs::File::create("/log").unwrap();
        while !alarm.is_finished() {
            std::io::Write::write_all(&mut log, b"x").unwrap();
        }
    };
    node("program").host(program).join().await;
}
