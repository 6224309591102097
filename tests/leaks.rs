//! Nothing of the real machine reaches a run: a test for every way in which ordinary programs become nondeterministic.
//!
//! One simulated test asks for all of them and notes the answers in its log. It is run alone in a fresh process, as the
//! fifth of a sweep, and twice in a row by one process; a row holds when the four answers are equal.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "what the project must not use, asked on purpose"
)]

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sim::prelude::Host;
use sim::{Units, current_node, device, node};
use sim_host::watch::Limits;
use sim_host::worker::Worker;

type Row = (&'static str, fn() -> String);

/// What a program might ask, and how.
const ROWS: &[Row] = &[
    ("std HashMap order", || format!("{:?}", (0..20).collect::<HashSet<u32>>())),
    ("std RandomState", || RandomState::new().hash_one("key").to_string()),
    ("rand 0.8", || rand_08::random::<u64>().to_string()),
    ("rand 0.9", || rand_09::random::<u64>().to_string()),
    ("rand 0.10", || rand_010::random::<u64>().to_string()),
    ("getrandom 0.2", || bytes(|buffer| getrandom_02::getrandom(buffer).unwrap())),
    ("getrandom 0.3", || bytes(|buffer| getrandom_03::fill(buffer).unwrap())),
    ("getrandom 0.4", || bytes(|buffer| getrandom_04::fill(buffer).unwrap())),
    ("fastrand", || fastrand::u64(..).to_string()),
    ("ahash RandomState", || ahash::RandomState::new().hash_one("key").to_string()),
    ("hashbrown order", || format!("{:?}", (0..20).collect::<hashbrown::HashSet<u32>>())),
    ("uuid v4", || uuid::Uuid::new_v4().to_string()),
    ("/dev/urandom", || bytes(read_random_file)),
    ("SystemTime::now", || format!("{:?}", SystemTime::now().duration_since(UNIX_EPOCH))),
    ("Instant::now", || format!("{:?}", Instant::now())),
    ("quanta", || format!("{:?}", quanta::Clock::new().now())),
    ("rdtsc", || quanta::Clock::new().raw().to_string()),
    ("available_parallelism", || format!("{:?}", std::thread::available_parallelism())),
    ("process id", || std::process::id().to_string()),
    ("addresses", || format!("{:p} {:p} {:p}", &ROWS, &0u8, &*Box::new(0u8))),
];

fn bytes(fill: impl FnOnce(&mut [u8])) -> String {
    let mut buffer = [0; 16];
    fill(&mut buffer);
    format!("{buffer:02x?}")
}

fn read_random_file(buffer: &mut [u8]) {
    use std::io::Read;
    std::fs::File::open("/dev/urandom").unwrap().read_exact(buffer).unwrap();
}

fn note(row: &'static str, answer: String) {
    device::emit(current_node().id(), "leak", &[], || format!("{row} = {answer}"));
}

#[sim::test(seeds = 2)]
async fn rows() {
    for (row, ask) in ROWS {
        note(row, ask());
    }
    let before = Instant::now();
    sim::time::sleep(10.ms()).await;
    note("Instant across sleep", format!("{:?}", before.elapsed()));
    let mut order = String::new();
    for _ in 0..20 {
        tokio::select! {
            () = async {} => order.push('a'),
            () = async {} => order.push('b'),
        }
    }
    note("tokio::select order", order);
}

/// The same, asked by a program that knows nothing of the simulation, and has threads.
#[sim::test(seeds = 2)]
async fn hosted_rows() {
    node("program").host(ask_as_a_hosted_program).join().await;
}

fn ask_as_a_hosted_program() {
    for (row, ask) in ROWS {
        note(row, ask());
    }
    let before = Instant::now();
    std::thread::sleep(Duration::from_millis(10));
    note("Instant across sleep", format!("{:?}", before.elapsed()));
    let order = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for name in "abcdef".chars() {
            let order = &order;
            scope.spawn(move || {
                std::thread::yield_now();
                order.lock().unwrap().push(name);
            });
        }
    });
    note("threads", order.into_inner().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
    let order = runtime.block_on(async {
        let mut order = String::new();
        for _ in 0..20 {
            tokio::select! {
                () = async {} => order.push('a'),
                () = async {} => order.push('b'),
            }
        }
        order
    });
    note("tokio::select order", order);
}

/// The answers of one run.
type Answers = BTreeMap<String, String>;

struct Observed {
    alone: Answers,
    in_a_sweep: Answers,
    twice: [Answers; 2],
    other_seed: Answers,
}

fn ask(worker: &mut Worker, test: &str, seed: u64) -> Answers {
    let report = super::kit::record(worker, test, seed);
    assert!(report.passed(), "{}", report.render(&[]));
    let notes = report.log.unwrap().into_iter().filter(|event| event.kind == "leak");
    notes.map(|event| event.text.split_once(" = ").map(|(row, answer)| (row.into(), answer.into())).unwrap()).collect()
}

