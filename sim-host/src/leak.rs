//! What happens when a program under test reaches past the simulation.
//!
//! The run fails as *leaked*. In a process of its own it ends there, before the real call is made: a wait that nobody
//! will end must not begin. On a thread among others the call is made, and the run ends when it returns.

use std::sync::OnceLock;

use sim_core::{Report, ambient};

type Finish = Box<dyn Fn(Report) + Send + Sync>;

static FINISH: OnceLock<Finish> = OnceLock::new();

/// Says that this process lives for one run: `finish` tells the report and ends the process.
pub(crate) fn end_process_with(finish: Finish) {
    let _ = FINISH.set(finish);
}

/// Whether this process lives for one run, so that what is the process's is the run's.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline]
pub(crate) fn has_process() -> bool {
    FINISH.get().is_some()
}

/// A call that leaves the simulation is about to be made. Does nothing outside one.
pub(crate) fn found(what: &str, instead: &str) {
    let Some(place) = ambient::whereabouts() else { return };
    let message = format!("{what} was reached from inside the simulation, on {place}\nInstead: {instead}");
    tell(message);
}

/// Ends the run with what leaked, and its process where it has one of its own.
fn tell(message: String) {
    if let (Some(report), Some(finish)) = (ambient::leak(message), FINISH.get()) {
        // What ends the process is no program of a node.
        #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
        crate::hosting::baton::set_hosted(false);
        finish(report);
    }
}

/// The thread is about to wait for another thread. Where other threads exist for good reasons, the watchdog judges.
pub(crate) fn thread_blocks() {
    if FINISH.get().is_some() {
        found(
            "a wait that blocks the thread (futex): block_on, a blocking lock, channel or join",
            "the simulation runs on this one thread, so nobody can end the wait; .await in place of block_on, and an \
             asynchronous lock or channel (tokio::sync, futures)",
        );
    }
}

/// A call that a hosted program makes and that is caught, but not modelled.
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(crate) fn unmodelled(call: &str) {
    let Some(place) = ambient::whereabouts() else { return };
    // The names of functions are read from real files.
    let hosted = crate::hosting::baton::set_hosted(false);
    let stack = crate::hosting::stack::of_the_program(&std::backtrace::Backtrace::force_capture().to_string());
    crate::hosting::baton::set_hosted(hosted);
    let message = format!("{call} is not modelled, and was called on {place}{stack}");
    tell(message);
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
/// The run cannot go on: a call can neither be answered nor returned from.
pub(crate) fn give_up(what: &str, why: &str) -> ! {
    found(what, why);
    // The watchdog's process would have ended above. Here the whole process has to.
    eprintln!("sim: {what}: {why}");
    crate::hosting::baton::set_hosted(false);
    std::process::abort()
}
