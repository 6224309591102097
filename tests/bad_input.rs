//! Wrong input and wrong programs get a paragraph that says what, where, and what to type next.
//!
//! The programs that go wrong are fixtures: they do so only where `SIM_FIXTURE` names them.

#![expect(clippy::disallowed_methods, reason = "programs that go wrong")]

use sim::prelude::*;
use sim::{Outcome, time};

use super::kit::{harness, printed};

/// Whether the fixture `name` is asked for.
fn asked_for(name: &str) -> bool {
    std::env::var("SIM_FIXTURE").is_ok_and(|fixture| fixture == name)
}

#[sim::test(seeds = 1)]
async fn fixture() {
    node("worker").start(|| async {
        match std::env::var("SIM_FIXTURE").as_deref() {
            Ok("block_on") => futures::executor::block_on(std::future::pending::<()>()),
            Ok("runtime") => drop(tokio::runtime::Builder::new_multi_thread().enable_io().build()),
            Ok("bare runtime") => {
                tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(std::future::pending())
            }
            Ok("thread") => drop(std::thread::spawn(|| ()).join()),
            Ok("sleep") => std::thread::sleep(1.ms()),
            Ok("socket") => drop(std::net::UdpSocket::bind("127.0.0.1:0")),
            Ok("spin") => loop {
                std::hint::spin_loop();
            },
            Ok("abort") => std::process::abort(),
            Ok("exit") => std::process::exit(0),
            Ok("overflow") => _ = recurse(),
            Ok("nested") => drop(sim::simulation(2).run(|| async {})),
            _ => {}
        }
    });
    time::sleep(1.secs()).await;
}

#[expect(unconditional_recursion, reason = "it shall overflow the stack")]
fn recurse() -> u64 {
    std::hint::black_box(recurse()) + 1
}

/// What `cargo test` says of the fixture.
fn says(fixture: &str) -> String {
    let output = harness("bad_input::fixture", &[("SIM_FIXTURE", fixture), ("SIM_POLL_LIMIT", "1")]);
    assert!(!output.status.success(), "{}", printed(&output));
    printed(&output)
}

#[track_caller]
fn assert_says(fixture: &str, outcome: Outcome, parts: &[&str]) {
    let said = says(fixture);
    assert!(said.contains(&format!("bad_input::fixture: {outcome} at")), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains("replay:  SIM_SEED=0x0 cargo test -p detsim bad_input::fixture -- --exact"), "{said}");
}

#[test]
fn block_on_of_a_real_runtime_inside_a_node_is_a_leak() {
    assert!(!asked_for("block_on"));
    let place = ["on node worker, in the task spawned at tests/bad_input.rs"];
    assert_says(
        "block_on",
        Outcome::Leaked,
        &[&place[..], &["a wait that blocks the thread", ".await in place of block_on"]].concat(),
    );
    assert_says("runtime", Outcome::Leaked, &[&place[..], &["a real runtime's driver", "sim::spawn"]].concat());
    assert_says("bare runtime", Outcome::Leaked, &[&place[..], &["a wait that blocks the thread"]].concat());
}

#[test]
fn a_real_thread_sleep_or_socket_is_a_leak() {
    assert_says("thread", Outcome::Leaked, &["a real thread (pthread_create)", "use sim::spawn"]);
    assert_says("sleep", Outcome::Leaked, &["std::thread::sleep", "use sim::time::sleep"]);
    assert_says("socket", Outcome::Leaked, &["a real socket", "use sim::net"]);
}

#[test]
fn a_task_that_does_not_return_is_named_by_the_watchdog() {
    assert_says(
        "spin",
        Outcome::TimedOut,
        &["has not returned from its poll for 1s", "the task of node worker spawned at"],
    );
}

#[test]
fn an_abort_an_exit_and_a_stack_overflow_are_one_result() {
    assert_says("abort", Outcome::Panicked, &["ended by signal 6 (SIGABRT"]);
    assert_says("overflow", Outcome::Panicked, &["ended by signal 11 (SIGSEGV: a stack overflow"]);
    assert_says("exit", Outcome::Panicked, &["exited with code 0 before the run was over"]);
}

#[test]
fn a_simulation_inside_a_simulation_is_refused() {
    assert_says("nested", Outcome::Panicked, &["a second simulation was started inside a running one"]);
}

#[test]
fn a_call_outside_a_simulation_says_where_to_call_it() {
    for (name, call) in [
        ("node", Box::new(|| _ = node("a")) as Box<dyn FnOnce() + std::panic::UnwindSafe>),
        ("time::Instant::now", Box::new(|| _ = time::Instant::now())),
        ("net::heal_all", Box::new(sim::net::heal_all)),
        ("random", Box::new(|| _ = random().range(0..2))),
        ("faults", Box::new(|| _ = faults())),
    ] {
        let panic = std::panic::catch_unwind(call).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.starts_with(&format!("sim::{name} was called outside a simulation")), "{message}");
        assert!(message.contains("#[sim::test]"), "{message}");
    }
}

#[test]
fn environment_variables_that_do_not_parse_are_named() {
    for (name, value, advice) in [
        ("SIM_SEED", "seven", "`seven` is not a seed: write a decimal number"),
        ("SIM_SEEDS", "many", "SIM_SEEDS=many: expected a whole number"),
        ("SIM_SEEDS", "0", "a test needs at least one seed"),
        ("SIM_ISOLATION", "vm", "SIM_ISOLATION=vm: write process or thread"),
        ("SIM_WALL_LIMIT", "1h", "SIM_WALL_LIMIT=1h: expected a whole number"),
    ] {
        let output = harness("bad_input::fixture", &[(name, value)]);
        assert!(!output.status.success());
        assert!(printed(&output).contains(advice), "{}", printed(&output));
    }
}

#[test]
fn what_a_program_prints_is_shown_and_inert() {
    let output = harness("bad_input::prints_and_fails", &[("SIM_FIXTURE", "print")]);
    let said = printed(&output);
    assert!(said.contains("the program printed:\n    danger \\u{1b}[2J"), "{said}");
    assert!(!said.contains('\u{1b}'));
}

#[sim::test(seeds = 1)]
async fn prints_and_fails() {
    if asked_for("print") {
        println!("danger \u{1b}[2J");
        panic!("with \u{1b}[31m colour");
    }
}
