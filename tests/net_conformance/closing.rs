//! FIN and RST, and what is left to read and write after them.

use tokio::io::AsyncWriteExt;

use super::Log;
use super::face::{Net, Stream, drain, pair, reads, reads_once, settle, soon, writes};

super::agrees! {
    a_half_closed_stream_still_reads_and_the_other_way_round
    the_end_is_read_again_and_again
    what_was_written_before_the_end_arrives
    writes_after_the_own_end_fail
    shutting_down_twice_is_no_error
    shutting_down_after_the_peer_did_is_no_error
    shutting_down_a_reset_stream
    a_peer_that_is_gone_answers_the_first_write_with_a_reset
    a_reader_of_the_end_learns_of_the_reset_by_writing
    a_peer_that_shut_down_still_reads
    closing_with_unread_bytes_resets
    bytes_before_a_reset_are_read_before_it
    a_reset_is_told_once_to_a_reader
    a_reset_is_told_once_to_a_writer
    a_reset_ends_a_read_that_waits
    a_reset_ends_a_write_that_waits
    the_end_ends_a_read_that_waits
    closing_with_unread_bytes_after_shutting_down
    bytes_for_a_peer_that_shut_down_and_closed
    dropped_halves_with_unread_bytes_reset
    both_close_at_once
    a_reset_after_the_own_end
    a_reset_stream_has_no_peer
    a_closed_stream_has_a_peer
}

async fn a_half_closed_stream_still_reads_and_the_other_way_round<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"question").await.unwrap();
    log.outcome("client shuts down", &client.shutdown().await);
    drain(&log, "server", &mut server).await;
    writes(&log, "server", &mut server, b"a longer answer").await;
    settle::<N>().await;
    writes(&log, "server", &mut server, b" and more of it").await;
    log.outcome("server shuts down", &server.shutdown().await);
    drain(&log, "client", &mut client).await;
}

async fn the_end_is_read_again_and_again<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    drop(server);
    for _ in 0..3 {
        reads_once(&log, "client", &mut client).await;
    }
}

async fn what_was_written_before_the_end_arrives<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    let send = async {
        client.write_all(&vec![7; 1_000_000]).await.unwrap();
        drop(client);
    };
    let ((), ()) = tokio::join!(send, drain(&log, "server", &mut server));
}

async fn writes_after_the_own_end_fail<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.shutdown().await.unwrap();
    for _ in 0..2 {
        log.value("write", client.write(b"more").await);
    }
    log.value("write nothing", client.write(b"").await);
    drain(&log, "server", &mut server).await;
    server.write_all(b"reading still works").await.unwrap();
    reads(&log, "client", &mut client, 19).await;
}

async fn shutting_down_twice_is_no_error<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    log.outcome("once", &client.shutdown().await);
    log.outcome("twice", &client.shutdown().await);
    drain(&log, "server", &mut server).await;
    log.outcome("again", &client.shutdown().await);
}

async fn shutting_down_after_the_peer_did_is_no_error<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    server.shutdown().await.unwrap();
    drain(&log, "client", &mut client).await;
    log.outcome("client shuts down", &client.shutdown().await);
    drain(&log, "server", &mut server).await;
    settle::<N>().await;
    log.outcome("client again", &client.shutdown().await);
    log.outcome("server again", &server.shutdown().await);
    reads_once(&log, "client", &mut client).await;
    log.value("client writes", client.write(b"more").await);
}

/// A client whose connection was reset: the server left a byte of it unread.
async fn reset_client<N: Net>() -> N::Stream {
    let (mut client, server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    settle::<N>().await;
    drop(server);
    settle::<N>().await;
    client
}

async fn shutting_down_a_reset_stream<N: Net>(log: Log) {
    let mut client = reset_client::<N>().await;
    log.outcome("shut down", &client.shutdown().await);
    drain(&log, "client", &mut client).await;
    log.outcome("shut down again", &client.shutdown().await);
}

async fn a_peer_that_is_gone_answers_the_first_write_with_a_reset<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    drop(server);
    settle::<N>().await;
    for _ in 0..3 {
        log.value("write", client.write(b"hello?").await);
        settle::<N>().await;
    }
    reads_once(&log, "client", &mut client).await;
}

async fn a_reader_of_the_end_learns_of_the_reset_by_writing<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    drop(server);
    reads_once(&log, "client", &mut client).await;
    writes(&log, "client", &mut client, b"hello?").await;
    settle::<N>().await;
    reads_once(&log, "client", &mut client).await;
    writes(&log, "client", &mut client, b"hello?").await;
    reads_once(&log, "client", &mut client).await;
}

