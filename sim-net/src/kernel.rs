//! The device: sockets of every node, what is on the wire, and the clock work that moves it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use sim_core::choice::Draws;
use sim_core::device::{self, Device, DeviceId, Down, Process};
use sim_core::{NodeId, Ratio};
use slab::Slab;

use crate::address::Addresses;
use crate::capture::Capture;
use crate::dns::Dns;
use crate::fault::Lasting;
use crate::link::{Held, Links, met};
use crate::ports::Ports;
use crate::rule::Rules;
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
    /// How likely the bytes of a write to a stream travel in two segments; of a large write only the first part is taken.
    pub split_probability: Ratio,
}

impl Default for Options {
    /// 256 KiB, 128 connections, 208 KiB: what Linux has, the window being smaller than its largest. One write in sixteen
    /// is split.
    fn default() -> Self {
        Options { window: 256 * 1024, backlog: 128, udp_buffer: 212_992, split_probability: Ratio::new(1, 16) }
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
    pub(crate) listeners: Ports<Listener>,
    pub(crate) datagram_ports: Ports<usize>,
    /// The own port and the peer of every connection that was opened from here; when it was closed from here, until when
    /// no other may have them (TIME-WAIT).
    pub(crate) outgoing: BTreeMap<(u16, SocketAddr), Option<u64>>,
    /// Unix sockets by path; those that nobody listens on any more stay until they are unlinked.
    pub(crate) paths: BTreeMap<String, Option<Listener>>,
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
    /// The only address it receives from.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) error: Option<io::ErrorKind>,
    pub(crate) broadcast: bool,
    /// What it sends to a group reaches its own node.
    pub(crate) loops: bool,
    pub(crate) groups: Vec<std::net::IpAddr>,
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
    /// It is the news that nobody listens at `from` (ICMP, port unreachable).
    pub(crate) unreachable: bool,
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
    /// Conditions of faults.
    pub(crate) lasting: Lasting,
    pub(crate) shapes: Option<Box<Draws>>,
    pub(crate) addresses: Addresses,
    pub(crate) dns: Dns,
    pub(crate) rules: Rules,
    pub(crate) capture: Option<Capture>,
    /// The UDP sockets that joined a multicast group.
    pub(crate) members: BTreeMap<std::net::IpAddr, Vec<usize>>,
    pub(crate) keepalives: Slab<crate::tcp::Watch>,
    /// To be woken once the kernel is no longer borrowed.
    pub(crate) wakes: Vec<Waker>,
    /// Buffers to be used again.
    pub(crate) buffers: Vec<Vec<u8>>,
}

/// What a time asked for is about, in the three low bits of a token.
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
    /// A connection is probed.
    Keepalive(u32),
}

impl Due {
    fn token(self) -> u32 {
        let (value, tag) = match self {
            Due::Segment(end) => (end, 0),
            Due::Window(end) => (end, 1),
            Due::Handshake(connection) => (connection, 2),
            Due::Datagram(slot) => (slot, 3),
            Due::Keepalive(slot) => (slot, 4),
        };
        (value << 3) | tag
    }

    fn from_token(token: u32) -> Self {
        let value = token >> 3;
        match token & 7 {
            0 => Due::Segment(value),
            1 => Due::Window(value),
            2 => Due::Handshake(value),
            3 => Due::Datagram(value),
            _ => Due::Keepalive(value),
        }
    }
}

impl Host {
    /// Whether a port is in use towards a peer, or was until a moment ago.
    pub(crate) fn holds(&mut self, key: (u16, SocketAddr), now: u64) -> bool {
        match self.outgoing.get(&key) {
            Some(Some(until)) if *until <= now => {
                self.outgoing.remove(&key);
                false
            }
            found => found.is_some(),
        }
    }

