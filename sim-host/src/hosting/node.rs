//! Hosting a program on a node: what users call.

use std::collections::BTreeMap;
use std::ffi::{OsStr, c_void};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use sim_core::device::{self, Process};
use sim_core::node::MainResult;
use sim_core::{Node, NodeId, ambient};

use super::baton::{Rider, Thread};
use super::device::{Ending, hosts};
use super::environment::Variables;
use super::{asynchronous, pin_to_one_processor, signals};

/// What is set for a node before it starts.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) directory: Option<PathBuf>,
    pub(crate) real_paths: Vec<PathBuf>,
    variables: BTreeMap<std::ffi::OsString, std::ffi::OsString>,
}

/// Runs programs on nodes as they are: the real tokio, real threads, C libraries.
///
/// A hosted program finds the simulation behind the C library: sockets, files, clocks, threads and names are those of its
/// node. It is started, crashed, paused and restarted like any other node.
pub trait Host: Sized {
    /// Starts it with a program that may block, start threads and runtimes: `main` is called on a thread of its own, now
    /// and again at every restart. The node's process ends when it returns.
    ///
    /// What a kill takes with it runs no destructor, as in a process.
    ///
    /// # Panics
    /// When the node is already running.
    fn host<F, R>(self, main: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: MainResult;

    /// Starts it with an asynchronous program on a tokio runtime of its own (current-thread).
    ///
    /// A kill drops the runtime with its tasks, unless it has other threads: a life leaves no memory behind. Their
    /// destructors reach nothing.
    ///
    /// # Panics
    /// When the node is already running.
    fn host_async<F, Fut>(self, main: F) -> Self
    where
        F: Fn() -> Fut + 'static,
        Fut: Future + 'static,
        Fut::Output: MainResult;

    /// Sets a variable of its environment, which is empty otherwise.
    #[must_use = "a handle of the node, to be started"]
    fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self;

    /// Sets the directory that its program starts in, `/` otherwise.
    #[must_use = "a handle of the node, to be started"]
    fn current_dir(self, path: impl AsRef<Path>) -> Self;

    /// Lets its program read what is really at this path, and below: certificates, fixtures. Nothing real otherwise.
    #[must_use = "a handle of the node, to be started"]
    fn reads_real_path(self, path: impl AsRef<Path>) -> Self;

    /// Sends its process SIGTERM: its handler is called, or it dies where it has none.
    fn terminate(self);

    /// Sends its process a signal.
    fn signal(self, number: i32);

    /// What it has printed, in this life and earlier ones.
    fn printed(self) -> super::output::Printed;
}

fn with_settings<R>(node: NodeId, f: impl FnOnce(&mut Settings) -> R) -> R {
    f(hosts().settings.borrow_mut().entry(node).or_default())
}

impl Host for Node {
    #[track_caller]
    fn host<F, R>(self, main: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: MainResult,
    {
        let main: Main = Rc::new(move || main().into_result());
        self.start(move || run(main.clone(), false))
    }

    #[track_caller]
    fn host_async<F, Fut>(self, main: F) -> Self
    where
        F: Fn() -> Fut + 'static,
        Fut: Future + 'static,
        Fut::Output: MainResult,
    {
        let main: Main = Rc::new(move || {
            let main = &main;
            asynchronous::run(move || async move { main().await.into_result() })
        });
        self.start(move || run(main.clone(), true))
    }

    fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.as_ref().to_os_string(), value.as_ref().to_os_string());
        with_settings(self.id(), |settings| settings.variables.insert(name, value));
        self
    }

    fn current_dir(self, path: impl AsRef<Path>) -> Self {
        with_settings(self.id(), |settings| settings.directory = Some(path.as_ref().to_path_buf()));
        self
    }

    fn reads_real_path(self, path: impl AsRef<Path>) -> Self {
        with_settings(self.id(), |settings| settings.real_paths.push(path.as_ref().to_path_buf()));
        self
    }

    #[track_caller]
    fn terminate(self) {
        self.signal(libc::SIGTERM);
    }

