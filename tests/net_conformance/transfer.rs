//! Bytes from one end to the other: order, backpressure, halves.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Log;
use super::face::{Net, Stream, drain, pair, reads, reads_once, settle, soon, takes, writes};

super::agrees! {
    an_echo_comes_back_in_order
    writes_arrive_as_one_stream
    an_empty_write_sends_nothing
    an_empty_read_takes_nothing_of_what_is_there
    an_empty_read_after_the_end
    a_read_waits_for_the_first_byte
    a_writer_waits_for_its_reader
    both_directions_run_at_once
    both_halves_work_in_one_task
    a_dropped_write_half_ends_the_stream
    a_dropped_read_half_changes_nothing
    flush_is_always_done
    two_connections_do_not_mix
    nodelay_is_off_until_it_is_set
}

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// Reads to the end and notes how much came and whether all of it is where it belongs.
async fn reads_the_pattern(log: &Log, who: &str, stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut bytes = Vec::new();
    let read = stream.read_to_end(&mut bytes).await;
    log.value(&format!("{who} reads"), read.map(|length| (length, bytes == pattern(length))));
}

async fn an_echo_comes_back_in_order<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    for words in ["one", "two", "three"] {
        client.write_all(words.as_bytes()).await.unwrap();
        let mut heard = vec![0; words.len()];
        server.read_exact(&mut heard).await.unwrap();
        server.write_all(&heard).await.unwrap();
        reads(&log, "client", &mut client, words.len()).await;
    }
}

async fn writes_arrive_as_one_stream<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    for piece in pattern(5_000).chunks(7) {
        client.write_all(piece).await.unwrap();
    }
    drop(client);
    reads_the_pattern(&log, "server", &mut server).await;
}

async fn an_empty_write_sends_nothing<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    log.value("write nothing", client.write(&[]).await);
    settle::<N>().await;
    log.note(format!("{:?}", takes(&mut server).await));
}

async fn an_empty_read_takes_nothing_of_what_is_there<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    client.write_all(b"abc").await.unwrap();
    settle::<N>().await;
    log.value("read nothing", soon::<N, _>(server.read(&mut [])).await);
    reads(&log, "server", &mut server, 3).await;
}

async fn an_empty_read_after_the_end<N: Net>(log: Log) {
    let (client, mut server) = pair::<N>().await;
    drop(client);
    settle::<N>().await;
    log.value("read nothing", soon::<N, _>(server.read(&mut [])).await);
    drain(&log, "server", &mut server).await;
}

async fn a_read_waits_for_the_first_byte<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    log.outcome("read", &soon::<N, _>(server.read(&mut [0; 8])).await);
    let ((), ()) = tokio::join!(reads(&log, "server", &mut server, 1), writes(&log, "client", &mut client, b"!"));
}

/// More than any buffer of a kernel holds.
const MUCH: usize = 24 * 1024 * 1024;

async fn a_writer_waits_for_its_reader<N: Net>(log: Log) {
    let (mut client, mut server) = pair::<N>().await;
    let bytes = pattern(MUCH);
    let mut all = Box::pin(async { client.write_all(&bytes).await.map(|()| drop(client)) });
    log.outcome("write without a reader", &soon::<N, _>(&mut all).await);
    let (written, ()) = tokio::join!(all, reads_the_pattern(&log, "server", &mut server));
    log.outcome("write with a reader", &written);
}

async fn both_directions_run_at_once<N: Net>(log: Log) {
    let (client, server) = pair::<N>().await;
    let ((mut from_server, to_server), (mut from_client, to_client)) = (client.into_split(), server.into_split());
    let bytes = pattern(MUCH / 8);
    let send = async |mut half: <N::Stream as Stream>::WriteHalf| half.write_all(&bytes).await;
    let (one, other, (), ()) = tokio::join!(
        send(to_server),
        send(to_client),
        reads_the_pattern(&log, "one", &mut from_server),
        reads_the_pattern(&log, "one", &mut from_client),
    );
    log.outcome("client writes", &one);
    log.outcome("server writes", &other);
}

async fn both_halves_work_in_one_task<N: Net>(log: Log) {
    let (client, mut server) = pair::<N>().await;
    let (mut reader, mut writer) = client.into_split();
    writes(&log, "client", &mut writer, b"question").await;
    reads(&log, "server", &mut server, 8).await;
    writes(&log, "server", &mut server, b"answer").await;
    reads(&log, "client", &mut reader, 6).await;
}

async fn a_dropped_write_half_ends_the_stream<N: Net>(log: Log) {
    let (client, mut server) = pair::<N>().await;
    let (mut reader, mut writer) = client.into_split();
    writer.write_all(b"all there is").await.unwrap();
    drop(writer);
    drain(&log, "server", &mut server).await;
    writes(&log, "server", &mut server, b"thanks").await;
    drop(server);
    drain(&log, "client", &mut reader).await;
}

async fn a_dropped_read_half_changes_nothing<N: Net>(log: Log) {
    let (client, mut server) = pair::<N>().await;
    let (reader, mut writer) = client.into_split();
    drop(reader);
    writes(&log, "server", &mut server, b"anyone?").await;
    settle::<N>().await;
    writes(&log, "server", &mut server, b"anyone?").await;
    writes(&log, "client", &mut writer, b"I only write").await;
    reads(&log, "server", &mut server, 12).await;
    drop(writer);
    settle::<N>().await;
    reads_once(&log, "server", &mut server).await;
}

async fn flush_is_always_done<N: Net>(log: Log) {
    let (mut client, server) = pair::<N>().await;
    log.outcome("flush", &client.flush().await);
    drop(server);
    settle::<N>().await;
    log.outcome("flush after the end", &client.flush().await);
}

async fn two_connections_do_not_mix<N: Net>(log: Log) {
    let (mut one, mut one_server) = pair::<N>().await;
    let (mut other, mut other_server) = pair::<N>().await;
    for _ in 0..3 {
        one.write_all(b"1").await.unwrap();
        other.write_all(b"2").await.unwrap();
    }
    settle::<N>().await;
    reads(&log, "one", &mut one_server, 3).await;
    reads(&log, "other", &mut other_server, 3).await;
}

async fn nodelay_is_off_until_it_is_set<N: Net>(log: Log) {
    let (client, server) = pair::<N>().await;
    log.value("client", client.nodelay());
    log.value("server", server.nodelay());
    for nodelay in [true, false] {
        log.outcome("set", &client.set_nodelay(nodelay));
        log.value("client", client.nodelay());
    }
}
