//! Every kind of fault: what a program meets of it, that the meter counts that, and that nothing is met when it is muted.

use std::io;
use std::time::Duration;

use sim_core::fault::{Fault, Selector, faults};
use sim_core::time::{elapsed, sleep};
use sim_core::{Sim, Units, node};
use sim_disk::blocking::{self, File};
use sim_disk::{self as disk, FsProfile, Image};

use super::kit::{disks, outcome};

/// When a fault strikes.
enum When {
    On(Selector),
    After(Duration),
}

struct Row {
    fault: Fault,
    when: When,
    /// True: it went another way because of the fault.
    met: fn() -> bool,
}

fn on(selector: Selector, fault: Fault, met: fn() -> bool) -> Row {
    Row { fault, when: When::On(selector), met }
}

fn after(fault: Fault, met: fn() -> bool) -> Row {
    Row { fault, when: When::After(10.ms()), met }
}

/// Three durable pages, each full of its number.
fn prepare() -> io::Result<()> {
    let file = File::create("/f")?;
    (1..4u8).try_for_each(|page| file.write_at(&[page; 4096], u64::from(page - 1) * 4096).map(drop))?;
    file.sync_all()?;
    File::open("/")?.sync_all()
}

fn errno<T>(result: io::Result<T>, number: i32) -> bool {
    result.err().and_then(|error| error.raw_os_error()) == Some(number)
}

fn update() -> io::Result<()> {
    let file = File::options().write(true).open("/f")?;
    file.write_at(&[9; 4096], 2 * 4096)?;
    file.sync_all()
}

