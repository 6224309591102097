//! What a hosted program might ask of the real machine and the simulation has no answer for: each ends the run by its name.

use std::ffi::c_int;

use crate::hosting::baton::hosted;
use crate::hosting::real::forward;
use crate::leak;
use crate::syscall::set_errno;

/// Functions whose arguments are integers and pointers, at most six; `$failed` is what they return with an error.
macro_rules! unmodelled {
    ($($function:ident $name:literal -> $failed:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
            if hosted() {
                leak::unmodelled(stringify!($function));
                set_errno(libc::ENOSYS);
                return $failed;
            }
            forward!($name as fn(usize, usize, usize, usize, usize, usize) -> isize, a, b, c, d, e, f)
        }
    )*};
}

const ERROR: isize = -1;
const NULL: isize = 0;
/// `thrd_error` of C11's threads.
const THREAD_ERROR: isize = 2;

unmodelled! {
    timerfd_create c"timerfd_create" -> ERROR;
    signalfd c"signalfd" -> ERROR;
    inotify_init c"inotify_init" -> ERROR;
    inotify_init1 c"inotify_init1" -> ERROR;
    memfd_create c"memfd_create" -> ERROR;
    fopen c"fopen" -> NULL;
    fopen64 c"fopen64" -> NULL;
    freopen c"freopen" -> NULL;
    freopen64 c"freopen64" -> NULL;
    tmpfile c"tmpfile" -> NULL;
    mkstemp c"mkstemp" -> ERROR;
    mkstemp64 c"mkstemp64" -> ERROR;
    popen c"popen" -> NULL;
    system c"system" -> ERROR;
    sysinfo c"sysinfo" -> ERROR;
    getloadavg c"getloadavg" -> ERROR;
    getifaddrs c"getifaddrs" -> ERROR;
    pthread_kill c"pthread_kill" -> libc::ENOSYS as isize;
    mtx_lock c"mtx_lock" -> THREAD_ERROR;
    mtx_timedlock c"mtx_timedlock" -> THREAD_ERROR;
    cnd_wait c"cnd_wait" -> THREAD_ERROR;
    cnd_timedwait c"cnd_timedwait" -> THREAD_ERROR;
    thrd_create c"thrd_create" -> THREAD_ERROR;
    thrd_join c"thrd_join" -> THREAD_ERROR;
    thrd_sleep c"thrd_sleep" -> ERROR;
    thrd_yield c"thrd_yield" -> ERROR;
}

/// sysconf(3): a simulated machine has one processor, and a GiB of memory.
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> libc::c_long {
    const PAGES: libc::c_long = 1 << 18;
    match name {
        libc::_SC_NPROCESSORS_CONF | libc::_SC_NPROCESSORS_ONLN if hosted() => 1,
        libc::_SC_PHYS_PAGES | libc::_SC_AVPHYS_PAGES if hosted() => PAGES,
        _ => forward!(c"sysconf" as fn(c_int) -> libc::c_long, name),
    }
}

/// uname(2): a Linux by the name of its node.
#[unsafe(no_mangle)]
unsafe extern "C" fn uname(out: *mut libc::utsname) -> c_int {
    if !hosted() {
        return forward!(c"uname" as fn(*mut libc::utsname) -> c_int, out);
    }
    let copy = |to: &mut [libc::c_char], text: &str| {
        to.fill(0);
        let room = to.len() - 1;
        to.iter_mut().zip(text.bytes()).take(room).for_each(|(to, byte)| *to = byte as libc::c_char);
    };
    // SAFETY: uname(2) demands room for its structure, which is made of bytes.
    let out = unsafe { &mut *out };
    copy(&mut out.sysname, "Linux");
    copy(&mut out.nodename, &sim_core::current_node().name());
    copy(&mut out.release, "6.1.0");
    copy(&mut out.version, "#1 SMP");
    copy(&mut out.machine, std::env::consts::ARCH);
    copy(&mut out.domainname, "(none)");
    0
}
