//! The C library's functions that reach time, entropy, ids, processors and threads.
//!
//! Each acts on the simulation while one runs on the calling thread, and makes the real system call otherwise. What the
//! simulation cannot answer yet (a real sleep, a thread, a socket) is reported as a leak by [`crate::leak`].

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{clockid_t, cpu_set_t, pid_t, size_t, ssize_t, time_t, timespec, timeval};
use sim_core::ambient;

use crate::leak;
use crate::syscall::{call, set_errno};

const SECOND: u64 = 1_000_000_000;

/// What a clock shows in the simulation, in nanoseconds.
fn simulated_clock(clock: clockid_t) -> Option<u64> {
    match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI => ambient::wall_ns(),
        _ => ambient::monotonic_ns(),
    }
}

#[unsafe(no_mangle)]
extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let Some(now) = simulated_clock(clock) else {
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_clock_gettime, [clock as usize, time as usize, 0, 0, 0, 0]) as c_int };
    };
    // SAFETY: clock_gettime(2) demands a valid pointer of its caller.
    unsafe { *time = timespec { tv_sec: (now / SECOND) as time_t, tv_nsec: (now % SECOND) as c_long } };
    0
}

#[unsafe(no_mangle)]
extern "C" fn gettimeofday(time: *mut timeval, zone: *mut c_void) -> c_int {
    let Some(now) = ambient::wall_ns() else {
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_gettimeofday, [time as usize, zone as usize, 0, 0, 0, 0]) as c_int };
    };
    if !time.is_null() {
        // SAFETY: gettimeofday(2) demands a pointer that is valid or null.
        unsafe { *time = timeval { tv_sec: (now / SECOND) as time_t, tv_usec: (now % SECOND / 1_000) as c_long } };
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn time(out: *mut time_t) -> time_t {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    clock_gettime(libc::CLOCK_REALTIME, &mut now);
    if !out.is_null() {
        // SAFETY: time(2) demands a pointer that is valid or null.
        unsafe { *out = now.tv_sec };
    }
    now.tv_sec
}

/// Fills memory of a caller with the simulation's entropy. False outside one.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
unsafe fn simulated_entropy(buffer: *mut c_void, length: size_t) -> bool {
    if !ambient::is_simulated() {
        return false;
    }
    if length == 0 {
        return true;
    }
    // SAFETY: the caller's promise; bytes need no initialisation to be overwritten, and `fill` only writes.
    let buffer = unsafe {
        std::ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length)
    };
    ambient::entropy(buffer)
}

#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    // SAFETY: getrandom(2) demands a valid buffer.
    if unsafe { simulated_entropy(buffer, length) } {
        return length as ssize_t;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_getrandom, [buffer as usize, length, flags as usize, 0, 0, 0]) }
}

#[unsafe(no_mangle)]
extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    if length > 256 {
        set_errno(libc::EIO);
        return -1;
    }
    if getrandom(buffer, length, 0) == length as ssize_t { 0 } else { -1 }
}

#[unsafe(no_mangle)]
extern "C" fn getpid() -> pid_t {
    match ambient::process_id() {
        Some(id) => id as pid_t,
        // SAFETY: takes no argument.
        None => unsafe { call(libc::SYS_getpid, [0; 6]) as pid_t },
    }
}

#[unsafe(no_mangle)]
extern "C" fn gettid() -> pid_t {
    match ambient::process_id() {
        Some(id) => id as pid_t,
        // SAFETY: takes no argument.
        None => unsafe { call(libc::SYS_gettid, [0; 6]) as pid_t },
    }
}

/// A simulated machine has one processor.
#[unsafe(no_mangle)]
extern "C" fn sched_getaffinity(process: pid_t, size: size_t, set: *mut cpu_set_t) -> c_int {
    if !ambient::is_simulated() {
        // SAFETY: the caller's arguments, handed on unchanged.
        let copied = unsafe { call(libc::SYS_sched_getaffinity, [process as usize, size, set as usize, 0, 0, 0]) };
        if copied >= 0 && (copied as usize) < size {
            // SAFETY: the kernel wrote `copied` of the `size` bytes that the caller has; as in glibc the rest is zero.
            unsafe { std::ptr::write_bytes(set.cast::<u8>().add(copied as usize), 0, size - copied as usize) };
        }
        return copied.min(0) as c_int;
    }
    if size > 0 {
        // SAFETY: sched_getaffinity(2) demands `size` valid bytes.
        unsafe {
            std::ptr::write_bytes(set.cast::<u8>(), 0, size);
            *set.cast::<u8>() = 1;
        }
    }
    0
}

thread_local! {
    /// Descriptors of `/dev/urandom` that were opened inside a simulation; one bit each, the first 64 only.
    static RANDOM_FILES: Cell<u64> = const { Cell::new(0) };
}

