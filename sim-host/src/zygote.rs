//! A pristine process that forks one child for every seed.
//!
//! A process that is started with `SIM_SERVE` in its environment never reaches its `main`: after its static initialisers it
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
const OUTPUT_KEPT: usize = 64 << 10;

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
    use std::collections::VecDeque;
    use std::ffi::c_int;
    use std::fs::File;
    use std::io::{BufRead, PipeReader, Read, Write};
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
    use std::os::unix::process::CommandExt;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use sim_core::{Failure, Outcome, Progress, Seed};

    use super::*;
    use crate::hosting::real::find as real;
    use crate::{leak, watch};

    /// The value of [`SERVE`] after the process has executed itself again.
    const SECOND_STAGE: &str = "again";

    type Main = extern "C" fn(c_int, *const *const u8, *const *const u8) -> c_int;
    type LibcStart = unsafe extern "C" fn(Main, c_int, *const *const u8, usize, usize, usize, usize) -> c_int;

    /// The program's own `main`.
    static MAIN: AtomicUsize = AtomicUsize::new(0);

    /// What a program's entry point calls to have its initialisers run and then its `main`. A process that serves does so in
    /// place of `main`: every initialiser has run by then, and nothing else.
    #[unsafe(no_mangle)]
    extern "C" fn __libc_start_main(
        main: Main,
        count: c_int,
        arguments: *const *const u8,
        init: usize,
        fini: usize,
        loader_fini: usize,
        stack_end: usize,
    ) -> c_int {
        static REAL: AtomicUsize = AtomicUsize::new(0);
        let Some(real) = real(c"__libc_start_main", &REAL) else { exit_now(127) };
        MAIN.store(main as usize, Ordering::Relaxed);
        // SAFETY: the address is the C library's own function of this name, whose type this is; but for the main, which has
        // the type of a main, the arguments are those it would have been called with.
        unsafe {
            let start = std::mem::transmute::<usize, LibcStart>(real);
            start(serve_or_main, count, arguments, init, fini, loader_fini, stack_end)
        }
    }

    extern "C" fn serve_or_main(count: c_int, arguments: *const *const u8, environment: *const *const u8) -> c_int {
        if is_serving() {
            SERVERS.iter().for_each(|server| server());
        }
        // SAFETY: stored above from a value of this type, and called once as the C library would have.
        let main = unsafe { std::mem::transmute::<usize, Main>(MAIN.load(Ordering::Relaxed)) };
        main(count, arguments, environment)
    }

    /// Serves runs until standard input ends, and ends the process.
    pub fn serve(tests: Vec<TestInfo>, run: impl Fn(&Request, Arc<Progress>) -> Report + Send + Sync + 'static) -> ! {
        let fixed_addresses = fix_addresses();
        // The kernel's out-of-memory killer should take a run rather than whoever asked for it.
        let _ = std::fs::write("/proc/self/oom_score_adj", "900");
        die_with_parent();
        // SAFETY: before `main`, no other thread of the program reads or writes the environment.
        unsafe { std::env::remove_var(SERVE) };
        let hello = serde_json::to_string(&Hello { fixed_addresses, tests }).unwrap_or_default();
        let mut out = std::io::stdout();
        let run = Arc::new(run);
        let mut served = writeln!(out, "{hello}").and_then(|()| out.flush());
        // SAFETY: descriptor 0 is nobody's but ours. Not `stdin()`, whose lock every child would inherit.
        let requests = unsafe { File::from_raw_fd(0) };
        for line in std::io::BufReader::new(requests).lines() {
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
        let (Ok((result, result_end)), Ok((output, output_end))) = (std::io::pipe(), std::io::pipe()) else {
            return lost(Outcome::Panicked, "no pipes for a run".to_string());
        };
        // SAFETY: no thread of ours exists. One that a library's initialiser started is not in the child, as fork(2) says.
        let child = unsafe { libc::fork() };
        if child < 0 {
            return lost(Outcome::Panicked, format!("cannot fork: {}", std::io::Error::last_os_error()));
        }
        if child == 0 {
            drop((result, output));
            run_in_child(request, run, File::from(OwnedFd::from(result_end)), output_end.into());
        }
        drop((result_end, output_end));
        let deadline = request.limits.run.saturating_add(GRACE);
        let mut printed = Tail::default();
        let line = read_line(result, output, deadline, &mut printed);
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
        Report { output: if wanted { printed.text() } else { String::new() }, ..report }
    }

    /// The end of what a program printed.
    #[derive(Default)]
    struct Tail {
        kept: VecDeque<u8>,
        left_out: usize,
    }

    impl Tail {
        fn push(&mut self, bytes: &[u8]) {
            self.kept.extend(bytes);
            let surplus = self.kept.len().saturating_sub(OUTPUT_KEPT);
            self.kept.drain(..surplus);
            self.left_out += surplus;
        }

        fn text(self) -> String {
            let text = String::from_utf8_lossy(&Vec::from(self.kept)).into_owned();
            match self.left_out {
                0 => text,
                bytes => format!("[the first {bytes} bytes are left out]\n{text}"),
            }
        }
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

    /// Reads a line from a run, and what it prints meanwhile. `None`: the line has not come within the time.
    fn read_line(
        mut result: PipeReader,
        mut output: PipeReader,
        limit: Duration,
        printed: &mut Tail,
    ) -> Option<Vec<u8>> {
        let until = std::time::Instant::now() + limit;
        let (mut line, mut chunk) = (Vec::new(), [0; 16 << 10]);
        let mut output_ends = false;
        loop {
            let left = until.saturating_duration_since(std::time::Instant::now()).as_millis();
            let wait = |pipe: &PipeReader| libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let mut waits = [wait(&result), wait(&output)];
            let count = if output_ends { 1 } else { 2 };
            // SAFETY: `count` valid pollfds.
            let ready = unsafe { libc::poll(waits.as_mut_ptr(), count, c_int::try_from(left).unwrap_or(c_int::MAX)) };
            if ready == 0 {
                return None;
            }
            // What was printed comes first, so that none of it is left when the line is there.
            if !output_ends && waits[1].revents != 0 {
                let length = output.read(&mut chunk).unwrap_or(0);
                output_ends = length == 0;
                printed.push(&chunk[..length]);
                continue;
            }
            if waits[0].revents != 0 {
                let length = result.read(&mut chunk).unwrap_or(0);
                line.extend_from_slice(&chunk[..length]);
                if length == 0 || line.ends_with(b"\n") {
                    return Some(line);
                }
            }
        }
    }

    /// Lets the kernel end this process when the one that started it ends.
    fn die_with_parent() {
        // SAFETY: plain numbers.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    }

    fn run_in_child(
        request: &Request,
        run: Arc<impl Fn(&Request, Arc<Progress>) -> Report + Send + Sync + 'static>,
        result: File,
        output: OwnedFd,
    ) -> ! {
        die_with_parent();
        // As in a Rust program that was started as usual.
        // SAFETY: no handler, only a disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
        if let Ok(null) = File::open("/dev/null") {
            redirect(null.as_raw_fd(), 0);
        }
        redirect(output.as_raw_fd(), 1);
        redirect(output.as_raw_fd(), 2);
        drop(output);
        let (test, to) = (request.test.clone(), result.try_clone());
        leak::end_process_with(Box::new(move |report| {
            let _ = std::io::stdout().flush();
            tell(to.as_ref().ok(), &Report { test: test.clone(), ..report })
        }));
        let asked = request.clone();
        let watched = watch::watch(request.limits, move |progress| {
            #[cfg(target_arch = "x86_64")]
            crate::tsc::trap();
            run(&asked, progress)
        });
        if watched.is_ok() {
            // Otherwise the thread of the run may hold the lock of the output for ever.
            let _ = std::io::stdout().flush();
        }
        let report = watched.unwrap_or_else(|failure| Report::lost(&request.test, Seed(request.seed), failure));
        tell(Some(&result), &report)
    }

    /// Writes the report to whoever forked this process, and ends it.
    fn tell(mut to: Option<&File>, report: &Report) -> ! {
        if let (Some(to), Ok(mut line)) = (&mut to, serde_json::to_vec(report)) {
            line.push(b'\n');
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
