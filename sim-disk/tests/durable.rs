//! What fsync, fdatasync, syncfs and the flusher make durable, and whom they tell when they do not.

use sim_core::fault::faults;
use sim_core::time::sleep;
use sim_core::{Sim, Units, node};
use sim_disk::blocking::{self, File};
use sim_disk::{self as disk, FsProfile, Image, posix};

use super::kit::{cycle, disks, outcome, run};

/// A durable file of a page, ten milliseconds old.
async fn old() -> File {
    let file = File::options().read(true).write(true).create(true).open("/f").unwrap();
    file.write_at(&[b'o'; 4096], 0).unwrap();
    file.sync_all().unwrap();
    File::open("/").unwrap().sync_all().unwrap();
    sleep(10.ms()).await;
    file
}

/// Changes the old file, and whether its times, its content and another new name survive a power loss.
fn survives(profile: &'static FsProfile, change: fn(&File), save: fn(&File) -> std::io::Result<()>) -> [bool; 3] {
    run(move || async move {
        disks(profile, Image::AllLost);
        let store = node("store");
        let look = || (blocking::metadata("/f").unwrap().modified_ns(), blocking::read("/f").unwrap());
        let saved = store.spawn(async move {
            let file = old().await;
            blocking::write("/other", "x").unwrap();
            change(&file);
            save(&file).unwrap();
            look()
        });
        let (time, bytes) = saved.await.unwrap();
        cycle(store);
        let found = store.spawn(async move { (look(), blocking::try_exists("/other").unwrap()) });
        let ((time_now, bytes_now), name) = found.await.unwrap();
        [time == time_now, bytes == bytes_now, name]
    })
}

#[test]
fn fdatasync_leaves_times_and_names_behind_where_the_file_keeps_its_length_and_blocks() {
    let overwrite: fn(&File) = |file| assert_eq!(file.write_at(b"new", 0).unwrap(), 3);
    let extend: fn(&File) = |file| assert_eq!(file.write_at(b"new", 4096).unwrap(), 3);
    let ext4 = &FsProfile::EXT4_ORDERED;
    assert_eq!(survives(ext4, overwrite, File::sync_data), [false, true, false]);
    assert_eq!(survives(ext4, overwrite, File::sync_all), [true, true, true]);
    assert_eq!(survives(ext4, extend, File::sync_data), [true, true, true]);
    assert_eq!(survives(&FsProfile::POSIX_MINIMAL, extend, File::sync_data), [true, true, false]);
}

#[test]
fn fdatasync_of_a_new_file_saves_its_name_where_journals_do() {
    let kept = |profile: &'static FsProfile| {
        run(move || async move {
            disks(profile, Image::AllLost);
            let store = node("store");
            store.spawn(async { File::create("/empty").unwrap().sync_data().unwrap() }).await.unwrap();
            cycle(store);
            store.spawn(async { blocking::try_exists("/empty").unwrap() }).await.unwrap()
        })
    };
    assert!(kept(&FsProfile::XFS) && !kept(&FsProfile::POSIX_MINIMAL));
}

#[test]
fn permissions_and_times_that_were_set_need_an_fsync() {
    let kept = |save: fn(&posix::File)| {
        run(move || async move {
            disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
            let store = node("store");
            let set = store.spawn(async move {
                drop(old().await);
                let file = posix::open("/f".as_ref(), posix::Mode { write: true, ..posix::Mode::READ }).unwrap();
                file.set_permissions(0o600).unwrap();
                file.set_times(None, Some(7)).unwrap();
                save(&file);
            });
            set.await.unwrap();
            cycle(store);
            let found = store.spawn(async { blocking::metadata("/f").unwrap() }).await.unwrap();
            (found.mode() & 0o777, found.modified_ns() == 7)
        })
    };
    assert_eq!(kept(|file| file.sync_now().unwrap()), (0o600, true));
    assert_eq!(kept(|_| posix::sync_all().unwrap()), (0o600, true));
    assert_eq!(kept(|file| file.sync_data_now().unwrap()), (0o644, false));
}

#[test]
fn an_fsync_commits_the_cuts_of_other_files_where_journals_are_in_order() {
    let left = |profile: &'static FsProfile| {
        run(move || async move {
            disks(profile, Image::AllLost);
            let store = node("store");
            let work = store.spawn(async {
                let file = old().await;
                file.set_len(10).unwrap();
                let other = File::create("/other").unwrap();
                other.sync_all().unwrap();
            });
            work.await.unwrap();
            cycle(store);
            store.spawn(async { blocking::read("/f").unwrap().len() }).await.unwrap()
        })
    };
    assert_eq!(
        [left(&FsProfile::EXT4_ORDERED), left(&FsProfile::XFS), left(&FsProfile::POSIX_MINIMAL)],
        [10, 10, 4096]
    );
}

