//! Sockets.

use std::ffi::{OsStr, c_int, c_uint, c_void};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;

use libc::{mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec};
use sim_core::ambient::remark;

use super::descriptors::{through, vectors};
use super::{answer, duration_of, part, part_mut};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, Io, install, is_simulated, lookup};
use crate::hosting::pipe::pair;
use crate::hosting::socket::{Address, Received, Socket, Tcp, Udp};
use crate::hosting::unix::Unix;
use crate::hosting::unix_datagrams::Datagrams;
use crate::hosting::wait;
use crate::leak;
use crate::syscall::call;

/// The address in a `sockaddr`.
///
/// # Safety
/// `address` must be valid for `length` bytes.
pub(super) unsafe fn address_from(address: *const sockaddr, length: socklen_t) -> Io<Address> {
    let length = length as usize;
    if address.is_null() || length < 2 {
        return Err(libc::EINVAL);
    }
    // SAFETY: the caller's promise, and each family's length is checked before its fields are read.
    unsafe {
        match c_int::from((*address).sa_family) {
            libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
                let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                let ip = IpAddr::from(address.sin_addr.s_addr.to_ne_bytes());
                Ok(Address::Inet(SocketAddr::new(ip, u16::from_be(address.sin_port))))
            }
            libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
                let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                let ip = IpAddr::from(address.sin6_addr.s6_addr);
                Ok(Address::Inet(SocketAddr::new(ip, u16::from_be(address.sin6_port))))
            }
            libc::AF_UNIX => {
                let bytes = part(address.cast::<u8>().add(2).cast(), length - 2);
                let text = match bytes.first() {
                    None => return Ok(Address::Unix(None)),
                    // An abstract name, which may have zero bytes.
                    Some(0) => bytes.to_vec(),
                    Some(_) => bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
                };
                Ok(Address::Unix(Some(PathBuf::from(OsStr::from_bytes(&text)))))
            }
            _ => Err(libc::EAFNOSUPPORT),
        }
    }
}

