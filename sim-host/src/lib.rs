//! The operating system as programs under test see it, and the processes that runs live in.
//!
//! | room | what is in it |
//! |---|---|
//! | `interpose` | the C library's functions, answered by the simulation while one runs |
//! | [`hosting`] | programs as they are on the kernels of the simulation: threads, descriptors, names |
//! | `syscall` | the real system calls, for everything else |
//! | `strict` | system calls that pass the C library by, caught |
//! | `tsc` | the processor's time stamp counter, trapped and answered likewise |
//! | [`environment`] | the variables that `cargo test` and `cargo sim` both understand |
//! | [`leak`] | what happens when a program reaches past the simulation |
//! | [`watch`](mod@watch) | a run on a thread of its own, with a watchdog in real time |
//! | [`zygote`] | a pristine process that forks one child per seed, and the protocol to ask it |
//! | [`worker`] | the asking side of that protocol |
//!
//! This is the only crate with `unsafe`. An executable's own definition of a C library function wins over the library's
//! at link time, for every object in it (HOST: symbol interposition); so a test binary that links this crate has, say,
//! `clock_gettime` from `interpose`, which forwards to the kernel unless a simulation runs on the calling thread.
//!
//! On systems other than Linux, and on processors other than x86-64 and AArch64, nothing is interposed and a run is
//! isolated by its thread only.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub mod hosting;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod interpose;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod strict;
#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
#[path = "strict_not.rs"]
mod strict;
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod syscall;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tsc;

pub mod environment;
pub mod leak;
pub mod watch;
pub mod worker;
pub mod zygote;

/// The commit that is checked out here, short, for reports. `None`: there is no git, or no commit.
pub fn commit() -> Option<String> {
    let git = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output().ok()?;
    let commit = String::from_utf8(git.stdout).ok()?.trim().to_string();
    (git.status.success() && !commit.is_empty()).then_some(commit)
}

/// Whether runs can be isolated by processes on this system.
pub const HAS_PROCESSES: bool = cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")));