fn is_random_file(path: *const c_char) -> bool {
    if path.is_null() || !ambient::is_simulated() {
        return false;
    }
    // SAFETY: open(2) demands a string that ends in a zero byte.
    let path = unsafe { CStr::from_ptr(path) };
    path == c"/dev/urandom" || path == c"/dev/random"
}

/// The one that all of the C library's open functions end in.
fn open_at(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    let random = is_random_file(path);
    let real = if random { c"/dev/null".as_ptr() } else { path };
    // SAFETY: the caller's arguments, but for a path that is ours and ends in a zero byte.
    let file = unsafe {
        call(libc::SYS_openat, [directory as usize, real as usize, flags as usize, mode as usize, 0, 0]) as c_int
    };
    if random && (0..64).contains(&file) {
        RANDOM_FILES.with(|files| files.set(files.get() | 1 << file));
    }
    file
}

#[unsafe(no_mangle)]
extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(directory, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(directory, path, flags, mode)
}

fn is_marked_random(file: c_int) -> bool {
    (0..64).contains(&file) && RANDOM_FILES.try_with(|files| files.get() & 1 << file != 0).unwrap_or(false)
}

#[unsafe(no_mangle)]
extern "C" fn read(file: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    // SAFETY: read(2) demands a valid buffer.
    if is_marked_random(file) && unsafe { simulated_entropy(buffer, length) } {
        return length as ssize_t;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_read, [file as usize, buffer as usize, length, 0, 0, 0]) }
}

#[unsafe(no_mangle)]
extern "C" fn close(file: c_int) -> c_int {
    if is_marked_random(file) {
        RANDOM_FILES.with(|files| files.set(files.get() & !(1 << file)));
    }
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { call(libc::SYS_close, [file as usize, 0, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
extern "C" fn nanosleep(duration: *const timespec, left: *mut timespec) -> c_int {
    leak::found("std::thread::sleep (nanosleep)", "use sim::time::sleep");
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_nanosleep, [duration as usize, left as usize, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
extern "C" fn clock_nanosleep(clock: clockid_t, flags: c_int, duration: *const timespec, left: *mut timespec) -> c_int {
    leak::found("std::thread::sleep (clock_nanosleep)", "use sim::time::sleep");
    let args = [clock as usize, flags as usize, duration as usize, left as usize, 0, 0];
    // SAFETY: the caller's arguments, handed on unchanged. The error is returned, not put into errno.
    -unsafe { crate::syscall::raw(libc::SYS_clock_nanosleep, args) } as c_int
}

#[unsafe(no_mangle)]
extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    leak::found("a real socket (socket)", "use sim::net");
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_socket, [domain as usize, kind as usize, protocol as usize, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
extern "C" fn epoll_create1(flags: c_int) -> c_int {
    leak::found("a real runtime's driver (epoll_create1)", RUNTIME_ADVICE);
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { call(libc::SYS_epoll_create1, [flags as usize, 0, 0, 0, 0, 0]) as c_int }
}

const RUNTIME_ADVICE: &str = "the simulation is the runtime: spawn with sim::spawn and .await instead of block_on";

type StartRoutine = extern "C" fn(*mut c_void) -> *mut c_void;
type PthreadCreate =
    unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, StartRoutine, *mut c_void) -> c_int;

#[unsafe(no_mangle)]
extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: StartRoutine,
    argument: *mut c_void,
) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    leak::found("a real thread (pthread_create)", "use sim::spawn; its timing would differ from run to run");
    let mut real = REAL.load(Ordering::Relaxed);
    if real == 0 {
        // SAFETY: a lookup by a name that ends in a zero byte.
        real = unsafe { libc::dlsym(libc::RTLD_NEXT, c"pthread_create".as_ptr()) } as usize;
        REAL.store(real, Ordering::Relaxed);
    }
    if real == 0 {
        return libc::ENOSYS;
    }
    // SAFETY: the address is the C library's own pthread_create, whose type this is; the arguments are the caller's.
    unsafe { std::mem::transmute::<usize, PthreadCreate>(real)(thread, attributes, start, argument) }
}

/// `syscall(2)` itself, which getrandom 0.2 and the standard library's locks go through. It is variadic in C; on Linux
/// for x86-64 and AArch64 its integer arguments are passed as those of a plain function.
#[unsafe(no_mangle)]
extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    match number {
        libc::SYS_getrandom => getrandom(a as *mut c_void, b, c as c_uint) as c_long,
        libc::SYS_clock_gettime => clock_gettime(a as clockid_t, b as *mut timespec).into(),
        libc::SYS_getpid => getpid().into(),
        libc::SYS_gettid => gettid().into(),
        libc::SYS_futex => {
            let operation = b as c_int & libc::FUTEX_CMD_MASK;
            if matches!(operation, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) {
                leak::thread_blocks();
            }
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(number, [a, b, c, d, e, f]) as c_long }
        }
        // SAFETY: the caller's arguments, handed on unchanged.
        _ => unsafe { call(number, [a, b, c, d, e, f]) as c_long },
    }
}
