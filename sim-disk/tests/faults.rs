//! Every kind of fault: what a program meets of it, that the meter counts that, and that nothing is met when it is muted.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use sim_core::fault::{Budget, Fault, Plan, Selector, Swarm, faults};
use sim_core::time::{elapsed, sleep};
use sim_core::{Sim, Units, node};
use sim_disk::blocking::{self, File};
use sim_disk::{self as disk, FsProfile, Image, lurk};

use super::kit::{disks, outcome};

/// When a fault strikes.
#[derive(Clone)]
enum When {
    On(Selector),
    After(Duration),
}

/// True: it went another way because of the fault.
type Met = Pin<Box<dyn Future<Output = bool>>>;

struct Row {
    fault: Fault,
    when: When,
    met: Box<dyn FnOnce() -> Met>,
}

fn row(fault: Fault, when: When, met: impl AsyncFnOnce() -> bool + 'static) -> Row {
    Row { fault, when, met: Box::new(move || Box::pin(async move { met().await })) }
}

fn on(selector: Selector, fault: Fault, met: fn() -> bool) -> Row {
    row(fault, When::On(selector), async move || met())
}

fn after(fault: Fault, met: fn() -> bool) -> Row {
    row(fault, When::After(10.ms()), async move || met())
}

/// Three durable pages, each full of its number, and a draft that is not durable.
fn prepare() -> io::Result<()> {
    let file = File::create("/f")?;
    (1..4u8).try_for_each(|page| file.write_at(&[page; 4096], u64::from(page - 1) * 4096).map(drop))?;
    file.sync_all()?;
    File::open("/")?.sync_all()?;
    // Where the device refuses it, the cache alone has it.
    let refused = File::create("/refused")?;
    refused.write_at(b"old", 0)?;
    refused.sync_all()?;
    refused.write_at(b"new", 0)?;
    let _ = refused.sync_all();
    blocking::write("/draft", "unsynced")
}

fn errno<T>(result: io::Result<T>, number: i32) -> bool {
    result.err().and_then(|error| error.raw_os_error()) == Some(number)
}

fn exists(path: &str) -> bool {
    blocking::try_exists(path).unwrap()
}

fn update() -> io::Result<()> {
    let file = File::options().write(true).open("/f")?;
    file.write_at(&[9; 4096], 2 * 4096)?;
    file.sync_all()
}

/// What the medium has: read with nothing cached.
fn uncached() -> io::Result<Vec<u8>> {
    let file = File::options().read(true).direct(true).open("/f")?;
    let mut bytes = vec![0; 3 * 4096];
    let length = file.read_at(&mut bytes, 0)?;
    bytes.truncate(length);
    Ok(bytes)
}

fn is_wrong(last: u8) -> bool {
    let right: Vec<u8> = [1, 2, last].iter().flat_map(|page| [*page; 4096]).collect();
    uncached().is_ok_and(|bytes| bytes.len() < right.len() || bytes != right)
}

fn updated_wrong() -> bool {
    update().is_ok() && is_wrong(9)
}

fn unreadable() -> bool {
    errno(uncached(), 5) || is_wrong(3)
}

/// Whether an fsync takes longer than a device that is well ever does.
async fn is_slow() -> bool {
    let begin = elapsed();
    let file = disk::fs::File::create("/slow").await.unwrap();
    file.write_at(&[1; 4096], 0).await.unwrap();
    file.sync_all().await.unwrap();
    elapsed() - begin > 100.ms()
}

fn second_fsync() -> Selector {
    disk::fsync("store", "f").nth(2)
}

