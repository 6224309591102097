//! System calls by their number: `syscall(2)`, through which getrandom 0.2 and the locks of the standard library and
//! parking_lot go, and those that pass the C library by (`crate::strict`).

use std::ffi::{c_int, c_long, c_uint, c_void};

use libc::{clockid_t, timespec};

use super::{
    ambient, calls, descriptors, directories, files, locks, machine, names, options, process, ready, sleeps, sockets,
    status, timers,
};
use crate::hosting::baton::hosted;
use crate::leak;
use crate::syscall::{call, raw};

/// It is variadic in C; on Linux for x86-64 and AArch64 its integer arguments are passed as those of a plain function.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(number: c_long, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> c_long {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe {
        match number {
            libc::SYS_getrandom => ambient::getrandom(a as *mut c_void, b, c as c_uint) as c_long,
            libc::SYS_clock_gettime => ambient::clock_gettime(a as clockid_t, b as *mut timespec).into(),
            libc::SYS_getpid => ambient::getpid().into(),
            libc::SYS_gettid => ambient::gettid().into(),
            libc::SYS_futex => locks::futex(a, b as c_int, c as u32, d, e, f as u32) as c_long,
            _ if hosted() => super::answer(match answer_call(number, [a, b, c, d, e, f]) {
                error @ -4095..0 => Err(-error as c_int),
                result => Ok(result),
            }) as c_long,
            _ => call(number, [a, b, c, d, e, f]) as c_long,
        }
    }
}

/// Calls a function of ours with the arguments of a system call, and answers as the kernel does.
macro_rules! by_name {
    ($number:expr, $args:expr; $($name:ident => $function:path, ($($type:ty),*);)*) => {
        match $number {
            $(libc::$name => {
                let mut place = 0..;
                let result = $function($($args[by_name!(@next place)] as $type),*) as isize;
                // Where there are no arguments nothing is counted.
                let _ = place.next();
                Some(if result == -1 { -(*libc::__errno_location() as isize) } else { result })
            })*
            _ => None,
        }
    };
    (@next $place:ident) => { $place.next().unwrap_or(0) };
}

/// Calls that concern memory and users, and say nothing about the machine.
fn is_harmless(number: c_long) -> bool {
    [
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_mlock,
        libc::SYS_munlock,
        libc::SYS_membarrier,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_prctl,
        libc::SYS_mlock2,
        libc::SYS_mlockall,
        libc::SYS_munlockall,
        libc::SYS_mincore,
    ]
    .contains(&number)
        || cfg!(target_arch = "x86_64") && number == ARCH_PRCTL
}

/// Of x86-64.
const ARCH_PRCTL: c_long = 158;
/// The same on all processors, as all calls of these years.
const FCHMODAT2: c_long = 452;

/// Calls that programs make do without, as they must on kernels that do not have them.
fn refuses(number: c_long) -> bool {
    [
        libc::SYS_openat2,
        libc::SYS_mknodat,
        FCHMODAT2,
        libc::SYS_preadv2,
        libc::SYS_pwritev2,
        libc::SYS_epoll_pwait2,
        libc::SYS_rseq,
        libc::SYS_clone3,
        libc::SYS_memfd_secret,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_io_uring_setup,
        libc::SYS_pidfd_open,
    ]
    .contains(&number)
}

/// Calls about extended attributes, which a volume does not have.
fn has_attributes(number: c_long) -> bool {
    (libc::SYS_setxattr..=libc::SYS_fremovexattr).contains(&number)
}

