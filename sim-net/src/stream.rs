//! TCP streams, with tokio's names.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use sim_core::device;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::address::ToSocketAddrs;
use crate::kernel::{act, act_if_running};
use crate::tcp::Handle;

/// A TCP connection between two processes of the simulation.
///
/// Reads and writes through tokio's `AsyncRead` and `AsyncWrite` or those of `futures`. Dropped, it is closed: with RST
/// when bytes that arrived were not read, with FIN otherwise.
pub struct TcpStream {
    handle: Handle,
    local: SocketAddr,
    peer: SocketAddr,
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
        for address in to.to_socket_addrs()? {
            match TcpStream::connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn connect_to(to: SocketAddr) -> io::Result<TcpStream> {
        const WHAT: &str = "net::TcpStream::connect";
        let process = device::process(WHAT);
        if !process.is_alive() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let handle = act(WHAT, |kernel| kernel.connect(process, to))?;
        let stream = TcpStream::from_handle(handle);
        std::future::poll_fn(|cx| act(WHAT, |kernel| kernel.poll_connect(kernel.end(handle)?, cx.waker()))).await?;
        Ok(stream)
    }

    pub(crate) fn from_handle(handle: Handle) -> Self {
        let (local, peer) = act("net::TcpStream", |kernel| kernel.addresses(handle.end));
        TcpStream { handle, local, peer }
    }

    /// Gives the connection to another face.
    pub(crate) fn into_handle(self) -> Handle {
        std::mem::ManuallyDrop::new(self).handle
    }

    /// The address of this end.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    /// Accepted for tokio's sake: the simulated TCP never waits for more bytes before it sends.
    ///
    /// # Errors
    /// None.
    pub fn set_nodelay(&self, _nodelay: bool) -> io::Result<()> {
        Ok(())
    }

    /// Always true; see [`set_nodelay`](TcpStream::set_nodelay).
    ///
    /// # Errors
    /// None.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// Splits it into halves for two tasks. The write half sends FIN when dropped.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Arc::new(self);
        (OwnedReadHalf(stream.clone()), OwnedWriteHalf(stream))
    }

    #[inline]
    fn poll_read_into(&self, cx: &mut Context<'_>, take: &mut dyn FnMut(&[u8]) -> usize) -> Poll<io::Result<usize>> {
        act("net::TcpStream::read", |kernel| kernel.poll_read(kernel.end(self.handle)?, take, cx.waker()))
    }

    fn poll_read_buf(&self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut take = |arrived: &[u8]| {
            let taken = arrived.len().min(buffer.remaining());
            buffer.put_slice(&arrived[..taken]);
            taken
        };
        self.poll_read_into(cx, &mut take).map_ok(|_| ())
    }

    fn poll_write_from(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        act("net::TcpStream::write", |kernel| kernel.poll_write(kernel.end(self.handle)?, bytes, cx.waker()))
    }

    fn shut_write(&self) -> io::Result<()> {
        act("net::TcpStream::shutdown", |kernel| {
            kernel.shut_write(kernel.end(self.handle)?);
            Ok(())
        })
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        act_if_running(|kernel| {
            if let Ok(end) = kernel.end(self.handle) {
                kernel.release(end);
            }
        });
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpStream({} with {})", self.local, self.peer)
    }
}

/// The reading half of a [`TcpStream`].
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<TcpStream>);

/// The writing half of a [`TcpStream`]; dropped, it sends FIN.
#[derive(Debug)]
pub struct OwnedWriteHalf(Arc<TcpStream>);

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        act_if_running(|kernel| {
            if let Ok(end) = kernel.end(self.0.handle) {
                kernel.shut_write(end);
            }
        });
    }
}

macro_rules! reads {
    ($type:ty, $stream:ident => $reach:expr) => {
        impl AsyncRead for $type {
            #[inline]
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                let $stream = &*self;
                $reach.poll_read_buf(cx, buffer)
            }
        }

        impl futures_io::AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
                let $stream = &*self;
                let mut buffer = ReadBuf::new(buffer);
                $reach.poll_read_buf(cx, &mut buffer).map_ok(|()| buffer.filled().len())
            }
        }
    };
}

macro_rules! writes {
    ($type:ty, $stream:ident => $reach:expr) => {
        impl AsyncWrite for $type {
            #[inline]
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                let $stream = &*self;
                $reach.poll_write_from(cx, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $stream = &*self;
                Poll::Ready($reach.shut_write())
            }
        }

        impl futures_io::AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
                let $stream = &*self;
                $reach.poll_write_from(cx, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                let $stream = &*self;
                Poll::Ready($reach.shut_write())
            }
        }
    };
}

macro_rules! addresses {
    ($($half:ty),*) => {$(
        impl $half {
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
            /// None; as in tokio's signature.
            pub fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.0.peer_addr()
            }
        }
    )*};
}

addresses!(OwnedReadHalf, OwnedWriteHalf);
reads!(TcpStream, stream => stream);
writes!(TcpStream, stream => stream);
reads!(OwnedReadHalf, half => half.0);
writes!(OwnedWriteHalf, half => half.0);
