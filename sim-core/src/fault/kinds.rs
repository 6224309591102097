//! The kinds of faults that the core itself brings: those of processes and of clocks.

use std::ops::Range;
use std::time::Duration;

use super::engine::{FaultKind, observed};
use super::plan::{Fault, FaultId};
use super::swarm::{away, one, span};
use crate::clock::Clock;
use crate::device::Down;
use crate::node::NodeId;
use crate::units::Span;
use crate::world::{self, World};

/// Kills the process of a node; with [`lasting`](Fault::lasting), it restarts after that time.
pub fn crash(node: &str) -> Fault {
    Fault::new("node.crash", &[node])
}

/// Cuts the power of a node; with [`lasting`](Fault::lasting), it restarts after that time.
pub fn power_loss(node: &str) -> Fault {
    Fault::new("node.power_loss", &[node])
}

/// Freezes the tasks of a node; with [`lasting`](Fault::lasting), they go on after that time.
pub fn pause(node: &str) -> Fault {
    Fault::new("node.pause", &[node])
}

/// Freezes the tasks of a node and its monotonic clock with them, as a virtual machine that is suspended: when it resumes
/// after [`lasting`](Fault::lasting), no timer has come closer, and the wall clock has jumped (`clock_gettime(2)`:
/// `CLOCK_MONOTONIC` does not count the time that a system is suspended).
pub fn suspend(node: &str) -> Fault {
    Fault::new("node.suspend", &[node])
}

/// Lets every poll of a node's tasks take so much time, as on a machine that swaps or has a noisy neighbour; fast again
/// after [`lasting`](Fault::lasting).
pub fn slow_cpu(node: &str, poll_cost: Duration) -> Fault {
    Fault::new("node.slow", &[node]).arg("poll_cost", Span(poll_cost).to_string())
}

/// Kills the process of a node in the middle of its next operation on a device, as the kernel does that runs out of
/// memory; with [`lasting`](Fault::lasting), it restarts that long after the strike.
pub fn out_of_memory(node: &str) -> Fault {
    Fault::new("node.out_of_memory", &[node])
}

/// Asks a process to end (see [`stop_requested`](crate::stop_requested)), and kills it when it has not within `grace`;
/// with [`lasting`](Fault::lasting), it restarts after that time.
pub fn stop(node: &str, grace: Duration) -> Fault {
    Fault::new("node.stop", &[node]).arg("grace", Span(grace).to_string())
}

/// Restarts a node with another [build](crate::Node::build) of its program; with [`lasting`](Fault::lasting), again with
/// the one before after that time.
pub fn upgrade(node: &str, version: &str) -> Fault {
    Fault::new("node.upgrade", &[node]).arg("version", version)
}

/// Starts a second copy of a node that goes on living: see [`Node::fail_over`](crate::Node::fail_over).
pub fn fail_over(node: &str) -> Fault {
    Fault::new("node.fail_over", &[node])
}

/// Steps the wall clock of a node by so many nanoseconds, back when negative.
pub fn clock_step(node: &str, by_ns: i64) -> Fault {
    Fault::new("clock.step", &[node]).arg("by_ns", by_ns)
}

/// Runs the monotonic clock of a node at a rate in parts per million; right again after [`lasting`](Fault::lasting).
pub fn clock_rate(node: &str, ppm: u32) -> Fault {
    Fault::new("clock.rate", &[node]).arg("ppm", ppm)
}

/// Lets the wall clock of a node drift, in parts per million; no further after [`lasting`](Fault::lasting).
pub fn clock_drift(node: &str, ppm: i32) -> Fault {
    Fault::new("clock.drift", &[node]).arg("ppm", ppm)
}

/// [Swings](Clock::sine) the wall clock of a node; steady after [`lasting`](Fault::lasting).
pub fn clock_sine(node: &str, amplitude: Duration, period: Duration) -> Fault {
    wobble("clock.sine", node, "amplitude", amplitude, period)
}

/// Lets the wall clock of a node [jump ahead and back](Clock::strobe); steady after [`lasting`](Fault::lasting).
pub fn clock_strobe(node: &str, ahead: Duration, period: Duration) -> Fault {
    wobble("clock.strobe", node, "ahead", ahead, period)
}

