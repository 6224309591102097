//! Moments at which faults strike: before an operation, in its middle, after it; named ones, and effects.

use std::collections::BTreeSet;

use sim_core::fault::{Plan, crash, faults, power_loss};
use sim_core::time::sleep;
use sim_core::{Sim, Units, node};
use sim_disk::blocking::{self, File};
use sim_disk::{self as disk, FsProfile, Image};

use super::kit::{content, disks, outcome, run};

/// Appends five records to a log, and syncs each, until it dies. What a power loss leaves then.
fn survivors(plan: Plan) -> (String, usize) {
    run(|| async move {
        disks(&FsProfile::POSIX_MINIMAL, Image::AllLost);
        let store = node("store");
        let acknowledged = std::rc::Rc::new(std::cell::Cell::new(0));
        let count = acknowledged.clone();
        faults().plan(plan);
        let append = store.spawn(async move {
            let log = disk::fs::File::create("/log").await.unwrap();
            disk::fs::File::open("/").await.unwrap().sync_all().await.unwrap();
            for record in 0..5u8 {
                if log.write_at(&[b'a' + record], u64::from(record)).await.is_err() || log.sync_all().await.is_err() {
                    return;
                }
                count.set(count.get() + 1);
            }
        });
        let _ = append.await;
        store.power_loss();
        store.restart();
        (String::from_utf8(content(store, "/log").await.unwrap()).unwrap(), acknowledged.get())
    })
}

#[test]
fn a_crash_before_an_fsync_finds_nothing_of_it_and_one_after_it_all_of_it_and_nobody_who_knows() {
    let third = || disk::fsync("store", "log").nth(3);
    let on = |selector| Plan::new().on(selector, crash("store"));
    assert_eq!(survivors(on(third())), ("ab".to_string(), 2));
    assert_eq!(survivors(on(third().before())), ("ab".to_string(), 2));
    assert_eq!(survivors(on(third().after())), ("abc".to_string(), 2));
}

#[test]
fn a_crash_after_a_write_leaves_it_in_the_cache() {
    for (selector, left) in
        [(disk::write("store", "log").nth(2), "a"), (disk::write("store", "log").nth(2).after(), "ab")]
    {
        let text = run(move || async move {
            faults().on(selector, crash("store"));
            let store = node("store").start(|| async {
                let log = File::create("/log").unwrap();
                log.write_at(b"a", 0).unwrap();
                log.write_at(b"b", 1).unwrap_err();
            });
            sleep(1.ms()).await;
            store.start(|| async {});
            String::from_utf8(content(store, "/log").await.unwrap()).unwrap()
        });
        assert_eq!(text, left);
    }
}

#[test]
fn after_every_operation_there_is_a_moment() {
    let points = [
        disk::open("store", "f"),
        disk::read("store", "f"),
        disk::write("store", "f"),
        disk::fsync("store", "f"),
        disk::set_len("store", "f"),
        disk::rename("store", "g"),
        disk::make("store", "d"),
        disk::remove("store", "g"),
    ];
    for selector in points {
        let (done, before) = (selector.clone().after(), selector.clone());
        let seen = |selector: sim_core::fault::Selector| {
            run(move || async move {
                faults().on(selector, power_loss("store"));
                let store = node("store");
                let script = store.spawn(async {
                    let file = File::options().read(true).write(true).create(true).open("/f").unwrap();
                    file.write_at(b"x", 0).unwrap();
                    file.read_at(&mut [0], 0).unwrap();
                    file.sync_all().unwrap();
                    file.set_len(9).unwrap();
                    blocking::rename("/f", "/g").unwrap();
                    blocking::create_dir("/d").unwrap();
                    blocking::remove_file("/g").unwrap();
                });
                script.await.is_err()
            })
        };
        assert!(seen(done) && seen(before), "{selector:?}");
    }
}

/// How many pages of an old file are new after a process was killed in the middle of overwriting eight.
fn pages_of_a_torn_write(seed: u64) -> usize {
    let (pages, report) = outcome(Sim::new(seed), || async {
        faults().on(disk::write("store", "f").nth(2).amid(), crash("store"));
        let store = node("store").start(|| async {
            let file = File::create("/f").unwrap();
            file.write_at(&[b'o'; 8 * 4096], 0).unwrap();
            file.write_at(&[b'n'; 8 * 4096], 0).unwrap_err();
        });
        sleep(1.ms()).await;
        store.start(|| async {});
        let bytes = content(store, "/f").await.unwrap();
        let new = bytes.chunks(4096).take_while(|page| page.iter().all(|byte| *byte == b'n')).count();
        assert!(bytes[new * 4096..].iter().all(|byte| *byte == b'o'));
        new
    });
    assert!(report.passed(), "{}", report.render(&[]));
    pages
}

