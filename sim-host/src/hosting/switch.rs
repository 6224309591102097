//! Handing the baton over without the kernel: whose stack and whose thread-locals the processor uses.
//!
//! A hosted thread is a real one, so that the C library makes its stack and its thread-locals. From its first moment to its
//! last it waits in the kernel (it is *docked*), and the thread of the simulation runs in its place: on its stack, with its
//! thread pointer (the FS base, of which the x86-64 ABI says that its first word points to itself). What code sees of the
//! thread it runs on is that of the hosted one; what the kernel keeps by thread (signal masks, system call dispatch,
//! `PR_SET_TSC`) is that of the simulation. The end of a thread, where the C library gives things back to the kernel,
//! happens on the real thread again.

use std::arch::naked_asm;
use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::syscall::raw;

/// The real thread has not come to its dock yet.
const STARTING: u32 = 0;
/// It waits in [`wait_at_dock`].
const DOCKED: u32 = 1;
/// It goes on by itself where its program left.
const HOME: u32 = 2;
/// It leaves by exit(2) from its dock.
const END: u32 = 3;

/// What a processor needs to go on somewhere; the rest is on the stack.
#[repr(C)]
#[derive(Default)]
struct Context {
    stack: usize,
    locals: usize,
}

/// Where a real thread waits while its program runs elsewhere.
#[derive(Default)]
pub(crate) struct Dock {
    /// Where the program goes on.
    inside: UnsafeCell<Context>,
    /// Where whoever entered goes on.
    outside: UnsafeCell<Context>,
    state: AtomicU32,
}

// SAFETY: the contexts are written by the real thread before `DOCKED` is stored, and otherwise by whoever holds the baton.
unsafe impl Sync for Dock {}
// SAFETY: as above.
unsafe impl Send for Dock {}

fn futex(word: &AtomicU32, operation: c_int, value: u32) {
    let args = [word.as_ptr() as usize, (operation | libc::FUTEX_PRIVATE_FLAG) as usize, value as usize, 0, 0, 0];
    // SAFETY: the word outlives the call, and neither operation writes to it.
    unsafe { raw(libc::SYS_futex, args) };
}

/// Whether programs may set the FS base by themselves (Linux 5.9, HWCAP2_FSGSBASE); arch_prctl(2) does it otherwise.
#[inline]
fn sets_locals_itself() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    // SAFETY: a question about this process without pointers.
    *CAN.get_or_init(|| unsafe { libc::getauxval(libc::AT_HWCAP2) } & 2 != 0)
}

impl Dock {
    /// Docks the calling thread. Returns when the program is entered for the first time, on the thread that enters it.
    pub(crate) fn dock(&self) {
        // A handler would run on the stack that the program has by then.
        let all = [u64::MAX; 1];
        let args = [libc::SIG_SETMASK as usize, all.as_ptr() as usize, 0, size_of_val(&all), 0, 0];
        // SAFETY: a set of signals of the size that the kernel is told.
        unsafe { raw(libc::SYS_rt_sigprocmask, args) };
        // SAFETY: this dock outlives the thread; nobody else touches `inside` before it is docked.
        unsafe { wait_at_dock(self.inside.get(), self.state.as_ptr()) };
    }

    /// Runs the program until it leaves.
    #[inline]
    pub(crate) fn enter(&self) {
        while self.state.load(Ordering::Acquire) == STARTING {
            futex(&self.state, libc::FUTEX_WAIT, STARTING);
        }
        // SAFETY: `inside` is where `dock` or `leave` stopped, on a stack that nobody uses meanwhile.
        unsafe { switch(self.outside.get(), self.inside.get(), sets_locals_itself()) };
    }

    /// Goes back to whoever entered. Returns when the program is entered again, or at home, on its own real thread.
    #[inline]
    pub(crate) fn leave(&self) {
        // SAFETY: `outside` is where `enter` stopped, which waits for this.
        unsafe { switch(self.inside.get(), self.outside.get(), sets_locals_itself()) };
    }

    /// Lets the real thread go on where its program left, beside whoever calls.
    pub(crate) fn go_home(&self) {
        self.leave_dock(HOME);
    }

    /// Lets the real thread leave by exit(2): nothing of it runs any more.
    pub(crate) fn end(&self) {
        self.leave_dock(END);
    }

    fn leave_dock(&self, state: u32) {
        while self.state.load(Ordering::Acquire) == STARTING {
            futex(&self.state, libc::FUTEX_WAIT, STARTING);
        }
        self.state.store(state, Ordering::Release);
        futex(&self.state, libc::FUTEX_WAKE, 1);
    }
}

