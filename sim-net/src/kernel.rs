//! The device: sockets of every node, what is on the wire, and the clock work that moves it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use sim_core::NodeId;
use sim_core::device::{self, Device, DeviceId, Down, Process};
use slab::Slab;

use crate::address::is_own;
use crate::fault::Lasting;
use crate::link::Links;
use crate::tcp::{Connections, End};

/// The options of the network that are not those of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Bytes that one end of a stream may have on the wire and unread at the peer before writes wait.
    pub window: usize,
    /// Connections that may wait to be accepted; further ones are dropped and tried again, as Linux does.
    pub backlog: usize,
    /// Bytes a UDP socket keeps unread; further datagrams are dropped.
    pub udp_buffer: usize,
}

impl Default for Options {
    /// 256 KiB, 128 connections, 208 KiB: what Linux has, the window being smaller than its largest.
    fn default() -> Self {
        Options { window: 256 * 1024, backlog: 128, udp_buffer: 212_992 }
    }
}

/// The options in force.
#[track_caller]
pub fn options() -> Options {
    act("net::options", |kernel| kernel.options.clone())
}

/// Changes the options from now on.
#[track_caller]
pub fn set_options(options: Options) {
    act("net::set_options", |kernel| kernel.options = options);
}

/// How many TCP connections some kernel still knows, opening and closing ones included.
#[track_caller]
pub fn open_connections() -> usize {
    act("net::open_connections", |kernel| kernel.connections.slab.len())
}

/// The network as a device of the simulation.
#[derive(Default)]
pub struct Net(RefCell<Kernel>);

/// What a node's kernel knows of its sockets.
#[derive(Default)]
pub(crate) struct Host {
    /// The machine has no power.
    pub(crate) dark: bool,
    pub(crate) listeners: BTreeMap<u16, Listener>,
    pub(crate) datagram_ports: BTreeMap<u16, usize>,
    /// The own port and the peer of every connection that was opened from here and is not forgotten.
    pub(crate) outgoing: BTreeSet<(u16, SocketAddr)>,
    next_port: u16,
}

/// A listening socket.
pub(crate) struct Listener {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) ready: VecDeque<u32>,
    /// Several tasks may wait to accept.
    pub(crate) wakers: Vec<Waker>,
}

/// A UDP socket.
pub(crate) struct DatagramSocket {
    pub(crate) process: Process,
    pub(crate) local: SocketAddr,
    pub(crate) inbox: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(crate) inbox_bytes: usize,
    /// Several tasks may wait to receive.
    pub(crate) wakers: Vec<Waker>,
}

/// A datagram on the wire.
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) link: crate::link::LinkId,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Kernel {
    pub(crate) options: Options,
    pub(crate) id: Option<DeviceId>,
    pub(crate) links: Links,
    hosts: Vec<Host>,
    pub(crate) connections: Connections,
    pub(crate) datagram_sockets: Slab<DatagramSocket>,
    pub(crate) datagrams: Slab<Datagram>,
    /// Cuts of faults that last.
    pub(crate) lasting: Lasting,
    /// To be woken once the kernel is no longer borrowed.
    pub(crate) wakes: Vec<Waker>,
    /// Buffers to be used again.
    pub(crate) buffers: Vec<Vec<u8>>,
}

/// What a time asked for is about, in the two low bits of a token.
#[derive(Clone, Copy)]
pub(crate) enum Due {
    /// The first segment on the wire from an end of a connection: `connection << 1 | side`.
    Segment(u32),
    /// The window of an end of a connection opens.
    Window(u32),
    /// A SYN of a connection, or its answer.
    Handshake(u32),
    /// A datagram arrives.
    Datagram(u32),
}

impl Due {
    fn token(self) -> u32 {
        let (value, tag) = match self {
            Due::Segment(end) => (end, 0),
            Due::Window(end) => (end, 1),
            Due::Handshake(connection) => (connection, 2),
            Due::Datagram(slot) => (slot, 3),
        };
        (value << 2) | tag
    }

    fn from_token(token: u32) -> Self {
        let value = token >> 2;
        match token & 3 {
            0 => Due::Segment(value),
            1 => Due::Window(value),
            2 => Due::Handshake(value),
            _ => Due::Datagram(value),
        }
    }
}

const FIRST_EPHEMERAL_PORT: u16 = 32_768;
const LAST_EPHEMERAL_PORT: u16 = 60_999;

impl Kernel {
    pub(crate) fn host(&mut self, node: NodeId) -> &mut Host {
        let place = node.0 as usize;
        if self.hosts.len() <= place {
            self.hosts.resize_with(place + 1, Host::default);
        }
        &mut self.hosts[place]
    }

