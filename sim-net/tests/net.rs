//! What the network promises, asked by small programs; the questions on which simulators are known to go wrong.

use std::io::ErrorKind;

use sim_core::time::{elapsed, sleep, timeout};
use sim_core::{Outcome, Ratio, Report, Sim, Units, node, spawn};
use sim_net::{LinkOptions, TcpListener, TcpStream, UdpSocket, partition, partition_oneway, set_link_options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn run<Fut: Future<Output = ()> + 'static>(seed: u64, body: impl FnOnce() -> Fut) -> Report {
    Sim::new(seed).with_faults(sim_net::KINDS).run(body)
}

fn passes<Fut: Future<Output = ()> + 'static>(body: impl Fn() -> Fut) {
    for seed in 0..20 {
        let report = run(seed, &body);
        assert!(report.passed(), "{}", report.render(&[]));
    }
}

/// A server that sends back what it receives, on port 7.
fn echo_server() -> sim_core::Node {
    node("server").start(|| async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            spawn(async move {
                let mut buffer = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
        #[expect(unreachable_code, reason = "names the error type")]
        Ok::<(), std::io::Error>(())
    })
}

async fn round_trip(stream: &mut TcpStream, text: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn set_split_probability(probability: Ratio) {
    let mut options = sim_net::options();
    options.split_probability = probability;
    sim_net::set_options(options);
}

#[test]
fn a_read_may_return_a_part_of_what_was_written_even_on_a_link_without_jitter() {
    let mut short = 0;
    for seed in 0..20 {
        let read = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = read.clone();
        let report = run(seed, || async move {
            set_split_probability(Ratio::percent(50));
            set_link_options(None, LinkOptions::fixed(5.ms()));
            let server = node("server").spawn(async {
                let mut stream = TcpListener::bind("0.0.0.0:7").await.unwrap().accept().await.unwrap().0;
                stream.write_all(b"hello").await.unwrap();
                sleep(1.secs()).await;
            });
            sleep(10.ms()).await;
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            let (mut buffer, mut whole) = ([0; 8], Vec::new());
            while whole.len() < 5 {
                let n = stream.read(&mut buffer).await.unwrap();
                whole.extend_from_slice(&buffer[..n]);
                seen.set(seen.get() + 1);
            }
            assert_eq!(whole, b"hello");
            server.await.unwrap();
        });
        assert!(report.passed(), "{}", report.render(&[]));
        short += usize::from(read.get() > 1);
    }
    assert!((5..20).contains(&short), "{short} of 20 runs saw a short read");
}

#[test]
fn bytes_come_in_order_and_take_the_latency() {
    passes(|| async {
        set_split_probability(Ratio::ZERO);
        set_link_options(None, LinkOptions::fixed(5.ms()));
        echo_server();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        assert_eq!(elapsed(), 10.ms());
        assert_eq!(round_trip(&mut stream, b"hello").await.unwrap(), b"hello");
        assert_eq!(elapsed(), 20.ms());
    });
}

#[test]
fn a_lossy_link_delays_a_stream_and_loses_nothing() {
    passes(|| async {
        set_link_options(None, LinkOptions::default().loss(Ratio::percent(30)));
        echo_server();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        for round in 0..50u32 {
            assert_eq!(round_trip(&mut stream, &round.to_be_bytes()).await.unwrap(), round.to_be_bytes());
        }
        assert!(elapsed() > 1.secs(), "retransmissions take their time: {:?}", elapsed());
    });
}

#[test]
fn a_lossy_link_loses_datagrams() {
    passes(|| async {
        set_link_options(None, LinkOptions::default().loss(Ratio::percent(30)));
        let receiver = node("receiver").spawn(async {
            let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
            let mut received = 0;
            while timeout(100.ms(), socket.recv_from(&mut [0; 16])).await.is_ok() {
                received += 1;
            }
            received
        });
        sleep(1.ms()).await;
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        for _ in 0..200 {
            socket.send_to(b"?", "receiver:9").await.unwrap();
        }
        let received: u32 = receiver.await.unwrap();
        assert!((100..180).contains(&received), "{received}");
    });
}

#[test]
fn peer_of_a_killed_node_reads_the_end_and_then_a_reset() {
    passes(|| async {
        let server = echo_server();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        round_trip(&mut stream, b"hi").await.unwrap();
        server.crash();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "the kernel of the dead process sent FIN");
        stream.write_all(b"are you there").await.unwrap();
        sleep(10.ms()).await;
        let error = stream.write_all(b"hello?").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "as Linux has it after FIN and RST");
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

#[test]
fn peer_of_a_node_without_power_hears_nothing_until_it_is_back_and_resets() {
    passes(|| async {
        let server = echo_server();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        round_trip(&mut stream, b"hi").await.unwrap();
        server.power_loss();
        stream.write_all(b"are you there").await.unwrap();
        assert!(timeout(60.secs(), stream.read(&mut [0; 8])).await.is_err(), "silence");
        server.restart();
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the new kernel knows no such connection");
    });
}

#[test]
fn an_unanswered_sender_gives_up_after_a_quarter_of_an_hour() {
    passes(|| async {
        let server = echo_server();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        round_trip(&mut stream, b"hi").await.unwrap();
        server.power_loss();
        stream.write_all(b"are you there").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert!((900..1100).contains(&elapsed().as_secs()), "{:?}", elapsed());
    });
}

#[test]
fn a_stream_over_a_healed_partition_delivers_everything_in_order() {
    passes(|| async {
        echo_server();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        let cut = partition("test", "server");
        stream.write_all(b"one ").await.unwrap();
        sleep(500.ms()).await;
        stream.write_all(b"two").await.unwrap();
        drop(cut);
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"one two");
        assert!(elapsed() < 2.secs(), "within the backoff: {:?}", elapsed());
    });
}

#[test]
fn a_one_way_cut_stops_one_way() {
    passes(|| async {
        let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
        let other = node("other").spawn(async {
            let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
            socket.send_to(b"there", "test:9").await.unwrap();
            timeout(1.secs(), socket.recv_from(&mut [0; 8])).await.is_err()
        });
        let _cut = partition_oneway("test", "other");
        socket.send_to(b"here", "other:9").await.unwrap();
        assert_eq!(socket.recv(&mut [0; 8]).await.unwrap(), 5);
        assert!(other.await.unwrap(), "what is sent into the cut is lost");
    });
}

#[test]
fn connect_to_a_partitioned_node_times_out_after_its_retries_and_not_at_once() {
    passes(|| async {
        echo_server();
        let cut = partition("test", "server");
        let error = TcpStream::connect("server:7").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!((120..140).contains(&elapsed().as_secs()), "{:?}", elapsed());
        drop(cut);
        TcpStream::connect("server:7").await.unwrap();
    });
}

#[test]
fn connect_through_a_healing_partition_succeeds_at_the_next_syn() {
    passes(|| async {
        echo_server();
        let cut = partition("test", "server");
        let connecting = spawn(TcpStream::connect("server:7"));
        sleep(2.secs()).await;
        drop(cut);
        connecting.await.unwrap().unwrap();
        assert_eq!(elapsed().as_secs(), 3, "SYNs go out at 0, 1 and 3 s");
    });
}

#[test]
fn connect_where_nobody_listens_is_refused_after_a_round_trip() {
    passes(|| async {
        node("server").start(std::future::pending::<()>);
        set_link_options(None, LinkOptions::fixed(5.ms()));
        let error = TcpStream::connect("server:7").await.unwrap_err();
        assert_eq!((error.kind(), elapsed()), (ErrorKind::ConnectionRefused, 10.ms()));
    });
}

#[test]
fn names_and_addresses_that_lead_nowhere_say_so() {
    passes(|| async {
        let unknown = TcpStream::connect("sever:7").await.unwrap_err();
        assert_eq!((unknown.kind(), elapsed()), (ErrorKind::NotFound, 0.ms()));
        assert!(unknown.to_string().contains("`sever` is the name of no node"));
        let no_port = TcpStream::connect("server").await.unwrap_err();
        assert!(no_port.to_string().contains("write host:port"));
        let nowhere = TcpStream::connect("192.168.1.1:80").await.unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::HostUnreachable);
        let foreign = TcpListener::bind("10.9.9.9:80").await.unwrap_err();
        assert_eq!(foreign.kind(), ErrorKind::AddrNotAvailable);
        let _first = TcpListener::bind("0.0.0.0:80").await.unwrap();
        assert_eq!(TcpListener::bind("0.0.0.0:80").await.unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn a_listener_that_does_not_accept_fills_its_backlog_and_lets_the_rest_wait() {
    passes(|| async {
        let server = node("server").spawn(async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            sleep(10.secs()).await;
            for _ in 0..200 {
                drop(listener.accept().await.unwrap());
            }
        });
        sleep(1.ms()).await;
        let connects: Vec<_> = (0..200).map(|_| spawn(TcpStream::connect("server:7"))).collect();
        for connect in connects {
            connect.await.unwrap().unwrap();
        }
        server.await.unwrap();
    });
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read() {
    passes(|| async {
        let (mut written, total) = (0, 4 * 1024 * 1024);
        let server = node("server").spawn(async move {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            sleep(10.secs()).await;
            let mut all = Vec::new();
            stream.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        sleep(1.ms()).await;
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        while let Ok(n) = timeout(1.secs(), stream.write(&vec![7; 64 * 1024])).await {
            written += n.unwrap();
        }
        assert_eq!(written, sim_net::options().window, "no more than the window");
        stream.write_all(&vec![7; total - written]).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(server.await.unwrap(), total);
    });
}

#[test]
fn each_half_of_a_stream_closes_by_itself() {
    passes(|| async {
        let server = node("server").spawn(async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = String::new();
            stream.read_to_string(&mut asked).await.unwrap();
            stream.write_all(asked.to_uppercase().as_bytes()).await.unwrap();
        });
        sleep(1.ms()).await;
        let (mut read, mut write) = TcpStream::connect("server:7").await.unwrap().into_split();
        write.write_all(b"question").await.unwrap();
        drop(write);
        let mut answer = String::new();
        read.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "QUESTION");
        server.await.unwrap();
    });
}

#[test]
fn dropping_a_stream_with_unread_bytes_resets_it() {
    passes(|| async {
        node("server").spawn(async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            sleep(1.secs()).await;
            drop(stream);
        });
        sleep(1.ms()).await;
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        stream.write_all(b"never read").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn loopback_stays_within_the_node_and_survives_its_isolation() {
    passes(|| async {
        let alone = node("alone").spawn(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            spawn(async move { listener.accept().await.unwrap().0.write_all(b"me").await.unwrap() });
            let _cut = sim_net::isolate("alone");
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "me");
            address
        });
        let address = alone.await.unwrap();
        assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn futures_traits_and_ipv6_work_too() {
    passes(|| async {
        let server = node("server").spawn(async {
            let listener = TcpListener::bind("[::]:7").await.unwrap();
            let (mut stream, from) = listener.accept().await.unwrap();
            assert!(from.is_ipv6());
            let mut text = String::new();
            futures::AsyncReadExt::read_to_string(&mut stream, &mut text).await.unwrap();
            text
        });
        sleep(1.ms()).await;
        let mut stream = TcpStream::connect("[fd00::2]:7").await.unwrap();
        futures::AsyncWriteExt::write_all(&mut stream, b"six").await.unwrap();
        futures::AsyncWriteExt::close(&mut stream).await.unwrap();
        assert_eq!(server.await.unwrap(), "six");
    });
}

#[test]
fn hyper_serves_and_asks_over_simulated_streams() {
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;
    use hyper_util::rt::TokioIo;
    passes(|| async {
        node("web").start(|| async {
            let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| async move {
                    let answer = format!("you asked for {}", request.uri().path());
                    Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from(answer))))
                });
                spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        sleep(1.ms()).await;
        let stream = TcpStream::connect("web:80").await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        spawn(connection);
        let request = hyper::Request::get("/tea").header("host", "web").body(Full::<Bytes>::default()).unwrap();
        let body = sender.send_request(request).await.unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(body, "you asked for /tea");
    });
}

#[test]
fn a_stuck_reader_is_named_with_its_connection() {
    let report = run(1, || async {
        node("server").spawn(async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let _stream = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
        });
        sleep(1.ms()).await;
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        stream.read_u8().await.unwrap();
    });
    assert_eq!(report.outcome, Outcome::Stuck);
    assert!(report.message.contains("tcp read: 10.0.0.1:32768 with 10.0.0.2:7 on node server"), "{}", report.message);
}

#[test]
fn connections_that_are_done_with_leave_nothing_behind() {
    passes(|| async {
        let server = echo_server();
        for round in 0..50u64 {
            let stream = TcpStream::connect("server:7").await;
            if round % 10 == 9 {
                server.crash();
                server.restart();
            }
            drop(stream);
        }
        sleep(30.mins()).await;
        assert_eq!(sim_net::open_connections(), 0);
    });
}

#[test]
fn a_stream_that_was_shut_down_and_dropped_is_forgotten() {
    passes(|| async {
        echo_server();
        for _ in 0..20 {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        }
        sleep(30.mins()).await;
        assert_eq!(sim_net::open_connections(), 0);
    });
}

#[test]
fn several_tasks_may_accept_and_several_may_receive() {
    passes(|| async {
        let served = node("server").spawn(async {
            let listener = std::rc::Rc::new(TcpListener::bind("0.0.0.0:7").await.unwrap());
            let socket = std::rc::Rc::new(UdpSocket::bind("0.0.0.0:9").await.unwrap());
            let accepts = [0, 1].map(|_| {
                spawn({
                    let l = listener.clone();
                    async move { l.accept().await.is_ok() }
                })
            });
            let receives = [0, 1].map(|_| {
                spawn({
                    let s = socket.clone();
                    async move { s.recv_from(&mut [0; 8]).await.is_ok() }
                })
            });
            for task in accepts.into_iter().chain(receives) {
                assert!(task.await.unwrap());
            }
        });
        sleep(1.ms()).await;
        let _streams = (TcpStream::connect("server:7").await.unwrap(), TcpStream::connect("server:7").await.unwrap());
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.send_to(b"1", "server:9").await.unwrap();
        socket.send_to(b"2", "server:9").await.unwrap();
        served.await.unwrap();
    });
}

#[test]
fn a_machine_without_power_sends_nothing_again() {
    passes(|| async {
        let server = node("server").spawn(async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            timeout(10.mins(), stream.read(&mut [0; 8])).await.is_err()
        });
        node("client").spawn(async {
            sleep(1.ms()).await;
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            sleep(10.ms()).await;
            let cut = partition("client", "server");
            stream.write_all(b"last words").await.unwrap();
            drop(stream);
            sleep(1.secs()).await;
            cut.forget();
        });
        sleep(500.ms()).await;
        node("client").power_loss();
        sim_net::heal_all();
        assert!(server.await.unwrap(), "nothing arrives from the dead");
    });
}

#[test]
fn a_link_that_loses_everything_delivers_nothing() {
    passes(|| async {
        echo_server();
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        set_link_options(None, LinkOptions::default().loss(Ratio::ONE));
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

/// Writes into a window that was filled and read empty before the way back was cut, as much as goes in.
async fn written_after_a_cut(from: fn(usize) -> usize) -> usize {
    set_split_probability(Ratio::ZERO);
    let window = sim_net::options().window;
    node("server").start(|| async {
        let listener = TcpListener::bind("0.0.0.0:7").await?;
        let (mut stream, _) = listener.accept().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
    });
    sleep(1.ms()).await;
    let mut stream = TcpStream::connect("server:7").await.unwrap();
    stream.write_all(&vec![7; from(window)]).await.unwrap();
    sleep(1.secs()).await;
    let _cut = partition_oneway("server", "test");
    sleep(1.secs()).await;
    let mut written = 0;
    while let Ok(more) = timeout(20.secs(), stream.write(&vec![7; window])).await {
        written += more.unwrap();
    }
    written
}

#[test]
fn what_was_acknowledged_before_a_cut_leaves_room() {
    passes(|| async {
        let window = sim_net::options().window;
        assert_eq!(written_after_a_cut(|window| window).await, window);
    });
    passes(|| async {
        let window = sim_net::options().window;
        assert_eq!(written_after_a_cut(|window| window / 2).await, window);
    });
}

#[test]
fn a_refusal_does_not_pass_a_cut() {
    passes(|| async {
        node("server").start(std::future::pending::<()>);
        let _cut = partition_oneway("server", "test");
        assert_eq!(TcpStream::connect("server:7").await.unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn dropping_the_reading_half_does_nothing_to_the_writing_one() {
    passes(|| async {
        let server = node("server").spawn(async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"welcome").await.unwrap();
            let mut all = String::new();
            stream.read_to_string(&mut all).await.unwrap();
            all
        });
        sleep(1.ms()).await;
        let (read, mut write) = TcpStream::connect("server:7").await.unwrap().into_split();
        drop(read);
        for _ in 0..3 {
            sleep(10.ms()).await;
            write.write_all(b"on").await.unwrap();
        }
        write.shutdown().await.unwrap();
        assert_eq!(server.await.unwrap(), "ononon");
    });
}

#[test]
fn who_heals_a_cut_heals_no_other() {
    passes(|| async {
        echo_server();
        let old = partition("test", "server");
        sim_net::heal_all();
        let _new = partition("test", "server");
        drop(old);
        let connects = timeout(1.secs(), TcpStream::connect("server:7")).await;
        assert!(connects.is_err(), "the newer cut stands");
    });
}

#[test]
fn a_writer_that_nobody_answers_gives_up() {
    let report = run(1, || async {
        node("server").spawn(async {
            let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {}
        });
        sleep(1.ms()).await;
        let mut stream = TcpStream::connect("server:7").await.unwrap();
        let _cut = partition_oneway("server", "test");
        let error = stream.write_all(&vec![0; 1 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(elapsed() < 20.mins());
    });
    assert!(report.passed(), "{}", report.message);
}

/// The byte at a place of the stream that every client sends.
fn byte_at(place: usize) -> u8 {
    (place * 31 % 251) as u8
}

#[test]
fn whatever_goes_wrong_a_stream_is_a_prefix_of_what_was_written() {
    use sim_core::fault::{crash, faults, pause, power_loss};
    use sim_core::random;
    for seed in 0..150 {
        let report = Sim::new(seed).time_limit(3.mins() * 60).with_faults(sim_net::KINDS).run(|| async {
            let mut options = sim_net::options();
            options.window = random().range(1..5_000) as usize;
            options.backlog = random().range(1..4) as usize;
            sim_net::set_options(options);
            set_link_options(None, LinkOptions::default().loss(Ratio::percent(random().range(0..25) as u32)));
            node("server").start(|| async {
                let listener = TcpListener::bind("0.0.0.0:7").await?;
                loop {
                    let (mut stream, _) = listener.accept().await?;
                    spawn(async move {
                        let (mut place, mut buffer) = (0, [0; 700]);
                        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                            for byte in &buffer[..read] {
                                assert_eq!(*byte, byte_at(place), "at {place}");
                                place += 1;
                            }
                        }
                    });
                }
                #[expect(unreachable_code, reason = "names the error type")]
                Ok::<(), std::io::Error>(())
            });
            for client in 0..3 {
                node(&format!("client-{client}")).start(|| async {
                    loop {
                        sleep(random().range(1..50).ms()).await;
                        let Ok(mut stream) = TcpStream::connect("server:7").await else { continue };
                        let length = random().range(0..20_000) as usize;
                        let bytes: Vec<u8> = (0..length).map(byte_at).collect();
                        let mut sent = 0;
                        while sent < length {
                            let end = length.min(sent + random().range(1..3_000) as usize);
                            match timeout(20.secs(), stream.write(&bytes[sent..end])).await {
                                Ok(Ok(written)) => sent += written,
                                _ => break,
                            }
                        }
                        if random().chance(Ratio::percent(50)) {
                            let _ = stream.shutdown().await;
                        }
                    }
                });
            }
            let names = ["server", "client-0", "client-1", "client-2"];
            for _ in 0..random().range(1..12) {
                let (one, other) = (*random().pick(&names), *random().pick(&names));
                let fault = match random().range(0..6) {
                    0 => crash(one),
                    1 => power_loss(one),
                    2 => pause(one),
                    3 => sim_net::isolate_fault(one),
                    4 if one != other => sim_net::partition_oneway_fault(one, other),
                    _ if one != other => sim_net::partition_fault(one, other),
                    _ => crash(other),
                };
                faults().at(random().range(0..20_000).ms(), fault.lasting(random().range(1..5_000).ms()).may_miss());
            }
            sleep(30.secs()).await;
            names.iter().for_each(|name| node(name).crash());
            sleep(20.mins()).await;
            assert_eq!(sim_net::open_connections(), 0, "every connection is forgotten in the end");
        });
        assert!(report.passed(), "{}", report.render(&[]));
    }
}

#[test]
fn the_raw_face_says_what_a_socket_is_ready_for_and_wakes_when_that_changes() {
    use sim_net::raw::{Connection, Listener};
    use std::task::Poll;
    passes(|| async {
        let listener = Listener::bind("0.0.0.0:7".parse().unwrap()).unwrap();
        let client = Connection::open("127.0.0.1:7".parse().unwrap()).unwrap();
        async fn readable(ask: &dyn Fn(&std::task::Waker) -> bool) {
            std::future::poll_fn(move |cx| if ask(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await
        }
        assert!(!client.ready(std::task::Waker::noop()).writable, "the handshake is under way");
        readable(&|waker| listener.ready(waker).readable).await;
        let Poll::Ready(Ok(server)) = listener.poll_accept(std::task::Waker::noop()) else { panic!("nobody came") };
        assert!(client.ready(std::task::Waker::noop()).writable);
        assert!(!server.ready(std::task::Waker::noop()).readable);
        assert!(matches!(client.poll_write(b"hello", std::task::Waker::noop()), Poll::Ready(Ok(5))));
        readable(&|waker| server.ready(waker).readable).await;
        let mut seen = Vec::new();
        assert_eq!(server.peek(&mut |part| seen.extend_from_slice(part)), 5);
        assert_eq!(seen, b"hello");
        drop(client);
        readable(&|waker| server.ready(waker).read_closed).await;
    });
}
