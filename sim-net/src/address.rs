//! Addresses and names. Node number `n` has 10.x.y.z and fd00::, both counted from one.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sim_core::{Node, NodeId};

use crate::dns;
use crate::kernel::act;

/// The IPv4 address of a node.
#[track_caller]
pub fn ip_of(node: Node) -> IpAddr {
    act("net::ip_of", |kernel| kernel.addresses.v4(node.id()))
}

/// Which node has which number in its addresses: its own, unless addresses have changed hands.
#[derive(Default)]
pub(crate) struct Addresses {
    numbers: BTreeMap<NodeId, u32>,
    nodes: BTreeMap<u32, NodeId>,
    spare: u32,
}

/// Numbers that no node has by itself start here.
const SPARE: u32 = 1 << 23;

impl Addresses {
    fn number(&self, node: NodeId) -> u32 {
        self.numbers.get(&node).copied().unwrap_or(node.0 + 1)
    }

    /// Gives the addresses of one node to another, and that one's to nobody; the first gets new ones.
    pub(crate) fn hand_over(&mut self, from: NodeId, to: NodeId) {
        let number = self.number(from);
        self.numbers.insert(to, number);
        self.nodes.insert(number, to);
        self.spare += 1;
        self.numbers.insert(from, SPARE + self.spare);
        self.nodes.insert(SPARE + self.spare, from);
    }

    pub(crate) fn v4(&self, node: NodeId) -> IpAddr {
        let [_, a, b, c] = self.number(node).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, a, b, c))
    }

    pub(crate) fn v6(&self, node: NodeId) -> IpAddr {
        let number = self.number(node);
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, (number >> 16) as u16, number as u16))
    }

    /// The address a socket of `node` has towards a peer at `other`.
    pub(crate) fn own_ip(&self, node: NodeId, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) if other.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(_) if other.is_loopback() => other,
            IpAddr::V4(_) => self.v4(node),
            IpAddr::V6(_) => self.v6(node),
        }
    }

    /// The node that `ip` leads to, as seen from `from`.
    pub(crate) fn node_at(&self, from: NodeId, ip: IpAddr) -> Option<NodeId> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(from);
        }
        let number = match ip {
            IpAddr::V4(ip) => match ip.octets() {
                [10, a, b, c] => u32::from_be_bytes([0, a, b, c]),
                _ => return None,
            },
            IpAddr::V6(ip) => match ip.segments() {
                [0xfd00, 0, 0, 0, 0, 0, high, low] => (u32::from(high) << 16) | u32::from(low),
                _ => return None,
            },
        };
        if let Some(node) = self.nodes.get(&number) {
            return Some(*node);
        }
        let node = Node::from_id(NodeId(number.checked_sub(1)?)).map(Node::id)?;
        (!self.numbers.contains_key(&node)).then_some(node)
    }

    /// Whether `node` may bind a socket to `ip`.
    pub(crate) fn is_own(&self, node: NodeId, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || ip == self.v4(node) || ip == self.v6(node)
    }
}

/// An IPv4 address as a socket of IPv6 shows it.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    }
}

/// What can be turned into socket addresses: an address, or a host name with a port.
///
/// Names are those of nodes, `localhost`, and addresses in words.
pub trait ToSocketAddrs {
    /// The addresses, at least one.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a text without a port, [`io::ErrorKind::NotFound`] for an unknown name.
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>>;
}

impl ToSocketAddrs for SocketAddr {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![*self])
    }
}

macro_rules! ip_and_port {
    ($($ip:ty),*) => {$(
        impl ToSocketAddrs for ($ip, u16) {
            fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![SocketAddr::from(*self)])
            }
        }
    )*};
}

ip_and_port!(IpAddr, Ipv4Addr, Ipv6Addr);

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new(resolve(self.0)?, self.1)])
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        (&*self.0, self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.parse() {
            return Ok(vec![address]);
        }
        let port = self.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let Some((host, port)) = port else {
            let message = format!("`{}` is not an address: write host:port", self.escape_debug());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        };
        (host, port).to_socket_addrs()
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).to_socket_addrs()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).to_socket_addrs()
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

/// The address of a host: a node's name, `localhost`, or an address in words.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] for an unknown name.
pub fn resolve(host: &str) -> io::Result<IpAddr> {
    if let Ok(ip) = host.parse() {
        return Ok(ip);
    }
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    dns::resolve(host)
}

/// Looks a host up in the simulation's name service.
///
/// # Errors
/// As [`ToSocketAddrs`].
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    Ok(lookup(host).await?.into_iter())
}

/// The addresses, after the time that the name service takes.
pub(crate) async fn lookup(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    let addresses = host.to_socket_addrs();
    dns::wait().await;
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_count_from_one_and_lead_back() {
        let mut addresses = Addresses::default();
        assert_eq!(addresses.v4(NodeId(0)).to_string(), "10.0.0.1");
        assert_eq!(addresses.v4(NodeId(300)).to_string(), "10.0.1.45");
        assert_eq!(addresses.v6(NodeId(300)).to_string(), "fd00::12d");
        assert_eq!(addresses.own_ip(NodeId(3), "127.0.0.1".parse().unwrap()).to_string(), "127.0.0.1");
        let old = addresses.v4(NodeId(300));
        addresses.hand_over(NodeId(300), NodeId(7));
        assert_eq!((addresses.v4(NodeId(7)), addresses.node_at(NodeId(0), old)), (old, Some(NodeId(7))));
        assert_ne!(addresses.v4(NodeId(300)), old);
    }
}
