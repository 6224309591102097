//! What can be typed, and the exit codes.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use sim_core::Seed;

const SWEEP_CODES: &str = "\
Exit code: 0 when nothing unexpected happened, else that of the first failure shown:
  3 incorrect   4 panicked   5 stuck   6 nondeterministic   7 leaked   8 timed out   9 vacuous
  An expected outcome that no seed had is 9, a mistake in the arguments or the build 2, a mistake of cargo sim 1.
Environment: SIM_TIER, SIM_SHARD, SIM_WALL_LIMIT and SIM_POLL_LIMIT (seconds of real time for a run and for a poll).";

const REPLAY_CODES: &str = "\
Exit code: 0 passed, else as the run ended, whether the test expects it or not:
  3 incorrect   4 panicked   5 stuck   7 leaked   8 timed out   9 vacuous
  A mistake in the arguments or the build is 2, a mistake of cargo sim 1.";

const CHECK_CODES: &str = "\
Exit code: 0 when every history is valid, else the first of these that was seen:
  2 a file could not be read (or the arguments are wrong)   3 invalid: the promise of the model is broken
  10 unknown: the search ran out of steps, or the history does not tell";

/// Deterministic simulation testing: sweeps over seeds, replays, verdicts on histories.
#[derive(Parser)]
#[command(name = "cargo-sim", bin_name = "cargo sim", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What `cargo sim` can do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run simulated tests with many seeds, in parallel, and group what fails
    ///
    /// A test that expects an outcome is done with the first seed that has it, as under `cargo test`. A sweep that was
    /// stopped, even killed, goes on where it was when it is started again with the same --out; what is in that
    /// directory counts if it is of the same commit with the same changes.
    Sweep(Sweep),
    /// Run one seed of a test again, and show every event
    Replay(Replay),
    /// Show the simulated tests
    List(List),
    /// Judge recorded histories by a model
    Check(Check),
}

/// The arguments of a sweep.
#[derive(Args)]
#[command(after_help = SWEEP_CODES)]
pub(crate) struct Sweep {
    /// Only tests whose name contains this
    pub(crate) filter: Option<String>,
    /// Only the test with exactly this name
    #[arg(long, requires = "filter")]
    pub(crate) exact: bool,
    /// So many seeds a test [default: what the test asks for]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<NonZeroU64>,
    /// The first seed: decimal, 0x.., or a commit hash
    #[arg(long, value_name = "SEED", default_value = "0", allow_hyphen_values = true)]
    pub(crate) start: Seed,
    /// So many runs at a time [default: one a processor]
    #[arg(long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Where results.jsonl is, or goes; an existing one is continued [default: a new directory below target/sim]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Run every seed twice, and report the first event that differs
    #[arg(long)]
    pub(crate) check: bool,
    /// Only every n-th seed, beginning with the i-th: the part of one machine of n
    #[arg(long, value_name = "I/N")]
    pub(crate) shard: Option<Shard>,
    /// `nightly` gives the tests of that tier all their seeds instead of one
    #[arg(long, value_parser = ["quick", "nightly"])]
    pub(crate) tier: Option<String>,
    /// What to build.
    #[command(flatten)]
    pub(crate) build: Build,
}

/// The arguments of a replay.
#[derive(Args)]
#[command(after_help = REPLAY_CODES)]
pub(crate) struct Replay {
    /// The test: its name, or a part that no other test has
    pub(crate) test: String,
    /// The seed: decimal, 0x.., or a commit hash
    #[arg(allow_hyphen_values = true)]
    pub(crate) seed: Seed,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Leave the events out
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// What to build.
    #[command(flatten)]
    pub(crate) build: Build,
}

/// The arguments of a list.
#[derive(Args)]
pub(crate) struct List {
    /// What to build.
    #[command(flatten)]
    pub(crate) build: Build,
}

/// The arguments of a check.
#[derive(Args)]
#[command(after_help = CHECK_CODES)]
pub(crate) struct Check {
    /// What the histories should look like: cas-register, register, multi-register, mutex, kv, list-append, rw-register, bank,
    /// set, set-full, counter, queue, long-fork or kafka; fifo-queue, closed-predicate, unique-ids, causal, causal-reverse,
    /// monotonic, sessions or g2
    pub(crate) model: String,
    /// Histories in Jepsen's log format, in EDN or in JSON; `-` is standard input
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// So many steps may the search for each take before the verdict is unknown
    #[arg(long, value_name = "STEPS")]
    pub(crate) budget: Option<u64>,
    /// Draw the histories and the verdicts into this file, which needs no network to be looked at
    #[arg(long, value_name = "OUT")]
    pub(crate) html: Option<PathBuf>,
    /// The promise that transactions are held to, such as serializable [default: strict-serializable]
    #[arg(long, alias = "consistency-models", value_name = "NAME")]
    pub(crate) consistency: Option<String>,
    /// What holds of each key of an rw-register: wfr-keys, sequential-keys or linearizable-keys
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) assume: Vec<String>,
    /// What registers hold at first, in EDN [default: 0, or nil where the history has it so]
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) initial: Option<String>,
    /// What the accounts of a bank hold together [default: what the first read finds]
    #[arg(long, value_name = "SUM", allow_hyphen_values = true)]
    pub(crate) total_amount: Option<i64>,
    /// Balances of a bank may be negative
    #[arg(long)]
    pub(crate) allow_negative_balances: bool,
    /// How many keys a group of long-fork has [default: those of the first read]
    #[arg(long, value_name = "KEYS")]
    pub(crate) group_size: Option<usize>,
}

/// What Cargo shall build; the words are Cargo's.
#[derive(Args, Default)]
#[command(next_help_heading = "Build")]
pub(crate) struct Build {
    /// The package with the tests; may be given several times
    #[arg(long, short, value_name = "SPEC")]
    pub(crate) package: Vec<String>,
    /// All packages of the workspace
    #[arg(long)]
    pub(crate) workspace: bool,
    /// Features to switch on
    #[arg(long, short = 'F', value_name = "FEATURES")]
    pub(crate) features: Vec<String>,
    /// Build with optimisation
    #[arg(long, short)]
    pub(crate) release: bool,
}

impl Build {
    /// The same again, as arguments.
    pub(crate) fn words(&self) -> Vec<String> {
        let valued = |flag: &str, values: &[String]| -> Vec<String> {
            values.iter().flat_map(|value| [flag.to_string(), value.clone()]).collect()
        };
        let mut words = valued("--package", &self.package);
        words.extend(self.workspace.then(|| "--workspace".to_string()));
        words.extend(valued("--features", &self.features));
        words.extend(self.release.then(|| "--release".to_string()));
        words
    }
}

/// The part of a sweep that one machine of several does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shard {
    /// Which part, counted from 1.
    pub(crate) part: u64,
    /// Of how many.
    pub(crate) of: u64,
}

impl Shard {
    /// The sweep of a machine that is alone.
    pub(crate) const WHOLE: Shard = Shard { part: 1, of: 1 };
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Shard { part, of }),
            _ => Err(format!("`{}` is no shard: write 1/4, 2/4, 3/4 or 4/4", text.escape_debug())),
        }
    }
}
