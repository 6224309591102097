//! How a network, a disk or any other device takes part in a simulation without the core knowing it.
//!
//! A device is any type with a [`Default`]. It comes into being when it is first used ([`with`]), hears of nodes that
//! go down and come up, and asks to be called when a time has come ([`wake_at`]). Its operations read the clock
//! ([`now`]), draw choices ([`draws`]), add events ([`emit`]), say what a task waits for ([`waiting`]) and offer
//! interposition points to the fault engine ([`crate::fault::hit`]).

use std::any::{Any, TypeId};
use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::Waker;

use crate::choice::{Draws, Stream};
use crate::event::EventKind;
use crate::node::{Incarnation, NodeId};
use crate::tasks::Wait;
use crate::world::{self, World};

/// How a node went down: what survives differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Down {
    /// The process died and the machine lives: its kernel closes sockets and keeps the page cache.
    Kill,
    /// The machine lost power: memory and every cache are gone, and peers hear nothing.
    PowerLoss,
}

/// What the core tells a device.
pub trait Device: 'static {
    /// A node went down. Its tasks still exist, and are dropped right after.
    fn node_down(&self, node: NodeId, how: Down) {
        let _ = (node, how);
    }

    /// A node is about to start.
    fn node_up(&self, node: NodeId) {
        let _ = node;
    }

    /// The process of a node was asked to end.
    fn node_stopping(&self, node: NodeId) {
        let _ = node;
    }

    /// `copy` is about to start as a second copy of `node`, which goes on.
    fn node_copied(&self, node: NodeId, copy: NodeId) {
        let _ = (node, copy);
    }

    /// Whether a fault keeps what `from` sends from `to`.
    fn severs(&self, from: NodeId, to: NodeId) -> bool {
        let _ = (from, to);
        false
    }

    /// The faults of these nodes, or of all, are over, and so are those between them.
    fn heal(&self, nodes: Option<&[NodeId]>) {
        let _ = nodes;
    }

    /// A file system is asked to remove a file it does not know: one of yours? True when it was, and is gone.
    fn unlink(&self, node: NodeId, path: &str) -> bool {
        let _ = (node, path);
        false
    }

    /// A time asked for by [`wake_at`] has come.
    fn due(&self, token: u32) {
        let _ = token;
    }

    /// Says in words what a task waits for that last called [`waiting`] with these values.
    fn describe_wait(&self, what: &'static str, token: u64) -> String {
        let _ = token;
        what.to_string()
    }
}

/// A device's place in the world; what [`wake_at`] and [`waiting`] need to find it again.
#[derive(Clone, Copy, Debug)]
pub struct DeviceId(pub(crate) u32);

struct Installed {
    id: DeviceId,
    kind: TypeId,
    any: Rc<dyn Any>,
    device: Rc<dyn Device>,
    next: OnceCell<Box<Installed>>,
}

impl Installed {
    #[inline]
    fn is_of<D: Device>(&self) -> Option<&D> {
        if self.kind == TypeId::of::<D>() { self.any.downcast_ref() } else { None }
    }
}

/// All devices, in the order in which they came. None goes before the simulation does, so nothing needs to be borrowed to
/// reach one.
#[derive(Default)]
pub(crate) struct Devices {
    first: OnceCell<Box<Installed>>,
    count: Cell<u32>,
}

impl Devices {
    #[inline]
    fn iter(&self) -> impl Iterator<Item = &Installed> {
        std::iter::successors(self.first.get(), |installed| installed.next.get()).map(|installed| &**installed)
    }

    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&dyn Device> {
        self.iter().nth(id as usize).map(|installed| &*installed.device)
    }

    /// Those that there are now.
    pub(crate) fn all(&self) -> impl Iterator<Item = &dyn Device> {
        self.iter().take(self.count.get() as usize).map(|installed| &*installed.device)
    }

    #[inline]
    fn find<D: Device>(&self) -> Option<(&D, DeviceId)> {
        self.iter().find_map(|installed| Some((installed.is_of()?, installed.id)))
    }

