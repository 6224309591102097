//! IPv6, alone and beside IPv4.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;

use super::Log;
use super::face::{Listener, Net, Socket, Stream, listener, reads, socket};

super::agrees! {
    if machine_has_ipv6;
    a_connection_over_ipv6
    one_port_listens_on_both_loopbacks_apart
    a_listener_of_one_version_does_not_hear_the_other
    the_ipv6_wildcard_hears_both
    the_ipv6_wildcard_is_the_ipv4_wildcard_too
    datagrams_over_ipv6
    an_ipv4_socket_does_not_send_to_ipv6
}

/// Containers often have no `::1`.
fn machine_has_ipv6() -> bool {
    std::net::UdpSocket::bind("[::1]:0").is_ok()
}

async fn a_connection_over_ipv6<N: Net>(log: Log) {
    let listener = N::listen("[::1]:0").await.unwrap();
    let mut client = N::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut server, peer) = listener.accept().await.unwrap();
    log.note(format!("{} with {}", server.local_addr().unwrap().ip(), peer.ip()));
    client.write_all(b"hello").await.unwrap();
    reads(&log, "server", &mut server, 5).await;
}

async fn one_port_listens_on_both_loopbacks_apart<N: Net>(log: Log) {
    let (four, address) = listener::<N>().await;
    let at_six = format!("[::1]:{}", address.port());
    let six = N::listen(&at_six).await;
    log.outcome("bind [::1]", &six);
    let Ok(six) = six else { return };
    let mut clients = [N::connect(address).await.unwrap(), N::connect(&at_six).await.unwrap()];
    for (client, words) in clients.iter_mut().zip(["to four", "to six!"]) {
        client.write_all(words.as_bytes()).await.unwrap();
    }
    for (who, listener) in [("four", four), ("six", six)] {
        let (mut server, _) = listener.accept().await.unwrap();
        reads(&log, who, &mut server, 7).await;
    }
}

async fn a_listener_of_one_version_does_not_hear_the_other<N: Net>(log: Log) {
    let (_four, address) = listener::<N>().await;
    log.outcome("from six to four", &N::connect(format!("[::1]:{}", address.port())).await);
    let six = N::listen("[::1]:0").await.unwrap();
    let port = six.local_addr().unwrap().port();
    log.outcome("from four to six", &N::connect(format!("127.0.0.1:{port}")).await);
    let four = N::listen("0.0.0.0:0").await.unwrap();
    let port = four.local_addr().unwrap().port();
    log.outcome("from six to the wildcard of four", &N::connect(format!("[::1]:{port}")).await);
}

async fn the_ipv6_wildcard_hears_both<N: Net>(log: Log) {
    let listener = N::listen("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for to in ["127.0.0.1", "[::1]"] {
        let client = N::connect(format!("{to}:{port}")).await;
        log.outcome(&format!("connect to {to}"), &client);
        let Ok(client) = client else { continue };
        let (server, peer) = listener.accept().await.unwrap();
        log.note(format!("client: {} with {}", ip(client.local_addr()), ip(client.peer_addr())));
        log.note(format!("server: {} with {}, {}", ip(server.local_addr()), ip(server.peer_addr()), peer.ip()));
    }
}

fn ip(address: std::io::Result<SocketAddr>) -> String {
    address.unwrap().ip().to_string()
}

async fn the_ipv6_wildcard_is_the_ipv4_wildcard_too<N: Net>(log: Log) {
    let six = N::listen("[::]:0").await.unwrap();
    let port = six.local_addr().unwrap().port();
    for at in ["0.0.0.0", "127.0.0.1", "[::1]"] {
        log.outcome(&format!("{at} after [::]"), &N::listen(format!("{at}:{port}")).await);
    }
    let (_four, address) = listener::<N>().await;
    log.outcome("[::] after 127.0.0.1", &N::listen(format!("[::]:{}", address.port())).await);
}

async fn datagrams_over_ipv6<N: Net>(log: Log) {
    let (one, other) = (N::socket("[::1]:0").await.unwrap(), N::socket("[::]:0").await.unwrap());
    let port = other.local_addr().unwrap().port();
    one.send_to(b"hello", format!("[::1]:{port}").parse().unwrap()).await.unwrap();
    log.value("other hears", other.recv_from(&mut [0; 64]).await.map(|(length, from)| (length, from.ip())));
    let (four, _) = socket::<N>().await;
    four.send_to(b"hi", format!("127.0.0.1:{port}").parse().unwrap()).await.unwrap();
    log.value("other hears", other.recv_from(&mut [0; 64]).await.map(|(length, from)| (length, from.ip())));
}

async fn an_ipv4_socket_does_not_send_to_ipv6<N: Net>(log: Log) {
    let (one, address) = socket::<N>().await;
    let six = SocketAddr::new("::1".parse().unwrap(), address.port());
    log.value("send", one.send_to(b"hello", six).await);
    log.outcome("connect", &one.connect(six).await);
}
