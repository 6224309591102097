//! What a program asks of its machine, of its process among others and of its users: a small Linux that is always the same.

use std::ffi::{CStr, c_char, c_double, c_int, c_long, c_uint, c_void};
use std::ptr::null_mut;

use libc::{clock_t, cpu_set_t, gid_t, group, passwd, pid_t, rlimit64, size_t, timespec, uid_t};
use sim_core::ambient::{monotonic_ns, wall_ns};

use super::{ambient, answer};
use crate::hosting::baton::hosted;
use crate::hosting::device::hosts;
use crate::hosting::real::forward;

/// A GiB of memory, in pages.
const PAGES: c_long = 1 << 18;
const PAGE: c_long = 4096;
const SECOND: u64 = 1_000_000_000;

/// Functions with an answer for hosted programs; all others ask the real machine.
macro_rules! answers {
    ($($function:ident $name:literal ($($argument:ident: $type:ty),*) -> $result:ty => $answer:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function($($argument: $type),*) -> $result {
            if hosted() {
                $(let _ = $argument;)*
                return $answer;
            }
            forward!($name as fn($($type),*) -> $result, $($argument),*)
        }
    )*};
}

/// What fails with an error number.
fn refused(error: c_int) -> c_int {
    answer(Err::<c_int, _>(error)) as c_int
}

/// Writes an answer to where the caller wants it.
///
/// # Safety
/// `out` must be null or valid.
unsafe fn put<T>(out: *mut T, value: T) -> c_int {
    if !out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { out.write(value) };
    }
    0
}

/// All-zero, as the kernel leaves what it does not fill.
fn zeroed<T: Copy>() -> T {
    // SAFETY: only used for structures of C that are made of numbers.
    unsafe { std::mem::zeroed() }
}

/// How long the process has run, which is all the processor time that there is.
fn processor_ns() -> u64 {
    monotonic_ns().unwrap_or(0)
}

fn usage() -> libc::rusage {
    let mut usage: libc::rusage = zeroed();
    let now = processor_ns();
    usage.ru_utime =
        libc::timeval { tv_sec: (now / SECOND) as libc::time_t, tv_usec: (now % SECOND / 1_000) as libc::suseconds_t };
    usage
}

/// Ticks of sysconf(3), `_SC_CLK_TCK`: a hundred in a second.
fn ticks(ns: u64) -> clock_t {
    (ns / 10_000_000) as clock_t
}

fn information() -> libc::sysinfo {
    let mut told: libc::sysinfo = zeroed();
    let bytes = (PAGES * PAGE) as libc::c_ulong;
    (told.uptime, told.totalram, told.freeram) = ((processor_ns() / SECOND) as c_long, bytes, bytes / 2);
    (told.procs, told.mem_unit) = (1, 1);
    told
}

/// No limit, but for what the simulation has one for.
fn limit() -> rlimit64 {
    rlimit64 { rlim_cur: libc::RLIM64_INFINITY, rlim_max: libc::RLIM64_INFINITY }
}

/// What getrlimit(2) says of a resource.
fn limit_of(resource: c_int) -> rlimit64 {
    match resource as c_uint {
        libc::RLIMIT_NOFILE => rlimit64 { rlim_cur: 1 << 20, rlim_max: 1 << 20 },
        libc::RLIMIT_STACK => rlimit64 { rlim_cur: 8 << 20, ..limit() },
        _ => limit(),
    }
}

/// The permissions that new files of the process do not get.
pub(super) fn mask() -> c_uint {
    hosts().with_process(|state| state.umask).unwrap_or(0)
}

fn set_mask(mask: c_uint) -> c_uint {
    hosts().with_process(|state| std::mem::replace(&mut state.umask, mask & 0o777)).unwrap_or(0)
}

