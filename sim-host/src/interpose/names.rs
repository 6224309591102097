//! Names of files: making, removing, renaming, linking.

use std::ffi::{CString, c_char, c_int, c_long, c_uint};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use libc::{size_t, ssize_t};
use sim_disk::posix::{self, Rename};

use super::files::{beside, path_of};
use super::{answer, part_mut};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::Io;
use crate::hosting::device::hosts;
use crate::hosting::file::{absolute, told};
use crate::hosting::real::forward;
use crate::hosting::{memory, wait};
use crate::syscall::call;

const HERE: c_int = libc::AT_FDCWD;

/// A path of a hosted program, relative to an open directory.
///
/// # Safety
/// `path` must end in a zero byte.
unsafe fn at(directory: c_int, path: *const c_char) -> Io<PathBuf> {
    wait::leave_if_dead();
    // SAFETY: the caller's promise.
    beside(directory, unsafe { path_of(path) }).map(|path| absolute(&path))
}

fn done(result: std::io::Result<()>) -> Io<c_int> {
    let result = told(result);
    wait::leave_if_dead();
    result.map(|()| 0)
}

/// Functions of one path: on the disk of the node for a hosted program, and the real call otherwise.
macro_rules! of_a_path {
    ($($function:ident($($before:ident: $before_type:ty)?; $($after:ident: $after_type:ty),*)
        $number:ident [$($arg:expr),*] $(+ [$last:expr])? at $directory:expr => $act:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(
            $($before: $before_type,)?
            path: *const c_char
            $(, $after: $after_type)*
        ) -> c_int {
            if hosted() {
                // SAFETY: the function demands a string that ends in a zero byte.
                let path = unsafe { at($directory, path) };
                let act: &dyn Fn(&Path) -> std::io::Result<()> = &$act;
                return answer(path.and_then(|path| done(act(&path)))) as c_int;
            }
            let mut args = [0usize; 6];
            let given = [$($before as usize,)? path as usize $(, $after as usize)*];
            let (prefix, last): (&[usize], &[usize]) = (&[$($arg),*], &[$($last as usize)?]);
            args.iter_mut().zip(prefix.iter().chain(&given).chain(last)).for_each(|(to, from)| *to = *from);
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::$number, args) as c_int }
        }
    )*};
}

fn remove_at(path: &Path, flags: c_int) -> std::io::Result<()> {
    if flags & libc::AT_REMOVEDIR != 0 { posix::remove_dir(path) } else { posix::unlink(path) }
}

fn truncate_to(path: &Path, size: i64) -> std::io::Result<()> {
    let mode = posix::Mode { read: false, write: true, ..posix::Mode::READ };
    let file = posix::open(path, mode)?;
    let (before, size) = (file.metadata()?, size.max(0) as u64);
    file.set_len(size)?;
    if memory::any() {
        hosts().mappings.after_cut(before.ino(), size.min(before.len())..u64::MAX);
    }
    Ok(())
}

/// What access(2) tells root: all is allowed but to execute what nobody may.
fn access_is_allowed(path: &Path, mode: c_int) -> std::io::Result<()> {
    let refuse = |error| Err(std::io::Error::from_raw_os_error(error));
    match crate::hosting::file::status(path, true) {
        Ok(found) if mode & libc::X_OK != 0 && found.mode & (libc::S_IFDIR | 0o111) == 0 => refuse(libc::EACCES),
        Ok(_) => Ok(()),
        Err(error) => refuse(error),
    }
}

/// chown(2), for which it is enough that there is such a file: every process is root.
fn give_away(path: &Path, follow: bool) -> std::io::Result<()> {
    let found = crate::hosting::file::status(path, follow);
    found.map(drop).map_err(std::io::Error::from_raw_os_error)
}

fn make_directory(path: &Path, mode: c_uint) -> std::io::Result<()> {
    posix::create_dir(path, mode & !super::machine::mask())
}

const H: usize = HERE as usize;

