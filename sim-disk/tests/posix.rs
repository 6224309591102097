//! What only the POSIX face has: locks, mappings, holes, O_DIRECT, limits.

use std::io::{IoSlice, IoSliceMut};

use sim_core::time::{elapsed, sleep};
use sim_core::{Units, node, spawn};
use sim_disk::posix::{self, Allocate, File, Follow, Kind, LockOwner, Mode, RangeLock, Rename};
use sim_disk::{FsProfile, Image, blocking, options, set_options};

use super::kit::{content, cycle, disks, run};

const READ_WRITE: Mode = Mode { read: true, write: true, create: true, ..Mode::READ };

fn open(path: &str) -> File {
    posix::open(path.as_ref(), READ_WRITE).unwrap()
}

fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn a_lock_is_released_by_a_crash_and_by_closing_its_description() {
    run(|| async {
        let store = node("store").start(|| async {
            let file = open("/lock");
            file.flock(true).await?;
            let other = open("/lock");
            assert_eq!(errno(other.try_flock(true)), 11);
            if elapsed() > 1.secs() {
                drop(file.duplicate()?);
                assert_eq!(errno(other.try_flock(false)), 11, "the description is open still");
                drop(file);
                other.try_flock(true)?;
                return Ok::<(), std::io::Error>(());
            }
            std::future::pending().await
        });
        sleep(2.secs()).await;
        store.crash();
        store.restart();
        store.join().await;
    });
}

#[test]
fn who_waits_for_a_lock_gets_it_when_it_is_given_back() {
    run(|| async {
        let held = open("/f");
        let range = RangeLock { start: 0, end: 10, exclusive: true };
        held.try_lock(LockOwner::Description, range).unwrap();
        let waiter = spawn(async move {
            open("/f").lock(LockOwner::Description, RangeLock { start: 9, ..range }).await.unwrap();
            elapsed()
        });
        sleep(5.ms()).await;
        assert_eq!(held.conflicting_lock(LockOwner::Process, range).unwrap(), Some(range));
        held.unlock(LockOwner::Description, 5, 10).unwrap();
        assert_eq!(waiter.await.unwrap(), 5.ms());
    });
}

#[test]
fn a_view_keeps_the_bytes_of_its_moment() {
    run(|| async {
        let file = open("/f");
        file.write(None, &[1; 10_000]).unwrap();
        let view = file.view(4_000, 200).unwrap();
        file.write(Some(0), &[2; 10_000]).unwrap();
        assert_eq!((view.to_vec(), view.get(199), view.get(200)), (vec![1; 200], Some(1), None));
        assert_eq!(file.view(9_999, 3).unwrap().to_vec(), [2, 0, 0]);
    });
}

#[test]
fn vectors_are_one_write_and_one_read() {
    run(|| async {
        let file = open("/f");
        let written = file.write_vectored(None, &[IoSlice::new(b"hello "), IoSlice::new(b"world")]).unwrap();
        let (mut head, mut tail) = ([0; 5], [0; 20]);
        let buffers = &mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)];
        assert_eq!((written, file.read_vectored(Some(0), buffers).unwrap()), (11, 11));
        assert_eq!((&head, &tail[..6]), (b"hello", &b" world"[..]));
    });
}

#[test]
fn holes_are_found_and_punched_and_blocks_are_counted() {
    run(|| async {
        let file = open("/f");
        file.write(Some(3 * 4096), &[1; 4096]).unwrap();
        assert_eq!((file.seek_sparse(0, true).unwrap(), file.seek_sparse(0, false).unwrap()), (3 * 4096, 0));
        assert_eq!(errno(file.seek_sparse(4 * 4096, true)), 6);
        file.allocate(Allocate::KeepSize, 0, 6 * 4096).unwrap();
        assert_eq!((file.metadata().unwrap().len(), file.metadata().unwrap().blocks()), (4 * 4096, 6 * 8));
        file.allocate(Allocate::PunchHole, 0, 6 * 4096).unwrap();
        assert_eq!(file.metadata().unwrap().blocks(), 2 * 8, "what lies behind the end stays reserved");
        assert_eq!(errno(file.seek_sparse(0, true)), 6);
    });
}

