//! Links, conditions, partitions by name, names and views.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sim_core::time::{elapsed, sleep, timeout};
use sim_core::{Node, Ratio, Sim, Spread, Units, choice::Stream, device, node, nodes, spawn};
use sim_net::{
    Keepalive, LinkOptions, Mode, Overflow, Shape, TcpListener, TcpStream, Topology, UdpSocket, dns, lay_on, link,
    set_link_options, set_topology,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn passes<F: Future<Output = ()> + 'static>(body: impl FnOnce() -> F) {
    let report = Sim::new(3).with_faults(sim_net::KINDS).time_limit(300.mins()).run(body);
    assert!(report.passed(), "{}", report.render(&[]));
}

/// What arrives at a node of `count` numbered datagrams that are sent to it a millisecond apart, and when.
async fn arrivals(count: u8, bytes: usize) -> Vec<(u8, Duration, Vec<u8>)> {
    let socket = node("server").spawn(async { UdpSocket::bind("0.0.0.0:9").await.unwrap() }).await.unwrap();
    let heard = node("server").spawn(async move {
        let mut heard = Vec::new();
        let mut buffer = vec![0; 65_536];
        while let Ok(Ok((length, _))) = timeout(20.secs(), socket.recv_from(&mut buffer)).await {
            heard.push((buffer[0], elapsed(), buffer[..length].to_vec()));
        }
        heard
    });
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    for number in 0..count {
        socket.send_to(&vec![number; bytes], "server:9").await.unwrap();
        sleep(1.ms()).await;
    }
    heard.await.unwrap()
}

fn numbers(heard: &[(u8, Duration, Vec<u8>)]) -> Vec<u8> {
    heard.iter().map(|(number, ..)| *number).collect()
}

fn ten_ms() -> LinkOptions {
    LinkOptions::fixed(10.ms())
}

#[test]
fn datagrams_are_doubled_overtaken_and_changed_as_often_as_the_link_says() {
    passes(|| async {
        set_link_options(None, LinkOptions { duplicate_probability: Ratio::ONE, ..ten_ms() });
        let mut doubled = numbers(&arrivals(50, 8).await);
        doubled.sort();
        assert_eq!(doubled, (0..50).flat_map(|n| [n, n]).collect::<Vec<u8>>());
    });
    passes(|| async {
        set_link_options(None, LinkOptions { reorder_probability: Ratio::percent(30), ..ten_ms() });
        let order = numbers(&arrivals(50, 8).await);
        assert!(order.len() == 50 && !order.is_sorted(), "{order:?}");
    });
    passes(|| async {
        set_link_options(None, LinkOptions { corrupt_probability: Ratio::ONE, ..ten_ms() });
        for (_, _, bytes) in arrivals(20, 8).await {
            let ones = |n: u8| bytes.iter().map(|byte| (byte ^ n).count_ones()).sum::<u32>();
            assert_eq!((0..20).map(ones).min(), Some(1), "one bit: {bytes:?}");
        }
    });
}

#[test]
fn correlated_losses_come_in_bursts() {
    let lost = |correlation| {
        let (told, tell) = std::sync::mpsc::channel();
        passes(move || async move {
            let loss_correlation = Ratio::percent(correlation);
            set_link_options(None, LinkOptions { loss_correlation, ..ten_ms().loss(Ratio::percent(50)) });
            let heard: BTreeSet<u8> = numbers(&arrivals(200, 8).await).into_iter().collect();
            let changes = (1..200).filter(|n| heard.contains(n) != heard.contains(&(n - 1))).count();
            told.send((heard.len(), changes)).unwrap();
        });
        tell.recv().unwrap()
    };
    let (alone, bursts) = (lost(0), lost(90));
    assert!((60..140).contains(&alone.0) && (30..170).contains(&bursts.0), "half is lost: {alone:?} {bursts:?}");
    assert!(alone.1 > 3 * bursts.1, "changes between lost and heard: {alone:?} {bursts:?}");
}