fn observed(hosted: bool) -> &'static Observed {
    static OBSERVED: [OnceLock<Observed>; 2] = [OnceLock::new(), OnceLock::new()];
    OBSERVED[usize::from(hosted)].get_or_init(|| {
        let test = if hosted { "leaks::hosted_rows" } else { "leaks::rows" };
        let ask = |worker: &mut Worker, seed| ask(worker, test, seed);
        let fresh =
            || Worker::start(&std::env::current_exe().unwrap(), None).unwrap().expect("this executable serves runs");
        let alone = ask(&mut fresh(), 5);
        let mut sweep = fresh();
        let other_seed = ask(&mut sweep, 1);
        (2..5).for_each(|seed| drop(ask(&mut sweep, seed)));
        let in_a_sweep = ask(&mut sweep, 5);
        let mut process = fresh();
        let twice = [ask(&mut process, 5), ask(&mut process, 5)];
        Observed { alone, in_a_sweep, twice, other_seed }
    })
}

/// Whether the answer is random, and so must differ between seeds, or a fact, which must not.
#[derive(PartialEq)]
enum Kind {
    Random,
    Fact,
}

fn holds(hosted: bool, row: &str, kind: Kind) {
    let Observed { alone, in_a_sweep, twice, other_seed } = observed(hosted);
    assert_eq!(alone[row], in_a_sweep[row], "alone and in a sweep");
    assert_eq!(alone[row], twice[0][row], "alone and first in a process");
    assert_eq!(alone[row], twice[1][row], "alone and second in a process");
    assert_eq!(kind == Kind::Random, alone[row] != other_seed[row], "{} with another seed", other_seed[row]);
}

macro_rules! rows {
    ($($name:ident: $row:literal $kind:ident;)*) => {
        mod native {
            use super::*;
            $(#[test]
            fn $name() {
                holds(false, $row, Kind::$kind);
            })*
        }

        mod hosted {
            use super::*;
            $(#[test]
            fn $name() {
                holds(true, $row, Kind::$kind);
            })*

            #[test]
            fn threads() {
                holds(true, "threads", Kind::Random);
            }
        }
    };
}

rows! {
    std_hashmap_order: "std HashMap order" Random;
    std_random_state: "std RandomState" Random;
    rand_0_8: "rand 0.8" Random;
    rand_0_9: "rand 0.9" Random;
    rand_0_10: "rand 0.10" Random;
    getrandom_0_2: "getrandom 0.2" Random;
    getrandom_0_3: "getrandom 0.3" Random;
    getrandom_0_4: "getrandom 0.4" Random;
    fastrand_: "fastrand" Random;
    ahash_random_state: "ahash RandomState" Random;
    hashbrown_order: "hashbrown order" Fact;
    uuid_v4: "uuid v4" Random;
    dev_urandom: "/dev/urandom" Random;
    system_time_now: "SystemTime::now" Fact;
    instant_now: "Instant::now" Random;
    instant_across_sleep: "Instant across sleep" Fact;
    quanta_: "quanta" Random;
    rdtsc: "rdtsc" Random;
    tokio_select_order: "tokio::select order" Random;
    available_parallelism: "available_parallelism" Fact;
    process_id: "process id" Fact;
    addresses: "addresses" Fact;
}

#[test]
fn a_sleep_is_exact_and_starts_at_the_simulated_epoch() {
    let Observed { alone, .. } = observed(false);
    assert_eq!(alone["Instant across sleep"], "10ms");
    assert_eq!(alone["SystemTime::now"], "Ok(1767225600s)");
}

/// What threads can promise, and no more: see the table in the README.
#[test]
fn runs_on_fresh_threads_keep_the_rows_that_are_per_thread() {
    let run = || {
        let watched = sim_host::watch::watch(Limits::default(), |_| {
            sim::simulation(5).record(true).run(|| async {
                for (row, ask) in ROWS.iter().filter(|(row, _)| KEPT_BY_THREADS.contains(row)) {
                    note(row, ask());
                }
            })
        });
        let report = watched.unwrap();
        assert!(report.passed(), "{}", report.message);
        let log = report.log.unwrap().into_iter().filter(|event| event.kind == "leak").map(|event| event.text);
        log.collect::<Vec<_>>()
    };
    let (first, second) = (run(), run());
    assert_eq!(first.len(), KEPT_BY_THREADS.len());
    assert_eq!(first, second);
}

const KEPT_BY_THREADS: &[&str] = &[
    "std HashMap order",
    "std RandomState",
    "rand 0.8",
    "rand 0.9",
    "rand 0.10",
    "getrandom 0.2",
    "getrandom 0.3",
    "getrandom 0.4",
    "uuid v4",
    "/dev/urandom",
    "SystemTime::now",
    "Instant::now",
    "available_parallelism",
    "process id",
];

#[test]
fn a_program_that_spins_until_time_passes_comes_out_of_its_loop() {
    let report = sim::simulation(1).run(|| async {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(5) {}
    });
    assert!(report.passed(), "{}", report.message);
    assert!((5_000_000..6_000_000).contains(&report.sim_ns), "{}", report.sim_ns);
}
