//! What a crash may leave: sets of images by filesystem, and what no image may ever break.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use sim_core::time::sleep;
use sim_core::{Sim, Units, node, random};
use sim_disk::blocking::{self, File};
use sim_disk::{Exhaustive, Explored, FsProfile, Image, ack_durable, begin_durable};

use super::kit::{cycle, disks, outcome, run};

fn sync(path: &str) {
    File::open(path).unwrap().sync_all().unwrap();
}

/// Every image of every crash of a workload: what `look` sees in them.
fn images(profile: &'static FsProfile, prepare: fn(), workload: fn(), look: fn() -> String) -> BTreeSet<String> {
    run(move || async move {
        disks(profile, Image::AllLost);
        let store = node("store");
        store.spawn(async move { prepare() }).await.unwrap();
        let seen = Rc::new(RefCell::new(BTreeSet::new()));
        let into = seen.clone();
        let see = move |_| {
            let into = into.clone();
            async move {
                into.borrow_mut().insert(look());
                Ok(())
            }
        };
        let explored = Exhaustive::new(store).run(async move { workload() }, see).await;
        explored.assert_survived();
        seen.take()
    })
}

fn kind(path: &str) -> &'static str {
    let Ok(bytes) = blocking::read(path) else { return "missing" };
    let all = |byte| bytes.iter().all(|other| *other == byte);
    match bytes.len() {
        0 => "empty",
        4096 if all(b'o') => "old",
        8192 if all(b'n') => "new",
        _ if bytes.iter().all(|byte| [b'n', 0].contains(byte)) => "zeros",
        _ => "noise",
    }
}

/// The oldest question: a file is written anew beside the old one and renamed, without an fsync.
fn replaced(profile: &'static FsProfile) -> String {
    let seen = images(
        profile,
        || {
            blocking::write("/config", [b'o'; 4096]).unwrap();
            sync("/config");
            sync("/");
        },
        || {
            blocking::write("/config.tmp", [b'n'; 8192]).unwrap();
            blocking::rename("/config.tmp", "/config").unwrap();
        },
        || kind("/config").to_string(),
    );
    seen.into_iter().collect::<Vec<_>>().join(" ")
}

#[test]
fn crash_images_of_replacing_by_rename_without_fsync() {
    assert_eq!(replaced(&FsProfile::EXT4_ORDERED), "new old");
    assert_eq!(replaced(&FsProfile::BTRFS), "new old");
    assert_eq!(replaced(&FsProfile::EXT4_JOURNAL), "new old");
    assert_eq!(replaced(&FsProfile::ZFS), "new old");
    assert_eq!(replaced(&FsProfile::XFS), "empty new old", "an empty file, and never bytes that were not written");
    assert_eq!(replaced(&FsProfile::EXT4_WRITEBACK), "new noise old zeros");
    assert_eq!(replaced(&FsProfile::POSIX_MINIMAL), "empty new old zeros");
}

#[test]
fn crash_images_of_a_rename_are_two_names_or_none_only_where_it_is_not_atomic() {
    let names = |profile| {
        let seen = images(
            profile,
            || {
                blocking::write("/a", "x").unwrap();
                sync("/a");
                sync("/");
            },
            || blocking::rename("/a", "/b").unwrap(),
            || {
                blocking::read_dir("/")
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect()
            },
        );
        seen.into_iter().collect::<Vec<_>>().join(",")
    };
    assert_eq!(names(&FsProfile::POSIX_MINIMAL), ",a,ab,b");
    for profile in [&FsProfile::EXT4_ORDERED, &FsProfile::XFS, &FsProfile::BTRFS] {
        assert_eq!(names(profile), "a,b", "{}", profile.name);
    }
}

#[test]
fn crash_images_tear_a_page_by_sectors_only_where_data_is_written_in_place() {
    let pages = |profile| {
        images(
            profile,
            || {
                blocking::write("/f", [b'o'; 4096]).unwrap();
                sync("/f");
                sync("/");
            },
            || {
                let file = File::options().write(true).open("/f").unwrap();
                file.write_at(&[b'n'; 4096], 0).unwrap();
            },
            || {
                let bytes = blocking::read("/f").unwrap();
                bytes.chunks(512).map(|sector| char::from(sector[0])).collect()
            },
        )
    };
    for sectors in pages(&FsProfile::EXT4_ORDERED) {
        assert!(sectors.len() == 8, "{sectors}");
    }
    assert!(pages(&FsProfile::EXT4_ORDERED).contains("nooooooo"));
    assert_eq!(pages(&FsProfile::BTRFS).into_iter().collect::<Vec<_>>(), ["nnnnnnnn", "oooooooo"]);
}

