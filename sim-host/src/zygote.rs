//! A pristine process that forks one child for every seed.
//!
//! A process that is started with `SIM_SERVE` in its environment never reaches its `main`: before any thread exists, it
//! turns address randomisation off (personality(2), by executing itself once more), says which tests it has, and answers
//! requests on its standard input with reports on its standard output, a JSON line each. Every request is run in a forked
//! child, which differs from its siblings in nothing but the seed. An abort, a hang or an exhausted memory is the end of
//! that child only.
//!
//! In the child the run has a thread of its own, with a stack and a heap arena of its own: the addresses it sees depend
//! neither on the length of the environment nor on what this process did before.

use std::time::Duration;

use linkme::distributed_slice;
use serde::{Deserialize, Serialize};
use sim_core::Report;

use crate::watch::Limits;

/// Set in the environment of a process that shall serve.
pub const SERVE: &str = "SIM_SERVE";

/// What to do when this process shall serve; the facade puts its server here.
#[distributed_slice]
pub static SERVERS: [fn()];

/// Asks for one run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The test, by the name in [`Hello`].
    pub test: String,
    /// The seed.
    pub seed: u64,
    /// Whether to keep the events in words.
    pub record: bool,
    /// How much real time it may take.
    pub limits: Limits,
}

/// The first line of a serving process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// Whether addresses are the same in every process.
    pub fixed_addresses: bool,
    /// The tests it has.
    pub tests: Vec<TestInfo>,
}

/// A test that a process has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TestInfo {
    /// Its name, as Cargo's test harness has it.
    pub name: String,
    /// The package it is in.
    pub package: String,
    /// The file it stands in.
    pub file: String,
    /// How many seeds it asks for.
    pub seeds: u64,
    /// The only seed it is to run with, where it names one.
    pub seed: Option<u64>,
    /// Whether it belongs to the nightly tier.
    pub nightly: bool,
    /// The outcome it expects some seed to have; absent when all shall pass.
    pub expect: Option<sim_core::Outcome>,
    /// The marks of its program that a run should reach.
    pub marks: Vec<String>,
}

/// The grace that a child has beyond its own watchdog before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// So much of what a program printed is kept.
const OUTPUT_KEPT: u64 = 64 << 10;

