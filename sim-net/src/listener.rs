//! TCP listeners, with tokio's names.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use sim_core::device::{self, Process};

use crate::address::{ToSocketAddrs, lookup};
use crate::kernel::{Kernel, Listener, act, act_if_running, wait};
use crate::raw::Connection;
use crate::stream::TcpStream;
use crate::tcp::End;

/// Accepts TCP connections.
#[derive(Debug)]
pub struct TcpListener {
    process: Process,
    local: SocketAddr,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound. Port 0 picks a free one.
    ///
    /// # Errors
    /// `AddrInUse`, or `AddrNotAvailable` for an address that is not of this node.
    ///
    /// # Panics
    /// Outside a simulation.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind to");
        for address in lookup(address).await? {
            match TcpListener::bind_now("net::TcpListener::bind", address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) fn bind_now(what: &str, address: SocketAddr) -> io::Result<TcpListener> {
        let process = device::process(what);
        if !process.is_alive() {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let local = act(what, |kernel| kernel.listen(process, address))?;
        Ok(TcpListener { process, local })
    }

    /// Whether a connection waits to be accepted; otherwise `waker` is woken when one comes.
    pub(crate) fn is_ready(&self, kernel: &mut Kernel, waker: &Waker) -> bool {
        let listener = kernel.host(self.process.node).listeners.get_mut(self.local);
        listener.filter(|listener| listener.process == self.process).is_some_and(|listener| {
            wait(&mut listener.wakers, waker);
            !listener.ready.is_empty()
        })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// When the process that listens has died.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Waits for a connection, as a poll.
    ///
    /// # Errors
    /// When the process that listens has died.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        if !self.process.is_alive() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let (process, local) = (self.process, self.local);
        let accepted = act("net::TcpListener::accept", |kernel| {
            let Some(listener) = kernel.host(process.node).listeners.get_mut(local) else { return Poll::Pending };
            if let Some(connection) = listener.ready.pop_front() {
                return Poll::Ready(kernel.handle(End { connection, side: 1 }));
            }
            wait(&mut listener.wakers, cx.waker());
            kernel.waiting("accept", u64::from(local.port()));
            Poll::Pending
        });
        accepted.map(|handle| {
            let stream = Connection::from_handle(handle);
            let peer = stream.addresses().1;
            Ok((TcpStream::from_raw(stream), peer))
        })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// None; as in tokio's signature.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if !self.process.is_alive() {
            return;
        }
        act_if_running(|kernel| {
            let listener = kernel.host(self.process.node).listeners.remove(self.local);
            let waiting = listener.map(|listener| listener.ready).unwrap_or_default();
            waiting.into_iter().for_each(|connection| kernel.refuse(End { connection, side: 1 }));
        });
    }
}

impl Kernel {
    fn listen(&mut self, process: Process, address: SocketAddr) -> io::Result<SocketAddr> {
        let local = self.bind_address(process.node, address, |host, address| {
            host.listeners.is_taken(address) || host.connects_from(address.port())
        })?;
        let listener = Listener { process, address: local, ready: VecDeque::new(), wakers: Vec::new() };
        self.host(process.node).listeners.insert(local, listener);
        Ok(local)
    }
}
