//! Unix sockets: streams within a machine, by path, with tokio's names.
//!
//! The directory of a path is not asked for: the network knows no file system. A path stays when nobody listens on it any more, until it is unlinked: by the simulated file system, which asks the
//! network for files that it does not know, or by [`unlink`].

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};

use sim_core::device::Process;

use crate::bytes::{asks_readiness, reads, writes};
use crate::kernel::{Kernel, Listener, act, act_if_running, wait};
use crate::raw::{Connection, living};
use crate::tcp::{End, Handle, Phase, Socket};

/// What stands for the addresses of a Unix socket in the kernel.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A connection between two processes of a machine.
pub struct UnixStream {
    raw: Connection,
    path: Option<PathBuf>,
}

impl UnixStream {
    /// Connects to whoever listens on a path of this machine.
    ///
    /// # Errors
    /// `NotFound` without such a path, `ConnectionRefused` when nobody listens on it, `WouldBlock` when too many wait to be
    /// accepted.
    ///
    /// # Panics
    /// Outside a simulation.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        const WHAT: &str = "net::UnixStream::connect";
        let process = living(WHAT)?;
        let handle = act(WHAT, |kernel| kernel.connect_path(process, &text(path.as_ref())))?;
        Ok(UnixStream { raw: Connection::from_handle(handle), path: Some(path.as_ref().to_path_buf()) })
    }

    /// Two streams that are connected with each other.
    ///
    /// # Errors
    /// When the process has died.
    ///
    /// # Panics
    /// Outside a simulation.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        const WHAT: &str = "net::UnixStream::pair";
        let process = living(WHAT)?;
        let (one, other) = act(WHAT, |kernel| {
            let end = kernel.connect_locally(process, process);
            (kernel.handle(end), kernel.handle(End { side: 1, ..end }))
        });
        let stream = |handle| UnixStream { raw: Connection::from_handle(handle), path: None };
        Ok((stream(one), stream(other)))
    }

    /// Splits it into halves for two tasks. The write half sends the end when dropped.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Arc::new(self);
        (OwnedReadHalf(stream.clone()), OwnedWriteHalf(stream))
    }

    /// The path it connected to, if it did.
    pub fn peer_path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Gives the connection to another face.
    pub fn into_raw(self) -> Connection {
        self.raw
    }
}

asks_readiness!(UnixStream);
reads!(UnixStream, stream => stream.raw);
writes!(UnixStream, stream => stream.raw);

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixStream").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The reading half of a [`UnixStream`].
#[derive(Debug)]
pub struct OwnedReadHalf(Arc<UnixStream>);

/// The writing half of a [`UnixStream`]; dropped, it sends the end.
#[derive(Debug)]
pub struct OwnedWriteHalf(Arc<UnixStream>);

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        self.0.raw.shut_if_running();
    }
}

reads!(OwnedReadHalf, half => half.0.raw);
writes!(OwnedWriteHalf, half => half.0.raw);

/// Accepts connections on a path of this machine.
#[derive(Debug)]
pub struct UnixListener {
    process: Process,
    path: PathBuf,
}

impl UnixListener {
    /// Listens on a path.
    ///
    /// # Errors
    /// `AddrInUse` when the path is there, whoever made it.
    ///
    /// # Panics
    /// Outside a simulation.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        const WHAT: &str = "net::UnixListener::bind";
        let process = living(WHAT)?;
        act(WHAT, |kernel| kernel.listen_path(process, text(path.as_ref())))?;
        Ok(UnixListener { process, path: path.as_ref().to_path_buf() })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// When the process that listens has died.
    pub async fn accept(&self) -> io::Result<(UnixStream, Option<PathBuf>)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Waits for a connection, as a poll.
    ///
    /// # Errors
    /// When the process that listens has died.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Option<PathBuf>)>> {
        if !self.process.is_alive() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let accepted = act("net::UnixListener::accept", |kernel| {
            let listener = kernel.host(self.process.node).paths.get_mut(&text(&self.path)).and_then(Option::as_mut);
            let Some(listener) = listener else { return Poll::Pending };
            if let Some(connection) = listener.ready.pop_front() {
                return Poll::Ready(kernel.handle(End { connection, side: 1 }));
            }
            wait(&mut listener.wakers, cx.waker());
            kernel.waiting("accept on a path", 0);
            Poll::Pending
        });
        accepted.map(|handle| Ok((UnixStream { raw: Connection::from_handle(handle), path: None }, None)))
    }

    /// The path it listens on.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        if self.process.is_alive() {
            act_if_running(|kernel| kernel.stop_listening(self.process, &text(&self.path)));
        }
    }
}

/// Removes the path of a Unix socket of the current node.
///
/// # Errors
/// `NotFound` when there is none.
#[track_caller]
pub fn unlink(path: impl AsRef<Path>) -> io::Result<()> {
    let node = sim_core::current_node().id();
    let gone = act("net::unix::unlink", |kernel| kernel.host(node).paths.remove(&text(path.as_ref())).is_some());
    if gone { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

impl Kernel {
    fn listen_path(&mut self, process: Process, path: String) -> io::Result<()> {
        let paths = &mut self.host(process.node).paths;
        if paths.contains_key(&path) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let listener = Listener { process, address: NOWHERE, ready: VecDeque::new(), wakers: Vec::new() };
        paths.insert(path, Some(listener));
        Ok(())
    }

    fn connect_path(&mut self, process: Process, path: &str) -> io::Result<Handle> {
        let backlog = self.options.backlog;
        let listener = self.host(process.node).paths.get(path).ok_or(io::ErrorKind::NotFound)?;
        let listener = listener.as_ref().ok_or(io::ErrorKind::ConnectionRefused)?;
        let (server, full) = (listener.process, listener.ready.len() > backlog);
        if full {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let end = self.connect_locally(process, server);
        if let Some(Some(listener)) = self.host(process.node).paths.get_mut(path) {
            listener.ready.push_back(end.connection);
            let wakers = std::mem::take(&mut listener.wakers);
            self.wakes.extend(wakers);
        }
        Ok(self.handle(end))
    }

    /// A connection that is open at once.
    fn connect_locally(&mut self, client: Process, server: Process) -> End {
        let link = self.links.id(client.node, client.node);
        let connection =
            self.connect_ends(Socket::new(client, NOWHERE, link), Socket::new(server, NOWHERE, link), Phase::Open);
        self.set_local(connection);
        End { connection, side: 0 }
    }

    fn stop_listening(&mut self, process: Process, path: &str) {
        let Some(listener) = self.host(process.node).paths.get_mut(path) else { return };
        let waiting = listener.take().map(|listener| listener.ready).unwrap_or_default();
        waiting.into_iter().for_each(|connection| self.refuse(End { connection, side: 1 }));
    }
}
