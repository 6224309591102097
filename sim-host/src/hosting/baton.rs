//! Threads of hosted programs: every one a real thread, and exactly one holds the baton.
//!
//! A hosted thread is a task of the executor whose poll hands it the baton and waits until it gives it back: because it
//! waits for something, has ended, or its node died under it. So all that a hosted thread does happens inside a poll of
//! its own task, and nothing runs beside it. How the baton is handed over is in `switch`.
//!
//! A thread that is killed never returns from the call in which it waits: the real thread leaves by exit(2), no destructor
//! runs, as in a process that is killed. One that returns keeps the baton until its thread-locals are gone, and is then
//! joined for real, so that what the next thread finds (stacks, arenas) is the same in every run.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::{c_int, c_void};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sim_core::ambient::{self, Lent};
use sim_core::choice::Draws;
use sim_core::device::{DeviceId, Process};
use sim_core::task::AbortHandle;

use super::asynchronous::Root;
use super::device::{Table, draws_of, existing, hosts};
use super::heap::{self, Memory};
use super::switch::Dock;
use super::{PAGE, environment, parking_lot, real};
use crate::strict::{self, Selector};
use crate::syscall::raw;

/// What a thread begins with. pthread_exit(3) unwinds through it.
pub(crate) type StartRoutine = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

/// What a thread that is given the baton shall do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Run,
    /// Say where it waits, and give the baton back.
    Tell,
    /// Leave at once.
    Die,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stand {
    /// Waits: for its first turn, or in a call.
    Parked,
    /// Its routine and its thread-locals are over; waits until somebody takes its result.
    Finished,
    /// Has left, and is not joined yet.
    Left,
    /// There is no such thread any more.
    Gone,
}

/// A hosted thread.
pub(crate) struct Thread {
    pub(crate) process: Process,
    /// What gettid(2) says.
    pub(crate) number: u32,
    name: RefCell<String>,
    dock: Dock,
    /// What the real kernel calls it, once it is docked.
    real_id: Cell<u32>,
    selector: Selector,
    order: Cell<Order>,
    stand: Cell<Stand>,
    /// Of its task: the same for all its polls.
    waker: OnceCell<Waker>,
    pthread: Cell<libc::pthread_t>,
    /// Where the frames of its program begin; what is above is the C library's.
    first_frame: Cell<usize>,
    routine: Cell<Option<(StartRoutine, *mut c_void)>>,
    lent: Cell<Option<Lent>>,
    detached: Cell<bool>,
    result: Cell<*mut c_void>,
    joiner: RefCell<Option<Waker>>,
    stack: RefCell<String>,
    destructors: Cell<u8>,
    /// Times it yielded since it last waited.
    pub(crate) yields: Cell<u32>,
    /// Calls it made since they were last counted, and when that was.
    pub(crate) calls: Cell<u32>,
    pub(crate) counted_at: Cell<Option<u64>>,
    /// Signals that it blocks, as it believes.
    pub(crate) signal_mask: Cell<u64>,
    /// Where it waits, if that is an address of its own stack or thread-locals, to which others hold pointers.
    pub(crate) pinned: Cell<Option<usize>>,
    pub(crate) task: Cell<Option<AbortHandle>>,
    pub(crate) root: Root,
    /// The descriptors, and the place of the device, so that a call need not look for them.
    pub(crate) table: Table,
    pub(crate) device: Option<DeviceId>,
    /// Its choices.
    draws: RefCell<Draws>,
    memory: Arc<Memory>,
}

// SAFETY: only the thread that holds the baton reaches anything but `dock`, and the baton is passed on through that.
unsafe impl Send for Thread {}
// SAFETY: as above.
unsafe impl Sync for Thread {}

