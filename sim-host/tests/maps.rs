//! Files that hosted programs map into memory (mmap(2)).

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;
use std::time::Duration;

use sim_core::{Node, Outcome, Sim, node};
use sim_host::hosting::node::Host;

const PAGE: usize = 4096;

#[track_caller]
fn passes(program: fn()) {
    lives(program, |_| {});
}

/// Two lives of a program, with something in between that may come before the end of the first.
#[track_caller]
fn lives(program: fn(), between: fn(Node)) {
    for seed in 0..8 {
        let report = Sim::new(seed).run(async move || {
            let one = node("program").host(program);
            sim_core::time::sleep(Duration::from_secs(1)).await;
            between(one);
            one.restart();
            one.join().await;
        });
        assert_eq!(report.outcome, Outcome::Passed, "seed {seed}: {}", report.message);
    }
}

fn is_second_life() -> bool {
    sim_core::time::elapsed() >= Duration::from_secs(1)
}

/// A file of so many zeros, durable with its name; or as it is there already.
fn file(size: u64) -> File {
    let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open("/mapped").unwrap();
    if file.metadata().unwrap().len() == 0 {
        file.set_len(size).unwrap();
        file.sync_all().unwrap();
        File::open("/").unwrap().sync_all().unwrap();
    }
    file
}

fn map(file: &File, length: usize, protection: c_int, flags: c_int) -> *mut u8 {
    // SAFETY: a new place in the address space.
    let address = unsafe { libc::mmap(null_mut(), length, protection, flags, file.as_raw_fd(), 0) };
    assert_ne!(address, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    address.cast()
}

fn shared(file: &File, length: usize) -> *mut u8 {
    map(file, length, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED)
}

fn byte_of_file(at: usize) -> u8 {
    std::fs::read("/mapped").unwrap()[at]
}

#[test]
fn calls_and_mappings_see_what_the_other_has_written() {
    passes(|| {
        let file = file(10_000);
        let (writes, reads) = (shared(&file, 10_000), map(&file, 10_000, libc::PROT_READ, libc::MAP_SHARED));
        // SAFETY: mapped above.
        unsafe {
            writes.add(5_000).write_volatile(7);
            assert_eq!((byte_of_file(5_000), reads.add(5_000).read_volatile()), (7, 7));
            file.write_all_at(b"zz", 6_000).unwrap();
            assert_eq!((writes.add(6_001).read_volatile(), reads.add(6_001).read_volatile()), (b'z', b'z'));
            writes.add(6_000).write_volatile(1);
            assert_eq!((byte_of_file(6_000), byte_of_file(6_001)), (1, b'z'));
            file.set_len(5_500).unwrap();
            file.set_len(10_000).unwrap();
            assert_eq!((reads.add(5_000).read_volatile(), reads.add(6_001).read_volatile()), (7, 0));
            file.set_len(0).unwrap();
            file.set_len(10_000).unwrap();
        }
    });
}

#[test]
fn a_private_mapping_keeps_its_stores_to_itself() {
    passes(|| {
        let file = file(10_000);
        let mine = map(&file, 10_000, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
        // SAFETY: mapped above.
        unsafe { mine.add(5_000).write_volatile(7) };
        assert_eq!(byte_of_file(5_000), 0);
        let read_only = File::open("/mapped").unwrap();
        // SAFETY: a new place in the address space, which is refused.
        let address =
            unsafe { libc::mmap(null_mut(), PAGE, libc::PROT_WRITE, libc::MAP_SHARED, read_only.as_raw_fd(), 0) };
        assert_eq!(address, libc::MAP_FAILED);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EACCES));
    });
}

#[test]
fn msync_is_as_durable_as_fdatasync() {
    lives(
        || {
            let file = file(10_000);
            if is_second_life() {
                return assert_eq!(byte_of_file(5_000), 7);
            }
            let map = shared(&file, 10_000);
            // SAFETY: mapped above.
            unsafe {
                map.add(5_000).write_volatile(7);
                assert_eq!(libc::msync(map.cast(), 10_000, libc::MS_SYNC), 0);
            }
            std::thread::sleep(Duration::from_secs(100));
        },
        |one| one.power_loss(),
    );
}

