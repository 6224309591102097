//! What the tests of databases share: a store that counts up, one transaction a number, on a machine that loses power.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::prelude::*;

/// A database that is opened, checked, and written to until an error or the end.
pub(super) trait Database: Sized {
    /// Opens or makes it, and says the greatest number it has. `None`: the disk failed meanwhile; an error: it is corrupt.
    fn open() -> Result<Option<(Self, u64)>, String>;
    /// Commits one more number.
    fn commit(&mut self, number: u64) -> Result<(), String>;
}

/// Opens the database and commits number after number. What was acknowledged must be there.
fn count_up<D: Database>(acknowledged: &AtomicU64) -> Result<(), String> {
    let found = D::open();
    if let Err(damage) = &found {
        always!(false, "the database is intact", "{}", damage.lines().next().unwrap_or_default());
    }
    let Some((mut database, mut last)) = found? else { return Ok(()) };
    let promised = acknowledged.load(Ordering::SeqCst);
    always!(
        last >= promised,
        "no acknowledged transaction is lost",
        "{promised} was acknowledged, and {last} is there"
    );
    loop {
        last += 1;
        if database.commit(last).is_err() {
            // A failed fsync: the process must not go on with what it believes to have written.
            return Ok(());
        }
        acknowledged.store(last, Ordering::SeqCst);
    }
}

/// Lets a machine that counts up lose power again and again, and now and then fail an fsync.
pub(super) async fn survive<D: Database + 'static>(losses: u32) {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let count = acknowledged.clone();
    let store = node("store").host(move || count_up::<D>(&count));
    for round in 0..losses {
        sim::time::sleep(random().range(1..120).ms()).await;
        if round % 10 == 9 {
            faults().on(sim::disk::fsync("store", "*").nth(random().range(1..4)), sim::disk::fsync_eio().may_miss());
            sim::time::sleep(50.ms()).await;
        }
        store.power_loss();
        store.restart();
    }
    assert!(acknowledged.load(Ordering::SeqCst) > u64::from(losses) / 2, "it made no progress");
}

/// Lets a machine count up, lose power, and look at what is there.
pub(super) async fn lose_power_once<D: Database + 'static>() {
    let acknowledged = Arc::new(AtomicU64::new(0));
    let count = acknowledged.clone();
    let store = node("store").host(move || count_up::<D>(&count));
    sim::time::sleep(random().range(100..900).ms()).await;
    assert!(acknowledged.load(Ordering::SeqCst) > 0, "it made no progress");
    store.power_loss();
    store.restart();
    sim::time::sleep(1.secs()).await;
}
