//! The simulated network of detsim, with tokio's names.
//!
//! What may go wrong: datagrams are lost, doubled, overtaken and changed; bytes of a TCP stream are late, never lost,
//! doubled or out of order; links are cut, slow, jammed or reset, in either direction; peers reset, refuse, or fall
//! silent; names lead nowhere or to the wrong machine. What never does: a stream never invents bytes, and a byte of a
//! stream never reaches a process that started after it was meant for another.
//!
//! | room | what is in it |
//! |---|---|
//! | `address`, [`dns`] | nodes, their addresses and names, [`ToSocketAddrs`], [`lookup_host`] |
//! | `link`, `topology` | directed links: latency, loss, bandwidth; regions, zones and racks |
//! | `condition`, `grudge` | what faults lay on links: a [`Mode`] on the links of a [`Grudge`], drawn in a [`Shape`] |
//! | `kernel`, `ports` | sockets and what is on the wire: the [`Net`] device |
//! | `tcp`, `datagram` | the kernel's half of a connection, and of UDP |
//! | `stream`, `listener`, `udp`, [`unix`], `bytes` | the native face: [`TcpStream`], [`TcpListener`], [`UdpSocket`], [`UnixStream`] |
//! | [`raw`] | the same kernel for those who bring a way to wait of their own: sim-host |
//! | `fault` | [`partition()`], [`isolate`], [`link()`], and the same as faults of a plan |
//! | `rule` | closures that judge packets and messages: [`rule()`], [`record`], [`replay`] |
//! | `netstat`, `capture` | views: [`netstat()`], and [`capture()`] for Wireshark |
//!
//! Every node has the address that [`ip_of`] gives it, answers to its name, and has a loopback interface of its own.

mod address;
mod bytes;
mod capture;
mod condition;
mod datagram;
mod fault;
mod grudge;
mod kernel;
mod link;
mod listener;
mod netstat;
mod ports;
mod rule;
mod stream;
mod tcp;
mod topology;
mod udp;

pub mod dns;
pub mod raw;
pub mod unix;

pub use address::{ToSocketAddrs, ip_of, lookup_host};
pub use capture::{Trace, capture};
pub use condition::Mode;
pub use fault::{
    KINDS, Partition, cut, heal_all, isolate, isolate_fault, lay_on, link, link_fault, links_fault, partition,
    partition_fault, partition_in_shape, partition_oneway, partition_oneway_fault, shape_fault,
};
pub use grudge::{Grudge, Shape};
pub use kernel::{Net, Options, open_connections, options, set_options};
pub use link::{LinkCounts, LinkOptions, Overflow, link_options, set_link_options, set_topology};
pub use listener::TcpListener;
pub use netstat::{LinkRow, Netstat, SocketRow, netstat};
pub use rule::{Packet, PacketKind, Recording, Rule, Verdict, in_flight, message_rule, record, replay, rule};
pub use stream::{OwnedReadHalf, OwnedWriteHalf, ReuniteError, TcpStream};
pub use tcp::Keepalive;
pub use topology::Topology;
pub use udp::UdpSocket;
pub use unix::{UnixListener, UnixStream};
