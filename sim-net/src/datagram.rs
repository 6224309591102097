//! The kernel's half of UDP.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::task::{Poll, Waker};
use std::time::Duration;

use sim_core::choice::nanos;
use sim_core::device::{self, Process, emit};
use sim_core::event::EventKind;
use sim_core::hash::hash_message;
use sim_core::{Node, NodeId};

use crate::address::mapped;
use crate::condition::SMALL;
use crate::kernel::{Datagram, DatagramSocket, Due, Host, Kernel, wait};
use crate::link::{Held, LinkId, met};
use crate::rule::{self, Packet, PacketKind, Verdict};

const DELIVER: EventKind = EventKind::new("udp.deliver");
const LOST: EventKind = EventKind::new("udp.lost");

/// The longest datagram: what fits an IP packet (RFC 768).
const LONGEST: usize = 65_507;

/// Linux's numbers of errors that have no kind of their own.
const EDESTADDRREQ: i32 = 89;
const EMSGSIZE: i32 = 90;
const EAFNOSUPPORT: i32 = 97;

/// What a datagram takes of a socket's buffer: its bytes, and what a kernel keeps beside them.
fn charge(bytes: &[u8]) -> usize {
    bytes.len() + 256
}

fn is_broadcast(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::BROADCAST) || ip == IpAddr::V4(Ipv4Addr::new(10, 255, 255, 255))
}

/// A copy of a datagram, and what befalls it on the way.
#[derive(Clone, Copy)]
struct Trip {
    from: SocketAddr,
    to: SocketAddr,
    link: LinkId,
    late: u64,
    corrupt: bool,
}

impl Kernel {
    pub(crate) fn bind_datagram(&mut self, process: Process, address: SocketAddr) -> io::Result<usize> {
        let taken = |host: &Host, address| host.datagram_ports.is_taken(address);
        let local = self.bind_address(process.node, address, taken)?;
        let slot = self.datagram_sockets.insert(DatagramSocket {
            process,
            local,
            peer: None,
            error: None,
            broadcast: false,
            loops: true,
            groups: Vec::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            wakers: Vec::new(),
        });
        self.host(process.node).datagram_ports.insert(local, slot);
        Ok(slot)
    }

    pub(crate) fn close_datagram(&mut self, slot: usize) {
        if let Some(socket) = self.datagram_sockets.try_remove(slot) {
            socket.groups.iter().for_each(|group| self.forget_member(*group, slot));
            self.host(socket.process.node).datagram_ports.remove(socket.local);
            self.wakes.extend(socket.wakers);
        }
    }

