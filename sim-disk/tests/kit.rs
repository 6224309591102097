//! What the rooms share: runs on disks of a known kind.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::rc::Rc;

use sim_core::{Node, Report, Sim, Units};
use sim_disk::{FsProfile, Image, options, set_options};

/// Disks of one filesystem that lose in a crash what `image` says, and write nothing back unasked.
pub(crate) fn disks(profile: &FsProfile, image: Image) {
    let mut plain = options();
    (plain.profile, plain.crash_image) = ((*profile).into(), image);
    (plain.write_back_min, plain.write_back_max) = (1000.secs(), 1000.secs());
    set_options(plain);
}

/// Runs a body and gives back what it came to.
pub(crate) fn outcome<T, Fut>(sim: Sim, body: impl FnOnce() -> Fut) -> (T, Report)
where
    T: 'static,
    Fut: Future<Output = T> + 'static,
{
    let result = Rc::new(RefCell::new(None));
    let into = result.clone();
    let report = sim.with_faults(sim_disk::KINDS).run(|| {
        let body = body();
        async move { *into.borrow_mut() = Some(body.await) }
    });
    let value = result.borrow_mut().take();
    (value.unwrap_or_else(|| panic!("{}", report.render(&[]))), report)
}

/// A run of seed 1 that must pass.
pub(crate) fn run<T: 'static, Fut: Future<Output = T> + 'static>(body: impl FnOnce() -> Fut) -> T {
    let (value, report) = outcome(Sim::new(1), body);
    assert!(report.passed(), "{}", report.render(&[]));
    value
}

/// What a machine has under a path now.
pub(crate) async fn content(machine: Node, path: &'static str) -> io::Result<Vec<u8>> {
    machine.spawn(sim_disk::fs::read(path)).await.unwrap()
}

/// Cuts the power, and brings the machine back.
pub(crate) fn cycle(machine: Node) {
    machine.power_loss();
    machine.restart();
}
