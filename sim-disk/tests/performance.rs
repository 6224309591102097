//! What the device takes time for, on the face that awaits.

use std::time::Duration;

use sim_core::fault::{Fault, faults};
use sim_core::time::{elapsed, sleep, timeout};
use sim_core::{Sim, Spread, Units, node, spawn};
use sim_disk::fs::{self, File, OpenOptions};
use sim_disk::{self as disk, Performance, posix};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kit::{outcome, run};

const PAGE: usize = 4096;

/// A device on which every operation that is no fsync takes ten milliseconds.
fn slow() -> Performance {
    Performance { latency: Some(Spread::from(10.ms())), ..Performance::default() }
}

fn set(performance: Performance) {
    let mut options = disk::options();
    options.performance = performance;
    disk::set_options(options);
}

async fn took<R>(work: impl Future<Output = R>) -> (Duration, R) {
    let begin = elapsed();
    let result = work.await;
    (elapsed() - begin, result)
}

/// A durable file of pages that nobody has cached.
async fn cold(pages: usize) {
    let mut file = File::create("/f").await.unwrap();
    file.write_all(&vec![7; pages * PAGE]).await.unwrap();
    file.sync_all().await.unwrap();
    faults().at(0.ns(), disk::evict("test"));
    sleep(1.ns()).await;
}

#[test]
fn by_default_an_fsync_takes_time_and_nothing_else_does() {
    let times = run(|| async {
        cold(4).await;
        let (read, _) = took(fs::read("/f")).await;
        let mut direct = OpenOptions::new().write(true).direct(true).open("/f").await.unwrap();
        let (write, _) = took(direct.write_all(&[1; PAGE])).await;
        let (sync, _) = took(direct.sync_all()).await;
        [read, write, sync]
    });
    assert_eq!(times[..2], [0.ns(), 0.ns()]);
    assert!((500.us()..5.ms()).contains(&times[2]), "{times:?}");
}

#[test]
fn what_is_cached_takes_no_time_and_what_reaches_the_device_does() {
    let times = run(|| async {
        cold(4).await;
        set(slow());
        let mut file = OpenOptions::new().read(true).write(true).open("/f").await.unwrap();
        let mut page = [0; PAGE];
        let mut times = Vec::new();
        times.push(took(file.read_exact(&mut page)).await.0);
        times.push(took(file.read_at(&mut page, 0)).await.0);
        times.push(took(file.read_at(&mut page, 2 * PAGE as u64)).await.0);
        times.push(took(file.write_all(&page)).await.0);
        let mut direct = OpenOptions::new().read(true).write(true).direct(true).open("/f").await.unwrap();
        times.push(took(direct.write_all(&page)).await.0);
        times.push(took(direct.write_at(&page, 0)).await.0);
        times.push(took(direct.read_at(&mut page, 0)).await.0);
        let posix = posix::open("/f".as_ref(), posix::Mode { read: true, direct: true, ..posix::Mode::READ }).unwrap();
        times.push(took(posix.read_in_time(Some(0), &mut page)).await.0);
        times
    });
    let (now, later) = (0.ns(), 10.ms());
    assert_eq!(times, [later, now, later, now, later, later, later, later]);
}

#[test]
fn a_write_that_is_durable_when_it_returns_takes_as_long_as_an_fsync() {
    let (time, synced) = run(|| async {
        let mut file = OpenOptions::new().write(true).create(true).sync(true).open("/f").await.unwrap();
        let (time, _) = took(file.write_all(b"precious")).await;
        (time, disk::unsynced(sim_core::current_node()).len())
    });
    assert!((500.us()..5.ms()).contains(&time) && synced <= 1, "{time:?}, {synced} unsynced");
}

#[test]
fn a_read_that_is_dropped_while_it_waits_reads_nothing() {
    run(|| async {
        cold(2).await;
        set(slow());
        let mut file = File::open("/f").await.unwrap();
        let mut page = [0; PAGE];
        assert!(timeout(5.ms(), file.read(&mut page)).await.is_err());
        assert_eq!((page, file.read(&mut page).await.unwrap()), ([0; PAGE], PAGE));
        assert_eq!(page, [7; PAGE]);
    });
}

#[test]
fn a_device_takes_the_time_that_its_speed_says() {
    let time = run(|| async {
        set(Performance::spinning());
        let file = File::create("/f").await.unwrap();
        file.write_at(&[1; 300 * PAGE], 0).await.unwrap();
        took(file.sync_all()).await.0
    });
    assert!((2.secs()..3.secs()).contains(&time), "{time:?}");
}

