//! UDP: order, sizes, connected sockets, and what a closed port answers.

use std::net::SocketAddr;

use super::Log;
use super::face::{Net, Socket, settle, socket, soon};

super::agrees! {
    datagrams_arrive_in_order
    a_datagram_is_received_whole_or_cut_off
    an_empty_datagram_is_a_datagram
    an_empty_buffer_takes_a_datagram
    the_longest_datagram_arrives
    a_longer_one_is_refused
    receivers_wait
    an_address_is_bound_once
    the_wildcard_is_every_address
    two_loopback_addresses_share_a_port
    a_dropped_socket_frees_its_port
    connected_sockets_talk
    a_connected_socket_hears_its_peer_only
    a_connected_socket_still_sends_elsewhere
    a_socket_may_connect_again
    send_without_a_peer
    a_closed_port_is_told_to_a_connected_socket_that_receives
    a_closed_port_is_told_to_a_connected_socket_that_sends
    a_closed_port_is_told_to_a_receiver_that_waits
    a_closed_port_is_not_told_to_an_unconnected_socket
    a_wildcard_socket_is_reached_by_every_address
    a_full_buffer_drops_what_comes_last
    a_socket_hears_itself
    port_zero_is_no_destination
    a_broadcast_needs_permission
    what_came_before_the_connect_is_still_heard
    a_connected_socket_has_an_address_of_its_own
    a_connected_socket_is_a_closed_port_to_strangers
    a_socket_speaks_as_the_address_it_is_bound_to
    an_empty_datagram_to_the_peer
    two_receive_at_once
}

/// Receives one datagram, and notes it as text and whether `from` sent it.
async fn hears<S: Socket>(log: &Log, who: &str, socket: &S, from: SocketAddr) {
    let mut buffer = [0; 64];
    let heard = socket.recv_from(&mut buffer).await;
    let words = heard.map(|(length, peer)| (String::from_utf8_lossy(&buffer[..length]).into_owned(), peer == from));
    log.value(&format!("{who} hears"), words);
}

/// Notes that nothing comes, or what does.
async fn hears_nothing<N: Net>(log: &Log, who: &str, socket: &N::Socket) {
    log.value(&format!("{who} hears"), soon::<N, _>(socket.recv(&mut [0; 64])).await);
}

