//! Real system calls, without the C library: its wrappers are what this crate replaces.

use std::arch::asm;
use std::ffi::{c_int, c_long};

/// Makes a system call and returns what the kernel does: a result, or a negated error number.
///
/// # Safety
/// The arguments must be what the call with this number expects of them, pointers included.
#[inline]
pub(crate) unsafe fn raw(number: c_long, args: [usize; 6]) -> isize {
    let result: isize;
    let before = crate::strict::allow();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the registers are those of the Linux system call ABI; the caller answers for the arguments.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above, for AArch64.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number as usize,
            inlateout("x0") args[0] as isize => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4], in("x5") args[5],
            options(nostack),
        );
    }
    crate::strict::restore(before);
    result
}

/// Makes a system call and returns as the C library does: -1 with `errno` set on an error.
///
/// # Safety
/// As [`raw`].
#[inline]
pub(crate) unsafe fn call(number: c_long, args: [usize; 6]) -> isize {
    // SAFETY: the caller answers for the arguments.
    let result = unsafe { raw(number, args) };
    if (-4095..0).contains(&result) {
        set_errno(-result as c_int);
        return -1;
    }
    result
}

pub(crate) fn set_errno(error: c_int) {
    // SAFETY: the location is this thread's own and always valid.
    unsafe { *libc::__errno_location() = error };
}
