//! Allocation (malloc(3)): hosted threads have the heap of their life, everybody else that of the C library.
//!
//! The C library allows for functions of these names in the executable, and uses them itself ("Replacing malloc").

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use libc::size_t;

use crate::hosting::heap::{self, Freed};
use crate::hosting::{PAGE, real};
use crate::syscall::set_errno;

/// What the caller is given, or null with `ENOMEM`.
fn given(found: Option<(usize, bool)>) -> *mut c_void {
    match found {
        Some((address, _)) => address as *mut c_void,
        None => {
            set_errno(libc::ENOMEM);
            null_mut()
        }
    }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn malloc(size: size_t) -> *mut c_void {
    if heap::has_its_own() { given(heap::allocate(size)) } else { real::malloc(size) }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn calloc(count: size_t, size: size_t) -> *mut c_void {
    if !heap::has_its_own() {
        return real::calloc(count, size);
    }
    let whole = count.checked_mul(size);
    let found = whole.and_then(heap::allocate);
    if let (Some((address, false)), Some(whole)) = (found, whole) {
        // SAFETY: allocated for so many bytes.
        unsafe { std::ptr::write_bytes(address as *mut u8, 0, whole) };
    }
    given(found)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn free(memory: *mut c_void) {
    if memory.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    match unsafe { heap::free(memory) } {
        Freed::Done => {}
        // SAFETY: as above.
        Freed::NotOurs => unsafe { real::free(memory) },
        Freed::Wrong => {
            eprintln!("free(): nothing is allocated at {memory:p}");
            std::process::abort();
        }
    }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn realloc(memory: *mut c_void, size: size_t) -> *mut c_void {
    let ours = heap::room_at(memory as usize);
    if ours.is_none() && !heap::has_its_own() {
        // SAFETY: the caller's promise.
        return unsafe { real::realloc(memory, size) };
    }
    if memory.is_null() {
        return malloc(size);
    }
    if size == 0 {
        // SAFETY: the caller's promise.
        unsafe { free(memory) };
        return null_mut();
    }
    // SAFETY: the caller's promise.
    let room = ours.unwrap_or_else(|| unsafe { real::malloc_usable_size(memory) });
    // What shrinks a lot moves, so that the memory is there for others.
    if ours.is_some() && size <= room && (room <= 128 || size > room / 2) {
        return memory;
    }
    let moved = malloc(size);
    if !moved.is_null() {
        // SAFETY: both are at least so long, and the new one is nobody's yet.
        unsafe {
            std::ptr::copy_nonoverlapping(memory.cast::<u8>(), moved.cast::<u8>(), room.min(size));
            free(memory);
        }
    }
    moved
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn memalign(alignment: size_t, size: size_t) -> *mut c_void {
    if !heap::has_its_own() {
        return real::memalign(alignment, size);
    }
    // Any address in an object stands for it.
    let whole = if alignment > 16 { size.checked_add(alignment) } else { Some(size) };
    let found = whole.and_then(heap::allocate);
    given(found.map(|(address, fresh)| (address.next_multiple_of(alignment.max(1)), fresh)))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn aligned_alloc(alignment: size_t, size: size_t) -> *mut c_void {
    memalign(alignment, size)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: size_t, size: size_t) -> c_int {
    if !alignment.is_power_of_two() || !alignment.is_multiple_of(size_of::<usize>()) {
        return libc::EINVAL;
    }
    let memory = memalign(alignment, size);
    if memory.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: posix_memalign(3) demands a valid place.
    unsafe { *place = memory };
    0
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn valloc(size: size_t) -> *mut c_void {
    memalign(PAGE, size)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn pvalloc(size: size_t) -> *mut c_void {
    memalign(PAGE, size.next_multiple_of(PAGE))
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn malloc_usable_size(memory: *mut c_void) -> size_t {
    match heap::room_at(memory as usize) {
        Some(room) => room,
        None if memory.is_null() => 0,
        // SAFETY: the caller's promise.
        None => unsafe { real::malloc_usable_size(memory) },
    }
}
