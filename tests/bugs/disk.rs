//! What disks do to programs that trust them: each program with its bug, and a twin that is right. The number of seeds is
//! the bound within which the bug is found; the twins are swept with `cargo sim sweep bugs::disk --seeds 10000`.

use std::io;

use sim::disk::{FsProfile, Image, Profile, blocking, disk_full, evict, fsync, fsync_eio, misdirected_write, no_space};
use sim::fs::{self, File};
use sim::prelude::*;
use sim::time::sleep;
use tokio::io::AsyncWriteExt;

async fn sync_root() -> io::Result<()> {
    File::open("/").await?.sync_all().await
}

/// Cuts the power of the store and reads a file there.
async fn after_power_loss(path: &'static str) -> Option<String> {
    node("store").power_loss();
    node("store").restart();
    let found = node("store").spawn(fs::read(path)).await.unwrap();
    found.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a record and syncs it as told. Whether it takes it for durable.
async fn save(syncs: bool, retries: u32) -> io::Result<bool> {
    let mut file = File::create("wal").await?;
    sync_root().await?;
    file.write_all(b"precious").await?;
    file.flush().await?;
    if !syncs {
        return Ok(true);
    }
    for _ in 0..=retries {
        if file.sync_all().await.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs [`save`], cuts the power, and looks.
async fn lose_power_after(syncs: bool, retries: u32) {
    let acknowledged = node("store").spawn(save(syncs, retries)).await.unwrap().unwrap();
    sleep(1.ms()).await;
    let found = after_power_loss("wal").await.unwrap_or_default();
    always!(!acknowledged || found == "precious", "what was acknowledged is there", "found {found:?}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn an_acknowledgement_before_fsync_is_lost_with_the_power() {
    lose_power_after(false, 0).await;
}

#[sim::test(seeds = 10)]
async fn an_acknowledgement_after_fsync_survives() {
    lose_power_after(true, 0).await;
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn a_second_fsync_that_succeeds_says_nothing_about_the_first() {
    faults().on(fsync("store", "wal"), fsync_eio());
    lose_power_after(true, 1).await;
}

#[sim::test(seeds = 20)]
async fn who_takes_a_failed_fsync_for_a_failed_write_acknowledges_nothing_wrong() {
    faults().on(fsync("store", "wal"), fsync_eio());
    lose_power_after(true, 0).await;
}

/// Replaces a file by writing another and renaming it; syncs the content, or not.
async fn replace(syncs: bool) {
    let update = async move {
        let write = |path: &'static str, text: &'static str, syncs: bool| async move {
            let mut file = File::create(path).await?;
            file.write_all(text.as_bytes()).await?;
            if syncs { file.sync_all().await } else { Ok(()) }
        };
        write("config", "old", true).await?;
        sync_root().await?;
        write("config.tmp", "new", syncs).await?;
        fs::rename("config.tmp", "config").await?;
        sync_root().await
    };
    node("store").spawn(update).await.unwrap().unwrap();
    let found = after_power_loss("config").await;
    always!(found.as_deref() == Some("new"), "a replaced file is whole", "found {found:?}");
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn a_file_renamed_before_its_fsync_is_empty_after_a_power_loss() {
    replace(false).await;
}

#[sim::test(seeds = 50)]
async fn a_file_renamed_after_its_fsync_is_whole() {
    replace(true).await;
}

/// Makes a file and syncs it; syncs its directory too, or not.
async fn make(syncs_directory: bool) {
    let create = async move {
        let mut file = File::create("segment").await?;
        file.write_all(b"precious").await?;
        file.sync_all().await?;
        if syncs_directory { sync_root().await } else { Ok(()) }
    };
    node("store").spawn(create).await.unwrap().unwrap();
    let found = after_power_loss("segment").await;
    always!(found.as_deref() == Some("precious"), "a synced file is there", "found {found:?}");
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn a_new_file_is_gone_whose_directory_was_not_synced() {
    make(false).await;
}

#[sim::test(seeds = 50)]
async fn a_new_file_is_there_whose_directory_was_synced() {
    make(true).await;
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

const BODY: usize = 1500;

/// A record of a log: its length, a checksum, and a body of one letter.
fn record(letter: u8) -> Vec<u8> {
    let body = [letter; BODY];
    [&(BODY as u32).to_le_bytes()[..], &checksum(&body).to_le_bytes(), &body].concat()
}

/// The records of a log up to the first that is not whole.
fn recover(log: &[u8], checks: bool) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut rest = log;
    while let Some((header, behind)) = rest.split_at_checked(8) {
        let length = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        let sum = u32::from_le_bytes(header[4..].try_into().unwrap());
        let Some((body, behind)) = behind.split_at_checked(length).filter(|_| length > 0) else { break };
        if checks && checksum(body) != sum {
            break;
        }
        records.push(body.to_vec());
        rest = behind;
    }
    records
}

/// Loses power while records are appended, and reads the log.
async fn tail(checks: bool) {
    let append = async {
        let mut log = File::create("log").await.unwrap();
        sync_root().await.unwrap();
        for letter in b'a'..b'e' {
            log.write_all(&record(letter)).await.unwrap();
        }
    };
    node("store").spawn(append).await.unwrap();
    node("store").power_loss();
    node("store").restart();
    let records = node("store").spawn(async move { recover(&fs::read("log").await.unwrap_or_default(), checks) });
    let torn = records.await.unwrap().iter().any(|body| body.iter().any(|byte| *byte != body[0] || *byte == 0));
    always!(!torn, "every record that is read back was written");
}

#[sim::test(seeds = 300, expect = "incorrect")]
async fn a_torn_tail_is_taken_for_a_record_where_only_its_length_is_looked_at() {
    tail(false).await;
}

#[sim::test(seeds = 50)]
async fn a_torn_tail_is_told_by_its_checksum() {
    tail(true).await;
}

/// An update whose fsync fails is reported as failed; then the process restarts, and recovers from what it reads. `trusts`
/// takes that for durable; the right way writes it out again first.
async fn replay_from_the_cache(trusts: bool) {
    faults().on(fsync("store", "log").nth(2), fsync_eio());
    let update = async {
        let mut log = File::create("log").await.unwrap();
        log.sync_all().await.unwrap();
        sync_root().await.unwrap();
        log.write_all(b"update").await.unwrap();
        log.sync_all().await.is_ok()
    };
    node("store").spawn(update).await.unwrap();
    node("store").restart();
    let serves = node("store").spawn(async move {
        let text = fs::read("log").await.unwrap();
        if !trusts {
            let mut log = fs::OpenOptions::new().write(true).open("log").await.unwrap();
            log.write_all(&text).await.unwrap();
            while log.sync_all().await.is_err() {
                log.write_at(&text, 0).await.unwrap();
            }
        }
        text
    });
    let served = serves.await.unwrap();
    let found = after_power_loss("log").await.unwrap_or_default();
    always!(found.as_bytes() == served, "what was served after recovery is there", "found {found:?}");
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn a_recovery_that_reads_the_page_cache_serves_what_the_medium_never_had() {
    replay_from_the_cache(true).await;
}

#[sim::test(seeds = 20)]
async fn a_recovery_that_writes_again_what_it_reads_serves_what_is_there() {
    replay_from_the_cache(false).await;
}

const PAGE: usize = 4096;

/// A block says which one it is, and has a checksum; a reader that checks knows a block that is not its own.
fn block(number: u8, version: u8) -> Vec<u8> {
    let mut block = vec![number, version];
    block.resize(PAGE - 4, number);
    let sum = checksum(&block).to_le_bytes();
    [block, sum.to_vec()].concat()
}

/// Updates the last of four blocks, and the write lands on another; reads them all from the device.
async fn misdirected(checks: bool) {
    faults().on(fsync("store", "blocks").nth(2), misdirected_write());
    let update = async {
        let file = File::create("blocks").await.unwrap();
        for number in 0..4u8 {
            file.write_at(&block(number, 1), u64::from(number) * PAGE as u64).await.unwrap();
        }
        file.sync_all().await.unwrap();
        sync_root().await.unwrap();
        file.write_at(&block(3, 2), 3 * PAGE as u64).await.unwrap();
        file.sync_all().await.unwrap();
    };
    node("store").spawn(update).await.unwrap();
    faults().at(0.ns(), evict("store"));
    sleep(1.ms()).await;
    let reads = async move {
        let bytes = fs::read("blocks").await.unwrap();
        // The version of the last block is known from elsewhere, as a root pointer has it.
        let is_right = |place: usize, got: &[u8]| got == block(place as u8, if place == 3 { 2 } else { 1 });
        let served = bytes.chunks(PAGE).enumerate().filter(|(place, got)| !checks || is_right(*place, got));
        served.map(|(place, got)| (place, got[0])).collect::<Vec<_>>()
    };
    let served = node("store").spawn(reads).await.unwrap();
    let wrong = served.iter().find(|(place, number)| *place != usize::from(*number));
    always!(wrong.is_none(), "a block that is served is the one that was asked for", "{wrong:?}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_block_without_a_checksum_is_trusted_after_a_misdirected_write() {
    misdirected(false).await;
}

#[sim::test(seeds = 10)]
async fn a_block_that_says_which_it_is_is_not_taken_for_another() {
    misdirected(true).await;
}

/// Publishes a manifest by rename, on a disk that has no space for the name. `ignores` takes ENOSPC for success.
async fn publish(ignores: bool) {
    faults().on(sim::disk::rename("store", "manifest"), no_space());
    let published = node("store").spawn(async move {
        blocking::write("manifest", "1")?;
        blocking::File::open("manifest")?.sync_all()?;
        blocking::write("manifest.tmp", "2")?;
        blocking::File::open("manifest.tmp")?.sync_all()?;
        let renamed = blocking::rename("manifest.tmp", "manifest");
        blocking::File::open("/")?.sync_all()?;
        Ok::<bool, io::Error>(ignores || renamed.is_ok())
    });
    let published = published.await.unwrap().unwrap();
    let found = after_power_loss("manifest").await.unwrap_or_default();
    always!(!published || found == "2", "what was published is there", "found {found:?}");
}

#[sim::test(seeds = 5, expect = "incorrect")]
async fn a_rename_that_finds_no_space_is_taken_for_done() {
    publish(true).await;
}

#[sim::test(seeds = 5)]
async fn a_rename_that_finds_no_space_is_not_acknowledged() {
    publish(false).await;
}

/// Commits three records, one fsync each, and begins a fourth; loses power; opens the log. `drops` cuts the log at the
/// first record that does not check, and takes a page that went bad in the middle for a torn tail.
async fn reopen(drops: bool) {
    faults().at(50.ms(), sim::disk::bit_rot("store", "log"));
    let commit = async {
        let mut log = File::create("log").await.unwrap();
        sync_root().await.unwrap();
        for letter in b'a'..b'd' {
            log.write_all(&record(letter)).await.unwrap();
            log.sync_all().await.unwrap();
        }
    };
    node("store").spawn(commit).await.unwrap();
    sleep(100.ms()).await;
    node("store").power_loss();
    node("store").restart();
    let opens = node("store").spawn(async move {
        let bytes = fs::read("log").await.unwrap();
        let records = recover(&bytes, true);
        // A torn tail is behind everything that is whole. Whole records behind a bad one: the bad one was committed.
        let after_bad = bytes.len() > records.len() * (BODY + 8) + 2 * (BODY + 8) - 1;
        let tail_is_whole = bytes.len().is_multiple_of(BODY + 8);
        if !drops && (after_bad || (records.len() < 3 && tail_is_whole)) { None } else { Some(records.len()) }
    });
    let opened = opens.await.unwrap();
    always!(opened.is_none_or(|records| records == 3), "a log that opens has what was committed", "{opened:?}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_committed_record_that_rotted_is_dropped_as_a_torn_tail() {
    reopen(true).await;
}

#[sim::test(seeds = 10)]
async fn a_log_with_a_hole_in_its_middle_does_not_open() {
    reopen(false).await;
}

/// Fills the disk while a log is written. `ignores` takes a short write for a whole one.
async fn append_to_a_full_disk(ignores: bool) {
    faults().at(1.ms(), disk_full("store"));
    let acknowledged = node("store").spawn(async move {
        let log = blocking::File::create("log")?;
        log.write_at(&record(b'a'), 0)?;
        log.sync_all()?;
        blocking::File::open("/")?.sync_all()?;
        sleep(2.ms()).await;
        let second = [record(b'b'), record(b'c'), record(b'd')].concat();
        let written = log.write_at(&second, (BODY + 8) as u64)?;
        log.sync_all()?;
        Ok::<usize, io::Error>(if ignores || written == second.len() { 4 } else { 1 })
    });
    let acknowledged = acknowledged.await.unwrap().unwrap();
    node("store").power_loss();
    node("store").restart();
    let reads = async { recover(&fs::read("log").await.unwrap(), true).len() };
    let found = node("store").spawn(reads).await.unwrap();
    always!(found >= acknowledged, "what was acknowledged is there", "{found} of {acknowledged}");
}

#[sim::test(seeds = 5, expect = "incorrect")]
async fn a_short_write_on_a_full_disk_is_taken_for_a_whole_one() {
    append_to_a_full_disk(true).await;
}

#[sim::test(seeds = 5)]
async fn a_short_write_on_a_full_disk_is_noticed() {
    append_to_a_full_disk(false).await;
}

/// Two fields in two pages that are changed together, in place. Only a filesystem that keeps all in order is kind to it.
async fn in_place(profile: FsProfile) {
    let mut ordered = sim::disk::options();
    (ordered.profile, ordered.crash_image) = (Profile::Is(profile), Image::Any);
    sim::disk::set_options(ordered);
    let update = async {
        let file = blocking::File::create("pair").unwrap();
        file.write_at(&[1; 2 * PAGE], 0).unwrap();
        file.sync_all().unwrap();
        blocking::File::open("/").unwrap().sync_all().unwrap();
        file.write_at(&[2; PAGE], 0).unwrap();
        file.write_at(&[2; PAGE], PAGE as u64).unwrap();
    };
    node("store").spawn(update).await.unwrap();
    node("store").power_loss();
    node("store").restart();
    let pages = node("store").spawn(fs::read("pair")).await.unwrap().unwrap();
    always!(pages[0] >= pages[PAGE], "the second page is new only if the first is");
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn pages_changed_in_place_come_out_of_order_on_ext4() {
    in_place(FsProfile::EXT4_ORDERED).await;
}

#[sim::test(seeds = 50)]
async fn pages_changed_in_place_stay_in_order_on_btrfs() {
    in_place(FsProfile::BTRFS).await;
}
