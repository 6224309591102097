//! Steps of the wall clock, and clocks that run at a wrong rate.

use std::time::Duration;

use sim::prelude::*;
use sim::time::{Instant, elapsed, sleep, wall_clock};

const LIFETIME: Duration = Duration::from_secs(10);

/// A session that shall end after its lifetime, measured on one clock or the other.
async fn expires_through_a_step(monotonic: bool) {
    let session = node("server").spawn(async move {
        let (start, wall) = (Instant::now(), wall_clock());
        loop {
            let age = match monotonic {
                true => start.elapsed(),
                false => wall_clock().duration_since(wall).unwrap_or_default(),
            };
            if age >= LIFETIME {
                return;
            }
            sleep(100.ms()).await;
        }
    });
    let by = random().range(0..8_000_000_000) as i64 - 4_000_000_000;
    faults().at(random().duration(1.secs()..5.secs()), clock_step("server", by));
    session.await.unwrap();
    let off = elapsed().abs_diff(LIFETIME);
    always!(off <= 200.ms(), "a session lives as long as it should", "it is off by {off:?}");
}

#[sim::test(seeds = 100, expect = "incorrect")]
async fn an_expiry_on_the_wall_clock_moves_with_its_steps() {
    expires_through_a_step(false).await;
}

#[sim::test(seeds = 100)]
async fn an_expiry_on_the_monotonic_clock_stays() {
    expires_through_a_step(true).await;
}

/// Two nodes that measure one lease: the holder must let go before the granter gives it away.
async fn hands_over_at_a_wrong_rate(margin: Duration) {
    let holds = node("holder").spawn(async move {
        sleep(LIFETIME - margin).await;
        elapsed()
    });
    let grants = node("granter").spawn(async {
        sleep(LIFETIME).await;
        elapsed()
    });
    faults().at(0.secs(), clock_rate("holder", 990_000 + random().range(0..20_000) as u32));
    let (let_go, given_away) = (holds.await.unwrap(), grants.await.unwrap());
    always!(let_go <= given_away, "one holder at a time", "held until {let_go:?}, given away at {given_away:?}");
}

#[sim::test(seeds = 100, expect = "incorrect")]
async fn a_lease_without_a_margin_trusts_that_clocks_run_equally_fast() {
    hands_over_at_a_wrong_rate(Duration::ZERO).await;
}

#[sim::test(seeds = 100)]
async fn a_lease_with_a_margin_for_drift_is_handed_over_in_time() {
    hands_over_at_a_wrong_rate(LIFETIME / 50).await;
}
