//! Bind, connect, accept, and the addresses of it all.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;

use super::Log;
use super::face::{Listener, Net, Stream, at_once, drain, listener, pair, reads, settle, socket, soon, writes};

super::agrees! {
    port_zero_becomes_a_free_port
    both_ends_agree_on_their_addresses
    an_address_is_listened_on_once
    the_wildcard_is_every_address
    a_dropped_listener_frees_its_port
    an_open_connection_does_not_keep_the_port_of_its_listener
    a_foreign_address_cannot_be_bound
    nobody_listens_where_a_connection_is_refused
    a_dropped_listener_refuses
    a_listener_hears_its_own_address_only
    two_loopback_addresses_share_a_port
    a_wildcard_listener_is_reached_by_every_address
    the_wildcard_as_a_destination_is_this_machine
    a_name_is_as_good_as_an_address
    words_that_are_no_address_are_invalid
    what_waits_to_be_accepted_is_reset_with_the_listener
    a_hundred_connect_before_anyone_accepts
    connections_are_accepted_in_their_order
    bytes_wait_for_whoever_accepts
    a_connection_that_is_already_closed_is_accepted
    connections_from_one_machine_have_ports_of_their_own
    tcp_and_udp_share_a_port
    accept_waits_for_a_connection
    two_accept_at_once
    a_full_backlog_lets_the_next_connect_wait
    the_port_of_a_connection_is_in_use
    a_loopback_listener_is_not_reached_from_outside
    the_loopback_speaks_as_its_first_address
}

async fn port_zero_becomes_a_free_port<N: Net>(log: Log) {
    let [(_one, one), (_other, other)] = [listener::<N>().await, listener::<N>().await];
    log.note(format!("{} {} {}", one.ip(), one.port() != 0, one != other));
}

async fn both_ends_agree_on_their_addresses<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let client = N::connect(address).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    let addresses = [client.local_addr(), client.peer_addr(), server.local_addr(), server.peer_addr()];
    let [mine, yours, theirs, ours] = addresses.map(Result::unwrap);
    log.note(format!("{} {} {}", mine == ours, yours == theirs, ours == peer));
    log.note(format!("{} {} {}", mine.ip(), theirs.ip(), theirs == address));
}

async fn an_address_is_listened_on_once<N: Net>(log: Log) {
    let (_first, address) = listener::<N>().await;
    log.outcome("bind again", &N::listen(address).await);
}

async fn the_wildcard_is_every_address<N: Net>(log: Log) {
    let (_first, address) = listener::<N>().await;
    log.outcome("the wildcard after an address", &N::listen(format!("0.0.0.0:{}", address.port())).await);
    let wildcard = N::listen("0.0.0.0:0").await.unwrap();
    let port = wildcard.local_addr().unwrap().port();
    log.outcome("an address after the wildcard", &N::listen(format!("127.0.0.1:{port}")).await);
}

async fn a_dropped_listener_frees_its_port<N: Net>(log: Log) {
    let (first, address) = listener::<N>().await;
    drop(first);
    log.outcome("bind again", &N::listen(address).await);
}

async fn an_open_connection_does_not_keep_the_port_of_its_listener<N: Net>(log: Log) {
    let (client, mut server) = pair::<N>().await;
    let again = N::listen(client.peer_addr().unwrap()).await;
    log.outcome("bind again", &again);
    server.write_all(b"still here").await.unwrap();
    let mut client = client;
    reads(&log, "client", &mut client, 10).await;
}

async fn a_foreign_address_cannot_be_bound<N: Net>(log: Log) {
    log.outcome("listen", &N::listen("203.0.113.1:0").await);
    log.outcome("socket", &N::socket("203.0.113.1:0").await);
}

async fn nobody_listens_where_a_connection_is_refused<N: Net>(log: Log) {
    let (_bound, address) = socket::<N>().await;
    log.outcome("connect to a port of UDP", &N::connect(address).await);
    log.outcome("connect to port 0", &N::connect("127.0.0.1:0").await);
}

