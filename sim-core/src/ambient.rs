//! What the operating system would tell the program that is running: for whoever answers in its place.
//!
//! `sim-host` interposes the C library's clocks and entropy and asks here. Every function gives `None` or `false` outside
//! a simulation, also on a thread that is just being torn down.

use std::rc::Rc;

use crate::choice::Stream;
use crate::life::NodeState;
use crate::node::NodeId;
use crate::outcome::{Failure, Outcome, Report};
use crate::world::{self, Reading, World};

/// Whether a simulation runs on this thread.
#[inline]
pub fn is_simulated() -> bool {
    world::try_with(|_| ()).is_some()
}

/// The machines of a simulation were booted up to so many nanoseconds before it: twelve days.
const LONGEST_UPTIME: u64 = 1 << 50;

/// The monotonic clock of the current node, in nanoseconds since its machine was booted, at a time before the simulation
/// that the seed decides. Programs that seed themselves from this clock are random, as they expect to be.
#[inline]
pub fn monotonic_ns() -> Option<u64> {
    world::try_with(|world| match world.read_again() {
        Some(shown) => shown,
        None => read_monotonic(world),
    })
}

#[inline(never)]
fn read_monotonic(world: &World) -> u64 {
    read_clock(world, |world, node, state| {
        let draw = || world.choices.stream(Stream::CLOCK, u64::from(node.0)).range(0..LONGEST_UPTIME);
        let shown = *state.uptime.get_or_insert_with(draw) + state.clock.local(world.now());
        world.reading.set(Reading { node, at: world.now(), shown });
        shown
    })
}

/// The wall clock of the current node, in nanoseconds since the Unix epoch.
pub fn wall_ns() -> Option<u64> {
    world::try_with(|world| read_clock(world, |world, _, state| state.clock.wall(world.now())))
}

/// Reads a clock of the current node. Whoever asks while the core itself looks at nodes (an allocator with a clock, in the
/// middle of an allocation of ours) gets the true time: an answer that never panics.
fn read_clock(world: &World, read: impl FnOnce(&World, NodeId, &mut NodeState) -> u64) -> u64 {
    let node = world.current_node();
    let Ok(mut nodes) = world.nodes.try_borrow_mut() else { return world.now() };
    let state = &mut nodes[node];
    world.pay_for_read();
    let shown = read(world, node, state);
    if !state.clock.unseen.is_empty() {
        drop(nodes);
        world.see_clock();
    }
    shown
}

/// Fills `buffer` with the randomness that the operating system of the current node gives.
pub fn entropy(buffer: &mut [u8]) -> bool {
    let filled = world::try_with(|world| {
        let node = world.current_node();
        let fresh = || Box::new(world.choices.stream(Stream::ENTROPY, u64::from(node.0)));
        match world.nodes.try_borrow_mut() {
            Ok(mut nodes) => nodes[node].entropy.get_or_insert_with(fresh).fill(buffer),
            // As with clocks: asked in the middle of our own work, by an allocator perhaps.
            Err(_) => world.choices.stream(Stream::ENTROPY, world.now() ^ u64::MAX).fill(buffer),
        }
    });
    filled.is_some()
}

/// The process id of the current node: the same in every run.
pub fn process_id() -> Option<u32> {
    world::try_with(|world| 1_000 + world.current_node().0)
}

/// Where the program is, in words: the node and the task.
pub fn whereabouts() -> Option<String> {
    world::try_with(|world| {
        let running = world.running.get();
        let name = world.nodes.borrow()[running.node].name.clone();
        let task = running.task.map_or_else(|| "no task".to_string(), |task| world.tasks.borrow().describe(task));
        format!("node {name}, in {task}")
    })
}

/// Fails the current run as leaked, and gives its report as it stands, for a process that ends here.
pub fn leak(message: String) -> Option<Report> {
    world::try_with(|world| {
        world.fail(Failure::new(Outcome::Leaked, message));
        crate::sim::report(world)
    })
}

/// The simulation that runs on this thread, on its way to another one. While a thread has it, no other thread with the
/// same simulation may run: whoever sends it answers for that.
pub struct Lent(Rc<World>);

/// Takes the simulation of this thread to another thread. `None` outside a simulation.
pub fn lend() -> Option<Lent> {
    world::current().map(Lent)
}

impl Lent {
    /// Makes it the simulation of this thread, until [`give_back`].
    pub fn adopt(self) {
        drop(world::set_current(Some(self.0)));
    }
}

/// Ends what [`Lent::adopt`] began.
pub fn give_back() {
    drop(world::set_current(None));
}

/// Says whether what runs from now on is a program that was not written for the simulation. A panic in one is noticed
/// even if the program catches it. Returns what was before.
#[inline]
pub fn set_hosting(hosting: bool) -> bool {
    world::try_with(|world| world.hosting.replace(hosting)).unwrap_or(false)
}

/// Whether the node of the running code is alive; false also outside a simulation.
#[inline]
pub fn is_alive() -> bool {
    world::try_with(|world| world.acts() && !world.finished.get()).unwrap_or(false)
}

/// Adds what a program printed to the log of a recorded run. It moves no digest.
pub fn remark(kind: &str, text: String) {
    world::try_with(|world| {
        let node = world.nodes.borrow()[world.current_node()].name.to_string();
        world.log.borrow_mut().remark(world.now(), node, kind, text);
    });
}