#[test]
fn a_process_killed_in_the_middle_of_a_write_has_written_some_whole_pages() {
    let pages: BTreeSet<usize> = (0..40).map(pages_of_a_torn_write).collect();
    assert!(pages.len() > 3 && pages.iter().all(|pages| (1..8).contains(pages)), "{pages:?}");
}

#[test]
fn a_fault_that_must_come_before_an_operation_says_so_after_it() {
    let report = Sim::new(1).with_faults(disk::KINDS).run(|| async {
        faults().on(disk::write("store", "f").after(), disk::no_space());
        node("store").spawn(async { blocking::write("/f", "x").unwrap() }).await.unwrap();
    });
    assert!(report.message.contains("strikes at the beginning of an operation"), "{}", report.message);
}

#[test]
fn a_marker_is_a_moment_for_a_fault() {
    let (names, report) = outcome(Sim::new(1), || async {
        faults().on(disk::marker("store", "between"), crash("store"));
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

#[test]
fn a_marker_of_a_muted_fault_is_passed() {
    let (names, report) = outcome(Sim::new(1).mute_fault("node.crash"), || async {
        faults().on(disk::marker("store", "between"), crash("store"));
        let store = node("store");
        let work = store.spawn(async {
            blocking::write("/a", "x").unwrap();
            disk::crash_point!("between");
            blocking::write("/b", "x").unwrap();
            blocking::read_dir("/").unwrap().count()
        });
        work.await.unwrap()
    });
    assert!(report.passed() && names == 2, "{names} {}", report.render(&[]));
}

/// After how many of twenty files a machine crashed at an effect, each file synced or not.
fn crashed_after(seed: u64, syncs: bool) -> usize {
    let (names, report) = outcome(Sim::new(seed), move || async move {
        disks(&FsProfile::EXT4_ORDERED, Image::AllKept);
        let store = node("store");
        faults().at(0.ns(), disk::crash_at_an_effect("store", 10));
        sleep(1.ms()).await;
        let task = store.spawn(async move {
            for name in 0..40 {
                let Ok(file) = File::create(format!("/{name}")) else { return };
                if syncs && file.sync_all().is_err() {
                    return;
                }
            }
        });
        let _ = task.await;
        assert!(!store.is_up());
        store.restart();
        store.spawn(async { blocking::read_dir("/").unwrap().count() }).await.unwrap()
    });
    assert_eq!((report.passed(), report.faults[0].observed), (true, 1), "{}", report.render(&[]));
    names
}

#[test]
fn a_crash_at_an_effect_comes_at_different_effects_within_its_bound() {
    let survivors: BTreeSet<usize> = (0..40).map(|seed| crashed_after(seed, false)).collect();
    assert!(survivors.len() > 6 && survivors.iter().all(|names| (1..=11).contains(names)), "{survivors:?}");
}

#[test]
fn a_crash_at_an_effect_prefers_moments_with_something_in_flight() {
    // A file that is synced takes one step in flight and one that is not: eleven of a hundred instead of ten.
    let (in_flight, total) = (0..200).fold((0, 0), |(in_flight, total), seed| {
        let (unsynced, report) = outcome(Sim::new(seed), || async {
            disks(&FsProfile::EXT4_ORDERED, Image::AllKept);
            let store = node("store");
            faults().at(0.ns(), disk::crash_at_an_effect("store", 10));
            sleep(1.ms()).await;
            let seen = std::rc::Rc::new(std::cell::Cell::new(false));
            let at = seen.clone();
            let task = store.spawn(async move {
                for name in 0..40 {
                    at.set(true);
                    let Ok(file) = File::create(format!("/{name}")) else { return };
                    if !node("store").is_up() {
                        return;
                    }
                    at.set(false);
                    if file.sync_all().is_err() {
                        return;
                    }
                }
            });
            let _ = task.await;
            seen.get()
        });
        assert!(report.passed());
        (in_flight + usize::from(unsynced), total + 1)
    });
    assert!(in_flight * 10 > total * 8, "{in_flight} of {total}");
}