async fn a_dropped_listener_refuses<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    drop(listener);
    log.outcome("connect", &N::connect(address).await);
}

async fn a_listener_hears_its_own_address_only<N: Net>(log: Log) {
    let (_listener, address) = listener::<N>().await;
    log.outcome("another loopback address", &N::connect(format!("127.0.0.2:{}", address.port())).await);
}

async fn two_loopback_addresses_share_a_port<N: Net>(log: Log) {
    let (one, address) = listener::<N>().await;
    let at_other = format!("127.0.0.2:{}", address.port());
    let other = N::listen(&at_other).await;
    log.outcome("bind the other", &other);
    let Ok(other) = other else { return };
    let mut clients = [N::connect(address).await.unwrap(), N::connect(&at_other).await.unwrap()];
    for (client, words) in clients.iter_mut().zip(["to one", "to two"]) {
        client.write_all(words.as_bytes()).await.unwrap();
    }
    for (listener, who) in [(one, "one"), (other, "other")] {
        let (mut stream, _) = listener.accept().await.unwrap();
        log.note(stream.local_addr().unwrap().ip().to_string());
        reads(&log, who, &mut stream, 6).await;
    }
}

async fn a_wildcard_listener_is_reached_by_every_address<N: Net>(log: Log) {
    let listener = N::listen("0.0.0.0:0").await.unwrap();
    log.note(listener.local_addr().unwrap().ip().to_string());
    let port = listener.local_addr().unwrap().port();
    for ip in ["127.0.0.1".parse().unwrap(), N::own_ip()] {
        let client = N::connect(SocketAddr::new(ip, port)).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        let here = server.local_addr().unwrap();
        log.note(format!("{} {}", here.ip() == ip, client.peer_addr().unwrap() == here));
        log.note(format!("{} {}", peer.ip() == ip, client.local_addr().unwrap() == peer));
    }
}

async fn the_wildcard_as_a_destination_is_this_machine<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let client = N::connect(format!("0.0.0.0:{}", address.port())).await;
    log.outcome("connect", &client);
    let Ok(client) = client else { return };
    let (server, _) = listener.accept().await.unwrap();
    log.note(format!("{} with {}", server.local_addr().unwrap().ip(), server.peer_addr().unwrap().ip()));
    log.note(format!("{} with {}", client.local_addr().unwrap().ip(), client.peer_addr().unwrap().ip()));
}

async fn a_name_is_as_good_as_an_address<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let client = N::connect(format!("localhost:{}", address.port())).await.unwrap();
    let (_server, peer) = listener.accept().await.unwrap();
    log.note(format!("{} {}", client.peer_addr().unwrap() == address, client.local_addr().unwrap() == peer));
}

async fn words_that_are_no_address_are_invalid<N: Net>(log: Log) {
    for words in ["127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", ":::", ""] {
        log.outcome(&format!("connect to {words:?}"), &N::connect(words).await);
        log.outcome(&format!("listen on {words:?}"), &N::listen(words).await);
    }
}

async fn what_waits_to_be_accepted_is_reset_with_the_listener<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let (mut reader, mut writer) = (N::connect(address).await.unwrap(), N::connect(address).await.unwrap());
    settle::<N>().await;
    drop(listener);
    settle::<N>().await;
    drain(&log, "reader", &mut reader).await;
    drain(&log, "reader", &mut reader).await;
    for _ in 0..2 {
        writes(&log, "writer", &mut writer, b"hello").await;
    }
}

async fn connects_before_anyone_accepts<N: Net>(log: Log, connections: usize) {
    let (listener, address) = listener::<N>().await;
    let mut clients = Vec::new();
    for _ in 0..connections {
        match soon::<N, _>(N::connect(address)).await {
            Ok(client) => clients.push(client),
            failed => return log.outcome(&format!("connect number {}", clients.len()), &failed),
        }
    }
    let mut in_order = true;
    for client in &clients {
        let (_, peer) = listener.accept().await.unwrap();
        in_order &= peer == client.local_addr().unwrap();
    }
    log.note(format!("{} accepted, in order: {in_order}", clients.len()));
}

