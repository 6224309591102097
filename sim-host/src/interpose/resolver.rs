//! Names of hosts, and the name of this one.

use std::ffi::{CStr, CString, c_char, c_int};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libc::{addrinfo, size_t, sockaddr, socklen_t};

use super::sockets::{address_from, address_to};
use super::{answer, part_mut};
use crate::hosting::baton::hosted;
use crate::hosting::names;
use crate::hosting::real::forward;
use crate::hosting::socket::Address;

/// A result of a lookup, and the memory it points to.
#[repr(C)]
struct Found {
    info: addrinfo,
    address: libc::sockaddr_storage,
    name: Option<CString>,
}

/// # Safety
/// `text` must be null or end in a zero byte.
unsafe fn words(text: *const c_char) -> Option<String> {
    // SAFETY: the caller's promise.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

fn address_of(host: Option<&str>, hints: &addrinfo) -> Result<IpAddr, c_int> {
    let six = hints.ai_family == libc::AF_INET6;
    let Some(host) = host else {
        let passive = hints.ai_flags & libc::AI_PASSIVE != 0;
        return Ok(match (passive, six) {
            (true, true) => Ipv6Addr::UNSPECIFIED.into(),
            (true, false) => Ipv4Addr::UNSPECIFIED.into(),
            (false, true) => Ipv6Addr::LOCALHOST.into(),
            (false, false) => Ipv4Addr::LOCALHOST.into(),
        });
    };
    let number: Option<IpAddr> = host.parse().ok();
    let found = number.or_else(|| (hints.ai_flags & libc::AI_NUMERICHOST == 0).then(|| names::resolve(host)).flatten());
    match (found.ok_or(libc::EAI_NONAME)?, hints.ai_family) {
        (IpAddr::V4(ip), libc::AF_INET6) if hints.ai_flags & libc::AI_V4MAPPED != 0 => Ok(ip.to_ipv6_mapped().into()),
        (IpAddr::V4(_), libc::AF_INET6) | (IpAddr::V6(_), libc::AF_INET) => Err(libc::EAI_NONAME),
        (ip, _) => Ok(ip),
    }
}

fn look_up(host: Option<&str>, service: Option<&str>, hints: &addrinfo) -> Result<*mut addrinfo, c_int> {
    let ip = address_of(host, hints)?;
    let port = names::port_of(service.unwrap_or("")).ok_or(libc::EAI_SERVICE)?;
    let kinds = [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)];
    let wanted = kinds.into_iter().filter(|(kind, _)| hints.ai_socktype == 0 || hints.ai_socktype == *kind);
    let mut first: *mut addrinfo = std::ptr::null_mut();
    for (kind, protocol) in wanted.rev() {
        // SAFETY: an all-zero addrinfo and an all-zero address are valid.
        let mut found: Box<Found> = unsafe { Box::new(std::mem::zeroed()) };
        let mut length = size_of::<libc::sockaddr_storage>() as socklen_t;
        let address = Address::Inet(SocketAddr::new(ip, port));
        // SAFETY: room for any address.
        unsafe { address_to(&address, (&raw mut found.address).cast(), &mut length) };
        found.name = host.filter(|_| first.is_null()).and_then(|host| CString::new(host).ok());
        found.info.ai_family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        (found.info.ai_socktype, found.info.ai_protocol, found.info.ai_addrlen) = (kind, protocol, length);
        found.info.ai_addr = (&raw mut found.address).cast();
        found.info.ai_canonname = found.name.as_ref().map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut());
        found.info.ai_next = first;
        first = Box::into_raw(found).cast();
    }
    if first.is_null() { Err(libc::EAI_SOCKTYPE) } else { Ok(first) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    host: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    if hosted() {
        // SAFETY: getaddrinfo(3) demands strings and hints that are valid or null, and room for a pointer.
        unsafe {
            let hints = if hints.is_null() { std::mem::zeroed() } else { *hints };
            return match look_up(words(host).as_deref(), words(service).as_deref(), &hints) {
                Ok(found) => {
                    *result = found;
                    0
                }
                Err(error) => error,
            };
        }
    }
    type Hints = *const addrinfo;
    forward!(
        c"getaddrinfo" as fn(*const c_char, *const c_char, Hints, *mut *mut addrinfo) -> c_int,
        host,
        service,
        hints,
        result
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn freeaddrinfo(mut list: *mut addrinfo) {
    if !hosted() {
        let _ = forward!(c"freeaddrinfo" as fn(*mut addrinfo) -> c_int, list);
        return;
    }
    while !list.is_null() {
        // SAFETY: made by `look_up` from boxes of this type.
        let found = unsafe { Box::from_raw(list.cast::<Found>()) };
        list = found.info.ai_next;
    }
}

/// # Safety
/// `out` must be null or valid for `length` bytes.
unsafe fn put(text: &str, out: *mut c_char, length: usize) -> bool {
    if out.is_null() || length == 0 {
        return true;
    }
    if text.len() >= length {
        return false;
    }
    // SAFETY: the caller's promise.
    let room = unsafe { part_mut(out.cast(), text.len() + 1) };
    room[..text.len()].copy_from_slice(text.as_bytes());
    room[text.len()] = 0;
    true
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getnameinfo(
    address: *const sockaddr,
    length: socklen_t,
    host: *mut c_char,
    host_length: socklen_t,
    service: *mut c_char,
    service_length: socklen_t,
    flags: c_int,
) -> c_int {
    if hosted() {
        // SAFETY: getnameinfo(3) demands a valid address.
        let Ok(Address::Inet(address)) = (unsafe { address_from(address, length) }) else { return libc::EAI_FAMILY };
        let name = if flags & libc::NI_NUMERICHOST != 0 { None } else { names::name_of(address) };
        let name = name.unwrap_or_else(|| address.ip().to_string());
        // SAFETY: getnameinfo(3) demands room of the lengths that it is told.
        let fits = unsafe {
            put(&name, host, host_length as usize) && put(&address.port().to_string(), service, service_length as usize)
        };
        return if fits { 0 } else { libc::EAI_OVERFLOW };
    }
    type Text = *mut c_char;
    forward!(
        c"getnameinfo" as fn(*const sockaddr, socklen_t, Text, socklen_t, Text, socklen_t, c_int) -> c_int,
        address,
        length,
        host,
        host_length,
        service,
        service_length,
        flags
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gethostname(out: *mut c_char, length: size_t) -> c_int {
    if hosted() {
        // SAFETY: gethostname(2) demands room of the length that it is told.
        let fits = unsafe { put(&sim_core::current_node().name(), out, length) };
        return answer(if fits { Ok(0) } else { Err(libc::ENAMETOOLONG) }) as c_int;
    }
    forward!(c"gethostname" as fn(*mut c_char, size_t) -> c_int, out, length)
}
