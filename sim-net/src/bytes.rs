//! What every stream of bytes can do, whatever carries it: tokio's traits and those of `futures`, and asking whether it is
//! ready.

use std::io;
use std::task::{Poll, Waker};

use tokio::io::ReadBuf;

use crate::raw::{Connection, Ready};

/// Bytes in the pieces to copy them in. The C library copies a large piece with `rep movsb`, which on some processors takes
/// sixteen times as long when source and target lie alike within their pages; a small one with vector instructions.
#[inline]
pub(crate) fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(2_048)
}

impl Connection {
    #[inline]
    pub(crate) fn poll_read_buf(&self, waker: &Waker, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut take = |arrived: &[u8]| {
            let taken = arrived.len().min(buffer.remaining());
            pieces(&arrived[..taken]).for_each(|piece| buffer.put_slice(piece));
            taken
        };
        self.poll_read(&mut take, waker).map_ok(|_| ())
    }

    /// Waits until it is ready as `enough` says.
    async fn wait_until(&self, enough: impl Fn(Ready) -> bool) {
        std::future::poll_fn(|cx| {
            if enough(self.ready(cx.waker())) {
                return Poll::Ready(());
            }
            self.says_it_waits();
            Poll::Pending
        })
        .await;
    }

    /// Waits until there is something to read: bytes, an end, or an error.
    pub(crate) async fn wait_readable(&self) {
        self.wait_until(|ready| ready.readable || ready.read_closed).await;
    }

    /// Waits until something can be written.
    pub(crate) async fn wait_writable(&self) {
        self.wait_until(|ready| ready.writable).await;
    }

    /// Waits until there are bytes or an end, and shows them.
    pub(crate) async fn wait_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait_readable().await;
        let mut shown = 0;
        self.peek(&mut |part| {
            let n = part.len().min(buffer.len() - shown);
            buffer[shown..shown + n].copy_from_slice(&part[..n]);
            shown += n;
        });
        match self.take_error() {
            Some(error) if shown == 0 => Err(error),
            _ => Ok(shown),
        }
    }

    /// Reads what is there.
    pub(crate) fn try_read_into(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(buffer);
        // Whoever waits to read goes on waiting.
        let polled = self.state().readable.then(|| self.poll_read_buf(Waker::noop(), &mut buffer));
        match polled {
            Some(Poll::Ready(result)) => result.map(|()| buffer.filled().len()),
            Some(Poll::Pending) | None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes what fits.
    pub(crate) fn try_write_from(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.state().writable.then(|| self.poll_write(bytes, Waker::noop())) {
            Some(Poll::Ready(result)) => result,
            Some(Poll::Pending) | None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

macro_rules! asks_readiness {
    ($type:ty) => {
        impl $type {
            /// Shows bytes that have arrived, and leaves them; 0 at the end of the stream.
            ///
            /// # Errors
            /// As reading.
            pub async fn peek(&self, buffer: &mut [u8]) -> ::std::io::Result<usize> {
                self.raw.wait_peek(buffer).await
            }

            /// Reads what is there.
            ///
            /// # Errors
            /// `WouldBlock` when nothing is; otherwise as reading.
            pub fn try_read(&self, buffer: &mut [u8]) -> ::std::io::Result<usize> {
                self.raw.try_read_into(buffer)
            }

            /// Writes what fits.
            ///
            /// # Errors
            /// `WouldBlock` when nothing does; otherwise as writing.
            pub fn try_write(&self, bytes: &[u8]) -> ::std::io::Result<usize> {
                self.raw.try_write_from(bytes)
            }

            /// Waits until there is something to read.
            ///
            /// # Errors
            /// None; as in tokio's signature.
            pub async fn readable(&self) -> ::std::io::Result<()> {
                self.raw.wait_readable().await;
                Ok(())
            }

            /// Waits until something can be written.
            ///
            /// # Errors
            /// None; as in tokio's signature.
            pub async fn writable(&self) -> ::std::io::Result<()> {
                self.raw.wait_writable().await;
                Ok(())
            }
        }
    };
}

macro_rules! reads {
    ($type:ty, $stream:ident => $reach:expr) => {
        impl ::tokio::io::AsyncRead for $type {
            #[inline]
            fn poll_read(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buffer: &mut ::tokio::io::ReadBuf<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                let $stream = &*self;
                $reach.poll_read_buf(cx.waker(), buffer)
            }
        }

        impl futures_io::AsyncRead for $type {
            fn poll_read(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buffer: &mut [u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                let $stream = &*self;
                let mut buffer = ::tokio::io::ReadBuf::new(buffer);
                $reach.poll_read_buf(cx.waker(), &mut buffer).map_ok(|()| buffer.filled().len())
            }
        }
    };
}

macro_rules! writes {
    ($type:ty, $stream:ident => $reach:expr) => {
        writes!(@ ::tokio::io::AsyncWrite, poll_shutdown, $type, $stream => $reach);
        writes!(@ ::futures_io::AsyncWrite, poll_close, $type, $stream => $reach);
    };
    (@ $trait:path, $poll_close:ident, $type:ty, $stream:ident => $reach:expr) => {
        impl $trait for $type {
            #[inline]
            fn poll_write(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                bytes: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                let $stream = &*self;
                $reach.poll_write(bytes, cx.waker())
            }

            fn poll_flush(
                self: ::std::pin::Pin<&mut Self>,
                _cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::task::Poll::Ready(Ok(()))
            }

            fn $poll_close(
                self: ::std::pin::Pin<&mut Self>,
                _cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                let $stream = &*self;
                ::std::task::Poll::Ready($reach.shut_write())
            }
        }
    };
}

pub(crate) use {asks_readiness, reads, writes};