/// What a hosted program is answered that makes a system call by its number: a result, or a negated error.
///
/// # Safety
/// The arguments must be what the call with this number expects of them, pointers included.
pub(crate) unsafe fn answer_call(number: c_long, args: [usize; 6]) -> isize {
    if !hosted() {
        // SAFETY: the caller's promise.
        return unsafe { raw(number, args) };
    }
    // SAFETY: the caller's promise; every function takes what the call of its name takes.
    let known = unsafe {
        by_name! { number, args;
            SYS_read => descriptors::read, (c_int, *mut c_void, usize);
            SYS_write => descriptors::write, (c_int, *const c_void, usize);
            SYS_readv => descriptors::readv, (c_int, *const libc::iovec, c_int);
            SYS_writev => descriptors::writev, (c_int, *const libc::iovec, c_int);
            SYS_pread64 => descriptors::pread64, (c_int, *mut c_void, usize, i64);
            SYS_pwrite64 => descriptors::pwrite64, (c_int, *const c_void, usize, i64);
            SYS_close => descriptors::close, (c_int);
            SYS_dup => descriptors::dup, (c_int);
            SYS_dup3 => descriptors::dup3, (c_int, c_int, c_int);
            SYS_fcntl => descriptors::fcntl, (c_int, c_int, usize);
            SYS_ioctl => descriptors::ioctl, (c_int, libc::c_ulong, usize);
            SYS_pipe2 => descriptors::pipe2, (*mut c_int, c_int);
            SYS_eventfd2 => descriptors::eventfd, (c_uint, c_int);
            SYS_timerfd_create => timers::timerfd_create, (c_int, c_int);
            SYS_timerfd_settime => timers::timerfd_settime, (c_int, c_int, *const libc::itimerspec, *mut libc::itimerspec);
            SYS_timerfd_gettime => timers::timerfd_gettime, (c_int, *mut libc::itimerspec);
            SYS_openat => files::openat, (c_int, *const libc::c_char, c_int, c_uint);
            SYS_lseek => files::lseek, (c_int, i64, c_int);
            SYS_ftruncate => files::ftruncate, (c_int, i64);
            SYS_fsync => files::fsync, (c_int);
            SYS_fdatasync => files::fdatasync, (c_int);
            SYS_syncfs => files::syncfs, (c_int);
            SYS_fallocate => files::fallocate, (c_int, c_int, i64, i64);
            SYS_flock => files::flock, (c_int, c_int);
            SYS_fadvise64 => files::posix_fadvise, (c_int, i64, i64, c_int);
            SYS_fchmod => files::fchmod, (c_int, c_uint);
            SYS_copy_file_range => files::copy_file_range, (usize, usize, usize, usize, usize, usize);
            SYS_sendfile => files::sendfile, (usize, usize, usize, usize, usize, usize);
            SYS_splice => files::splice, (usize, usize, usize, usize, usize, usize);
            SYS_mmap => files::mmap, (*mut c_void, usize, c_int, c_int, c_int, i64);
            SYS_mremap => files::mremap, (*mut c_void, usize, usize, c_int, *mut c_void);
            SYS_mprotect => files::mprotect, (*mut c_void, usize, c_int);
            SYS_munmap => files::munmap, (*mut c_void, usize);
            SYS_msync => files::msync, (*mut c_void, usize, c_int);
            SYS_fstat => status::fstat, (c_int, *mut libc::stat);
            SYS_newfstatat => status::fstatat, (c_int, *const libc::c_char, *mut libc::stat, c_int);
            SYS_statx => status::statx, (c_int, *const libc::c_char, c_int, c_uint, *mut libc::statx);
            SYS_utimensat => status::utimensat, (c_int, *const libc::c_char, *const timespec, c_int);
            SYS_mkdirat => names::mkdirat, (c_int, *const libc::c_char, c_uint);
            SYS_unlinkat => names::unlinkat, (c_int, *const libc::c_char, c_int);
            SYS_renameat2 => names::renameat2, (c_int, *const libc::c_char, c_int, *const libc::c_char, c_uint);
            SYS_linkat => names::linkat, (c_int, *const libc::c_char, c_int, *const libc::c_char, c_int);
            SYS_symlinkat => names::symlinkat, (*const libc::c_char, c_int, *const libc::c_char);
            SYS_readlinkat => names::readlinkat, (c_int, *const libc::c_char, *mut libc::c_char, usize);
            SYS_socket => sockets::socket, (c_int, c_int, c_int);
            SYS_socketpair => sockets::socketpair, (c_int, c_int, c_int, *mut c_int);
            SYS_bind => sockets::bind, (c_int, *const libc::sockaddr, u32);
            SYS_listen => sockets::listen, (c_int, c_int);
            SYS_accept4 => sockets::accept4, (c_int, *mut libc::sockaddr, *mut u32, c_int);
            SYS_connect => sockets::connect, (c_int, *const libc::sockaddr, u32);
            SYS_getsockname => sockets::getsockname, (c_int, *mut libc::sockaddr, *mut u32);
            SYS_getpeername => sockets::getpeername, (c_int, *mut libc::sockaddr, *mut u32);
            SYS_getsockopt => options::getsockopt, (c_int, c_int, c_int, *mut c_void, *mut u32);
            SYS_setsockopt => options::setsockopt, (c_int, c_int, c_int, *const c_void, u32);
            SYS_shutdown => sockets::shutdown, (c_int, c_int);
            SYS_sendto => sockets::sendto, (c_int, *const c_void, usize, c_int, *const libc::sockaddr, u32);
            SYS_recvfrom => sockets::recvfrom, (c_int, *mut c_void, usize, c_int, *mut libc::sockaddr, *mut u32);
            SYS_sendmsg => sockets::sendmsg, (c_int, *const libc::msghdr, c_int);
            SYS_recvmsg => sockets::recvmsg, (c_int, *mut libc::msghdr, c_int);
            SYS_sendmmsg => sockets::sendmmsg, (c_int, *mut libc::mmsghdr, c_uint, c_int);
            SYS_recvmmsg => sockets::recvmmsg, (c_int, *mut libc::mmsghdr, c_uint, c_int, *mut timespec);
            SYS_epoll_create1 => ready::epoll_create1, (c_int);
            SYS_epoll_ctl => ready::epoll_ctl, (c_int, c_int, c_int, *mut libc::epoll_event);
            SYS_epoll_pwait => ready::epoll_pwait, (c_int, *mut libc::epoll_event, c_int, c_int, *const libc::sigset_t);
            SYS_ppoll => ready::ppoll, (*mut libc::pollfd, u64, *const timespec, *const libc::sigset_t);
            SYS_nanosleep => sleeps::nanosleep, (*const timespec, *mut timespec);
            SYS_sched_yield => sleeps::sched_yield, ();
            SYS_clock_gettime => ambient::clock_gettime, (clockid_t, *mut timespec);
            SYS_getrandom => ambient::getrandom, (*mut c_void, usize, c_uint);
            SYS_getpid => ambient::getpid, ();
            SYS_gettid => ambient::gettid, ();
            SYS_sched_getaffinity => ambient::sched_getaffinity, (c_int, usize, *mut libc::cpu_set_t);
            SYS_futex => locks::futex, (usize, c_int, u32, usize, usize, u32);
            SYS_preadv => descriptors::preadv, (c_int, *const libc::iovec, c_int, i64);
            SYS_pwritev => descriptors::pwritev, (c_int, *const libc::iovec, c_int, i64);
            SYS_close_range => descriptors::close_range, (c_uint, c_uint, c_int);
            SYS_accept => sockets::accept, (c_int, *mut libc::sockaddr, *mut u32);
            SYS_getdents64 => directories::getdents64, (c_int, *mut c_void, usize);
            SYS_truncate => names::truncate, (*const libc::c_char, i64);
            SYS_faccessat => names::faccessat, (c_int, *const libc::c_char, c_int, c_int);
            SYS_faccessat2 => names::faccessat, (c_int, *const libc::c_char, c_int, c_int);
            SYS_fchmodat => names::fchmodat, (c_int, *const libc::c_char, c_uint, c_int);
            SYS_fchownat => names::fchownat, (c_int, *const libc::c_char, c_uint, c_uint, c_int);
            SYS_fchown => files::fchown, (c_int, c_uint, c_uint);
            SYS_fchdir => files::fchdir, (c_int);
            SYS_chdir => process::chdir, (*const libc::c_char);
            SYS_renameat => names::renameat, (c_int, *const libc::c_char, c_int, *const libc::c_char);
            SYS_statfs => status::statfs, (*const libc::c_char, *mut libc::statfs);
            SYS_fstatfs => status::fstatfs, (c_int, *mut libc::statfs);
            SYS_readahead => files::readahead, (c_int, i64, usize);
            SYS_sync_file_range => files::sync_file_range, (c_int, i64, i64, c_uint);
            SYS_uname => machine::uname, (*mut libc::utsname);
            SYS_sysinfo => machine::sysinfo, (*mut libc::sysinfo);
            SYS_getrusage => machine::getrusage, (c_int, *mut libc::rusage);
            SYS_times => machine::times, (*mut libc::tms);
            SYS_clock_getres => machine::clock_getres, (clockid_t, *mut timespec);
            SYS_getcpu => machine::getcpu, (*mut c_uint, *mut c_uint);
            SYS_getppid => machine::getppid, ();
            SYS_getpgid => machine::getpgid, (c_int);
            SYS_getsid => machine::getsid, (c_int);
            SYS_getuid => machine::getuid, ();
            SYS_geteuid => machine::geteuid, ();
            SYS_getgid => machine::getgid, ();
            SYS_getegid => machine::getegid, ();
            SYS_umask => machine::umask, (c_uint);
            SYS_prlimit64 => machine::prlimit64, (c_int, c_int, *const libc::rlimit64, *mut libc::rlimit64);
            SYS_sched_setaffinity => machine::sched_setaffinity, (c_int, usize, *const libc::cpu_set_t);
            SYS_setpriority => machine::setpriority, (c_uint, c_uint, c_int);
            SYS_kill => process::kill, (c_int, c_int);
            SYS_rt_sigprocmask => process::sigprocmask, (c_int, *const u64, *mut u64);
        }
    };
    // SAFETY: the caller's promise.
    if let Some(result) = known.or_else(|| unsafe { answer_older_call(number, args) }) {
        return result;
    }
    match number {
        libc::SYS_exit => process::leave_thread(),
        libc::SYS_exit_group => process::_exit(args[0] as c_int),
        // SAFETY: the caller's promise; the error is returned, not put into errno.
        libc::SYS_clock_nanosleep => -unsafe {
            sleeps::clock_nanosleep(
                args[0] as c_int,
                args[1] as c_int,
                args[2] as *const timespec,
                args[3] as *mut timespec,
            )
        } as isize,
        libc::SYS_sync => {
            files::sync();
            0
        }
        // SAFETY: the caller's promise.
        libc::SYS_getcwd => unsafe { process::copy_directory(args[0] as *mut libc::c_char, args[1]) },
        _ if refuses(number) => -libc::ENOSYS as isize,
        _ if has_attributes(number) => -libc::ENOTSUP as isize,
        // SAFETY: the caller's promise.
        _ if is_harmless(number) => unsafe { raw(number, args) },
        _ => {
            leak::unmodelled(&format!("system call {}", calls::name_of(number)));
            -libc::ENOSYS as isize
        }
    }
}

