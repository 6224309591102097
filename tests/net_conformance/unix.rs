//! Sockets of a machine with itself.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Log;
use super::face::{Kernel, Net, Simulated, drain, reads, reads_once, settle, soon, writes};

super::agrees! {
    nobody_is_at_a_path_that_is_not_there
    nobody_listens_at_a_path_that_was_left
    a_path_is_bound_once
    a_path_that_was_left_is_still_taken
    an_echo_comes_back_in_order
    a_half_closed_stream_still_reads
    a_peer_that_is_gone_ends_the_stream
    a_write_to_a_peer_that_is_gone_fails_at_once
    closing_with_unread_bytes_resets
    what_waits_to_be_accepted_is_reset_with_the_listener
    bytes_wait_for_whoever_accepts
    a_connection_that_is_already_closed_is_accepted
    a_pair_talks_both_ways
    a_dropped_write_half_ends_the_stream
    a_writer_waits_for_its_reader
    shutting_down_twice_is_no_error
    writes_after_the_own_end_fail
}

/// A network that has sockets in the file system.
trait Paths: Net {
    type Near: AsyncRead + AsyncWrite + Unpin;
    type NearListener;
    fn bind(path: &Path) -> io::Result<Self::NearListener>;
    async fn accept(listener: &Self::NearListener) -> io::Result<Self::Near>;
    async fn connect_near(path: &Path) -> io::Result<Self::Near>;
    fn near_pair() -> io::Result<(Self::Near, Self::Near)>;
    fn split(stream: Self::Near) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin);
    /// A directory that has no sockets yet.
    fn directory() -> Directory;
}

/// Where sockets may be bound. On the real machine it was made for one program, and goes with it.
struct Directory {
    path: PathBuf,
    was_made: bool,
}

impl Directory {
    fn of_the_simulation() -> Self {
        Directory { path: "/".into(), was_made: false }
    }

    fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("net_conformance-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Directory { path, was_made: true }
    }

    /// The path that the programs bind to.
    fn socket(&self) -> PathBuf {
        self.path.join("s")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.was_made {
            drop(std::fs::remove_file(self.socket()));
            drop(std::fs::remove_dir(&self.path));
        }
    }
}

macro_rules! paths {
    ($net:ident: $($path:ident)::+, $directory:expr) => {
        impl Paths for $net {
            type Near = $($path)::+::UnixStream;
            type NearListener = $($path)::+::UnixListener;

            fn bind(path: &Path) -> io::Result<Self::NearListener> {
                Self::NearListener::bind(path)
            }

            async fn accept(listener: &Self::NearListener) -> io::Result<Self::Near> {
                listener.accept().await.map(|(stream, _)| stream)
            }

            async fn connect_near(path: &Path) -> io::Result<Self::Near> {
                Self::Near::connect(path).await
            }

            fn near_pair() -> io::Result<(Self::Near, Self::Near)> {
                Self::Near::pair()
            }

            fn split(stream: Self::Near) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
                stream.into_split()
            }

            fn directory() -> Directory {
                $directory
            }
        }
    };
}

paths!(Kernel: tokio::net, Directory::make());
paths!(Simulated: sim::net, Directory::of_the_simulation());

async fn pair<N: Paths>() -> (N::Near, N::Near) {
    let directory = N::directory();
    let listener = N::bind(&directory.socket()).unwrap();
    let client = N::connect_near(&directory.socket()).await.unwrap();
    (client, N::accept(&listener).await.unwrap())
}

async fn nobody_is_at_a_path_that_is_not_there<N: Paths>(log: Log) {
    let directory = N::directory();
    log.outcome("connect", &N::connect_near(&directory.socket()).await);
}

async fn nobody_listens_at_a_path_that_was_left<N: Paths>(log: Log) {
    let directory = N::directory();
    let path = directory.socket();
    drop(N::bind(&path).unwrap());
    log.outcome("connect", &N::connect_near(&path).await);
}

async fn a_path_is_bound_once<N: Paths>(log: Log) {
    let directory = N::directory();
    let path = directory.socket();
    let _listener = N::bind(&path).unwrap();
    log.outcome("bind again", &N::bind(&path));
    log.outcome("connect to the first", &N::connect_near(&path).await);
}

async fn a_path_that_was_left_is_still_taken<N: Paths>(log: Log) {
    let directory = N::directory();
    let path = directory.socket();
    drop(N::bind(&path).unwrap());
    log.outcome("bind again", &N::bind(&path));
}

async fn an_echo_comes_back_in_order<N: Paths>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    for words in ["one", "two", "three"] {
        client.write_all(words.as_bytes()).await.unwrap();
        let mut heard = vec![0; words.len()];
        server.read_exact(&mut heard).await.unwrap();
        server.write_all(&heard).await.unwrap();
        reads(&log, "client", &mut client, words.len()).await;
    }
}