answers! {
    // SAFETY: getrusage(2) and its like demand room for what they tell.
    getrusage c"getrusage" (who: c_int, out: *mut libc::rusage) -> c_int => unsafe { put(out, usage()) };
    times c"times" (out: *mut libc::tms) -> clock_t => {
        let all = libc::tms { tms_utime: ticks(processor_ns()), tms_stime: 0, tms_cutime: 0, tms_cstime: 0 };
        // SAFETY: as above.
        unsafe { put(out, all) };
        ticks(processor_ns())
    };
    clock c"clock" () -> clock_t => (processor_ns() / 1_000) as clock_t;
    timespec_get c"timespec_get" (out: *mut timespec, base: c_int) -> c_int => {
        let now = wall_ns().unwrap_or(0);
        let time = timespec { tv_sec: (now / SECOND) as libc::time_t, tv_nsec: (now % SECOND) as c_long };
        // The only base is TIME_UTC, which is 1.
        // SAFETY: as above.
        if base == 1 { 1 + unsafe { put(out, time) } } else { 0 }
    };
    clock_getres c"clock_getres" (clock: libc::clockid_t, out: *mut timespec) -> c_int
        // SAFETY: as above.
        => unsafe { put(out, timespec { tv_sec: 0, tv_nsec: 1 }) };
    clock_settime c"clock_settime" (clock: libc::clockid_t, time: *const timespec) -> c_int => refused(libc::EPERM);
    settimeofday c"settimeofday" (time: *const c_void, zone: *const c_void) -> c_int => refused(libc::EPERM);
    adjtime c"adjtime" (by: *const c_void, left: *mut c_void) -> c_int => refused(libc::EPERM);
    getppid c"getppid" () -> pid_t => 1;
    getpgrp c"getpgrp" () -> pid_t => ambient::getpid();
    getpgid c"getpgid" (process: pid_t) -> pid_t => ambient::getpid();
    getsid c"getsid" (process: pid_t) -> pid_t => ambient::getpid();
    setpgid c"setpgid" (process: pid_t, group: pid_t) -> c_int => 0;
    setsid c"setsid" () -> pid_t => refused(libc::EPERM);
    getuid c"getuid" () -> uid_t => 0;
    geteuid c"geteuid" () -> uid_t => 0;
    getgid c"getgid" () -> gid_t => 0;
    getegid c"getegid" () -> gid_t => 0;
    // Root may be anybody, and permissions are never enforced: who it is stays the same.
    setuid c"setuid" (user: uid_t) -> c_int => 0;
    seteuid c"seteuid" (user: uid_t) -> c_int => 0;
    setreuid c"setreuid" (real: uid_t, effective: uid_t) -> c_int => 0;
    setresuid c"setresuid" (real: uid_t, effective: uid_t, saved: uid_t) -> c_int => 0;
    setgid c"setgid" (id: gid_t) -> c_int => 0;
    setegid c"setegid" (id: gid_t) -> c_int => 0;
    setregid c"setregid" (real: gid_t, effective: gid_t) -> c_int => 0;
    setresgid c"setresgid" (real: gid_t, effective: gid_t, saved: gid_t) -> c_int => 0;
    setgroups c"setgroups" (count: size_t, list: *const gid_t) -> c_int => 0;
    initgroups c"initgroups" (name: *const c_char, own: gid_t) -> c_int => 0;
    get_nprocs c"get_nprocs" () -> c_int => 1;
    get_nprocs_conf c"get_nprocs_conf" () -> c_int => 1;
    get_phys_pages c"get_phys_pages" () -> c_long => PAGES;
    get_avphys_pages c"get_avphys_pages" () -> c_long => PAGES;
    sched_getcpu c"sched_getcpu" () -> c_int => 0;
    getcpu c"getcpu" (processor: *mut c_uint, node: *mut c_uint) -> c_int
        // SAFETY: as above.
        => unsafe { put(processor, 0) + put(node, 0) };
    sched_setaffinity c"sched_setaffinity" (process: pid_t, size: size_t, set: *const cpu_set_t) -> c_int => 0;
    pthread_setaffinity_np c"pthread_setaffinity_np"
        (thread: libc::pthread_t, size: size_t, set: *const cpu_set_t) -> c_int => 0;
    pthread_getaffinity_np c"pthread_getaffinity_np"
        (thread: libc::pthread_t, size: size_t, set: *mut cpu_set_t) -> c_int => ambient::sched_getaffinity(0, size, set);
    sched_setscheduler c"sched_setscheduler" (process: pid_t, policy: c_int, how: *const c_void) -> c_int => 0;
    sched_getscheduler c"sched_getscheduler" (process: pid_t) -> c_int => libc::SCHED_OTHER;
    nice c"nice" (by: c_int) -> c_int => 0;
    getpriority c"getpriority" (which: c_uint, who: c_uint) -> c_int => 0;
    setpriority c"setpriority" (which: c_uint, who: c_uint, priority: c_int) -> c_int => 0;
    gethostid c"gethostid" () -> c_long => c_long::from(sim_core::current_node().id().0);
    // SAFETY: as above.
    sysinfo c"sysinfo" (out: *mut libc::sysinfo) -> c_int => unsafe { put(out, information()) };
    getloadavg c"getloadavg" (out: *mut c_double, count: c_int) -> c_int => {
        let count = count.clamp(0, 3);
        // SAFETY: getloadavg(3) demands room for so many numbers.
        (0..count as usize).for_each(|place| _ = unsafe { put(out.add(place), 0.0) });
        count
    };
    // SAFETY: as above.
    getrlimit c"getrlimit" (resource: c_int, out: *mut rlimit64) -> c_int => unsafe { put(out, limit_of(resource)) };
    // SAFETY: as above.
    getrlimit64 c"getrlimit64" (resource: c_int, out: *mut rlimit64) -> c_int => unsafe { put(out, limit_of(resource)) };
    setrlimit c"setrlimit" (resource: c_int, new: *const rlimit64) -> c_int => 0;
    setrlimit64 c"setrlimit64" (resource: c_int, new: *const rlimit64) -> c_int => 0;
    prlimit c"prlimit" (process: pid_t, resource: c_int, new: *const rlimit64, old: *mut rlimit64) -> c_int
        // SAFETY: as above; null where nothing is asked.
        => unsafe { put(old, limit_of(resource)) };
    prlimit64 c"prlimit64" (process: pid_t, resource: c_int, new: *const rlimit64, old: *mut rlimit64) -> c_int
        // SAFETY: as above.
        => unsafe { put(old, limit_of(resource)) };
    umask c"umask" (mask: c_uint) -> c_uint => set_mask(mask);
    getpwuid c"getpwuid" (user: uid_t) -> *mut passwd => if user == 0 { root() } else { null_mut() };
    // SAFETY: a name of C, as the function demands it.
    getpwnam c"getpwnam" (name: *const c_char) -> *mut passwd => unsafe { if is_root(name) { root() } else { null_mut() } };
    getpwuid_r c"getpwuid_r"
        (user: uid_t, out: *mut passwd, memory: *mut c_char, size: size_t, found: *mut *mut passwd) -> c_int
        // SAFETY: as above.
        => unsafe { tell(user == 0, ROOT.0, out, found) };
    getpwnam_r c"getpwnam_r"
        (name: *const c_char, out: *mut passwd, memory: *mut c_char, size: size_t, found: *mut *mut passwd) -> c_int
        // SAFETY: as above.
        => unsafe { tell(is_root(name), ROOT.0, out, found) };
    getgrgid c"getgrgid" (id: gid_t) -> *mut group => if id == 0 { roots() } else { null_mut() };
    // SAFETY: as above.
    getgrnam c"getgrnam" (name: *const c_char) -> *mut group => unsafe { if is_root(name) { roots() } else { null_mut() } };
    getgrgid_r c"getgrgid_r"
        (id: gid_t, out: *mut group, memory: *mut c_char, size: size_t, found: *mut *mut group) -> c_int
        // SAFETY: as above.
        => unsafe { tell(id == 0, ROOTS.0, out, found) };
    getgrnam_r c"getgrnam_r"
        (name: *const c_char, out: *mut group, memory: *mut c_char, size: size_t, found: *mut *mut group) -> c_int
        // SAFETY: as above.
        => unsafe { tell(is_root(name), ROOTS.0, out, found) };
    getgroups c"getgroups" (size: c_int, list: *mut gid_t) -> c_int => 0;
    getgrouplist c"getgrouplist" (name: *const c_char, own: gid_t, list: *mut gid_t, count: *mut c_int) -> c_int => {
        // SAFETY: getgrouplist(3) demands room for so many groups as it is told.
        unsafe {
            let room = count.replace(1);
            if room < 1 { -1 } else { put(list, own) + 1 }
        }
    };
}