#[test]
fn crash_images_keep_the_order_of_writes_to_a_sector() {
    let seen = images(
        &FsProfile::POSIX_MINIMAL,
        || {
            blocking::write("/f", "0").unwrap();
            sync("/f");
            sync("/");
        },
        || {
            let file = File::options().write(true).open("/f").unwrap();
            for text in ["1", "2", "3"] {
                file.write_at(text.as_bytes(), 0).unwrap();
            }
        },
        || blocking::read_to_string("/f").unwrap(),
    );
    assert_eq!(seen.into_iter().collect::<String>(), "0123");
}

/// A journal of two files, in which the second record is written only after the first is durable.
async fn scribble(seed: u64, steps: u64) {
    for step in 0..steps {
        let path = format!("/{}", random().range(0..3));
        match random().range(0..8) {
            0..5 => {
                let file = File::options().write(true).create(true).open(&path).unwrap();
                let fill = vec![(step + seed) as u8 | 1; random().range(1..9000) as usize];
                file.write_at(&fill, random().range(0..9000)).unwrap();
            }
            5 => drop(blocking::rename(&path, "/3")),
            6 => drop(blocking::remove_file(&path)),
            _ => {
                if let Ok(file) = File::open(&path) {
                    file.sync_all().unwrap();
                    sync("/");
                    let bytes = blocking::read(&path).unwrap();
                    // Later changes of this file may or may not survive; so it is left alone from here on.
                    blocking::rename(&path, format!("/kept-{step}")).unwrap();
                    sync("/");
                    ack_durable(format!("/kept-{step}"), bytes);
                }
            }
        }
        if random().range(0..4) == 0 {
            sleep(30.ms()).await;
        }
    }
}

#[test]
fn crash_images_have_what_a_successful_fsync_covered_on_every_filesystem() {
    for seed in 0..400 {
        let profile = FsProfile::ALL[seed as usize % FsProfile::ALL.len()];
        let (survived, report) = outcome(Sim::new(seed), move || async move {
            disks(profile, Image::Any);
            let store = node("store");
            for _ in 0..3 {
                store.spawn(scribble(seed, 30)).await.unwrap();
                cycle(store);
                let read = |path: &str| blocking::read(path).ok();
                let check = move || sim_disk::ledger(sim_core::current_node()).check(read);
                let result: Result<(), String> = store.spawn(async move { check() }).await.unwrap();
                result?;
            }
            Ok::<(), String>(())
        });
        assert!(report.passed(), "{}", report.render(&[]));
        assert_eq!(survived, Ok(()), "seed {seed}, {}", profile.name);
    }
}

#[test]
fn crash_images_replay_from_their_names() {
    let all = [Image::AllLost, Image::AllButOne(3), Image::Random(40), Image::TornAt(2, 0x0f), Image::TornLast(1)];
    for image in all {
        assert_eq!(image.to_string().parse::<Image>().unwrap(), image);
    }
    assert!("torn".parse::<Image>().unwrap_err().to_string().contains("torn-at N SECTORS"));
}

/// Appends records of eight bytes; acknowledges each once it is synced, or before.
fn appended(profile: &'static FsProfile, syncs: bool) -> Explored {
    run(move || async move {
        disks(profile, Image::AllLost);
        let store = node("store");
        let workload = async move {
            let log = File::options().append(true).create(true).open("/log").unwrap();
            sync("/");
            for record in 0..10u64 {
                let bytes = record.to_le_bytes();
                begin_durable(record.to_string(), bytes);
                log.write_at(&bytes, 0).unwrap();
                if syncs {
                    log.sync_all().unwrap();
                }
                ack_durable(record.to_string(), bytes);
            }
        };
        Exhaustive::new(store)
            .run(workload, |ledger| async move {
                let bytes = blocking::read("/log").unwrap_or_default();
                ledger.check(|key| bytes.chunks_exact(8).nth(key.parse().unwrap()))
            })
            .await
    })
}

#[test]
fn crash_images_are_all_survived_by_a_log_that_syncs_and_not_by_one_that_does_not() {
    for profile in FsProfile::ALL {
        appended(profile, true).assert_survived();
        let failure = appended(profile, false).failure.expect("a loss");
        assert_eq!(failure.message, "0 was acknowledged and is gone", "{failure}");
    }
}