/// Saves where the processor is in `from`, and goes on at `to`.
///
/// # Safety
/// `to` must be where [`switch`] or [`wait_at_dock`] stopped, once, and its stack and thread-locals must be alive.
#[unsafe(naked)]
unsafe extern "C" fn switch(from: *mut Context, to: *const Context, sets_locals_itself: bool) {
    naked_asm!(
        // What a function must keep (System V ABI, 3.2.1).
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rax, fs:[0]",
        "mov [rdi + 8], rax",
        "mov rsp, [rsi]",
        "mov rsi, [rsi + 8]",
        "test dl, dl",
        "jz 3f",
        "wrfsbase rsi",
        "2:",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        // No `ret`: the processor would foresee it to go back to where this function was called.
        "pop rcx",
        "jmp rcx",
        "3:",
        "mov edi, 0x1002", // ARCH_SET_FS
        "mov eax, 158",    // arch_prctl
        "syscall",
        "jmp 2b",
    )
}

/// Saves where the calling thread is in `inside`, and waits. Once `DOCKED` is stored the stack is another's.
///
/// # Safety
/// Both pointers must be valid until the thread has ended, and signals must be blocked.
#[unsafe(naked)]
unsafe extern "C" fn wait_at_dock(inside: *mut Context, state: *mut u32) {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov [rdi], rsp",
        "mov rax, fs:[0]",
        "mov [rdi + 8], rax",
        "mov rbx, rdi",
        "mov r12, rsi",
        "mov dword ptr [r12], {docked}",
        "mov rdi, r12",
        "mov esi, 129", // FUTEX_WAKE, private
        "mov edx, 1",
        "mov eax, 202", // futex
        "syscall",
        "2:",
        "cmp dword ptr [r12], {docked}",
        "jne 3f",
        "mov rdi, r12",
        "mov esi, 128", // FUTEX_WAIT, private
        "mov edx, {docked}",
        "xor r10d, r10d",
        "mov eax, 202",
        "syscall",
        "jmp 2b",
        "3:",
        "cmp dword ptr [r12], {home}",
        "jne 4f",
        "mov rsp, [rbx]",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        "4:",
        "xor edi, edi",
        "mov eax, 60", // exit
        "syscall",
        "ud2",
        docked = const DOCKED,
        home = const HOME,
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "real threads are what is handed over")]

    use std::cell::Cell;
    use std::sync::Arc;
    use std::thread::ThreadId;

    use super::*;

    thread_local! {
        static MINE: Cell<u32> = const { Cell::new(0) };
    }

    /// The number that the kernel has for the thread that asks.
    fn real_thread() -> isize {
        // SAFETY: takes no argument.
        unsafe { raw(libc::SYS_gettid, [0; 6]) }
    }

    #[test]
    fn a_docked_thread_runs_in_place_of_whoever_enters_with_its_own_locals_and_ends_at_home() {
        let (dock, seen) = (Arc::new(Dock::default()), Arc::new(std::sync::Mutex::new(Vec::new())));
        let note = |seen: &std::sync::Mutex<Vec<(u32, ThreadId, isize)>>| {
            seen.lock().unwrap().push((MINE.get(), std::thread::current().id(), real_thread()));
        };
        MINE.set(1);
        let (berth, log) = (dock.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            MINE.set(2);
            let home = real_thread();
            berth.dock();
            note(&log);
            berth.leave();
            note(&log);
            berth.leave();
            assert_eq!(real_thread(), home, "back on its own");
            note(&log);
        });
        let (me, other) = (std::thread::current().id(), thread.thread().id());
        for _ in 0..2 {
            note(&seen);
            dock.enter();
        }
        note(&seen);
        dock.go_home();
        thread.join().unwrap();
        let seen = seen.lock().unwrap();
        let here = real_thread();
        assert_eq!(seen[..5], [(1, me, here), (2, other, here), (1, me, here), (2, other, here), (1, me, here)]);
        assert_eq!((seen[5].0, seen[5].1), (2, other));
    }

    #[test]
    fn the_kernel_sets_the_thread_pointer_where_programs_may_not() {
        let dock = Arc::new(Dock::default());
        let berth = dock.clone();
        let thread = std::thread::spawn(move || {
            MINE.set(2);
            berth.dock();
            MINE.set(MINE.get() + 1);
            // SAFETY: as in `leave`.
            unsafe { switch(berth.inside.get(), berth.outside.get(), false) };
            MINE.get()
        });
        while dock.state.load(Ordering::Acquire) == STARTING {
            std::thread::yield_now();
        }
        MINE.set(10);
        // SAFETY: as in `enter`.
        unsafe { switch(dock.outside.get(), dock.inside.get(), false) };
        assert_eq!(MINE.get(), 10);
        dock.go_home();
        assert_eq!(thread.join().unwrap(), 3);
    }

    #[test]
    fn a_thread_that_is_ended_at_its_dock_goes_no_further() {
        let dock = Arc::new(Dock::default());
        let went_on = Arc::new(AtomicU32::new(0));
        let (berth, flag) = (dock.clone(), went_on.clone());
        let thread = std::thread::spawn(move || {
            berth.dock();
            flag.store(1, Ordering::Relaxed);
            berth.leave();
            flag.store(2, Ordering::Relaxed);
        });
        dock.enter();
        dock.end();
        // Its join finds no result, and says so by a panic.
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| thread.join().is_ok())).is_err());
        assert_eq!(went_on.load(Ordering::Relaxed), 1);
    }
}
