//! The streams of C that hosted programs have open (fopen(3)). The C library lists all streams of the real process, so none
//! may outlive the memory of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};

use libc::FILE;
use sim_core::device::{self, Process};

use super::real::forward;

/// What the C library calls in place of system calls for a stream that is made of functions (fopencookie(3)); those that are
/// missing do nothing.
#[repr(C)]
#[derive(Default)]
pub(crate) struct Functions {
    pub(crate) read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
    pub(crate) write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    pub(crate) seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    pub(crate) close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}

unsafe extern "C" {
    pub(crate) fn fopencookie(cookie: *mut c_void, mode: *const c_char, functions: Functions) -> *mut FILE;
}

#[derive(Default)]
pub(crate) struct Streams(RefCell<BTreeMap<usize, (Process, c_int)>>);

thread_local! {
    /// A stream is closed whose process was killed: nothing of it is written.
    static ABANDONED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the stream that calls back is one that nobody has any more.
pub(crate) fn is_abandoned() -> bool {
    ABANDONED.get()
}

fn close(stream: usize) -> c_int {
    forward!(c"fclose" as fn(*mut FILE) -> c_int, stream as *mut FILE)
}

impl Streams {
    /// The process that runs has a stream over a descriptor.
    pub(crate) fn add(&self, stream: *mut FILE, descriptor: c_int) {
        if !stream.is_null() {
            self.0.borrow_mut().insert(stream as usize, (device::process("fopen"), descriptor));
        }
    }

    /// What a stream of a hosted program is over. `None`: it is another.
    pub(crate) fn descriptor_of(&self, stream: *mut FILE) -> Option<c_int> {
        Some(self.0.borrow().get(&(stream as usize))?.1)
    }

    /// Closes a stream, whoever's it is.
    pub(crate) fn close(&self, stream: *mut FILE) -> c_int {
        self.0.borrow_mut().remove(&(stream as usize));
        close(stream as usize)
    }

    /// A process has ended: what its streams have in their buffers is written if it ended by itself.
    pub(crate) fn forget(&self, process: Process, by_itself: bool) {
        let mut gone = Vec::new();
        self.0.borrow_mut().retain(|stream, (owner, _)| {
            gone.extend((*owner == process).then_some(*stream));
            *owner != process
        });
        ABANDONED.set(!by_itself);
        gone.into_iter().for_each(|stream| _ = close(stream));
        ABANDONED.set(false);
    }
}
