//! A replicated key-value store that is right, with three switches that make it wrong.
//!
//! A primary applies every operation, has it on its own disk and on those of all backups of the current view, and then
//! acknowledges it. A monitor, which stands for a consensus service and never fails, decides views. Clients record what
//! they saw while nodes crash, lose power and are cut off; the history must be linearizable.
//!
//! | room | what is in it |
//! |---|---|
//! | `wire` | messages and how one is asked |
//! | `monitor` | views: who is primary, who is backup |
//! | `log` | the write-ahead log of a replica |
//! | `replica` | the store |
//! | `cluster` | the test: clients, faults, the check |
//!
//! `cargo run --example replicated_kv [BUG]` looks for a seed that shows a bug, and explains it.

mod cluster;
mod log;
mod monitor;
mod replica;
mod wire;

use cluster::cluster;

/// What can be wrong with the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    /// The primary acknowledges when it has an operation itself, and tells the backups later.
    AcknowledgesBeforeBackup,
    /// Replicas take what is written to a file for what is on the disk.
    AcknowledgesBeforeFsync,
    /// The monitor makes primary whoever answers, and not only who has every acknowledged operation.
    PromotesStaleBackup,
}

fn main() {
    let bugs = [
        ("backup", Bug::AcknowledgesBeforeBackup),
        ("fsync", Bug::AcknowledgesBeforeFsync),
        ("stale", Bug::PromotesStaleBackup),
    ];
    let asked = std::env::args().nth(1).unwrap_or_else(|| "backup".to_string());
    let Some((_, bug)) = bugs.iter().find(|(name, _)| *name == asked) else {
        eprintln!("`{asked}` is no bug of this store: write backup, fsync or stale");
        std::process::exit(2);
    };
    let failing = (0..500).map(|seed| sim::simulation(seed).run(|| cluster(Some(*bug)))).find(|run| !run.passed());
    print!("{}", failing.map_or_else(|| "no seed shows it\n".to_string(), |report| report.render(&[])));
}

#[cfg(test)]
mod tests {
    use super::cluster;

    #[sim::test(seeds = 100)]
    async fn acknowledged_writes_survive() {
        cluster(None).await;
    }
}

#[cfg(test)]
mod bugs {
    use super::{Bug, cluster};

    #[sim::test(seeds = 500, expect = "incorrect")]
    async fn acknowledges_before_the_backup_has_it() {
        cluster(Some(Bug::AcknowledgesBeforeBackup)).await;
    }

    #[sim::test(seeds = 500, expect = "incorrect")]
    async fn acknowledges_before_fsync() {
        cluster(Some(Bug::AcknowledgesBeforeFsync)).await;
    }

    #[sim::test(seeds = 500, expect = "incorrect")]
    async fn promotes_a_stale_backup() {
        cluster(Some(Bug::PromotesStaleBackup)).await;
    }
}
