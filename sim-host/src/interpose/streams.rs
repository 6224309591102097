//! Streams of C (fopen(3)) over simulated descriptors: the C library's own, which call back here (fopencookie(3)). Programs
//! read, write and buffer with the C library's functions as ever.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{FILE, size_t, ssize_t};

use super::{answer, descriptors, files, temporary};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Io, is_simulated, lookup};
use crate::hosting::device::{existing, hosts};
use crate::hosting::node::is_real;
use crate::hosting::real::forward;
use crate::hosting::streams::{self, Functions, fopencookie};
use crate::hosting::wait;

unsafe extern "C" {
    fn __fsetlocking(stream: *mut FILE, how: c_int) -> c_int;
    static mut stdout: *mut FILE;
    static mut stderr: *mut FILE;
}

/// The streams that `stdout` and `stderr` of this process are, once they are caught.
static STANDARD: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// What C prints goes the way of write(2) from now on, whichever node prints it.
pub(crate) fn catch_standard() {
    for (place, variable) in [&raw mut stdout, &raw mut stderr].into_iter().enumerate() {
        if STANDARD[place].load(Ordering::Relaxed) != 0 {
            continue;
        }
        let functions = Functions { write: Some(write), ..Functions::default() };
        let descriptor = std::ptr::without_provenance_mut(place + 1);
        // SAFETY: a mode that ends in a zero byte, and functions of the types that fopencookie(3) wants.
        let caught = unsafe { fopencookie(descriptor, c"w".as_ptr(), functions) };
        if !caught.is_null() {
            STANDARD[place].store(caught as usize, Ordering::Relaxed);
            // SAFETY: a stream that was just made; the variable is the C library's, which lets programs assign to it
            // (stdin(3)). Without a buffer nothing of one node waits for another to print.
            unsafe {
                libc::setvbuf(caught, null_mut(), libc::_IONBF, 0);
                *variable = caught;
            }
        }
    }
}

/// FSETLOCKING_BYCALLER (stdio_ext.h).
const BY_CALLER: c_int = 2;

/// The cookie of a stream is its descriptor.
fn descriptor_of(cookie: *mut c_void) -> c_int {
    cookie as usize as c_int
}

/// A callback runs in the middle of a function of the C library, which must be over before another thread has its turn.
fn at_once<R>(call: impl FnOnce() -> R, failed: R) -> R {
    if streams::is_abandoned() { failed } else { wait::at_once(call) }
}

unsafe extern "C" fn read(cookie: *mut c_void, buffer: *mut c_char, length: size_t) -> ssize_t {
    // SAFETY: the C library gives a buffer of this length.
    at_once(|| unsafe { descriptors::read(descriptor_of(cookie), buffer.cast(), length) }, -1)
}

/// fopencookie(3) wants 0 for an error.
unsafe extern "C" fn write(cookie: *mut c_void, buffer: *const c_char, length: size_t) -> ssize_t {
    // SAFETY: as above.
    at_once(|| unsafe { descriptors::write(descriptor_of(cookie), buffer.cast(), length) }, -1).max(0)
}

unsafe extern "C" fn seek(cookie: *mut c_void, offset: *mut i64, whence: c_int) -> c_int {
    // SAFETY: the C library gives a valid offset.
    let offset = unsafe { &mut *offset };
    match at_once(|| files::lseek(descriptor_of(cookie), *offset, whence), -1) {
        -1 => -1,
        place => {
            *offset = place;
            0
        }
    }
}

unsafe extern "C" fn close(cookie: *mut c_void) -> c_int {
    at_once(|| descriptors::close(descriptor_of(cookie)), 0)
}

/// The flags of open(2) that a mode stands for.
fn flags_of(mode: &CStr) -> Io<c_int> {
    let mode = mode.to_bytes();
    // What follows a comma is about encodings.
    let letters = mode.split(|letter| *letter == b',').next().unwrap_or(mode);
    let has = |letter| letters.contains(&letter);
    let access = if has(b'+') { libc::O_RDWR } else { libc::O_WRONLY };
    let flags = match letters.first() {
        Some(b'r') if has(b'+') => libc::O_RDWR,
        Some(b'r') => libc::O_RDONLY,
        Some(b'w') => access | libc::O_CREAT | libc::O_TRUNC,
        Some(b'a') => access | libc::O_CREAT | libc::O_APPEND,
        _ => return Err(libc::EINVAL),
    };
    let more = [(b'x', libc::O_EXCL), (b'e', libc::O_CLOEXEC)].into_iter().filter(|(letter, _)| has(*letter));
    Ok(more.fold(flags, |flags, (_, more)| flags | more))
}