async fn a_peer_that_shut_down_still_reads<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    server.shutdown().await.unwrap();
    settle::<N>().await;
    for _ in 0..3 {
        writes(&log, "client", &mut client, b"word ").await;
        settle::<N>().await;
    }
    drop(client);
    drain(&log, "server", &mut server).await;
}

async fn closing_with_unread_bytes_resets<N: Net>(log: Log) {
    let mut client = reset_client::<N>().await;
    drain(&log, "client", &mut client).await;
}

async fn bytes_before_a_reset_are_read_before_it<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    server.write_all(b"last words").await.unwrap();
    settle::<N>().await;
    drop(server);
    settle::<N>().await;
    drain(&log, "client", &mut client).await;
}

async fn a_reset_is_told_once_to_a_reader<N: Net>(log: Log) {
    let mut client = reset_client::<N>().await;
    reads_once(&log, "client", &mut client).await;
    reads_once(&log, "client", &mut client).await;
    log.value("write", client.write(b"hello?").await);
    reads_once(&log, "client", &mut client).await;
}

async fn a_reset_is_told_once_to_a_writer<N: Net>(log: Log) {
    let mut client = reset_client::<N>().await;
    log.value("write", client.write(b"hello?").await);
    log.value("write", client.write(b"hello?").await);
    reads_once(&log, "client", &mut client).await;
}

async fn a_reset_ends_a_read_that_waits<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    let leave = async {
        settle::<N>().await;
        drop(server);
    };
    let ((), ()) = tokio::join!(drain(&log, "client", &mut client), leave);
}

async fn a_reset_ends_a_write_that_waits<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    let bytes = vec![7; 24 * 1024 * 1024];
    let mut write = Box::pin(writes(&log, "client", &mut client, &bytes));
    let waits = soon::<N, _>(async {
        write.as_mut().await;
        Ok(())
    })
    .await;
    log.outcome("write without a reader", &waits);
    drop(server);
    write.await;
    drain(&log, "client", &mut client).await;
}

async fn the_end_ends_a_read_that_waits<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    let leave = async {
        settle::<N>().await;
        drop(server);
    };
    let ((), ()) = tokio::join!(drain(&log, "client", &mut client), leave);
}

async fn closing_with_unread_bytes_after_shutting_down<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    server.shutdown().await.unwrap();
    settle::<N>().await;
    drop(server);
    settle::<N>().await;
    drain(&log, "client", &mut client).await;
    writes(&log, "client", &mut client, b"hello?").await;
    writes(&log, "client", &mut client, b"hello?").await;
}

async fn bytes_for_a_peer_that_shut_down_and_closed<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    server.shutdown().await.unwrap();
    drop(server);
    settle::<N>().await;
    writes(&log, "client", &mut client, b"hello?").await;
    settle::<N>().await;
    drain(&log, "client", &mut client).await;
    writes(&log, "client", &mut client, b"hello?").await;
}

async fn dropped_halves_with_unread_bytes_reset<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    settle::<N>().await;
    let (reader, writer) = server.into_split();
    drop(reader);
    settle::<N>().await;
    writes(&log, "client", &mut client, b"hello?").await;
    drop(writer);
    settle::<N>().await;
    drain(&log, "client", &mut client).await;
    writes(&log, "client", &mut client, b"hello?").await;
}

async fn both_close_at_once<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    let (one, other) = tokio::join!(client.shutdown(), server.shutdown());
    log.outcome("client shuts down", &one);
    log.outcome("server shuts down", &other);
    drain(&log, "client", &mut client).await;
    drain(&log, "server", &mut server).await;
}

async fn a_reset_after_the_own_end<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    client.write_all(b"unread").await.unwrap();
    client.shutdown().await.unwrap();
    settle::<N>().await;
    drop(server);
    settle::<N>().await;
    drain(&log, "client", &mut client).await;
    log.value("write", client.write(b"hello?").await);
}

async fn a_reset_stream_has_no_peer<N: Net>(log: Log) {
    let client = reset_client::<N>().await;
    log.outcome("own address", &client.local_addr());
    log.outcome("peer address", &client.peer_addr());
}

async fn a_closed_stream_has_a_peer<N: Net>(log: Log) {
    let (client, server) = pair::<N>().await;
    drop(server);
    settle::<N>().await;
    log.outcome("own address", &client.local_addr());
    log.outcome("peer address", &client.peer_addr());
}
