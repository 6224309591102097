//! TCP streams, with tokio's names.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::address::{ToSocketAddrs, lookup};
use crate::bytes::{asks_readiness, reads, writes};
use crate::raw::Connection;
use crate::tcp::Keepalive;

/// A TCP connection between two processes of the simulation.
///
/// Reads and writes through tokio's `AsyncRead` and `AsyncWrite` or those of `futures`. Dropped, it is closed: with RST
/// when bytes that arrived were not read, with FIN otherwise.
pub struct TcpStream {
    raw: Connection,
}

impl TcpStream {
    /// Connects to the first of the addresses that accepts.
    ///
    /// # Errors
    /// The last address's: `ConnectionRefused` where nobody listens, `TimedOut` after about two minutes without an
    /// answer, `HostUnreachable` where there is no such node; or that of the name.
    ///
    /// # Panics
    /// Outside a simulation.
    pub async fn connect(to: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
        for address in lookup(to).await? {
            match TcpStream::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(to: SocketAddr) -> io::Result<TcpStream> {
        let raw = Connection::open(to)?;
        std::future::poll_fn(|cx| raw.poll_open(cx.waker())).await?;
        Ok(TcpStream { raw })
    }

    pub(crate) fn from_raw(raw: Connection) -> Self {
        TcpStream { raw }
    }

    /// Gives the connection to another face.
    pub(crate) fn into_raw(self) -> Connection {
        self.raw
    }

    /// The address of this end.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.raw.addresses().0)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected` after a reset.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        if self.raw.is_reset() { Err(io::ErrorKind::NotConnected.into()) } else { Ok(self.raw.addresses().1) }
    }

    /// Sends small writes at once. Otherwise, as on every system, they wait while earlier bytes are on their way (RFC 896).
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.raw.set_nodelay(nodelay);
        Ok(())
    }

    /// Whether small writes go at once.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(self.raw.nodelay())
    }

    /// Lets closing it reset it (`SO_LINGER` with zero seconds).
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn set_zero_linger(&self) -> io::Result<()> {
        self.raw.set_zero_linger();
        Ok(())
    }

    /// Probes it while it is idle, or no more, as `socket2` has it for real ones.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) {
        self.raw.set_keepalive(keepalive);
    }

    /// Splits it into halves for two tasks. The write half sends FIN when dropped.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Arc::new(self);
        (OwnedReadHalf(stream.clone()), OwnedWriteHalf { stream, shut: true })
    }
}

asks_readiness!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (local, peer) = self.raw.addresses();
        write!(f, "TcpStream({local} with {peer})")
    }
}

/// The reading half of a [`TcpStream`].
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<TcpStream>);

/// The writing half of a [`TcpStream`]; dropped, it sends FIN.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    /// Dropping it sends FIN.
    shut: bool,
}

impl OwnedWriteHalf {
    /// Drops it and leaves the direction open until the whole stream is dropped.
    pub fn forget(mut self) {
        self.shut = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shut {
            self.stream.raw.shut_if_running();
        }
    }
}

/// The halves were not of one stream.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tried to reunite halves that are not from the same stream")
    }
}

impl std::error::Error for ReuniteError {}

impl OwnedReadHalf {
    /// Makes one stream of its halves.
    ///
    /// # Errors
    /// When they are of two.
    pub fn reunite(self, mut other: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.0, &other.stream) {
            return Err(ReuniteError(self, other));
        }
        other.shut = false;
        drop(other);
        Arc::try_unwrap(self.0).map_err(|shared| {
            // Two halves are all there are.
            unreachable!("a stream has two halves, and {shared:?} has more")
        })
    }
}

impl OwnedWriteHalf {
    /// The address of this end.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As [`TcpStream::peer_addr`].
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl OwnedReadHalf {
    /// The address of this end.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As [`TcpStream::peer_addr`].
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }
}

reads!(TcpStream, stream => stream.raw);
writes!(TcpStream, stream => stream.raw);
reads!(OwnedReadHalf, half => half.0.raw);
writes!(OwnedWriteHalf, half => half.stream.raw);
