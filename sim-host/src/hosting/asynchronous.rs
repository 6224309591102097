//! The fast path: an asynchronous program on a tokio runtime of its own, on one thread.
//!
//! When its node dies, its runtime is let go of as a program would that stops: the `epoll_wait` in which it waits says that
//! nothing is ready, `block_on` comes back, and destructors run, whose calls lead nowhere. So a life leaves no memory
//! behind. Where it waits elsewhere, or other threads died with locks that it may need, it goes no further, as any thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::task::{Poll, Waker};

use super::baton;

/// What the kernel of the simulation knows of a runtime, to end it.
#[derive(Default)]
pub(crate) struct Root {
    /// Wakes the future that `block_on` polls. `None`: there is no runtime that could be let go of.
    waker: RefCell<Option<Waker>>,
    /// It waits in `epoll_wait`.
    idle: Cell<bool>,
    over: Cell<bool>,
}

impl Root {
    /// Whether the runtime is being let go of.
    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(crate) fn exists(&self) -> bool {
        self.waker.borrow().is_some()
    }

    /// It cannot be let go of any more.
    pub(crate) fn forget(&self) {
        drop(self.waker.take());
    }

    /// Says that it is over, where that can be said. False: the program must go no further.
    pub(crate) fn end(&self) -> bool {
        let can = self.idle.get() && self.exists();
        self.over.set(can);
        can
    }

    /// Waits in `epoll_wait` by means of `wait`.
    #[inline]
    pub(crate) fn idle<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.idle.set(true);
        let result = wait();
        self.idle.set(false);
        if self.over.get() {
            self.waker.take().into_iter().for_each(Waker::wake);
        }
        result
    }
}

/// Runs an asynchronous program on a runtime of its own, on the thread of the program that calls.
///
/// # Errors
/// When the runtime cannot be built, or the program's own.
pub(crate) fn run<F: Future<Output = Result<(), String>>>(main: impl FnOnce() -> F) -> Result<(), String> {
    let Some(me) = baton::me() else { return Err("it is not on a thread of its own".to_string()) };
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = built.map_err(|error| format!("cannot build its runtime: {error}"))?;
    let context = runtime.enter();
    let mut main = Box::pin(main());
    drop(context);
    let result = runtime.block_on(std::future::poll_fn(|root| {
        if me.root.is_over() {
            return Poll::Ready(None);
        }
        let mut known = me.root.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(root.waker())) {
            *known = Some(root.waker().clone());
        }
        drop(known);
        main.as_mut().poll(root).map(Some)
    }));
    me.root.forget();
    let context = runtime.enter();
    drop(main);
    drop(context);
    runtime.shutdown_background();
    result.unwrap_or(Ok(()))
}