    #[inline]
    pub(crate) fn at(&self, when: u64, due: Due) {
        if let Some(id) = self.id {
            device::wake_at(id, when, due.token());
        }
    }

    pub(crate) fn waiting(&self, what: &'static str, token: u64) {
        if let Some(id) = self.id {
            device::waiting(id, what, token);
        }
    }

    /// Says what keeps a packet from arriving over a link, if anything does.
    #[inline]
    pub(crate) fn is_blocked(&mut self, link: crate::link::LinkId) -> bool {
        let link = self.links.get(link);
        let (cut, to) = (link.is_cut(), link.to);
        cut || self.host(to).dark
    }

    /// A port for a socket of `node` that did not ask for one.
    pub(crate) fn ephemeral_port(&mut self, node: NodeId, taken: impl Fn(&Host, u16) -> bool) -> io::Result<u16> {
        let host = self.host(node);
        for _ in FIRST_EPHEMERAL_PORT..=LAST_EPHEMERAL_PORT {
            let port = host.next_port.max(FIRST_EPHEMERAL_PORT);
            host.next_port = if port == LAST_EPHEMERAL_PORT { FIRST_EPHEMERAL_PORT } else { port + 1 };
            if !taken(host, port) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// Checks an address to bind to and fills in its port.
    pub(crate) fn bind_address(
        &mut self,
        node: NodeId,
        mut address: SocketAddr,
        taken: impl Fn(&Host, u16) -> bool,
    ) -> io::Result<SocketAddr> {
        if !is_own(node, address.ip()) {
            let message = format!("{} is no address of node {}", address.ip(), crate::link::name(node));
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
        }
        if address.port() == 0 {
            address.set_port(self.ephemeral_port(node, taken)?);
        } else if taken(self.host(node), address.port()) {
            let message = format!("port {} of node {} is in use", address.port(), crate::link::name(node));
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        Ok(address)
    }

    fn due(&mut self, token: u32) {
        match Due::from_token(token) {
            Due::Segment(end) => self.segment_due(End::from_number(end)),
            Due::Window(end) => self.window_due(End::from_number(end)),
            Due::Handshake(connection) => self.handshake_due(connection),
            Due::Datagram(slot) => self.datagram_due(slot),
        }
    }
}

/// Adds a waker to those that wait, unless it is among them.
pub(crate) fn wait(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|waiting| waiting.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

/// Whether a socket bound to `bound` receives what is sent to `ip`.
pub(crate) fn receives(bound: IpAddr, ip: IpAddr) -> bool {
    bound.is_unspecified() || bound == ip
}

impl Device for Net {
    fn node_down(&self, node: NodeId, how: Down) {
        self.act(|kernel| {
            kernel.close_sockets_of(node, how);
            let host = kernel.host(node);
            host.listeners.clear();
            host.datagram_ports.clear();
            host.dark = how == Down::PowerLoss;
            kernel.datagram_sockets.retain(|_, socket| socket.process.node != node);
        });
    }

    fn node_up(&self, node: NodeId) {
        self.act(|kernel| kernel.host(node).dark = false);
    }

    fn due(&self, token: u32) {
        self.act(|kernel| kernel.due(token));
    }

    fn describe_wait(&self, what: &'static str, token: u64) -> String {
        self.act(|kernel| kernel.describe_wait(what, token))
    }
}

impl Net {
    /// Does something with the kernel, and wakes whom it says once it is free again.
    #[inline]
    fn act<R>(&self, f: impl FnOnce(&mut Kernel) -> R) -> R {
        let mut kernel = self.0.borrow_mut();
        let result = f(&mut kernel);
        if kernel.wakes.is_empty() {
            return result;
        }
        let mut wakes = std::mem::take(&mut kernel.wakes);
        drop(kernel);
        wakes.drain(..).for_each(Waker::wake);
        self.0.borrow_mut().wakes = wakes;
        result
    }
}

/// Does something with the kernel of the current simulation. `what` is the public function, for the message outside one.
#[track_caller]
#[inline]
pub(crate) fn act<R>(what: &str, f: impl FnOnce(&mut Kernel) -> R) -> R {
    let (net, id) = device::device::<Net>(what);
    net.act(|kernel| {
        kernel.id = Some(id);
        f(kernel)
    })
}

/// As [`act`], for destructors: does nothing when the simulation is over.
pub(crate) fn act_if_running(f: impl FnOnce(&mut Kernel)) {
    if let Some((net, _)) = device::existing::<Net>() {
        net.act(f);
    }
}
