//! What programs ask of sockets beside reading and writing: options, groups, several messages at once, who is there.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

mod kit;

use std::io::{Error, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};
use sim_core::{Sim, node};
use sim_host::hosting::node::Host;

use kit::{has_passed, passes};

fn errno() -> c_int {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// A new socket, or the error.
fn socket(family: c_int, kind: c_int) -> Result<c_int, c_int> {
    // SAFETY: takes three numbers.
    let made = unsafe { libc::socket(family, kind, 0) };
    if made == -1 { Err(errno()) } else { Ok(made) }
}

fn set_bytes(socket: c_int, level: c_int, name: c_int, value: &[u8]) -> Result<(), c_int> {
    // SAFETY: bytes of the length that is said.
    let done = unsafe { libc::setsockopt(socket, level, name, value.as_ptr().cast(), value.len() as socklen_t) };
    if done == 0 { Ok(()) } else { Err(errno()) }
}

fn set(socket: c_int, level: c_int, name: c_int, value: c_int) -> Result<(), c_int> {
    set_bytes(socket, level, name, &value.to_ne_bytes())
}

fn get_bytes(socket: c_int, level: c_int, name: c_int) -> Result<Vec<u8>, c_int> {
    let (mut value, mut length) = ([0u8; 64], 64);
    // SAFETY: room of the length that is said.
    match unsafe { libc::getsockopt(socket, level, name, value.as_mut_ptr().cast(), &mut length) } {
        0 => Ok(value[..length as usize].to_vec()),
        _ => Err(errno()),
    }
}

fn get(socket: c_int, level: c_int, name: c_int) -> Result<c_int, c_int> {
    get_bytes(socket, level, name).map(|value| c_int::from_ne_bytes(value.try_into().unwrap()))
}

fn bind(socket: c_int, port: u16) -> Result<(), c_int> {
    let port = port.to_be();
    // SAFETY: an all-zero address is one of nobody; a valid address of its length.
    let done = unsafe {
        let mut address: libc::sockaddr_in = MaybeUninit::zeroed().assume_init();
        (address.sin_family, address.sin_port) = (libc::AF_INET as u16, port);
        libc::bind(socket, (&raw const address).cast(), size_of::<libc::sockaddr_in>() as socklen_t)
    };
    if done == 0 { Ok(()) } else { Err(errno()) }
}

#[test]
fn what_setsockopt_sets_is_given_back_as_linux_does() {
    passes(|| {
        let tcp = socket(libc::AF_INET6, libc::SOCK_STREAM).unwrap();
        for (level, name, value, back) in [
            (libc::SOL_SOCKET, libc::SO_REUSEADDR, 7, 1),
            (libc::SOL_SOCKET, libc::SO_REUSEPORT, 1, 1),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1, 1),
            (libc::SOL_SOCKET, libc::SO_SNDBUF, 100_000, 200_000),
            (libc::SOL_SOCKET, libc::SO_RCVBUF, 1 << 30, 425_984),
            (libc::SOL_SOCKET, libc::SO_PRIORITY, 3, 3),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY, 1, 1),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 9, 9),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 3, 3),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 4, 4),
            (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, 2_500, 2_500),
            (libc::IPPROTO_IP, libc::IP_TOS, 16, 16),
            (libc::IPPROTO_IP, libc::IP_TTL, 50, 50),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, 20, 20),
        ] {
            assert_ne!(get(tcp, level, name), Ok(back), "{level} {name} was not set yet");
            assert_eq!(set(tcp, level, name, value), Ok(()), "{level} {name}");
            assert_eq!(get(tcp, level, name), Ok(back), "{level} {name}");
        }
        let linger = [1, 0, 0, 0, 5, 0, 0, 0];
        assert_eq!(set_bytes(tcp, libc::SOL_SOCKET, libc::SO_LINGER, &linger), Ok(()));
        assert_eq!(get_bytes(tcp, libc::SOL_SOCKET, libc::SO_LINGER), Ok(linger.to_vec()));
        // Those that nobody set are what they are on Linux.
        let other = socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
        let untouched = [
            (libc::SOL_SOCKET, libc::SO_REUSEADDR, 0),
            (libc::IPPROTO_IP, libc::IP_TTL, 64),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 7_200),
        ];
        for (level, name, value) in untouched {
            assert_eq!(get(other, level, name), Ok(value));
        }
        // A value that cannot be.
        assert_eq!(set(other, libc::IPPROTO_IP, libc::IP_TTL, 256), Err(libc::EINVAL));
        assert_eq!(set(other, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 0), Err(libc::EINVAL));
        assert_eq!(set_bytes(other, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &[1]), Err(libc::EINVAL));
        // And a time-to-live may be a byte.
        assert_eq!(set_bytes(other, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL, &[9]), Ok(()));
        assert_eq!(get(other, libc::IPPROTO_IP, libc::IP_MULTICAST_TTL), Ok(9));
    });
}

