//! What a failed fsync leaves, filesystem by filesystem: the table of Rebello et al., "Can Applications Recover from fsync
//! Failures?" (USENIX ATC 2020), section 3 and table 1, for the rows ext4, XFS and Btrfs; FreeBSD and ZFS from its section
//! 7 and from PostgreSQL's survey ("Fsync Errors", wiki.postgresql.org); Linux before 4.13 from Layton, "Improved block-layer
//! error handling" (lwn.net/Articles/724307).

use std::fmt::Write;

use sim_core::fault::faults;
use sim_core::node;
use sim_disk::posix::{self, File, Mode};
use sim_disk::{FsProfile, Image, evict, fsync, fsync_eio_of_pages};

use super::kit::{content, cycle, disks, run};

const PAGE: usize = 4096;

const READ_WRITE: Mode = Mode { read: true, write: true, create: true, ..Mode::READ };

fn said(result: std::io::Result<()>) -> &'static str {
    match result.map_err(|error| error.raw_os_error()) {
        Ok(()) => "ok",
        Err(Some(5)) => "EIO",
        Err(_) => "other",
    }
}

fn page(file: &File, number: u64) -> &'static str {
    let mut bytes = [0; PAGE];
    let length = file.read(Some(number * PAGE as u64), &mut bytes).unwrap();
    name(&bytes[..length])
}

fn name(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "none",
        [b'o', ..] => "old",
        [b'n', ..] => "new",
        [0, ..] => "zeros",
        _ => "noise",
    }
}

/// A file with an old page 0 that is durable; page 0 and page 1 are new, and the device refuses page 0.
async fn failing() -> File {
    let file = posix::open("/f".as_ref(), READ_WRITE).unwrap();
    file.write(Some(0), &[b'o'; PAGE]).unwrap();
    file.sync_now().unwrap();
    posix::open("/".as_ref(), Mode::READ).unwrap().sync_now().unwrap();
    file.write(None, &[b'n'; 2 * PAGE]).unwrap();
    faults().on(fsync("store", "f"), fsync_eio_of_pages(&[0]));
    file
}

/// One row: what was measured under a profile, in words.
fn row(profile: &'static FsProfile) -> String {
    let mut row = format!("{:<15}", profile.name);
    let told = run(move || async move {
        disks(profile, Image::AllLost);
        let store = node("store");
        store
            .spawn(async {
                let file = failing().await;
                let other = posix::open("/f".as_ref(), READ_WRITE).unwrap();
                let first = said(file.sync_now());
                let cached = page(&file, 0);
                let (again, other) = (said(file.sync_now()), said(other.sync_now()));
                let later = said(posix::open("/f".as_ref(), READ_WRITE).unwrap().sync_now());
                faults().at(std::time::Duration::ZERO, evict("store").may_miss());
                sim_core::time::sleep(std::time::Duration::from_millis(1)).await;
                [first, again, other, later, cached, page(&file, 0)]
            })
            .await
            .unwrap()
    });
    // After a second fsync and a power loss.
    let left = run(move || async move {
        disks(profile, Image::AllLost);
        let store = node("store");
        store
            .spawn(async {
                let file = failing().await;
                let _ = file.sync_now();
                let _ = file.sync_now();
            })
            .await
            .unwrap();
        cycle(store);
        let bytes = content(store, "/f").await.unwrap();
        [name(&bytes[..PAGE]), name(&bytes[PAGE..])]
    });
    // Appending at the position goes on where the failed write ended.
    let appended = run(move || async move {
        disks(profile, Image::AllLost);
        let written = node("store").spawn(async {
            let file = failing().await;
            let _ = file.sync_now();
            file.write(None, b"n").unwrap();
            page(&file, 1)
        });
        written.await.unwrap()
    });
    // A write with O_DSYNC on a descriptor that has an error to report.
    let through = run(move || async move {
        disks(profile, Image::AllLost);
        let written = node("store").spawn(async {
            let file = failing().await;
            let through = posix::open("/f".as_ref(), Mode { sync: true, ..READ_WRITE }).unwrap();
            let _ = file.sync_now();
            let result = said(through.write(Some(0), b"!").map(drop));
            let mut byte = [0];
            file.read(Some(0), &mut byte).unwrap();
            (result, if byte == *b"!" { "written" } else { "unwritten" })
        });
        written.await.unwrap()
    });
    for cell in told.iter().chain(&left).chain([&appended, &through.0, &through.1]) {
        write!(row, " {cell:<9}").unwrap();
    }
    row.trim_end().to_string()
}

