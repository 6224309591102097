//! rustix, which makes its system calls by itself: no symbol catches them, and strict mode does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, Mode, OFlags};
use sim::prelude::*;

#[sim::test(seeds = 5)]
async fn what_is_modelled_is_answered_by_the_simulation() {
    let program = node("program").host(|| {
        let flags = OFlags::CREATE | OFlags::RDWR;
        let file = rustix::fs::openat(CWD, "/inline", flags, Mode::RWXU)?;
        rustix::io::write(&file, b"hello")?;
        rustix::fs::fsync(&file)?;
        assert_eq!(rustix::fs::fstat(&file)?.st_size, 5);
        let mut buffer = [0; 8];
        assert_eq!(rustix::io::pread(&file, &mut buffer, 1)?, 4);
        assert_eq!(&buffer[..4], b"ello");
        assert_eq!(std::fs::read_to_string("/inline")?, "hello", "the same file by way of the C library");
        Ok::<(), std::io::Error>(())
    });
    program.join().await;
    assert!(!std::path::Path::new("/inline").exists(), "the real disk sees nothing");
}

/// What kernels have since a few years only: programs have another way.
#[sim::test(seed = 0)]
async fn what_older_kernels_do_not_have_is_refused() {
    let program = node("program").host(|| {
        let me = rustix::process::getpid();
        assert_eq!(
            rustix::process::pidfd_open(me, rustix::process::PidfdFlags::empty()).err(),
            Some(rustix::io::Errno::NOSYS)
        );
    });
    program.join().await;
}

#[sim::test(seed = 0, expect = "leaked")]
async fn what_is_not_modelled_ends_the_run_with_its_name() {
    let went_on = Arc::new(AtomicBool::new(false));
    let flag = went_on.clone();
    let program = node("program").host(move || {
        let watch = rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::empty());
        flag.store(watch.is_ok(), Ordering::Relaxed);
    });
    program.join().await;
    assert!(!went_on.load(Ordering::Relaxed), "the real machine was asked");
}