#[test]
fn options_that_promise_what_is_not_simulated_are_refused() {
    passes(|| {
        let (tcp, udp) = (socket(libc::AF_INET, libc::SOCK_STREAM), socket(libc::AF_INET, libc::SOCK_DGRAM));
        let (tcp, udp) = (tcp.unwrap(), udp.unwrap());
        for (socket, level, name) in [
            (udp, libc::SOL_UDP, libc::UDP_SEGMENT),
            (udp, libc::SOL_UDP, libc::UDP_GRO),
            (udp, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
            (udp, libc::IPPROTO_TCP, libc::TCP_NODELAY),
            (tcp, libc::SOL_SOCKET, libc::SO_ZEROCOPY),
            (tcp, libc::SOL_SOCKET, libc::SO_TYPE),
            (tcp, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        ] {
            assert_eq!(set(socket, level, name, 1), Err(libc::ENOPROTOOPT), "{level} {name}");
        }
        let device = |name: &[u8]| set_bytes(tcp, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, name);
        assert_eq!((device(b"eth0"), device(b"wlan7\0")), (Ok(()), Err(libc::ENODEV)));
    });
}

#[test]
fn sockets_say_what_they_are_and_who_is_there() {
    passes(|| {
        let (tcp, udp) = (socket(libc::AF_INET, libc::SOCK_STREAM), socket(libc::AF_INET, libc::SOCK_DGRAM));
        let protocol = |socket| get(socket, libc::SOL_SOCKET, libc::SO_PROTOCOL);
        assert_eq!((protocol(tcp.unwrap()), protocol(udp.unwrap())), (Ok(libc::IPPROTO_TCP), Ok(libc::IPPROTO_UDP)));
        let congestion = get_bytes(tcp.unwrap(), libc::IPPROTO_TCP, libc::TCP_CONGESTION).unwrap();
        assert_eq!((&congestion[..6], congestion.len()), (&b"cubic\0"[..], 16));
        let credentials = |socket| {
            let told = get_bytes(socket, libc::SOL_SOCKET, libc::SO_PEERCRED).unwrap();
            told.chunks(4).map(|part| c_int::from_ne_bytes(part.try_into().unwrap())).collect::<Vec<_>>()
        };
        let (one, _other) = UnixStream::pair().unwrap();
        // SAFETY: takes nothing.
        assert_eq!(credentials(one.as_raw_fd()), [unsafe { libc::getpid() }, 0, 0]);
        assert_eq!(credentials(tcp.unwrap()), [0, -1, -1]);
    });
}

#[test]
fn families_that_are_not_simulated_are_refused_so_that_programs_go_on() {
    passes(|| {
        assert_eq!(socket(libc::AF_NETLINK, libc::SOCK_RAW), Err(libc::EAFNOSUPPORT));
        assert_eq!(socket(libc::AF_INET, libc::SOCK_RAW), Err(libc::EPERM));
        assert_eq!(socket(libc::AF_PACKET, libc::SOCK_RAW), Err(libc::EPERM));
    });
}

#[test]
fn several_datagrams_are_sent_and_received_at_once() {
    passes(|| {
        let (sender, receiver) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let texts = [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()];
        let mut parts = texts
            .each_ref()
            .map(|text| libc::iovec { iov_base: text.as_ptr().cast_mut().cast::<c_void>(), iov_len: text.len() });
        // SAFETY: all-zero messages are empty ones.
        let mut messages: [libc::mmsghdr; 3] = unsafe { MaybeUninit::zeroed().assume_init() };
        for (message, part) in messages.iter_mut().zip(&mut parts) {
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
        }
        // SAFETY: three messages.
        assert_eq!(unsafe { libc::sendmmsg(sender.as_raw_fd(), messages.as_mut_ptr(), 3, 0) }, 3);
        assert_eq!(messages.map(|message| message.msg_len), [3, 3, 5]);
        std::thread::sleep(Duration::from_secs(1));
        // Four are asked for, three are there, and the last is cut.
        let mut room = [[0u8; 4]; 4];
        let mut parts = room.each_mut().map(|room| libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 4 });
        // SAFETY: as above.
        let mut messages: [libc::mmsghdr; 4] = unsafe { MaybeUninit::zeroed().assume_init() };
        for (message, part) in messages.iter_mut().zip(&mut parts) {
            (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
        }
        let (socket, list, none) = (receiver.as_raw_fd(), messages.as_mut_ptr(), std::ptr::null_mut());
        // SAFETY: four messages, and no time.
        assert_eq!(unsafe { libc::recvmmsg(socket, list, 4, libc::MSG_WAITFORONE, none) }, 3);
        assert_eq!(messages.map(|message| message.msg_len), [3, 3, 4, 0]);
        assert_eq!(messages.map(|message| message.msg_hdr.msg_flags), [0, 0, libc::MSG_TRUNC, 0]);
        assert_eq!(&room, &[*b"one\0", *b"two\0", *b"thre", [0; 4]]);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::recvmmsg(socket, list, 4, libc::MSG_DONTWAIT, none) }, -1);
        assert_eq!(errno(), libc::EAGAIN);
    });
}

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

