//! Options of sockets: what setsockopt(2) sets is kept by the socket and given back.

use std::ffi::{c_int, c_void};
use std::time::Duration;

use libc::socklen_t;

use super::ambient::getpid;
use super::sockets::with;
use super::{answer, part, part_mut};
use crate::hosting::descriptor::{Description, Io, is_simulated};
use crate::hosting::socket::Socket;
use crate::syscall::call;

/// The level and the name of an option.
type Name = (c_int, c_int);

/// Bytes of a buffer that a program may ask for (net.core.wmem_max and rmem_max), of which Linux takes twice as many.
const MOST_BUFFER: c_int = 212_992;

/// `TCP_CA_NAME_MAX`: room for the name of a congestion control.
const CONGESTION_NAME: usize = 16;

const CONGESTION: Name = (libc::IPPROTO_TCP, libc::TCP_CONGESTION);
const LINGER: Name = (libc::SOL_SOCKET, libc::SO_LINGER);
const DEVICE: Name = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);

/// The only network device that a node has beside its loopback.
pub(super) const NETWORK_DEVICE: &str = "eth0";

/// Options whose success promises what is not simulated: segments cut by the kernel, filters, copies that are not made.
fn is_refused(name: Name) -> bool {
    match name {
        (libc::SOL_SOCKET, name) => matches!(
            name,
            libc::SO_ATTACH_FILTER | libc::SO_ATTACH_BPF | libc::SO_ATTACH_REUSEPORT_CBPF | libc::SO_ATTACH_REUSEPORT_EBPF
                | libc::SO_TIMESTAMP | libc::SO_TIMESTAMPNS | libc::SO_TIMESTAMPING | libc::SO_ZEROCOPY
                | libc::SO_TXTIME | libc::SO_PEEK_OFF
                // Those that only tell.
                | libc::SO_TYPE | libc::SO_DOMAIN | libc::SO_PROTOCOL | libc::SO_ERROR | libc::SO_ACCEPTCONN
                | libc::SO_PEERCRED
        ),
        (libc::SOL_UDP, _) => true,
        (libc::IPPROTO_IP, name) => matches!(
            name,
            libc::IP_ADD_SOURCE_MEMBERSHIP
                | libc::IP_DROP_SOURCE_MEMBERSHIP
                | libc::IP_BLOCK_SOURCE
                | libc::IP_UNBLOCK_SOURCE
                | libc::IP_HDRINCL
                | libc::IP_OPTIONS
                | libc::MCAST_JOIN_GROUP..=libc::MCAST_MSFILTER
        ),
        (libc::IPPROTO_IPV6, name) => (libc::MCAST_JOIN_GROUP..=libc::MCAST_MSFILTER).contains(&name),
        (libc::IPPROTO_TCP, name) => {
            matches!(name, libc::TCP_INFO | libc::TCP_ULP | libc::TCP_MD5SIG | libc::TCP_REPAIR)
        }
        _ => false,
    }
}

/// What an option is that nobody set.
fn unset(name: Name) -> c_int {
    match name {
        (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_RCVBUF) => MOST_BUFFER,
        (libc::SOL_SOCKET, libc::SO_RCVLOWAT | libc::SO_SNDLOWAT) => 1,
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) => 64,
        (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL | libc::IP_MULTICAST_LOOP | libc::IP_MTU_DISCOVER) => 1,
        (libc::IPPROTO_IP, libc::IP_MULTICAST_ALL) => 1,
        (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS | libc::IPV6_MULTICAST_LOOP | libc::IPV6_MTU_DISCOVER) => 1,
        (libc::IPPROTO_IP, libc::IP_MTU) | (libc::IPPROTO_IPV6, libc::IPV6_MTU) => 1_500,
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => 7_200,
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => 75,
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => 9,
        (libc::IPPROTO_TCP, libc::TCP_SYNCNT) => 6,
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => 536,
        (libc::IPPROTO_TCP, libc::TCP_QUICKACK) => 1,
        (libc::IPPROTO_TCP, libc::TCP_LINGER2) => 60,
        _ => 0,
    }
}

