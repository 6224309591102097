//! `syscall(2)`, through which getrandom 0.2 and the locks of the standard library and parking_lot go.

use std::ffi::{c_int, c_long, c_uint, c_void};

use libc::{clockid_t, timespec};

use super::{ambient, locks};
use crate::syscall::call;

/// It is variadic in C; on Linux for x86-64 and AArch64 its integer arguments are passed as those of a plain function.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    match number {
        libc::SYS_getrandom => ambient::getrandom(a as *mut c_void, b, c as c_uint) as c_long,
        libc::SYS_clock_gettime => ambient::clock_gettime(a as clockid_t, b as *mut timespec).into(),
        libc::SYS_getpid => ambient::getpid().into(),
        libc::SYS_gettid => ambient::gettid().into(),
        // SAFETY: the caller's arguments, handed on unchanged.
        libc::SYS_futex => unsafe { locks::futex(a, b as c_int, c as u32, d, e, f as u32) as c_long },
        // SAFETY: the caller's arguments, handed on unchanged.
        _ => unsafe { call(number, [a, b, c, d, e, f]) as c_long },
    }
}
