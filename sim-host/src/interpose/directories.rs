//! Streams of directories (opendir(3)).

use std::ffi::{OsString, c_char, c_int, c_long, c_void};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use libc::{DIR, dirent, dirent64};

use super::files::{path_of, with_file};
use super::{answer, part_mut};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, Io, close, install, is_simulated, lookup};
use crate::hosting::file;
use crate::hosting::node::is_real;
use crate::hosting::real::forward;
use crate::syscall::call;

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

#[unsafe(no_mangle)]
unsafe extern "C" fn telldir(stream: *mut DIR) -> c_long {
    // SAFETY: telldir(3) demands a stream.
    match unsafe { ours(stream) } {
        Some(ours) => ours.place as c_long,
        None => forward!(c"telldir" as fn(*mut DIR) -> c_long, stream),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn seekdir(stream: *mut DIR, place: c_long) {
    // SAFETY: seekdir(3) demands a stream.
    match unsafe { ours(stream) } {
        Some(ours) => ours.place = place.max(0) as usize,
        None => drop(forward!(c"seekdir" as fn(*mut DIR, c_long) -> c_int, stream, place)),
    }
}

macro_rules! reads_into {
    ($($function:ident $name:literal;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(stream: *mut DIR, entry: *mut dirent64, result: *mut *mut dirent64) -> c_int {
            // SAFETY: readdir_r(3) demands a stream.
            if unsafe { ours(stream) }.is_none() {
                return forward!(
                    $name as fn(*mut DIR, *mut dirent64, *mut *mut dirent64) -> c_int, stream, entry, result
                );
            }
            // SAFETY: as above, and room for an entry and for a pointer.
            unsafe {
                let found = readdir64(stream);
                if !found.is_null() {
                    entry.write(found.read());
                }
                result.write(if found.is_null() { found } else { entry });
            }
            0
        }
    )*};
}

reads_into! {
    readdir_r c"readdir_r";
    readdir64_r c"readdir64_r";
}

/// The length of an entry of getdents64(2) before its name: two numbers of 8 bytes, one of 2, one of 1.
const HEAD: usize = 19;

/// Writes entries from the position of an open directory on, which moves on.
fn fill(file: &file::OpenFile, out: &mut [u8]) -> Io<usize> {
    let entries = file.list()?;
    let start = file.seek(0, libc::SEEK_CUR)?;
    let (mut place, mut used) = (start, 0);
    for (name, inode, kind) in entries.iter().skip(start as usize) {
        let length = (HEAD + name.len() + 1).next_multiple_of(8);
        let Some(entry) = out.get_mut(used..used + length) else { break };
        place += 1;
        used += length;
        entry.fill(0);
        entry[..8].copy_from_slice(&inode.to_ne_bytes());
        entry[8..16].copy_from_slice(&place.to_ne_bytes());
        entry[16..18].copy_from_slice(&(length as u16).to_ne_bytes());
        entry[18] = *kind;
        entry[HEAD..HEAD + name.len()].copy_from_slice(name.as_bytes());
    }
    if used == 0 && (start as usize) < entries.len() {
        return Err(libc::EINVAL);
    }
    file.seek(place as i64, libc::SEEK_SET)?;
    Ok(used)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn getdents64(descriptor: c_int, out: *mut c_void, length: usize) -> isize {
    if is_simulated(descriptor) {
        // SAFETY: getdents64(2) demands room of the length that it is told.
        let out = unsafe { part_mut(out, length) };
        return answer(with_file(descriptor, |file| fill(file, out)));
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_getdents64, [descriptor as usize, out as usize, length, 0, 0, 0]) }
}
