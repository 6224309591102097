//! What the executor, nodes, clocks and faults promise, asked from outside.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sim_core::fault::{Plan, clock_rate, crash, faults, pause, power_loss};
use sim_core::time::{self, Instant, interval, sleep, timeout};
use sim_core::{OnPanic, Outcome, Report, Sim, Units, node, nodes, random, spawn, task, zone};

fn run<Fut: Future<Output = ()> + 'static>(seed: u64, body: impl FnOnce() -> Fut) -> Report {
    Sim::new(seed).run(body)
}

fn passes<Fut: Future<Output = ()> + 'static>(body: impl FnOnce() -> Fut) {
    let report = run(1, body);
    assert!(report.passed(), "{}", report.render(&[]));
}

type List<T> = Rc<RefCell<Vec<T>>>;

/// A place that tasks of one test write to: one handle to read, one to write.
fn list<T: 'static>() -> (List<T>, List<T>) {
    let list = Rc::new(RefCell::new(Vec::new()));
    (list.clone(), list)
}

#[test]
fn an_hour_passes_in_no_time_and_exactly() {
    passes(|| async {
        let before = Instant::now();
        sleep(30.mins()).await;
        assert_eq!(before.elapsed(), 30.mins());
        assert_eq!(
            timeout(10.ms(), sleep(1.secs())).await.map_err(|e| e.to_string()),
            Err("deadline has elapsed".into())
        );
        assert_eq!(time::elapsed(), 30.mins() + 10.ms());
    });
}

#[test]
fn an_interval_keeps_its_phase() {
    passes(|| async {
        let mut ticks = interval(10.ms());
        for _ in 0..3 {
            ticks.tick().await;
        }
        assert_eq!(time::elapsed(), 20.ms());
    });
}

