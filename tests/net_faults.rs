//! Every kind of fault that strikes nodes, clocks, links and names bites: a system that lives through it behaves differently
//! from one in which the same fault fires and does nothing.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use sim::net::{
    Mode, Shape, TcpListener, TcpStream, UdpSocket, dns, isolate_fault, link_fault, links_fault, partition_fault,
    partition_oneway_fault, shape_fault,
};
use sim::prelude::*;
use sim::time::{Instant, elapsed, sleep, timeout, wall_clock};
use sim::{
    clock_drift, clock_reset, clock_sine, clock_strobe, fail_over, fault, out_of_memory, slow_cpu, stop, suspend,
    upgrade,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// One of each kind, and of each way that it can go.
fn examples() -> Vec<Fault> {
    let mut faults = vec![
        crash("b").lasting(1.secs()),
        power_loss("b").lasting(1.secs()),
        pause("b").lasting(1.secs()),
        suspend("b").lasting(1.secs()),
        slow_cpu("b", 20.ms()).lasting(1.secs()),
        out_of_memory("b").lasting(1.secs()),
        stop("b", 50.ms()).lasting(1.secs()),
        upgrade("b", "v2").lasting(1.secs()),
        fail_over("b"),
        clock_step("a", -300_000_000),
        clock_rate("a", 1_200_000).lasting(1.secs()),
        clock_drift("a", 50_000).lasting(1.secs()),
        clock_sine("a", 100.ms(), 700.ms()).lasting(1.secs()),
        clock_strobe("a", 400.ms(), 130.ms()).lasting(1.secs()),
        clock_reset("e"),
        partition_fault("a", "b").lasting(1.secs()),
        partition_oneway_fault("a", "b").lasting(1.secs()),
        isolate_fault("b").lasting(1.secs()),
        links_fault("b", Mode::Slow(900)).lasting(1.secs()),
        dns::delay_fault("a", 60.ms()).lasting(1.secs()),
        dns::nxdomain_fault("a").lasting(1.secs()),
        dns::stale_fault("a").lasting(1.secs()),
        dns::reuse_fault("b", "c"),
    ];
    faults.extend(Shape::ALL.map(|shape| shape_fault(shape, &["all:?"]).lasting(1.secs())));
    let modes = [Mode::Drop, Mode::Slow(500), Mode::Jam, Mode::JamShuffled, Mode::Reset, Mode::Refuse, Mode::Blackhole];
    faults.extend(modes.map(|mode| link_fault("a", "b", mode).lasting(1.secs())));
    faults
}

type Diary = Rc<RefCell<String>>;

fn note(diary: &Diary, what: &str) {
    writeln!(diary.borrow_mut(), "{:?} {what}", elapsed()).unwrap();
}

/// Answers requests of 2,000 bytes with its version.
async fn serve(version: &'static [u8]) -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        sim::spawn(async move {
            let mut request = [0; 2_000];
            while stream.read_exact(&mut request).await.is_ok() {
                if stream.write_all(version).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Tells all others that it lives, and writes down whom it hears, in the order of hearing.
async fn gossip(me: &'static str, diary: Diary) -> std::io::Result<()> {
    let socket = Rc::new(UdpSocket::bind("0.0.0.0:9").await?);
    let ears = socket.clone();
    let heard = diary.clone();
    sim::spawn(async move {
        let mut word = [0; 600];
        while ears.recv_from(&mut word).await.is_ok() {
            note(&heard, &format!("{me} hears {}", char::from(word[0])));
        }
    });
    loop {
        for other in NAMES.iter().filter(|other| **other != me) {
            let to = (sim::net::ip_of(node(other)), 9);
            let _ = socket.send_to(me.as_bytes(), to).await;
        }
        sleep(40.ms()).await;
    }
}

async fn exchange(stream: &mut TcpStream) -> std::io::Result<u8> {
    stream.write_all(&[7; 2_000]).await?;
    stream.read_u8().await
}

/// Asks over one connection as long as it lasts, and over a new one each time, and looks at its clocks.
async fn ask(diary: Diary) {
    let mut old: Option<TcpStream> = None;
    loop {
        let fresh = timeout(300.ms(), async { exchange(&mut TcpStream::connect("b:7").await?).await }).await;
        note(&diary, &format!("a new connection says {fresh:?}"));
        let kept = timeout(300.ms(), async {
            if old.is_none() {
                old = Some(TcpStream::connect("b:7").await?);
            }
            exchange(old.as_mut().unwrap()).await
        });
        let kept = kept.await;
        note(&diary, &format!("the old one says {kept:?}"));
        if !matches!(kept, Ok(Ok(_))) {
            old = None;
        }
        note(&diary, &format!("{:?} {:?}", Instant::now(), wall_clock().duration_since(SystemTime::UNIX_EPOCH)));
        sleep(30.ms()).await;
    }
}

async fn live_through(fault: Fault, diary: Diary) {
    for name in NAMES {
        let diary = diary.clone();
        node(name).zone(if name < "c" { "x" } else { "y" }).start(move || {
            let diary = diary.clone();
            async move {
                sim::spawn(gossip(name, diary.clone()));
                if name == "a" {
                    ask(diary).await;
                } else if name == "e" {
                    loop {
                        note(&diary, &format!("{:?}", wall_clock()));
                        sleep(100.ms()).await;
                    }
                }
                serve(b"1").await
            }
        });
    }
    node("b").build("v2", || serve(b"2"));
    node("e").clock().step_forward(1.secs());
    dns::set_record("b", node("c"));
    dns::set_record("b", node("b"));
    faults().at(500.ms(), fault);
    sleep(2.secs()).await;
}

/// What a system did in 2 seconds with a fault in the middle, muted or not, and what became of the fault.
fn diary_of(fault: &Fault, muted: bool) -> (String, sim::fault::FaultReport) {
    let diary = Diary::default();
    let simulation = match muted {
        true => sim::simulation(1).mute_fault(&fault.kind),
        false => sim::simulation(1),
    };
    let report = simulation.run(|| live_through(fault.clone(), diary.clone()));
    assert!(report.passed(), "{fault}: {}", report.message);
    let fate = report.faults[0].clone();
    (diary.take(), fate)
}

#[test]
fn every_fault_changes_what_programs_see_and_its_meter_says_so() {
    let mut problems = Vec::new();
    for fault in examples() {
        let ((with, fate), (without, muted)) = (diary_of(&fault, false), diary_of(&fault, true));
        let bites = with != without;
        let metered = !fate.fired_ns.is_empty() && fate.observed > 0;
        let idle = !muted.fired_ns.is_empty() && muted.observed == 0;
        if !(bites && metered && idle) {
            problems.push(format!(
                "{fault}: bites {bites}, fired {}, observed {}, muted {}",
                fate.fired_ns.len(),
                fate.observed,
                muted.observed
            ));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_kind_of_fault_is_left_out() {
    let report = sim::simulation(1).run(|| async {
        let shown: BTreeSet<String> = examples().into_iter().map(|fault| fault.kind).collect();
        let known: BTreeSet<String> = fault::kinds().into_iter().map(str::to_string).collect();
        let left_out: Vec<&String> = known.difference(&shown).filter(|kind| !kind.starts_with("disk.")).collect();
        assert!(left_out.is_empty(), "no example of {left_out:?}");
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn a_swarm_strikes_in_some_runs_and_not_in_others_and_is_told_kind_by_kind() {
    let mut kinds = BTreeSet::new();
    let mut counts = BTreeSet::new();
    for seed in 0..20 {
        let report = sim::simulation(seed).run(|| async {
            for name in NAMES {
                node(name).start(|| serve(b"1"));
            }
            faults().swarm(Swarm::on("?").window(0.secs()..20.secs()));
            sleep(20.secs()).await;
        });
        assert!(report.passed(), "{}", report.message);
        let fired = report.faults.iter().filter(|fault| !fault.fired_ns.is_empty());
        let fired: BTreeSet<String> = fired.map(|fault| fault.kind.clone()).collect();
        counts.insert(fired.len());
        kinds.extend(fired);
    }
    assert!(kinds.len() > 15, "twenty seeds draw most kinds: {kinds:?}");
    assert!(counts.len() > 3, "runs differ in how many: {counts:?}");
}

#[test]
fn a_budget_makes_reboots_of_kills_that_would_leave_no_quorum_and_says_so() {
    let report = sim::simulation(1).run(|| async {
        for name in ["a", "b", "c"] {
            node(name).start(|| serve(b"1"));
        }
        faults()
            .budget(Budget::majority(&["?"]))
            .at(1.secs(), crash("a"))
            .at(2.secs(), power_loss("b"))
            .at(3.secs(), crash("c").lasting(1.secs()));
        sleep(2.secs() + 1.ms()).await;
        assert!(!node("a").is_up() && node("b").is_up());
        sleep(5.secs()).await;
        assert!(node("b").is_up() && node("c").is_up());
    });
    assert!(report.passed(), "{}", report.message);
    assert_eq!(report.faults.iter().map(|fault| fault.downgraded).collect::<Vec<_>>(), [0, 1, 1]);
    assert!(report.faults[1].to_string().contains("downgraded 1 times"), "{}", report.faults[1]);
}

async fn answers(from: &str, to: &'static str) -> bool {
    let asked = async move { exchange(&mut TcpStream::connect((to, 7)).await?).await };
    let answer = node(from).spawn(timeout(1.secs(), asked)).await.unwrap();
    answer.is_ok_and(|answer| answer.is_ok())
}

#[test]
fn a_budget_that_keeps_a_quorum_together_undoes_the_cut_that_would_leave_none() {
    let report = sim::simulation(1).run(|| async {
        for name in ["a", "b", "c"] {
            node(name).start(|| serve(b"1"));
        }
        faults()
            .budget(Budget::majority(&["?"]).connected())
            .at(1.secs(), isolate_fault("a").lasting(10.secs()))
            .at(2.secs(), link_fault("b", "c", Mode::Jam).lasting(4.secs()))
            .at(3.secs(), crash("b"))
            .at(12.secs(), link_fault("b", "c", Mode::Jam).lasting(1.secs()));
        sleep(4.secs()).await;
        assert!(node("b").is_up(), "a reboot was made of its crash");
        sleep(1.secs()).await;
        assert!(answers("b", "c").await, "the jam was undone");
        assert!(!answers("b", "a").await, "the first cut is on");
        sleep(10.secs()).await;
    });
    assert!(report.passed(), "{}", report.message);
    assert_eq!(report.faults.iter().map(|fault| fault.downgraded).collect::<Vec<_>>(), [0, 1, 1, 0]);
}

#[test]
fn after_healing_everything_works_and_no_fault_comes_any_more() {
    let report = sim::simulation(3).run(|| async {
        let diary = Diary::default();
        for name in NAMES {
            let diary = diary.clone();
            node(name).start(move || gossip(name, diary.clone()));
        }
        let often = || Rhythm::poisson(200.ms());
        faults()
            .every(often(), crash("?").lasting(1.mins()))
            .every(often(), pause("?").lasting(1.mins()).may_miss())
            .every(often(), clock_step("?", 5_000_000_000))
            .every(often(), shape_fault(Shape::Halves, &["all:?"]).lasting(1.mins()));
        sleep(5.secs()).await;
        sim::heal();
        diary.borrow_mut().clear();
        sim::liveness(2.secs())
            .until(async || {
                let heard = diary.borrow();
                let pairs = NAMES.iter().flat_map(|a| NAMES.iter().map(move |b| (a, b))).filter(|(a, b)| a != b);
                let missing: Vec<String> =
                    pairs.map(|(a, b)| format!("{a} hears {b}")).filter(|pair| !heard.contains(pair)).collect();
                if missing.is_empty() { Ok(()) } else { Err(format!("not yet: {}", missing.join(", "))) }
            })
            .await;
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn only_the_core_is_healed_and_the_rest_stays_as_it_is() {
    let report = sim::simulation(5).run(|| async {
        let group = sim::nodes("n", 5).start(|_| serve(b"1"));
        faults().at(1.secs(), shape_fault(Shape::IsolateOne, &["all:n-*"]).lasting(60.mins()));
        for member in group.iter() {
            faults().at(2.secs(), crash(&member.name()).lasting(60.mins()));
        }
        sleep(3.secs()).await;
        let core = sim::heal_core(&group);
        assert_eq!(core.iter().count(), 3);
        sleep(1.mins()).await;
        for member in group.iter() {
            assert_eq!(member.is_up(), core.iter().any(|node| node == member), "{}", member.name());
        }
        let members: Vec<String> = core.iter().map(sim::Node::name).collect();
        let (from, to) = (members[0].clone(), members[1].clone());
        let asked = node(&from).spawn(async move { TcpStream::connect((to, 7)).await.is_ok() });
        assert!(asked.await.unwrap(), "the links of the core are whole");
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn a_system_that_does_not_converge_is_stuck_unless_it_has_an_excuse() {
    let run = |excuse: Option<&'static str>| {
        sim::simulation(1).run(move || async move {
            sim::heal();
            let never = async || Err::<(), _>("still two leaders");
            sim::liveness(1.secs()).unless(move || excuse.map(str::to_string)).until(never).await;
        })
    };
    assert!(run(Some("both disks are full")).passed());
    let report = run(None);
    assert_eq!(report.outcome, Outcome::Stuck);
    assert!(report.message.contains("still two leaders"), "{}", report.message);
}

#[test]
fn whoever_has_a_role_is_struck_when_the_fault_fires() {
    let report = sim::simulation(1).run(|| async {
        for name in ["a", "b"] {
            node(name).start(|| serve(b"1"));
        }
        let leader = Rc::new(RefCell::new("a"));
        let asked = leader.clone();
        fault::role("leader", move || Some(node(&asked.borrow())));
        faults().at(2.secs(), crash("@leader"));
        sleep(1.secs()).await;
        *leader.borrow_mut() = "b";
        sleep(2.secs()).await;
        assert!(node("a").is_up() && !node("b").is_up());
    });
    assert!(report.passed(), "{}", report.message);
}

/// When faults of a rhythm struck.
fn times(rhythm: Rhythm) -> Vec<Duration> {
    let report = sim::simulation(4).time_limit(120.mins()).run(move || async move {
        node("a").start(|| serve(b"1"));
        faults().every(rhythm.clone(), clock_step("a", 1));
        sleep(100.secs()).await;
    });
    report.faults[0].fired_ns.iter().map(|ns| Duration::from_nanos(*ns)).collect()
}

#[test]
fn rhythms_keep_their_time() {
    let poisson = times(Rhythm::poisson(1.secs()));
    assert!((60..140).contains(&poisson.len()), "about one a second: {}", poisson.len());
    let window = times(Rhythm::poisson(1.secs()).window(20.secs()..30.secs()));
    assert!(window.iter().all(|at| (20.secs()..30.secs()).contains(at)) && !window.is_empty(), "{window:?}");
    assert_eq!(times(Rhythm::poisson(1.secs()).times(3)).len(), 3);
    let report = sim::simulation(4).run(|| async {
        node("a").start(|| serve(b"1"));
        node("b").start(|| serve(b"1"));
        faults().every(Rhythm::flip_flop(10.secs()), partition_fault("a", "b"));
        sleep(95.secs()).await;
    });
    let at: Vec<u64> = report.faults[0].fired_ns.iter().map(|ns| ns / 1_000_000_000).collect();
    assert_eq!(at, [10, 30, 50, 70, 90]);
}

#[test]
fn a_swizzle_begins_one_after_another_and_ends_in_another_order() {
    let report = sim::simulation(9).run(|| async {
        let plan = sim::swizzle(&NAMES, 10.secs()..20.secs(), isolate_fault);
        let spans: Vec<(Duration, Duration)> = plan
            .faults
            .iter()
            .map(|fault| match fault.when {
                fault::When::At(at) => (at.0, at.0 + fault.lasting.unwrap().0),
                _ => unreachable!("a swizzle is at times"),
            })
            .collect();
        assert!(spans.iter().all(|(from, to)| *from >= 10.secs() && *to <= 20.secs()));
        let ranks = |key: fn(&(Duration, Duration)) -> Duration| {
            let mut order: Vec<usize> = (0..spans.len()).collect();
            order.sort_by_key(|place| key(&spans[*place]));
            order
        };
        assert_ne!(ranks(|span| span.0), ranks(|span| span.1), "another order");
    });
    assert!(report.passed(), "{}", report.message);
}

#[test]
fn what_struck_is_a_plan_that_strikes_the_same_way_again() {
    let run = |plan: Option<Plan>| {
        sim::simulation(2).run(move || async move {
            for name in NAMES {
                node(name).start(|| serve(b"1"));
            }
            match plan {
                Some(plan) => faults().plan(plan),
                None => faults().swarm(Swarm::on("?").kinds("node.*").window(0.secs()..30.secs())),
            };
            sleep(30.secs()).await;
            sim::fail(Outcome::Incorrect, "so that it is told");
        })
    };
    let first = run(None);
    assert!(!first.struck.is_empty());
    let again = run(Some(Plan::from_json(&first.struck.to_json()).unwrap()));
    assert_eq!(again.struck, first.struck);
}
