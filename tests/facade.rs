//! The facade is a list of names: each is reachable as the README and users write it.

use std::time::Duration;

#[test]
fn names_are_where_users_look_for_them() {
    use sim::prelude::{
        History, Kv, Plan, Ratio, Register, crash, faults, linearizable, node, nodes, power_loss, random, spawn,
    };
    let _ = (faults as fn() -> _, node as fn(&str) -> _, nodes as fn(&str, usize) -> _, random as fn() -> _);
    let _ = (crash("a"), power_loss("a"), Plan::new(), Ratio::percent(1), Duration::ZERO);
    let _ = (linearizable(Register::<i64>::default()), linearizable(Kv::default()), History::<(), ()>::new());
    let _ = spawn::<std::future::Ready<()>> as fn(_) -> _;
    let _ = (sim::disk::options as fn() -> _, sim::net::options as fn() -> _, sim::time::elapsed as fn() -> _);
    let _ = (sim::disk::fsync("a", "*"), sim::disk::fsync_eio(), sim::net::partition_fault("a", "b"));
    let _: Option<(sim::fs::File, sim::disk::blocking::File, sim::net::TcpStream, sim::net::UdpSocket)> = None;
    let _: Option<(sim::Seed, sim::Report, sim::Outcome, sim::Node, sim::NodeGroup, sim::Clock, sim::OnPanic)> = None;
}

/// A consumer that calls the crate something else says so.
mod renamed {
    use sim as simulator;

    #[sim::test(seeds = 2, crate = "simulator")]
    async fn a_test_under_another_crate_name() {
        simulator::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

#[sim::test(seed = 0x1f3a9c, time_limit = "2s")]
async fn a_test_with_one_seed_and_a_time_limit() -> Result<(), std::io::Error> {
    sim::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

#[sim::test(seeds = 3, expect = "stuck", time_limit = "500ms")]
async fn a_test_that_is_over_its_time_limit() {
    sim::time::sleep(Duration::from_secs(1)).await;
}

#[sim::test(seeds = 40, tier = "nightly")]
async fn a_nightly_test_runs_one_seed_by_day() {
    sim::time::sleep(Duration::from_secs(1)).await;
}

#[test]
fn the_nightly_tier_runs_all_seeds() {
    let seeds = |tier: &[(&str, &str)]| {
        let said = super::kit::printed(&super::kit::harness("facade::a_nightly_test_runs_one_seed_by_day", tier));
        said.lines().find_map(|line| Some(line.split_once("with seeds ")?.1.to_string())).unwrap_or(said)
    };
    assert_eq!(seeds(&[]), "0x0 to 0x0");
    assert_eq!(seeds(&[("SIM_TIER", "nightly")]), "0x0 to 0x27");
}

#[test]
fn a_failure_reads_like_this() {
    use sim::prelude::*;
    let report = sim::simulation(0x1f3a9c).run(|| async {
        node("store").start(std::future::pending::<()>);
        faults().at(5.secs(), power_loss("store").lasting(2.secs()));
        sim::time::sleep(12_418.ms()).await;
        always!(false, "what was acknowledged is there", "k3 is {}", 7);
    });
    let line = ("replay", "SIM_SEED=0x1f3a9c cargo test a_failure".to_string());
    insta::with_settings!({ filters => vec![(r"digest [0-9a-f]{16}", "digest [digest]"), (r"facade.rs:\d+", "facade.rs:[line]")] }, {
        insta::assert_snapshot!(report.render(&[line]), @r"
        the simulation: incorrect at 12.418 s of simulated time
          seed 0x1f3a9c   12 events   digest [digest]
          always violated: what was acknowledged is there: k3 is 7 (tests/facade.rs:[line])
          faults that fired: power_loss store for 2s @5.000 s
          replay:  SIM_SEED=0x1f3a9c cargo test a_failure
        ");
    });
}
