//! Wall clocks that step, drift, swing, jump and are set right, and clocks that run at a wrong rate.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

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

/// A lease that was lent for a lifetime; its holder lets go a little before its clock says that it is over.
async fn holds_a_lease_through(fault: Fault, monotonic: bool) {
    let margin = LIFETIME / 50;
    let holder = node("holder").spawn(async move {
        let (start, until) = (Instant::now(), wall_clock() + LIFETIME - margin);
        while if monotonic { start.elapsed() < LIFETIME - margin } else { wall_clock() < until } {
            sleep(10.ms()).await;
        }
        elapsed()
    });
    faults().at(random().duration(1.secs()..9.secs()), fault);
    let let_go = holder.await.unwrap();
    always!(let_go <= LIFETIME, "nobody works on another's lease", "held until {let_go:?}");
}

fn step_of_an_ntp_client() -> Fault {
    clock_step("holder", random().range(0..8_000_000_000) as i64 - 4_000_000_000)
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn a_lease_on_the_wall_clock_outlives_itself_by_a_step() {
    holds_a_lease_through(step_of_an_ntp_client(), false).await;
}

#[sim::test(seeds = 50)]
async fn a_lease_on_the_monotonic_clock_does_not_see_a_step() {
    holds_a_lease_through(step_of_an_ntp_client(), true).await;
}

fn bad_quartz() -> Fault {
    sim::clock_drift("holder", random().range(0..100_000) as i32 - 50_000)
}

#[sim::test(seeds = 50, expect = "incorrect")]
async fn a_lease_on_the_wall_clock_outlives_itself_by_a_drift() {
    holds_a_lease_through(bad_quartz(), false).await;
}

#[sim::test(seeds = 50)]
async fn a_lease_on_the_monotonic_clock_does_not_see_a_drift() {
    holds_a_lease_through(bad_quartz(), true).await;
}

fn millis() -> u64 {
    wall_clock().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Two nodes write in turn to a register that keeps the latest write. `logical`: a stamp is above all that were seen.
async fn the_last_writer_wins_through_a_swing(logical: bool) {
    nodes("writer", 2);
    let mut kept = (0, 0);
    let period = random().duration(1.secs()..10.secs());
    faults().at(0.secs(), sim::clock_sine("writer-1", random().duration(10.ms()..1.secs()), period));
    for value in 1..=100 {
        sleep(random().duration(1.ms()..100.ms())).await;
        let writer = node(&format!("writer-{}", value % 2));
        let stamp = writer.spawn(async move { if logical { millis().max(kept.0 + 1) } else { millis() } });
        kept = kept.max((stamp.await.unwrap(), value));
        always!(kept.1 == value, "the last write wins", "{} does over {value}", kept.1);
    }
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_stamp_of_a_swinging_clock_loses_a_later_write() {
    the_last_writer_wins_through_a_swing(false).await;
}

#[sim::test(seeds = 10)]
async fn a_stamp_above_all_that_were_seen_wins() {
    the_last_writer_wins_through_a_swing(true).await;
}

/// A mint whose numbers are the milliseconds of the day. `ascends`: it never gives one at or below the last.
async fn mints_through_a_strobe(ascends: bool) {
    let mint = node("mint").spawn(async move {
        let mut numbers = vec![0];
        for _ in 0..1_000 {
            let last = numbers[numbers.len() - 1];
            numbers.push(if ascends { millis().max(last + 1) } else { millis() });
            sleep(random().duration(2.ms()..4.ms())).await;
        }
        numbers
    });
    let (ahead, period) = (random().duration(20.ms()..500.ms()), random().duration(10.ms()..200.ms()));
    faults().at(random().duration(0.secs()..1.secs()), sim::clock_strobe("mint", ahead, period).lasting(1.secs()));
    let numbers = mint.await.unwrap();
    let different = numbers.iter().collect::<BTreeSet<_>>().len();
    always!(different == numbers.len(), "every number is given once", "{different} of {}", numbers.len());
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn numbers_from_a_clock_that_jumps_come_twice() {
    mints_through_a_strobe(false).await;
}

#[sim::test(seeds = 10)]
async fn numbers_that_only_ascend_come_once() {
    mints_through_a_strobe(true).await;
}

/// A job for every second of the day, on a machine whose clock was wrong until it is set right. `ascends`: no job for a
/// second that is over.
async fn runs_jobs_through_a_reset(ascends: bool) {
    node("scheduler").clock().step_forward(random().duration(100.ms()..10.secs()));
    let scheduler = node("scheduler").spawn(async move {
        let (mut ran, mut last) = (Vec::new(), 0);
        while ran.len() < 20 {
            let second = millis() / 1_000;
            if if ascends { second > last } else { second != last } {
                ran.push(second);
                last = second;
            }
            sleep(100.ms()).await;
        }
        ran
    });
    faults().at(random().duration(1.secs()..10.secs()), sim::clock_reset("scheduler"));
    let ran = scheduler.await.unwrap();
    let different = ran.iter().collect::<BTreeSet<_>>().len();
    always!(different == ran.len(), "every job runs once", "{different} jobs in {} runs", ran.len());
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_job_runs_again_when_the_clock_is_set_right() {
    runs_jobs_through_a_reset(false).await;
}

#[sim::test(seeds = 10)]
async fn a_job_that_remembers_its_last_second_runs_once() {
    runs_jobs_through_a_reset(true).await;
}
