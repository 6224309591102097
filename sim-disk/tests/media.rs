//! Faults of the medium, sector by sector: what they spoil, what they leave, what takes them away.

use sim_core::fault::{Fault, faults};
use sim_core::time::sleep;
use sim_core::{Sim, Units, node};
use sim_disk::blocking::{self, File};
use sim_disk::{self as disk, Atlas, Exhaustive, FsProfile, Image, Sector};

use super::kit::{disks, outcome, run};

const PAGE: usize = 4096;

fn save(path: &str, bytes: &[u8]) {
    blocking::write(path, bytes).unwrap();
    File::open(path).unwrap().sync_all().unwrap();
    File::open("/").unwrap().sync_all().unwrap();
}

/// Which of the sectors of a file differ from what was saved, read past the cache one by one; `!` for those that cannot be
/// read.
fn sectors(path: &str, right: u8) -> String {
    let file = File::options().read(true).direct(true).open(path).unwrap();
    let count = file.metadata().unwrap().len() / 512;
    let look = |sector: u64| {
        let mut bytes = [0; 512];
        match file.read_at(&mut bytes, sector * 512) {
            Err(error) => {
                if error.raw_os_error() == Some(5) {
                    '!'
                } else {
                    '?'
                }
            }
            Ok(512) if bytes == [right; 512] => '.',
            Ok(_) => 'x',
        }
    };
    (0..count).map(look).collect()
}

/// What is left of two saved pages after a fault, and after some change.
fn after(seed: u64, fault: Fault, change: fn()) -> String {
    let (seen, report) = outcome(Sim::new(seed), move || async move {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let store = node("store");
        store.spawn(async { save("/f", &[7; 2 * PAGE]) }).await.unwrap();
        faults().at(0.ns(), fault).at(0.ns(), disk::evict("store"));
        sleep(1.ms()).await;
        store.spawn(async move { change() }).await.unwrap();
        store.spawn(async { sectors("/f", 7) }).await.unwrap()
    });
    assert!(report.passed(), "{}", report.render(&[]));
    seen
}

#[test]
fn a_fault_of_the_medium_is_in_one_sector() {
    let mut places = std::collections::BTreeSet::new();
    for seed in 0..30 {
        for (fault, sign) in [(disk::sector_error("store", "f"), '!'), (disk::bit_rot("store", "f"), 'x')] {
            let seen = after(seed, fault, || {});
            assert_eq!(seen.replace(sign, ".").len(), 16);
            assert_eq!(seen.matches(sign).count(), 1, "{seen}");
            places.insert(seen.find(sign));
        }
    }
    assert!(places.len() > 8, "all of the file: {places:?}");
}

#[test]
fn a_page_around_a_bad_sector_cannot_be_read_through_the_cache_and_the_others_can() {
    let (pages, sectors) = run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let store = node("store");
        store.spawn(async { save("/f", &[7; 2 * PAGE]) }).await.unwrap();
        faults().at(0.ns(), disk::sector_error("store", "f")).at(0.ns(), disk::evict("store"));
        sleep(1.ms()).await;
        let look = async {
            let file = File::open("/f").unwrap();
            let page = |page: u64| file.read_at(&mut [0; 10], page * PAGE as u64).is_ok();
            ([page(0), page(1)], sectors("/f", 7))
        };
        store.spawn(look).await.unwrap()
    });
    let bad = sectors.find('!').unwrap();
    assert_eq!(pages, [bad >= 8, bad < 8]);
}

#[test]
fn a_sector_that_is_written_is_sound_again() {
    let rewrite = || save("/f", &[7; 2 * PAGE]);
    for fault in [disk::sector_error("store", "f"), disk::bit_rot("store", "f"), disk::misdirected_read("store", "f")] {
        assert_eq!(after(1, fault, rewrite), ".".repeat(16));
    }
}

#[test]
fn a_flipped_bit_that_was_cached_and_written_back_stays() {
    let seen = after(1, disk::bit_rot("store", "f"), || {
        let file = File::options().read(true).write(true).open("/f").unwrap();
        // Not the sector that rotted, but its page.
        for page in 0..2 {
            file.write_at(&[7], page * PAGE as u64).unwrap();
        }
        file.sync_all().unwrap();
    });
    assert_eq!(seen.matches('x').count(), 1, "{seen}");
}