#[test]
fn what_is_sent_to_a_group_reaches_those_who_joined_it() {
    let report = Sim::new(1).run(async || {
        node("server").host(|| {
            let socket = UdpSocket::bind("0.0.0.0:5353").unwrap();
            socket.join_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED).unwrap();
            let (length, from) = socket.recv_from(&mut [0; 100]).unwrap();
            socket.send_to(&[length as u8], from).unwrap();
            let mut more = [0; 100];
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            // The group was left by then.
            socket.leave_multicast_v4(&GROUP, &Ipv4Addr::UNSPECIFIED).unwrap();
            assert_eq!(socket.recv_from(&mut more).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
        sim_core::time::sleep(Duration::from_secs(1)).await;
        let client = node("client").host(|| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"who", (GROUP, 5353)).unwrap();
            let mut answer = [0; 1];
            let (_, from) = socket.recv_from(&mut answer).unwrap();
            assert_eq!((answer, from.port()), ([3], 5353));
            std::thread::sleep(Duration::from_secs(1));
            socket.send_to(b"who", (GROUP, 5353)).unwrap();
        });
        client.join().await;
        node("server").join().await;
    });
    has_passed(&report);
}

#[test]
fn a_group_is_joined_once_and_only_what_was_joined_is_left() {
    passes(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        let any = Ipv4Addr::UNSPECIFIED;
        let join = |group| socket.join_multicast_v4(&group, &any).map_err(|error| error.raw_os_error().unwrap());
        assert_eq!(join(GROUP), Ok(()));
        assert_eq!(join(GROUP), Err(libc::EADDRINUSE));
        assert_eq!(join(Ipv4Addr::new(10, 0, 0, 1)), Err(libc::EINVAL));
        let other = socket.leave_multicast_v4(&Ipv4Addr::new(224, 0, 0, 252), &any).unwrap_err();
        assert_eq!(other.raw_os_error(), Some(libc::EADDRNOTAVAIL));
        let v6 = UdpSocket::bind("[::]:0").unwrap();
        let group = "ff02::fb".parse().unwrap();
        assert_eq!(v6.join_multicast_v6(&group, 0).map_err(|error| error.kind()), Ok(()));
        assert_eq!(v6.join_multicast_v6(&group, 0).map_err(|error| error.kind()), Err(ErrorKind::AddrInUse));
    });
}

#[test]
fn a_group_joined_before_binding_is_heard_and_without_the_loop_nobody_hears_himself() {
    passes(|| {
        let receiver = socket(libc::AF_INET, libc::SOCK_DGRAM).unwrap();
        let request = [GROUP.octets(), [0; 4]].concat();
        assert_eq!(set_bytes(receiver, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, &request), Ok(()));
        assert_eq!(set(receiver, libc::SOL_SOCKET, libc::SO_BROADCAST, 1), Ok(()));
        assert_eq!(bind(receiver, 5353), Ok(()));
        // SAFETY: a socket that nobody else has.
        let receiver = unsafe { UdpSocket::from_raw_fd(receiver) };
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let sender = UdpSocket::bind("0.0.0.0:0").unwrap();
        for (loops, heard) in [(true, Ok(1)), (false, Err(ErrorKind::WouldBlock))] {
            sender.set_multicast_loop_v4(loops).unwrap();
            sender.send_to(b"x", (GROUP, 5353)).unwrap();
            assert_eq!(receiver.recv(&mut [0; 9]).map_err(|error| error.kind()), heard);
        }
    });
}

