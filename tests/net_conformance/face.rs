//! The two networks behind one trait, and what programs share.

use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Log;

/// A network with tokio's names.
pub(super) trait Net: 'static {
    type Listener: Listener<Stream = Self::Stream>;
    type Stream: Stream;
    type Socket: Socket;
    async fn listen(at: impl Display) -> io::Result<Self::Listener>;
    async fn connect(to: impl Display) -> io::Result<Self::Stream>;
    async fn socket(at: impl Display) -> io::Result<Self::Socket>;
    async fn sleep(time: Duration);
    /// An address of this machine that is not of its loopback interface, if it has one.
    fn own_ip() -> IpAddr;
}

pub(super) trait Listener {
    type Stream;
    async fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {
    type ReadHalf: AsyncRead + Unpin;
    type WriteHalf: AsyncWrite + Unpin;
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    fn nodelay(&self) -> io::Result<bool>;
    fn set_nodelay(&self, nodelay: bool) -> io::Result<()>;
    fn into_split(self) -> (Self::ReadHalf, Self::WriteHalf);
}

pub(super) trait Socket {
    async fn connect(&self, to: SocketAddr) -> io::Result<()>;
    async fn send(&self, bytes: &[u8]) -> io::Result<usize>;
    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize>;
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize>;
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// Real tokio on the real kernel.
pub(super) struct Kernel;

/// The simulator.
pub(super) struct Simulated;

/// The programs speak to both through tokio's names, so one text makes both.
macro_rules! face {
    ($net:ident: $($path:ident)::+, $sleep:path, $own_ip:expr) => {
        impl Net for $net {
            type Listener = $($path)::+::TcpListener;
            type Stream = $($path)::+::TcpStream;
            type Socket = $($path)::+::UdpSocket;

            async fn listen(at: impl Display) -> io::Result<Self::Listener> {
                Self::Listener::bind(at.to_string()).await
            }

            async fn connect(to: impl Display) -> io::Result<Self::Stream> {
                Self::Stream::connect(to.to_string()).await
            }

            async fn socket(at: impl Display) -> io::Result<Self::Socket> {
                Self::Socket::bind(at.to_string()).await
            }

            async fn sleep(time: Duration) {
                $sleep(time).await;
            }

            fn own_ip() -> IpAddr {
                $own_ip
            }
        }

        impl Listener for $($path)::+::TcpListener {
            type Stream = $($path)::+::TcpStream;

            async fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)> {
                self.accept().await
            }

            fn local_addr(&self) -> io::Result<SocketAddr> {
                self.local_addr()
            }
        }

        impl Socket for $($path)::+::UdpSocket {
            async fn connect(&self, to: SocketAddr) -> io::Result<()> {
                self.connect(to).await
            }

            async fn send(&self, bytes: &[u8]) -> io::Result<usize> {
                self.send(bytes).await
            }

            async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
                self.send_to(bytes, to).await
            }

            async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.recv(buffer).await
            }

            async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
                self.recv_from(buffer).await
            }

            fn local_addr(&self) -> io::Result<SocketAddr> {
                self.local_addr()
            }
        }
    };
}

/// Beside [`face`], because tokio keeps the names of the halves in a module of their own.
macro_rules! stream {
    ($stream:path, $read_half:path, $write_half:path) => {
        impl Stream for $stream {
            type ReadHalf = $read_half;
            type WriteHalf = $write_half;

            fn local_addr(&self) -> io::Result<SocketAddr> {
                self.local_addr()
            }

            fn peer_addr(&self) -> io::Result<SocketAddr> {
                self.peer_addr()
            }

            fn nodelay(&self) -> io::Result<bool> {
                self.nodelay()
            }

            fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.set_nodelay(nodelay)
            }

            fn into_split(self) -> (Self::ReadHalf, Self::WriteHalf) {
                self.into_split()
            }
        }
    };
}

face!(Kernel: tokio::net, tokio::time::sleep, address_of_the_default_route());
face!(Simulated: sim::net, sim::time::sleep, sim::net::ip_of(sim::current_node()));
stream!(tokio::net::TcpStream, tokio::net::tcp::OwnedReadHalf, tokio::net::tcp::OwnedWriteHalf);
stream!(sim::net::TcpStream, sim::net::OwnedReadHalf, sim::net::OwnedWriteHalf);

/// Nothing is sent: to connect a UDP socket is to look up a route. A machine without one has the loopback network only.
fn address_of_the_default_route() -> IpAddr {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let looked_up = socket.connect("203.0.113.1:9").and_then(|()| socket.local_addr());
    looked_up.map_or(Ipv4Addr::LOCALHOST.into(), |address| address.ip())
}

/// Lets arrive whatever is on its way.
pub(super) async fn settle<N: Net>() {
    N::sleep(Duration::from_millis(20)).await;
}

/// What comes of it within a fifth of a second, or `TimedOut`. For what is expected not to come.
pub(super) async fn soon<N: Net, T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::select! {
        biased;
        result = future => result,
        () = N::sleep(Duration::from_millis(200)) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A listener on a free port of the loopback interface, and its address.
pub(super) async fn listener<N: Net>() -> (N::Listener, SocketAddr) {
    let listener = N::listen("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two ends of a connection: the one that connected, and the one that was accepted.
pub(super) async fn pair<N: Net>() -> (N::Stream, N::Stream) {
    let (listener, address) = listener::<N>().await;
    let client = N::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// A UDP socket on a free port of the loopback interface, and its address.
pub(super) async fn socket<N: Net>() -> (N::Socket, SocketAddr) {
    let socket = N::socket("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Reads until there is nothing more, and notes how much there was and how it ended.
pub(super) async fn drain(log: &Log, who: &str, stream: &mut (impl AsyncRead + Unpin)) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).await.map(|_| "end").map_err(|error| error.kind());
    log.note(format!("{who} reads {} bytes, then {end:?}", bytes.len()));
}

/// Reads exactly so many bytes, and notes them as text.
pub(super) async fn reads(log: &Log, who: &str, stream: &mut (impl AsyncRead + Unpin), length: usize) {
    let mut bytes = vec![0; length];
    let read = stream.read_exact(&mut bytes).await;
    log.value(&format!("{who} reads"), read.map(|_| String::from_utf8_lossy(&bytes).into_owned()));
}

/// Reads once, and notes what comes of it.
pub(super) async fn reads_once(log: &Log, who: &str, stream: &mut (impl AsyncRead + Unpin)) {
    log.value(&format!("{who} reads once"), stream.read(&mut [0; 64]).await);
}

/// Writes everything, and notes how it went.
pub(super) async fn writes(log: &Log, who: &str, stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    log.outcome(&format!("{who} writes"), &stream.write_all(bytes).await);
}

/// What has arrived, until there is no more for now: how many bytes, and the end or the error if one was reached.
pub(super) async fn takes(stream: &mut (impl AsyncRead + Unpin)) -> (usize, Option<Result<(), io::ErrorKind>>) {
    let (mut total, mut buffer) = (0, [0; 4096]);
    loop {
        match at_once(stream.read(&mut buffer)).await {
            None => return (total, None),
            Some(Ok(0)) => return (total, Some(Ok(()))),
            Some(Ok(more)) => total += more,
            Some(Err(error)) => return (total, Some(Err(error.kind()))),
        }
    }
}

/// What a future has to say when it is asked once.
pub(super) async fn at_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| match Pin::as_mut(&mut future).poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}
