//! The asking side: a child process that serves runs, one at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use sim_core::{Failure, Outcome, Report, Seed};

use crate::zygote::{Hello, Request, SERVE};

/// How long a program may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that serves runs; see [`crate::zygote`].
pub struct Worker {
    executable: PathBuf,
    directory: Option<PathBuf>,
    child: Child,
    requests: ChildStdin,
    reports: BufReader<ChildStdout>,
    hello: Hello,
}

impl Worker {
    /// Starts a test executable as a server, in the directory of its package where one is given. `None`: it is one
    /// without simulated tests.
    ///
    /// A program that does not know of simulations is asked to list its tests, which every test harness of Cargo
    /// can do, and comes to no harm; one that does neither is ended after half a minute.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(executable: &Path, directory: Option<&Path>) -> io::Result<Option<Worker>> {
        let mut command = Command::new(executable);
        command.args(["--list", "--format", "terse"]).env(SERVE, "1");
        if let Some(directory) = directory {
            command.current_dir(directory).env("CARGO_MANIFEST_DIR", directory);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(requests), Some(reports)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a child without its pipes"));
        };
        let Some((hello, reports)) = read_hello(BufReader::new(reports)) else {
            let _ = child.kill();
            let _ = child.wait();
            return Ok(None);
        };
        let (executable, directory) = (executable.to_path_buf(), directory.map(Path::to_path_buf));
        Ok(Some(Worker { executable, directory, child, requests, reports, hello }))
    }

    /// What it said first.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The process id, for whoever wants to kill it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has one run made. When the server dies over it, that is the report, and the next run has a new server.
    pub fn run(&mut self, request: &Request) -> Report {
        self.ask(request).unwrap_or_else(|error| {
            let _ = self.child.kill();
            let ended = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            if let Ok(Some(fresh)) = Worker::start(&self.executable, self.directory.as_deref()) {
                *self = fresh;
            }
            let message = format!("the process that serves the runs died ({ended}): {error}");
            Report::lost(&request.test, Seed(request.seed), Failure::new(Outcome::Panicked, message))
        })
    }

    fn ask(&mut self, request: &Request) -> io::Result<Report> {
        writeln!(self.requests, "{}", serde_json::to_string(request)?)?;
        self.requests.flush()?;
        let mut line = String::new();
        if self.reports.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

/// The first line, and what comes after it. `None`: it is no greeting, or does not come.
fn read_hello(mut reports: BufReader<ChildStdout>) -> Option<(Hello, BufReader<ChildStdout>)> {
    let (said, waits) = sync_channel(1);
    std::thread::Builder::new()
        .spawn(move || {
            // What an initialiser of the program prints comes before.
            let hello =
                reports.by_ref().lines().map_while(Result::ok).find_map(|line| serde_json::from_str(&line).ok());
            let _ = said.send(hello.map(|hello| (hello, reports)));
        })
        .ok()?;
    waits.recv_timeout(PATIENCE).ok().flatten()
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
