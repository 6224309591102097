//! What tokio offers beside reading and writing: to look, to try, to wait until one may, and to leave with a reset.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Log;
use super::face::{Kernel, Listener, Net, Simulated, at_once, drain, listener, pair, reads, reads_once, settle};

super::agrees! {
    a_peek_leaves_the_bytes
    a_try_before_there_is_anything_would_block
    a_try_reads_what_is_there_and_then_would_block
    a_try_writes_until_it_would_block
    readable_waits_for_bytes
    the_end_is_readable
    a_reset_is_readable
    a_stream_without_linger_resets
    a_reset_before_the_accept_is_accepted
    halves_come_together_again
}

/// A network whose streams can do all of it.
trait Watchful: Net {
    async fn peek(stream: &Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;
    fn try_read(stream: &Self::Stream, buffer: &mut [u8]) -> io::Result<usize>;
    fn try_write(stream: &Self::Stream, bytes: &[u8]) -> io::Result<usize>;
    async fn readable(stream: &Self::Stream) -> io::Result<()>;
    async fn writable(stream: &Self::Stream) -> io::Result<()>;
    fn leave_with_a_reset(stream: &Self::Stream) -> io::Result<()>;
    fn split_and_reunite(stream: Self::Stream) -> Option<Self::Stream>;
}

macro_rules! watchful {
    ($net:ident) => {
        impl Watchful for $net {
            async fn peek(stream: &Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
                stream.peek(buffer).await
            }

            fn try_read(stream: &Self::Stream, buffer: &mut [u8]) -> io::Result<usize> {
                stream.try_read(buffer)
            }

            fn try_write(stream: &Self::Stream, bytes: &[u8]) -> io::Result<usize> {
                stream.try_write(bytes)
            }

            async fn readable(stream: &Self::Stream) -> io::Result<()> {
                stream.readable().await
            }

            async fn writable(stream: &Self::Stream) -> io::Result<()> {
                stream.writable().await
            }

            fn leave_with_a_reset(stream: &Self::Stream) -> io::Result<()> {
                stream.set_zero_linger()
            }

            fn split_and_reunite(stream: Self::Stream) -> Option<Self::Stream> {
                let (reader, writer) = stream.into_split();
                reader.reunite(writer).ok()
            }
        }
    };
}

watchful!(Kernel);
watchful!(Simulated);

async fn a_peek_leaves_the_bytes<N: Watchful>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"look").await.unwrap();
    settle::<N>().await;
    for _ in 0..2 {
        let mut buffer = [0; 2];
        log.value("peek", N::peek(&server, &mut buffer).await.map(|_| String::from_utf8_lossy(&buffer).into_owned()));
    }
    reads(&log, "server", &mut server, 4).await;
    drop(client);
    settle::<N>().await;
    log.value("peek at the end", N::peek(&server, &mut [0; 2]).await);
    reads_once(&log, "server", &mut server).await;
}

async fn a_try_before_there_is_anything_would_block<N: Watchful>(log: Log) {
    let (_client, server) = pair::<N>().await;
    settle::<N>().await;
    log.value("try to read", N::try_read(&server, &mut [0; 8]));
}

async fn a_try_reads_what_is_there_and_then_would_block<N: Watchful>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    client.write_all(b"there").await.unwrap();
    settle::<N>().await;
    log.value("try", N::try_read(&server, &mut [0; 5]));
    log.value("try", N::try_read(&server, &mut [0; 5]));
    drop(client);
    settle::<N>().await;
    log.value("try", N::try_read(&server, &mut [0; 5]));
}

async fn a_try_writes_until_it_would_block<N: Watchful>(log: Log) {
    let (client, mut server) = pair::<N>().await;
    settle::<N>().await;
    let mut written = 0;
    let blocked = loop {
        match N::try_write(&client, &[7; 65_536]) {
            Ok(more) => written += more,
            // The peer's window may still open: only what stays so is full.
            Err(error) => {
                settle::<N>().await;
                match N::try_write(&client, &[7; 65_536]) {
                    Ok(more) => written += more,
                    Err(_) => break error.kind(),
                }
            }
        }
    };
    log.note(format!("some: {}, then {blocked:?}", written > 0));
    let close = async {
        settle::<N>().await;
        drop(client);
    };
    let mut bytes = Vec::new();
    let (read, ()) = tokio::join!(server.read_to_end(&mut bytes), close);
    log.note(format!("all read: {}", read.unwrap() == written));
}

async fn readable_waits_for_bytes<N: Watchful>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    settle::<N>().await;
    // tokio takes a new stream to be readable until a read says otherwise.
    log.value("try", N::try_read(&server, &mut [0; 8]));
    log.note(format!("at once: {}", at_once(N::readable(&server)).await.is_some()));
    client.write_all(b"!").await.unwrap();
    log.value("readable", N::readable(&server).await);
    log.value("writable", N::writable(&server).await);
}

async fn the_end_is_readable<N: Watchful>(log: Log) {
    let (client, server) = pair::<N>().await;
    drop(client);
    settle::<N>().await;
    log.value("readable", N::readable(&server).await);
    log.value("try", N::try_read(&server, &mut [0; 8]));
}

async fn a_reset_is_readable<N: Watchful>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    settle::<N>().await;
    drop(server);
    settle::<N>().await;
    log.value("readable", N::readable(&client).await);
    log.value("try", N::try_read(&client, &mut [0; 8]));
    log.value("try", N::try_read(&client, &mut [0; 8]));
}

async fn a_stream_without_linger_resets<N: Watchful>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"last words").await.unwrap();
    settle::<N>().await;
    log.outcome("linger", &N::leave_with_a_reset(&client));
    drop(client);
    settle::<N>().await;
    drain(&log, "server", &mut server).await;
    log.value("write", server.write(b"hello?").await);
}

async fn a_reset_before_the_accept_is_accepted<N: Watchful>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let mut client = N::connect(address).await.unwrap();
    client.write_all(b"last words").await.unwrap();
    N::leave_with_a_reset(&client).unwrap();
    drop(client);
    N::sleep(Duration::from_millis(20)).await;
    let accepted = at_once(listener.accept()).await;
    log.note(format!("accepted: {}", accepted.is_some()));
    let Some(Ok((mut server, _))) = accepted else { return };
    drain(&log, "server", &mut server).await;
}

async fn halves_come_together_again<N: Watchful>(log: Log) {
    let (client, mut server) = pair::<N>().await;
    let client = N::split_and_reunite(client);
    log.note(format!("reunited: {}", client.is_some()));
    settle::<N>().await;
    let mut client = client.unwrap();
    client.write_all(b"whole").await.unwrap();
    reads(&log, "server", &mut server, 5).await;
    drop(client);
    drain(&log, "server", &mut server).await;
}