/// What Linux keeps of a number (socket(7), ip(7), tcp(7)).
fn kept(name: Name, value: c_int) -> Io<c_int> {
    let within =
        |range: std::ops::RangeInclusive<c_int>| if range.contains(&value) { Ok(value) } else { Err(libc::EINVAL) };
    match name {
        (libc::SOL_SOCKET, libc::SO_SNDBUF) => Ok(value.clamp(2_304, MOST_BUFFER) * 2),
        (libc::SOL_SOCKET, libc::SO_RCVBUF) => Ok(value.clamp(1_152, MOST_BUFFER) * 2),
        (
            libc::SOL_SOCKET,
            libc::SO_REUSEADDR
            | libc::SO_REUSEPORT
            | libc::SO_KEEPALIVE
            | libc::SO_BROADCAST
            | libc::SO_OOBINLINE
            | libc::SO_DONTROUTE,
        )
        | (libc::IPPROTO_IP, libc::IP_MULTICAST_LOOP | libc::IP_FREEBIND | libc::IP_TRANSPARENT)
        | (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY | libc::IPV6_MULTICAST_LOOP)
        | (libc::IPPROTO_TCP, libc::TCP_NODELAY | libc::TCP_CORK) => Ok(c_int::from(value != 0)),
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS) if value == -1 => Ok(64),
        (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS) if value == -1 => {
            Ok(1)
        }
        (libc::IPPROTO_IP, libc::IP_TTL) => within(1..=255),
        (libc::IPPROTO_IP, libc::IP_MULTICAST_TTL)
        | (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS | libc::IPV6_MULTICAST_HOPS) => within(0..=255),
        (libc::IPPROTO_IP, libc::IP_TOS) => Ok(value & 0xff),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE | libc::TCP_KEEPINTVL) => within(1..=32_767),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT | libc::TCP_SYNCNT) => within(1..=127),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => within(0..=c_int::MAX),
        _ => Ok(value),
    }
}

/// Whether a socket has options of a level.
fn check_level(socket: &dyn Socket, level: c_int) -> Io<()> {
    let fits = match level {
        libc::SOL_SOCKET => true,
        _ if socket.family() == libc::AF_UNIX => return Err(libc::EOPNOTSUPP),
        libc::IPPROTO_TCP => socket.kind() == libc::SOCK_STREAM,
        libc::SOL_UDP => socket.kind() == libc::SOCK_DGRAM,
        libc::IPPROTO_IPV6 => socket.family() == libc::AF_INET6,
        libc::IPPROTO_IP => true,
        _ => false,
    };
    if fits { Ok(()) } else { Err(libc::ENOPROTOOPT) }
}

fn number_at(value: &[u8], at: usize) -> Option<c_int> {
    value.get(at..at + 4)?.try_into().ok().map(c_int::from_ne_bytes)
}

/// A number, which may be a single byte at the level of IP (ip(7)).
fn number(level: c_int, value: &[u8]) -> Io<c_int> {
    let byte = || value.first().filter(|_| level == libc::IPPROTO_IP).map(|byte| c_int::from(*byte));
    number_at(value, 0).or_else(byte).ok_or(libc::EINVAL)
}

fn set(description: &Description, socket: &dyn Socket, name: Name, value: &[u8]) -> Io<()> {
    let timeout = match name {
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => Some(&description.receive_timeout),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => Some(&description.send_timeout),
        _ => None,
    };
    if let Some(timeout) = timeout {
        let number = |at: usize| value.get(at..at + 8)?.try_into().ok().map(i64::from_ne_bytes);
        let (Some(seconds), Some(micros)) = (number(0), number(8)) else { return Err(libc::EINVAL) };
        let limit = Duration::from_secs(seconds.max(0) as u64) + Duration::from_micros(micros.max(0) as u64);
        timeout.set((!limit.is_zero()).then_some(limit));
        return Ok(());
    }
    check_level(socket, name.0)?;
    if is_refused(name) {
        return Err(libc::ENOPROTOOPT);
    }
    if let Some((group, joins)) = membership(name, value)? {
        return socket.set_membership(group, joins);
    }
    let (name, value) = match name {
        // Those that Linux lets a privileged process set past the limit.
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE) => ((libc::SOL_SOCKET, libc::SO_SNDBUF), doubled(value)?),
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE) => ((libc::SOL_SOCKET, libc::SO_RCVBUF), doubled(value)?),
        LINGER => {
            let (on, seconds) = number_at(value, 0).zip(number_at(value, 4)).ok_or(libc::EINVAL)?;
            (LINGER, [c_int::from(on != 0).to_ne_bytes(), seconds.to_ne_bytes()].concat())
        }
        CONGESTION => match text(value) {
            name @ (b"cubic" | b"reno") => (CONGESTION, name.to_vec()),
            _ => return Err(libc::ENOENT),
        },
        DEVICE => match text(value) {
            device if device.is_empty() || device == NETWORK_DEVICE.as_bytes() => (DEVICE, device.to_vec()),
            _ => return Err(libc::ENODEV),
        },
        (libc::IPPROTO_IP, libc::IP_MULTICAST_IF) => (name, value.to_vec()),
        _ => (name, kept(name, number(name.0, value)?)?.to_ne_bytes().to_vec()),
    };
    socket.set_option(name.0, name.1, &value);
    description.options.borrow_mut().insert(name, value);
    Ok(())
}