thread_local! {
    static ME: Cell<*const Thread> = const { Cell::new(std::ptr::null()) };
    static HOSTED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a hosted program runs on this thread now.
#[inline]
pub(crate) fn hosted() -> bool {
    HOSTED.get()
}

/// Says whether a hosted program runs on this thread. Returns what was before.
pub(crate) fn set_hosted(hosted: bool) -> bool {
    ambient::set_hosting(hosted);
    strict::hosted(hosted);
    HOSTED.replace(hosted)
}

/// The hosted thread that runs; `None` on the thread of the executor.
#[inline]
pub(crate) fn me() -> Option<&'static Thread> {
    // SAFETY: null or set by `trampoline`, whose reference it leaks until the thread is joined; the result is not kept.
    unsafe { ME.get().as_ref() }
}

impl Thread {
    /// Makes a thread that waits for its first turn.
    ///
    /// # Errors
    /// That of pthread_create(3).
    pub(crate) fn create(
        process: Process,
        number: u32,
        name: String,
        attributes: *const libc::pthread_attr_t,
        routine: (StartRoutine, *mut c_void),
    ) -> Result<Arc<Thread>, c_int> {
        let thread = Arc::new(Thread {
            process,
            number,
            name: RefCell::new(name),
            dock: Dock::default(),
            real_id: Cell::new(0),
            selector: strict::selector(),
            order: Cell::new(Order::Run),
            stand: Cell::new(Stand::Parked),
            waker: OnceCell::new(),
            pthread: Cell::new(0),
            first_frame: Cell::new(0),
            routine: Cell::new(Some(routine)),
            lent: Cell::new(ambient::lend()),
            detached: Cell::new(false),
            result: Cell::new(std::ptr::null_mut()),
            joiner: RefCell::default(),
            stack: RefCell::default(),
            destructors: Cell::new(0),
            yields: Cell::new(0),
            calls: Cell::new(0),
            counted_at: Cell::new(None),
            signal_mask: Cell::new(0),
            pinned: Cell::new(None),
            task: Cell::new(None),
            root: Root::default(),
            device: hosts().id.get(),
            table: hosts().table.clone(),
            draws: RefCell::new(draws_of(process, number)),
            memory: hosts().memory_of(process),
        });
        let argument = Arc::into_raw(thread.clone());
        // SAFETY: the attributes are the caller's or null; the argument is the reference that `trampoline` takes over.
        let (error, id, detached) =
            unsafe { real::pthread_create_joinable(attributes, trampoline, argument.cast_mut().cast()) };
        if error != 0 {
            // SAFETY: no thread came into being, so the reference is still ours.
            drop(unsafe { Arc::from_raw(argument) });
            return Err(error);
        }
        thread.pthread.set(id);
        thread.detached.set(detached);
        Ok(thread)
    }