    fn install<D: Device>(&self, device: Rc<D>) {
        let (any, id) = (device.clone(), DeviceId(self.count.get()));
        let new = Box::new(Installed { id, kind: TypeId::of::<D>(), any, device, next: OnceCell::new() });
        let end = self.iter().last().map_or(&self.first, |last| &last.next);
        if end.set(new).is_ok() {
            self.count.set(id.0 + 1);
        }
    }
}

/// Does something with the device of this type in the current simulation, which is made on first use. `what` is the public
/// function that needs it, as a user writes it after `sim::`. The moment at which a process dies that is out of memory.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
#[inline]
pub fn with<D: Device + Default, R>(what: &str, f: impl FnOnce(&D, DeviceId) -> R) -> R {
    world::with(what, |world| {
        if world.exhausted.get() > 0 {
            world.run_out_of_memory();
        }
        let (device, id) = world.devices.find().unwrap_or_else(|| install(world));
        f(device, id)
    })
}

/// Apart, so that what is done at every operation is small.
#[cold]
#[inline(never)]
fn install<D: Device + Default>(world: &World) -> (&D, DeviceId) {
    // Made first: a device may ask for another.
    let device = Rc::new(D::default());
    world.devices.install(device);
    world.devices.find().expect("it was put there")
}

/// As [`with`], if a simulation is running and has used a device of this type.
#[inline]
pub fn with_existing<D: Device, R>(f: impl FnOnce(&D) -> R) -> Option<R> {
    world::try_with(|world| world.devices.find().map(|(device, _)| f(device))).flatten()
}

/// Removes a file of the current node that belongs to another device than its file system: a socket. Whether there was one.
pub fn unlink(path: &str) -> bool {
    world::with("device::unlink", |world| world.devices.all().any(|device| device.unlink(world.current_node(), path)))
}

/// The true time in nanoseconds since the start of the simulation. Devices live in true time; programs must not.
#[inline]
pub fn now() -> u64 {
    world::with("device::now", |world| world.now())
}

/// The wall clock of a node in nanoseconds since 1970, for what its kernel stamps. It may be wrong, and it may go back.
#[inline]
pub fn wall_clock(node: NodeId) -> u64 {
    world::with("device::wall_clock", |world| world.nodes.borrow()[node].clock.wall(world.now()))
}

/// Calls [`Device::due`] with `token` at a true time.
#[inline]
pub fn wake_at(device: DeviceId, at: u64, token: u32) {
    world::with("device::wake_at", |world| {
        world.agenda.borrow_mut().add_device(at.max(world.now()), device.0, token);
    });
}

/// A stream of choices of the current simulation.
pub fn draws(stream: Stream, entity: u64) -> Draws {
    world::with("device::draws", |world| world.choices.stream(stream, entity))
}

/// Adds an event of `node` to the log: `fields` move the digest, `text` is made only for a recorded run.
#[inline]
pub fn emit(node: NodeId, kind: impl Into<EventKind>, fields: &[u64], text: impl FnOnce() -> String) {
    world::with("device::emit", |world| world.emit_at(node, kind, fields, text));
}

/// Says what the current task waits for, just before its poll returns `Pending`.
#[inline]
pub fn waiting(device: DeviceId, what: &'static str, token: u64) {
    world::with("device::waiting", |world| world.waiting.set(Wait::Device { device: device.0, what, token }));
}

/// The process that is running: a node in one of its lives.
#[inline]
pub fn process(what: &str) -> Process {
    world::with(what, |world| {
        let running = world.running.get();
        let incarnation = if running.dead { Incarnation::DEAD } else { world.nodes.borrow()[running.node].incarnation };
        Process { node: running.node, incarnation }
    })
}

/// One life of a node. What a dead one does must reach nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Process {
    /// The node.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

impl Process {
    /// Whether this life goes on, and the simulation with it.
    #[inline]
    pub fn is_alive(self) -> bool {
        world::try_with(|world| {
            !world.finished.get() && world.nodes.borrow()[self.node].incarnation == self.incarnation
        })
        .unwrap_or(false)
    }
}

/// Wakes wakers that were taken out of a device's state, once nothing of it is borrowed.
pub fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
