//! The kernel's half of TCP: handshake, windows, retransmission, FIN and RST.
//!
//! Bytes are never lost: a lost or undeliverable segment is sent again after a timeout that doubles (RFC 6298), and the
//! sender gives up after fifteen minutes with `ETIMEDOUT` (Linux, tcp(7), `tcp_retries2`). The kernel of a killed process
//! closes its connections, by RST where it had unread data (RFC 2525, 2.17); a machine without power says nothing, and
//! when it is back it answers what arrives for its old connections with RST (RFC 9293, 3.5.1). Small writes wait for
//! earlier ones to arrive, unless told not to (RFC 896, Nagle), and idle connections are probed where asked to
//! (RFC 9293, 3.8.4).

mod close;
mod keepalive;
mod open;
mod window;
mod wire;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

pub use keepalive::Keepalive;
pub(crate) use keepalive::Watch;
use sim_core::device::Process;
use slab::Slab;

use crate::link::LinkId;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// The first retransmission timeout (Linux, `TCP_RTO_MIN`).
const RTO_MIN: u64 = 200 * MILLISECOND;

/// The sender gives up after so long without an acknowledgement.
const GIVE_UP: u64 = 924 * SECOND + 600 * MILLISECOND;

/// A connection that a program holds: its slot, and its number, which is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handle {
    pub(crate) end: End,
    serial: u64,
    pub(crate) process: Process,
}

impl Handle {
    pub(crate) fn serial(self) -> u64 {
        self.serial
    }
}

/// One end of a connection: the slot of the connection and which side of it. The side that connected is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct End {
    pub(crate) connection: u32,
    pub(crate) side: usize,
}

impl End {
    pub(crate) fn number(self) -> u32 {
        (self.connection << 1) | self.side as u32
    }

    pub(crate) fn from_number(number: u32) -> Self {
        End { connection: number >> 1, side: (number & 1) as usize }
    }

    fn peer(self) -> End {
        End { side: 1 - self.side, ..self }
    }
}

pub(crate) enum Payload {
    Data(Vec<u8>),
    /// The last step of the handshake: the server may accept.
    Established,
    Fin,
    Reset,
}

pub(crate) struct Segment {
    pub(crate) arrives: u64,
    pub(crate) payload: Payload,
}

/// A direction's failure to get through, while it lasts.
struct Stall {
    since: u64,
    next_timeout: u64,
}

/// The socket of one end, and what it has sent that has not arrived.
pub(crate) struct Socket {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    pub(crate) link: LinkId,
    /// Arrived, in order, and not read yet; the first has been read up to `inbox_read`.
    inbox: VecDeque<Vec<u8>>,
    inbox_read: usize,
    end_of_stream: bool,
    error: Option<io::ErrorKind>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    wire: VecDeque<Segment>,
    /// So many times the wire will be looked at.
    wire_looks: u32,
    /// The first of these times; what was looked at last is not counted.
    next_look: u64,
    /// Small writes that wait for what is on the wire.
    small: Vec<u8>,
    nodelay: bool,
    /// Closing resets.
    zero_linger: bool,
    /// When a segment came last.
    heard_at: u64,
    stall: Option<Stall>,
    /// Bytes sent that the window does not know to be read yet.
    outstanding: usize,
    /// When the news of bytes that the peer has read comes back.
    credits: VecDeque<(u64, usize)>,
    window_scheduled: bool,
    /// Since when no news came through to a writer that waits for it.
    deaf_since: Option<u64>,
    sent_fin: bool,
    /// The program reads no more, and what comes is of use only as long as it writes.
    shut_read: bool,
    /// It sent FIN before the other end did.
    closed_first: bool,
    /// The program let go of it.
    released: bool,
    /// The machine lost power, and nothing of it is left.
    forgotten: bool,
    broken: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// The SYN is on its way, for the so-manieth time.
    Connecting {
        tries: u32,
    },
    /// The answer is on its way.
    Answered {
        tries: u32,
    },
    /// The reset that answers the SYN is on its way.
    Refused {
        tries: u32,
    },
    NoHost,
    Open,
}