of_a_path! {
    mkdir(; mode: c_uint) SYS_mkdirat [H] at HERE => |path: &Path| make_directory(path, mode);
    mkdirat(directory: c_int; mode: c_uint) SYS_mkdirat [] at directory => |path: &Path| make_directory(path, mode);
    rmdir(; ) SYS_unlinkat [H] + [libc::AT_REMOVEDIR] at HERE => |path: &Path| posix::remove_dir(path);
    unlink(; ) SYS_unlinkat [H] at HERE => |path: &Path| posix::unlink(path);
    unlinkat(directory: c_int; flags: c_int) SYS_unlinkat [] at directory => |path: &Path| remove_at(path, flags);
    truncate(; size: i64) SYS_truncate [] at HERE => |path: &Path| truncate_to(path, size);
    truncate64(; size: i64) SYS_truncate [] at HERE => |path: &Path| truncate_to(path, size);
    chmod(; mode: c_uint) SYS_fchmodat [H] at HERE => |path: &Path| posix::set_permissions(path, mode);
    fchmodat(directory: c_int; mode: c_uint, _flags: c_int) SYS_fchmodat [] at directory
        => |path: &Path| posix::set_permissions(path, mode);
    access(; mode: c_int) SYS_faccessat [H] at HERE => |path: &Path| access_is_allowed(path, mode);
    faccessat(directory: c_int; mode: c_int, _flags: c_int) SYS_faccessat [] at directory
        => |path: &Path| access_is_allowed(path, mode);
    chown(; _user: c_uint, _group: c_uint) SYS_fchownat [H] at HERE => |path: &Path| give_away(path, true);
    lchown(; _user: c_uint, _group: c_uint) SYS_fchownat [H] + [libc::AT_SYMLINK_NOFOLLOW] at HERE
        => |path: &Path| give_away(path, false);
    fchownat(directory: c_int; _user: c_uint, _group: c_uint, flags: c_int) SYS_fchownat [] at directory
        => |path: &Path| give_away(path, flags & libc::AT_SYMLINK_NOFOLLOW == 0);
}

macro_rules! effective_access {
    ($($function:ident)*) => {$(
        /// As access(2): the user of a process is the same either way.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $function(path: *const c_char, mode: c_int) -> c_int {
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { access(path, mode) }
        }
    )*};
}

effective_access!(eaccess euidaccess);

/// remove(3): rmdir(2) of a directory, unlink(2) of anything else.
#[unsafe(no_mangle)]
unsafe extern "C" fn remove(path: *const c_char) -> c_int {
    if !hosted() {
        return forward!(c"remove" as fn(*const c_char) -> c_int, path);
    }
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe {
        match unlink(path) {
            -1 if *libc::__errno_location() == libc::EISDIR => rmdir(path),
            done => done,
        }
    }
}

/// Functions of two paths.
macro_rules! of_two_paths {
    ($($function:ident($($from_at:ident)?; $($to_at:ident)?; $($flags:ident: $type:ty)?)
        $real:literal $from_dir:expr, $to_dir:expr => $act:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(
            $($from_at: c_int,)?
            from: *const c_char,
            $($to_at: c_int,)?
            to: *const c_char
            $(, $flags: $type)?
        ) -> c_int {
            if hosted() {
                // SAFETY: the function demands strings that end in zero bytes.
                let paths = unsafe { at($from_dir, from).and_then(|from| Ok((from, at($to_dir, to)?))) };
                let act: &dyn Fn(&Path, &Path) -> std::io::Result<()> = &$act;
                return answer(paths.and_then(|(from, to)| done(act(&from, &to)))) as c_int;
            }
            of_two_paths!(@real $real, ($($from_at)?) from, ($($to_at)?) to $(, $flags: $type)?)
        }
    )*};
    (@real $real:literal, () $from:ident, () $to:ident) => {
        forward!($real as fn(*const c_char, *const c_char) -> c_int, $from, $to)
    };
    (@real $real:literal, ($a:ident) $from:ident, ($b:ident) $to:ident) => {
        forward!($real as fn(c_int, *const c_char, c_int, *const c_char) -> c_int, $a, $from, $b, $to)
    };
    (@real $real:literal, ($a:ident) $from:ident, ($b:ident) $to:ident, $flags:ident: $type:ty) => {
        forward!($real as fn(c_int, *const c_char, c_int, *const c_char, $type) -> c_int, $a, $from, $b, $to, $flags)
    };
}

fn rename_as(from: &Path, to: &Path, flags: c_uint) -> std::io::Result<()> {
    let how = match flags {
        0 => Rename::Replace,
        libc::RENAME_NOREPLACE => Rename::NoReplace,
        libc::RENAME_EXCHANGE => Rename::Exchange,
        _ => return Err(std::io::Error::from_raw_os_error(libc::EINVAL)),
    };
    posix::rename(from, to, how)
}

