//! What a failure prints is run, and fails the same way.

use std::process::Command;

use sim::prelude::*;

use super::kit::{harness, printed};

/// Fails with some seeds, where it is asked to.
#[sim::test(seeds = 50)]
async fn fixture() {
    let fails = std::env::var_os("SIM_FIXTURE_FAILS").is_some();
    let (a, b) = (node("a").spawn(draw()), node("b").spawn(draw()));
    let (a, b) = (a.await.unwrap(), b.await.unwrap());
    always!(!fails || a != b, "two nodes draw different numbers", "both drew {a}");
}

async fn draw() -> u64 {
    sim::time::sleep(random().duration(1.ms()..9.ms())).await;
    random().range(0..10)
}

const FAILS: [(&str, &str); 1] = [("SIM_FIXTURE_FAILS", "1")];

/// The report of a failure: its headline and the lines below it, without those to type next.
fn report(said: &str) -> Vec<&str> {
    let lines = said.lines().skip_while(|line| !line.starts_with("replay_line::fixture: incorrect"));
    let report: Vec<&str> =
        lines.take_while(|line| !line.starts_with("  replay:") && !line.starts_with("  test:")).collect();
    assert!(report.len() > 2, "no report in: {said}");
    report
}

/// The command after a label.
fn line<'a>(said: &'a str, label: &str) -> &'a str {
    said.lines()
        .find_map(|line| line.trim().strip_prefix(label))
        .unwrap_or_else(|| panic!("no {label} in: {said}"))
        .trim()
}

fn shell(command: &str) -> std::process::Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(env!("CARGO_MANIFEST_DIR")).envs(FAILS);
    // Of the cargo that runs this test; another one shall come to its own conclusions.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME" && name != "CARGO_TARGET_DIR")
    {
        shell.env_remove(name);
    }
    shell.output().unwrap()
}

#[test]
fn the_replay_line_fails_the_same_way() {
    let first = printed(&harness("replay_line::fixture", &FAILS));
    let again = shell(line(&first, "replay:"));
    assert!(!again.status.success());
    assert_eq!(report(&first), report(&printed(&again)));
}

#[test]
fn the_events_line_shows_the_run_and_exits_with_its_outcome() {
    let first = printed(&harness("replay_line::fixture", &FAILS));
    let again = shell(line(&first, "events:"));
    let said = printed(&again);
    assert_eq!(again.status.code(), Some(3), "{said}");
    assert_eq!(report(&first), report(&said));
    assert!(said.contains("task.run"), "{said}");
}

#[test]
fn an_expected_failure_shows_itself_when_its_seed_is_asked_for() {
    let seed = "0x0";
    let found = printed(&harness("bugs::disk::an_acknowledgement_before_fsync_is_lost_with_the_power", &[]));
    assert!(found.contains("as expected:") && found.contains(seed), "{found}");
    let asked = harness("bugs::disk::an_acknowledgement_before_fsync_is_lost_with_the_power", &[("SIM_SEED", seed)]);
    assert!(!asked.status.success());
}