pub(crate) struct Connection {
    serial: u64,
    pub(crate) sockets: [Socket; 2],
    pub(crate) phase: Phase,
    /// The server listens on `::` and was reached over IPv4: its addresses are mapped ones (RFC 4291, 2.5.5.2).
    mapped: bool,
    /// It is of a Unix socket, and has a path in place of addresses.
    pub(crate) local: bool,
    /// Someone will be told of the handshake.
    handshake_scheduled: bool,
    connector: Option<Waker>,
}

impl Socket {
    pub(crate) fn new(process: Process, address: SocketAddr, link: LinkId) -> Self {
        Socket {
            process,
            address,
            link,
            inbox: VecDeque::new(),
            inbox_read: 0,
            end_of_stream: false,
            error: None,
            reader: None,
            writer: None,
            wire: VecDeque::new(),
            wire_looks: 0,
            next_look: u64::MAX,
            small: Vec::new(),
            nodelay: false,
            zero_linger: false,
            heard_at: 0,
            stall: None,
            outstanding: 0,
            credits: VecDeque::new(),
            window_scheduled: false,
            deaf_since: None,
            sent_fin: false,
            shut_read: false,
            closed_first: false,
            released: false,
            forgotten: false,
            broken: false,
        }
    }

    /// Whether a read has something to tell at once.
    fn is_readable(&self) -> bool {
        !self.inbox.is_empty() || self.end_of_stream || self.broken || self.error.is_some()
    }

    /// Whether no program has it any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.released || self.forgotten
    }

    pub(crate) fn unread(&self) -> usize {
        self.inbox.iter().map(Vec::len).sum::<usize>() - self.inbox_read
    }

    pub(crate) fn unacknowledged(&self, now: u64) -> usize {
        let known = self.credits.iter().take_while(|(at, _)| *at <= now).map(|(_, bytes)| bytes);
        self.outstanding - known.sum::<usize>()
    }

    /// What `netstat` calls its state.
    pub(crate) fn state(&self) -> &'static str {
        match (self.broken, self.sent_fin, self.end_of_stream) {
            (true, ..) | (_, true, true) => "CLOSED",
            (_, true, false) => "FIN_WAIT",
            (_, false, true) => "CLOSE_WAIT",
            (_, false, false) => "ESTABLISHED",
        }
    }

    fn has_data_on_the_wire(&self) -> bool {
        matches!(self.wire.back(), Some(Segment { payload: Payload::Data(_), .. }))
    }

    fn is_idle(&self) -> bool {
        self.wire.is_empty() && self.wire_looks == 0 && !self.window_scheduled && (self.released || self.forgotten)
    }

    fn mature_credits(&mut self, now: u64) {
        while let Some((_, bytes)) = self.credits.pop_front_if(|(at, _)| *at <= now) {
            self.outstanding -= bytes;
        }
    }
}

/// All connections, and how many there have ever been.
#[derive(Default)]
pub(crate) struct Connections {
    pub(crate) slab: Slab<Connection>,
    made: u64,
}

impl Connections {
    #[inline]
    fn get(&mut self, slot: u32) -> &mut Connection {
        &mut self.slab[slot as usize]
    }

    #[inline]
    fn socket(&mut self, end: End) -> &mut Socket {
        &mut self.get(end.connection).sockets[end.side]
    }
}

/// Remembers whom to wake. Whoever is no longer to be woken is among the `wakes` all the same: dropping a waker may run code
/// of a user, which must wait until nothing is borrowed.
fn keep(slot: &mut Option<Waker>, waker: &Waker, wakes: &mut Vec<Waker>) {
    match slot {
        None => *slot = Some(waker.clone()),
        Some(kept) if kept.will_wake(waker) => {}
        Some(kept) => wakes.push(std::mem::replace(kept, waker.clone())),
    }
}
