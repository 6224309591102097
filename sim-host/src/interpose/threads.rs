//! pthreads: a hosted program's thread is a task of the simulation.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::task::Poll;

use sim_core::device;

use crate::hosting::baton::{Rider, StartRoutine, Thread, hosted, me};
use crate::hosting::device::hosts;
use crate::hosting::real::{self, forward};
use crate::hosting::wait;
use crate::leak;

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start: StartRoutine,
    argument: *mut c_void,
) -> c_int {
    if hosted() {
        wait::leave_if_dead();
        return match spawn(attributes, start, argument) {
            Ok(id) => {
                // SAFETY: pthread_create(3) demands room for an id.
                unsafe { *thread = id };
                0
            }
            Err(error) => error,
        };
    }
    leak::found(
        "a real thread (pthread_create)",
        "use sim::spawn, or host the program with node(..).host(..); the timing of a thread would differ from run to run",
    );
    real::pthread_create(thread, attributes, start, argument)
}

/// Starts a thread of the process that runs, which is its next task.
pub(crate) fn spawn(
    attributes: *const libc::pthread_attr_t,
    start: StartRoutine,
    argument: *mut c_void,
) -> Result<libc::pthread_t, c_int> {
    let process = device::process("pthread_create");
    let hosts = hosts();
    let number = hosts.next_thread(process);
    let name = format!("thread {number}");
    let thread = Thread::create(process, number, name.clone(), attributes, (start, argument))?;
    let id = thread.id();
    hosts.threads.borrow_mut().insert(id as usize, thread.clone());
    let task = sim_core::task::Builder::new().name(&name).spawn(Rider(thread.clone()));
    thread.task.set(Some(task.abort_handle()));
    Ok(id)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(id: libc::pthread_t, result: *mut *mut c_void) -> c_int {
    let Some(thread) = hosted().then(|| hosts().thread(id)).flatten() else {
        return forward!(c"pthread_join" as fn(libc::pthread_t, *mut *mut c_void) -> c_int, id, result);
    };
    if me().is_some_and(|me| std::ptr::eq(me, &*thread)) {
        return libc::EDEADLK;
    }
    wait::block_on("a join of a thread", |waker| {
        if thread.is_finished() {
            return Poll::Ready(());
        }
        thread.set_joiner(waker);
        Poll::Pending
    });
    hosts().threads.borrow_mut().remove(&(id as usize));
    thread.release();
    if !result.is_null() {
        // SAFETY: pthread_join(3) demands a pointer that is valid or null.
        unsafe { *result = thread.result() };
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn pthread_detach(id: libc::pthread_t) -> c_int {
    let Some(thread) = hosted().then(|| hosts().thread(id)).flatten() else {
        return forward!(c"pthread_detach" as fn(libc::pthread_t) -> c_int, id);
    };
    thread.detach();
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(id: libc::pthread_t, name: *const c_char) -> c_int {
    if let Some(thread) = hosted().then(|| hosts().thread(id)).flatten() {
        // SAFETY: pthread_setname_np(3) demands a string that ends in a zero byte.
        thread.set_name(&unsafe { CStr::from_ptr(name) }.to_string_lossy());
        return 0;
    }
    real::pthread_setname(id, name)
}