#[test]
fn operations_wait_for_a_place_in_the_queue() {
    let times = |depth| {
        run(move || async move {
            cold(4).await;
            set(Performance { queue_depth: depth, ..slow() });
            let begin = elapsed();
            let reads: Vec<_> = (0..4u64)
                .map(|page| {
                    spawn(async move {
                        let file = File::open("/f").await.unwrap();
                        file.read_at(&mut [0; PAGE], page * PAGE as u64).await.unwrap();
                        elapsed()
                    })
                })
                .collect();
            let mut times = Vec::new();
            for read in reads {
                times.push((read.await.unwrap() - begin).as_millis());
            }
            times.sort_unstable();
            times
        })
    };
    assert_eq!(times(None), [10, 10, 10, 10]);
    assert_eq!(times(Some(2)), [10, 10, 20, 20]);
    assert_eq!(times(Some(1)), [10, 20, 30, 40]);
}

#[test]
fn latencies_are_those_of_their_distribution() {
    let bimodal = Spread::Bimodal {
        fast: sim_core::Span(1.ms()),
        slow: sim_core::Span(100.ms()),
        slow_probability: sim_core::Ratio::percent(20),
    };
    let times = run(|| async {
        cold(200).await;
        set(Performance { latency: Some(bimodal), ..Performance::default() });
        let file = File::open("/f").await.unwrap();
        let mut times = Vec::new();
        for page in 0..200u64 {
            times.push(took(file.read_at(&mut [0; PAGE], page * PAGE as u64)).await.0);
        }
        times
    });
    let slow = times.iter().filter(|time| **time == 100.ms()).count();
    assert!(times.iter().all(|time| [1.ms(), 100.ms()].contains(time)) && (20..60).contains(&slow), "{slow}");
}

/// How long a read from the device and an fsync take while a fault lasts for a second, and how often the meter says that
/// it was met.
fn under(fault: Fault, muted: bool) -> ([Duration; 2], u64) {
    let kind = fault.kind.clone();
    let sim = if muted { Sim::new(3).mute_fault(&kind) } else { Sim::new(3) };
    let (times, report) = outcome(sim, move || async move {
        let store = node("store");
        let work = store.spawn(async move {
            let mut file = File::create("/f").await.unwrap();
            file.write_all(&[7; 2 * PAGE]).await.unwrap();
            file.sync_all().await.unwrap();
            set(Performance { latency: Some(Spread::from(1.ms())), ..Performance::default() });
            faults().at(0.ns(), disk::evict("store")).at(0.ns(), fault.lasting(1.secs()));
            sleep(1.ns()).await;
            let (read, sync) = tokio_join(took(fs::read("/f")), took(file.sync_all())).await;
            [read.0, sync.0]
        });
        work.await.unwrap()
    });
    let of_kind = report.faults.iter().find(|fault| fault.kind == kind).unwrap();
    (times, of_kind.observed)
}

async fn tokio_join<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    futures::join!(a, b)
}

#[test]
fn a_device_that_stalls_hangs_or_is_throttled_is_felt_by_reads_and_fsyncs_and_not_when_muted() {
    let quick = |([read, sync], met): ([Duration; 2], u64)| met == 0 && read == 1.ms() && sync < 5.ms();
    let stall = || disk::stall("store");
    let ([read, sync], met) = under(stall(), false);
    assert!(met == 2 && read == 1001.ms() - 1.ns() && (1.secs()..1006.ms()).contains(&sync), "{read:?} {sync:?} {met}");
    assert!(quick(under(stall(), true)));
    let throttle = || disk::throttle("store", "**", 50);
    let ([read, sync], met) = under(throttle(), false);
    assert!(met == 2 && read == 50.ms() && (25.ms()..250.ms()).contains(&sync), "{read:?} {sync:?} {met}");
    assert!(quick(under(throttle(), true)));
    assert!(quick(under(disk::throttle("store", "elsewhere/*", 50), false)), "another range");
}

#[test]
fn what_was_under_way_when_a_device_hangs_is_done_after_it() {
    let time = run(|| async {
        let file = File::create("/f").await.unwrap();
        file.write_at(&[1; PAGE], 0).await.unwrap();
        node("store");
        let begin = elapsed();
        let store = node("store").spawn(async move {
            let file = File::create("/f").await.unwrap();
            file.write_at(&[1; PAGE], 0).await.unwrap();
            file.sync_all().await.unwrap();
            elapsed()
        });
        faults().at(100.us(), disk::stall("store"));
        sleep(3.secs()).await;
        sim_core::fault::heal();
        store.await.unwrap() - begin
    });
    assert_eq!(time, 3.secs());
}
