//! What the disk promises, asked by small programs; and programs with a bug that each fault is there to find.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use sim_core::fault::{crash, faults, power_loss};
use sim_core::time::{elapsed, sleep};
use sim_core::{Node, Report, Sim, Units, node, spawn};
use sim_disk::fs::{self, File};
use sim_disk::{FsProfile, Image, Loss, blocking, fsync, fsync_eio, options, set_options, unsynced};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

/// Runs a body on disks that promise what POSIX does, and lose exactly what was not synced.
fn run<Fut: Future<Output = ()> + 'static>(seed: u64, body: impl FnOnce() -> Fut) -> Report {
    Sim::new(seed).with_faults(sim_disk::KINDS).run(|| {
        let mut strict = options();
        (strict.profile, strict.crash_image) = (FsProfile::POSIX_MINIMAL.into(), Image::AllLost);
        (strict.write_back_min, strict.write_back_max) = (100.secs(), 100.secs());
        set_options(strict);
        body()
    })
}

fn passes<Fut: Future<Output = ()> + 'static>(body: impl Fn() -> Fut) {
    for seed in 0..20 {
        let report = run(seed, &body);
        assert!(report.passed(), "{}", report.render(&[]));
    }
}

/// A machine that has run `program` once.
async fn machine<Fut: Future<Output = io::Result<()>> + 'static>(program: impl Fn() -> Fut + 'static) -> Node {
    let machine = node("store").start(program);
    machine.join().await;
    machine
}

/// What the machine has under a path now.
async fn content(machine: Node, path: &'static str) -> io::Result<Vec<u8>> {
    machine.spawn(fs::read(path)).await.unwrap()
}

async fn after_power_loss(machine: Node) {
    machine.power_loss();
    machine.start(|| std::future::ready(()));
    machine.join().await;
}

async fn sync_dir(path: &str) -> io::Result<()> {
    File::open(path).await?.sync_all().await
}

async fn create(path: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create(path).await?;
    file.write_all(bytes).await?;
    Ok(file)
}

