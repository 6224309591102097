//! The clocks of nodes: how the wall clock moves, what the monotonic clock never does, and that every way to read them agrees.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "programs read the standard library's clocks, which are simulated here"
)]

use std::time::{Duration, SystemTime};

use sim::prelude::*;
use sim::time::{Instant, elapsed, sleep, wall_clock};
use sim::{Clock, clock_drift, clock_rate, clock_strobe, suspend};

/// How far the wall clock of the current node is from the true time, in milliseconds.
fn off() -> i64 {
    let epoch = Duration::from_secs(1_767_225_600);
    let shown = wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    shown.as_millis() as i64 - (epoch + elapsed()).as_millis() as i64
}

/// Sets a clock wrong at one second and says how far it is off each tenth of a second from then on.
fn course(wrong: impl Fn(Clock) + 'static) -> Vec<i64> {
    let (told, tell) = std::sync::mpsc::channel();
    let report = sim::simulation(1).run(move || async move {
        let watch = node("n").spawn(async move {
            sleep(1.secs()).await;
            wrong(node("n").clock());
            let mut course = Vec::new();
            for _ in 0..10 {
                course.push(off());
                sleep(100.ms()).await;
            }
            course
        });
        told.send(watch.await.unwrap()).unwrap();
    });
    assert!(report.passed(), "{}", report.message);
    tell.recv().unwrap()
}

#[test]
fn a_step_moves_the_wall_clock_at_once_and_for_good() {
    assert_eq!(course(|clock| clock.step_back(5.secs())), [-5_000; 10]);
    assert_eq!(course(|clock| clock.step_forward(3.secs())), [3_000; 10]);
}

#[test]
fn a_drift_grows() {
    assert_eq!(course(|clock| clock.drift_ppm(100_000)), [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]);
}

#[test]
fn a_sine_swings_and_comes_back() {
    let course = course(|clock| clock.sine(1.secs(), 400.ms()));
    assert_eq!(course, [0, 1_000, 0, -1_000, 0, 1_000, 0, -1_000, 0, 1_000]);
}

#[test]
fn a_strobe_jumps_ahead_and_back() {
    let course = course(|clock| clock.strobe(7.secs(), 200.ms()));
    assert_eq!(course, [7_000, 7_000, 0, 0, 7_000, 7_000, 0, 0, 7_000, 7_000]);
}

#[test]
fn a_reset_ends_whatever_was_wrong() {
    let course = course(|clock| {
        clock.step_back(5.secs());
        clock.drift_ppm(9_000);
        clock.sine(1.secs(), 1.secs());
        clock.reset();
    });
    assert_eq!(course, [0; 10]);
}

#[test]
fn every_way_to_read_a_clock_agrees_with_every_other() {
    let report = sim::simulation(6).run(|| async {
        node("n").clock().step_back(90.secs());
        node("n").clock().drift_ppm(-3_000);
        node("n").clock().rate_ppm(1_500_000);
        let watch = node("n").spawn(async {
            let (ours, std) = (Instant::now(), std::time::Instant::now());
            for _ in 0..50 {
                sleep(random().duration(1.ms()..1.secs())).await;
                assert_eq!(wall_clock(), SystemTime::now());
                assert_eq!(ours.elapsed(), std.elapsed());
            }
        });
        watch.await.unwrap();
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn a_monotonic_clock_never_goes_back_whatever_happens_to_it() {
    for seed in 0..30 {
        let report = sim::simulation(seed).run(|| async {
            node("n").start(|| async {
                let mut last = (Instant::now(), std::time::Instant::now());
                loop {
                    sleep(random().duration(1.us()..300.ms())).await;
                    let now = (Instant::now(), std::time::Instant::now());
                    assert!(now.0 >= last.0 && now.1 >= last.1, "{last:?} and then {now:?}");
                    last = now;
                }
                #[expect(unreachable_code, reason = "names the type")]
                ()
            });
            faults().swarm(Swarm::on("n").kinds("clock.*").window(0.secs()..60.secs()));
            sleep(60.secs()).await;
        });
        assert!(report.passed(), "{}", report.message);
    }
}

#[test]
fn timers_follow_the_monotonic_clock_of_their_node_and_no_wall_clock() {
    let report = sim::simulation(2).run(|| async {
        node("fast").clock().rate_ppm(2_000_000);
        node("back").clock().step_back(60.mins());
        let ends = ["fast", "back", "right"].map(|name| {
            node(name).spawn(async {
                sleep(10.secs()).await;
                elapsed()
            })
        });
        let [fast, back, right] = ends;
        assert_eq!(fast.await.unwrap(), 5.secs());
        assert_eq!((back.await.unwrap(), right.await.unwrap()), (10.secs(), 10.secs()));
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn faults_of_a_clock_add_up_and_each_ends_its_own() {
    let report = sim::simulation(2).run(|| async {
        faults()
            .at(1.secs(), clock_drift("n", 100_000).lasting(6.secs()))
            .at(2.secs(), clock_drift("n", 50_000).lasting(2.secs()))
            .at(8.secs(), clock_rate("n", 2_000_000).lasting(2.secs()))
            .at(9.secs(), clock_rate("n", 500_000).lasting(2.secs()));
        let offsets = node("n").spawn(async {
            let mut offsets = Vec::new();
            for _ in 0..8 {
                offsets.push(off());
                sleep(1.secs()).await;
            }
            offsets
        });
        assert_eq!(offsets.await.unwrap(), [0, 0, 100, 250, 400, 500, 600, 700]);
        let clock = node("n").spawn(async { Instant::now() }).await.unwrap();
        sleep(4.secs()).await;
        // Twice as fast for a second; half as fast for two, whatever of the first is left; right for the last.
        let shown = node("n").spawn(async move { clock.elapsed() }).await.unwrap();
        assert_eq!(shown, 4.secs());
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn a_machine_that_was_suspended_finds_its_timers_where_they_were_and_its_wall_clock_ahead() {
    let report = sim::simulation(2).run(|| async {
        faults()
            .at(1.secs(), suspend("n").lasting(10.secs()))
            .at(3.secs(), clock_rate("n", 2_000_000).lasting(1.secs()));
        let sleeper = node("n").spawn(async {
            let (monotonic, wall) = (Instant::now(), wall_clock());
            sleep(5.secs()).await;
            (monotonic.elapsed(), wall_clock().duration_since(wall).unwrap(), elapsed())
        });
        assert_eq!(sleeper.await.unwrap(), (5.secs(), 15.secs(), 15.secs()));
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn a_strobe_is_over_when_it_has_lasted() {
    let report = sim::simulation(2).run(|| async {
        faults().at(1.secs(), clock_strobe("n", 4.secs(), 10.ms()).lasting(5.secs()));
        let watch = node("n").spawn(async {
            sleep(2.secs()).await;
            let strobes = (0..20).map(|_| async {
                sleep(5.ms()).await;
                off()
            });
            let mut seen = Vec::new();
            for strobe in strobes {
                seen.push(strobe.await);
            }
            sleep(6.secs()).await;
            (seen, off())
        });
        let (seen, after) = watch.await.unwrap();
        assert!(seen.contains(&4_000) && seen.contains(&0), "{seen:?}");
        assert_eq!(after, 0);
    });
    assert!(report.passed(), "{}", report.message);
}
