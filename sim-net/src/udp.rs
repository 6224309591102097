//! UDP sockets, with tokio's names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Poll, Waker};

use crate::address::{ToSocketAddrs, lookup};
use crate::raw::Datagrams;

/// Sends and receives datagrams. They may be lost, doubled, late, and changed on the way, as their link says; they never
/// wait for a receiver.
#[derive(Debug)]
pub struct UdpSocket {
    raw: Datagrams,
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
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind to");
        for address in lookup(address).await? {
            match Datagrams::bind(address) {
                Ok(raw) => return Ok(UdpSocket { raw }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the process has died.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.raw.local_addr()
    }

    /// The address it is connected to.
    ///
    /// # Errors
    /// `NotConnected`.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.raw.peer_addr()
    }

    /// Sets the address that [`send`](UdpSocket::send) sends to, and the only one that datagrams are received from. When
    /// nobody listens there, the next operation tells so (`ConnectionRefused`).
    ///
    /// # Errors
    /// That of the name; for an address of another version of IP.
    pub async fn connect(&self, to: impl ToSocketAddrs) -> io::Result<()> {
        self.raw.connect(Some(first(to).await?))
    }

    /// Sends a datagram to the connected address.
    ///
    /// # Errors
    /// Without a connected address, or those of [`send_to`](UdpSocket::send_to).
    pub async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.raw.send(None, bytes)
    }

    /// Sends a datagram. That it left says nothing about whether it arrives.
    ///
    /// # Errors
    /// For more than 65,507 bytes (`EMSGSIZE`), for port 0, for a broadcast address without permission, that of the name,
    /// and what came back of an earlier datagram.
    pub async fn send_to(&self, bytes: &[u8], to: impl ToSocketAddrs) -> io::Result<usize> {
        let to = first(to).await?;
        self.raw.send(Some(to), bytes)
    }

    /// Waits for a datagram. What does not fit the buffer is cut off.
    ///
    /// # Errors
    /// When the process that bound it has died, and what came back of an earlier datagram.
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (whole, from) = std::future::poll_fn(|cx| self.raw.poll_receive(buffer, cx.waker())).await?;
        Ok((whole.min(buffer.len()), from))
    }

    /// Waits for a datagram, from the connected address when there is one.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.recv_from(buffer).await.map(|(length, _)| length)
    }

    /// Waits for a datagram, and leaves it.
    ///
    /// # Errors
    /// As [`recv_from`](UdpSocket::recv_from).
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (whole, from) = std::future::poll_fn(|cx| self.raw.poll_peek(buffer, cx.waker())).await?;
        Ok((whole.min(buffer.len()), from))
    }

    /// Takes a datagram that is there.
    ///
    /// # Errors
    /// `WouldBlock` when none is; otherwise as [`recv_from`](UdpSocket::recv_from).
    pub fn try_recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        match self.raw.poll_receive(buffer, Waker::noop()) {
            Poll::Ready(received) => received.map(|(whole, from)| (whole.min(buffer.len()), from)),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Sends a datagram; it never has to wait.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    pub fn try_send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.raw.send(Some(to), bytes)
    }

    /// Lets it send to 255.255.255.255 and 10.255.255.255, which reach every node.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        self.raw.set_broadcast(broadcast);
        Ok(())
    }

    /// Whether it may send to broadcast addresses.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn broadcast(&self) -> io::Result<bool> {
        Ok(self.raw.broadcast())
    }

    /// Receives what is sent to a multicast group.
    ///
    /// # Errors
    /// For an address that is none of a group.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, _interface: Ipv4Addr) -> io::Result<()> {
        self.raw.join(IpAddr::V4(group))
    }

    /// Receives no more of what is sent to a group.
    ///
    /// # Errors
    /// `AddrNotAvailable` when it had not joined.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, _interface: Ipv4Addr) -> io::Result<()> {
        self.raw.leave(IpAddr::V4(group))
    }

    /// Receives what is sent to a multicast group.
    ///
    /// # Errors
    /// For an address that is none of a group.
    pub fn join_multicast_v6(&self, group: &Ipv6Addr, _interface: u32) -> io::Result<()> {
        self.raw.join(IpAddr::V6(*group))
    }

    /// Receives no more of what is sent to a group.
    ///
    /// # Errors
    /// `AddrNotAvailable` when it had not joined.
    pub fn leave_multicast_v6(&self, group: &Ipv6Addr, _interface: u32) -> io::Result<()> {
        self.raw.leave(IpAddr::V6(*group))
    }
}

async fn first(to: impl ToSocketAddrs) -> io::Result<SocketAddr> {
    let addresses = lookup(to).await?;
    addresses.first().copied().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address"))
}