fn missing<T: std::fmt::Debug>(result: io::Result<T>) {
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn file_lost_without_directory_sync() {
    passes(|| async {
        let store = machine(|| async { create("/log", b"hello").await?.sync_all().await }).await;
        after_power_loss(store).await;
        missing(content(store, "/log").await);
    });
}

#[test]
fn file_kept_with_directory_sync() {
    passes(|| async {
        let store = machine(|| async {
            create("/log", b"hello").await?.sync_all().await?;
            sync_dir("/").await
        })
        .await;
        assert_eq!(unsynced(store), []);
        after_power_loss(store).await;
        assert_eq!(content(store, "/log").await.unwrap(), b"hello");
    });
}

#[test]
fn fsync_of_a_file_keeps_its_name_where_the_option_says_so() {
    passes(|| async {
        let mut journaling = options();
        journaling.profile = FsProfile::XFS.into();
        set_options(journaling);
        let store = machine(|| async {
            fs::create_dir_all("/a/b").await?;
            create("/a/b/log.tmp", b"hello").await?.sync_all().await?;
            fs::rename("/a/b/log.tmp", "/a/log").await?;
            create("/other", b"").await?.sync_all().await
        })
        .await;
        after_power_loss(store).await;
        assert_eq!(content(store, "/a/log").await.unwrap(), b"hello");
        missing(content(store, "/a/b/log.tmp").await);
    });
}

#[test]
fn name_without_content_leaves_an_empty_file() {
    passes(|| async {
        let store = machine(|| async {
            create("/log", b"hello").await?;
            sync_dir("/").await
        })
        .await;
        after_power_loss(store).await;
        assert_eq!(content(store, "/log").await.unwrap(), b"");
    });
}

#[test]
fn process_kill_keeps_what_was_written() {
    passes(|| async {
        let store = machine(|| async { create("/log", b"hello").await.map(drop) }).await;
        store.crash();
        store.start(|| std::future::ready(()));
        assert_eq!(content(store, "/log").await.unwrap(), b"hello");
    });
}

#[test]
fn what_was_written_after_the_last_fsync_is_lost() {
    passes(|| async {
        let store = machine(|| async {
            let mut log = create("/log", &[1; 5_000]).await?;
            log.sync_all().await?;
            sync_dir("/").await?;
            log.write_all(&[2; 5_000]).await?;
            log.write_at(&[3; 10], 0).await?;
            Ok(())
        })
        .await;
        let lost = unsynced(store);
        assert_eq!((lost.len(), &lost[0].path), (1, &PathBuf::from("log")));
        assert_eq!(lost[0].to_string(), "log: 10000 bytes are not durable");
        after_power_loss(store).await;
        assert_eq!(content(store, "/log").await.unwrap(), [1; 5_000]);
    });
}

#[test]
fn a_cut_without_fsync_is_undone_by_a_power_loss() {
    passes(|| async {
        let store = machine(|| async {
            let log = create("/log", b"hello").await?;
            log.sync_all().await?;
            sync_dir("/").await?;
            log.set_len(0).await
        })
        .await;
        assert_eq!(unsynced(store)[0].loss, Loss::Content { bytes: 0 });
        assert_eq!(content(store, "/log").await.unwrap(), b"");
        after_power_loss(store).await;
        assert_eq!(content(store, "/log").await.unwrap(), b"hello");
    });
}

/// A machine with a durable /config that says `old`, and a /config.tmp that says `new`.
async fn with_config(sync_file: bool, rename: bool, sync_dir_after: bool) -> Node {
    machine(move || async move {
        create("/config", b"old").await?.sync_all().await?;
        sync_dir("/").await?;
        let new = create("/config.tmp", b"new").await?;
        if sync_file {
            new.sync_all().await?;
        }
        if rename {
            fs::rename("/config.tmp", "/config").await?;
        }
        if sync_dir_after {
            sync_dir("/").await?;
        }
        Ok(())
    })
    .await
}

#[test]
fn rename_without_fsync_of_the_file_leaves_it_empty() {
    passes(|| async {
        let store = with_config(false, true, true).await;
        assert_eq!(content(store, "/config").await.unwrap(), b"new");
        after_power_loss(store).await;
        assert_eq!(content(store, "/config").await.unwrap(), b"", "zero-length, as ext4 without auto_da_alloc");
    });
}

#[test]
fn rename_without_fsync_of_the_directory_is_undone() {
    passes(|| async {
        let store = with_config(true, true, false).await;
        let losses: Vec<String> = unsynced(store).iter().map(ToString::to_string).collect();
        assert_eq!(losses, ["config: its name is not durable"], "the other name was never durable");
        after_power_loss(store).await;
        assert_eq!(content(store, "/config").await.unwrap(), b"old");
        missing(content(store, "/config.tmp").await);
    });
}

#[test]
fn rename_with_both_fsyncs_is_durable() {
    passes(|| async {
        let store = with_config(true, true, true).await;
        assert_eq!(unsynced(store), []);
        after_power_loss(store).await;
        assert_eq!(content(store, "/config").await.unwrap(), b"new");
        missing(content(store, "/config.tmp").await);
    });
}

#[test]
fn rename_between_directories_needs_the_fsync_of_both() {
    passes(|| async {
        let store = machine(|| async {
            fs::create_dir("/a").await?;
            fs::create_dir("/b").await?;
            create("/a/x", b"1").await?.sync_all().await?;
            for dir in ["/", "/a", "/b"] {
                sync_dir(dir).await?;
            }
            fs::rename("/a/x", "/b/x").await?;
            sync_dir("/b").await
        })
        .await;
        missing(content(store, "/a/x").await);
        assert_eq!(unsynced(store)[0].loss, Loss::Removal);
        after_power_loss(store).await;
        assert_eq!(content(store, "/a/x").await.unwrap(), b"1");
        assert_eq!(content(store, "/b/x").await.unwrap(), b"1");
        assert_eq!(store.spawn(fs::metadata("/b/x")).await.unwrap().unwrap().nlink(), 2);
    });
}

#[test]
fn a_directory_has_one_durable_name() {
    passes(|| async {
        let store = machine(|| async {
            fs::create_dir_all("/a/d").await?;
            fs::create_dir("/b").await?;
            for dir in ["/", "/a", "/b"] {
                sync_dir(dir).await?;
            }
            fs::rename("/a/d", "/b/d").await?;
            sync_dir("/b").await
        })
        .await;
        after_power_loss(store).await;
        let exists = |path| store.spawn(fs::try_exists(path));
        assert!(!exists("/a/d").await.unwrap().unwrap());
        assert!(exists("/b/d").await.unwrap().unwrap());
    });
}

#[test]
fn a_removal_without_fsync_of_the_directory_is_undone() {
    passes(|| async {
        let store = machine(|| async {
            fs::create_dir("/d").await?;
            create("/d/x", b"1").await?.sync_all().await?;
            sync_dir("/d").await?;
            sync_dir("/").await?;
            fs::remove_dir_all("/d").await
        })
        .await;
        missing(content(store, "/d/x").await);
        after_power_loss(store).await;
        assert_eq!(content(store, "/d/x").await.unwrap(), b"1");
    });
}

#[test]
fn an_unlinked_open_file_lives_on() {
    passes(|| async {
        let mut file = File::options().read(true).write(true).create(true).open("/x").await.unwrap();
        file.write_all(b"hello").await.unwrap();
        fs::remove_file("/x").await.unwrap();
        missing(fs::read("/x").await);
        file.write_all(b" world").await.unwrap();
        file.sync_all().await.unwrap();
        file.seek(SeekFrom::Start(0)).await.unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).await.unwrap();
        assert_eq!((&*text, file.metadata().await.unwrap().nlink()), ("hello world", 0));
        fs::write("/x", "another").await.unwrap();
        assert_eq!(file.metadata().await.unwrap().len(), 11);
    });
}

