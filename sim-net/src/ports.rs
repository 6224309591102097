//! Which socket of a node has which port, on which of its addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Sockets by port and the address they are bound to.
pub(crate) struct Ports<T>(BTreeMap<(u16, IpAddr), T>);

impl<T> Default for Ports<T> {
    fn default() -> Self {
        Ports(BTreeMap::new())
    }
}

/// Whether a socket bound to `bound` receives what is sent to `ip`. One bound to `::` also takes IPv4 (Linux, `ipv6(7)`,
/// `bindv6only` 0).
fn receives(bound: IpAddr, ip: IpAddr) -> bool {
    bound == ip || (bound.is_unspecified() && (bound.is_ipv6() || ip.is_ipv4()))
}

impl<T> Ports<T> {
    pub(crate) fn insert(&mut self, address: SocketAddr, socket: T) {
        self.0.insert((address.port(), address.ip()), socket);
    }

    pub(crate) fn remove(&mut self, address: SocketAddr) -> Option<T> {
        self.0.remove(&(address.port(), address.ip()))
    }

    pub(crate) fn get_mut(&mut self, address: SocketAddr) -> Option<&mut T> {
        self.0.get_mut(&(address.port(), address.ip()))
    }

    fn of_port(&self, port: u16) -> impl Iterator<Item = (IpAddr, &T)> {
        const LEAST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        self.0.range((port, LEAST)..).take_while(move |((p, _), _)| *p == port).map(|((_, ip), socket)| (*ip, socket))
    }

    /// Whether a socket has a port on an address that overlaps with this one.
    pub(crate) fn is_taken(&self, address: SocketAddr) -> bool {
        self.of_port(address.port()).any(|(ip, _)| receives(ip, address.ip()) || receives(address.ip(), ip))
    }

    /// Who receives what is sent to an address: the one that is bound to it, or else one that is bound to all.
    pub(crate) fn receiver(&self, address: SocketAddr) -> Option<&T> {
        let exact = self.0.get(&(address.port(), address.ip()));
        exact.or_else(|| self.of_port(address.port()).find(|(ip, _)| receives(*ip, address.ip())).map(|(_, t)| t))
    }

    pub(crate) fn receiver_mut(&mut self, address: SocketAddr) -> Option<&mut T> {
        let bound = self.0.contains_key(&(address.port(), address.ip())).then_some(address.ip());
        let bound =
            bound.or_else(|| self.of_port(address.port()).map(|(ip, _)| ip).find(|ip| receives(*ip, address.ip())));
        self.0.get_mut(&(address.port(), bound?))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SocketAddr, &T)> {
        self.0.iter().map(|((port, ip), socket)| (SocketAddr::new(*ip, *port), socket))
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}