async fn a_half_closed_stream_still_reads<N: Paths>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"question").await.unwrap();
    log.outcome("client shuts down", &client.shutdown().await);
    drain(&log, "server", &mut server).await;
    writes(&log, "server", &mut server, b"a longer answer").await;
    log.outcome("server shuts down", &server.shutdown().await);
    drain(&log, "client", &mut client).await;
}

async fn a_peer_that_is_gone_ends_the_stream<N: Paths>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    server.write_all(b"farewell").await.unwrap();
    drop(server);
    drain(&log, "client", &mut client).await;
    reads_once(&log, "client", &mut client).await;
}

async fn a_write_to_a_peer_that_is_gone_fails_at_once<N: Paths>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    drop(server);
    settle::<N>().await;
    for _ in 0..2 {
        log.value("write", client.write(b"hello?").await);
    }
    reads_once(&log, "client", &mut client).await;
}

async fn closing_with_unread_bytes_resets<N: Paths>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    server.write_all(b"last words").await.unwrap();
    settle::<N>().await;
    drop(server);
    settle::<N>().await;
    drain(&log, "client", &mut client).await;
    drain(&log, "client", &mut client).await;
    log.value("write", client.write(b"hello?").await);
}

async fn what_waits_to_be_accepted_is_reset_with_the_listener<N: Paths>(log: Log) {
    let directory = N::directory();
    let path = directory.socket();
    let listener = N::bind(&path).unwrap();
    let mut client = N::connect_near(&path).await.unwrap();
    drop(listener);
    settle::<N>().await;
    drain(&log, "client", &mut client).await;
    drain(&log, "client", &mut client).await;
    log.value("write", client.write(b"hello?").await);
}

async fn bytes_wait_for_whoever_accepts<N: Paths>(log: Log) {
    let directory = N::directory();
    let path = directory.socket();
    let listener = N::bind(&path).unwrap();
    let mut client = N::connect_near(&path).await.unwrap();
    writes(&log, "client", &mut client, b"early").await;
    let mut server = N::accept(&listener).await.unwrap();
    reads(&log, "server", &mut server, 5).await;
}

async fn a_connection_that_is_already_closed_is_accepted<N: Paths>(log: Log) {
    let directory = N::directory();
    let path = directory.socket();
    let listener = N::bind(&path).unwrap();
    let mut client = N::connect_near(&path).await.unwrap();
    client.write_all(b"farewell").await.unwrap();
    drop(client);
    let mut server = N::accept(&listener).await.unwrap();
    drain(&log, "server", &mut server).await;
}

async fn a_pair_talks_both_ways<N: Paths>(log: Log) {
    let (mut one, mut other) = N::near_pair().unwrap();
    writes(&log, "one", &mut one, b"question").await;
    reads(&log, "other", &mut other, 8).await;
    writes(&log, "other", &mut other, b"answer").await;
    reads(&log, "one", &mut one, 6).await;
    drop(other);
    drain(&log, "one", &mut one).await;
}

async fn a_dropped_write_half_ends_the_stream<N: Paths>(log: Log) {
    let (one, mut other) = N::near_pair().unwrap();
    let (mut reader, mut writer) = N::split(one);
    writer.write_all(b"all there is").await.unwrap();
    drop(writer);
    drain(&log, "other", &mut other).await;
    writes(&log, "other", &mut other, b"thanks").await;
    drop(other);
    drain(&log, "one", &mut reader).await;
}

async fn a_writer_waits_for_its_reader<N: Paths>(log: Log) {
    let (mut one, mut other) = N::near_pair().unwrap();
    let bytes = vec![7; 8 * 1024 * 1024];
    let mut all = Box::pin(async { one.write_all(&bytes).await.map(|()| drop(one)) });
    log.outcome("write without a reader", &soon::<N, _>(&mut all).await);
    let (written, ()) = tokio::join!(all, drain(&log, "other", &mut other));
    log.outcome("write with a reader", &written);
}

async fn shutting_down_twice_is_no_error<N: Paths>(log: Log) {
    let (mut one, mut other) = N::near_pair().unwrap();
    log.outcome("once", &one.shutdown().await);
    log.outcome("twice", &one.shutdown().await);
    drain(&log, "other", &mut other).await;
    drop(other);
    log.outcome("after the peer", &one.shutdown().await);
}

async fn writes_after_the_own_end_fail<N: Paths>(log: Log) {
    let (mut one, mut other) = N::near_pair().unwrap();
    one.shutdown().await.unwrap();
    log.value("write", one.write(b"more").await);
    drain(&log, "other", &mut other).await;
}
