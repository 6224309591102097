//! Views: the sockets and links of the simulation as tables, in the manner of `netstat` and `ss`.

use std::fmt;
use std::net::SocketAddr;

use sim_core::{Node, device};

use crate::kernel::{Kernel, act};
use crate::link::{LinkCounts, name};
use crate::tcp::Phase;

/// A socket, as `netstat` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SocketRow {
    /// The node it is of.
    pub node: String,
    /// `tcp`, `udp` or `unix`.
    pub protocol: &'static str,
    /// Bytes that have arrived and were not read; connections that wait, for a listener.
    pub received: usize,
    /// Bytes that were sent and are not known to be read.
    pub sent: usize,
    /// Its own address, or its path.
    pub local: String,
    /// The peer's, where there is one.
    pub peer: String,
    /// `LISTEN`, `SYN_SENT`, `ESTABLISHED`, `FIN_WAIT`, `CLOSE_WAIT`, `CLOSED`, or nothing for datagrams.
    pub state: &'static str,
}

/// A link that was used, and what lies on it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LinkRow {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// What it has carried.
    pub counts: LinkCounts,
    /// What lies on it: `cut`, `jam`, ...; nothing when it is up.
    pub state: String,
    /// Packets that a jam holds.
    pub held: usize,
}

/// All sockets and links at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Netstat {
    /// The sockets, by node.
    pub sockets: Vec<SocketRow>,
    /// The links that were ever used.
    pub links: Vec<LinkRow>,
}

/// The sockets and links of the simulation as they are now.
///
/// # Panics
/// Outside a simulation.
#[track_caller]
pub fn netstat() -> Netstat {
    act("net::netstat", |kernel| {
        let mut sockets = kernel.listening();
        sockets.extend(kernel.connected());
        sockets.extend(kernel.datagram_rows());
        sockets.sort_by(|a, b| (&a.node, a.protocol, &a.local).cmp(&(&b.node, b.protocol, &b.local)));
        Netstat { sockets, links: kernel.link_rows() }
    })
}

impl Kernel {
    fn listening(&mut self) -> Vec<SocketRow> {
        let mut rows = Vec::new();
        for node in (0..).map(sim_core::NodeId).map_while(Node::from_id) {
            let row = |protocol, local, received, state| SocketRow {
                node: node.name(),
                protocol,
                received,
                sent: 0,
                local,
                peer: String::new(),
                state,
            };
            let host = self.host(node.id());
            rows.extend(host.listeners.iter().map(|(at, l)| row("tcp", at.to_string(), l.ready.len(), "LISTEN")));
            rows.extend(host.paths.iter().map(|(path, listener)| {
                let waiting = listener.as_ref().map_or(0, |listener| listener.ready.len());
                row("unix", path.clone(), waiting, if listener.is_some() { "LISTEN" } else { "" })
            }));
        }
        rows
    }

    fn connected(&mut self) -> Vec<SocketRow> {
        let mut rows = Vec::new();
        for (_, connection) in &self.connections.slab {
            for (side, socket) in connection.sockets.iter().enumerate() {
                let peer = &connection.sockets[1 - side];
                let gone = socket.is_gone() || (side == 1 && connection.phase != Phase::Open);
                if gone {
                    continue;
                }
                let state = match connection.phase {
                    Phase::Open => socket.state(),
                    _ => "SYN_SENT",
                };
                let shown = |address: SocketAddr| if connection.local { String::new() } else { address.to_string() };
                rows.push(SocketRow {
                    node: name(socket.process.node),
                    protocol: if connection.local { "unix" } else { "tcp" },
                    received: socket.unread(),
                    sent: socket.unacknowledged(device::now()),
                    local: shown(socket.address),
                    peer: shown(peer.address),
                    state,
                });
            }
        }
        rows
    }

    fn datagram_rows(&self) -> Vec<SocketRow> {
        let row = |(_, socket): (usize, &crate::kernel::DatagramSocket)| SocketRow {
            node: name(socket.process.node),
            protocol: "udp",
            received: socket.inbox_bytes,
            sent: 0,
            local: socket.local.to_string(),
            peer: socket.peer.map(|peer| peer.to_string()).unwrap_or_default(),
            state: "",
        };
        self.datagram_sockets.iter().map(row).collect()
    }

    fn link_rows(&mut self) -> Vec<LinkRow> {
        let conditions = &self.links.conditions;
        let row = |link: &crate::link::Link| LinkRow {
            from: name(link.from),
            to: name(link.to),
            counts: link.counts,
            state: conditions.on(link.from, link.to).in_words(),
            held: link.held.len(),
        };
        self.links.iter().map(row).collect()
    }
}

impl fmt::Display for Netstat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12} {:<5} {:>7} {:>7} {:<24} {:<24} State",
            "Node", "Proto", "Recv-Q", "Send-Q", "Local", "Peer"
        )?;
        for SocketRow { node, protocol, received, sent, local, peer, state } in &self.sockets {
            writeln!(f, "{node:<12} {protocol:<5} {received:>7} {sent:>7} {local:<24} {peer:<24} {state}")?;
        }
        writeln!(f, "{:<12} {:<12} {:>9} {:>12} {:>7} {:>5} State", "From", "To", "Packets", "Bytes", "Lost", "Held")?;
        for LinkRow { from, to, counts, state, held } in &self.links {
            let LinkCounts { sent, bytes, lost } = counts;
            writeln!(f, "{from:<12} {to:<12} {sent:>9} {bytes:>12} {lost:>7} {held:>5} {state}")?;
        }
        Ok(())
    }
}