#[test]
fn an_fsync_takes_its_latency_and_a_write_none() {
    passes(|| async {
        let file = create("/x", &[0; 100_000]).await.unwrap();
        assert_eq!(elapsed(), 0.ns());
        file.sync_all().await.unwrap();
        let latency = elapsed();
        assert!((500.us()..5.ms()).contains(&latency), "{latency:?}");
        blocking::File::open("/x").unwrap().sync_all().unwrap();
        assert_eq!(elapsed(), latency);
    });
}

#[test]
fn power_loss_in_the_middle_of_an_fsync_takes_what_it_was_to_save() {
    passes(|| async {
        let store = node("store").start(|| async {
            let mut log = create("/log", b"old").await?;
            log.sync_all().await?;
            sync_dir("/").await?;
            sleep(1.secs() - elapsed()).await;
            log.write_all(b"new").await?;
            log.sync_all().await
        });
        sleep(1.secs() + 400.us()).await;
        after_power_loss(store).await;
        sleep(10.ms()).await;
        assert_eq!(content(store, "/log").await.unwrap(), b"old");
    });
}

#[test]
fn a_killed_process_or_a_dropped_future_does_not_stop_an_fsync() {
    passes(|| async {
        let store = node("store").start(|| async {
            let log = create("/log", b"hello").await?;
            let syncing = spawn(async move { log.sync_all().await });
            sleep(100.us()).await;
            syncing.abort();
            sync_dir("/").await
        });
        sleep(200.us()).await;
        store.crash();
        sleep(20.ms()).await;
        after_power_loss(store).await;
        assert_eq!(content(store, "/log").await.unwrap(), b"hello");
    });
}

/// Begins an fsync of a new record, and acknowledges the record once a second one of the same file has completed.
async fn overtaking<Fut: Future<Output = io::Result<()>> + 'static>(second: fn(File) -> Fut) {
    let mut slow = options();
    (slow.fsync_latency_min, slow.fsync_latency_max) = (1.us(), 100.ms());
    set_options(slow);
    let store = machine(move || async move {
        let log = create("/log", b"record").await?;
        sync_dir("/").await?;
        let first = log.try_clone().await?;
        spawn(async move { first.sync_all().await });
        sleep(1.us()).await;
        second(log).await
    })
    .await;
    after_power_loss(store).await;
    assert_eq!(content(store, "/log").await.unwrap(), b"record");
}

