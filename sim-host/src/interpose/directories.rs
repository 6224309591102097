//! Streams of directories (opendir(3)).

use std::ffi::{OsString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use libc::{DIR, dirent, dirent64};

use super::answer;
use super::files::path_of;
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, Io, close, install, is_simulated, lookup};
use crate::hosting::file;
use crate::hosting::node::is_real;
use crate::hosting::real::forward;

/// How a stream of ours is told from one of the C library, whose first field is a descriptor.
const MARK: u64 = 0x7369_6d64_6972_2121;

#[repr(C)]
struct Stream {
    mark: u64,
    descriptor: c_int,
    entries: Vec<(OsString, u64, u8)>,
    place: usize,
    shown: dirent64,
}

fn open(description: Rc<Description>, descriptor: c_int) -> Io<*mut DIR> {
    let entries = description.object.as_file().ok_or(libc::ENOTDIR)?.list()?;
    // SAFETY: an all-zero entry is one that says nothing.
    let shown = unsafe { std::mem::zeroed() };
    Ok(Box::into_raw(Box::new(Stream { mark: MARK, descriptor, entries, place: 0, shown })).cast())
}

fn pointer(result: Io<*mut DIR>) -> *mut DIR {
    result.unwrap_or_else(|error| {
        answer(Err::<c_int, _>(error));
        std::ptr::null_mut()
    })
}

/// The stream of ours, if it is one.
///
/// # Safety
/// `stream` must be one that opendir(3) gave.
unsafe fn ours<'a>(stream: *mut DIR) -> Option<&'a mut Stream> {
    // SAFETY: the caller's promise; a stream of the C library is larger than a mark.
    unsafe { (!stream.is_null() && *stream.cast::<u64>() == MARK).then(|| &mut *stream.cast::<Stream>()) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn opendir(path: *const c_char) -> *mut DIR {
    // SAFETY: opendir(3) demands a string that ends in a zero byte.
    if hosted() && !is_real(unsafe { path_of(path) }) {
        // SAFETY: as above.
        let path = unsafe { path_of(path) };
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        return pointer(file::open(path, flags, 0).and_then(|opened| {
            let description = Description::new(opened);
            let descriptor = install(description.clone(), true);
            open(description, descriptor).inspect_err(|_| {
                let _ = close(descriptor);
            })
        }));
    }
    forward!(c"opendir" as fn(*const c_char) -> usize, path) as *mut DIR
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fdopendir(descriptor: c_int) -> *mut DIR {
    if is_simulated(descriptor) {
        return pointer(lookup(descriptor).and_then(|description| open(description, descriptor)));
    }
    forward!(c"fdopendir" as fn(c_int) -> usize, descriptor) as *mut DIR
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readdir64(stream: *mut DIR) -> *mut dirent64 {
    // SAFETY: readdir(3) demands a stream.
    let Some(ours) = (unsafe { ours(stream) }) else {
        return forward!(c"readdir64" as fn(*mut DIR) -> usize, stream) as *mut dirent64;
    };
    let Some((name, inode, kind)) = ours.entries.get(ours.place) else { return std::ptr::null_mut() };
    ours.place += 1;
    let shown = &mut ours.shown;
    (shown.d_ino, shown.d_off, shown.d_type) = (*inode, ours.place as i64, *kind);
    shown.d_reclen = size_of::<dirent64>() as u16;
    shown.d_name.fill(0);
    let room = shown.d_name.len() - 1;
    shown.d_name.iter_mut().zip(name.as_bytes().iter().take(room)).for_each(|(to, from)| *to = *from as c_char);
    shown
}

#[unsafe(no_mangle)]
unsafe extern "C" fn readdir(stream: *mut DIR) -> *mut dirent {
    // On 64-bit systems the two are one.
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { readdir64(stream).cast() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn closedir(stream: *mut DIR) -> c_int {
    // SAFETY: closedir(3) demands a stream.
    match unsafe { ours(stream) }.map(|ours| ours.descriptor) {
        Some(descriptor) => {
            // SAFETY: made by `open` from a box, and closed once.
            drop(unsafe { Box::from_raw(stream.cast::<Stream>()) });
            answer(close(descriptor).map(|()| 0)) as c_int
        }
        None => forward!(c"closedir" as fn(*mut DIR) -> c_int, stream),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dirfd(stream: *mut DIR) -> c_int {
    // SAFETY: dirfd(3) demands a stream.
    match unsafe { ours(stream) } {
        Some(ours) => ours.descriptor,
        None => forward!(c"dirfd" as fn(*mut DIR) -> c_int, stream),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn rewinddir(stream: *mut DIR) {
    // SAFETY: rewinddir(3) demands a stream.
    match unsafe { ours(stream) } {
        Some(ours) => ours.place = 0,
        None => drop(forward!(c"rewinddir" as fn(*mut c_void) -> c_int, stream.cast())),
    }
}