const TABLE: &str = "\
                 told by fsync         of others           page 0 now          after a crash       append    O_DSYNC
                 1st       2nd       open      later     cached    evicted   page 0    page 1    hole      says      does
posix-minimal   EIO       ok        EIO       ok        new       old       old       new       new       EIO       unwritten
ext4-ordered    EIO       ok        EIO       ok        new       old       old       new       new       EIO       unwritten
ext4-writeback  EIO       ok        EIO       ok        new       old       old       new       new       EIO       unwritten
ext4-journal    ok        EIO       EIO       ok        new       new       new       new       new       EIO       unwritten
xfs             EIO       ok        EIO       ok        new       old       old       new       new       EIO       unwritten
btrfs           EIO       ok        EIO       ok        old       old       old       none      zeros     EIO       written
zfs             EIO       ok        EIO       ok        new       new       new       new       new       EIO       unwritten
linux-pre-4.13  EIO       ok        ok        ok        new       old       old       new       new       ok        written";

#[test]
fn fsync_table_is_reproduced_row_by_row() {
    let rows: Vec<String> = FsProfile::ALL.iter().map(|profile| row(profile)).collect();
    let expected: Vec<&str> = TABLE.lines().skip(2).collect();
    assert_eq!(rows, expected, "measured:\n{}", rows.join("\n"));
}

#[test]
fn fsync_table_of_journals_says_who_goes_on() {
    let after = |profile: &'static FsProfile| {
        run(move || async move {
            disks(profile, Image::AllLost);
            faults().on(fsync("store", "f"), sim_disk::journal_eio());
            let store = node("store");
            store
                .spawn(async {
                    let file = posix::open("/f".as_ref(), READ_WRITE).unwrap();
                    file.write(None, b"x").unwrap();
                    let first = file.sync_now().unwrap_err().raw_os_error().unwrap();
                    let write = file.write(None, b"y").err().map_or(0, |error| error.raw_os_error().unwrap());
                    let read = file.read(Some(0), &mut [0]).err().map_or(0, |error| error.raw_os_error().unwrap());
                    [first, write, read]
                })
                .await
                .unwrap()
        })
    };
    let (eio, erofs) = (5, 30);
    assert_eq!(after(&FsProfile::EXT4_ORDERED), [eio, erofs, 0]);
    assert_eq!(after(&FsProfile::BTRFS), [eio, erofs, 0]);
    assert_eq!(after(&FsProfile::XFS), [eio, eio, eio]);
    assert_eq!(after(&FsProfile::ZFS), [eio, 0, 0]);
}

#[test]
fn fsync_table_of_before_linux_4_13_loses_an_error_to_a_passing_sync() {
    let heard = |profile: &'static FsProfile| {
        run(move || async move {
            disks(profile, Image::AllLost);
            faults().on(fsync("store", "f"), sim_disk::fsync_eio());
            let store = node("store");
            store
                .spawn(async {
                    let file = posix::open("/f".as_ref(), READ_WRITE).unwrap();
                    let other = posix::open("/f".as_ref(), READ_WRITE).unwrap();
                    other.write(None, b"x").unwrap();
                    let _ = other.sync_now();
                    posix::sync_all().unwrap();
                    file.sync_now().is_err()
                })
                .await
                .unwrap()
        })
    };
    assert!(heard(&FsProfile::EXT4_ORDERED) && !heard(&FsProfile::LINUX_PRE_4_13));
}

#[test]
fn fsync_table_a_sequence_fails_a_page_in_its_order() {
    let said = run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let store = node("store");
        faults().at(std::time::Duration::ZERO, sim_disk::page_sequence("store", "f", 0, "wxwX"));
        sim_core::time::sleep(std::time::Duration::from_millis(1)).await;
        store
            .spawn(async {
                let file = posix::open("/f".as_ref(), READ_WRITE).unwrap();
                let mut said = String::new();
                for _ in 0..5 {
                    file.write(Some(0), b"x").unwrap();
                    file.write(Some(PAGE as u64), b"x").unwrap();
                    said.push(if file.sync_now().is_ok() { 'w' } else { 'x' });
                }
                said
            })
            .await
            .unwrap()
    });
    assert_eq!(said, "wxwxx");
}
