//! The async face, with the names of `tokio::fs`.
//!
//! What reaches the device takes simulated time: an fsync always, reads and writes past the cache as far as
//! [`Performance`](crate::Performance) or a fault says. Everything else is done when it is first polled, in the page cache.
//! Unlike tokio's, a [`File`] has no buffer of its own, so `flush` has nothing to do.

use std::ffi::OsString;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::face::{file, functions, open_options};
use crate::handle::{self, DirItem, Handle};
use crate::open::Mode;
use crate::operation::Busy;
use crate::sync::Extent;

pub use crate::volume::Metadata;

/// An open file or directory of the node that opened it. Writes reach the page cache at once.
///
/// Reads, writes and seeks through the traits of tokio or those of `futures`.
pub struct File(Handle, Busy);

impl From<Handle> for File {
    fn from(handle: Handle) -> Self {
        File(handle, Busy::default())
    }
}

file!(sync, read_in_time, write_in_time, async, await);
open_options!(File, async);
functions!(read, copy, async, await);

impl File {
    fn poll_read_in_time<R>(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
        read: impl FnOnce(&Handle) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let File(handle, busy) = self;
        busy.poll_read(cx, || handle.begin_read(None, want), || read(handle))
    }

    fn poll_write_in_time(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let File(handle, busy) = self;
        busy.poll_write(cx, || handle.begin_write(None, bytes), |result| handle.end_write(result))
    }
}

impl ReadDir {
    /// The next entry; none at the end.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub async fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        Ok(self.0.next().map(DirEntry))
    }
}

impl AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let want = buffer.remaining();
        let read = |handle: &Handle| handle.read(None, want, |part| buffer.put_slice(part)).map(drop);
        self.get_mut().poll_read_in_time(cx, want, read)
    }
}

impl futures_io::AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_read_in_time(cx, buffer.len(), |handle| handle.read_into(None, buffer))
    }
}

impl AsyncWrite for File {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_in_time(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl futures_io::AsyncWrite for File {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_in_time(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for File {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        self.0.seek(to).map(|_| ())
    }

    fn poll_complete(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(self.0.seek(SeekFrom::Current(0)))
    }
}

impl futures_io::AsyncSeek for File {
    fn poll_seek(self: Pin<&mut Self>, _cx: &mut Context<'_>, to: SeekFrom) -> Poll<io::Result<u64>> {
        Poll::Ready(self.0.seek(to))
    }
}