    /// A choice below `bound`; 0 is the boring one.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.draws.borrow_mut().below(bound)
    }

    pub(crate) fn id(&self) -> libc::pthread_t {
        self.pthread.get()
    }

    pub(crate) fn set_name(&self, name: &str) {
        *self.name.borrow_mut() = name.to_string();
    }

    pub(crate) fn name(&self) -> String {
        self.name.borrow().clone()
    }

    #[inline]
    pub(crate) fn waker(&self) -> &Waker {
        self.waker.get().unwrap_or(Waker::noop())
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.stand.get() != Stand::Parked
    }

    /// What it returned, once it is released.
    pub(crate) fn result(&self) -> *mut c_void {
        self.result.get()
    }

    pub(crate) fn set_joiner(&self, waker: &Waker) {
        *self.joiner.borrow_mut() = Some(waker.clone());
    }

    /// Hands it the baton and waits until that comes back.
    #[inline(always)]
    fn give(&self, order: Order) {
        self.order.set(order);
        let before = strict::allow();
        self.dock.enter();
        strict::restore(before);
        heap::free_foreign();
    }

    /// Gives the baton back and waits for the next turn. The calling thread must be this one.
    #[inline]
    pub(crate) fn park(&self) {
        self.pass(Stand::Parked);
    }

    #[inline(always)]
    fn pass(&self, stand: Stand) {
        self.stand.set(stand);
        loop {
            self.dock.leave();
            match self.order.get() {
                Order::Run => return strict::hosted(HOSTED.get()),
                Order::Tell => {
                    let hosted = HOSTED.replace(false);
                    *self.stack.borrow_mut() = std::backtrace::Backtrace::force_capture().to_string();
                    HOSTED.set(hosted);
                }
                Order::Die => self.leave(),
            }
        }
    }

    /// Gives the baton back for good: because the thread was told so, or because its process is no more. The calling
    /// thread must be this one, and goes no further.
    pub(crate) fn leave(&self) -> ! {
        self.stand.set(Stand::Left);
        self.joiner.take().into_iter().for_each(Waker::wake);
        HOSTED.set(false);
        ambient::give_back();
        real::forget_keys();
        self.dock.leave();
        unreachable!("a thread that has left was given the baton")
    }

    /// Ends the real thread of a program that goes no further.
    fn bury(&self) {
        self.stand.set(Stand::Gone);
        self.dock.end();
        // SAFETY: the thread is killed, and not joined yet.
        match self.pinned.get().filter(|word| unsafe { !parking_lot::forget(*word) }) {
            Some(word) => {
                self.await_end();
                // What is pointed to may begin before the word that was waited at.
                self.clear_stack_below((word & !(PAGE - 1)).saturating_sub(PAGE));
            }
            None => {
                self.clear_stack_below(self.first_frame.get());
                // SAFETY: the thread was made joinable and nobody joined it before: `Gone` is set once.
                unsafe { real::pthread_join(self.pthread.get()) };
            }
        }
        self.forget_its_own();
    }

    /// Clears the stack of a thread that is no more, up to an address. The next thread on it, whose frames are not all
    /// written to, would keep what the old ones pointed to (see `collector`).
    fn clear_stack_below(&self, end: usize) {
        // SAFETY: the thread was not joined, so its id is valid.
        let Some(start) = (unsafe { real::start_of_stack(self.pthread.get()) }) else { return };
        let page = end & !(PAGE - 1);
        // SAFETY: memory of a stack that nobody uses any more.
        unsafe {
            heap::give_back(start, page);
            std::ptr::write_bytes(page as *mut u8, 0, end - page);
        }
    }

    /// Drops the reference that the thread itself had. The caller has another.
    fn forget_its_own(&self) {
        // SAFETY: leaked by `create`, and dropped once, as the real thread ends once and is no more.
        unsafe { Arc::decrement_strong_count(self) };
    }

    /// Waits until the real thread is no more, and leaves its stack where it is.
    fn await_end(&self) {
        let id = self.real_id.get() as usize;
        // SAFETY: takes no argument.
        let process = unsafe { raw(libc::SYS_getpid, [0; 6]) } as usize;
        // SAFETY: plain numbers; nothing is sent but the question whether there is such a thread.
        while unsafe { raw(libc::SYS_tgkill, [process, id, 0, 0, 0, 0]) } == 0 {
            // SAFETY: takes no argument.
            unsafe { raw(libc::SYS_sched_yield, [0; 6]) };
        }
    }

    /// Lets a thread that has finished go, with nobody to ask for its result any more.
    pub(crate) fn release(&self) {
        if self.stand.get() == Stand::Finished {
            self.stand.set(Stand::Gone);
            self.order.set(Order::Run);
            self.dock.go_home();
            // SAFETY: as in `bury`.
            self.result.set(unsafe { real::pthread_join(self.pthread.get()) });
            self.forget_its_own();
        }
    }

    /// Nobody will join it.
    pub(crate) fn detach(&self) {
        self.detached.set(true);
        self.release();
    }

    fn kill(&self) {
        if self.stand.get() == Stand::Parked && self.root.end() {
            self.run();
            if let Some(hosts) = existing() {
                hosts.close_all(self.process);
            }
        }
        if self.stand.get() == Stand::Parked {
            self.give(Order::Die);
        }
        match self.stand.get() {
            Stand::Left => self.bury(),
            Stand::Finished => self.release(),
            Stand::Parked | Stand::Gone => {}
        }
    }

    /// Lets the program run until it waits, or ends.
    #[inline(always)]
    fn run(&self) {
        let before = ambient::set_hosting(true);
        let outside = environment::enter(self.process.node);
        self.give(Order::Run);
        environment::leave(outside);
        ambient::set_hosting(before);
    }

    /// The calls that it is in, outermost last, as far as they are of the program.
    pub(crate) fn tell_stack(&self) -> String {
        if self.stand.get() != Stand::Parked || self.routine.get().is_some() {
            return String::new();
        }
        self.give(Order::Tell);
        self.stack.take()
    }
}

