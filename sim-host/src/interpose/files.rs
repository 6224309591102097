//! Files, directories and their names.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sim_core::ambient as world;

use super::answer;
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, Io, install, is_simulated, lookup};
use crate::hosting::{file, node};
use crate::syscall::call;

/// # Safety
/// `path` must end in a zero byte.
unsafe fn path_of<'a>(path: *const c_char) -> &'a Path {
    // SAFETY: the caller's promise.
    Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

fn is_random_file(path: *const c_char) -> bool {
    if path.is_null() || !world::is_simulated() {
        return false;
    }
    // SAFETY: open(2) demands a string that ends in a zero byte.
    let path = unsafe { CStr::from_ptr(path) };
    path == c"/dev/urandom" || path == c"/dev/random"
}

/// So much can be read from an open `/dev/urandom` on a node that is not hosted; then comes its end.
const RANDOM_FILE: usize = 64 << 10;

/// A file with the simulation's entropy in it, in place of `/dev/urandom`.
fn open_random(flags: c_int) -> c_int {
    let mut content = vec![0u8; RANDOM_FILE];
    world::entropy(&mut content);
    // SAFETY: a name that ends in a zero byte, a descriptor of our own, and a buffer that is as long as said.
    unsafe {
        let file = call(libc::SYS_memfd_create, [c"urandom".as_ptr() as usize, 0, 0, 0, 0, 0]) as c_int;
        if file >= 0 {
            call(libc::SYS_pwrite64, [file as usize, content.as_ptr() as usize, RANDOM_FILE, 0, 0, 0]);
            if flags & libc::O_CLOEXEC != 0 {
                call(libc::SYS_fcntl, [file as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize, 0, 0, 0]);
            }
        }
        file
    }
}

/// The one that all of the C library's open functions end in.
fn open_at(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    if hosted() && !path.is_null() {
        // SAFETY: open(2) demands a string that ends in a zero byte.
        let given = unsafe { path_of(path) };
        if !node::is_real(given) {
            return answer(open_simulated(directory, given, flags)) as c_int;
        }
    }
    if is_random_file(path) {
        return open_random(flags);
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_openat, [directory as usize, path as usize, flags as usize, mode as usize, 0, 0]) as c_int }
}

fn open_simulated(directory: c_int, path: &Path, flags: c_int) -> Io<c_int> {
    let path = beside(directory, path)?;
    let description = Description::new(file::open(&path, flags)?);
    Ok(install(description, flags & libc::O_CLOEXEC != 0))
}

/// A path that is relative to an open directory.
fn beside(directory: c_int, path: &Path) -> Io<std::path::PathBuf> {
    if directory == libc::AT_FDCWD || path.is_absolute() {
        return Ok(path.to_path_buf());
    }
    let description = lookup(directory)?;
    let directory = description.object.as_file().ok_or(libc::ENOTDIR)?;
    Ok(directory.path.join(path))
}

#[unsafe(no_mangle)]
extern "C" fn open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(directory, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    open_at(directory, path, flags, mode)
}

#[unsafe(no_mangle)]
extern "C" fn lseek64(descriptor: c_int, offset: i64, whence: c_int) -> i64 {
    if is_simulated(descriptor) {
        let moved = lookup(descriptor).and_then(|description| {
            let file = description.object.as_file().ok_or(libc::ESPIPE)?;
            file.seek(offset, whence)
        });
        return answer(moved) as i64;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_lseek, [descriptor as usize, offset as usize, whence as usize, 0, 0, 0]) as i64 }
}

#[unsafe(no_mangle)]
extern "C" fn lseek(descriptor: c_int, offset: i64, whence: c_int) -> i64 {
    lseek64(descriptor, offset, whence)
}

/// fcntl(2) with a record lock.
pub(super) fn lock(
    _description: &Description,
    _descriptor: c_int,
    _command: c_int,
    _lock: *mut libc::flock,
) -> Io<c_int> {
    Ok(0)
}
