//! Rules on packets and on messages, and what was recorded and is sent again.

use std::cell::RefCell;
use std::rc::Rc;

use sim_core::time::{elapsed, sleep, timeout};
use sim_core::{Sim, Units, node, spawn};
use sim_net::{
    LinkOptions, PacketKind, TcpListener, TcpStream, UdpSocket, Verdict, message_rule, record, replay, rule,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn passes<F: Future<Output = ()> + 'static>(body: impl FnOnce() -> F) {
    let report = Sim::new(3).run(body);
    assert!(report.passed(), "{}", report.render(&[]));
}

type Heard = Rc<RefCell<Vec<u8>>>;

/// A server that writes down every byte it receives, over streams at port 7 and in datagrams at port 9.
async fn listening() -> Heard {
    sim_net::set_link_options(None, LinkOptions::fixed(10.ms()));
    let heard = Heard::default();
    let kept = heard.clone();
    node("server").start(move || {
        let kept = kept.clone();
        async move {
            let socket = UdpSocket::bind("0.0.0.0:9").await?;
            let by_datagram = kept.clone();
            spawn(async move {
                let mut buffer = [0; 64];
                while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
                    by_datagram.borrow_mut().extend_from_slice(&buffer[..length]);
                }
            });
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            loop {
                let (mut stream, _) = listener.accept().await?;
                let kept = kept.clone();
                spawn(async move {
                    while let Ok(byte) = stream.read_u8().await {
                        kept.borrow_mut().push(byte);
                    }
                });
            }
            #[expect(unreachable_code, reason = "names the error type")]
            Ok::<(), std::io::Error>(())
        }
    });
    sleep(1.ms()).await;
    heard
}

/// What the server hears of the bytes 1 to 5, each a datagram, when a rule judges the third.
fn third_datagram(verdict: Verdict) -> Vec<u8> {
    let (told, tell) = std::sync::mpsc::channel();
    passes(move || async move {
        let heard = listening().await;
        let _rule = rule(move |packet| if packet.bytes == [3] { verdict } else { Verdict::Pass });
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        for byte in 1..=5 {
            socket.send_to(&[byte], "server:9").await.unwrap();
            sleep(1.ms()).await;
        }
        sleep(1.secs()).await;
        told.send(heard.borrow().clone()).unwrap();
    });
    tell.recv().unwrap()
}

#[test]
fn a_rule_drops_delays_doubles_and_changes_a_datagram() {
    assert_eq!(third_datagram(Verdict::Pass), [1, 2, 3, 4, 5]);
    assert_eq!(third_datagram(Verdict::Drop), [1, 2, 4, 5]);
    assert_eq!(third_datagram(Verdict::Delay(100.ms())), [1, 2, 4, 5, 3]);
    assert_eq!(third_datagram(Verdict::Duplicate), [1, 2, 3, 3, 4, 5]);
    let changed = third_datagram(Verdict::Corrupt);
    assert!(changed.len() == 5 && (changed[2] ^ 3).count_ones() == 1, "{changed:?}");
}

#[test]
fn data_of_a_stream_is_late_and_never_lost_whatever_a_rule_says() {
    passes(|| async {
        let heard = listening().await;
        let guard = rule(|packet| match packet.kind {
            PacketKind::Data if packet.bytes == [3] => Verdict::Drop,
            _ => Verdict::Pass,
        });
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in 1..=5 {
            stream.write_all(&[byte]).await.unwrap();
        }
        sleep(100.ms()).await;
        assert_eq!(*heard.borrow(), [1, 2], "the third is sent again after a timeout, and the others wait for it");
        sleep(1.secs()).await;
        assert_eq!(*heard.borrow(), [1, 2, 3, 4, 5]);
        drop(guard);
        let _reset = rule(|packet| if packet.bytes == [9] { Verdict::Reset } else { Verdict::Pass });
        stream.write_all(&[9]).await.unwrap();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_rule_may_refuse_or_delay_connections() {
    passes(|| async {
        let _heard = listening().await;
        let refuse = rule(|packet| if packet.kind == PacketKind::Syn { Verdict::Reset } else { Verdict::Pass });
        let refused = TcpStream::connect("server:7").await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        drop(refuse);
        let _lose = rule(|packet| if packet.kind == PacketKind::Syn { Verdict::Drop } else { Verdict::Pass });
        let start = elapsed();
        TcpStream::connect("server:7").await.unwrap();
        assert_eq!((elapsed() - start).as_secs(), 1, "the second SYN");
    });
}

/// Messages that begin with their length.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = 1 + usize::from(*bytes.first()?);
    (bytes.len() >= length).then_some(length)
}

/// What the server hears of the messages "a", "bb" and "c", written in pieces, when a rule judges "bb".
fn second_message(verdict: Verdict) -> Vec<u8> {
    let (told, tell) = std::sync::mpsc::channel();
    passes(move || async move {
        let heard = listening().await;
        let _rule = message_rule(7, length, move |message| match &message.bytes[..] {
            b"\x02bb" => verdict,
            _ => Verdict::Pass,
        });
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        for piece in [&b"\x01a\x02b"[..], b"b\x01", b"c"] {
            // A reset is told here.
            let _ = stream.write_all(piece).await;
            sleep(20.ms()).await;
        }
        let _ = timeout(1.secs(), stream.shutdown()).await;
        sleep(1.secs()).await;
        told.send(heard.borrow().clone()).unwrap();
    });
    tell.recv().unwrap()
}

#[test]
fn a_rule_judges_whole_messages_of_a_protocol() {
    assert_eq!(second_message(Verdict::Pass), b"\x01a\x02bb\x01c");
    assert_eq!(second_message(Verdict::Drop), b"\x01a\x01c");
    assert_eq!(second_message(Verdict::Duplicate), b"\x01a\x02bb\x02bb\x01c");
    assert_eq!(second_message(Verdict::Delay(200.ms())), b"\x01a\x02bb\x01c");
    assert_eq!(second_message(Verdict::Reset), b"\x01a", "and the end of the connection");
}

#[test]
fn what_was_recorded_is_sent_again_to_the_next_life_of_its_receiver() {
    passes(|| async {
        let heard = listening().await;
        let recording = record(|packet| packet.bytes.first() == Some(&7));
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.send_to(&[7, 1], "server:9").await.unwrap();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        stream.write_all(&[7, 2]).await.unwrap();
        sleep(100.ms()).await;
        node("server").restart();
        sleep(100.ms()).await;
        heard.borrow_mut().clear();
        let packets = recording.packets();
        assert!(replay(&packets[0]));
        assert!(!replay(&packets[1]), "no connection leads there any more");
        let mut again = TcpStream::connect("server:7").await.unwrap();
        again.write_all(&[1]).await.unwrap();
        sleep(50.ms()).await;
        assert!(replay(&packets[1]));
        sleep(100.ms()).await;
        let mut all = heard.borrow().clone();
        all.sort();
        assert_eq!(all, [1, 1, 2, 7, 7]);
    });
}