fn rows() -> Vec<Row> {
    vec![
        on(second_fsync(), disk::fsync_eio(), || errno(update(), 5)),
        on(second_fsync(), disk::fsync_eio_of_pages(&[2]), || errno(update(), 5)),
        on(second_fsync(), disk::journal_eio(), || errno(update(), 5)),
        on(second_fsync(), disk::no_space(), || errno(update(), 28)),
        on(disk::write("store", "g"), disk::no_space(), || errno(blocking::write("/g", "x"), 28)),
        on(disk::rename("store", "g"), disk::no_space(), || errno(blocking::rename("/f", "/g"), 28)),
        on(disk::make("store", "g"), disk::no_space(), || errno(blocking::create_dir("/g"), 28)),
        on(disk::set_len("store", "f"), disk::no_space(), || {
            errno(File::options().write(true).open("/f").unwrap().set_len(1 << 20), 28)
        }),
        on(disk::write("store", "g"), disk::quota(), || errno(blocking::write("/g", "x"), 122)),
        on(disk::open("store", "g"), disk::io_error(), || errno(File::create("/g"), 5)),
        on(disk::remove("store", "f"), disk::io_error(), || errno(blocking::remove_file("/f"), 5)),
        on(disk::read("store", "f"), disk::io_error(), || errno(uncached(), 5)),
        on(disk::read("store", "f"), disk::short(), || uncached().is_ok_and(|bytes| bytes.len() < 3 * 4096)),
        on(disk::write("store", "g"), disk::short(), || {
            File::create("/g").unwrap().write_at(&[1; 4096], 0).unwrap() < 4096
        }),
        on(second_fsync(), disk::lost_write(), updated_wrong),
        on(second_fsync(), disk::misdirected_write(), updated_wrong),
        on(second_fsync(), disk::stale_read(), updated_wrong),
        after(lurk(disk::fsync("store", "f"), disk::fsync_eio()), || errno(update(), 5)),
        after(lurk(disk::fsync("store", "f"), disk::journal_eio()), || errno(update(), 5)),
        after(lurk(disk::fsync("store", "f"), disk::lost_write()), updated_wrong),
        after(lurk(disk::fsync("store", "f"), disk::misdirected_write()), updated_wrong),
        after(lurk(disk::fsync("store", "f"), disk::stale_read()), updated_wrong),
        after(lurk(disk::read("store", "*"), disk::io_error()), || errno(uncached(), 5)),
        after(lurk(disk::open("store", "g"), disk::quota()), || errno(File::create("/g"), 122)),
        after(lurk(disk::rename("store", "g"), disk::no_space()), || errno(blocking::rename("/f", "/g"), 28)),
        after(lurk(disk::write("store", "g"), disk::short()), || {
            File::create("/g").unwrap().write_at(&[1; 4096], 0).unwrap() < 4096
        }),
        after(disk::sector_error("store", "*"), unreadable),
        after(disk::bit_rot("store", "f"), || is_wrong(3)),
        after(disk::misdirected_read("store", "f"), || is_wrong(3)),
        after(disk::page_sequence("store", "f", 2, "xW"), || errno(update(), 5)),
        after(disk::read_only("store"), || errno(update(), 30)),
        after(disk::device_gone("store"), || errno(uncached(), 6)),
        after(disk::disk_full("store"), || errno(blocking::write("/g", "x"), 28)),
        after(disk::tenant("store", 1 << 30), || errno(blocking::write("/g", "x"), 28)),
        after(disk::drifting_tenant("store", 1 << 34), || errno(blocking::write("/g", "x"), 28)),
        row(disk::stall("store").lasting(1.secs()), When::After(10.ms()), is_slow),
        row(disk::throttle("store", "slow", 1000), When::After(10.ms()), is_slow),
        after(disk::evict("store"), || blocking::read("/refused").unwrap() != b"new"),
        after(disk::kernel_crash("store"), || !exists("/draft")),
        after(disk::power_loss_with("store", Image::AllLost), || !exists("/draft")),
        after(disk::replace_disk("store"), || !exists("/f")),
        after(disk::roll_back("store"), || !exists("/f")),
        row(disk::snapshot("store"), When::After(10.ms()), async || {
            faults().at(0.ns(), disk::roll_back("other"));
            exists("/f")
        }),
        after(disk::swap_disks("store", "other"), || exists("/other")),
        after(disk::crash_at_an_effect("store", 1), || blocking::write("/g", "x").is_err()),
    ]
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
        let [store, other] = ["store", "other"].map(node);
        // What a roll-back comes back to, unless there is a later snapshot.
        disk::take_snapshot(store);
        let (is_eviction, is_snapshot) = (fault.kind == "disk.evict", fault.kind == "disk.snapshot");
        match when {
            When::On(selector) => faults().on(selector, fault.may_miss()),
            When::After(time) => faults().at(time, fault.may_miss()),
        };
        if is_eviction {
            faults().on(disk::fsync("store", "refused").nth(2), disk::fsync_eio());
        }
        store.spawn(async { prepare() }).await.unwrap().unwrap();
        other
            .spawn(async { blocking::write("/other", "x").and_then(|()| disk::posix::sync_all()) })
            .await
            .unwrap()
            .unwrap();
        sleep(20.ms()).await;
        if is_snapshot {
            faults().at(0.ns(), disk::roll_back("store"));
        } else if !is_eviction {
            // The cache has what was written, and faults of the medium are behind it.
            faults().at(0.ns(), disk::evict("store").may_miss());
        }
        sleep(1.ms()).await;
        if !store.is_up() {
            store.restart();
        }
        // Whose process dies has met something.
        store.spawn(met()).await.unwrap_or(true)
    });
    let of_kind = report.faults.iter().find(|fault| fault.kind == kind).unwrap();
    (met, of_kind.observed, of_kind.fired_ns.len())
}