    #[track_caller]
    fn signal(self, number: i32) {
        signals::send(self, number);
    }

    fn printed(self) -> super::output::Printed {
        super::output::printed(self)
    }
}

/// Called on a thread of the program, which runs in place of the thread of the simulation: never beside it.
type Main = Rc<dyn Fn() -> Result<(), String>>;

/// A new process on the current node.
fn begin(falls_apart: bool) -> Process {
    let process = device::process("Host::host");
    let hosts = hosts();
    hosts.begin(process, falls_apart);
    let mut fresh = Variables::default();
    if let Some(settings) = hosts.settings.borrow().get(&process.node) {
        settings.variables.iter().for_each(|(name, value)| fresh.set(name, value));
    }
    hosts.variables.borrow_mut().insert(process.node, fresh);
    // A process that is just starting is alive.
    let _ = sim_disk::posix::have_tmp();
    crate::interpose::streams::catch_standard();
    pin_to_one_processor();
    crate::strict::prepare();
    crate::strict::enter_thread();
    process
}

/// The main of a process has returned, or it has exited: nothing of it is left.
fn end(process: Process) {
    if process.is_alive() {
        hosts().end(process);
    }
}

/// What the first thread of a process is given.
struct Start {
    main: Main,
    result: Arc<Mutex<Option<Result<(), String>>>>,
}

extern "C-unwind" fn call_main(argument: *mut c_void) -> *mut c_void {
    // SAFETY: made by `run` from a box, and called once.
    let start = unsafe { Box::from_raw(argument.cast::<Start>()) };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (start.main)()));
    // A panic of a main ends its process, with the code that Rust gives it.
    let result = result.unwrap_or_else(|_| Err("its main panicked".to_string()));
    *start.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(result);
    std::ptr::null_mut()
}

/// Starts a program on the current node, as its new process.
fn run(main: Main, falls_apart: bool) -> Hosted {
    let process = begin(falls_apart);
    let hosts = hosts();
    let result = Arc::new(Mutex::new(None));
    let argument = Box::into_raw(Box::new(Start { main, result: result.clone() }));
    let number = hosts.next_thread(process);
    let name = sim_core::current_node().name();
    let created = Thread::create(process, number, name, std::ptr::null(), (call_main, argument.cast()));
    let rider = match created {
        Ok(thread) => {
            hosts.threads.borrow_mut().insert(thread.id() as usize, thread.clone());
            Some(Rider(thread))
        }
        Err(error) => {
            // SAFETY: no thread came into being, so the box is still ours.
            drop(unsafe { Box::from_raw(argument) });
            let error = format!("cannot start its thread: {}", std::io::Error::from_raw_os_error(error));
            *result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Err(error));
            None
        }
    };
    let ending = hosts.with_process(|state| state.ending.clone()).unwrap_or_default();
    Hosted { process, ending, rider, result }
}

/// The task of a hosted main: it lets the first thread ride, until the process has ended.
struct Hosted {
    process: Process,
    ending: Rc<Ending>,
    rider: Option<Rider>,
    result: Arc<Mutex<Option<Result<(), String>>>>,
}

impl Future for Hosted {
    type Output = Result<(), String>;

    // A frame less: see `World::step`.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut ended = this.ending.poll(cx.waker());
        if ended.is_none()
            && let Some(rider) = &this.rider
        {
            if rider.ride(cx.waker()).is_pending() {
                return Poll::Pending;
            }
            ended = this.ending.poll(cx.waker());
        }
        drop(this.rider.take());
        let returned = this.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        end(this.process);
        Poll::Ready(ended.or(returned).unwrap_or(Ok(())))
    }
}

/// Whether a hosted program of the current node may read what is really at a path.
pub(crate) fn is_real(path: &Path) -> bool {
    let node = sim_core::current_node().id();
    ambient::is_simulated()
        && hosts().settings.borrow().get(&node).is_some_and(|s| s.real_paths.iter().any(|real| path.starts_with(real)))
}