/// As [`answer_call`], for calls that processors after x86-64 have only in newer shapes.
///
/// # Safety
/// As there.
#[cfg(target_arch = "x86_64")]
unsafe fn answer_older_call(number: c_long, args: [usize; 6]) -> Option<isize> {
    use libc::c_char;
    // SAFETY: the caller's promise; every function takes what the call of its name takes.
    unsafe {
        by_name! { number, args;
            SYS_open => files::open, (*const c_char, c_int, c_uint);
            SYS_creat => files::creat, (*const c_char, c_uint);
            SYS_stat => status::stat, (*const c_char, *mut libc::stat);
            SYS_lstat => status::lstat, (*const c_char, *mut libc::stat);
            SYS_access => names::access, (*const c_char, c_int);
            SYS_mkdir => names::mkdir, (*const c_char, c_uint);
            SYS_rmdir => names::rmdir, (*const c_char);
            SYS_unlink => names::unlink, (*const c_char);
            SYS_rename => names::rename, (*const c_char, *const c_char);
            SYS_link => names::link, (*const c_char, *const c_char);
            SYS_symlink => names::symlink, (*const c_char, *const c_char);
            SYS_readlink => names::readlink, (*const c_char, *mut c_char, usize);
            SYS_chmod => names::chmod, (*const c_char, c_uint);
            SYS_chown => names::chown, (*const c_char, c_uint, c_uint);
            SYS_lchown => names::lchown, (*const c_char, c_uint, c_uint);
            SYS_utime => status::utime, (*const c_char, *const libc::utimbuf);
            SYS_utimes => status::utimes, (*const c_char, *const libc::timeval);
            SYS_futimesat => status::futimesat, (c_int, *const c_char, *const libc::timeval);
            SYS_pipe => descriptors::pipe, (*mut c_int);
            SYS_dup2 => descriptors::dup2, (c_int, c_int);
            SYS_eventfd => descriptors::eventfd, (c_uint, c_int);
            SYS_poll => ready::poll, (*mut libc::pollfd, u64, c_int);
            SYS_epoll_create => ready::epoll_create, (c_int);
            SYS_epoll_wait => ready::epoll_wait, (c_int, *mut libc::epoll_event, c_int, c_int);
            SYS_getpgrp => machine::getpgrp, ();
            SYS_getrlimit => machine::getrlimit, (c_int, *mut libc::rlimit64);
            SYS_setrlimit => machine::setrlimit, (c_int, *const libc::rlimit64);
            SYS_time => ambient::time, (*mut libc::time_t);
            SYS_gettimeofday => ambient::gettimeofday, (*mut libc::timeval, *mut c_void);
        }
    }
}

#[cfg(target_arch = "aarch64")]
unsafe fn answer_older_call(_number: c_long, _args: [usize; 6]) -> Option<isize> {
    None
}