#[test]
fn ready_tasks_run_in_an_order_that_the_seed_decides() {
    let order = |seed| {
        let (seen, written) = list();
        run(seed, || async move {
            let tasks: Vec<_> = (0..8)
                .map(|i| {
                    spawn({
                        let written = written.clone();
                        async move { written.borrow_mut().push(i) }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        seen.take()
    };
    assert_eq!(order(1), order(1));
    assert!((2..20).any(|seed| order(seed) != order(1)));
}

#[test]
fn the_digest_is_the_seeds_and_recording_does_not_change_it() {
    let body = || async {
        for _ in 0..20 {
            sleep(random().duration(1.ms()..5.ms())).await;
        }
    };
    let digest = |seed| run(seed, body).digest;
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
    let recorded = Sim::new(7).record(true).run(body);
    assert_eq!(recorded.digest, digest(7));
    assert!(recorded.log.unwrap().len() > 20);
}

#[test]
fn channels_of_tokio_and_futures_work_between_nodes() {
    use futures::{SinkExt, StreamExt};
    passes(|| async {
        let (ask, mut asked) = tokio::sync::mpsc::channel::<(u32, tokio::sync::oneshot::Sender<u32>)>(4);
        let (mut tell, mut told) = futures::channel::mpsc::channel::<u32>(1);
        node("server").spawn(async move {
            while let Some((number, reply)) = asked.recv().await {
                sleep(1.ms()).await;
                reply.send(number * 2).unwrap();
            }
        });
        node("client").spawn(async move {
            for number in 0..10 {
                let (reply, answer) = tokio::sync::oneshot::channel();
                ask.send((number, reply)).await.unwrap();
                tell.send(answer.await.unwrap()).await.unwrap();
            }
        });
        let mut answers = Vec::new();
        while let Some(answer) = told.next().await {
            answers.push(answer);
        }
        assert_eq!(answers, (0..10).map(|n| n * 2).collect::<Vec<_>>());
    });
}

#[test]
fn a_tokio_mutex_and_notify_and_semaphore_are_fair_game() {
    passes(|| async {
        let total = std::sync::Arc::new(tokio::sync::Mutex::new(0));
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(2));
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (total, gate) = (total.clone(), gate.clone());
                spawn(async move {
                    let _permit = gate.acquire().await.unwrap();
                    let mut total = total.lock().await;
                    sleep(1.ms()).await;
                    *total += 1;
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*total.lock().await, 20);
    });
}

#[test]
fn an_aborted_task_drops_its_future_and_says_cancelled() {
    passes(|| async {
        let dropped = Rc::new(Cell::new(false));
        struct Flag(Rc<Cell<bool>>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let flag = Flag(dropped.clone());
        let task = spawn(async move {
            let _flag = flag;
            sleep(1.secs()).await;
        });
        sleep(1.ms()).await;
        task.abort();
        assert!(dropped.get() && task.is_finished());
        assert!(task.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn a_crashed_node_is_silent_and_restarts_with_its_closure() {
    passes(|| async {
        let (seen, written) = list();
        let server = node("server").start(move || {
            let written = written.clone();
            async move {
                struct LastWords(Rc<RefCell<Vec<&'static str>>>);
                impl Drop for LastWords {
                    fn drop(&mut self) {
                        let written = self.0.clone();
                        let spawned = spawn(async move { written.borrow_mut().push("from the grave") });
                        drop(spawned);
                    }
                }
                let _last = LastWords(written.clone());
                written.borrow_mut().push("start");
                sleep(1.secs()).await;
                written.borrow_mut().push("unreachable");
            }
        });
        sleep(100.ms()).await;
        server.crash();
        assert!(!server.is_up());
        sleep(2.secs()).await;
        server.restart();
        sleep(100.ms()).await;
        server.power_loss();
        sleep(2.secs()).await;
        assert_eq!(*seen.borrow(), ["start", "start"]);
    });
}

#[test]
fn a_node_can_crash_itself_and_goes_no_further_than_its_next_await() {
    passes(|| async {
        let (seen, written) = list();
        let suicidal = node("n").start(move || {
            let written = written.clone();
            async move {
                written.borrow_mut().push(1);
                node("n").crash();
                task::yield_now().await;
                written.borrow_mut().push(2);
            }
        });
        sleep(1.ms()).await;
        assert!(!suicidal.is_up());
        assert_eq!(*seen.borrow(), [1]);
    });
}

#[test]
fn a_paused_node_does_nothing_while_its_clock_runs() {
    passes(|| async {
        let (seen, written) = list();
        let worker = node("worker").start(move || {
            let written = written.clone();
            async move {
                loop {
                    sleep(10.ms()).await;
                    written.borrow_mut().push(time::elapsed().as_millis());
                }
            }
        });
        sleep(25.ms()).await;
        worker.pause();
        sleep(100.ms()).await;
        assert_eq!(*seen.borrow(), [10, 20]);
        worker.resume();
        sleep(1.ms()).await;
        assert_eq!(*seen.borrow(), [10, 20, 125]);
    });
}

#[test]
fn a_node_with_a_restart_policy_survives_its_panics() {
    passes(|| async {
        let (seen, written) = list();
        node("flaky").on_panic(OnPanic::Restart(1.secs())).start(move || {
            let written = written.clone();
            async move {
                let life = written.borrow().len();
                written.borrow_mut().push(time::elapsed());
                assert!(life == 2, "not yet");
            }
        });
        node("flaky").join().await;
        assert_eq!(*seen.borrow(), [0.secs(), 1.secs(), 2.secs()]);
    });
}

#[test]
fn a_panic_names_node_place_spawn_site_and_message() {
    let report = run(1, || async {
        node("store").start(|| async {
            sleep(5.ms()).await;
            panic!("the index is broken");
        });
        std::future::pending::<()>().await;
    });
    assert_eq!(report.outcome, Outcome::Panicked);
    assert_eq!(report.sim_ns, 5_000_000);
    for part in ["the index is broken", "node store", "spawned at", "tests/core.rs"] {
        assert!(report.message.contains(part), "{part}: {}", report.message);
    }
}

#[test]
fn an_error_of_a_main_fails_the_run() {
    let report = run(1, || async {
        node("store").start(|| async { Err::<(), _>("no space") });
        std::future::pending::<()>().await;
    });
    assert_eq!(report.outcome, Outcome::Panicked);
    assert!(report.message.contains("main of node store returned an error: no space"), "{}", report.message);
}

#[test]
fn a_deadlock_lists_what_every_task_waits_for() {
    let report = run(1, || async {
        let (_keep, receiver) = tokio::sync::oneshot::channel::<()>();
        let stuck = node("a").spawn(async move { drop(receiver.await) });
        stuck.await.unwrap();
    });
    assert_eq!(report.outcome, Outcome::Stuck);
    for part in ["2 tasks wait", "a: waits for a channel", "test: joins the task spawned at"] {
        assert!(report.message.contains(part), "{part}: {}", report.message);
    }
}

#[test]
fn tasks_that_spin_without_time_are_no_progress() {
    let report = run(1, || async {
        loop {
            task::yield_now().await;
        }
    });
    assert_eq!(report.outcome, Outcome::Stuck);
    assert!(report.message.contains("no progress: 10,000,000 polls"), "{}", report.message);
}

#[test]
fn a_run_that_takes_too_much_simulated_time_is_stuck() {
    let report = Sim::new(1).time_limit(10.secs()).run(|| async {
        loop {
            sleep(3.secs()).await;
        }
    });
    assert_eq!(report.outcome, Outcome::Stuck);
    assert!(report.message.contains("not finished after 10.000 s") && report.message.contains("sleeps until"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a real thread is the point")]
fn a_wake_from_a_real_thread_is_a_leak() {
    let report = run(1, || async {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || sender.send(())).join().unwrap().unwrap();
        let mut receiver = receiver;
        let (later, waits) = tokio::sync::oneshot::channel::<()>();
        assert!(receiver.try_recv().is_ok());
        let polled = spawn(async move { drop(waits.await) });
        sleep(1.ms()).await;
        std::thread::spawn(move || later.send(())).join().unwrap().unwrap();
        polled.await.unwrap();
    });
    assert_eq!(report.outcome, Outcome::Leaked, "{}", report.message);
}

#[test]
fn faults_fire_at_their_time_last_and_end() {
    let report = run(1, || async {
        let (seen, written) = list();
        node("n").start(move || {
            let written = written.clone();
            async move {
                written.borrow_mut().push(time::elapsed());
                std::future::pending::<()>().await
            }
        });
        faults().at(1.secs(), crash("n").lasting(2.secs())).at(5.secs(), power_loss("n").lasting(1.secs()));
        faults().at(10.secs(), pause("n").lasting(1.secs()));
        sleep(20.secs()).await;
        assert_eq!(*seen.borrow(), [0.secs(), 3.secs(), 6.secs()]);
    });
    assert!(report.passed(), "{}", report.message);
    let fired: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert_eq!(fired, ["crash n for 2s @1.000 s", "power_loss n for 1s @5.000 s", "pause n for 1s @10.000 s"]);
}

#[test]
fn a_fault_that_never_fires_makes_the_run_vacuous_unless_it_may_miss() {
    let body = |may_miss: bool| {
        move || async move {
            node("n").start(std::future::pending::<()>);
            let fault = crash("n");
            faults().plan(Plan::new().at(10.secs(), if may_miss { fault.may_miss() } else { fault }));
            sleep(1.secs()).await;
        }
    };
    let report = run(1, body(false));
    assert_eq!(report.outcome, Outcome::Vacuous);
    assert!(report.message.contains("never fired: crash n"), "{}", report.message);
    assert!(run(1, body(true)).passed());
}

#[test]
fn a_fault_of_an_unknown_kind_or_node_says_what_there_is() {
    let unknown_kind = run(1, || async {
        faults().at(1.secs(), sim_core::fault::Fault::new("node.explode", &["n"]));
    });
    assert!(unknown_kind.message.contains("`node.explode`; the kinds are: node.crash"), "{}", unknown_kind.message);
    let unknown_node = run(1, || async {
        node("store").start(std::future::pending::<()>);
        faults().at(1.secs(), crash("stroe"));
        sleep(2.secs()).await;
    });
    assert!(unknown_node.message.contains("no such node. The nodes are: test, store"), "{}", unknown_node.message);
}

#[test]
fn a_slow_clock_makes_timers_late_and_both_clocks_differ() {
    passes(|| async {
        let (seen, written) = list();
        node("slow").start(move || {
            let written = written.clone();
            async move {
                let wall = time::wall_clock();
                let start = Instant::now();
                sleep(1.secs()).await;
                let walls = time::wall_clock().duration_since(wall).unwrap();
                written.borrow_mut().push((start.elapsed(), walls, time::elapsed()));
            }
        });
        faults().at(0.secs(), clock_rate("slow", 500_000));
        node("slow").join().await;
        assert_eq!(*seen.borrow(), [(1.secs(), 2.secs(), 2.secs())]);
    });
}

#[test]
fn a_stepped_wall_clock_moves_no_timer() {
    passes(|| async {
        let skewed = node("skewed").spawn(async {
            let wall = time::wall_clock();
            sleep(1.secs()).await;
            wall.duration_since(time::wall_clock())
        });
        sleep(500.ms()).await;
        node("skewed").clock().step_back(1.mins());
        let back: Duration = skewed.await.unwrap().unwrap();
        assert_eq!(back, 60.secs() - 1.secs());
        assert_eq!(time::elapsed(), 1.secs());
    });
}

#[test]
fn groups_are_numbered_and_joined() {
    passes(|| async {
        let (seen, written) = list();
        let clients = nodes("client", 3).start(move |place| {
            let written = written.clone();
            async move {
                sleep((place as u64 * 10).ms()).await;
                written.borrow_mut().push(sim_core::current_node().name());
            }
        });
        clients.join().await;
        assert_eq!(*seen.borrow(), ["client-0", "client-1", "client-2"]);
    });
}

#[test]
fn a_zone_loses_power_as_one() {
    passes(|| async {
        for (name, rack) in [("a", "rack-1"), ("b", "rack-2"), ("c", "rack-1")] {
            node(name).zone(rack).start(std::future::pending::<()>);
        }
        sleep(1.ms()).await;
        zone("rack-1").power_loss();
        assert_eq!(["a", "b", "c"].map(|name| node(name).is_up()), [false, true, false]);
        zone("rack-1").restart();
        assert!(zone("rack-1").iter().all(sim_core::Node::is_up));
        assert_eq!(zone("rack-3").iter().count(), 0);
    });
}

#[test]
fn a_named_task_is_called_by_its_name() {
    let report = run(1, || async {
        task::Builder::new().name("compaction").spawn(std::future::pending::<()>()).await.unwrap();
    });
    assert!(report.message.contains("(task compaction spawned at sim-core/tests/core.rs"), "{}", report.message);
}

#[test]
fn always_ends_the_run_and_sometimes_is_reported() {
    let report = run(1, || async {
        sim_core::sometimes!(true, "the sky is up");
        sim_core::sometimes!(false, "the sky is down");
        sim_core::reachable!("the first line");
        node("n").start(|| async {
            sleep(1.ms()).await;
            sim_core::always!(1 + 1 == 3, "arithmetic", "got {}", 1 + 1);
        });
        sleep(1.secs()).await;
    });
    assert_eq!(report.outcome, Outcome::Incorrect);
    assert!(report.message.starts_with("always violated: arithmetic: got 2"), "{}", report.message);
    assert_eq!(report.reached, ["the first line", "the sky is up"]);
    assert!(sim_core::mark::MARKS.iter().any(|mark| mark.name == "the sky is down"));
}

#[test]
fn buggify_fires_in_some_seeds_and_never_outside() {
    assert!(!(0..100).any(|_| sim_core::buggify!()));
    let fired = |seed| {
        let count = Rc::new(Cell::new(0));
        let inner = count.clone();
        run(seed, || async move {
            for _ in 0..100 {
                inner.set(inner.get() + u32::from(sim_core::buggify!()));
            }
        });
        count.get()
    };
    let active = (0..100).filter(|seed| fired(*seed) > 0).count();
    assert!((8..35).contains(&active), "a fifth of the runs: {active}");
}

#[test]
fn tracing_lands_in_the_log_with_time_and_node() {
    let body = || async {
        node("n").start(|| async {
            sleep(3.ms()).await;
            let span = tracing::info_span!("request", id = 7);
            let _in = span.enter();
            tracing::warn!(key = "k1", "slow");
        });
        sleep(1.secs()).await;
    };
    let log = Sim::new(1).record(true).run(body).log.unwrap();
    let line = log.iter().find(|event| event.kind == "WARN").expect("the warning is in the log");
    assert_eq!((line.at, &*line.node, &*line.text), (3_000_000, "n", "request id=7: slow key=k1"));
    assert_eq!(Sim::new(1).run(body).log, None);
}

#[test]
fn a_call_outside_a_simulation_says_what_to_do() {
    let panic = std::panic::catch_unwind(|| drop(sim_core::spawn(async {}))).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("sim::spawn was called outside a simulation"), "{message}");
    assert!(message.contains("#[sim::test]"));
}

#[test]
fn a_simulation_inside_a_simulation_is_refused() {
    let report = run(1, || async {
        run(2, || async {});
    });
    assert!(report.message.contains("a second simulation was started inside"), "{}", report.message);
}

#[test]
fn power_lost_after_a_crash_is_lost_all_the_same() {
    let report = run(1, || async {
        node("n").start(std::future::pending::<()>);
        faults().at(1.secs(), crash("n")).at(2.secs(), power_loss("n"));
        sleep(3.secs()).await;
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn a_fault_that_changes_nothing_has_not_fired() {
    let report = run(1, || async {
        node("n").start(std::future::pending::<()>);
        faults().at(1.secs(), power_loss("n")).at(2.secs(), crash("n"));
        sleep(3.secs()).await;
    });
    assert_eq!(report.outcome, Outcome::Vacuous);
    assert!(report.message.contains("never fired: crash n"), "{}", report.message);
}

#[test]
fn overlapping_faults_keep_a_node_down_until_the_last_is_over() {
    passes(|| async {
        node("n").start(std::future::pending::<()>);
        faults().at(1.secs(), crash("n").lasting(2.secs())).at(2.secs(), power_loss("n").lasting(10.secs()));
        sleep(11.secs()).await;
        assert!(!node("n").is_up());
        sleep(2.secs()).await;
        assert!(node("n").is_up());
    });
}

#[test]
fn overlapping_pauses_end_with_the_last() {
    passes(|| async {
        let (seen, written) = list();
        node("n").start(move || {
            let written = written.clone();
            async move {
                let mut ticks = interval(1.secs());
                loop {
                    written.borrow_mut().push(time::elapsed().as_secs());
                    ticks.tick().await;
                    sleep(900.ms()).await;
                }
            }
        });
        faults().at(1500.ms(), pause("n").lasting(1.secs()));
        faults().at(2.secs(), pause("n").lasting(4.secs()).may_miss());
        sleep(8.secs()).await;
        assert!(!seen.borrow().iter().any(|second| (3..6).contains(second)), "{:?}", seen.borrow());
    });
}

#[test]
fn what_the_dead_say_when_they_fall_is_no_failure() {
    passes(|| async {
        node("n").start(|| async {
            node("n").crash();
            panic!("the disk of a dead process answers with an error");
        });
        sleep(1.secs()).await;
        assert!(!node("n").is_up());
    });
}

#[test]
fn a_task_may_panic_where_its_node_lets_it() {
    passes(|| async {
        node("n").on_panic(OnPanic::EndTask);
        let fallen = node("n").spawn(async { panic!("only me") });
        assert!(fallen.await.unwrap_err().is_panic());
        assert!(node("n").is_up());
    });
}

#[test]
fn a_panic_takes_down_a_node_that_says_so() {
    passes(|| async {
        node("n").on_panic(OnPanic::Crash).start(|| async { panic!("all of us") });
        sleep(1.secs()).await;
        assert!(!node("n").is_up());
    });
}

#[test]
fn the_dead_reach_no_other_node() {
    struct Revenge;
    impl Drop for Revenge {
        fn drop(&mut self) {
            node("b").crash();
            drop(node("b").spawn(async { node("b").crash() }));
            faults().at(0.secs(), crash("b"));
        }
    }
    passes(|| async {
        node("b").start(std::future::pending::<()>);
        node("a").start(|| async {
            let _revenge = Revenge;
            std::future::pending::<()>().await
        });
        sleep(1.ms()).await;
        node("a").crash();
        sleep(1.secs()).await;
        assert!(node("b").is_up());
    });
}

#[test]
fn a_main_that_restarts_its_node_has_not_returned() {
    passes(|| async {
        let lives = Rc::new(Cell::new(0));
        let life = lives.clone();
        node("n").start(move || {
            life.set(life.get() + 1);
            let first = life.get() == 1;
            async move {
                if first {
                    node("n").restart();
                } else {
                    sleep(5.secs()).await;
                }
            }
        });
        node("n").join().await;
        assert_eq!((lives.get(), time::elapsed()), (2, 5.secs()));
    });
}

#[test]
fn captures_of_a_main_may_look_at_the_clock_when_they_go() {
    struct Clocked;
    impl Drop for Clocked {
        fn drop(&mut self) {
            let _ = Instant::now();
        }
    }
    passes(|| async {
        for _ in 0..2 {
            let clocked = Clocked;
            node("n").start(move || {
                let _ = &clocked;
                std::future::pending::<()>()
            });
            sleep(1.ms()).await;
            node("n").crash();
        }
    });
}

#[test]
fn handles_of_an_ended_simulation_reach_nothing_in_the_next() {
    let kept = Rc::new(RefCell::new(None));
    let keeps = kept.clone();
    let first = run(1, || async move {
        keeps.replace(Some(spawn(async { 1 })));
        sleep(1.ms()).await;
    });
    assert!(first.passed());
    passes(|| async move {
        let task = spawn(async { 2 });
        sleep(1.ms()).await;
        drop(kept.take());
        assert_eq!(task.await, Ok(2));
    });
}

#[test]
fn ticks_that_nobody_waited_for_are_made_up_for_delayed_or_skipped() {
    use sim_core::time::MissedTickBehavior::{Burst, Delay, Skip};
    for (behavior, expected) in
        [(Burst, [0, 35, 35, 35, 40]), (Delay, [0, 35, 45, 55, 65]), (Skip, [0, 35, 40, 50, 60])]
    {
        passes(move || async move {
            let start = time::elapsed();
            let mut ticks = interval(10.ms());
            ticks.set_missed_tick_behavior(behavior);
            let mut seen = Vec::new();
            for round in 0..5 {
                ticks.tick().await;
                seen.push((time::elapsed() - start).as_millis());
                if round == 0 {
                    sleep(35.ms()).await;
                }
            }
            assert_eq!(seen, expected, "{behavior:?}");
        });
    }
}

#[test]
fn a_wall_clock_drifts_and_the_monotonic_one_does_not() {
    passes(|| async {
        node("n").clock().drift_ppm(1_000);
        let drifted = node("n").spawn(async {
            let (wall, monotonic) = (time::wall_clock(), Instant::now());
            sleep(1000.secs()).await;
            (time::wall_clock().duration_since(wall).unwrap(), monotonic.elapsed())
        });
        assert_eq!(drifted.await.unwrap(), (1001.secs(), 1000.secs()));
    });
}

#[test]
fn a_shuffle_keeps_what_it_moves() {
    passes(|| async {
        let mut items: Vec<u32> = (0..50).collect();
        random().shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn a_sleep_that_is_polled_again_wakes_its_latest_waiter() {
    passes(|| async {
        let mut slept = Box::pin(sleep(1.secs()));
        assert!(timeout(10.ms(), &mut slept).await.is_err());
        spawn(slept).await.unwrap();
        assert_eq!(time::elapsed(), 1.secs());
    });
}

#[test]
fn a_detached_task_leaves_nothing_and_a_paused_node_can_crash() {
    passes(|| async {
        drop(spawn(sleep(1.ms())));
        let n = node("n").start(|| sleep(10.secs()));
        sleep(1.ms()).await;
        n.pause();
        n.crash();
        n.restart();
        n.join().await;
        assert_eq!(time::elapsed().as_secs(), 10);
    });
}

#[test]
fn ten_thousand_restarts_leave_no_task_behind() {
    passes(|| async {
        let n = node("n").start(|| async {
            spawn(std::future::pending::<()>());
            std::future::pending::<()>().await
        });
        for _ in 0..10_000 {
            sleep(1.us()).await;
            n.restart();
        }
    });
}