/// A listener that shares its port with others.
fn shares_port(port: u16) -> Result<TcpListener, c_int> {
    let listener = socket(libc::AF_INET, libc::SOCK_STREAM)?;
    set(listener, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    bind(listener, port)?;
    // SAFETY: a socket that nobody else has.
    unsafe {
        assert_eq!(libc::listen(listener, 128), 0);
        Ok(TcpListener::from_raw_fd(listener))
    }
}

#[test]
fn listeners_that_share_a_port_share_its_connections() {
    let report = Sim::new(1).run(async || {
        node("server").host(|| {
            let listeners = [shares_port(80).unwrap(), shares_port(80).unwrap()];
            assert_eq!(TcpListener::bind("0.0.0.0:80").unwrap_err().kind(), ErrorKind::AddrInUse);
            std::thread::scope(|scope| {
                for (number, listener) in listeners.iter().enumerate() {
                    scope.spawn(move || {
                        loop {
                            listener.accept().unwrap().0.write_all(&[number as u8]).unwrap();
                        }
                    });
                }
            });
        });
        sim_core::time::sleep(Duration::from_secs(1)).await;
        let client = node("client").host(|| {
            let mut seen = [0; 2];
            for _ in 0..40 {
                let mut byte = [0];
                TcpStream::connect("server:80").unwrap().read_exact(&mut byte).unwrap();
                seen[usize::from(byte[0])] += 1;
            }
            assert!(seen.iter().all(|count| *count >= 8), "{seen:?}");
        });
        client.join().await;
    });
    has_passed(&report);
}

#[test]
fn a_connection_comes_from_the_port_that_its_socket_was_bound_to() {
    let report = Sim::new(1).run(async || {
        let server = node("server").host(|| {
            let listener = TcpListener::bind("0.0.0.0:80").unwrap();
            assert_eq!(listener.accept().unwrap().1.port(), 5_555);
        });
        sim_core::time::sleep(Duration::from_secs(1)).await;
        node("client").host(|| {
            let client = socket(libc::AF_INET, libc::SOCK_STREAM).unwrap();
            assert_eq!(bind(client, 5_555), Ok(()));
            let Some(SocketAddr::V4(to)) = std::net::ToSocketAddrs::to_socket_addrs("server:80").unwrap().next() else {
                panic!("the server has an address")
            };
            connect(client, to);
            assert_eq!(TcpListener::bind("0.0.0.0:5555").unwrap_err().kind(), ErrorKind::AddrInUse);
        });
        server.join().await;
    });
    has_passed(&report);
}

fn connect(socket: c_int, to: SocketAddrV4) {
    // SAFETY: an all-zero address is one of nobody; a valid address of its length.
    unsafe {
        let mut address: libc::sockaddr_in = MaybeUninit::zeroed().assume_init();
        (address.sin_family, address.sin_port) = (libc::AF_INET as u16, to.port().to_be());
        address.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
        let length = size_of::<libc::sockaddr_in>() as socklen_t;
        assert_eq!(libc::connect(socket, (&raw const address).cast(), length), 0);
    }
}

#[test]
fn an_accepted_socket_has_the_options_of_the_one_that_listened() {
    passes(|| {
        let listener = TcpListener::bind("127.0.0.1:80").unwrap();
        assert_eq!(set(listener.as_raw_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1), Ok(()));
        assert_eq!(set(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1), Ok(()));
        let _client = TcpStream::connect("127.0.0.1:80").unwrap();
        let accepted = listener.accept().unwrap().0;
        assert_eq!(get(accepted.as_raw_fd(), libc::SOL_SOCKET, libc::SO_KEEPALIVE), Ok(1));
        assert!(accepted.nodelay().unwrap());
        let unix = UnixListener::bind("/a.sock").unwrap();
        assert_eq!(set(unix.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NODELAY, 1), Err(libc::EOPNOTSUPP));
    });
}

#[test]
fn abstract_names_are_bound_told_and_connected_to_and_are_no_files() {
    passes(|| {
        let name = UnixAddress::from_abstract_name("foo\0bar").unwrap();
        let listener = UnixListener::bind_addr(&name).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_abstract_name(), Some(&b"foo\0bar"[..]));
        assert_eq!(UnixListener::bind_addr(&name).unwrap_err().kind(), ErrorKind::AddrInUse);
        let mut client = UnixStream::connect_addr(&name).unwrap();
        client.write_all(b"x").unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        assert_eq!(accepted.local_addr().unwrap().as_abstract_name(), Some(&b"foo\0bar"[..]));
        drop(listener);
        assert_eq!(UnixStream::connect_addr(&name).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        UnixListener::bind_addr(&name).unwrap();
        assert_eq!(
            std::fs::read_dir("/").unwrap().filter(|entry| entry.as_ref().is_ok_and(|e| !e.path().is_dir())).count(),
            0
        );
    });
}

#[test]
fn unix_datagrams_keep_their_bounds_and_say_who_sent_them() {
    passes(|| {
        let (server, client) = (UnixDatagram::bind("/server").unwrap(), UnixDatagram::bind("/client").unwrap());
        client.send_to(b"one", "/server").unwrap();
        client.connect("/server").unwrap();
        client.send(b"three").unwrap();
        client.send(b"").unwrap();
        let mut buffer = [0; 4];
        let mut received = || {
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            (buffer[..length].to_vec(), from.as_pathname().map(|path| path.to_path_buf()))
        };
        let from = Some("/client".into());
        assert_eq!(received(), (b"one".to_vec(), from.clone()));
        assert_eq!(received(), (b"thre".to_vec(), from.clone()));
        assert_eq!(received(), (Vec::new(), from));
        assert!(
            UnixDatagram::unbound().unwrap().send_to(b"x", "/client").unwrap_err().raw_os_error() == Some(libc::EPERM)
        );
        // A receiver that is behind holds its senders up.
        client.set_nonblocking(true).unwrap();
        let sent = (0..).take_while(|_| client.send(b"x").is_ok()).count();
        assert_eq!((sent, client.send(b"x").unwrap_err().kind()), (10, ErrorKind::WouldBlock));
        drop(server);
        assert_eq!(client.send(b"x").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let unbound = UnixDatagram::unbound().unwrap();
        for (to, error) in [("/server", libc::ECONNREFUSED), ("/nobody", libc::ENOENT)] {
            assert_eq!(unbound.send_to(b"x", to).unwrap_err().raw_os_error(), Some(error));
        }
        assert_eq!(unbound.send(b"x").unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
        let _stream = UnixListener::bind("/stream").unwrap();
        assert_eq!(unbound.connect("/stream").unwrap_err().raw_os_error(), Some(libc::EPROTOTYPE));
        assert_eq!(UnixStream::connect("/client").unwrap_err().raw_os_error(), Some(libc::EPROTOTYPE));
        assert_eq!(UnixDatagram::bind("/client").unwrap_err().kind(), ErrorKind::AddrInUse);
    });
}

#[test]
fn a_pair_of_unix_datagrams_waits_for_what_comes_and_for_room() {
    passes(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..50u8).for_each(|number| assert_eq!(one.send(&[number]).unwrap(), 1)));
            std::thread::sleep(Duration::from_secs(1));
            for number in 0..50 {
                let mut byte = [0];
                assert_eq!((other.recv(&mut byte).unwrap(), byte[0]), (1, number));
            }
        });
    });
}