/// Puts an address where the program wants it, cut to the room it has.
///
/// # Safety
/// `length` must be null or valid, and `out` valid for so many bytes.
pub(super) unsafe fn address_to(address: &Address, out: *mut sockaddr, length: *mut socklen_t) {
    if out.is_null() || length.is_null() {
        return;
    }
    let mut bytes = Vec::new();
    match address {
        Address::Inet(SocketAddr::V4(address)) => {
            bytes.extend((libc::AF_INET as u16).to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend(address.ip().octets());
            bytes.extend([0; 8]);
        }
        Address::Inet(SocketAddr::V6(address)) => {
            bytes.extend((libc::AF_INET6 as u16).to_ne_bytes());
            bytes.extend(address.port().to_be_bytes());
            bytes.extend([0; 4]);
            bytes.extend(address.ip().octets());
            bytes.extend([0; 4]);
        }
        Address::Unix(path) => {
            bytes.extend((libc::AF_UNIX as u16).to_ne_bytes());
            if let Some(path) = path {
                let name = path.as_os_str().as_bytes();
                bytes.extend(name);
                bytes.extend((name.first() != Some(&0)).then_some(0));
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        let room = (*length as usize).min(bytes.len());
        part_mut(out.cast(), room).copy_from_slice(&bytes[..room]);
        *length = bytes.len() as socklen_t;
    }
}

/// Does something with the socket that a descriptor stands for.
pub(super) fn with<R>(descriptor: c_int, f: impl FnOnce(&Rc<Description>, &dyn Socket) -> Io<R>) -> Io<R> {
    let description = lookup(descriptor)?;
    let socket = description.object.as_socket().ok_or(libc::ENOTSOCK)?;
    f(&description, socket)
}

/// What can be read without waiting.
pub(super) fn available(description: &Description) -> c_int {
    c_int::try_from(description.object.unread().unwrap_or(0)).unwrap_or(c_int::MAX)
}

fn install_socket(description: Rc<Description>, flags: c_int) -> c_int {
    description.nonblocking.set(flags & libc::SOCK_NONBLOCK != 0);
    install(description, flags & libc::SOCK_CLOEXEC != 0)
}

const KIND: c_int = 0xf;

/// No datagram of any family is longer.
const LONGEST_DATAGRAM: usize = 256 << 10;

fn make(domain: c_int, kind: c_int) -> Io<Rc<Description>> {
    match (domain, kind & KIND) {
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => Ok(Description::new(Tcp::new(domain))),
        (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM) => Ok(Description::new(Udp::new(domain))),
        (libc::AF_UNIX, libc::SOCK_STREAM) => Ok(Description::new(Unix::new())),
        (libc::AF_UNIX, kind @ libc::SOCK_DGRAM) => Ok(Description::new(Datagrams::new(kind))),
        // As where a kernel has no such family, or its user may not: programs have another way for both.
        _ => {
            let (error, why) = match (domain, kind & KIND) {
                (libc::AF_INET | libc::AF_INET6 | libc::AF_PACKET, libc::SOCK_RAW) => (libc::EPERM, "EPERM"),
                (libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX, _) => (libc::ESOCKTNOSUPPORT, "ESOCKTNOSUPPORT"),
                _ => (libc::EAFNOSUPPORT, "EAFNOSUPPORT"),
            };
            let kind = kind & KIND;
            remark("socket", format!("no socket of family {domain} and kind {kind} is simulated: {why}"));
            Err(error)
        }
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if hosted() {
        return answer(make(domain, kind).map(|description| install_socket(description, kind))) as c_int;
    }
    leak::found("a real socket (socket)", "use sim::net, or host the program with node(..).host(..)");
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_socket, [domain as usize, kind as usize, protocol as usize, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn socketpair(domain: c_int, kind: c_int, protocol: c_int, out: *mut c_int) -> c_int {
    if hosted() {
        let ends = match (domain, kind & KIND) {
            (libc::AF_UNIX, libc::SOCK_STREAM) => {
                let (one, other) = pair(true, [Address::Unix(None), Address::Unix(None)]);
                [Description::new(one), Description::new(other)]
            }
            (libc::AF_UNIX, kind @ (libc::SOCK_DGRAM | libc::SOCK_SEQPACKET)) => {
                Datagrams::pair(kind).map(Description::new)
            }
            (libc::AF_UNIX, _) => return answer(Err::<c_int, c_int>(libc::ESOCKTNOSUPPORT)) as c_int,
            _ => return answer(Err::<c_int, c_int>(libc::EOPNOTSUPP)) as c_int,
        };
        let made = ends.map(|end| install_socket(end, kind));
        // SAFETY: socketpair(2) demands room for two numbers.
        unsafe { *out.cast::<[c_int; 2]>() = made };
        return 0;
    }
    let args = [domain as usize, kind as usize, protocol as usize, out as usize, 0, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_socketpair, args) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn bind(descriptor: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    if is_simulated(descriptor) {
        // SAFETY: bind(2) demands a valid address.
        let done = with(descriptor, |_, socket| socket.bind(unsafe { address_from(address, length)? }));
        return answer(done.map(|()| 0)) as c_int;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_bind, [descriptor as usize, address as usize, length as usize, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn listen(descriptor: c_int, backlog: c_int) -> c_int {
    if is_simulated(descriptor) {
        return answer(with(descriptor, |_, socket| socket.listen()).map(|()| 0)) as c_int;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_listen, [descriptor as usize, backlog as usize, 0, 0, 0, 0]) as c_int }
}

fn as_socket(object: &dyn crate::hosting::descriptor::Object) -> Io<&dyn Socket> {
    object.as_socket().ok_or(libc::ENOTSOCK)
}

/// A socket that was accepted has the options of the one that listened.
fn inherit(listener: c_int, accepted: &Description) {
    let Ok(listener) = lookup(listener) else { return };
    let options = listener.options.borrow().clone();
    if let Some(socket) = accepted.object.as_socket() {
        options.iter().for_each(|((level, name), value)| socket.set_option(*level, *name, value));
    }
    *accepted.options.borrow_mut() = options;
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn accept4(
    descriptor: c_int,
    address: *mut sockaddr,
    length: *mut socklen_t,
    flags: c_int,
) -> c_int {
    if is_simulated(descriptor) {
        let accepted = with(descriptor, |description, _| {
            let limit = description.receive_timeout.get();
            description.attempt("accept", limit, true, |object, waker| as_socket(object)?.accept(waker))
        });
        return answer(accepted.map(|(description, peer)| {
            inherit(descriptor, &description);
            // SAFETY: accept(2) demands room for an address, or none.
            unsafe { address_to(&peer, address, length) };
            install_socket(description, flags)
        })) as c_int;
    }
    let args = [descriptor as usize, address as usize, length as usize, flags as usize, 0, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_accept4, args) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn accept(descriptor: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { accept4(descriptor, address, length, 0) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn connect(descriptor: c_int, address: *const sockaddr, length: socklen_t) -> c_int {
    if is_simulated(descriptor) {
        let done = with(descriptor, |description, _| {
            // SAFETY: connect(2) demands a valid address.
            let to = unsafe { address_from(address, length)? };
            let limit = description.send_timeout.get();
            let done =
                description.attempt("connect", limit, true, |object, waker| as_socket(object)?.connect(&to, waker));
            done.map_err(|error| if error == libc::EAGAIN { libc::EINPROGRESS } else { error })
        });
        return answer(done.map(|()| 0)) as c_int;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_connect, [descriptor as usize, address as usize, length as usize, 0, 0, 0]) as c_int }
}

macro_rules! tells_address {
    ($($function:ident $method:ident $number:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(descriptor: c_int, address: *mut sockaddr, length: *mut socklen_t) -> c_int {
            if is_simulated(descriptor) {
                let told = with(descriptor, |_, socket| socket.$method());
                // SAFETY: getsockname(2) and getpeername(2) demand room for an address.
                return answer(told.map(|told| unsafe { address_to(&told, address, length) }).map(|()| 0)) as c_int;
            }
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::$number, [descriptor as usize, address as usize, length as usize, 0, 0, 0]) as c_int }
        }
    )*};
}

tells_address! {
    getsockname local SYS_getsockname;
    getpeername peer SYS_getpeername;
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn shutdown(descriptor: c_int, how: c_int) -> c_int {
    if is_simulated(descriptor) {
        let (read, write) = (how != libc::SHUT_WR, how != libc::SHUT_RD);
        let done = with(descriptor, |description, socket| {
            socket.shutdown(read, write)?;
            description.changed();
            Ok(0)
        });
        return answer(done) as c_int;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_shutdown, [descriptor as usize, how as usize, 0, 0, 0, 0]) as c_int }
}

fn receive(description: &Description, flags: c_int, buffer: &mut [u8], first: bool) -> Io<Received> {
    let may_wait = first && flags & libc::MSG_DONTWAIT == 0;
    let peek = flags & libc::MSG_PEEK != 0;
    let limit = description.receive_timeout.get();
    let mut received = description
        .attempt("recv", limit, may_wait, |object, waker| as_socket(object)?.receive(buffer, peek, waker))?;
    if flags & libc::MSG_WAITALL == 0 || as_socket(&*description.object)?.kind() != libc::SOCK_STREAM {
        return Ok(received);
    }
    while may_wait && (1..buffer.len()).contains(&received.length) {
        let rest = &mut buffer[received.length..];
        let more = description.attempt("recv", limit, true, |object, waker| object.read(rest, waker))?;
        if more == 0 {
            break;
        }
        received.length += more;
    }
    Ok(received)
}

fn send(description: &Description, flags: c_int, bytes: &[u8], to: Option<&Address>, first: bool) -> Io<usize> {
    let may_wait = first && flags & libc::MSG_DONTWAIT == 0;
    let limit = description.send_timeout.get();
    description.attempt("send", limit, may_wait, |object, waker| match to {
        None => object.write(bytes, waker),
        Some(to) => as_socket(object)?.send_to(bytes, Some(to.clone()), waker),
    })
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn recvfrom(
    descriptor: c_int,
    buffer: *mut c_void,
    length: size_t,
    flags: c_int,
    address: *mut sockaddr,
    address_length: *mut socklen_t,
) -> ssize_t {
    if is_simulated(descriptor) {
        if flags == 0 && address.is_null() {
            // SAFETY: recvfrom(2) demands a valid buffer.
            return answer(with(descriptor, |description, _| description.read(unsafe { part_mut(buffer, length) })));
        }
        // SAFETY: as above.
        let received = with(descriptor, |d, _| receive(d, flags, unsafe { part_mut(buffer, length) }, true));
        return answer(received.map(|received| {
            if let Some(from) = &received.from {
                // SAFETY: recvfrom(2) demands room for an address, or none.
                unsafe { address_to(from, address, address_length) };
            }
            if flags & libc::MSG_TRUNC != 0 { received.whole } else { received.length }
        }));
    }
    let args =
        [descriptor as usize, buffer as usize, length, flags as usize, address as usize, address_length as usize];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_recvfrom, args) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn recv(descriptor: c_int, buffer: *mut c_void, length: size_t, flags: c_int) -> ssize_t {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { recvfrom(descriptor, buffer, length, flags, std::ptr::null_mut(), std::ptr::null_mut()) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sendto(
    descriptor: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
    address: *const sockaddr,
    address_length: socklen_t,
) -> ssize_t {
    if is_simulated(descriptor) {
        if hosted() {
            wait::may_yield();
        }
        return answer(with(descriptor, |description, _| {
            // SAFETY: sendto(2) demands a valid buffer.
            let bytes = unsafe { part(buffer, length) };
            if address.is_null() {
                return send(description, flags, bytes, None, true);
            }
            // SAFETY: sendto(2) demands an address that is valid or null.
            let to = unsafe { address_from(address, address_length) }?;
            send(description, flags, bytes, Some(&to), true)
        }));
    }
    let args =
        [descriptor as usize, buffer as usize, length, flags as usize, address as usize, address_length as usize];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_sendto, args) }
}

#[unsafe(export_name = "send")]
pub(super) unsafe extern "C" fn send_plain(
    descriptor: c_int,
    buffer: *const c_void,
    length: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { sendto(descriptor, buffer, length, flags, std::ptr::null(), 0) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sendmsg(descriptor: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    if is_simulated(descriptor) {
        return answer(with(descriptor, |description, socket| {
            // SAFETY: sendmsg(2) demands a valid message.
            let message = unsafe { &*message };
            let named = !message.msg_name.is_null();
            // SAFETY: as above.
            let to =
                named.then(|| unsafe { address_from(message.msg_name.cast(), message.msg_namelen) }).transpose()?;
            // SAFETY: as above.
            let parts = unsafe { vectors(message.msg_iov, message.msg_iovlen as c_int) };
            if socket.kind() != libc::SOCK_STREAM || parts.len() == 1 {
                // SAFETY: as above.
                let whole = parts.iter().map(|p| unsafe { part(p.iov_base, p.iov_len) }).collect::<Vec<_>>().concat();
                return send(description, flags, &whole, to.as_ref(), true);
            }
            let mut first = true;
            // SAFETY: as above.
            let bytes = |p: &libc::iovec| unsafe { part(p.iov_base, p.iov_len) };
            through(parts, |p| send(description, flags, bytes(p), None, std::mem::take(&mut first)), |total| total)
        }));
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_sendmsg, [descriptor as usize, message as usize, flags as usize, 0, 0, 0]) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn recvmsg(descriptor: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    if is_simulated(descriptor) {
        return answer(with(descriptor, |description, socket| {
            // SAFETY: recvmsg(2) demands a valid message.
            let message = unsafe { &mut *message };
            // SAFETY: as above.
            let parts = unsafe { vectors(message.msg_iov, message.msg_iovlen as c_int) };
            message.msg_controllen = 0;
            let room: usize = parts.iter().map(|p| p.iov_len).sum();
            let mut whole = vec![0; if socket.kind() == libc::SOCK_STREAM { room } else { room.min(LONGEST_DATAGRAM) }];
            let received = receive(description, flags, &mut whole, true)?;
            let mut rest = &whole[..received.length];
            for piece in parts {
                let (head, tail) = rest.split_at(rest.len().min(piece.iov_len));
                // SAFETY: as above.
                unsafe { part_mut(piece.iov_base, head.len()) }.copy_from_slice(head);
                rest = tail;
            }
            if let Some(from) = &received.from {
                // SAFETY: as above.
                unsafe { address_to(from, message.msg_name.cast(), &mut message.msg_namelen) };
            }
            message.msg_flags = if received.whole > received.length { libc::MSG_TRUNC } else { 0 };
            Ok(if flags & libc::MSG_TRUNC != 0 { received.whole } else { received.length })
        }));
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_recvmsg, [descriptor as usize, message as usize, flags as usize, 0, 0, 0]) }
}

/// Goes through messages until one fails. How many went well, or the error of the first.
///
/// # Safety
/// `messages` must point to `count` valid messages.
unsafe fn each(messages: *mut mmsghdr, count: c_uint, mut one: impl FnMut(&mut msghdr) -> ssize_t) -> c_int {
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller's promise.
    let messages = unsafe { std::slice::from_raw_parts_mut(messages, count as usize) };
    let mut done = 0;
    for message in messages {
        match one(&mut message.msg_hdr) {
            -1 if done == 0 => return -1,
            -1 => break,
            length => message.msg_len = length as c_uint,
        }
        done += 1;
    }
    done
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sendmmsg(
    descriptor: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    if is_simulated(descriptor) {
        // SAFETY: sendmmsg(2) demands valid messages.
        return unsafe { each(messages, count, |message| sendmsg(descriptor, message, flags)) };
    }
    let args = [descriptor as usize, messages as usize, count as usize, flags as usize, 0, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_sendmmsg, args) as c_int }
}

/// recvmmsg(2). Its time is looked at after a message has come, as on Linux (recvmmsg(2), BUGS): it ends no wait.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn recvmmsg(
    descriptor: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    time: *mut timespec,
) -> c_int {
    if is_simulated(descriptor) {
        // SAFETY: recvmmsg(2) demands a time that is valid or null.
        let limit = unsafe { duration_of(time) }.map(|limit| limit.as_nanos() as u64);
        let start = sim_core::ambient::monotonic_ns().unwrap_or(0);
        let (mut flags, after_one) = (flags & !libc::MSG_WAITFORONE, flags & libc::MSG_WAITFORONE != 0);
        let receive = |message: &mut msghdr| {
            let passed = sim_core::ambient::monotonic_ns().unwrap_or(0) - start;
            if limit.is_some_and(|limit| passed > limit) {
                return -1;
            }
            // SAFETY: a valid message.
            let length = unsafe { recvmsg(descriptor, message, flags) };
            flags |= if after_one { libc::MSG_DONTWAIT } else { 0 };
            length
        };
        // SAFETY: recvmmsg(2) demands valid messages.
        return unsafe { each(messages, count, receive) };
    }
    let args = [descriptor as usize, messages as usize, count as usize, flags as usize, time as usize, 0];
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_recvmmsg, args) as c_int }
}