#[test]
fn each_fault_of_the_medium_is_lifted_by_itself() {
    let steps = run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        let store = node("store");
        store.spawn(async { save("/f", &[7; 2 * PAGE]) }).await.unwrap();
        let at = |seconds: u64| seconds.secs();
        faults()
            .at(at(1), disk::bit_rot("store", "f").lasting(4.secs()))
            .at(at(2), disk::sector_error("store", "f").lasting(1.secs()))
            .on(disk::fsync("store", "f").nth(2), disk::lost_write().lasting(1500.ms()))
            .at(at(8), disk::bit_rot("store", "f"));
        let mut steps = Vec::new();
        for second in 0..10 {
            sleep(500.ms()).await;
            if second == 5 {
                let update = async {
                    let file = File::options().write(true).open("/f").unwrap();
                    file.write_at(&[7; PAGE], 0).and_then(|_| file.sync_all()).unwrap();
                    file.write_at(&[8; PAGE], PAGE as u64).and_then(|_| file.sync_all()).unwrap();
                };
                store.spawn(update).await.unwrap();
            }
            if second == 9 {
                sim_core::fault::heal();
            }
            let right = if second >= 5 { 8 } else { 7 };
            let seen = store.spawn(async move { sectors("/f", right)[8..].to_string() + &sectors("/f", 7)[..8] });
            let seen = seen.await.unwrap();
            steps.push((seen.matches('x').count(), seen.matches('!').count()));
            sleep(500.ms()).await;
        }
        steps
    });
    // The lost write leaves all eight sectors of its page as they were, for a second and a half.
    assert_eq!(steps[..5], [(0, 0), (1, 0), (1, 1), (1, 0), (1, 0)]);
    assert_eq!(steps[5..], [(8, 0), (8, 0), (0, 0), (1, 0), (0, 0)]);
}

#[test]
fn a_lost_write_is_there_again_when_its_fault_is_over() {
    let seen = run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        faults().on(disk::fsync("store", "f").nth(2), disk::lost_write().lasting(1.secs()));
        let store = node("store");
        store.spawn(async { save("/f", &[7; PAGE]) }).await.unwrap();
        store.spawn(async { save("/f", &[8; PAGE]) }).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            store.power_loss();
            store.restart();
            seen.push(store.spawn(async { blocking::read("/f").unwrap()[0] }).await.unwrap());
            sleep(2.secs()).await;
        }
        seen
    });
    assert_eq!(seen, [7, 8]);
}

#[test]
fn a_device_with_large_sectors_spoils_and_tears_whole_pages() {
    let seen = run(|| async {
        disks(&FsProfile::POSIX_MINIMAL, Image::TornLast(0x0f));
        let mut options = disk::options();
        options.sector = Sector::Bytes4096;
        disk::set_options(options);
        let store = node("store");
        store.spawn(async { save("/f", &[7; 2 * PAGE]) }).await.unwrap();
        let unaligned = store.spawn(async {
            let file = File::options().read(true).direct(true).open("/f").unwrap();
            file.read_at(&mut [0; 512], 0).map_err(|error| error.raw_os_error())
        });
        assert_eq!(unaligned.await.unwrap(), Err(Some(22)));
        store.spawn(async { blocking::write("/f", [8; PAGE]).unwrap() }).await.unwrap();
        store.power_loss();
        store.restart();
        let bytes = store.spawn(async { blocking::read("/f").unwrap() }).await.unwrap();
        (bytes[..PAGE].iter().all(|byte| *byte == 8), bytes.len())
    });
    assert!(seen.0, "{seen:?}");
}

/// How many sectors of replicas are faulty after many faults, per replica and chunk.
fn spoiled(atlas: Option<Atlas>) -> Vec<String> {
    run(|| async {
        disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
        atlas.into_iter().for_each(disk::set_atlas);
        const NAMES: [&str; 3] = ["n-1", "n-2", "n-3"];
        for name in NAMES {
            node(name).spawn(async { save("/f", &[7; 4 * PAGE]) }).await.unwrap();
            for strike in 0..30 {
                faults().at(strike.ms(), disk::sector_error(name, "f").may_miss());
            }
            faults().at(0.ns(), disk::evict(name));
        }
        sleep(1.secs()).await;
        let mut seen = Vec::new();
        for name in NAMES {
            seen.push(node(name).spawn(async { sectors("/f", 7) }).await.unwrap());
        }
        seen
    })
}

#[test]
fn an_atlas_leaves_a_sound_copy_of_every_chunk() {
    let chunk = |_: &str, offset: u64| offset / PAGE as u64;
    let bad = |replica: &str, chunk: usize| replica[chunk * 8..chunk * 8 + 8].contains('!');
    let copies = |seen: &[String], chunk: usize| seen.iter().filter(|replica| bad(replica, chunk)).count();
    let quorum = spoiled(Some(Atlas::quorum_safe(1, chunk)));
    assert!((0..4).all(|chunk| copies(&quorum, chunk) <= 1), "{quorum:?}");
    assert!(quorum.iter().all(|replica| (0..4).any(|chunk| !bad(replica, chunk))), "no replica loses all: {quorum:?}");
    assert!(quorum.iter().any(|replica| replica.contains('!')));
    let helix = spoiled(Some(Atlas::helix(3, PAGE as u64)));
    assert!((0..4).all(|chunk| copies(&helix, chunk) <= 1), "{helix:?}");
    let none = spoiled(None);
    assert!((0..4).any(|chunk| copies(&none, chunk) == 3), "without one every copy of a chunk is hit: {none:?}");
}