extern "C-unwind" fn trampoline(argument: *mut c_void) -> *mut c_void {
    let thread: *const Thread = argument.cast();
    ME.set(thread);
    // SAFETY: the reference that `create` leaked for this thread.
    let thread = unsafe { &*thread };
    thread.first_frame.set(std::ptr::from_ref(&argument) as usize);
    // SAFETY: takes no argument.
    thread.real_id.set(unsafe { raw(libc::SYS_gettid, [0; 6]) } as u32);
    thread.dock.dock();
    if let Some(lent) = thread.lent.take() {
        lent.adopt();
    }
    if thread.order.get() == Order::Die {
        thread.leave();
    }
    strict::use_selector(thread.selector);
    thread.memory.enter();
    set_hosted(true);
    real::call_at_thread_end(last_words, argument);
    let Some((routine, argument)) = thread.routine.take() else { return std::ptr::null_mut() };
    routine(argument)
}

/// Called by the C library after the thread's routine and its thread-locals, several times over; the last time counts.
extern "C" fn last_words(argument: *mut c_void) {
    let thread: *const Thread = argument.cast();
    // SAFETY: the reference that `create` leaked for this thread.
    let thread = unsafe { &*thread };
    thread.destructors.set(thread.destructors.get() + 1);
    if thread.destructors.get() < real::DESTRUCTOR_ROUNDS {
        return real::call_at_thread_end(last_words, argument);
    }
    let joiner = thread.joiner.take();
    joiner.into_iter().for_each(Waker::wake);
    HOSTED.set(false);
    ambient::give_back();
    strict::forget_selector();
    heap::leave();
    // From here on it is the real thread that runs, at home.
    thread.pass(Stand::Finished);
}

/// The task of a hosted thread.
pub(crate) struct Rider(pub(crate) Arc<Thread>);

impl Rider {
    /// Lets the thread run until it waits, or ends.
    // See `World::step`.
    #[inline(always)]
    pub(crate) fn ride(&self, waker: &Waker) -> Poll<()> {
        let thread = &*self.0;
        if thread.stand.get() != Stand::Parked {
            return Poll::Ready(());
        }
        thread.waker.get_or_init(|| waker.clone());
        thread.run();
        match thread.stand.get() {
            Stand::Parked => return Poll::Pending,
            Stand::Finished if thread.detached.get() || !thread.process.is_alive() => thread.release(),
            Stand::Left => thread.bury(),
            Stand::Finished | Stand::Gone => {}
        }
        Poll::Ready(())
    }
}

impl Future for Rider {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.ride(cx.waker())
    }
}

/// Whether an address is on the stack of the calling thread, where its thread-locals are too.
pub(crate) fn is_own_memory(address: usize) -> bool {
    let here = std::ptr::from_ref(&address) as usize;
    // Stacks grow down, and the thread-locals of a thread are above its first frame. A heap is further away than this.
    let Some(me) = me() else { return false };
    let top = me.pthread.get() as usize + (64 << 10);
    (here.saturating_sub(1 << 20)..top).contains(&address)
}

impl Drop for Rider {
    fn drop(&mut self) {
        // Dropped before its time, the thread dies with its node.
        if matches!(self.0.stand.get(), Stand::Parked | Stand::Left) {
            self.0.kill();
        }
    }
}