/// Whether this process was started to serve.
pub fn is_serving() -> bool {
    std::env::var_os(SERVE).is_some()
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use linux::serve;

/// Not on this system; see [`crate::HAS_PROCESSES`].
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
pub fn serve(_tests: Vec<TestInfo>, _run: impl Fn(&Request, std::sync::Arc<sim_core::Progress>) -> Report) -> ! {
    eprintln!("{SERVE} is set, and this system cannot serve runs in processes of their own");
    std::process::exit(2)
}

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[expect(clippy::disallowed_types, reason = "a run that hangs is killed after real time")]
mod linux {
    use std::ffi::c_int;
    use std::fs::File;
    use std::io::{BufRead, Read, Seek, SeekFrom, Write};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::Arc;

    use sim_core::{Failure, Outcome, Progress, Seed};

    use super::*;
    use crate::{leak, watch};

    /// The value of [`SERVE`] after the process has executed itself again.
    const SECOND_STAGE: &str = "again";

    // SAFETY: a function of the type that the dynamic loader calls for this section, before `main`.
    #[unsafe(link_section = ".init_array")]
    #[used]
    static BEFORE_MAIN: extern "C" fn() = before_main;

    extern "C" fn before_main() {
        if is_serving() {
            SERVERS.iter().for_each(|server| server());
        }
    }

    /// Serves runs until standard input ends, and ends the process.
    pub fn serve(tests: Vec<TestInfo>, run: impl Fn(&Request, Arc<Progress>) -> Report + Send + Sync + 'static) -> ! {
        let fixed_addresses = fix_addresses();
        // The kernel's out-of-memory killer should take a run rather than whoever asked for it.
        let _ = std::fs::write("/proc/self/oom_score_adj", "900");
        let hello = serde_json::to_string(&Hello { fixed_addresses, tests }).unwrap_or_default();
        let mut out = std::io::stdout();
        let run = Arc::new(run);
        let mut served = writeln!(out, "{hello}").and_then(|()| out.flush());
        for line in std::io::stdin().lock().lines() {
            let (Ok(line), Ok(())) = (line, &served) else { break };
            let report = match serde_json::from_str::<Request>(&line) {
                Ok(request) => fork_and_run(&request, run.clone()),
                Err(error) => {
                    Report::lost("", Seed(0), Failure::new(Outcome::Panicked, format!("not a request: {error}")))
                }
            };
            let line = serde_json::to_string(&report).unwrap_or_default();
            served = writeln!(out, "{line}").and_then(|()| out.flush());
        }
        exit_now(0)
    }

    /// Executes this process once more without address randomisation. False: the system does not allow it.
    fn fix_addresses() -> bool {
        const ASK: libc::c_ulong = 0xffff_ffff;
        // SAFETY: plain numbers in, a plain number out.
        let now = unsafe { libc::personality(ASK) };
        if now >= 0 && now & libc::ADDR_NO_RANDOMIZE != 0 {
            return true;
        }
        let second_stage = std::env::var_os(SERVE).is_some_and(|value| value == SECOND_STAGE);
        // SAFETY: as above.
        if second_stage || now < 0 || unsafe { libc::personality((now | libc::ADDR_NO_RANDOMIZE) as libc::c_ulong) } < 0
        {
            return false;
        }
        let error = Command::new("/proc/self/exe").env(SERVE, SECOND_STAGE).exec();
        eprintln!("cannot execute this program again without address randomisation: {error}");
        false
    }

    fn fork_and_run(
        request: &Request,
        run: Arc<impl Fn(&Request, Arc<Progress>) -> Report + Send + Sync + 'static>,
    ) -> Report {
        let lost =
            |outcome, message: String| Report::lost(&request.test, Seed(request.seed), Failure::new(outcome, message));
        let (Ok((mut result, result_end)), Ok(mut output)) = (std::io::pipe(), memory_file()) else {
            return lost(Outcome::Panicked, "no pipe or memory file for a run".to_string());
        };
        // SAFETY: this process has one thread, so the child may do all that this one may.
        let child = unsafe { libc::fork() };
        if child < 0 {
            return lost(Outcome::Panicked, format!("cannot fork: {}", std::io::Error::last_os_error()));
        }
        if child == 0 {
            drop(result);
            run_in_child(request, run, File::from(OwnedFd::from(result_end)), &output);
        }
        drop(result_end);
        let deadline = request.limits.run + GRACE;
        let line = read_until_closed(&mut result, deadline);
        if line.is_none() {
            // SAFETY: the child has not been waited for, so the number is still its.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        let mut status: c_int = 0;
        // SAFETY: the child is ours and the pointer is valid.
        unsafe { libc::waitpid(child, &mut status, 0) };
        let report = match line.as_deref().map(serde_json::from_slice::<Report>) {
            Some(Ok(report)) => report,
            Some(Err(_)) => lost(Outcome::Panicked, died(status)),
            None => lost(Outcome::TimedOut, format!("killed after {deadline:?} of real time, its watchdog silent")),
        };
        let wanted = !report.passed() || request.record;
        Report { output: if wanted { printed(&mut output) } else { String::new() }, ..report }
    }

    fn died(status: c_int) -> String {
        if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            let name = match signal {
                libc::SIGABRT => " (SIGABRT: abort, or a panic in a destructor)",
                libc::SIGSEGV => " (SIGSEGV: a stack overflow, or memory it may not touch)",
                libc::SIGKILL => " (SIGKILL: out of memory, or killed by hand)",
                libc::SIGBUS => " (SIGBUS)",
                libc::SIGILL => " (SIGILL)",
                _ => "",
            };
            return format!("the process of the run was ended by signal {signal}{name}");
        }
        let code = libc::WEXITSTATUS(status);
        format!("the process of the run exited with code {code} before the run was over: something called exit")
    }

    fn memory_file() -> std::io::Result<File> {
        // SAFETY: a name that ends in a zero byte.
        let file = unsafe { libc::memfd_create(c"output".as_ptr(), libc::MFD_CLOEXEC) };
        if file < 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(unsafe { File::from_raw_fd(file) })
    }

    fn printed(output: &mut File) -> String {
        let mut bytes = Vec::new();
        let length = output.metadata().map_or(0, |metadata| metadata.len());
        let _ = output.seek(SeekFrom::Start(length.saturating_sub(OUTPUT_KEPT)));
        let _ = output.take(OUTPUT_KEPT).read_to_end(&mut bytes);
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if length > OUTPUT_KEPT {
            text.insert_str(0, &format!("[the first {} bytes are left out]\n", length - OUTPUT_KEPT));
        }
        text
    }

    /// Reads until the writer has closed its end. `None`: it has not within the time.
    fn read_until_closed(pipe: &mut std::io::PipeReader, deadline: Duration) -> Option<Vec<u8>> {
        let until = std::time::Instant::now() + deadline;
        let (mut all, mut chunk) = (Vec::new(), [0; 16 << 10]);
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now()).as_millis();
            let mut wait = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid pollfd.
            let ready = unsafe { libc::poll(&mut wait, 1, c_int::try_from(left).unwrap_or(c_int::MAX)) };
            match ready {
                0 => return None,
                _ => match pipe.read(&mut chunk) {
                    Ok(0) => return Some(all),
                    Ok(length) => all.extend_from_slice(&chunk[..length]),
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(_) => return Some(all),
                },
            }
        }
    }

    fn run_in_child(
        request: &Request,
        run: Arc<impl Fn(&Request, Arc<Progress>) -> Report + Send + Sync + 'static>,
        result: File,
        output: &File,
    ) -> ! {
        if let Ok(null) = File::open("/dev/null") {
            redirect(null.as_raw_fd(), 0);
        }
        redirect(output.as_raw_fd(), 1);
        redirect(output.as_raw_fd(), 2);
        let (test, to) = (request.test.clone(), result.try_clone());
        leak::end_process_with(Box::new(move |report| {
            tell(to.as_ref().ok(), &Report { test: test.clone(), ..report })
        }));
        let asked = request.clone();
        let watched = watch::watch(request.limits, move |progress| {
            #[cfg(target_arch = "x86_64")]
            crate::tsc::trap();
            run(&asked, progress)
        });
        let report = watched.unwrap_or_else(|failure| Report::lost(&request.test, Seed(request.seed), failure));
        tell(Some(&result), &report)
    }

    /// Writes the report to whoever forked this process, and ends it.
    fn tell(mut to: Option<&File>, report: &Report) -> ! {
        if let (Some(to), Ok(line)) = (&mut to, serde_json::to_vec(report)) {
            let _ = to.write_all(&line);
        }
        exit_now(0)
    }

    fn redirect(from: RawFd, to: RawFd) {
        // SAFETY: two descriptors of this process, no memory.
        unsafe { libc::dup2(from, to) };
    }

    /// Ends the process without running what was registered for its exit.
    fn exit_now(code: c_int) -> ! {
        // SAFETY: always allowed.
        unsafe { libc::_exit(code) }
    }
}