/// An entry of the list of users or of that of groups, which C has in memory of its own.
struct Entry<T>(T);

// SAFETY: what an entry points to is never written to.
unsafe impl<T> Sync for Entry<T> {}

/// No members.
static NOBODY: Entry<*mut c_char> = Entry(null_mut());

/// The only user. Its directory is one that is there.
static ROOT: Entry<passwd> = Entry(passwd {
    pw_name: c"root".as_ptr().cast_mut(),
    pw_passwd: c"x".as_ptr().cast_mut(),
    pw_uid: 0,
    pw_gid: 0,
    pw_gecos: c"root".as_ptr().cast_mut(),
    pw_dir: c"/".as_ptr().cast_mut(),
    pw_shell: c"/bin/sh".as_ptr().cast_mut(),
});

/// The only group.
static ROOTS: Entry<group> = Entry(group {
    gr_name: c"root".as_ptr().cast_mut(),
    gr_passwd: c"x".as_ptr().cast_mut(),
    gr_gid: 0,
    gr_mem: (&raw const NOBODY.0).cast_mut(),
});

fn root() -> *mut passwd {
    (&raw const ROOT.0).cast_mut()
}

fn roots() -> *mut group {
    (&raw const ROOTS.0).cast_mut()
}

/// # Safety
/// `name` must end in a zero byte.
unsafe fn is_root(name: *const c_char) -> bool {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(name) == c"root" }
}

/// Answers as getpwuid_r(3) does: 0 and no entry where there is none.
///
/// # Safety
/// `out` and `found` must be valid.
unsafe fn tell<T: Copy>(is_there: bool, entry: T, out: *mut T, found: *mut *mut T) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        out.write(entry);
        found.write(if is_there { out } else { null_mut() });
    }
    0
}

/// sysconf(3): a simulated machine has one processor, and a GiB of memory.
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    match name {
        libc::_SC_NPROCESSORS_CONF | libc::_SC_NPROCESSORS_ONLN if hosted() => 1,
        libc::_SC_PHYS_PAGES | libc::_SC_AVPHYS_PAGES if hosted() => PAGES,
        libc::_SC_OPEN_MAX if hosted() => 1 << 20,
        _ => forward!(c"sysconf" as fn(c_int) -> c_long, name),
    }
}

/// uname(2): a Linux by the name of its node.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn uname(out: *mut libc::utsname) -> c_int {
    if !hosted() {
        return forward!(c"uname" as fn(*mut libc::utsname) -> c_int, out);
    }
    let copy = |to: &mut [c_char], text: &str| {
        to.fill(0);
        let room = to.len() - 1;
        to.iter_mut().zip(text.bytes()).take(room).for_each(|(to, byte)| *to = byte as c_char);
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