#[test]
fn an_fsync_does_not_overtake_an_earlier_one_of_the_same_file() {
    passes(|| overtaking(|log| async move { log.sync_all().await }));
    passes(|| overtaking(|_| async { blocking::File::open("/log")?.sync_all() }));
}

#[test]
fn a_handle_of_a_dead_process_changes_nothing() {
    struct WritesWhenDropped(blocking::File);
    impl Drop for WritesWhenDropped {
        fn drop(&mut self) {
            // What panics here is the dead's own business: the disk is looked at below.
            let _ = self.0.write_at(b"zombie", 0);
            let _ = self.0.set_len(100);
            let _ = blocking::write("/zombie", "here");
            let _ = blocking::create_dir("/zombies");
            let _ = blocking::hard_link("/log", "/zombie");
            let _ = blocking::rename("/log", "/zombie");
            let _ = blocking::remove_file("/log");
        }
    }
    passes(|| async {
        let (send, receive) = futures::channel::oneshot::channel();
        let send = std::cell::Cell::new(Some(send));
        let store = machine(move || {
            let send = send.take();
            async move {
                let file = blocking::File::create("/log")?;
                if let Some(send) = send {
                    let _ = send.send(file.try_clone()?);
                }
                let zombie = WritesWhenDropped(file);
                spawn(async move {
                    std::future::pending::<()>().await;
                    drop(zombie);
                });
                Ok(())
            }
        })
        .await;
        let mut kept = receive.await.unwrap();
        kept.write_all(b"alive").unwrap();
        store.restart();
        store.join().await;
        assert!(kept.write_all(b"late").is_err() && kept.sync_all().is_err() && kept.metadata().is_err());
        let names: Vec<_> = store.spawn(async { blocking::read_dir("/") }).await.unwrap().unwrap().collect();
        assert_eq!((names.len(), content(store, "/log").await.unwrap()), (1, Vec::new()));
    });
}

#[test]
fn a_restart_waits_for_nobody_who_awaits_a_dead_fsync() {
    passes(|| async {
        let store = node("store").start(std::future::pending::<()>);
        let file = store.spawn(create("/x", b"1")).await.unwrap().unwrap();
        let waiting = spawn(async move { file.sync_all().await });
        sleep(100.us()).await;
        store.power_loss();
        assert!(waiting.await.unwrap().is_err());
    });
}

#[test]
fn nodes_have_disks_of_their_own() {
    passes(|| async {
        machine(|| async { create("/log", b"hello").await.map(drop) }).await;
        missing(fs::read("/log").await);
        missing(node("other").spawn(fs::read("/log")).await.unwrap());
    });
}

#[test]
fn failed_fsync_is_told_once_to_each_open_descriptor() {
    passes(|| async {
        faults().on(fsync("test", "log"), fsync_eio());
        let one = create("/log", b"hello").await.unwrap();
        let two = File::open("/log").await.unwrap();
        let same = one.try_clone().await.unwrap();
        let later_reader = fs::read("/log").await.unwrap();
        assert_eq!(one.sync_all().await.unwrap_err().raw_os_error(), Some(5));
        assert!(same.sync_all().await.is_ok(), "a clone is the same descriptor");
        let three = File::open("/log").await.unwrap();
        assert!(three.sync_all().await.is_ok(), "opened after it was told");
        assert_eq!(two.sync_data().await.unwrap_err().raw_os_error(), Some(5));
        assert!(two.sync_data().await.is_ok());
        assert_eq!(later_reader, b"hello");
    });
}

