//! The C library's own functions behind those that this crate replaces.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::baton::StartRoutine;

/// The C library's own function of a name, looked up once. `None`: it has none.
pub(crate) fn find(name: &CStr, known: &AtomicUsize) -> Option<usize> {
    let mut address = known.load(Ordering::Relaxed);
    if address == 0 {
        // SAFETY: a lookup by a name that ends in a zero byte.
        address = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
        known.store(address, Ordering::Relaxed);
    }
    (address != 0).then_some(address)
}

/// Calls the C library's own function of a name with the type given.
macro_rules! forward {
    ($name:literal as fn($($type:ty),*) -> $result:ty, $($argument:expr),* $(,)?) => {{
        static REAL: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        match $crate::hosting::real::find($name, &REAL) {
            // SAFETY: the address is that of the C library's own function of this name, whose type this is; the
            // arguments are those of the caller, handed on.
            Some(address) => unsafe {
                std::mem::transmute::<usize, unsafe extern "C" fn($($type),*) -> $result>(address)($($argument),*)
            },
            None => {
                $crate::syscall::set_errno(libc::ENOSYS);
                -1isize as $result
            }
        }
    }};
}

pub(crate) use forward;

unsafe extern "C" {
    /// pthread_attr_setdetachstate(3).
    fn pthread_attr_getdetachstate(attributes: *const libc::pthread_attr_t, state: *mut c_int) -> c_int;
}

/// Makes a thread that can be joined, whatever its attributes say. The error, its id, and whether it was to be detached.
///
/// # Safety
/// `attributes` must be null or valid, and `routine` must be fit to be called with `argument`.
pub(crate) unsafe fn pthread_create_joinable(
    attributes: *const libc::pthread_attr_t,
    routine: StartRoutine,
    argument: *mut c_void,
) -> (c_int, libc::pthread_t, bool) {
    let (mut id, mut detached): (libc::pthread_t, c_int) = (0, libc::PTHREAD_CREATE_JOINABLE);
    // SAFETY: the caller's promise; an attribute object may be copied bit by bit for as long as the original lives.
    let mut copy = (!attributes.is_null()).then(|| unsafe { attributes.read() });
    if let Some(copy) = &mut copy {
        // SAFETY: a valid attribute object and a valid place for a number.
        unsafe {
            pthread_attr_getdetachstate(copy, &mut detached);
            libc::pthread_attr_setdetachstate(copy, libc::PTHREAD_CREATE_JOINABLE);
        }
    }
    let attributes = copy.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let error = pthread_create(&mut id, attributes, routine, argument);
    (error, id, detached == libc::PTHREAD_CREATE_DETACHED)
}

pub(crate) fn pthread_create(
    id: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    routine: StartRoutine,
    argument: *mut c_void,
) -> c_int {
    forward!(
        c"pthread_create" as fn(*mut libc::pthread_t, *const libc::pthread_attr_t, StartRoutine, *mut c_void) -> c_int,
        id,
        attributes,
        routine,
        argument
    )
}

/// Waits for the end of a real thread. Its result.
///
/// # Safety
/// The thread must be joinable, and nobody else may join it.
pub(crate) unsafe fn pthread_join(id: libc::pthread_t) -> *mut c_void {
    let mut result = std::ptr::null_mut();
    forward!(c"pthread_join" as fn(libc::pthread_t, *mut *mut c_void) -> c_int, id, &mut result);
    result
}

/// Where the stack of a thread begins: its lowest address.
///
/// # Safety
/// The thread must not have been joined.
pub(crate) unsafe fn start_of_stack(id: libc::pthread_t) -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::uninit();
    // SAFETY: the caller's promise; the attributes are read and destroyed only once they are there.
    unsafe {
        if libc::pthread_getattr_np(id, attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let (mut start, mut length) = (std::ptr::null_mut(), 0);
        let error = libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut length);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (error == 0).then_some(start as usize)
    }
}

pub(crate) fn pthread_setname(id: libc::pthread_t, name: *const c_char) -> c_int {
    forward!(c"pthread_setname_np" as fn(libc::pthread_t, *const c_char) -> c_int, id, name)
}

/// The C library's own allocator, by the names that it has beside malloc(3).
mod allocator {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub(crate) safe fn __libc_malloc(size: usize) -> *mut c_void;
        pub(crate) safe fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
        pub(crate) safe fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
        pub(crate) fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
        pub(crate) fn __libc_free(memory: *mut c_void);
    }
}

pub(crate) use allocator::{
    __libc_calloc as calloc, __libc_free as free, __libc_malloc as malloc, __libc_memalign as memalign,
    __libc_realloc as realloc,
};

/// How much room there is in what the C library has allocated.
///
/// # Safety
/// The memory must be the C library's, and allocated.
pub(crate) unsafe fn malloc_usable_size(memory: *mut c_void) -> usize {
    forward!(c"malloc_usable_size" as fn(*mut c_void) -> usize, memory)
}

/// How often the C library asks a thread's keys for their destructors (limits.h, PTHREAD_DESTRUCTOR_ITERATIONS).
pub(crate) const DESTRUCTOR_ROUNDS: u8 = 4;

/// Has `call` called with `argument` when the calling thread ends, after its thread-locals.
pub(crate) fn call_at_thread_end(call: extern "C" fn(*mut c_void), argument: *mut c_void) {
    static KEY: AtomicUsize = AtomicUsize::new(0);
    let mut key = KEY.load(Ordering::Relaxed);
    if key == 0 {
        let mut fresh: libc::pthread_key_t = 0;
        // SAFETY: a valid place for a key; the destructor is of the type that keys have.
        unsafe {
            let destructor = std::mem::transmute::<extern "C" fn(*mut c_void), unsafe extern "C" fn(*mut c_void)>(call);
            libc::pthread_key_create(&mut fresh, Some(destructor));
        }
        key = fresh as usize + 1;
        KEY.store(key, Ordering::Relaxed);
    }
    // SAFETY: a key of ours; the value is only ever handed to its destructor.
    unsafe { libc::pthread_setspecific((key - 1) as libc::pthread_key_t, argument) };
}

/// Forgets what the keys of the calling thread hold. The C library gives a thread's control block to another as it is, which
/// would call the destructors of a thread that was killed.
pub(crate) fn forget_keys() {
    /// limits.h, PTHREAD_KEYS_MAX.
    const KEYS: libc::pthread_key_t = 1024;
    for key in 0..KEYS {
        // SAFETY: a key that nobody made holds nothing, and is not set.
        unsafe {
            if !libc::pthread_getspecific(key).is_null() {
                libc::pthread_setspecific(key, std::ptr::null());
            }
        }
    }
}
