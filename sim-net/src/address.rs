//! Addresses and names. Node number `n` has 10.x.y.z and fd00::, both counted from one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sim_core::{Node, NodeId};

/// The IPv4 address of a node.
pub fn ip_of(node: Node) -> IpAddr {
    v4(node.id())
}

pub(crate) fn v4(node: NodeId) -> IpAddr {
    let [_, a, b, c] = (node.0 + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, a, b, c))
}

fn v6(node: NodeId) -> IpAddr {
    let number = node.0 + 1;
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, (number >> 16) as u16, number as u16))
}

/// The address a socket of `node` has towards a peer at `other`.
pub(crate) fn own_ip(node: NodeId, other: IpAddr) -> IpAddr {
    match other {
        _ if other.is_loopback() => other,
        IpAddr::V4(_) => v4(node),
        IpAddr::V6(_) => v6(node),
    }
}

/// The node that `ip` leads to, as seen from `from`.
pub(crate) fn node_at(from: NodeId, ip: IpAddr) -> Option<NodeId> {
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
    Node::from_id(NodeId(number.checked_sub(1)?)).map(Node::id)
}

/// Whether `node` may bind a socket to `ip`.
pub(crate) fn is_own(node: NodeId, ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_loopback() || ip == v4(node) || ip == v6(node)
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
    if host == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Node::find(host).map(|node| v4(node.id())).ok_or_else(|| {
        let message = format!("no node is called `{}`: name or service not known", host.escape_debug());
        io::Error::new(io::ErrorKind::NotFound, message)
    })
}

/// Looks a host up in the simulation's name service.
///
/// # Errors
/// As [`ToSocketAddrs`].
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    Ok(host.to_socket_addrs()?.into_iter())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_count_from_one_and_lead_back() {
        assert_eq!(v4(NodeId(0)).to_string(), "10.0.0.1");
        assert_eq!(v4(NodeId(300)).to_string(), "10.0.1.45");
        assert_eq!(v6(NodeId(300)).to_string(), "fd00::12d");
        assert_eq!(own_ip(NodeId(3), "127.0.0.1".parse().unwrap()).to_string(), "127.0.0.1");
    }
}