#[test]
fn o_direct_wants_whole_sectors_and_reaches_the_cache_of_the_device() {
    let after = |crash: &'static str| {
        run(move || async move {
            disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
            let store = node("store");
            store
                .spawn(async {
                    blocking::write("/f", [1; 4096]).unwrap();
                    blocking::File::open("/f").unwrap().sync_all().unwrap();
                    let file = posix::open("/f".as_ref(), Mode { direct: true, ..READ_WRITE }).unwrap();
                    assert_eq!(
                        (errno(file.write(Some(1), &[2; 512])), errno(file.write(Some(0), &[2; 500]))),
                        (22, 22)
                    );
                    file.write(Some(0), &[2; 512]).unwrap();
                })
                .await
                .unwrap();
            match crash {
                "kernel" => sim_core::fault::faults().at(0.ns(), sim_disk::kernel_crash("store").lasting(1.ms())),
                _ => sim_core::fault::faults().at(0.ns(), sim_core::fault::power_loss("store").lasting(1.ms())),
            };
            sleep(2.ms()).await;
            content(store, "/f").await.unwrap()[0]
        })
    };
    assert_eq!((after("kernel"), after("power")), (2, 1));
}

#[test]
fn o_dsync_is_durable_when_it_returns() {
    run(|| async {
        disks(&FsProfile::XFS, Image::AllLost);
        let store = node("store");
        let write = async {
            let file = posix::open("/f".as_ref(), Mode { sync: true, ..READ_WRITE }).unwrap();
            file.write(None, b"safe").unwrap();
        };
        store.spawn(write).await.unwrap();
        cycle(store);
        assert_eq!(content(store, "/f").await.unwrap(), b"safe");
    });
}

#[test]
fn names_are_exchanged_or_kept_as_renameat2_says() {
    run(|| async {
        blocking::write("/a", "a").unwrap();
        blocking::create_dir("/b").unwrap();
        let [a, b] = ["/a", "/b"].map(std::path::Path::new);
        assert_eq!(errno(posix::rename(a, b, Rename::NoReplace)), 17);
        assert_eq!(errno(posix::rename(a, "/c".as_ref(), Rename::Exchange)), 2);
        posix::rename(a, b, Rename::Exchange).unwrap();
        assert_eq!(blocking::read("/b").unwrap(), b"a");
        let kinds = posix::open("/".as_ref(), Mode::READ).unwrap().list().unwrap();
        assert_eq!(kinds.iter().map(|entry| entry.2).collect::<Vec<_>>(), [Kind::Directory, Kind::File]);
    });
}

#[test]
fn limits_of_blocks_inodes_and_descriptors_are_told_apart() {
    run(|| async {
        let mut small = options();
        small.capacity.bytes = Some(4 * 4096);
        (small.capacity.inodes, small.capacity.descriptors) = (Some(3), Some(2));
        set_options(small);
        let file = open("/f");
        assert_eq!(file.write(Some(0), &[1; 6 * 4096]).unwrap(), 4 * 4096, "what fits");
        assert_eq!(errno(file.write(None, b"x").and(file.write(Some(4 * 4096), b"x"))), 28);
        file.write(Some(0), &[2; 4096]).unwrap();
        let status = posix::volume_status().unwrap();
        assert_eq!((status.blocks, status.free_blocks, status.free_inodes), (4, 0, 1));
        let _second = open("/g");
        assert_eq!(errno(posix::open("/f".as_ref(), Mode::READ)), 24);
        drop(_second);
        assert_eq!(errno(posix::open("/h".as_ref(), READ_WRITE)), 28);
    });
}

#[test]
fn times_and_permission_bits_are_kept() {
    run(|| async {
        sleep(3.secs()).await;
        let file = open("/f");
        let made = file.metadata().unwrap();
        sleep(1.secs()).await;
        file.write(None, b"x").unwrap();
        let written = posix::metadata("/f".as_ref(), Follow::Always).unwrap();
        assert_eq!(written.modified_ns() - made.modified_ns(), 1_000_000_000);
        posix::set_times("/f".as_ref(), Follow::Always, Some(5), Some(6)).unwrap();
        posix::set_permissions("/f".as_ref(), 0o600).unwrap();
        let set = file.metadata().unwrap();
        assert_eq!((set.accessed_ns(), set.modified_ns(), set.mode()), (5, 6, 0o100_600));
    });
}

#[test]
fn a_file_is_not_made_behind_a_link_that_ends_in_a_slash_whatever_is_there() {
    run(|| async {
        sim_disk::blocking::create_dir_all("/a").unwrap();
        posix::symlink("a/b/".as_ref(), "/b".as_ref()).unwrap();
        posix::symlink("nowhere/b/".as_ref(), "/a/b".as_ref()).unwrap();
        let open = |create: bool| posix::open("/b".as_ref(), Mode { write: true, create, ..Mode::READ });
        let number = |create: bool| open(create).unwrap_err().raw_os_error();
        assert_eq!((number(true), number(false)), (Some(21), Some(2)), "EISDIR as on Linux, and ENOENT");
    });
}
