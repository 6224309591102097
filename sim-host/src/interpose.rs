//! The C library's functions that reach time, entropy, ids, processors and threads.
//!
//! Each acts on the simulation while one runs on the calling thread, and makes the real system call otherwise. What the
//! simulation cannot answer yet (a real sleep, a thread, a socket) is reported as a leak by [`crate::leak`].

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

fn is_random_file(path: *const c_char) -> bool {
    if path.is_null() || !ambient::is_simulated() {
        return false;
    }
    // SAFETY: open(2) demands a string that ends in a zero byte.
    let path = unsafe { CStr::from_ptr(path) };
    path == c"/dev/urandom" || path == c"/dev/random"
}

/// So much can be read from an open `/dev/urandom`; then comes its end.
const RANDOM_FILE: usize = 64 << 10;

/// A file with the simulation's entropy in it, in place of `/dev/urandom`.
fn open_random(flags: c_int) -> c_int {
    let mut content = vec![0u8; RANDOM_FILE];
    ambient::entropy(&mut content);
    // SAFETY: a name that ends in a zero byte, a descriptor of our own, and a buffer that is as long as said.
    unsafe {
        let file = call(libc::SYS_memfd_create, [c"urandom".as_ptr() as usize, 0, 0, 0, 0, 0]) as c_int;
        if file >= 0 {
            call(libc::SYS_pwrite64, [file as usize, content.as_ptr() as usize, RANDOM_FILE, 0, 0, 0]);
            if flags & libc::O_CLOEXEC != 0 {
                call(libc::SYS_fcntl, [file as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize, 0, 0, 0]);
            }
        }
        file
    }
}

/// The one that all of the C library's open functions end in.
fn open_at(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    if is_random_file(path) {
        return open_random(flags);
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_openat, [directory as usize, path as usize, flags as usize, mode as usize, 0, 0]) as c_int }
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

/// The C library's own function of a name, looked up once. `None`: it has none.
pub(crate) fn real(name: &CStr, known: &AtomicUsize) -> Option<usize> {
    let mut address = known.load(Ordering::Relaxed);
    if address == 0 {
        // SAFETY: a lookup by a name that ends in a zero byte.
        address = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
        known.store(address, Ordering::Relaxed);
    }
    (address != 0).then_some(address)
}

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
    let Some(real) = real(c"pthread_create", &REAL) else { return libc::ENOSYS };
    // SAFETY: the address is the C library's own pthread_create, whose type this is; the arguments are the caller's.
    unsafe { std::mem::transmute::<usize, PthreadCreate>(real)(thread, attributes, start, argument) }
}

const PROCESS_ADVICE: &str = "start a node of the simulation in place of a process";

#[unsafe(no_mangle)]
extern "C" fn fork() -> pid_t {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    leak::found("a real process (fork)", PROCESS_ADVICE);
    let Some(real) = real(c"fork", &REAL) else {
        set_errno(libc::ENOSYS);
        return -1;
    };
    // SAFETY: the address is the C library's own fork, whose type this is.
    unsafe { std::mem::transmute::<usize, unsafe extern "C" fn() -> pid_t>(real)() }
}

type Spawn = unsafe extern "C" fn(
    *mut c_void,
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
    *const c_void,
) -> c_int;

macro_rules! spawns {
    ($($function:ident $name:literal),*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $function(
            process: *mut c_void,
            path: *const c_void,
            actions: *const c_void,
            attributes: *const c_void,
            arguments: *const c_void,
            environment: *const c_void,
        ) -> c_int {
            static REAL: AtomicUsize = AtomicUsize::new(0);
            leak::found(concat!("a real process (", stringify!($function), ")"), PROCESS_ADVICE);
            let Some(real) = real($name, &REAL) else { return libc::ENOSYS };
            // SAFETY: the address is the C library's own function of this name; both take six pointers.
            unsafe {
                std::mem::transmute::<usize, Spawn>(real)(process, path, actions, attributes, arguments, environment)
            }
        }
    )*};
}

spawns!(posix_spawn c"posix_spawn", posix_spawnp c"posix_spawnp");

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
