//! The fast path: an asynchronous program on a tokio runtime of its own, polled on the thread of the simulation.
//!
//! One poll of its task is a `block_on` that ends when the runtime has nothing to do: the interposed `epoll_wait`, asked to
//! wait, notes until when, lets `block_on` come back and says that nothing is ready.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sim_core::device::Process;
use sim_core::{current_node, time};
use tokio::runtime::Runtime;

use super::baton::set_hosted;
use super::descriptor::Description;
use super::device::{existing, hosts};
use super::environment;

/// What `epoll_wait` has to know of the runtime that calls it.
#[derive(Default)]
struct Idle {
    asked: Cell<bool>,
    /// Wakes the future that `block_on` polls.
    root: RefCell<Option<Waker>>,
    limit: Cell<Option<Duration>>,
    epoll: RefCell<Weak<Description>>,
}

thread_local! {
    static NOW: RefCell<Option<Rc<Idle>>> = const { RefCell::new(None) };
}

/// A runtime has nothing to do: `block_on` shall come back.
pub(crate) fn idle(epoll: &Rc<Description>, limit: Option<Duration>) {
    let Some(now) = NOW.with(|now| now.borrow().clone()) else { return };
    now.asked.set(true);
    now.limit.set(limit);
    let mut known = now.epoll.borrow_mut();
    if !known.ptr_eq(&Rc::downgrade(epoll)) {
        *known = Rc::downgrade(epoll);
    }
    drop(known);
    let root = now.root.borrow_mut().take();
    root.into_iter().for_each(Waker::wake);
}

/// The program and its runtime.
struct Guest<F: Future> {
    runtime: Option<Runtime>,
    main: Option<Pin<Box<F>>>,
    idle: Rc<Idle>,
    sleep: Option<Pin<Box<time::Sleep>>>,
    process: Process,
    /// It has threads beside, for what blocks.
    had_threads: bool,
}

/// Runs an asynchronous program on a runtime of its own.
pub(crate) async fn run(process: Process, main: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let built = inside(&Rc::default(), || tokio::runtime::Builder::new_current_thread().enable_all().build());
    let runtime = Some(built.map_err(|error| format!("cannot build its runtime: {error}"))?);
    Guest { runtime, main: Some(Box::pin(main)), idle: Rc::default(), sleep: None, process, had_threads: false }.await
}

/// Calls code of a hosted program on this thread.
fn inside<R>(idle: &Rc<Idle>, f: impl FnOnce() -> R) -> R {
    /// Leaves also when the program panics.
    struct Leave(bool, Option<Rc<Idle>>, environment::Outside);
    impl Drop for Leave {
        fn drop(&mut self) {
            environment::leave(&self.2);
            set_hosted(self.0);
            NOW.with(|now| now.replace(self.1.take()));
        }
    }
    let before = NOW.with(|now| now.replace(Some(idle.clone())));
    let outside = environment::enter(current_node().id());
    let _leave = Leave(set_hosted(true), before, outside);
    f()
}

impl<F: Future<Output = Result<(), String>>> Future for Guest<F> {
    type Output = Result<(), String>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (Some(runtime), Some(main)) = (&this.runtime, &mut this.main) else { return Poll::Ready(Ok(())) };
        let idle = this.idle.clone();
        idle.asked.set(false);
        let until_idle = std::future::poll_fn(|root| {
            if idle.asked.get() {
                return Poll::Ready(None);
            }
            let mut known = idle.root.borrow_mut();
            if !known.as_ref().is_some_and(|known| known.will_wake(root.waker())) {
                *known = Some(root.waker().clone());
            }
            drop(known);
            main.as_mut().poll(root).map(Some)
        });
        let result = inside(&this.idle, || runtime.block_on(until_idle));
        this.had_threads = hosts().with_process(|state| state.threads > 0).unwrap_or(false);
        if let Some(result) = result {
            return Poll::Ready(result);
        }
        if let Some(ended) = hosts().with_process(|state| {
            state.main = Some(cx.waker().clone());
            state.ended.take()
        }) && let Some(ended) = ended
        {
            return Poll::Ready(ended);
        }
        if let Some(epoll) = this.idle.epoll.borrow().upgrade() {
            epoll.wait(cx.waker());
        }
        this.sleep_until_due(cx)
    }
}

impl<F: Future> Guest<F> {
    /// Sees to it that the runtime's next timer wakes this task.
    fn sleep_until_due(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let Some(limit) = self.idle.limit.take() else {
            self.sleep = None;
            return Poll::Pending;
        };
        let deadline = time::Instant::now() + limit;
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() != deadline => sleep.as_mut().get_mut().reset(deadline),
            Some(_) => {}
            None => self.sleep = Some(Box::pin(time::sleep_until(deadline))),
        }
        let due = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready());
        if due {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<F: Future> Drop for Guest<F> {
    fn drop(&mut self) {
        let (runtime, main) = (self.runtime.take(), self.main.take());
        if !sim_core::ambient::is_alive() && self.had_threads {
            // Its threads died where they stood, perhaps with a lock that the runtime would wait for.
            std::mem::forget((runtime, main));
            return;
        }
        inside(&self.idle.clone(), || {
            if let Some(runtime) = runtime {
                let context = runtime.enter();
                drop(main);
                drop(context);
                runtime.shutdown_background();
            }
        });
        if let Some(hosts) = existing() {
            hosts.close_all(self.process);
        }
    }
}