#[test]
fn every_kind_is_met_and_counted_and_not_met_when_muted() {
    for (place, row) in rows().into_iter().enumerate() {
        let fault = row.fault.to_string();
        let (met, observed, fired) = meet(row, false);
        assert!(met && observed > 0 && fired == 1, "{place} {fault}: met {met}, observed {observed}, fired {fired}");
        let (met, observed, _) = meet(rows().swap_remove(place), true);
        assert!(!met && observed == 0, "{place} {fault}: the test does not need the fault");
    }
}

#[test]
fn no_kind_is_left_out() {
    let shown: BTreeSet<String> = rows().into_iter().map(|row| row.fault.kind).collect();
    let known: BTreeSet<String> = disk::KINDS.iter().map(|kind| kind.name.to_string()).collect();
    assert_eq!(known, shown);
}

/// What is left of a file after a crash of a kind: synced, staged and written pages.
fn left(crash: fn() -> Fault) -> Option<Vec<u8>> {
    let (bytes, report) = outcome(Sim::new(1), move || async move {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let [store, other] = ["store", "other"].map(node);
        let save = |byte: u8| async move {
            let file = File::options().write(true).create(true).open("/f").unwrap();
            for page in 1..4u8 {
                file.write_at(&[page * byte; 4096], u64::from(page - 1) * 4096).unwrap();
            }
            file.sync_all().unwrap();
        };
        store.spawn(save(1)).await.unwrap();
        other.spawn(save(10)).await.unwrap();
        faults().at(10.ms(), disk::snapshot("store").may_miss());
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
    bytes
}

#[test]
fn crashes_of_a_machine_differ() {
    let pages = |crash| left(crash).map(|bytes| bytes.chunks(4096).map(|page| page[0]).collect::<Vec<u8>>());
    assert_eq!(pages(|| disk::kernel_crash("store")), Some(vec![1, 2, 9]));
    assert_eq!(pages(|| disk::power_loss_with("store", Image::AllKept)), Some(vec![1, 2, 9]));
    assert_eq!(pages(|| disk::roll_back("store")), Some(vec![1, 2, 3]));
    assert_eq!(pages(|| disk::replace_disk("store")), None);
    assert_eq!(pages(|| disk::swap_disks("store", "other")), Some(vec![10, 20, 30]));
}

#[test]
fn a_node_that_a_crash_of_its_machine_took_down_comes_back_when_that_is_over_and_no_sooner() {
    let (up, report) = outcome(Sim::new(1), || async {
        node("store").start(std::future::pending::<()>);
        faults()
            .at(1.secs(), disk::kernel_crash("store").lasting(2.secs()))
            .at(2.secs(), sim_core::fault::crash("store").lasting(3.secs()).may_miss());
        let mut up = Vec::new();
        sleep(500.ms()).await;
        for _ in 0..6 {
            up.push(node("store").is_up());
            sleep(1.secs()).await;
        }
        up
    });
    assert!(report.passed(), "{}", report.render(&[]));
    assert_eq!(up, [true, false, false, false, false, true]);
}

#[test]
fn what_a_fault_laid_on_a_device_ends_with_that_fault_alone() {
    let (errors, report) = outcome(Sim::new(1), || async {
        node("store").start(std::future::pending::<()>);
        faults()
            .at(1.secs(), disk::read_only("store").lasting(2.secs()))
            .at(2.secs(), disk::device_gone("store").lasting(2.secs()))
            .at(3.secs(), disk::read_only("store").lasting(3.secs()));
        let mut errors = Vec::new();
        for _ in 0..7 {
            sleep(500.ms()).await;
            let made = node("store").spawn(async { File::create("/f").map_err(|error| error.raw_os_error()) });
            errors.push(made.await.unwrap().err().flatten().unwrap_or(0));
            sleep(500.ms()).await;
        }
        errors
    });
    assert!(report.passed(), "{}", report.render(&[]));
    assert_eq!(errors, [0, 30, 6, 6, 30, 30, 0]);
}

#[test]
fn a_device_that_is_gone_is_gone_for_the_next_life_too_until_all_is_healed() {
    let (tries, report) = outcome(Sim::new(1), || async {
        let store = node("store").start(std::future::pending::<()>);
        faults().at(1.ms(), disk::device_gone("store")).at(1.ms(), disk::stall("store"));
        sleep(10.ms()).await;
        store.power_loss();
        store.restart();
        let gone = store.spawn(async { File::create("/f").is_err() }).await.unwrap();
        sim_core::fault::heal();
        let well = store.spawn(async { disk::fs::File::create("/f").await?.sync_all().await });
        [gone, well.await.unwrap().is_ok()]
    });
    assert!(report.passed(), "{}", report.render(&[]));
    assert_eq!(tries, [true, true]);
}

/// What a swarm of disk faults did to programs that write and sync, or what a plan did.
fn swarmed(seed: u64, atlas: bool, plan: Option<Plan>) -> (BTreeSet<String>, Plan) {
    const NAMES: [&str; 3] = ["n-1", "n-2", "n-3"];
    let most_down = Rc::new(Cell::new(0));
    let down = most_down.clone();
    let report = Sim::new(seed).with_faults(disk::KINDS).run(|| async move {
        if atlas {
            disk::set_atlas(disk::Atlas::helix(1, 4096));
        }
        for name in NAMES {
            node(name).start(|| async {
                loop {
                    sleep(50.ms()).await;
                    let Ok(file) = disk::fs::File::create("/f").await else { continue };
                    let _ = file.write_at(&[1; 9000], 0).await;
                    let _ = file.sync_all().await;
                    let _ = disk::fs::read("/f").await;
                }
            });
        }
        let swarm = Swarm::on("n-*").kinds("disk.*").window(0.secs()..20.secs());
        let armed = match plan {
            Some(plan) => faults().plan(plan),
            None => faults().swarm(swarm),
        };
        armed.budget(Budget::majority(&["n-*"]));
        for _ in 0..200 {
            sleep(100.ms()).await;
            down.set(down.get().max(NAMES.iter().filter(|name| !node(name).is_up()).count()));
        }
        sim_core::fail(sim_core::Outcome::Incorrect, "so that what struck is told")
    });
    assert!(report.message.contains("is told"), "{}", report.render(&[]));
    assert!(most_down.get() < 2, "the budget keeps a majority up");
    let fired = report.faults.iter().filter(|fault| !fault.fired_ns.is_empty());
    (fired.map(|fault| fault.kind.clone()).collect(), report.struck)
}

#[test]
fn swarms_draw_what_programs_must_survive_and_damage_only_where_an_atlas_allows_it() {
    let all = |atlas| (0..30).flat_map(|seed| swarmed(seed, atlas, None).0).collect::<BTreeSet<String>>();
    let (without, with) = (all(false), all(true));
    let silent = ["sector_error", "bit_rot", "misdirected_read", "lost_write", "misdirected_write", "stale_read"];
    let silent: BTreeSet<String> = silent.iter().map(|kind| format!("disk.{kind}")).collect();
    assert!(without.is_disjoint(&silent) && with.is_superset(&silent), "{without:?} {with:?}");
    let drawn = disk::KINDS.iter().filter(|kind| kind.sample.is_some()).map(|kind| kind.name.to_string());
    assert_eq!(with, drawn.collect());
}

#[test]
fn what_a_swarm_struck_is_a_plan_that_strikes_the_same_way_again() {
    for seed in 0..5 {
        let (_, struck) = swarmed(seed, true, None);
        assert!(!struck.is_empty());
        assert_eq!(swarmed(seed, true, Some(struck.clone())).1, struck, "seed {seed}");
    }
}