    pub(crate) fn close_datagrams_of(&mut self, node: NodeId) {
        let of_node = |(_, socket): &(usize, &DatagramSocket)| socket.process.node == node;
        let slots: Vec<usize> = self.datagram_sockets.iter().filter(of_node).map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.close_datagram(slot));
    }

    pub(crate) fn connect_datagram(&mut self, slot: usize, to: Option<SocketAddr>) -> io::Result<()> {
        let DatagramSocket { process, local, .. } = self.datagram_sockets[slot];
        if let Some(to) = to {
            check_version(local, to)?;
            if local.ip().is_unspecified() {
                // The system picks the address that leads to the peer (connect(2)).
                let own = SocketAddr::new(self.addresses.own_ip(process.node, to.ip()), local.port());
                let ports = &mut self.host(process.node).datagram_ports;
                ports.remove(local);
                ports.insert(own, slot);
                self.datagram_sockets[slot].local = own;
            }
        }
        self.datagram_sockets[slot].peer = to;
        Ok(())
    }

    pub(crate) fn join(&mut self, slot: usize, group: IpAddr) -> io::Result<()> {
        if !group.is_multicast() {
            let message = format!("{group} is no address of a multicast group");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let socket = &mut self.datagram_sockets[slot];
        if socket.groups.contains(&group) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        socket.groups.push(group);
        self.members.entry(group).or_default().push(slot);
        Ok(())
    }

    pub(crate) fn leave(&mut self, slot: usize, group: IpAddr) -> io::Result<()> {
        let groups = &mut self.datagram_sockets[slot].groups;
        let place = groups.iter().position(|joined| *joined == group);
        groups.remove(place.ok_or(io::ErrorKind::AddrNotAvailable)?);
        self.forget_member(group, slot);
        Ok(())
    }

    pub(crate) fn forget_member(&mut self, group: IpAddr, slot: usize) {
        if let Some(members) = self.members.get_mut(&group) {
            members.retain(|member| *member != slot);
        }
    }

    /// Where a datagram comes from and goes to, or why it cannot be sent.
    pub(crate) fn datagram_ends(
        &mut self,
        slot: usize,
        to: Option<SocketAddr>,
        length: usize,
    ) -> io::Result<(SocketAddr, SocketAddr)> {
        let socket = &mut self.datagram_sockets[slot];
        let (local, node, may_broadcast) = (socket.local, socket.process.node, socket.broadcast);
        let to = to.or(socket.peer).ok_or_else(|| io::Error::from_raw_os_error(EDESTADDRREQ))?;
        if let Some(error) = socket.error.take() {
            return Err(error.into());
        }
        check_version(local, to)?;
        if to.port() == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if length > LONGEST {
            return Err(io::Error::from_raw_os_error(EMSGSIZE));
        }
        if is_broadcast(to.ip()) && !may_broadcast {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let to = match to.ip() {
            ip if ip.is_unspecified() && ip.is_ipv4() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to.port()),
            IpAddr::V6(ip) => SocketAddr::new(ip.to_canonical(), to.port()),
            IpAddr::V4(_) => to,
        };
        let own = if local.ip().is_unspecified() { self.addresses.own_ip(node, to.ip()) } else { local.ip() };
        Ok((SocketAddr::new(own, local.port()), to))
    }

    /// Sends a datagram to whoever the address means; of a group, to those on its own node only if it loops.
    pub(crate) fn send_datagram(
        &mut self,
        (node, loops): (NodeId, bool),
        (from, to): (SocketAddr, SocketAddr),
        bytes: &[u8],
        verdict: Verdict,
    ) {
        if to.ip().is_multicast() || is_broadcast(to.ip()) {
            let hears = |there: &NodeId| loops || *there != node || !to.ip().is_multicast();
            for there in self.audience(to.ip()).into_iter().filter(hears) {
                self.send_copies(there, node, (from, to), bytes, verdict);
            }
        } else if let Some(there) = self.addresses.node_at(node, to.ip()) {
            self.send_copies(there, node, (from, to), bytes, verdict);
        }
    }

    /// The nodes that an address of many means.
    fn audience(&self, ip: IpAddr) -> Vec<NodeId> {
        if !ip.is_multicast() {
            return (0..).map(NodeId).map_while(Node::from_id).map(Node::id).collect();
        }
        let members = self.members.get(&ip).into_iter().flatten();
        let mut nodes: Vec<NodeId> = members.map(|slot| self.datagram_sockets[*slot].process.node).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    fn send_copies(
        &mut self,
        there: NodeId,
        node: NodeId,
        (from, to): (SocketAddr, SocketAddr),
        bytes: &[u8],
        verdict: Verdict,
    ) {
        let link = self.links.id(node, there);
        let (late, copies, corrupt) = match verdict {
            Verdict::Pass => (Duration::ZERO, 1, false),
            Verdict::Drop | Verdict::Reset => (Duration::ZERO, 0, false),
            Verdict::Delay(by) => (by, 1, false),
            Verdict::Duplicate => (Duration::ZERO, 2, false),
            Verdict::Corrupt => (Duration::ZERO, 1, true),
        };
        let late = nanos(late);
        let copies = copies + usize::from(copies > 0 && self.links.get(link).duplicates());
        if self.capture.is_some() {
            self.capture_datagram(from, to, bytes);
        }
        if copies == 0 {
            emit(node, LOST, &[u64::from(to.port())], || format!("{from} -> {to}: by a rule"));
        }
        for _ in 0..copies {
            self.put_on_the_wire(Trip { from, to, link, late, corrupt }, bytes);
        }
    }

    fn put_on_the_wire(&mut self, trip: Trip, bytes: &[u8]) {
        let Trip { from, to, .. } = trip;
        let link = self.links.get(trip.link);
        let stopped =
            met(link.state().cut) || (bytes.len() > SMALL && met(link.state().blackhole)) || met(link.state().reset);
        let carried =
            if stopped || link.loses_datagram(bytes.len()) { None } else { link.carry(device::now(), bytes.len()) };
        let Some(carried) = carried else {
            return emit(link.from, LOST, &[u64::from(to.port())], || format!("{from} -> {to}"));
        };
        let arrives = device::now().saturating_add(carried).saturating_add(trip.late).saturating_add(link.holds_back());
        let bit = if trip.corrupt && !bytes.is_empty() {
            Some(link.any_bit(bytes.len()))
        } else {
            link.corrupts(bytes.len())
        };
        let mut data = self.buffers.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(bytes);
        if let Some(bit) = bit {
            data[bit as usize / 8] ^= 1 << (bit % 8);
        }
        let datagram = Datagram { from, to, link: trip.link, bytes: data, unreachable: false };
        let slot = self.datagrams.insert(datagram) as u32;
        self.at(arrives, Due::Datagram(slot));
    }

    pub(crate) fn datagram_due(&mut self, slot: u32) {
        let link = self.datagrams[slot as usize].link;
        if met(self.links.get(link).state().jam) {
            return self.links.get(link).hold(Held::Datagram(slot));
        }
        let datagram = self.datagrams.remove(slot as usize);
        if self.is_blocked(link) {
            return self.lost(&datagram);
        }
        if datagram.unreachable {
            return self.tell_unreachable(&datagram);
        }
        let Datagram { from, to, .. } = datagram;
        let node = self.links.get(link).to;
        if to.ip().is_multicast() || is_broadcast(to.ip()) {
            return self.deliver_to_many(node, &datagram);
        }
        let there = self.addresses.node_at(self.links.get(link).from, to.ip()) == Some(node);
        let receiver = self.host(node).datagram_ports.receiver(to).copied().filter(|_| there);
        match receiver.filter(|slot| self.datagram_sockets[*slot].hears(from)) {
            Some(slot) => self.deliver(slot, datagram),
            None => {
                self.lost(&datagram);
                self.answer_unreachable(datagram);
            }
        }
    }

    fn lost(&mut self, Datagram { from, to, link, .. }: &Datagram) {
        let node = self.links.get(*link).to;
        emit(node, LOST, &[u64::from(to.port())], || format!("{from} -> {to}"));
    }

    fn deliver_to_many(&mut self, node: NodeId, datagram: &Datagram) {
        let Datagram { from, to, link, .. } = *datagram;
        let group = to.ip().is_multicast();
        let wanted = |socket: &DatagramSocket| {
            let joined = !group || socket.groups.contains(&to.ip());
            joined && socket.process.node == node && socket.local.port() == to.port() && socket.hears(from)
        };
        let slots: Vec<usize> =
            self.datagram_sockets.iter().filter(|(_, socket)| wanted(socket)).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.deliver(slot, Datagram { from, to, link, bytes: datagram.bytes.clone(), unreachable: false });
        }
    }

    fn deliver(&mut self, slot: usize, datagram: Datagram) {
        let limit = self.options.udp_buffer;
        let socket = &mut self.datagram_sockets[slot];
        let (size, node) = (charge(&datagram.bytes), socket.process.node);
        if socket.inbox_bytes + size > limit {
            return self.lost(&datagram);
        }
        let Datagram { from, to, bytes, .. } = datagram;
        let (length, content) = (bytes.len(), hash_message(&bytes));
        socket.inbox_bytes += size;
        socket.inbox.push_back((if socket.local.is_ipv6() { mapped(from) } else { from }, bytes));
        self.wakes.append(&mut socket.wakers);
        emit(node, DELIVER, &[u64::from(to.port()), content], || format!("{from} -> {to}: {length} bytes"));
    }

    /// The news that nobody listens goes back (ICMP, RFC 1122 3.2.2.1).
    fn answer_unreachable(&mut self, datagram: Datagram) {
        let (from, to) = (self.links.get(datagram.link).from, self.links.get(datagram.link).to);
        let link = self.links.id(to, from);
        let Some(carried) = self.links.get(link).carry(device::now(), 0) else { return };
        let back = Datagram { from: datagram.to, to: datagram.from, link, bytes: Vec::new(), unreachable: true };
        let slot = self.datagrams.insert(back) as u32;
        self.at(device::now().saturating_add(carried), Due::Datagram(slot));
    }

    fn tell_unreachable(&mut self, Datagram { from, to, link, .. }: &Datagram) {
        let node = self.links.get(*link).to;
        let Some(slot) = self.host(node).datagram_ports.receiver(*to).copied() else { return };
        let socket = &mut self.datagram_sockets[slot];
        if socket.peer == Some(*from) {
            socket.error = Some(io::ErrorKind::ConnectionRefused);
            self.wakes.append(&mut socket.wakers);
        }
    }

    /// The first datagram: as much of it as the buffer takes, its whole length, and where it comes from.
    pub(crate) fn poll_receive(
        &mut self,
        slot: usize,
        buffer: &mut [u8],
        waker: &Waker,
        take: bool,
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let socket = &mut self.datagram_sockets[slot];
        if let Some(error) = socket.error.take() {
            return Poll::Ready(Err(error.into()));
        }
        let Some((from, bytes)) = socket.inbox.front() else {
            wait(&mut socket.wakers, waker);
            let port = u64::from(socket.local.port());
            self.waiting("datagram", port);
            return Poll::Pending;
        };
        let (from, whole, length) = (*from, bytes.len(), bytes.len().min(buffer.len()));
        buffer[..length].copy_from_slice(&bytes[..length]);
        if let Some((_, bytes)) = take.then(|| socket.inbox.pop_front()).flatten() {
            socket.inbox_bytes -= charge(&bytes);
            if self.buffers.len() < 64 {
                self.buffers.push(bytes);
            }
        }
        Poll::Ready(Ok((whole, from)))
    }

    pub(crate) fn datagrams_in_flight(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        for (_, datagram) in self.datagrams.iter().filter(|(_, datagram)| !datagram.unreachable) {
            let link = self.links.get(datagram.link);
            let ends = (link.from, link.to);
            packets.extend(rule::packet(PacketKind::Datagram, ends, (datagram.from, datagram.to), &datagram.bytes));
        }
        packets
    }
}

impl DatagramSocket {
    /// Whether it receives what comes from an address.
    fn hears(&self, from: SocketAddr) -> bool {
        self.peer.is_none_or(|peer| peer == from || peer == mapped(from))
    }
}

fn check_version(local: SocketAddr, to: SocketAddr) -> io::Result<()> {
    let unlike = local.is_ipv4() && to.is_ipv6();
    if unlike { Err(io::Error::from_raw_os_error(EAFNOSUPPORT)) } else { Ok(()) }
}