async fn a_hundred_connect_before_anyone_accepts<N: Net>(log: Log) {
    connects_before_anyone_accepts::<N>(log, 100).await;
}

async fn connections_are_accepted_in_their_order<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let mut clients = Vec::new();
    for number in 0..5u8 {
        clients.push(N::connect(address).await.unwrap());
        clients.last_mut().unwrap().write_all(&[b'0' + number]).await.unwrap();
    }
    for _ in 0..5 {
        let (mut server, _) = listener.accept().await.unwrap();
        reads(&log, "server", &mut server, 1).await;
    }
}

async fn bytes_wait_for_whoever_accepts<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let mut client = N::connect(address).await.unwrap();
    client.write_all(b"early").await.unwrap();
    settle::<N>().await;
    let (mut server, _) = listener.accept().await.unwrap();
    reads(&log, "server", &mut server, 5).await;
}

async fn a_connection_that_is_already_closed_is_accepted<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let mut client = N::connect(address).await.unwrap();
    client.write_all(b"farewell").await.unwrap();
    let mine = client.local_addr().unwrap();
    drop(client);
    settle::<N>().await;
    let (mut server, peer) = listener.accept().await.unwrap();
    log.note(format!("{} {}", peer == mine, server.peer_addr().unwrap() == mine));
    drain(&log, "server", &mut server).await;
}

async fn connections_from_one_machine_have_ports_of_their_own<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let (one, other) = (N::connect(address).await.unwrap(), N::connect(address).await.unwrap());
    log.note(format!("{}", one.local_addr().unwrap() != other.local_addr().unwrap()));
    log.note(format!("{}", one.local_addr().unwrap() != listener.local_addr().unwrap()));
}

async fn tcp_and_udp_share_a_port<N: Net>(log: Log) {
    let (_listener, address) = listener::<N>().await;
    log.outcome("bind UDP", &N::socket(address).await);
}

async fn accept_waits_for_a_connection<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    log.note(format!("at once: {}", at_once(listener.accept()).await.is_some()));
    let (accepted, connected) = tokio::join!(listener.accept(), N::connect(address));
    log.note(format!("{}", accepted.unwrap().1 == connected.unwrap().local_addr().unwrap()));
}

async fn two_accept_at_once<N: Net>(log: Log) {
    let (listener, address) = listener::<N>().await;
    let connect = async { (N::connect(address).await.unwrap(), N::connect(address).await.unwrap()) };
    let (one, other, (first, second)) = tokio::join!(listener.accept(), listener.accept(), connect);
    let (mut accepted, mut connected) = ([one.unwrap().1, other.unwrap().1], [&first, &second].map(local));
    accepted.sort();
    connected.sort();
    log.note(format!("{}", accepted == connected));
}

fn local(stream: &impl Stream) -> SocketAddr {
    stream.local_addr().unwrap()
}

/// Linux keeps one more than the backlog that was asked for, and drops the SYN of the next.
async fn a_full_backlog_lets_the_next_connect_wait<N: Net>(log: Log) {
    connects_before_anyone_accepts::<N>(log, 200).await;
}

async fn the_port_of_a_connection_is_in_use<N: Net>(log: Log) {
    let (client, _server) = pair::<N>().await;
    log.outcome("listen on the client's address", &N::listen(local(&client)).await);
}

async fn a_loopback_listener_is_not_reached_from_outside<N: Net>(log: Log) {
    let (_listener, address) = listener::<N>().await;
    log.outcome("connect", &N::connect(SocketAddr::new(N::own_ip(), address.port())).await);
}

async fn the_loopback_speaks_as_its_first_address<N: Net>(log: Log) {
    let listener = N::listen("127.0.0.2:0").await.unwrap();
    let client = N::connect(listener.local_addr().unwrap()).await.unwrap();
    log.note(format!("{} with {}", local(&client).ip(), client.peer_addr().unwrap().ip()));
}