fn doubled(value: &[u8]) -> Io<Vec<u8>> {
    Ok(number(libc::SOL_SOCKET, value)?.saturating_mul(2).to_ne_bytes().to_vec())
}

/// A name that may end in a zero byte.
fn text(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// The multicast group that a socket is to join (true) or leave.
fn membership(name: Name, value: &[u8]) -> Io<Option<(std::net::IpAddr, bool)>> {
    let joins =
        matches!(name, (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP) | (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP));
    match name {
        (libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP | libc::IP_DROP_MEMBERSHIP) => {
            let request = value.first_chunk::<8>().ok_or(libc::EINVAL)?;
            let [a, b, c, d, ..] = *request;
            Ok(Some(([a, b, c, d].into(), joins)))
        }
        (libc::IPPROTO_IPV6, libc::IPV6_ADD_MEMBERSHIP | libc::IPV6_DROP_MEMBERSHIP) => {
            let request = value.first_chunk::<20>().ok_or(libc::EINVAL)?;
            Ok(Some((request.first_chunk::<16>().copied().ok_or(libc::EINVAL)?.into(), joins)))
        }
        _ => Ok(None),
    }
}

fn get(description: &Description, socket: &dyn Socket, name: Name) -> Io<Vec<u8>> {
    let time = |limit: Option<Duration>| {
        let limit = limit.unwrap_or_default();
        [(limit.as_secs() as i64).to_ne_bytes(), i64::from(limit.subsec_micros()).to_ne_bytes()].concat()
    };
    let number = match name {
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => return Ok(time(description.receive_timeout.get())),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => return Ok(time(description.send_timeout.get())),
        (libc::SOL_SOCKET, libc::SO_ERROR) => socket.take_error(),
        (libc::SOL_SOCKET, libc::SO_TYPE) => socket.kind(),
        (libc::SOL_SOCKET, libc::SO_DOMAIN) => socket.family(),
        (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => socket.is_listening().into(),
        (libc::SOL_SOCKET, libc::SO_PROTOCOL) => match (socket.family(), socket.kind()) {
            (libc::AF_UNIX, _) => 0,
            (_, libc::SOCK_DGRAM) => libc::IPPROTO_UDP,
            _ => libc::IPPROTO_TCP,
        },
        (libc::SOL_SOCKET, libc::SO_PEERCRED) => return Ok(credentials(socket)),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) if socket.family() != libc::AF_UNIX => socket.nodelay().into(),
        _ => {
            check_level(socket, name.0)?;
            if is_refused(name) {
                return Err(libc::ENOPROTOOPT);
            }
            let known = description.options.borrow().get(&name).cloned();
            return Ok(match (name, known) {
                (CONGESTION, name) => {
                    let mut name = name.unwrap_or_else(|| b"cubic".to_vec());
                    name.resize(CONGESTION_NAME, 0);
                    name
                }
                (LINGER, None) => vec![0; 8],
                (DEVICE, None) => Vec::new(),
                (DEVICE, Some(device)) => [&device[..], b"\0"].concat(),
                (_, Some(value)) => value,
                (_, None) => unset(name).to_ne_bytes().to_vec(),
            });
        }
    };
    Ok(number.to_ne_bytes().to_vec())
}

/// Who is at the other end (unix(7)): the process of the node, as root. Where there is no such end, nobody.
fn credentials(socket: &dyn Socket) -> Vec<u8> {
    let connected = socket.family() == libc::AF_UNIX && (socket.peer().is_ok() || socket.is_listening());
    let [process, user, group] = if connected { [getpid(), 0, 0] } else { [0, -1, -1] };
    [process.to_ne_bytes(), user.to_ne_bytes(), group.to_ne_bytes()].concat()
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getsockopt(
    descriptor: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    length: *mut socklen_t,
) -> c_int {
    if is_simulated(descriptor) {
        let told = with(descriptor, |description, socket| get(description, socket, (level, name)));
        return answer(told.map(|told| {
            // SAFETY: getsockopt(2) demands room of the length that it is told.
            unsafe {
                let room = (*length as usize).min(told.len());
                part_mut(value, room).copy_from_slice(&told[..room]);
                *length = room as socklen_t;
            }
            0
        })) as c_int;
    }
    let args = [descriptor as usize, level as usize, name as usize, value as usize, length as usize, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_getsockopt, args) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn setsockopt(
    descriptor: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    length: socklen_t,
) -> c_int {
    if is_simulated(descriptor) {
        // SAFETY: setsockopt(2) demands a valid value.
        let value = unsafe { part(value, length as usize) };
        let done = with(descriptor, |description, socket| set(description, socket, (level, name), value));
        return answer(done.map(|()| 0)) as c_int;
    }
    let args = [descriptor as usize, level as usize, name as usize, value as usize, length as usize, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_setsockopt, args) as c_int }
}