of_two_paths! {
    rename(;;) c"rename" HERE, HERE => |from: &Path, to: &Path| rename_as(from, to, 0);
    renameat(a; b;) c"renameat" a, b => |from: &Path, to: &Path| rename_as(from, to, 0);
    renameat2(a; b; flags: c_uint) c"renameat2" a, b => |from: &Path, to: &Path| rename_as(from, to, flags);
    link(;;) c"link" HERE, HERE => posix::link;
    linkat(a; b; _flags: c_int) c"linkat" a, b => posix::link;
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn symlinkat(target: *const c_char, directory: c_int, link: *const c_char) -> c_int {
    if hosted() {
        // SAFETY: symlink(2) demands strings that end in zero bytes.
        let made = unsafe { at(directory, link).and_then(|link| done(posix::symlink(path_of(target), &link))) };
        return answer(made) as c_int;
    }
    forward!(c"symlinkat" as fn(*const c_char, c_int, *const c_char) -> c_int, target, directory, link)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn symlink(target: *const c_char, link: *const c_char) -> c_int {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { symlinkat(target, HERE, link) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn readlinkat(
    directory: c_int,
    path: *const c_char,
    out: *mut c_char,
    length: size_t,
) -> ssize_t {
    if hosted() {
        // SAFETY: readlink(2) demands a string that ends in a zero byte.
        let target = unsafe { at(directory, path) }.and_then(|path| told(posix::read_link(&path)));
        return answer(target.map(|target| {
            let bytes = target.as_os_str().as_bytes();
            let room = length.min(bytes.len());
            // SAFETY: readlink(2) demands room of the length that it is told.
            unsafe { part_mut(out.cast(), room) }.copy_from_slice(&bytes[..room]);
            room
        }));
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_readlinkat, [directory as usize, path as usize, out as usize, length, 0, 0]) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn readlink(path: *const c_char, out: *mut c_char, length: size_t) -> ssize_t {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { readlinkat(HERE, path, out, length) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn realpath(path: *const c_char, out: *mut c_char) -> *mut c_char {
    if !hosted() {
        return forward!(c"realpath" as fn(*const c_char, *mut c_char) -> usize, path, out) as *mut c_char;
    }
    // SAFETY: realpath(3) demands a string that ends in a zero byte.
    let found = unsafe { at(HERE, path) }.and_then(|path| told(posix::real_path(&path)));
    let text = found.and_then(|found| {
        let absolute = Path::new("/").join(found);
        CString::new(absolute.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)
    });
    match text {
        Ok(text) => {
            let bytes = text.as_bytes_with_nul();
            // SAFETY: memory for the text; the caller frees it, as realpath(3) says.
            let out = if out.is_null() { unsafe { libc::malloc(bytes.len()) }.cast() } else { out };
            // SAFETY: realpath(3) demands room for PATH_MAX bytes.
            unsafe { part_mut(out.cast(), bytes.len()) }.copy_from_slice(bytes);
            out
        }
        Err(error) => {
            answer(Err::<c_int, _>(error));
            std::ptr::null_mut()
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn canonicalize_file_name(path: *const c_char) -> *mut c_char {
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { realpath(path, std::ptr::null_mut()) }
}

/// What a path may be long, and its like. All paths have the same answers.
#[unsafe(no_mangle)]
extern "C" fn pathconf(path: *const c_char, name: c_int) -> c_long {
    if !hosted() {
        return forward!(c"pathconf" as fn(*const c_char, c_int) -> c_long, path, name);
    }
    match name {
        libc::_PC_LINK_MAX => 65_000,
        libc::_PC_NAME_MAX => 255,
        libc::_PC_PATH_MAX | libc::_PC_PIPE_BUF => 4096,
        libc::_PC_MAX_CANON | libc::_PC_MAX_INPUT => 255,
        libc::_PC_CHOWN_RESTRICTED | libc::_PC_NO_TRUNC => 1,
        libc::_PC_FILESIZEBITS => 64,
        _ => -1,
    }
}

#[unsafe(no_mangle)]
extern "C" fn fpathconf(descriptor: c_int, name: c_int) -> c_long {
    if !hosted() {
        return forward!(c"fpathconf" as fn(c_int, c_int) -> c_long, descriptor, name);
    }
    pathconf(std::ptr::null(), name)
}
