//! The rest of a process: environment, working directory, exit, signals, other processes.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{pid_t, size_t, timespec};

use super::{ambient, answer, code, duration_of, part_mut};
use crate::hosting::baton::{hosted, me};
use crate::hosting::descriptor::Io;
use crate::hosting::device::hosts;
use crate::hosting::real::forward;
use crate::hosting::{environment, file, signals, wait};
use crate::leak;

/// # Safety
/// `text` must end in a zero byte.
unsafe fn os<'a>(text: *const c_char) -> &'a OsStr {
    // SAFETY: the caller's promise.
    OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes())
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    if hosted() {
        // SAFETY: getenv(3) demands a string that ends in a zero byte.
        let name = unsafe { CStr::from_ptr(name) };
        return environment::with(|variables| variables.get(name.to_bytes())).cast_mut();
    }
    forward!(c"getenv" as fn(*const c_char) -> usize, name) as *mut c_char
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int {
    if hosted() {
        // SAFETY: setenv(3) demands strings that end in zero bytes.
        let (name, value) = unsafe { (os(name), os(value)) };
        environment::with(|variables| {
            if overwrite != 0 || variables.get(name.as_bytes()).is_null() {
                variables.set(name, value);
            }
        });
        return 0;
    }
    forward!(c"setenv" as fn(*const c_char, *const c_char, c_int) -> c_int, name, value, overwrite)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn unsetenv(name: *const c_char) -> c_int {
    if hosted() {
        // SAFETY: unsetenv(3) demands a string that ends in a zero byte.
        environment::with(|variables| variables.remove(unsafe { os(name) }));
        return 0;
    }
    forward!(c"unsetenv" as fn(*const c_char) -> c_int, name)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn clearenv() -> c_int {
    if hosted() {
        environment::with(environment::Variables::clear);
        return 0;
    }
    forward!(c"clearenv" as fn() -> c_int,)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn chdir(path: *const c_char) -> c_int {
    if hosted() {
        // SAFETY: chdir(2) demands a string that ends in a zero byte.
        let path = file::absolute(Path::new(unsafe { os(path) }));
        return answer(file::is_directory(&path).and_then(|is| match is {
            true => {
                hosts().with_process(|state| state.directory = path);
                Ok(0)
            }
            false => Err(libc::ENOTDIR),
        })) as c_int;
    }
    forward!(c"chdir" as fn(*const c_char) -> c_int, path)
}

/// The working directory of the process that runs, as C has it.
fn directory() -> Option<CString> {
    let directory = hosts().with_process(|state| state.directory.clone()).unwrap_or_else(|| "/".into());
    CString::new(directory.as_os_str().as_bytes()).ok()
}

/// getcwd(2): the length of what was copied, or a negated error.
///
/// # Safety
/// `out` must be valid for writes of `length` bytes.
pub(super) unsafe fn copy_directory(out: *mut c_char, length: size_t) -> isize {
    let Some(text) = directory() else { return -libc::ENOENT as isize };
    let bytes = text.as_bytes_with_nul();
    if length < bytes.len() {
        return -libc::ERANGE as isize;
    }
    // SAFETY: the caller's promise.
    unsafe { part_mut(out.cast(), bytes.len()) }.copy_from_slice(bytes);
    bytes.len() as isize
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getcwd(out: *mut c_char, length: size_t) -> *mut c_char {
    if !hosted() {
        return forward!(c"getcwd" as fn(*mut c_char, size_t) -> usize, out, length) as *mut c_char;
    }
    let needed = directory().map_or(0, |text| text.as_bytes_with_nul().len());
    let (out, length) = match out.is_null() {
        // SAFETY: memory of the size that is written; the caller frees it, as getcwd(3) says.
        true => (unsafe { libc::malloc(length.max(needed)) }.cast(), length.max(needed)),
        false => (out, length),
    };
    // SAFETY: getcwd(3) demands room of the length that it is told.
    match unsafe { copy_directory(out, length) } {
        error @ ..0 => {
            answer(Err::<i32, _>(-error as c_int));
            std::ptr::null_mut()
        }
        _ => out,
    }
}

/// The process that runs ends here.
fn end(what: &'static str, how: Result<(), String>) -> ! {
    wait::leave_if_dead();
    hosts().exits(how);
    match me() {
        Some(me) => me.leave(),
        None => leak::give_up(what, "a node started with host_async shares its thread with others: start it with host"),
    }
}

/// The calling thread ends where it stands: exit(2).
pub(super) fn leave_thread() -> ! {
    match me() {
        Some(me) => me.leave(),
        None => leak::give_up("exit(2)", "the thread of the simulation cannot end"),
    }
}

/// Some hosted program has called exit(3).
static EXITED: AtomicBool = AtomicBool::new(false);

/// pause(2). The standard library lets one `process::exit` of a process through and pauses all others, which here are those of
/// other nodes and later lives.
#[unsafe(no_mangle)]
pub(super) extern "C" fn pause() -> c_int {
    if !hosted() {
        return forward!(c"pause" as fn() -> c_int,);
    }
    if EXITED.load(Ordering::Relaxed) {
        let unknown = "it exited, with a code that is not known: std::process::exit tells one of a process, and another node was first";
        end("exit", Err(unknown.to_string()));
    }
    signals::wait_for_handler("pause");
    answer(Err::<i32, _>(libc::EINTR)) as c_int
}

fn exit_with(code: c_int) -> ! {
    EXITED.store(true, Ordering::Relaxed);
    let how = if code == 0 { Ok(()) } else { Err(format!("it exited with code {code}")) };
    end("exit", how)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn exit(code: c_int) -> ! {
    if hosted() {
        exit_with(code);
    }
    forward!(c"exit" as fn(c_int) -> c_int, code);
    unreachable!("exit(3) does not return")
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn _exit(code: c_int) -> ! {
    if hosted() {
        exit_with(code);
    }
    loop {
        // SAFETY: ends the process.
        unsafe { crate::syscall::raw(libc::SYS_exit_group, [code as usize, 0, 0, 0, 0, 0]) };
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn abort() -> ! {
    if hosted() && me().is_some() {
        end("abort", Err("it aborted".to_string()));
    }
    forward!(c"abort" as fn() -> c_int,);
    unreachable!("abort(3) does not return")
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn raise(signal: c_int) -> c_int {
    if hosted() {
        signals::raise_here(signal);
        return 0;
    }
    forward!(c"raise" as fn(c_int) -> c_int, signal)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn kill(process: pid_t, signal: c_int) -> c_int {
    if hosted() {
        if process != ambient::getpid() && process != 0 {
            return answer(Err::<i32, _>(libc::ESRCH)) as c_int;
        }
        if signal != 0 {
            signals::kill(signal);
            wait::leave_if_dead();
        }
        return 0;
    }
    forward!(c"kill" as fn(pid_t, c_int) -> c_int, process, signal)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    // What the processor raises (SIGSEGV and its like) is the real kernel's to tell.
    let of_the_processor = matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGFPE | libc::SIGSYS);
    if hosted() && !of_the_processor {
        // SAFETY: sigaction(2) demands pointers that are valid or null; an all-zero action is the default one.
        unsafe {
            let before = signals::set_handler(signal, new.as_ref().copied());
            if !old.is_null() {
                *old = before.unwrap_or_else(|| std::mem::zeroed());
            }
        }
        return 0;
    }
    forward!(c"sigaction" as fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int, signal, new, old)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn signal(number: c_int, handler: libc::sighandler_t) -> libc::sighandler_t {
    // SAFETY: an all-zero action is the default one.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    new.sa_sigaction = handler;
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: two valid actions.
    match unsafe { sigaction(number, &new, &mut old) } {
        0 => old.sa_sigaction,
        _ => libc::SIG_ERR,
    }
}

/// pthread_sigmask(3): kept for whoever asks. The real one is that of the thread of the simulation, which runs in place of
/// all hosted ones.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pthread_sigmask(how: c_int, new: *const u64, old: *mut u64) -> c_int {
    let Some(me) = me() else {
        return forward!(c"pthread_sigmask" as fn(c_int, *const u64, *mut u64) -> c_int, how, new, old);
    };
    let before = me.signal_mask.get();
    let mut mask = before;
    if !new.is_null() {
        // SAFETY: pthread_sigmask(3) demands a set that is valid or null; its first word has all signals of Linux.
        let set = unsafe { *new };
        mask = match how {
            libc::SIG_BLOCK => before | set,
            libc::SIG_UNBLOCK => before & !set,
            libc::SIG_SETMASK => set,
            _ => return libc::EINVAL,
        };
    }
    if !old.is_null() {
        // SAFETY: as above.
        unsafe { *old = before };
    }
    signals::set_mask(mask);
    0
}

/// Takes a signal of a set: its number, or `EAGAIN` when the time is over.
///
/// # Safety
/// `set` must be valid, and `time` valid or null.
unsafe fn take_signal(set: *const u64, time: *const timespec) -> Io<c_int> {
    wait::leave_if_dead();
    // SAFETY: the caller's promise.
    let (set, limit) = unsafe { (*set, duration_of(time)) };
    signals::wait_for(set, limit).ok_or(libc::EAGAIN)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sigwait(set: *const u64, signal: *mut c_int) -> c_int {
    if !hosted() {
        return forward!(c"sigwait" as fn(*const u64, *mut c_int) -> c_int, set, signal);
    }
    // SAFETY: sigwait(3) demands a valid set, and room for a number.
    code(unsafe { take_signal(set, std::ptr::null()).map(|taken| *signal = taken) })
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sigtimedwait(
    set: *const u64,
    info: *mut libc::siginfo_t,
    time: *const timespec,
) -> c_int {
    if !hosted() {
        type Info = *mut libc::siginfo_t;
        return forward!(c"sigtimedwait" as fn(*const u64, Info, *const timespec) -> c_int, set, info, time);
    }
    // SAFETY: sigtimedwait(2) demands a valid set, and pointers that are valid or null; an all-zero siginfo says nothing.
    answer(unsafe {
        take_signal(set, time).inspect(|taken| {
            if !info.is_null() {
                *info = std::mem::zeroed();
                (*info).si_signo = *taken;
            }
        })
    }) as c_int
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sigwaitinfo(set: *const u64, info: *mut libc::siginfo_t) -> c_int {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { sigtimedwait(set, info, std::ptr::null()) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sigsuspend(mask: *const u64) -> c_int {
    let Some(me) = me() else { return forward!(c"sigsuspend" as fn(*const u64) -> c_int, mask) };
    wait::leave_if_dead();
    // SAFETY: sigsuspend(2) demands a valid set.
    signals::suspend(unsafe { *mask }, me.signal_mask.get());
    answer(Err::<i32, _>(libc::EINTR)) as c_int
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sigprocmask(how: c_int, new: *const u64, old: *mut u64) -> c_int {
    if me().is_none() {
        return forward!(c"sigprocmask" as fn(c_int, *const u64, *mut u64) -> c_int, how, new, old);
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    match unsafe { pthread_sigmask(how, new, old) } {
        0 => 0,
        error => answer(Err::<i32, _>(error)) as c_int,
    }
}

const PROCESS_ADVICE: &str = "start a node of the simulation in place of a process";

#[unsafe(no_mangle)]
pub(super) extern "C" fn fork() -> pid_t {
    leak::found("a real process (fork)", PROCESS_ADVICE);
    forward!(c"fork" as fn() -> pid_t,)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn execve(
    path: *const c_char,
    arguments: *const c_void,
    environment: *const c_void,
) -> c_int {
    leak::found("a real process (execve)", PROCESS_ADVICE);
    forward!(c"execve" as fn(*const c_char, *const c_void, *const c_void) -> c_int, path, arguments, environment)
}

type Pointer = *const c_void;

macro_rules! spawns {
    ($($function:ident $name:literal),*) => {$(
        #[unsafe(no_mangle)]
        pub(super) extern "C" fn $function(
            process: *mut c_void,
            path: Pointer,
            actions: Pointer,
            attributes: Pointer,
            arguments: Pointer,
            environment: Pointer,
        ) -> c_int {
            leak::found(concat!("a real process (", stringify!($function), ")"), PROCESS_ADVICE);
            forward!(
                $name as fn(*mut c_void, Pointer, Pointer, Pointer, Pointer, Pointer) -> c_int,
                process, path, actions, attributes, arguments, environment
            )
        }
    )*};
}

spawns!(posix_spawn c"posix_spawn", posix_spawnp c"posix_spawnp");

#[unsafe(no_mangle)]
unsafe extern "C" fn get_current_dir_name() -> *mut c_char {
    // SAFETY: nothing is written to: memory is allocated.
    unsafe { getcwd(std::ptr::null_mut(), 0) }
}
