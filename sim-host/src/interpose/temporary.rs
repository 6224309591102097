//! Files and directories with names that nobody else has (mkstemp(3), mkdtemp(3)).

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sim_core::ambient as world;
use sim_disk::posix;

use super::answer;
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, Io, install};
use crate::hosting::file::{self, absolute, told};
use crate::hosting::real::forward;

/// What a template has in place of letters.
const MARK: &[u8] = b"XXXXXX";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// So often a name is tried that is taken already.
const TRIES: u32 = 1_000;

/// Fills a template until `make` says something else than that there is such a name already.
///
/// # Safety
/// `template` must be a string that may be written to.
unsafe fn fill<R>(template: *mut c_char, suffix: c_int, mut make: impl FnMut(&Path) -> Io<R>) -> Io<R> {
    // SAFETY: the caller's promise.
    let bytes = unsafe {
        let length = CStr::from_ptr(template).to_bytes().len();
        std::slice::from_raw_parts_mut(template.cast::<u8>(), length)
    };
    let end = bytes.len().checked_sub(usize::try_from(suffix).map_err(|_| libc::EINVAL)?).ok_or(libc::EINVAL)?;
    let start = end.checked_sub(MARK.len()).filter(|start| &bytes[*start..end] == MARK).ok_or(libc::EINVAL)?;
    for _ in 0..TRIES {
        let mut chance = [0; MARK.len()];
        world::entropy(&mut chance);
        let letters = chance.map(|byte| LETTERS[usize::from(byte) % LETTERS.len()]);
        bytes[start..end].copy_from_slice(&letters);
        match make(&absolute(Path::new(OsStr::from_bytes(bytes)))) {
            Err(libc::EEXIST) => {}
            made => return made,
        }
    }
    Err(libc::EEXIST)
}

fn open(path: &Path, flags: c_int) -> Io<c_int> {
    let flags = flags & !libc::O_ACCMODE | libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    let opened = file::open(path, flags, 0o600)?;
    Ok(install(Description::new(opened), flags & libc::O_CLOEXEC != 0))
}

macro_rules! makes_files {
    ($($function:ident $name:literal ($($argument:ident),*) suffix $suffix:expr, flags $flags:expr;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(template: *mut c_char $(, $argument: c_int)*) -> c_int {
            if hosted() {
                // SAFETY: mkstemp(3) demands a string that it may write to.
                return answer(unsafe { fill(template, $suffix, |path| open(path, $flags)) }) as c_int;
            }
            makes_files!(@real $name, template $(, $argument)*)
        }
    )*};
    (@real $name:literal, $a:ident) => { forward!($name as fn(*mut c_char) -> c_int, $a) };
    (@real $name:literal, $a:ident, $b:ident) => { forward!($name as fn(*mut c_char, c_int) -> c_int, $a, $b) };
    (@real $name:literal, $a:ident, $b:ident, $c:ident) => {
        forward!($name as fn(*mut c_char, c_int, c_int) -> c_int, $a, $b, $c)
    };
}

makes_files! {
    mkstemp c"mkstemp" () suffix 0, flags 0;
    mkstemp64 c"mkstemp64" () suffix 0, flags 0;
    mkostemp c"mkostemp" (flags) suffix 0, flags flags;
    mkostemp64 c"mkostemp64" (flags) suffix 0, flags flags;
    mkstemps c"mkstemps" (suffix) suffix suffix, flags 0;
    mkstemps64 c"mkstemps64" (suffix) suffix suffix, flags 0;
    mkostemps c"mkostemps" (suffix, flags) suffix suffix, flags flags;
    mkostemps64 c"mkostemps64" (suffix, flags) suffix suffix, flags flags;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mkdtemp(template: *mut c_char) -> *mut c_char {
    const MODE: c_uint = 0o700;
    if !hosted() {
        return forward!(c"mkdtemp" as fn(*mut c_char) -> usize, template) as *mut c_char;
    }
    // SAFETY: mkdtemp(3) demands a string that it may write to.
    match unsafe { fill(template, 0, |path| told(posix::create_dir(path, MODE))) } {
        Ok(()) => template,
        Err(error) => {
            answer(Err::<c_int, _>(error));
            std::ptr::null_mut()
        }
    }
}

/// A file for both reading and writing that has lost its name already.
pub(super) fn nameless() -> Io<c_int> {
    let mut template = *b"/tmp/tmpXXXXXX\0";
    let make = |path: &Path| {
        let descriptor = open(path, 0)?;
        told(posix::unlink(path)).map(|()| descriptor)
    };
    // SAFETY: a string of ours.
    unsafe { fill(template.as_mut_ptr().cast(), 0, make) }
}
