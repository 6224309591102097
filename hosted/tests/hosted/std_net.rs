//! `std::net` with `std::thread`.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use sim::prelude::*;

fn echo_server() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7")?;
    loop {
        let (mut stream, _) = listener.accept()?;
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..n]).is_err() {
                    return;
                }
            }
        });
    }
}

fn echo_client() -> std::io::Result<()> {
    let mut stream = TcpStream::connect("server:7")?;
    assert_eq!(stream.peer_addr()?.port(), 7);
    let mut lines = BufReader::new(stream.try_clone()?);
    for number in 0..10 {
        writeln!(stream, "line {number}")?;
        let mut line = String::new();
        lines.read_line(&mut line)?;
        assert_eq!(line, format!("line {number}\n"));
    }
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    Ok(())
}

#[sim::test(seeds = 20)]
async fn std_net_talks_through_names_with_threads() {
    node("server").host(echo_server);
    sim::time::sleep(1.ms()).await;
    let clients: Vec<_> = (0..3).map(|n| node(&format!("client-{n}")).host(echo_client)).collect();
    for client in clients {
        client.join().await;
    }
}

#[sim::test(seeds = 20)]
async fn std_udp_reaches_its_peer() {
    node("server").host(|| {
        let socket = UdpSocket::bind("0.0.0.0:53")?;
        let mut buffer = [0; 512];
        let (length, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..length], from).map(drop)
    });
    sim::time::sleep(1.ms()).await;
    let client = node("client").host(|| {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect("server:53")?;
        socket.send(b"question")?;
        let mut buffer = [0; 512];
        assert_eq!(socket.recv(&mut buffer)?, 8);
        Ok::<(), std::io::Error>(())
    });
    client.join().await;
}