    /// Whether a connection was opened from a port and is still there.
    pub(crate) fn connects_from(&self, port: u16) -> bool {
        const LEAST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);
        let of_port = self.outgoing.range((port, LEAST)..).take_while(|((p, _), _)| *p == port);
        of_port.into_iter().any(|(_, until)| until.is_none())
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
        let (cut, to) = (link.state().cut, link.to);
        let blocked = met(cut);
        link.counts.lost += u64::from(blocked);
        blocked || self.host(to).dark
    }

    /// Lets go what jams held that are over.
    pub(crate) fn release_held(&mut self) {
        let now = device::now();
        for (link, mut held) in self.links.take_released() {
            self.links.get(link).mix(&mut held);
            for (place, held) in held.into_iter().enumerate() {
                match held {
                    Held::Stream(end) => self.segments_freed(End::from_number(end)),
                    Held::Datagram(slot) => self.at(now + place as u64, Due::Datagram(slot)),
                }
            }
        }
    }

    /// A port for a socket of `node` that did not ask for one.
    pub(crate) fn ephemeral_port(&mut self, node: NodeId, taken: impl Fn(&mut Host, u16) -> bool) -> io::Result<u16> {
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
        taken: impl Fn(&Host, SocketAddr) -> bool,
    ) -> io::Result<SocketAddr> {
        if !self.addresses.is_own(node, address.ip()) && !address.ip().is_multicast() {
            let message = format!("{} is no address of node {}", address.ip(), crate::link::name(node));
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
        }
        if address.port() == 0 {
            let ip = address.ip();
            address.set_port(self.ephemeral_port(node, |host, port| taken(host, SocketAddr::new(ip, port)))?);
        } else if taken(self.host(node), address) {
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
            Due::Keepalive(slot) => self.keepalive_due(slot),
        }
    }
}

/// Adds a waker to those that wait, unless it is among them.
pub(crate) fn wait(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|waiting| waiting.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

impl Device for Net {
    fn node_down(&self, node: NodeId, how: Down) {
        self.act(|kernel| {
            kernel.close_sockets_of(node, how);
            let host = kernel.host(node);
            host.listeners.clear();
            host.datagram_ports.clear();
            host.paths.values_mut().for_each(|listener| *listener = None);
            host.dark = how == Down::PowerLoss;
            kernel.close_datagrams_of(node);
        });
    }

    fn node_up(&self, node: NodeId) {
        self.act(|kernel| kernel.host(node).dark = false);
    }

    fn node_copied(&self, node: NodeId, copy: NodeId) {
        self.act(|kernel| kernel.name_moves(node, copy));
    }

    fn severs(&self, from: NodeId, to: NodeId) -> bool {
        self.act(|kernel| kernel.links.conditions.on(from, to).severs())
    }

    fn heal(&self, nodes: Option<&[NodeId]>) {
        self.act(|kernel| {
            kernel.links.conditions.heal(nodes);
            kernel.dns.heal();
            kernel.release_held();
        });
    }

    fn unlink(&self, node: NodeId, path: &str) -> bool {
        self.act(|kernel| kernel.host(node).paths.remove(path).is_some())
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
        let wakes = !kernel.wakes.is_empty();
        drop(kernel);
        if wakes {
            self.wake();
        }
        result
    }

    fn wake(&self) {
        let mut kernel = self.0.borrow_mut();
        if kernel.wakes.len() == 1
            && let Some(only) = kernel.wakes.pop()
        {
            drop(kernel);
            return only.wake();
        }
        let mut wakes = std::mem::take(&mut kernel.wakes);
        drop(kernel);
        wakes.drain(..).for_each(Waker::wake);
        self.0.borrow_mut().wakes = wakes;
    }
}

/// Does something with the kernel of the current simulation. `what` is the public function, for the message outside one.
#[track_caller]
#[inline]
pub(crate) fn act<R>(what: &str, f: impl FnOnce(&mut Kernel) -> R) -> R {
    device::with(what, |net: &Net, id| {
        net.act(|kernel| {
            kernel.id = Some(id);
            f(kernel)
        })
    })
}

/// As [`act`], for destructors: does nothing when the simulation is over.
pub(crate) fn act_if_running(f: impl FnOnce(&mut Kernel)) {
    device::with_existing(|net: &Net| net.act(f));
}
