//! The simulated network of detsim, with tokio's names.
//!
//! What may go wrong: datagrams are lost; bytes of a TCP stream are late, never lost, duplicated or out of order; links
//! are cut in either direction; peers reset, refuse, or fall silent. What never does: a stream never invents bytes, and a
//! byte of a stream never reaches a process that started after it was meant for another.
//!
//! | room | what is in it |
//! |---|---|
//! | `address` | nodes, their addresses and names, [`ToSocketAddrs`], [`lookup_host`] |
//! | `link` | directed links between nodes: latency, loss, cuts |
//! | `kernel` | sockets and what is on the wire: the [`Net`] device |
//! | `tcp` | the kernel's half of a connection: handshake, windows, retransmission, resets |
//! | `stream`, `listener`, `udp` | the native face: [`TcpStream`], [`TcpListener`], [`UdpSocket`] |
//! | [`raw`] | the same kernel for those who bring a way to wait of their own: sim-host |
//! | `fault` | [`partition()`], [`isolate`], and the same as faults of a plan |
//!
//! Every node has the address that [`ip_of`] gives it, answers to its name, and has a loopback interface of its own.

mod address;
mod fault;
mod kernel;
mod link;
mod listener;
mod stream;
mod tcp;
mod udp;

pub mod raw;

pub use address::{ToSocketAddrs, ip_of, lookup_host};
pub use fault::{
    KINDS, Partition, cut, heal_all, isolate, isolate_fault, partition, partition_fault, partition_oneway,
    partition_oneway_fault,
};
pub use kernel::{Net, Options, open_connections, options, set_options};
pub use link::{LinkOptions, link_options, set_link_options};
pub use listener::TcpListener;
pub use stream::{OwnedReadHalf, OwnedWriteHalf, TcpStream};
pub use udp::UdpSocket;
