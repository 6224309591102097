//! System calls that no symbol catches: those that a program makes by itself (rustix, some C, Go objects).
//!
//! prctl(2), `PR_SET_SYSCALL_USER_DISPATCH` (Linux 5.11): every system call of a thread that does not come from the text of
//! the C library is a SIGSYS while the thread's selector says so, which it does while a hosted program runs. The handler
//! answers as the C library's function would (`interpose::numbers`), or ends the run as leaked.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_void};
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;

use libc::{siginfo_t, ucontext_t};

use crate::hosting::baton;
use crate::hosting::real::{find, forward};

const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

const PR_SET_SYSCALL_USER_DISPATCH: c_int = 59;
const PR_SYS_DISPATCH_ON: usize = 1;

/// What the kernel reads at every system call of a thread: whether it lets it through. Null where it does not ask.
#[derive(Clone, Copy)]
pub(crate) struct Selector(*const Cell<u8>);

thread_local! {
    /// That of this thread, if the kernel knows it.
    static OWN: Cell<u8> = const { Cell::new(ALLOW) };
    /// That of the real thread that runs this one: see `hosting::switch`.
    static SELECTOR: Cell<Selector> = const { Cell::new(Selector(std::ptr::null())) };
}

impl Selector {
    #[inline]
    fn cell(self) -> Option<&'static Cell<u8>> {
        // SAFETY: null, or of the real thread of the simulation, which outlives all that run on it.
        unsafe { self.0.as_ref() }
    }
}

/// The selector of the thread that runs, to be used by a hosted thread that runs in its place.
pub(crate) fn selector() -> Selector {
    SELECTOR.get()
}

/// The calling hosted thread runs in place of the one that has this selector.
pub(crate) fn use_selector(selector: Selector) {
    SELECTOR.set(selector);
}

/// The calling hosted thread is about to run by itself, without hosted code.
pub(crate) fn forget_selector() {
    SELECTOR.set(Selector(std::ptr::null()));
}

/// Lets system calls of this thread through, or not. Returns what was before, for [`restore`].
#[inline]
pub(crate) fn allow() -> u8 {
    SELECTOR.get().cell().map_or(ALLOW, |selector| selector.replace(ALLOW))
}

/// Ends what [`allow`] began.
#[inline]
pub(crate) fn restore(before: u8) {
    SELECTOR.get().cell().into_iter().for_each(|selector| selector.set(before));
}

/// A hosted program runs on this thread from now on, or does not.
#[inline]
pub(crate) fn hosted(hosted: bool) {
    restore(if hosted { BLOCK } else { ALLOW });
}

/// Where the C library's text is.
fn text_of_the_library() -> Option<(usize, usize)> {
    static TEXT: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    *TEXT.get_or_init(|| {
        static KNOWN: AtomicUsize = AtomicUsize::new(0);
        let inside = find(c"syscall", &KNOWN)?;
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        maps.lines().find_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            let (start, end) = range.split_once('-')?;
            let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
            (rest.starts_with("r-x") && (start..end).contains(&inside)).then_some((start, end - start))
        })
    })
}

/// Makes ready what threads need, where runs have a process of their own. Called before any hosted program runs.
pub(crate) fn prepare() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        if text_of_the_library().is_none() {
            return eprintln!("sim: system calls past the C library are not caught: its text was not found");
        }
        // SAFETY: an all-zero action is valid.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // The handler has the type that SA_SIGINFO wants.
        action.sa_sigaction = on_call as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
        forward!(
            c"sigaction" as fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int,
            libc::SIGSYS,
            &action,
            std::ptr::null_mut()
        );
    });
}

/// Turns it on for the calling thread. The selector still lets everything through.
pub(crate) fn enter_thread() {
    if !SELECTOR.get().0.is_null() {
        return;
    }
    let Some((start, length)) = text_of_the_library() else { return };
    let selector = OWN.with(std::ptr::from_ref);
    let operation = PR_SET_SYSCALL_USER_DISPATCH as usize;
    let args = [operation, PR_SYS_DISPATCH_ON, start, length, selector as usize, 0];
    // SAFETY: the selector lives as long as the thread.
    if unsafe { crate::syscall::raw(libc::SYS_prctl, args) } == 0 {
        return SELECTOR.set(Selector(selector));
    }
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| eprintln!("sim: this kernel cannot catch system calls that pass the C library by"));
}

extern "C" fn on_call(_signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let before = allow();
    // SAFETY: with SA_SIGINFO the third argument is the interrupted thread's context, ours to change.
    let registers = unsafe { &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs };
    let at = |register: c_int| registers[register as usize] as usize;
    let args = [libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9].map(at);
    // SAFETY: the signal is SIGSYS, whose number of the call is at this place (sigaction(2), si_syscall).
    let number = c_long::from(unsafe { *info.cast::<c_int>().add(6) });
    // SAFETY: the location is this thread's own and always valid.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: the arguments are those of the call that the program made.
    let result = unsafe { crate::interpose::answer_call(number, args) };
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
    registers[libc::REG_RAX as usize] = result as i64;
    restore(if baton::hosted() { BLOCK } else { before });
}