#[test]
fn a_power_loss_takes_what_was_stored_and_not_synced() {
    lives(
        || {
            let file = file(10_000);
            let map = shared(&file, 10_000);
            // SAFETY: mapped above.
            unsafe {
                if is_second_life() {
                    return assert_eq!((map.read_volatile(), map.add(5_000).read_volatile()), (1, 0));
                }
                map.write_volatile(1);
                assert_eq!(libc::msync(map.cast(), PAGE, libc::MS_SYNC), 0);
                map.add(5_000).write_volatile(7);
            }
            std::thread::sleep(Duration::from_secs(100));
        },
        |one| one.power_loss(),
    );
}

#[test]
fn what_a_process_has_stored_stays_when_it_is_killed_and_when_its_main_returns() {
    fn stores_once() {
        let file = file(10_000);
        if is_second_life() {
            return assert_eq!(byte_of_file(5_000), 7);
        }
        // SAFETY: mapped just now.
        unsafe { shared(&file, 10_000).add(5_000).write_volatile(7) };
    }
    lives(stores_once, |_| {});
    lives(
        || {
            stores_once();
            std::thread::sleep(Duration::from_secs(100));
        },
        |one| one.crash(),
    );
}

#[test]
fn parts_of_a_mapping_are_unmapped_by_themselves() {
    passes(|| {
        let file = file(4 * PAGE as u64);
        let map = shared(&file, 4 * PAGE);
        // SAFETY: mapped above; what is unmapped is not touched again.
        unsafe {
            map.add(5_000).write_volatile(7);
            assert_eq!(libc::munmap(map.cast(), PAGE), 0);
            map.add(9_000).write_volatile(8);
            assert_eq!(libc::munmap(map.add(2 * PAGE).cast(), PAGE), 0);
            map.add(3 * PAGE).write_volatile(9);
            assert_eq!(libc::munmap(map.add(PAGE).cast(), 3 * PAGE), 0);
        }
        assert_eq!((byte_of_file(5_000), byte_of_file(9_000), byte_of_file(3 * PAGE)), (7, 8, 9));
    });
}

#[test]
fn a_mapping_grows_and_moves() {
    passes(|| {
        let file = file(PAGE as u64);
        let small = shared(&file, PAGE);
        file.set_len(4 * PAGE as u64).unwrap();
        file.write_all_at(b"x", 2 * PAGE as u64).unwrap();
        // SAFETY: mapped above, and where mremap(2) says.
        unsafe {
            let map = libc::mremap(small.cast(), PAGE, 4 * PAGE, libc::MREMAP_MAYMOVE).cast::<u8>();
            assert_ne!(map.cast(), libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
            assert_eq!(map.add(2 * PAGE).read_volatile(), b'x');
            map.add(10_000).write_volatile(7);
            assert_eq!(libc::munmap(map.cast(), 4 * PAGE), 0);
        }
        assert_eq!(byte_of_file(10_000), 7);
    });
}

#[test]
fn a_mapping_of_a_tebibyte_takes_the_memory_of_what_is_touched() {
    passes(|| {
        const TIB: usize = 1 << 40;
        let file = file(TIB as u64);
        let map = shared(&file, TIB);
        // SAFETY: mapped above.
        unsafe {
            map.add(TIB / 2).write_volatile(7);
            assert_eq!(libc::msync(map.cast(), TIB, libc::MS_SYNC), 0);
        }
        let mut byte = [0];
        file.read_exact_at(&mut byte, TIB as u64 / 2).unwrap();
        assert_eq!(byte, [7]);
        assert!(file.metadata().unwrap().len() == TIB as u64);
        drop(file);
        std::fs::remove_file("/mapped").unwrap();
    });
}