#[test]
fn failed_fsync_that_nobody_was_told_of_is_told_to_who_opens_next() {
    passes(|| async {
        faults().on(fsync("store", "log"), fsync_eio());
        let store = node("store").start(|| async { create("/log", b"hello").await?.sync_all().await });
        sleep(100.us()).await;
        store.crash();
        sleep(10.ms()).await;
        store.start(|| async {
            let [first, second] = [File::open("/log").await?, File::open("/log").await?];
            assert_eq!(first.sync_all().await.unwrap_err().raw_os_error(), Some(5));
            assert!(File::open("/log").await?.sync_all().await.is_ok());
            assert_eq!(second.sync_all().await.unwrap_err().raw_os_error(), Some(5), "open before it was told");
            Ok::<(), io::Error>(())
        });
        store.join().await;
    });
}

#[test]
fn failed_fsync_keeps_the_length_and_leaves_zeros() {
    passes(|| async {
        faults().on(fsync("store", "log").nth(2), fsync_eio());
        let store = machine(|| async {
            let mut log = create("/log", &[1; 4096]).await?;
            log.sync_all().await?;
            sync_dir("/").await?;
            log.write_all(&[2; 4096]).await?;
            log.sync_all().await.unwrap_err();
            assert_eq!(fs::read("/log").await?, [[1; 4096], [2; 4096]].concat(), "the cache has it");
            Ok(())
        })
        .await;
        assert_eq!(unsynced(store)[0].loss, Loss::Content { bytes: 4096 });
        after_power_loss(store).await;
        assert_eq!(content(store, "/log").await.unwrap(), [[1; 4096], [0; 4096]].concat());
    });
}

#[test]
fn a_page_written_again_after_a_failed_fsync_is_saved() {
    passes(|| async {
        faults().on(fsync("store", "log"), fsync_eio());
        let store = machine(|| async {
            let log = create("/log", b"hello").await?;
            sync_dir("/").await?;
            log.sync_all().await.unwrap_err();
            log.write_at(b"hello", 0).await?;
            log.sync_all().await
        })
        .await;
        after_power_loss(store).await;
        assert_eq!(content(store, "/log").await.unwrap(), b"hello");
    });
}

#[test]
fn failed_fsync_of_a_directory_saves_no_name() {
    passes(|| async {
        faults().on(fsync("store", "."), fsync_eio());
        let store = machine(|| async {
            create("/log", b"").await?.sync_all().await?;
            assert_eq!(sync_dir("/").await.unwrap_err().raw_os_error(), Some(5));
            Ok(())
        })
        .await;
        assert_eq!(unsynced(store)[0].loss, Loss::Name);
        store.spawn(sync_dir("/")).await.unwrap().unwrap();
        assert_eq!(unsynced(store), []);
    });
}

