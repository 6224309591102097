//! What a test may ask of a disk: what is open, what would be lost, what was done carelessly.

use sim_core::fault::faults;
use sim_core::{node, spawn};
use sim_disk::blocking::{self, File};
use sim_disk::{FsProfile, Habit, Image, fsync, fsync_eio, lints, open_files, unsynced};

use super::kit::{disks, run};

#[test]
fn open_files_are_listed_as_lsof_does() {
    run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let store = node("store");
        let shown = store.spawn(async move {
            faults().on(fsync("store", "log"), fsync_eio());
            let log = File::options().read(true).append(true).create(true).open("/log").unwrap();
            let tmp = File::create("/tmp").unwrap();
            let reader = File::open("/log").unwrap();
            log.write_at(b"hello", 0).unwrap();
            log.sync_all().unwrap_err();
            blocking::remove_file("/tmp").unwrap();
            let shown: Vec<String> = open_files(store).iter().map(ToString::to_string).collect();
            drop((log, tmp, reader));
            assert!(open_files(store).is_empty());
            shown
        });
        let shown = shown.await.unwrap();
        assert_eq!(shown[0].split_whitespace().collect::<Vec<_>>(), ["0u", "11", "5", "log"]);
        assert!(shown[1].ends_with("tmp (deleted)") && shown[2].ends_with("log (EIO unreported)"), "{shown:#?}");
    });
}

fn habits(program: fn()) -> Vec<Habit> {
    run(move || async move {
        disks(&FsProfile::POSIX_MINIMAL, Image::AllLost);
        faults().on(fsync("store", "fails"), fsync_eio().may_miss());
        let store = node("store");
        store.spawn(async move { program() }).await.unwrap();
        lints(store).into_iter().map(|lint| lint.habit).collect()
    })
}

#[test]
fn careless_habits_are_named_and_careful_ones_are_not() {
    let retries = || {
        let file = File::create("/fails").unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync_all().unwrap_err();
        file.sync_all().unwrap();
        File::open("/").unwrap().sync_all().unwrap();
    };
    assert_eq!(habits(retries), [Habit::RetriedFailedFsync]);
    let renames = || {
        blocking::write("/a", "x").unwrap();
        blocking::rename("/a", "/b").unwrap();
    };
    assert_eq!(habits(renames), [Habit::RenamedWithoutFsync]);
    let creates = || {
        blocking::write("/a", "x").unwrap();
        File::open("/a").unwrap().sync_all().unwrap();
    };
    assert_eq!(habits(creates), [Habit::CreatedWithoutDirectoryFsync]);
    let closes = || {
        let (file, other) = (File::create("/fails").unwrap(), File::create("/fails").unwrap());
        file.write_at(b"x", 0).unwrap();
        file.sync_all().unwrap_err();
        drop(other);
    };
    assert_eq!(habits(closes), [Habit::CreatedWithoutDirectoryFsync, Habit::ClosedWithUnreportedError]);
    let careful = || {
        let file = File::create("/fails").unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync_all().unwrap_err();
        file.write_at(b"x", 0).unwrap();
        file.sync_all().unwrap();
        blocking::rename("/fails", "/b").unwrap();
        File::open("/").unwrap().sync_all().unwrap();
    };
    assert_eq!(habits(careful), []);
}

#[test]
fn what_would_be_lost_is_accounted_by_machine() {
    run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let [one, two] = ["one", "two"].map(node);
        one.spawn(async { blocking::write("/a", "x").unwrap() }).await.unwrap();
        spawn(async {}).await.unwrap();
        let words = |machine| unsynced(machine).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(words(one), ["a: its name is not durable", "a: 1 bytes are not durable"]);
        assert!(words(two).is_empty());
    });
}
