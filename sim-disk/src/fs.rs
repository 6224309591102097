//! The async face, with the names of `tokio::fs`.
//!
//! Only an fsync takes simulated time ([`crate::Options`]). Everything else is done when it is first polled, in the page
//! cache; unlike tokio's, a [`File`] has no buffer of its own, so `flush` has nothing to do.

use std::ffi::OsString;
use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use crate::face::{file, functions, open_options};
use crate::handle::{self, DirItem, Handle};
use crate::open::Mode;

pub use crate::volume::Metadata;

/// An open file or directory of the node that opened it. Writes reach the page cache at once.
///
/// Reads, writes and seeks through the traits of tokio or those of `futures`.
pub struct File(Handle);

file!(sync, async, await);
open_options!(File, async);
functions!(async);

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
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let want = buffer.remaining();
        Poll::Ready(self.0.read(None, want, |part| buffer.put_slice(part)).map(|_| ()))
    }
}

impl futures_io::AsyncRead for File {
    fn poll_read(self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.read_into(None, buffer))
    }
}

impl AsyncWrite for File {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(None, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl futures_io::AsyncWrite for File {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(None, bytes))
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
