//! Files that hosted programs map into memory (mmap(2)).

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::ffi::c_int;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use sim_core::{Node, Outcome, Sim, node};
use sim_host::hosting::node::Host;

const PAGE: usize = 4096;

#[track_caller]
fn passes(program: impl Fn() + Send + Sync + 'static) {
    lives(program, |_| {});
}

/// Two lives of a program, with something in between that may come before the end of the first.
#[track_caller]
fn lives(program: impl Fn() + Send + Sync + 'static, between: fn(Node)) {
    for seed in 0..8 {
        let program: Arc<dyn Fn() + Send + Sync> = Arc::new(&program as &(dyn Fn() + Send + Sync)).clone_program();
        let report = Sim::new(seed).run(async move || {
            let one = node("program").host(move || program());
            sim_core::time::sleep(Duration::from_secs(1)).await;
            between(one);
            if !one.is_running() {
                one.restart();
            }
            one.join().await;
        });
        assert_eq!(report.outcome, Outcome::Passed, "seed {seed}: {}", report.message);
    }
}
