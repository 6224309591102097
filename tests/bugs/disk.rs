//! Power loss, and fsync that fails.

use std::io;

use sim::disk::{fsync, fsync_eio};
use sim::fs::{self, File};
use sim::prelude::*;
use sim::time::sleep;
use tokio::io::AsyncWriteExt;

/// Writes a record and syncs it as told. Whether it takes it for durable.
async fn save(syncs: bool, retries: u32) -> io::Result<bool> {
    let mut file = File::create("wal").await?;
    File::open("/").await?.sync_all().await?;
    file.write_all(b"precious").await?;
    file.flush().await?;
    if !syncs {
        return Ok(true);
    }
    for _ in 0..=retries {
        if file.sync_all().await.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Runs [`save`], cuts the power, and looks.
async fn lose_power_after(syncs: bool, retries: u32) {
    let acknowledged = node("store").spawn(save(syncs, retries)).await.unwrap().unwrap();
    sleep(1.ms()).await;
    node("store").power_loss();
    node("store").restart();
    let found = node("store").spawn(async { fs::read_to_string("wal").await.unwrap_or_default() }).await.unwrap();
    always!(!acknowledged || found == "precious", "what was acknowledged is there", "found {found:?}");
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn an_acknowledgement_before_fsync_is_lost_with_the_power() {
    lose_power_after(false, 0).await;
}

#[sim::test(seeds = 10)]
async fn an_acknowledgement_after_fsync_survives() {
    lose_power_after(true, 0).await;
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_second_fsync_that_succeeds_says_nothing_about_the_first() {
    faults().on(fsync("store", "wal"), fsync_eio());
    lose_power_after(true, 1).await;
}

#[sim::test(seeds = 10)]
async fn who_takes_a_failed_fsync_for_a_failed_write_acknowledges_nothing_wrong() {
    faults().on(fsync("store", "wal"), fsync_eio());
    lose_power_after(true, 0).await;
}