/// What the medium has: read with nothing cached.
fn uncached() -> io::Result<Vec<u8>> {
    let mut direct = File::options();
    let file = direct.read(true).direct(true).open("/f")?;
    let mut bytes = vec![0; 3 * 4096];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn is_wrong(last: u8) -> bool {
    let right: Vec<u8> = [1, 2, last].iter().flat_map(|page| [*page; 4096]).collect();
    uncached().is_ok_and(|bytes| bytes.len() < right.len() || bytes != right)
}

fn took(time: Duration) -> bool {
    elapsed() > time
}

fn rows() -> Vec<Row> {
    vec![
        on(disk::fsync("store", "f").nth(2), disk::fsync_eio(), || errno(update(), 5)),
        on(disk::fsync("store", "f").nth(2), disk::journal_eio(), || errno(update(), 5)),
        on(disk::fsync("store", "f").nth(2), disk::no_space(), || errno(update(), 28)),
        on(disk::write("store", "g"), disk::no_space(), || errno(blocking::write("/g", "x"), 28)),
        on(disk::rename("store", "g"), disk::no_space(), || errno(blocking::rename("/f", "/g"), 28)),
        on(disk::open("store", "g"), disk::io_error(), || errno(File::create("/g"), 5)),
        on(disk::read("store", "f"), disk::io_error(), || errno(uncached(), 5)),
        on(disk::read("store", "f"), disk::short(), || uncached().is_ok_and(|bytes| bytes.len() < 3 * 4096)),
        on(disk::fsync("store", "f").nth(2), disk::lost_write(), || update().is_ok() && forget() && is_wrong(9)),
        on(disk::fsync("store", "f").nth(2), disk::misdirected_write(), || update().is_ok() && forget() && is_wrong(9)),
        on(disk::fsync("store", "f").nth(2), disk::stale_read(), || update().is_ok() && forget() && is_wrong(9)),
        after(disk::sector_error("store", "*"), || forget() && (errno(uncached(), 5) || is_wrong(3))),
        after(disk::bit_rot("store", "f"), || forget() && is_wrong(3)),
        after(disk::misdirected_read("store", "f"), || forget() && is_wrong(3)),
        after(disk::page_sequence("store", "f", 2, "xW"), || errno(update(), 5)),
        after(disk::read_only("store"), || errno(update(), 30)),
        after(disk::device_gone("store"), || errno(uncached(), 6)),
        after(disk::disk_full("store"), || errno(blocking::write("/g", "x"), 28)),
        after(disk::tenant("store", 1 << 30), || errno(blocking::write("/g", "x"), 28)),
    ]
}

/// Empties the cache, as a start of the machine does.
fn forget() -> bool {
    let copy = File::options().read(true).direct(true).open("/f");
    copy.is_ok()
}

/// Whether the program met the fault, how often the meter says so, and how often it fired.
fn meet(row: Row, muted: bool) -> (bool, u64, usize) {
    let Row { fault, when, met } = row;
    let kind = fault.kind.clone();
    let sim = if muted { Sim::new(3).mute_fault(&kind) } else { Sim::new(3) };
    let (met, report) = outcome(sim, move || async move {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let mut small = disk::options();
        small.capacity.bytes = Some(1 << 30);
        disk::set_options(small);
        match when {
            When::On(selector) => faults().on(selector, fault.may_miss()),
            When::After(time) => faults().at(time, fault.may_miss()),
        };
        let store = node("store");
        store.spawn(async { prepare() }).await.unwrap().unwrap();
        sleep(20.ms()).await;
        // The cache has what was written: a restart of the machine empties it.
        sim_core::fault::faults().at(0.ns(), disk::evict("store"));
        sleep(1.ms()).await;
        store.spawn(async move { met() }).await.unwrap()
    });
    let of_kind = report.faults.iter().find(|fault| fault.kind == kind).unwrap();
    (met, of_kind.observed, of_kind.fired_ns.len())
}

#[test]
fn every_kind_is_met_and_counted_and_not_met_when_muted() {
    for (place, row) in rows().into_iter().enumerate() {
        let kind = row.fault.kind.clone();
        let (met, observed, fired) = meet(row, false);
        assert!(met && observed > 0 && fired == 1, "{place} {kind}: met {met}, observed {observed}, fired {fired}");
        let (met, ..) = meet(rows().swap_remove(place), true);
        assert!(!met, "{place} {kind}: the test does not need the fault");
    }
}

/// How long an fsync takes while a fault lasts.
fn slow(fault: fn() -> Fault, muted: bool) -> (bool, u64) {
    let kind = fault().kind;
    let sim = if muted { Sim::new(3).mute_fault(&kind) } else { Sim::new(3) };
    let (slow, report) = outcome(sim, move || async move {
        let store = node("store");
        faults().at(0.ns(), fault());
        sleep(1.ms()).await;
        let save = store.spawn(async {
            let file = disk::fs::File::create("/f").await.unwrap();
            file.write_at(&[1; 4096], 0).await.unwrap();
            file.sync_all().await.unwrap();
        });
        save.await.unwrap();
        took(100.ms())
    });
    (slow, report.faults[0].observed)
}

#[test]
fn a_stall_and_a_throttle_are_felt_and_not_when_muted() {
    for fault in [|| disk::stall("store").lasting(1.secs()), || disk::throttle("store", "f", 1000)] {
        assert_eq!(slow(fault, false), (true, 1));
        assert!(!slow(fault, true).0);
    }
}

#[test]
fn a_device_takes_the_time_that_its_speed_says() {
    let (took, _) = outcome(Sim::new(1), || async {
        let mut spinning = disk::options();
        spinning.performance = disk::Performance::spinning();
        disk::set_options(spinning);
        let file = disk::fs::File::create("/f").await.unwrap();
        file.write_at(&[1; 300 * 4096], 0).await.unwrap();
        file.sync_all().await.unwrap();
        elapsed()
    });
    assert!((2.secs()..3.secs()).contains(&took), "{took:?}");
}

/// What is left of a file after a crash of a kind: synced, staged and written pages.
fn left(crash: fn() -> Fault) -> Option<Vec<u8>> {
    let (bytes, report) = outcome(Sim::new(1), move || async move {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let [store, other] = ["store", "other"].map(node);
        store.spawn(async { prepare().unwrap() }).await.unwrap();
        other.spawn(async { blocking::write("/f", "other").unwrap() }).await.unwrap();
        other.spawn(async { blocking::File::open("/f").unwrap().sync_all().unwrap() }).await.unwrap();
        faults().at(10.ms(), disk::snapshot("store"));
        sleep(20.ms()).await;
        store.spawn(async { update().unwrap() }).await.unwrap();
        faults().at(0.ns(), crash());
        sleep(1.secs()).await;
        if !store.is_up() {
            store.restart();
        }
        store.spawn(async { blocking::read("/f").ok() }).await.unwrap()
    });
    assert!(report.passed(), "{}", report.render(&[]));
    let crash = report.faults.last().unwrap();
    assert!(crash.observed > 0 || crash.kind == "disk.swap", "{crash:?}");
    bytes
}

#[test]
fn crashes_of_a_machine_differ() {
    let pages = |crash| left(crash).map(|bytes| bytes.chunks(4096).map(|page| page[0]).collect::<Vec<u8>>());
    assert_eq!(pages(|| disk::kernel_crash("store")), Some(vec![1, 2, 9]));
    assert_eq!(pages(|| disk::power_loss_with("store", Image::AllKept)), Some(vec![1, 2, 9]));
    assert_eq!(pages(|| disk::roll_back("store")), Some(vec![1, 2, 3]));
    assert_eq!(pages(|| disk::replace_disk("store")), None);
    assert_eq!(pages(|| disk::swap_disks("store", "other")), Some(vec![b'o']));
}

#[test]
fn a_crash_at_an_effect_comes_at_different_effects() {
    let survivors: std::collections::BTreeSet<usize> = (0..20)
        .map(|seed| {
            let (names, _) = outcome(Sim::new(seed), || async {
                disks(&FsProfile::EXT4_ORDERED, Image::AllKept);
                let store = node("store");
                faults().at(0.ns(), disk::crash_at_an_effect("store", 10));
                sleep(1.ms()).await;
                let task = store.spawn(async {
                    for name in 0..20 {
                        blocking::write(format!("/{name}"), "x").ok();
                    }
                });
                let _ = task.await;
                store.restart();
                store.spawn(async { blocking::read_dir("/").unwrap().count() }).await.unwrap()
            });
            names
        })
        .collect();
    assert!(survivors.len() > 3 && survivors.iter().all(|names| *names < 20), "{survivors:?}");
}

#[test]
fn a_marker_is_a_moment_for_a_fault() {
    let (names, report) = outcome(Sim::new(1), || async {
        faults().on(disk::marker("store", "between"), sim_core::fault::crash("store"));
        let store = node("store").start(|| async {
            blocking::write("/a", "x").unwrap();
            disk::crash_point!("between");
            blocking::write("/b", "x").ok();
        });
        sleep(1.ms()).await;
        store.start(|| async {});
        store.spawn(async { blocking::read_dir("/").unwrap().count() }).await.unwrap()
    });
    assert!(report.passed() && names == 1, "{names} {}", report.render(&[]));
}