/// A stream over a descriptor.
///
/// # Safety
/// `mode` must end in a zero byte.
unsafe fn stream(descriptor: c_int, mode: *const c_char) -> *mut FILE {
    let functions = Functions { read: Some(read), write: Some(write), seek: Some(seek), close: Some(close) };
    // SAFETY: the caller's promise; the functions are of the types that fopencookie(3) wants.
    let stream = unsafe { fopencookie(descriptor as usize as *mut c_void, mode, functions) };
    if !stream.is_null() {
        // Its lock would be a real one.
        // SAFETY: a stream that is there.
        unsafe { __fsetlocking(stream, BY_CALLER) };
        hosts().streams.add(stream, descriptor);
    }
    stream
}

/// Opens a file of the node.
///
/// # Safety
/// Both must end in a zero byte.
unsafe fn open(path: *const c_char, mode: *const c_char) -> *mut FILE {
    const PERMISSIONS: c_uint = 0o666;
    // SAFETY: the caller's promise.
    match flags_of(unsafe { CStr::from_ptr(mode) }) {
        Ok(flags) => match files::open(path, flags, PERMISSIONS) {
            -1 => null_mut(),
            // SAFETY: as above.
            descriptor => unsafe { stream(descriptor, mode) },
        },
        Err(error) => failed(error),
    }
}

fn failed(error: c_int) -> *mut FILE {
    answer(Err::<c_int, _>(error));
    null_mut()
}

macro_rules! opens {
    ($($function:ident $name:literal;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(path: *const c_char, mode: *const c_char) -> *mut FILE {
            if hosted() {
                // SAFETY: fopen(3) demands strings that end in zero bytes.
                let (path_text, flags) = unsafe { (files::path_of(path), flags_of(CStr::from_ptr(mode))) };
                if !is_real(path_text) {
                    // SAFETY: as above.
                    return unsafe { open(path, mode) };
                }
                // What is real is read only.
                if flags.is_ok_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY) {
                    return failed(libc::EROFS);
                }
            }
            forward!($name as fn(*const c_char, *const c_char) -> usize, path, mode) as *mut FILE
        }
    )*};
}

opens! {
    fopen c"fopen";
    fopen64 c"fopen64";
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdopen(descriptor: c_int, mode: *const c_char) -> *mut FILE {
    if !is_simulated(descriptor) {
        return forward!(c"fdopen" as fn(c_int, *const c_char) -> usize, descriptor, mode) as *mut FILE;
    }
    // SAFETY: fdopen(3) demands a string that ends in a zero byte.
    match lookup(descriptor).and_then(|_| flags_of(unsafe { CStr::from_ptr(mode) })) {
        // SAFETY: as above.
        Ok(_) => unsafe { stream(descriptor, mode) },
        Err(error) => failed(error),
    }
}

macro_rules! makes_temporary {
    ($($function:ident $name:literal;)*) => {$(
        /// A file without a name, open for both.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function() -> *mut FILE {
            if !hosted() {
                return forward!($name as fn() -> usize,) as *mut FILE;
            }
            match temporary::nameless() {
                // SAFETY: a string of ours.
                Ok(descriptor) => unsafe { stream(descriptor, c"w+".as_ptr()) },
                Err(error) => failed(error),
            }
        }
    )*};
}

makes_temporary! {
    tmpfile c"tmpfile";
    tmpfile64 c"tmpfile64";
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fclose(stream: *mut FILE) -> c_int {
    match existing() {
        Some(hosts) if hosted() => hosts.streams.close(stream),
        _ => forward!(c"fclose" as fn(*mut FILE) -> c_int, stream),
    }
}

macro_rules! tells_descriptor {
    ($($function:ident $name:literal;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(stream: *mut FILE) -> c_int {
            let ours = existing().filter(|_| hosted()).and_then(|hosts| hosts.streams.descriptor_of(stream));
            let standard = STANDARD.iter().position(|known| known.load(Ordering::Relaxed) == stream as usize);
            let ours = ours.or(standard.map(|place| place as c_int + 1));
            ours.unwrap_or_else(|| forward!($name as fn(*mut FILE) -> c_int, stream))
        }
    )*};
}

tells_descriptor! {
    fileno c"fileno";
    fileno_unlocked c"fileno_unlocked";
}