#[test]
fn a_pair_of_packets_in_sequence_ends_with_its_peer() {
    passes(|| {
        let mut ends = [0; 2];
        // SAFETY: room for two numbers.
        assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, ends.as_mut_ptr()) }, 0);
        assert_eq!(get(ends[0], libc::SOL_SOCKET, libc::SO_TYPE), Ok(libc::SOCK_SEQPACKET));
        let mut buffer = [0u8; 9];
        let mut read = || {
            // SAFETY: room of the length that is said.
            let length = unsafe { libc::read(ends[1], buffer.as_mut_ptr().cast(), 9) };
            buffer[..length as usize].to_vec()
        };
        for text in [c"one", c"two"] {
            // SAFETY: bytes that are there.
            assert_eq!(unsafe { libc::write(ends[0], text.as_ptr().cast(), 3) }, 3);
        }
        assert_eq!(read(), b"one");
        // SAFETY: a descriptor of ours.
        unsafe { libc::close(ends[0]) };
        assert_eq!((read(), read()), (b"two".to_vec(), Vec::new()));
        // SAFETY: a byte that is there.
        assert_eq!(unsafe { libc::write(ends[1], c"x".as_ptr().cast(), 1) }, -1);
        assert_eq!(errno(), libc::EPIPE);
    });
}