async fn datagrams_arrive_in_order<N: Net>(log: Log) {
    let ((sender, from), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    for number in 0..20 {
        sender.send_to(number.to_string().as_bytes(), to).await.unwrap();
    }
    for _ in 0..20 {
        hears(&log, "receiver", &receiver, from).await;
    }
}

async fn a_datagram_is_received_whole_or_cut_off<N: Net>(log: Log) {
    let ((sender, from), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    log.value("send", sender.send_to(b"more than fits", to).await);
    settle::<N>().await;
    sender.send_to(b"next", to).await.unwrap();
    let mut buffer = [0; 4];
    log.value("receive", receiver.recv_from(&mut buffer).await.map(|(length, _)| length));
    log.note(String::from_utf8_lossy(&buffer));
    hears(&log, "receiver", &receiver, from).await;
}

async fn an_empty_datagram_is_a_datagram<N: Net>(log: Log) {
    let ((sender, from), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    log.value("send", sender.send_to(b"", to).await);
    settle::<N>().await;
    sender.send_to(b"next", to).await.unwrap();
    hears(&log, "receiver", &receiver, from).await;
    hears(&log, "receiver", &receiver, from).await;
}

async fn an_empty_buffer_takes_a_datagram<N: Net>(log: Log) {
    let ((sender, from), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    sender.send_to(b"lost", to).await.unwrap();
    settle::<N>().await;
    sender.send_to(b"next", to).await.unwrap();
    log.value("receive", receiver.recv(&mut []).await);
    hears(&log, "receiver", &receiver, from).await;
}

async fn the_longest_datagram_arrives<N: Net>(log: Log) {
    let ((sender, _), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    log.value("send", sender.send_to(&[7; 65_507], to).await);
    let mut buffer = vec![0; 70_000];
    log.value("receive", receiver.recv(&mut buffer).await);
    log.note(format!("{}", buffer[..65_507].iter().all(|byte| *byte == 7)));
}

async fn a_longer_one_is_refused<N: Net>(log: Log) {
    let ((sender, from), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    log.outcome("send", &sender.send_to(&[7; 65_508], to).await);
    sender.send_to(b"next", to).await.unwrap();
    hears(&log, "receiver", &receiver, from).await;
}

async fn receivers_wait<N: Net>(log: Log) {
    let ((sender, from), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    hears_nothing::<N>(&log, "receiver", &receiver).await;
    let ((), sent) = tokio::join!(hears(&log, "receiver", &receiver, from), sender.send_to(b"now", to));
    log.value("send", sent);
}

async fn an_address_is_bound_once<N: Net>(log: Log) {
    let (_first, address) = socket::<N>().await;
    log.outcome("bind again", &N::socket(address).await);
}

async fn the_wildcard_is_every_address<N: Net>(log: Log) {
    let (_first, address) = socket::<N>().await;
    log.outcome("the wildcard after an address", &N::socket(format!("0.0.0.0:{}", address.port())).await);
    let wildcard = N::socket("0.0.0.0:0").await.unwrap();
    let port = wildcard.local_addr().unwrap().port();
    log.outcome("an address after the wildcard", &N::socket(format!("127.0.0.1:{port}")).await);
}

async fn two_loopback_addresses_share_a_port<N: Net>(log: Log) {
    let ((one, at_one), (sender, from)) = (socket::<N>().await, socket::<N>().await);
    let other = N::socket(format!("127.0.0.2:{}", at_one.port())).await;
    log.outcome("bind the other", &other);
    let Ok(other) = other else { return };
    sender.send_to(b"to one", at_one).await.unwrap();
    sender.send_to(b"to other", other.local_addr().unwrap()).await.unwrap();
    hears(&log, "one", &one, from).await;
    hears(&log, "other", &other, from).await;
}

async fn a_dropped_socket_frees_its_port<N: Net>(log: Log) {
    let ((sender, _), (first, address)) = (socket::<N>().await, socket::<N>().await);
    sender.send_to(b"to the first", address).await.unwrap();
    settle::<N>().await;
    drop(first);
    let again = N::socket(address).await;
    log.outcome("bind again", &again);
    let Ok(again) = again else { return };
    hears_nothing::<N>(&log, "the second", &again).await;
}

async fn connected_sockets_talk<N: Net>(log: Log) {
    let ((one, at_one), (other, at_other)) = (socket::<N>().await, socket::<N>().await);
    log.outcome("connect", &one.connect(at_other).await);
    log.outcome("connect", &other.connect(at_one).await);
    log.value("send", one.send(b"question").await);
    hears(&log, "other", &other, at_one).await;
    log.value("send", other.send(b"answer").await);
    hears(&log, "one", &one, at_other).await;
}

async fn a_connected_socket_hears_its_peer_only<N: Net>(log: Log) {
    let ((one, at_one), (peer, at_peer)) = (socket::<N>().await, socket::<N>().await);
    let (stranger, _) = socket::<N>().await;
    one.connect(at_peer).await.unwrap();
    log.value("a stranger sends", stranger.send_to(b"from a stranger", at_one).await);
    settle::<N>().await;
    peer.send_to(b"from the peer", at_one).await.unwrap();
    hears(&log, "one", &one, at_peer).await;
    hears_nothing::<N>(&log, "one", &one).await;
}

async fn a_connected_socket_still_sends_elsewhere<N: Net>(log: Log) {
    let ((one, at_one), (_peer, at_peer)) = (socket::<N>().await, socket::<N>().await);
    let (stranger, at_stranger) = socket::<N>().await;
    one.connect(at_peer).await.unwrap();
    log.value("send elsewhere", one.send_to(b"hello", at_stranger).await);
    hears(&log, "stranger", &stranger, at_one).await;
}

async fn a_socket_may_connect_again<N: Net>(log: Log) {
    let ((one, at_one), (_first, at_first)) = (socket::<N>().await, socket::<N>().await);
    let (second, at_second) = socket::<N>().await;
    one.connect(at_first).await.unwrap();
    log.outcome("connect again", &one.connect(at_second).await);
    one.send(b"hello").await.unwrap();
    hears(&log, "second", &second, at_one).await;
}

async fn send_without_a_peer<N: Net>(log: Log) {
    let (one, _) = socket::<N>().await;
    log.value("send", one.send(b"to whom?").await);
}

/// A socket that is connected to a port that nobody has.
async fn connected_to_nobody<N: Net>() -> N::Socket {
    let ((one, _), (nobody, address)) = (socket::<N>().await, socket::<N>().await);
    one.connect(address).await.unwrap();
    drop(nobody);
    one
}

async fn a_closed_port_is_told_to_a_connected_socket_that_receives<N: Net>(log: Log) {
    let one = connected_to_nobody::<N>().await;
    log.value("send", one.send(b"anyone?").await);
    settle::<N>().await;
    hears_nothing::<N>(&log, "one", &one).await;
    hears_nothing::<N>(&log, "one", &one).await;
}

async fn a_closed_port_is_told_to_a_connected_socket_that_sends<N: Net>(log: Log) {
    let one = connected_to_nobody::<N>().await;
    for _ in 0..4 {
        log.value("send", one.send(b"anyone?").await);
        settle::<N>().await;
    }
}

async fn a_closed_port_is_told_to_a_receiver_that_waits<N: Net>(log: Log) {
    let one = connected_to_nobody::<N>().await;
    let send = async {
        settle::<N>().await;
        one.send(b"anyone?").await
    };
    let ((), sent) = tokio::join!(hears_nothing::<N>(&log, "one", &one), send);
    log.value("send", sent);
}

async fn a_closed_port_is_not_told_to_an_unconnected_socket<N: Net>(log: Log) {
    let ((one, _), (nobody, address)) = (socket::<N>().await, socket::<N>().await);
    drop(nobody);
    for _ in 0..2 {
        log.value("send", one.send_to(b"anyone?", address).await);
        settle::<N>().await;
    }
    hears_nothing::<N>(&log, "one", &one).await;
}

async fn a_wildcard_socket_is_reached_by_every_address<N: Net>(log: Log) {
    let receiver = N::socket("0.0.0.0:0").await.unwrap();
    let port = receiver.local_addr().unwrap().port();
    let sender = N::socket("0.0.0.0:0").await.unwrap();
    for ip in ["127.0.0.1".parse().unwrap(), N::own_ip()] {
        sender.send_to(b"hello", SocketAddr::new(ip, port)).await.unwrap();
        let from = receiver.recv_from(&mut [0; 64]).await.map(|(_, from)| from.ip() == ip);
        log.value("heard from the address that was sent to", from);
    }
    sender.send_to(b"hello", format!("0.0.0.0:{port}").parse().unwrap()).await.unwrap();
    log.value("to the wildcard", receiver.recv_from(&mut [0; 64]).await.map(|(_, from)| from.ip()));
}

async fn a_full_buffer_drops_what_comes_last<N: Net>(log: Log) {
    let ((sender, _), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    for number in 0..1000u32 {
        let mut bytes = [0; 1000];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        sender.send_to(&bytes, to).await.unwrap();
    }
    settle::<N>().await;
    let (mut heard, mut buffer) = (Vec::new(), [0; 4]);
    while soon::<N, _>(receiver.recv(&mut buffer)).await.is_ok() {
        heard.push(u32::from_be_bytes(buffer));
    }
    let count = heard.len() as u32;
    log.note(format!("some: {}, the first: {}", (50..950).contains(&count), heard == (0..count).collect::<Vec<_>>()));
}

async fn a_socket_hears_itself<N: Net>(log: Log) {
    let (one, address) = socket::<N>().await;
    one.send_to(b"echo", address).await.unwrap();
    hears(&log, "one", &one, address).await;
}

async fn port_zero_is_no_destination<N: Net>(log: Log) {
    let (one, _) = socket::<N>().await;
    log.value("send", one.send_to(b"hello", "127.0.0.1:0".parse().unwrap()).await);
}

async fn a_broadcast_needs_permission<N: Net>(log: Log) {
    let one = N::socket("0.0.0.0:0").await.unwrap();
    log.value("send", one.send_to(b"hello", "255.255.255.255:9".parse().unwrap()).await);
}

async fn what_came_before_the_connect_is_still_heard<N: Net>(log: Log) {
    let ((one, at_one), (_peer, at_peer)) = (socket::<N>().await, socket::<N>().await);
    let (stranger, at_stranger) = socket::<N>().await;
    stranger.send_to(b"early", at_one).await.unwrap();
    settle::<N>().await;
    one.connect(at_peer).await.unwrap();
    stranger.send_to(b"late", at_one).await.unwrap();
    settle::<N>().await;
    log.value("one hears", soon::<N, _>(one.recv_from(&mut [0; 64])).await.map(|(n, from)| (n, from == at_stranger)));
    hears_nothing::<N>(&log, "one", &one).await;
}

async fn a_connected_socket_has_an_address_of_its_own<N: Net>(log: Log) {
    let one = N::socket("0.0.0.0:0").await.unwrap();
    log.note(one.local_addr().unwrap().ip().to_string());
    let (_peer, at_peer) = socket::<N>().await;
    one.connect(at_peer).await.unwrap();
    log.note(one.local_addr().unwrap().ip().to_string());
}

async fn a_connected_socket_is_a_closed_port_to_strangers<N: Net>(log: Log) {
    let ((one, at_one), (_peer, at_peer)) = (socket::<N>().await, socket::<N>().await);
    let (stranger, _) = socket::<N>().await;
    one.connect(at_peer).await.unwrap();
    stranger.connect(at_one).await.unwrap();
    log.value("send", stranger.send(b"let me in").await);
    settle::<N>().await;
    hears_nothing::<N>(&log, "stranger", &stranger).await;
}

async fn a_socket_speaks_as_the_address_it_is_bound_to<N: Net>(log: Log) {
    let (one, at_one) = socket::<N>().await;
    let other = N::socket("0.0.0.0:0").await.unwrap();
    let port = other.local_addr().unwrap().port();
    one.send_to(b"hello", format!("127.0.0.2:{port}").parse().unwrap()).await.unwrap();
    hears(&log, "other", &other, at_one).await;
}

async fn an_empty_datagram_to_the_peer<N: Net>(log: Log) {
    let ((one, at_one), (other, at_other)) = (socket::<N>().await, socket::<N>().await);
    one.connect(at_other).await.unwrap();
    log.value("send", one.send(b"").await);
    hears(&log, "other", &other, at_one).await;
}

async fn two_receive_at_once<N: Net>(log: Log) {
    let ((sender, _), (receiver, to)) = (socket::<N>().await, socket::<N>().await);
    let send = async {
        settle::<N>().await;
        sender.send_to(b"1", to).await.unwrap();
        settle::<N>().await;
        sender.send_to(b"22", to).await.unwrap();
    };
    let (mut a, mut b) = ([0; 8], [0; 8]);
    let (one, other, ()) = tokio::join!(receiver.recv(&mut a), receiver.recv(&mut b), send);
    let mut heard = [one.unwrap(), other.unwrap()];
    heard.sort();
    log.note(format!("{heard:?}"));
}
