//! The same small programs on the simulated network and on the real kernel's loopback interface: what they observe agrees.
//!
//! A program is written once, over [`Net`], and notes what it sees in a [`Log`]: byte counts, order, ends of streams, and
//! errors by their kind. Ports and times stay out. Without faults, and for several seeds, the simulator must note the same.
//!
//! | room | what its programs do |
//! |---|---|
//! | `face` | the two networks behind one trait, and what programs share |
//! | `opening` | bind, connect, accept, addresses |
//! | `transfer` | bytes, backpressure, halves |
//! | `closing` | FIN, RST, and what is left to read and write after them |
//! | `datagrams` | UDP |
//! | `unix` | sockets of a machine with itself |
//! | `version_six` | IPv6, alone and beside IPv4 |
//! | `readiness` | to look, to try, to wait until one may, to leave with a reset |
//! | `scripts`, `datagram_scripts` | programs drawn at random |

use std::cell::RefCell;
use std::fmt::{Debug, Write};
use std::io;
use std::rc::Rc;
use std::time::Duration;

mod closing;
mod datagram_scripts;
mod datagrams;
mod face;
mod opening;
mod readiness;
mod scripts;
mod transfer;
mod unix;
mod version_six;

/// What a program has seen.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    fn note(&self, line: impl Into<String>) {
        self.0.borrow_mut().push(line.into());
    }

    /// Notes whether it went well, or the kind of error.
    fn outcome<T>(&self, what: &str, result: &io::Result<T>) {
        match result {
            Ok(_) => self.note(format!("{what}: ok")),
            Err(error) => self.note(format!("{what}: {:?}", error.kind())),
        }
    }

    /// Notes what came of it, or the kind of error.
    fn value<T: Debug>(&self, what: &str, result: io::Result<T>) {
        match result {
            Ok(value) => self.note(format!("{what}: {value:?}")),
            Err(error) => self.note(format!("{what}: {:?}", error.kind())),
        }
    }

    fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

/// How long a program may take on the real kernel: none waits for more than a few tenths of a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a drawn program waits after each step. The loopback interface of an idle machine needs microseconds; where the
/// first does not do, the machine may be busy.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(40)];

/// What a program sees on the real kernel.
fn on_the_kernel<F: Future<Output = ()>>(program: impl FnOnce(Log) -> F) -> Vec<String> {
    let log = Log::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if runtime.block_on(async { tokio::time::timeout(PATIENCE, program(log.clone())).await }).is_err() {
        log.note("hangs");
    }
    log.lines()
}

/// What a program sees on the simulator.
fn on_the_simulator<F: Future<Output = ()> + 'static>(seed: u64, program: impl FnOnce(Log) -> F) -> Vec<String> {
    let log = Log::default();
    let program = program(log.clone());
    let report = sim::simulation(seed).run(|| async {
        let mut options = sim::net::options();
        // A fault of its own: a kernel takes a write in part only when its buffer is full.
        options.split_probability = sim::Ratio::ZERO;
        sim::net::set_options(options);
        program.await;
    });
    if !report.passed() {
        log.note(report.message);
    }
    log.lines()
}

/// Runs a program on both.
fn agree<K, S>(kernel: impl FnOnce(Log) -> K, simulator: impl Fn(Log) -> S)
where
    K: Future<Output = ()>,
    S: Future<Output = ()> + 'static,
{
    let real = on_the_kernel(kernel);
    assert!(!real.is_empty(), "the program notes nothing");
    println!("{}", real.join("\n"));
    for seed in 0..8 {
        let simulated = on_the_simulator(seed, &simulator);
        assert!(real == simulated, "seed {seed}\n{}", side_by_side(&real, &simulated));
    }
}

/// Both logs, with a mark where they differ.
fn side_by_side(real: &[String], simulated: &[String]) -> String {
    let mut table = format!("  {:48} simulator\n", "kernel");
    for line in 0..real.len().max(simulated.len()) {
        let [real, simulated] = [real, simulated].map(|log| log.get(line).map_or("-", |line| line));
        let mark = if real == simulated { ' ' } else { '!' };
        writeln!(table, "{mark} {real:48} {simulated}").unwrap();
    }
    table
}

/// Makes each program a test of its name in `agrees`, which is not run where the machine lacks what it needs.
macro_rules! agrees {
    (if $possible:ident; $($program:ident)*) => {
        mod agrees {
            use super::super::face::{Kernel, Simulated};
            $(#[test]
            fn $program() {
                if !super::$possible() {
                    return eprintln!("not run: {} says no", stringify!($possible));
                }
                super::super::agree(super::$program::<Kernel>, super::$program::<Simulated>);
            })*
        }
    };
    ($($program:ident)*) => {
        mod agrees {
            use super::super::face::{Kernel, Simulated};
            $(#[test]
            fn $program() {
                super::super::agree(super::$program::<Kernel>, super::$program::<Simulated>);
            })*
        }
    };
}
use agrees;

#[test]
fn a_difference_is_told_where_it_is() {
    let differ = || {
        agree(
            |log| async move { log.note("read: 5") },
            |log| async move { log.value("read", Err::<(), _>(io::ErrorKind::ConnectionReset.into())) },
        )
    };
    let panic = std::panic::catch_unwind(differ).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("! read: 5") && message.contains("read: ConnectionReset"), "{message}");
}