#[test]
fn a_node_has_a_loopback_and_a_device_with_its_address() {
    passes(|| {
        let mut list = std::ptr::null_mut();
        // SAFETY: room for a pointer.
        assert_eq!(unsafe { libc::getifaddrs(&mut list) }, 0);
        let (mut next, mut told) = (list, Vec::new());
        // SAFETY: a list that ends in null, whose entries have a name and an address.
        while let Some(entry) = unsafe { next.as_ref() } {
            // SAFETY: as above.
            let name = unsafe { std::ffi::CStr::from_ptr(entry.ifa_name) }.to_str().unwrap();
            // SAFETY: as above; of IPv4 where it says so.
            unsafe {
                if c_int::from((*entry.ifa_addr).sa_family) == libc::AF_INET {
                    let address = entry.ifa_addr.cast::<libc::sockaddr_in>().read();
                    told.push((name.to_string(), Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes())));
                }
            }
            next = entry.ifa_next;
        }
        let own = std::net::ToSocketAddrs::to_socket_addrs("program:0").unwrap().next().unwrap();
        assert_eq!(told[0], ("lo".to_string(), Ipv4Addr::LOCALHOST));
        assert_eq!((told.len(), &told[1].0[..], told[1].1.into()), (2, "eth0", own.ip()));
        // SAFETY: the list from above.
        unsafe { libc::freeifaddrs(list) };
    });
}

/// The two ends of a connection over the loopback, the first of which never waits.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:80").unwrap();
    let reader = TcpStream::connect("127.0.0.1:80").unwrap();
    reader.set_nonblocking(true).unwrap();
    (reader, listener.accept().unwrap().0)
}

/// Reads what fits two bytes, and all the same whether it is the first read or one after others that found nothing.
fn read_two(mut socket: &TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = [0; 2];
    socket.read(&mut bytes).map(|length| bytes[..length].to_vec()).map_err(|error| error.kind())
}

fn a_while() {
    std::thread::sleep(Duration::from_millis(10));
}

#[test]
fn a_socket_that_was_read_empty_hears_of_what_comes_though_nobody_watches_it() {
    passes(|| {
        let (reader, mut writer) = connection();
        for text in [b"ab", b"cd"] {
            writer.write_all(text).unwrap();
            a_while();
            assert_eq!(read_two(&reader).unwrap(), text);
            // The read took all there was, and the next ones find nothing.
            assert_eq!(read_two(&reader), Err(ErrorKind::WouldBlock));
            assert_eq!(read_two(&reader), Err(ErrorKind::WouldBlock));
        }
        drop(writer);
        a_while();
        assert_eq!(read_two(&reader), Ok(Vec::new()));
    });
}

#[test]
fn a_socket_that_was_read_empty_hears_of_a_reset() {
    passes(|| {
        let (reader, mut writer) = connection();
        (&reader).write_all(b"unread").unwrap();
        writer.write_all(b"ab").unwrap();
        a_while();
        assert_eq!(read_two(&reader).unwrap(), b"ab");
        // Bytes that nobody reads.
        drop(writer);
        a_while();
        assert_eq!(read_two(&reader), Err(ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_socket_that_was_read_empty_ends_where_its_program_ends_reading() {
    passes(|| {
        let (reader, mut writer) = connection();
        writer.write_all(b"ab").unwrap();
        a_while();
        assert_eq!(read_two(&reader).unwrap(), b"ab");
        reader.shutdown(std::net::Shutdown::Read).unwrap();
        assert_eq!(read_two(&reader), Ok(Vec::new()));
    });
}

#[test]
fn a_socket_that_was_read_empty_together_with_the_end_says_the_end() {
    passes(|| {
        let (reader, mut writer) = connection();
        writer.write_all(b"ab").unwrap();
        drop(writer);
        a_while();
        assert_eq!(read_two(&reader).unwrap(), b"ab");
        assert_eq!(read_two(&reader), Ok(Vec::new()));
    });
}
