//! The end of connections: programs that let go, processes that die, machines without power.

use sim_core::NodeId;
use sim_core::device::{self, Down};

use super::{End, Phase, SECOND, Socket};
use crate::kernel::Kernel;
use crate::link::name;

const TIME_WAIT: u64 = 60 * SECOND;

impl Kernel {
    /// The program dropped its socket: RST where it left data unread, FIN otherwise.
    pub(crate) fn release(&mut self, end: End) {
        let connection = self.connections.get(end.connection);
        let socket = &mut connection.sockets[end.side];
        if socket.released || socket.forgotten {
            return;
        }
        socket.released = true;
        let unread = !socket.inbox.is_empty();
        socket.inbox.clear();
        self.wakes.extend([socket.reader.take(), socket.writer.take()].into_iter().flatten());
        if connection.phase != Phase::Open || connection.sockets[end.side].broken {
            return self.free_if_idle(end.connection);
        }
        // Where both have ended and heard each other there is nothing to reset (Linux, `tcp_close`).
        let over = connection.sockets.iter().all(|socket| socket.sent_fin && socket.end_of_stream);
        if (unread || connection.sockets[end.side].zero_linger) && !over {
            connection.sockets[end.side].broken = true;
            self.send_reset(end);
        } else {
            self.shut_write(end);
            self.free_if_idle(end.connection);
        }
    }

    pub(crate) fn close_sockets_of(&mut self, node: NodeId, how: Down) {
        let mut ends = Vec::new();
        for (slot, connection) in &self.connections.slab {
            for (side, socket) in connection.sockets.iter().enumerate() {
                // What a process let go of is the kernel's to finish, until the power goes.
                let held = !socket.released || (how == Down::PowerLoss && connection.phase == Phase::Open);
                if socket.process.node == node && held && !socket.forgotten {
                    ends.push(End { connection: slot as u32, side });
                }
            }
        }
        for end in ends {
            if how == Down::Kill {
                self.release(end);
            } else {
                self.forget(end);
            }
        }
        if how == Down::Kill {
            let waiting: Vec<u32> = self.host(node).listeners.values().flat_map(|l| l.ready.iter().copied()).collect();
            waiting.into_iter().for_each(|connection| self.refuse(End { connection, side: 1 }));
        }
    }

    /// The machine lost power: what is on the wire arrives, and nothing is sent again.
    fn forget(&mut self, end: End) {
        let socket = self.connections.socket(end);
        socket.forgotten = true;
        socket.inbox.clear();
        socket.small.clear();
        if socket.stall.is_some() {
            socket.wire.clear();
        }
        self.wakes.extend([socket.reader.take(), socket.writer.take()].into_iter().flatten());
        self.free_if_idle(end.connection);
    }

    /// Addresses changed hands: nobody knows the connections of these nodes any more. Whether there were any.
    pub(crate) fn forget_connections_of(&mut self, nodes: &[NodeId]) -> bool {
        let of = |socket: &Socket| nodes.contains(&socket.process.node) && !socket.forgotten;
        let open = self.connections.slab.iter().filter(|(_, connection)| connection.phase == Phase::Open);
        let ends = open.flat_map(|(slot, connection)| {
            let sides = (0..2).filter(|side| {
                of(&connection.sockets[*side]) && connection.sockets[0].link != connection.sockets[1].link
            });
            sides.map(move |side| End { connection: slot as u32, side }).collect::<Vec<_>>()
        });
        let ends: Vec<End> = ends.collect();
        ends.iter().for_each(|end| self.forget_address(*end));
        !ends.is_empty()
    }

    /// The program of an end learns that its address is gone, and its peer nothing.
    fn forget_address(&mut self, end: End) {
        let socket = self.connections.socket(end);
        socket.wire_looks += 1;
        self.breaks(end, std::io::ErrorKind::TimedOut);
        let socket = self.connections.socket(end);
        socket.wire_looks -= 1;
        self.forget(end);
    }

    /// Frees a connection that nobody holds and of which nothing is on the way.
    pub(super) fn free_if_idle(&mut self, slot: u32) {
        let Some(connection) = self.connections.slab.get(slot as usize) else { return };
        if !connection.handshake_scheduled && connection.sockets.iter().all(Socket::is_idle) {
            let connection = self.connections.slab.remove(slot as usize);
            let [client, server] = connection.sockets;
            let key = (client.address.port(), server.address);
            let outgoing = &mut self.host(client.process.node).outgoing;
            // Who closes first keeps the port for a minute (Linux, `TCP_TIMEWAIT_LEN`).
            let waits = client.sent_fin && client.closed_first && !client.broken && !connection.local;
            match waits {
                true => outgoing.insert(key, Some(device::now() + TIME_WAIT)),
                false => outgoing.remove(&key),
            };
        }
    }

    pub(crate) fn describe_wait(&mut self, what: &'static str, token: u64) -> String {
        let end = End::from_number(token as u32);
        let addresses = self.connections.slab.get(end.connection as usize).map(|connection| {
            let [from, to] = [&connection.sockets[end.side], &connection.sockets[1 - end.side]];
            format!("tcp {what}: {} with {} on node {}", from.address, to.address, name(to.process.node))
        });
        match (what, addresses) {
            ("connect" | "read" | "write", Some(words)) => words,
            _ => format!("{what} (port {token})"),
        }
    }
}