#[test]
fn bandwidth_spaces_packets_out_and_a_full_queue_drops_or_waits() {
    passes(|| async {
        set_link_options(None, ten_ms().bandwidth(10_000));
        let heard = arrivals(10, 1_000).await;
        let last = heard.last().unwrap().1;
        assert!(heard.len() == 10 && last >= 1.secs(), "10 times 1,000 bytes at 10,000 a second: {last:?}");
    });
    for (overflow, kept) in [(Overflow::Tail, 3..8), (Overflow::Random, 3..30), (Overflow::Backpressure, 30..31)] {
        passes(move || async move {
            set_link_options(None, LinkOptions { queue: 3, overflow, ..ten_ms().bandwidth(10_000) });
            let heard = arrivals(30, 1_000).await;
            assert!(kept.contains(&heard.len()), "{overflow:?}: {}", heard.len());
        });
    }
}

#[test]
fn a_datagram_of_many_fragments_is_lost_with_any_of_them() {
    passes(|| async {
        set_link_options(None, ten_ms().loss(Ratio::percent(10)));
        assert!(arrivals(100, 100).await.len() > 70);
    });
    passes(|| async {
        set_link_options(None, ten_ms().loss(Ratio::percent(10)));
        assert!(arrivals(100, 60_000).await.len() < 15, "forty fragments each");
    });
}

#[test]
fn latencies_follow_their_distribution_and_every_pair_has_its_own_skew() {
    let took = |options: LinkOptions| {
        let (told, tell) = std::sync::mpsc::channel();
        passes(move || async move {
            set_link_options(None, options);
            let heard = arrivals(100, 8).await;
            let mut took: Vec<Duration> =
                heard.iter().map(|(number, at, _)| *at - Duration::from_millis((*number).into())).collect();
            took.sort();
            told.send(took).unwrap();
        });
        tell.recv().unwrap()
    };
    let exponential = took(LinkOptions { latency: Spread::exponential(5.ms(), 25.ms()), ..LinkOptions::default() });
    assert!(exponential[0] >= 5.ms() && exponential[50] < 25.ms() && exponential[99] > 50.ms(), "{exponential:?}");
    let bimodal = Spread::Bimodal {
        fast: sim_core::Span(1.ms()),
        slow: sim_core::Span(500.ms()),
        slow_probability: Ratio::percent(10),
    };
    let bimodal = took(LinkOptions { latency: bimodal, ..LinkOptions::default() });
    assert!(bimodal[50] == 1.ms() && bimodal[99] == 500.ms(), "{bimodal:?}");
    let skewed = took(LinkOptions { skew_max: 1.secs(), ..ten_ms() });
    assert!(skewed[0] == skewed[99] && skewed[0] > 10.ms(), "{skewed:?}");
}

#[test]
fn the_topology_says_how_far_zones_are() {
    passes(|| async {
        let mut topology = Topology::default();
        topology.within_rack = LinkOptions::fixed(1.ms());
        topology.across_racks = LinkOptions::fixed(2.ms());
        topology.across_zones = LinkOptions::fixed(3.ms());
        topology.across_regions = LinkOptions::fixed(4.ms());
        set_topology(topology);
        let zones = ["eu/a/1", "eu/a/1", "eu/a/2", "eu/b/1", "us/a/1"];
        for (place, zone) in zones.iter().enumerate() {
            node(&format!("n{place}")).zone(zone);
        }
        let far = |other: usize| sim_net::link_options(node("n0"), node(&format!("n{other}"))).latency.min();
        assert_eq!([1, 2, 3, 4].map(far), [1.ms(), 2.ms(), 3.ms(), 4.ms()]);
    });
}

/// A server that answers each 1,000 bytes with a byte.
async fn serve() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        spawn(async move {
            let mut request = [0; 1_000];
            while stream.read_exact(&mut request).await.is_ok() {
                stream.write_all(b"!").await?;
            }
            Ok::<(), std::io::Error>(())
        });
    }
}

async fn ask(stream: &mut TcpStream) -> std::io::Result<u8> {
    stream.write_all(&[1; 1_000]).await?;
    stream.read_u8().await
}

async fn client_of_a_server() -> TcpStream {
    set_link_options(None, ten_ms());
    node("server").start(serve);
    sleep(1.ms()).await;
    let mut stream = TcpStream::connect("server:7").await.unwrap();
    ask(&mut stream).await.unwrap();
    stream
}

