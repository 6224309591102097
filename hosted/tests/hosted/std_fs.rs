//! `std::fs`, and tokio's, on the volume of the node.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};

use sim::prelude::*;

fn everything() -> io::Result<()> {
    fs::create_dir_all("/data/logs")?;
    std::env::set_current_dir("/data")?;
    assert_eq!(std::env::current_dir()?, std::path::Path::new("/data"));
    fs::write("one", "first")?;
    let mut file = OpenOptions::new().read(true).append(true).open("one")?;
    file.write_all(b" and second")?;
    file.seek(SeekFrom::Start(6))?;
    let mut rest = String::new();
    file.read_to_string(&mut rest)?;
    assert_eq!(rest, "and second");
    assert_eq!(fs::metadata("one")?.len(), 16);
    file.set_len(5)?;
    file.sync_all()?;
    fs::rename("one", "logs/two")?;
    fs::copy("logs/two", "logs/three")?;
    fs::hard_link("logs/two", "logs/four")?;
    std::os::unix::fs::symlink("four", "logs/five")?;
    assert_eq!(fs::read_to_string("logs/five")?, "first");
    assert_eq!(fs::canonicalize("logs/five")?, std::path::Path::new("/data/logs/four"));
    let mut names: Vec<_> = fs::read_dir("logs")?.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["five", "four", "three", "two"]);
    let error = File::create_new("logs/two").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(File::open("nothing").unwrap_err().kind(), io::ErrorKind::NotFound);
    File::open("logs")?.sync_all()?;
    fs::remove_dir_all("logs")?;
    assert!(!fs::exists("logs")?);
    Ok(())
}

#[sim::test(seeds = 5)]
async fn std_fs_is_on_the_volume_of_the_node() {
    node("program").host(everything).join().await;
    let there = node("program").spawn(sim::fs::read_dir("/data")).await.unwrap();
    assert!(there.is_ok(), "the native face sees the same volume");
    assert!(!std::path::Path::new("/data/one").exists(), "and the real disk sees nothing");
}

#[sim::test(seeds = 5)]
async fn what_was_not_synced_is_gone_after_a_power_loss() {
    let store = node("store").host(|| {
        if fs::exists("/kept")? {
            assert_eq!(fs::read_to_string("/kept")?, "synced");
            return Ok(());
        }
        fs::write("/kept", "synced")?;
        File::open("/kept")?.sync_all()?;
        File::open("/")?.sync_all()?;
        loop {
            std::thread::park();
        }
        #[expect(unreachable_code, reason = "names the error type")]
        Ok::<(), io::Error>(())
    });
    sim::time::sleep(1.secs()).await;
    store.power_loss();
    store.restart();
    store.join().await;
}

#[sim::test(seeds = 5)]
async fn environment_names_and_output_are_those_of_the_node() {
    let program = node("program").env("PORT", "8080").current_dir("/tmp").host(|| {
        assert_eq!(std::env::var("PORT").as_deref(), Ok("8080"));
        assert_eq!(std::env::vars().count(), 1, "nothing of the real environment");
        assert!(fs::read_to_string("/etc/hosts").unwrap().contains("program"));
        println!("hello");
        eprintln!("oh");
        std::process::exit(0);
    });
    program.join().await;
    let printed = program.printed();
    assert_eq!((&printed.stdout[..], &printed.stderr[..]), (&b"hello\n"[..], &b"oh\n"[..]));
}

#[sim::test(seed = 0, expect = "panicked")]
async fn exit_with_a_code_is_the_failure_of_its_node() {
    node("program").host(|| std::process::exit(3)).join().await;
}

#[sim::test(seed = 0, expect = "panicked")]
async fn abort_is_the_failure_of_its_node() {
    node("program").host(|| std::process::abort()).join().await;
}

#[sim::test(seed = 0, expect = "panicked")]
async fn a_panic_in_a_task_of_tokio_is_not_swallowed() {
    let program = node("program").host_async(|| async {
        let task = tokio::spawn(async { panic!("nobody listens") });
        assert!(task.await.is_err());
    });
    program.join().await;
}