#[test]
fn an_atlas_governs_writes_that_go_wrong_and_their_victims() {
    let wrong = |atlas: Atlas| {
        run(|| async {
            disks(&FsProfile::EXT4_ORDERED, Image::AllLost);
            disk::set_atlas(atlas);
            faults().on(disk::fsync("store", "f").nth(2), disk::misdirected_write());
            let store = node("store");
            store.spawn(async { save("/f", &[7; 3 * PAGE]) }).await.unwrap();
            let update = async {
                let file = File::options().write(true).open("/f").unwrap();
                file.write_at(&[7; PAGE], 0).and_then(|_| file.write_at(&[8], 0)).unwrap();
                file.sync_all().unwrap();
                sectors("/f", 7)
            };
            store.spawn(update).await.unwrap()
        })
    };
    let written = format!("x{}", ".".repeat(23));
    assert_eq!(wrong(Atlas::quorum_safe(0, |_, offset| offset)), written, "it may spoil nothing");
    assert_ne!(wrong(Atlas::quorum_safe(1, |_, offset| offset / PAGE as u64)), written);
    assert_eq!(wrong(Atlas::quorum_safe(1, |_, _| 0)), written, "the replica has one chunk alone");
}

/// Overwrites a page that is durable: what the crash images have of its sectors.
fn overwritten(profile: &'static FsProfile, garbage: bool) -> Vec<String> {
    run(move || async move {
        disks(profile, Image::AllLost);
        let store = node("store");
        store.spawn(async { save("/f", &[b'o'; PAGE]) }).await.unwrap();
        let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let into = seen.clone();
        let look = move |_| {
            let into = into.clone();
            async move {
                let bytes = blocking::read("/f").unwrap();
                let sign = |sector: &[u8]| match sector {
                    all if all.iter().all(|byte| *byte == all[0]) => char::from(all[0]),
                    _ => '?',
                };
                into.borrow_mut().push(bytes.chunks(512).map(sign).collect());
                Ok(())
            }
        };
        let overwrite = async {
            File::options().write(true).open("/f").unwrap().write_at(&[b'n'; PAGE], 0).unwrap();
        };
        Exhaustive::new(store).garbage(garbage).run(overwrite, look).await.assert_survived();
        seen.take()
    })
}

#[test]
fn the_sector_that_was_being_written_may_be_garbage_where_that_is_asked_for() {
    let seen = overwritten(&FsProfile::EXT4_ORDERED, true);
    for image in ["?ooooooo", "nnn?oooo", "nnnnnnn?"] {
        assert!(seen.iter().any(|other| other == image), "{image} of {seen:?}");
    }
    assert!(!overwritten(&FsProfile::EXT4_ORDERED, false).iter().any(|image| image.contains('?')));
    let on_copies = overwritten(&FsProfile::BTRFS, true);
    assert!(on_copies.iter().all(|image| ["oooooooo", "nnnnnnnn"].contains(&&**image)), "{on_copies:?}");
}

#[test]
fn reads_and_writes_go_short_where_that_is_asked_for_and_no_bytes_are_lost() {
    let lengths = |percent| {
        run(move || async move {
            let mut options = disk::options();
            options.short_read_probability = sim_core::Ratio::percent(percent);
            options.short_write_probability = sim_core::Ratio::percent(percent);
            disk::set_options(options);
            let file = File::options().read(true).write(true).create(true).open("/f").unwrap();
            let mut at = 0;
            let mut short = 0;
            while at < 100_000 {
                let written = file.write_at(&[(at / 1000) as u8; 1000], at).unwrap();
                assert!(written >= 1);
                short += usize::from(written < 1000);
                at = if written < 1000 { at } else { at + 1000 };
                let mut bytes = [0; 1000];
                let read = file.read_at(&mut bytes, at.saturating_sub(1000)).unwrap();
                assert!(read >= 1 || at == 0);
                short += usize::from(read < 1000 && at > 0);
            }
            let all = std::io::Read::bytes(&file).map(Result::unwrap).collect::<Vec<u8>>();
            assert!(all.len() >= 100_000 && (0..100_000).all(|place| all[place] == (place / 1000) as u8));
            short
        })
    };
    assert_eq!(lengths(0), 0);
    assert!(lengths(30) > 20);
}