#[test]
fn each_mode_of_a_link_does_what_it_says() {
    use std::io::ErrorKind;
    passes(|| async {
        let mut stream = client_of_a_server().await;
        let slow = link("test", "server", Mode::Slow(400));
        let also_slow = link("test", "server", Mode::Slow(400));
        let start = elapsed();
        ask(&mut stream).await.unwrap();
        assert_eq!(elapsed() - start, 100.ms(), "10 ms and 40 and 40 more there, 10 back: latency faults add");
        drop((slow, also_slow));
        let jam = link("test", "server", Mode::Jam);
        let asked = timeout(5.secs(), ask(&mut stream)).await;
        assert!(asked.is_err() && !sim_net::in_flight().is_empty());
        drop(jam);
        let start = elapsed();
        assert_eq!(stream.read_u8().await.unwrap(), b'!');
        assert_eq!(elapsed() - start, 10.ms(), "what was held arrives at once");
        let refuse = link("test", "server", Mode::Refuse);
        let fresh = TcpStream::connect("server:7").await;
        assert_eq!(fresh.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        ask(&mut stream).await.unwrap();
        drop(refuse);
        let hole = link("test", "server", Mode::Blackhole);
        let mut fresh = TcpStream::connect("server:7").await.unwrap();
        fresh.set_nodelay(true).unwrap();
        assert!(timeout(60.secs(), ask(&mut fresh)).await.is_err(), "opens, and hangs with the first large message");
        drop(hole);
        let reset = link("test", "server", Mode::Reset);
        assert_eq!(ask(&mut stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        drop(reset);
        ask(&mut TcpStream::connect("server:7").await.unwrap()).await.unwrap();
    });
}

#[test]
fn a_jam_lets_datagrams_go_in_order_or_shuffled() {
    for (mode, sorted) in [(Mode::Jam, true), (Mode::JamShuffled, false)] {
        passes(move || async move {
            set_link_options(None, ten_ms());
            node("server");
            let jam = link("test", "server", mode);
            spawn(async move {
                sleep(1.secs()).await;
                drop(jam);
            });
            let heard = arrivals(20, 8).await;
            assert_eq!((heard.len(), numbers(&heard).is_sorted()), (20, sorted));
            assert!(heard.iter().all(|(_, at, _)| *at >= 1.secs()));
        });
    }
}

/// Who hears whom of five nodes in a shape.
fn hears(shape: Shape, draw: u64) -> Vec<Vec<usize>> {
    let (told, tell) = std::sync::mpsc::channel();
    let report = Sim::new(draw).run(move || async move {
        let group: Vec<Node> = nodes("n", 5).iter().collect();
        for (place, node) in group.iter().enumerate() {
            node.zone(["eu/a", "eu/b", "us/a", "us/b", "us/c"][place]);
        }
        let mut draws = device::draws(Stream::FAULT, draw);
        let _cut = lay_on(shape.grudge(&group, &mut draws), Mode::Drop);
        let mut ears = Vec::new();
        for node in &group {
            ears.push(node.spawn(async {
                let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
                let (mut heard, mut who) = (Vec::new(), [0]);
                while timeout(1.secs(), socket.recv_from(&mut who)).await.is_ok() {
                    heard.push(usize::from(who[0]));
                }
                heard.sort();
                heard
            }));
        }
        sleep(1.ms()).await;
        for (me, node) in group.iter().enumerate() {
            let say = async move {
                let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
                for other in (0..5).filter(|other| *other != me) {
                    socket.send_to(&[me as u8], (&*format!("n-{other}"), 9)).await.unwrap();
                }
            };
            node.spawn(say).await.unwrap();
        }
        let mut all = Vec::new();
        for ear in ears {
            all.push(ear.await.unwrap());
        }
        told.send(all).unwrap();
    });
    assert!(report.passed(), "{}", report.render(&[]));
    tell.recv().unwrap()
}

#[test]
fn partitions_have_the_shapes_of_their_names() {
    for draw in 0..20 {
        let sizes = |shape| {
            let mut sizes: Vec<usize> = hears(shape, draw).iter().map(Vec::len).collect();
            sizes.sort();
            sizes
        };
        assert_eq!(sizes(Shape::IsolateOne), [0, 3, 3, 3, 3]);
        assert_eq!(sizes(Shape::Halves), [1, 1, 2, 2, 2]);
        assert_eq!(sizes(Shape::Majority), [1, 1, 2, 2, 2]);
        assert_eq!(sizes(Shape::MinorityThird), [0, 3, 3, 3, 3]);
        assert_eq!(sizes(Shape::Bridge), [2, 2, 2, 2, 4]);
        assert_eq!(sizes(Shape::Star), [1, 1, 1, 1, 4]);
        assert_eq!(sizes(Shape::PartialPair), [3, 3, 4, 4, 4]);
        assert_eq!(sizes(Shape::Chain), [1, 1, 2, 2, 2]);
        assert_eq!(sizes(Shape::OneWay), [1, 1, 4, 4, 4], "two of five hear none of the other three");
        assert_eq!(hears(Shape::Zone, draw), [vec![1], vec![0], vec![3, 4], vec![2, 4], vec![2, 3]]);
        let ring = hears(Shape::MajoritiesRing, draw);
        assert!(ring.iter().all(|heard| heard.len() == 2), "with itself each hears three of five: {ring:?}");
        let majorities: BTreeSet<Vec<usize>> = ring
            .iter()
            .enumerate()
            .map(|(me, heard)| {
                let mut majority = heard.clone();
                majority.push(me);
                majority.sort();
                majority
            })
            .collect();
        assert_eq!(majorities.len(), 5, "no two hear the same majority: {ring:?}");
    }
    let all = |shape: Shape| (0..20).map(|draw| hears(shape, draw)).collect::<BTreeSet<_>>().len();
    assert!(all(Shape::UniformSize) > 10 && all(Shape::UniformAssign) > 10 && all(Shape::RandomGraph) > 10);
}

#[test]
fn names_are_late_gone_stale_or_lead_to_another_machine() {
    passes(|| async {
        let asks = |name: &'static str| async move {
            sim_net::lookup_host((name, 7)).await.map(|mut all| all.next().unwrap().ip())
        };
        let (one, two) = (node("one"), node("two"));
        dns::set_record("db", one);
        assert_eq!(asks("db").await.unwrap(), sim_net::ip_of(one));
        sim_core::fault::faults()
            .at(1.secs(), dns::delay_fault("asker", 300.ms()).lasting(1.secs()))
            .at(3.secs(), dns::nxdomain_fault("asker").lasting(1.secs()))
            .at(5.secs(), dns::stale_fault("asker").lasting(1.secs()))
            .at(7.secs(), dns::reuse_fault("two", "one").may_miss());
        let asker = node("asker").spawn(async move {
            sleep(1.secs() + 100.ms()).await;
            let start = elapsed();
            asks("db").await.unwrap();
            assert_eq!(elapsed() - start, 300.ms());
            sleep(2.secs()).await;
            assert_eq!(asks("db").await.unwrap_err().kind(), std::io::ErrorKind::NotFound);
            dns::set_record("db", two);
            sleep(2.secs()).await;
            assert_eq!(asks("db").await.unwrap(), sim_net::ip_of(one), "as it was");
            sleep(1.secs()).await;
            let old = asks("db").await.unwrap();
            assert_eq!(old, sim_net::ip_of(two));
            sleep(2.secs()).await;
            assert_eq!(sim_net::ip_of(one), old, "the address of two is that of one now");
            assert_ne!(sim_net::ip_of(two), old);
        });
        asker.await.unwrap();
    });
}

#[test]
fn a_group_and_a_broadcast_reach_everyone_who_listens() {
    passes(|| async {
        let group = Ipv4Addr::new(239, 1, 1, 1);
        let mut ears = Vec::new();
        for place in 0..4 {
            ears.push(node(&format!("n-{place}")).spawn(async move {
                let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
                if place < 2 {
                    socket.join_multicast_v4(group, Ipv4Addr::UNSPECIFIED).unwrap();
                }
                let mut heard = Vec::new();
                let mut word = [0; 16];
                while let Ok(Ok((length, _))) = timeout(1.secs(), socket.recv_from(&mut word)).await {
                    heard.push(String::from_utf8_lossy(&word[..length]).into_owned());
                }
                heard
            }));
        }
        sleep(1.ms()).await;
        let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        socket.send_to(b"group", (IpAddr::V4(group), 9)).await.unwrap();
        sleep(100.ms()).await;
        assert!(socket.send_to(b"all", "255.255.255.255:9").await.is_err());
        socket.set_broadcast(true).unwrap();
        socket.send_to(b"all", "255.255.255.255:9").await.unwrap();
        for (place, ear) in ears.into_iter().enumerate() {
            let expected: &[&str] = if place < 2 { &["group", "all"] } else { &["all"] };
            assert_eq!(ear.await.unwrap(), expected, "n-{place}");
        }
    });
}

#[test]
fn keepalive_notices_a_peer_without_power() {
    passes(|| async {
        let mut stream = client_of_a_server().await;
        stream.set_keepalive(Some(Keepalive::new(10.secs(), 1.secs(), 3)));
        sleep(5.mins()).await;
        ask(&mut stream).await.unwrap();
        node("server").power_loss();
        let start = elapsed();
        assert_eq!(stream.read_u8().await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
        assert!((12.secs()..15.secs()).contains(&(elapsed() - start)), "{:?}", elapsed() - start);
    });
}

#[test]
fn ports_towards_one_peer_run_out_while_closed_connections_linger() {
    passes(|| async {
        drop(client_of_a_server().await);
        sleep(2.mins()).await;
        let mut opened = 0;
        let out = loop {
            match TcpStream::connect("server:7").await {
                Ok(stream) => drop(stream),
                Err(error) => break error,
            }
            opened += 1;
            if opened == 3 {
                // From here on without the wait for the network.
                set_link_options(None, LinkOptions::fixed(Duration::ZERO));
            }
        };
        assert_eq!((opened, out.kind()), (28_232, std::io::ErrorKind::AddrNotAvailable));
        sleep(61.secs()).await;
        ask(&mut TcpStream::connect("server:7").await.unwrap()).await.unwrap();
    });
}

#[test]
fn netstat_shows_sockets_and_links_as_they_are() {
    passes(|| async {
        let mut stream = client_of_a_server().await;
        let _datagrams = UdpSocket::bind("0.0.0.0:9").await.unwrap();
        sleep(100.ms()).await;
        let _cut = sim_net::partition("test", "server");
        stream.write_all(&[1; 1_000]).await.unwrap();
        let table = sim_net::netstat().to_string();
        let expected = "\
Node         Proto  Recv-Q  Send-Q Local                    Peer                     State
server       tcp         0       0 0.0.0.0:7                                         LISTEN
server       tcp         0       0 10.0.0.2:7               10.0.0.1:32768           ESTABLISHED
test         tcp         0    1000 10.0.0.1:32768           10.0.0.2:7               ESTABLISHED
test         udp         0       0 0.0.0.0:9                                         \n";
        assert!(table.starts_with(expected), "{table}");
        assert!(table.contains("test         server") && table.contains("cut"), "{table}");
    });
}

#[test]
fn a_trace_is_a_pcapng_file_with_whole_packets() {
    use pcap_file::pcapng::{Block, PcapNgReader};
    passes(|| async {
        let trace = sim_net::capture();
        let mut stream = client_of_a_server().await;
        stream.shutdown().await.unwrap();
        let socket = UdpSocket::bind("[::]:0").await.unwrap();
        socket.send_to(b"six", "[fd00::2]:9").await.unwrap();
        TcpStream::connect("server:8").await.unwrap_err();
        let file = trace.to_pcapng().unwrap();
        let mut reader = PcapNgReader::new(&file[..]).unwrap();
        let mut seen = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                let packet = etherparse::SlicedPacket::from_ip(&packet.data).unwrap();
                seen.push(match packet.transport.unwrap() {
                    etherparse::TransportSlice::Tcp(tcp) => {
                        let flags = [(tcp.syn(), "S"), (tcp.fin(), "F"), (tcp.rst(), "R"), (tcp.ack(), "A")];
                        let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
                        format!("{flags} {} {}", tcp.sequence_number(), tcp.payload().len())
                    }
                    etherparse::TransportSlice::Udp(udp) => format!("udp {}", udp.payload().len()),
                    other => format!("{other:?}"),
                });
            }
        }
        let data: usize = seen
            .iter()
            .filter(|line| line.starts_with("A "))
            .map(|l| l.split(' ').nth(2).unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(seen[..3], ["S 0 0", "SA 0 0", "A 1 0"]);
        assert!(seen.contains(&"RA 0 0".to_string()), "the answer of a port where nobody listens: {seen:?}");
        assert_eq!(data, 1_001, "the request and its answer: {seen:?}");
        assert!(seen.contains(&"FA 1001 0".to_string()) && seen.contains(&"udp 3".to_string()), "{seen:?}");
    });
}