/// Sets the wall clock of a node right, with a step.
pub fn clock_reset(node: &str) -> Fault {
    Fault::new("clock.reset", &[node])
}

fn wobble(kind: &str, node: &str, size: &str, by: Duration, period: Duration) -> Fault {
    Fault::new(kind, &[node]).arg(size, Span(by).to_string()).arg("period", Span(period).to_string())
}

pub(crate) const KINDS: &[FaultKind] = &[
    FaultKind::new("node.crash", |f| go_down(f, Down::Kill))
        .relent(come_up)
        .kills()
        .sample(|draws, among| crash(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("node.power_loss", |f| go_down(f, Down::PowerLoss))
        .relent(come_up)
        .kills()
        .sample(|draws, among| power_loss(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("node.pause", |f| on_node(f, |world, id| world.hold_frozen(id, f)))
        .relent(|f| undo(f, World::let_thaw))
        .sample(|draws, among| pause(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("node.suspend", |f| {
        let stood = on_node(f, |world, id| world.hold_frozen(id, f))?;
        f.only_target()?.clock().run_at(0, f.id);
        Ok(stood)
    })
    .relent(|f| {
        right_clock(f, Clock::end_rate)?;
        undo(f, World::let_thaw)
    })
    .sample(|draws, among| suspend(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("node.slow", |f| {
        let cost = f.span("poll_cost")?;
        on_node(f, |world, id| {
            world.slow_down(id, cost, f.id);
            true
        })
    })
    .relent(|f| undo(f, World::ease))
    .sample(|draws, among| {
        let cost = Duration::from_micros(draws.range(10..5_000));
        slow_cpu(&one(draws, among), cost).lasting(away(draws))
    }),
    FaultKind::new("node.out_of_memory", |f| {
        on_node(f, |world, id| {
            world.exhaust(id, f);
            // It fires when the process dies.
            false
        })
    })
    .relent(|f| undo(f, World::recover))
    .kills()
    .sample(|draws, among| out_of_memory(&one(draws, among)).lasting(away(draws))),
    FaultKind::new("node.stop", |f| {
        let grace = f.span("grace")?;
        on_node(f, |world, id| world.ask_to_stop(id, grace, Some(f)))
    })
    .relent(|f| undo(f, World::end_stop))
    .kills()
    .sample(|draws, among| stop(&one(draws, among), span(draws, SECOND)).lasting(away(draws))),
    FaultKind::new("node.upgrade", |f| {
        let version = f.word("version")?;
        let node = f.only_target()?;
        node.check_build(version)?;
        world::with("faults", |world| world.count_killed(node.id(), f));
        Ok(node.switch_build(version))
    })
    .relent(|f| Ok(f.only_target()?.switch_back())),
    FaultKind::new("node.fail_over", |f| {
        f.only_target()?.check_started()?;
        world::with("faults", |world| world.observe(f.id));
        f.only_target()?.fail_over();
        Ok(true)
    }),
    FaultKind::new("clock.step", |f| {
        let by = f.integer("by_ns")?;
        let size = Duration::from_nanos(by.unsigned_abs());
        on_clock(f, |clock| if by < 0 { clock.step_back(size) } else { clock.step_forward(size) })?;
        Ok(by != 0)
    })
    .sample(|draws, among| {
        // Jepsen's bumps: eleven milliseconds to two hundred seconds, doubling, either way.
        let size = (11_000_000_i64 << draws.below(15)) + draws.below(11_000_000) as i64;
        clock_step(&one(draws, among), if draws.below(2) == 0 { size } else { -size })
    }),
    FaultKind::new("clock.rate", |f| run_at(f, f.integer("ppm")?)).relent(|f| right_clock(f, Clock::end_rate)).sample(
        |draws, among| {
            let ppm = 900_000 + draws.below(200_001) as u32;
            clock_rate(&one(draws, among), ppm).lasting(away(draws))
        },
    ),
    FaultKind::new("clock.drift", |f| {
        let ppm = i32::try_from(f.integer("ppm")?).map_err(|error| format!("fault {}: ppm: {error}", f.kind))?;
        on_clock(f, |clock| clock.drift(ppm, f.id))?;
        Ok(ppm != 0)
    })
    .relent(|f| right_clock(f, Clock::end_drift))
    .sample(|draws, among| {
        let ppm = draws.below(20_001) as i32 - 10_000;
        clock_drift(&one(draws, among), ppm).lasting(away(draws))
    }),
    FaultKind::new("clock.sine", |f| {
        let (amplitude, period) = (f.span("amplitude")?, period(f)?);
        on_clock(f, |clock| clock.swing(amplitude, period, f.id))
    })
    .relent(|f| right_clock(f, Clock::end_wobble))
    .sample(|draws, among| {
        let (amplitude, period) = (span(draws, SECOND), span(draws, SECOND));
        clock_sine(&one(draws, among), amplitude, period * 10 + SECOND.start).lasting(away(draws))
    }),
    FaultKind::new("clock.strobe", |f| {
        let (ahead, period) = (f.span("ahead")?, period(f)?);
        on_clock(f, |clock| clock.jump(ahead, period, f.id))
    })
    .relent(|f| right_clock(f, Clock::end_wobble))
    .sample(|draws, among| {
        // Jepsen's strobes: four milliseconds to four minutes, each for a millisecond to a second.
        let (ahead, period) = (4 << draws.below(16), 1 << draws.below(11));
        let (ahead, period) = (Duration::from_millis(ahead), Duration::from_millis(period));
        clock_strobe(&one(draws, among), ahead, period).lasting(away(draws))
    }),
    FaultKind::new("clock.reset", |f| {
        let wrong = f.only_target()?.clock().is_wrong();
        on_clock(f, Clock::reset)?;
        Ok(wrong)
    })
    .sample(|draws, among| clock_reset(&one(draws, among))),
];

const SECOND: Range<Duration> = Duration::from_millis(10)..Duration::from_secs(1);

fn undo(fault: &Fault, act: fn(&World, NodeId)) -> Result<bool, String> {
    on_node(fault, |world, id| {
        act(world, id);
        true
    })
}

fn period(fault: &Fault) -> Result<Duration, String> {
    let period = fault.span("period")?;
    if period.is_zero() { Err(format!("fault {}: a period of zero", fault.kind)) } else { Ok(period) }
}

fn on_node(fault: &Fault, act: impl Fn(&World, NodeId) -> bool) -> Result<bool, String> {
    let node = fault.only_target()?;
    node.check_started().map_err(|problem| format!("fault {}: {problem}", fault.kind))?;
    Ok(world::with("faults", |world| act(world, node.id())))
}

fn on_clock(fault: &Fault, act: impl Fn(Clock)) -> Result<bool, String> {
    let clock = fault.only_target()?.clock();
    act(clock);
    clock.watch(fault.id);
    Ok(true)
}

fn right_clock(fault: &Fault, end: fn(Clock, FaultId)) -> Result<bool, String> {
    end(fault.only_target()?.clock(), fault.id);
    Ok(true)
}

/// Takes a node down for a fault, and keeps it down for as long as the fault lasts: the opposite is [`let_up`]. Whether that
/// changed anything. For kinds of devices that are more than a crash; one that comes some time after its fault struck is
/// made a reboot where a [`Budget`](super::Budget) cannot spare the node any more.
pub fn take_down(fault: &Fault, node: NodeId, how: Down) -> bool {
    world::with("faults", |world| world.take_down_for(fault, node, how))
}

/// A fault that kept a node down ends; the last one starts it again.
pub fn let_up(node: NodeId) {
    world::with("faults", |world| world.let_up(node));
}

fn go_down(fault: &Fault, how: Down) -> Result<bool, String> {
    on_node(fault, |world, id| {
        world.count_killed(id, fault);
        world.hold_down(id, how, fault.lasting.is_some())
    })
}

fn come_up(fault: &Fault) -> Result<bool, String> {
    undo(fault, World::let_up)
}

fn run_at(fault: &Fault, ppm: i64) -> Result<bool, String> {
    let range = 500_000..=2_000_000;
    let ppm = u32::try_from(ppm).ok().filter(|ppm| range.contains(ppm));
    let ppm = ppm.ok_or_else(|| format!("fault {}: a rate is 500,000 to 2,000,000 ppm", fault.kind))?;
    on_clock(fault, |clock| {
        if clock.run_at(ppm, fault.id) {
            observed(fault.id);
        }
    })
}
