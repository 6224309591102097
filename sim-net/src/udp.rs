//! UDP sockets, with tokio's names.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use sim_core::device::{self, Process, emit};
use sim_core::event::EventKind;
use sim_core::hash::hash_message;

use crate::address::{ToSocketAddrs, node_at, own_ip};
use crate::kernel::{Datagram, DatagramSocket, Due, Kernel, act, act_if_running, receives, wait};

const DELIVER: EventKind = EventKind::new("udp.deliver");
const LOST: EventKind = EventKind::new("udp.lost");

/// The longest datagram: what fits an IP packet (RFC 768).
const LONGEST: usize = 65_507;

/// What a datagram takes of a socket's buffer: its bytes, and what a kernel keeps beside them.
fn charge(bytes: &[u8]) -> usize {
    bytes.len() + 256
}

/// Sends and receives datagrams. They may be lost, and never wait for a receiver.
#[derive(Debug)]
pub struct UdpSocket {
    process: Process,
    slot: usize,
    local: SocketAddr,
    peer: Mutex<Option<SocketAddr>>,
}

impl UdpSocket {
    /// Binds to the first of the addresses that can be bound. Port 0 picks a free one.
    ///
    /// # Errors
    /// `AddrInUse`, or `AddrNotAvailable` for an address that is not of this node.
    ///
    /// # Panics
    /// Outside a simulation.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        const WHAT: &str = "net::UdpSocket::bind";
        let process = device::process(WHAT);
        if !process.is_alive() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind to");
        for address in address.to_socket_addrs()? {
            match act(WHAT, |kernel| kernel.bind_datagram(process, address)) {
                Ok((slot, local)) => return Ok(UdpSocket { process, slot, local, peer: Mutex::new(None) }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    /// Sets the address that [`send`](UdpSocket::send) sends to and [`recv`](UdpSocket::recv) receives from.
    ///
    /// # Errors
    /// That of the name.
    pub async fn connect(&self, to: impl ToSocketAddrs) -> io::Result<()> {
        let to = first(to)?;
        *self.peer.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(to);
        Ok(())
    }

    fn connected(&self) -> Option<SocketAddr> {
        *self.peer.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sends a datagram to the connected address.
    ///
    /// # Errors
    /// `NotConnected`, or those of [`send_to`](UdpSocket::send_to).
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let to = self.connected().ok_or(io::ErrorKind::NotConnected)?;
        self.send_to(bytes, to).await
    }

    /// Sends a datagram. That it left says nothing about whether it arrives.
    ///
    /// # Errors
    /// For more than 65,507 bytes (`EMSGSIZE`), and that of the name.
    pub async fn send_to(&self, bytes: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = first(to)?;
        if !self.process.is_alive() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if bytes.len() > LONGEST {
            let message = format!("message too long: {} bytes of at most {LONGEST}", bytes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let local = SocketAddr::new(own_ip(self.process.node, to.ip()), self.local.port());
        act("net::UdpSocket::send_to", |kernel| kernel.send_datagram(self.process, local, to, bytes));
        Ok(bytes.len())
    }

    /// Waits for a datagram. What does not fit the buffer is cut off.
    ///
    /// # Errors
    /// When the process that bound it has died.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let from = self.connected();
        std::future::poll_fn(|cx| {
            if !self.process.is_alive() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            act("net::UdpSocket::recv_from", |kernel| kernel.poll_receive(self.slot, from, buffer, cx.waker())).map(Ok)
        })
        .await
    }

    /// Waits for a datagram, from the connected address when there is one.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buffer).await.map(|(length, _)| length)
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        if !self.process.is_alive() {
            return;
        }
        act_if_running(|kernel| kernel.close_datagram(self.process.node, self.slot, self.local.port()));
    }
}

fn first(to: impl ToSocketAddrs) -> io::Result<SocketAddr> {
    let addresses = to.to_socket_addrs()?;
    addresses.first().copied().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address"))
}

impl Kernel {
    pub(crate) fn bind_datagram(&mut self, process: Process, address: SocketAddr) -> io::Result<(usize, SocketAddr)> {
        let local = self.bind_address(process.node, address, |host, port| host.datagram_ports.contains_key(&port))?;
        let socket = DatagramSocket { process, local, inbox: VecDeque::new(), inbox_bytes: 0, wakers: Vec::new() };
        let slot = self.datagram_sockets.insert(socket);
        self.host(process.node).datagram_ports.insert(local.port(), slot);
        Ok((slot, local))
    }

    pub(crate) fn send_datagram(&mut self, process: Process, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(there) = node_at(process.node, to.ip()) else { return };
        let id = self.links.id(process.node, there);
        let link = self.links.get(id);
        if link.loses() || link.is_cut() {
            return emit(process.node, LOST, &[u64::from(to.port())], || format!("{from} -> {to}"));
        }
        let arrives = device::now().saturating_add(link.latency());
        let mut data = self.buffers.pop().unwrap_or_default();
        data.clear();
        data.extend_from_slice(bytes);
        let slot = self.datagrams.insert(Datagram { from, to, link: id, bytes: data }) as u32;
        self.at(arrives, Due::Datagram(slot));
    }

    pub(crate) fn datagram_due(&mut self, slot: u32) {
        let Datagram { from, to, link, bytes } = self.datagrams.remove(slot as usize);
        let node = self.links.get(link).to;
        let (size, limit, content) = (charge(&bytes), self.options.udp_buffer, hash_message(&bytes));
        let socket = match self.is_blocked(link) {
            true => None,
            false => self.host(node).datagram_ports.get(&to.port()).copied(),
        };
        let socket = socket.map(|slot| &mut self.datagram_sockets[slot]);
        match socket.filter(|s| receives(s.local.ip(), to.ip()) && s.inbox_bytes + size <= limit) {
            None => emit(node, LOST, &[u64::from(to.port())], || format!("{from} -> {to}")),
            Some(socket) => {
                socket.inbox_bytes += size;
                let length = bytes.len();
                socket.inbox.push_back((from, bytes));
                self.wakes.append(&mut socket.wakers);
                emit(node, DELIVER, &[u64::from(to.port()), content], || format!("{from} -> {to}: {length} bytes"));
            }
        }
    }

    pub(crate) fn poll_receive(
        &mut self,
        slot: usize,
        only_from: Option<SocketAddr>,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Poll<(usize, SocketAddr)> {
        let socket = &mut self.datagram_sockets[slot];
        while let Some((from, bytes)) = socket.inbox.pop_front() {
            socket.inbox_bytes -= charge(&bytes);
            if only_from.is_some_and(|only| only != from) {
                continue;
            }
            let length = bytes.len().min(buffer.len());
            buffer[..length].copy_from_slice(&bytes[..length]);
            if self.buffers.len() < 64 {
                self.buffers.push(bytes);
            }
            return Poll::Ready((length, from));
        }
        wait(&mut socket.wakers, waker);
        let port = u64::from(socket.local.port());
        self.waiting("datagram", port);
        Poll::Pending
    }
}
