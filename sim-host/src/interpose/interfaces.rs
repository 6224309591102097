//! The network devices of a node: its loopback, and one that has its address.

use std::ffi::{c_char, c_int, c_uint};
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ptr::null_mut;

use libc::{ifaddrs, sockaddr, sockaddr_storage, socklen_t};
use sim_core::current_node;
use sim_net::ip_of;

use super::sockets::address_to;
use crate::hosting::baton::hosted;
use crate::hosting::real::forward;
use crate::hosting::socket::Address;

/// An entry of the list, with what it points to.
#[repr(C)]
struct Interface {
    entry: ifaddrs,
    name: [c_char; 8],
    address: sockaddr_storage,
    mask: sockaddr_storage,
}

const UP: c_int = libc::IFF_UP | libc::IFF_RUNNING;

/// Its name, its flags, an address and the mask of that.
type Told = (&'static str, c_int, IpAddr, IpAddr);

fn interfaces() -> [Told; 3] {
    let (v4, v6) = (|a, b, c, d| IpAddr::V4(Ipv4Addr::new(a, b, c, d)), IpAddr::V6);
    let network = UP | libc::IFF_BROADCAST | libc::IFF_MULTICAST;
    [
        ("lo", UP | libc::IFF_LOOPBACK, v4(127, 0, 0, 1), v4(255, 0, 0, 0)),
        ("lo", UP | libc::IFF_LOOPBACK, v6(Ipv6Addr::LOCALHOST), v6(Ipv6Addr::from_bits(u128::MAX))),
        (super::options::NETWORK_DEVICE, network, ip_of(current_node()), v4(255, 0, 0, 0)),
    ]
}

/// Puts an address into memory of ours.
fn put(ip: IpAddr, out: &mut sockaddr_storage) -> *mut sockaddr {
    let mut length = size_of::<sockaddr_storage>() as socklen_t;
    let out = (&raw mut *out).cast();
    // SAFETY: room for an address of any family.
    unsafe { address_to(&Address::Inet(SocketAddr::new(ip, 0)), out, &mut length) };
    out
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getifaddrs(list: *mut *mut ifaddrs) -> c_int {
    if !hosted() {
        return forward!(c"getifaddrs" as fn(*mut *mut ifaddrs) -> c_int, list);
    }
    let mut next: *mut ifaddrs = null_mut();
    for (name, flags, ip, mask) in interfaces().into_iter().rev() {
        // SAFETY: an all-zero entry is one that says nothing.
        let zero: Interface = unsafe { MaybeUninit::zeroed().assume_init() };
        let made = Box::leak(Box::new(zero));
        made.name.iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte as c_char);
        made.entry.ifa_next = next;
        made.entry.ifa_name = made.name.as_mut_ptr();
        made.entry.ifa_flags = flags as c_uint;
        made.entry.ifa_addr = put(ip, &mut made.address);
        made.entry.ifa_netmask = put(mask, &mut made.mask);
        next = (&raw mut *made).cast();
    }
    // SAFETY: getifaddrs(3) demands room for a pointer.
    unsafe { *list = next };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn freeifaddrs(list: *mut ifaddrs) {
    if !hosted() {
        forward!(c"freeifaddrs" as fn(*mut ifaddrs) -> c_int, list);
        return;
    }
    let mut next = list.cast::<Interface>();
    while !next.is_null() {
        // SAFETY: made from a box by `getifaddrs` above, and freed once.
        let interface = unsafe { Box::from_raw(next) };
        next = interface.entry.ifa_next.cast();
    }
}