/// Writes a record and acknowledges it; `save` is how it makes sure of it. True: the record is there after a power loss.
async fn acknowledged_record_survives<Fut>(save: impl Fn(File) -> Fut + Copy + 'static) -> bool
where
    Fut: Future<Output = io::Result<()>> + 'static,
{
    let store = machine(move || async move {
        fs::create_dir("/wal").await?;
        let log = create("/wal/1", b"record").await?;
        sync_dir("/wal").await?;
        sync_dir("/").await?;
        save(log).await
    })
    .await;
    after_power_loss(store).await;
    content(store, "/wal/1").await.unwrap() == b"record"
}

#[test]
fn retry_after_failed_fsync_lies() {
    passes(|| async {
        faults().on(fsync("store", "wal/*"), fsync_eio());
        let retry = |log: File| async move {
            match log.sync_all().await {
                Ok(()) => Ok(()),
                Err(_) => log.sync_all().await,
            }
        };
        assert!(!acknowledged_record_survives(retry).await, "the second fsync said Ok and had saved nothing");
    });
}

#[test]
fn writing_again_after_failed_fsync_is_safe() {
    passes(|| async {
        faults().on(fsync("store", "wal/*"), fsync_eio());
        let rewrite = |log: File| async move {
            while log.sync_all().await.is_err() {
                log.write_at(b"record", 0).await?;
            }
            Ok(())
        };
        assert!(acknowledged_record_survives(rewrite).await);
    });
}

#[test]
fn a_power_loss_at_an_operation_finds_it_undone() {
    passes(|| async {
        faults()
            .on(sim_disk::rename("store", "config"), power_loss("store").lasting(1.secs()))
            .on(sim_disk::write("store", "log").nth(2), crash("store").lasting(1.secs()))
            .on(fsync("store", "log"), power_loss("store").lasting(1.secs()));
        let store = node("store").start(|| async {
            let life = elapsed().as_secs();
            if life == 0 {
                create("/config.tmp", b"new").await?.sync_all().await?;
                sync_dir("/").await?;
                fs::rename("/config.tmp", "/config").await?;
            } else if life == 1 {
                assert!(fs::try_exists("/config.tmp").await? && !fs::try_exists("/config").await?);
                let mut log = create("/log", b"one").await?;
                sync_dir("/").await?;
                log.write_all(b"two").await?;
            } else if life == 2 {
                assert_eq!(fs::read("/log").await?, b"one");
                File::open("/log").await?.sync_all().await?;
            } else {
                assert_eq!(fs::read("/log").await?, b"");
                return Ok(());
            }
            unreachable!("it died in life {life}");
            #[expect(unreachable_code, reason = "names the error type")]
            Ok::<(), io::Error>(())
        });
        store.join().await;
    });
}

#[test]
fn fault_without_an_fsync_says_where_to_place_it() {
    let report = run(0, || async {
        faults().at(0.ns(), fsync_eio());
        sleep(1.ms()).await;
    });
    assert!(report.message.contains(".on(fsync(node, pattern), ..)"), "{}", report.message);
}

#[test]
fn blocking_and_async_share_a_disk() {
    passes(|| async {
        let mut file = blocking::File::options().read(true).append(true).create_new(true).open("x").unwrap();
        file.write_all(b"hello").unwrap();
        assert_eq!(fs::read_to_string("/x").await.unwrap(), "hello");
        file.seek(SeekFrom::Start(1)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ello");
        let mut entries = fs::read_dir("/").await.unwrap();
        let entry = entries.next_entry().await.unwrap().unwrap();
        assert_eq!((entry.path(), entry.metadata().await.unwrap().len()), ("/x".into(), 5));
        assert!(entries.next_entry().await.unwrap().is_none());
    });
}

#[test]
fn futures_traits_read_write_and_seek() {
    use futures::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
    passes(|| async {
        let mut file = File::create_new("/x").await.unwrap();
        AsyncWriteExt::write_all(&mut file, b"hello").await.unwrap();
        assert_eq!(AsyncSeekExt::seek(&mut file, SeekFrom::End(-2)).await.unwrap(), 3);
        let mut rest = Vec::new();
        AsyncReadExt::read_to_end(&mut file, &mut rest).await.unwrap();
        assert_eq!(rest, b"lo");
    });
}

#[test]
fn same_seed_same_digest() {
    let body = || async {
        let mut slow = options();
        slow.fsync_latency_max = 50.ms();
        set_options(slow);
        let writers: Vec<_> = (0..4)
            .map(|n| spawn(async move { create(&format!("/{n}"), &[n; 10_000]).await?.sync_all().await }))
            .collect();
        for writer in writers {
            writer.await.unwrap().unwrap();
        }
    };
    let digests: Vec<u64> = [1, 1, 2].map(|seed| run(seed, body).digest).to_vec();
    assert!(digests[0] == digests[1] && digests[1] != digests[2]);
}

#[test]
fn a_stuck_fsync_is_named() {
    let report = Sim::new(0).time_limit(1.ms()).run(|| async {
        let mut slow = options();
        (slow.fsync_latency_min, slow.fsync_latency_max) = (1.secs(), 1.secs());
        set_options(slow);
        create("/wal", b"").await.unwrap().sync_all().await.unwrap();
    });
    assert!(report.message.contains("fsync of wal"), "{}", report.message);
}

#[test]
fn handles_may_be_sent_and_shared() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<File>();
    is_send_and_sync::<blocking::File>();
    fn is_send<T: Send>(_: impl Fn(&'static File) -> T) {}
    is_send(|file| file.sync_all());
}