/// What an fsync says after the flusher of the machine has failed to write a page, and what syncfs says.
fn after_a_failed_write_back(muted: bool) -> (Option<i32>, u64) {
    let sim = if muted { Sim::new(2).mute_fault("disk.sequence") } else { Sim::new(2) };
    let (error, report) = outcome(sim, || async {
        let mut eager = disk::options();
        eager.profile = FsProfile::EXT4_ORDERED.into();
        (eager.write_back_min, eager.write_back_max) = (1.ms(), 2.ms());
        disk::set_options(eager);
        node("store");
        faults().at(0.ns(), disk::page_sequence("store", "f", 0, "X"));
        sleep(1.ns()).await;
        let work = node("store").spawn(async {
            let file = File::create("/f").unwrap();
            file.write_at(b"x", 0).unwrap();
            sleep(1.secs()).await;
            file.sync_all().err().and_then(|error| error.raw_os_error())
        });
        work.await.unwrap()
    });
    (error, report.faults[0].observed)
}

#[test]
fn a_write_back_that_fails_unasked_is_told_by_the_next_fsync() {
    assert_eq!(after_a_failed_write_back(false), (Some(5), 1));
    assert_eq!(after_a_failed_write_back(true), (None, 0));
}

#[test]
fn syncfs_tells_of_a_page_that_the_device_refuses() {
    let said = run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        node("store");
        faults().at(0.ns(), disk::page_sequence("store", "f", 0, "xW"));
        sleep(1.ns()).await;
        let work = node("store").spawn(async {
            let file = File::create("/f").unwrap();
            file.write_at(b"x", 0).unwrap();
            [posix::sync_all().is_err(), file.sync_all().is_err(), file.sync_all().is_err()]
        });
        work.await.unwrap()
    });
    assert_eq!(said, [true, true, false]);
}

#[test]
fn a_write_past_the_cache_of_a_device_without_one_is_durable_but_for_its_length() {
    let left = |device_cache: bool| {
        run(move || async move {
            disks(&FsProfile::POSIX_MINIMAL, Image::AllLost);
            let mut options = disk::options();
            options.device_cache = device_cache;
            disk::set_options(options);
            let store = node("store");
            let work = store.spawn(async {
                drop(old().await);
                let direct = File::options().write(true).direct(true).open("/f").unwrap();
                direct.write_at(&[b'n'; 8192], 0).unwrap();
            });
            work.await.unwrap();
            cycle(store);
            let bytes = store.spawn(async { blocking::read("/f").unwrap() }).await.unwrap();
            (char::from(bytes[0]), bytes.len())
        })
    };
    assert_eq!((left(true), left(false)), (('o', 4096), ('n', 4096)));
}

#[test]
fn blocks_that_were_reserved_are_there_when_the_disk_is_full() {
    let written = run(|| async {
        let store = node("store");
        faults().at(1.ms(), disk::disk_full("store"));
        let work = store.spawn(async {
            let file =
                posix::open("/f".as_ref(), posix::Mode { write: true, create: true, ..posix::Mode::READ }).unwrap();
            file.allocate(posix::Allocate::KeepSize, 0, 8192).unwrap();
            sleep(2.ms()).await;
            let inside = file.write(Some(0), &[1; 8192]).map_err(|error| error.raw_os_error());
            (inside, file.write(Some(8192), &[1]).map_err(|error| error.raw_os_error()))
        });
        work.await.unwrap()
    });
    assert_eq!(written, (Ok(8192), Err(Some(28))));
}

/// The sockets of another device, for a file system that is asked to remove one.
#[derive(Default)]
struct Sockets(std::cell::RefCell<Vec<String>>);

impl sim_core::device::Device for Sockets {
    fn unlink(&self, _: sim_core::NodeId, path: &str) -> bool {
        let mut sockets = self.0.borrow_mut();
        let place = sockets.iter().position(|socket| socket == path);
        place.map(|place| sockets.remove(place)).is_some()
    }
}

#[test]
fn a_socket_is_removed_as_a_file_is() {
    run(|| async {
        sim_core::device::with("a test", |Sockets(sockets), _| sockets.borrow_mut().push("/run/socket".to_string()));
        blocking::remove_file("/run/socket").unwrap();
        assert_eq!(blocking::remove_file("/run/socket").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    });
}

#[test]
fn replicas_that_differ_are_named_with_the_place() {
    run(|| async {
        let nodes = ["a", "b", "c"].map(node);
        for (store, text) in nodes.iter().zip(["same text", "same text", "same test"]) {
            store.spawn(async move { blocking::write("/log", text).unwrap() }).await.unwrap();
        }
        assert_eq!(disk::same_on(&nodes[..2], "/log"), Ok(()));
        let error = disk::same_on(&nodes, "/log").unwrap_err();
        assert_eq!(error, "/log differs between a and c from byte 7 on");
        assert!(disk::same_on(&nodes, "/none").unwrap_err().starts_with("/none of a: "));
    });
}
