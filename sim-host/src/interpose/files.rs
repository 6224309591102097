//! Open files: opening, sizes, syncs, locks, mappings.

use std::ffi::{CStr, OsStr, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sim_core::ambient as world;
use sim_disk::posix::{self, Allocate, LockOwner, RangeLock};

use super::answer;
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Description, Io, install, is_simulated, lookup};
use crate::hosting::device::{Hosts, existing, hosts};
use crate::hosting::file::{self, OpenFile};
use crate::hosting::{PAGE, memory, node, wait};
use crate::syscall::call;

/// # Safety
/// `path` must end in a zero byte.
pub(super) unsafe fn path_of<'a>(path: *const c_char) -> &'a Path {
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
            return answer(open_simulated(directory, given, flags, mode)) as c_int;
        }
        if flags & libc::O_ACCMODE != libc::O_RDONLY {
            return answer(Err::<c_int, _>(libc::EROFS)) as c_int;
        }
    }
    if is_random_file(path) {
        return open_random(flags);
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_openat, [directory as usize, path as usize, flags as usize, mode as usize, 0, 0]) as c_int }
}

fn open_simulated(directory: c_int, path: &Path, flags: c_int, mode: c_uint) -> Io<c_int> {
    wait::leave_if_dead();
    let path = beside(directory, path)?;
    let description = Description::new(file::open(&path, flags, mode & !super::machine::mask())?);
    wait::leave_if_dead();
    Ok(install(description, flags & libc::O_CLOEXEC != 0))
}

/// A path that is relative to an open directory.
pub(super) fn beside(directory: c_int, path: &Path) -> Io<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(libc::ENOENT);
    }
    if directory == libc::AT_FDCWD || path.is_absolute() {
        return Ok(path.to_path_buf());
    }
    with_file(directory, |file| Ok(file.path.join(path)))
}

/// Does something with the open file that a descriptor stands for.
pub(super) fn with_file<R>(descriptor: c_int, f: impl FnOnce(&OpenFile) -> Io<R>) -> Io<R> {
    let description = lookup(descriptor)?;
    let result = f(description.object.as_file().ok_or(libc::EINVAL)?);
    wait::leave_if_dead();
    result
}

macro_rules! opens {
    ($($open:ident $openat:ident $creat:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) extern "C" fn $open(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            open_at(libc::AT_FDCWD, path, flags, mode)
        }

        #[unsafe(no_mangle)]
        pub(super) extern "C" fn $openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            open_at(directory, path, flags, mode)
        }

        #[unsafe(no_mangle)]
        pub(super) extern "C" fn $creat(path: *const c_char, mode: c_uint) -> c_int {
            open_at(libc::AT_FDCWD, path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC, mode)
        }
    )*};
}

opens! {
    open openat creat;
    open64 openat64 creat64;
}

/// Functions of an open file that answer with a number, and their real calls.
macro_rules! of_a_file {
    ($($function:ident($($argument:ident: $type:ty),*) -> $result:ty, $number:ident, $act:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) extern "C" fn $function(descriptor: c_int, $($argument: $type),*) -> $result {
            if is_simulated(descriptor) {
                let act: fn(&OpenFile, $($type),*) -> Io<$result> = $act;
                return answer(with_file(descriptor, |file| act(file, $($argument),*))) as $result;
            }
            let mut args = [0usize; 6];
            args.iter_mut().zip([descriptor as usize, $($argument as usize),*]).for_each(|(to, from)| *to = from);
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::$number, args) as $result }
        }
    )*};
}

/// Flags of sync_file_range(2) that wait for the device.
const WAITS: c_uint = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WAIT_AFTER;

fn set_size(file: &OpenFile, size: i64) -> Io<c_int> {
    let size = u64::try_from(size).map_err(|_| libc::EINVAL)?;
    file.set_len(size).map(|()| 0)
}

fn allocate(file: &OpenFile, mode: c_int, from: i64, length: i64) -> Io<c_int> {
    let how = match mode {
        0 => Allocate::Grow,
        libc::FALLOC_FL_KEEP_SIZE => Allocate::KeepSize,
        _ if mode == libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE => Allocate::PunchHole,
        _ => return Err(libc::EOPNOTSUPP),
    };
    let (Ok(from), Ok(length)) = (u64::try_from(from), u64::try_from(length)) else { return Err(libc::EINVAL) };
    file::told(file.disk()?.allocate(how, from, length))?;
    if how == Allocate::PunchHole {
        file.cut(from..from + length)?;
    }
    Ok(0)
}

of_a_file! {
    lseek64(offset: i64, whence: c_int) -> i64, SYS_lseek, |file, offset, whence| file.seek(offset, whence).map(|at| at as i64);
    lseek(offset: i64, whence: c_int) -> i64, SYS_lseek, |file, offset, whence| file.seek(offset, whence).map(|at| at as i64);
    ftruncate(size: i64) -> c_int, SYS_ftruncate, set_size;
    ftruncate64(size: i64) -> c_int, SYS_ftruncate, set_size;
    fsync() -> c_int, SYS_fsync, |file| file.sync().map(|()| 0);
    fdatasync() -> c_int, SYS_fdatasync, |file| file.sync_data().map(|()| 0);
    syncfs() -> c_int, SYS_syncfs, |file| {
        bring_all_stores();
        file::told(file.disk()?.sync_volume()).map(|()| 0)
    };
    fallocate(mode: c_int, from: i64, length: i64) -> c_int, SYS_fallocate, allocate;
    fallocate64(mode: c_int, from: i64, length: i64) -> c_int, SYS_fallocate, allocate;
    sync_file_range(_from: i64, _length: i64, flags: c_uint) -> c_int, SYS_sync_file_range,
        |file, _, _, flags| file.sync_range(flags & WAITS != 0).map(|()| 0);
    flock(operation: c_int) -> c_int, SYS_flock, flock_simulated;
    fchown(_user: c_uint, _group: c_uint) -> c_int, SYS_fchown, |_, _, _| Ok(0);
    fchmod(mode: c_uint) -> c_int, SYS_fchmod, |file, mode| file::told(file.disk()?.set_permissions(mode)).map(|()| 0);
    fchdir() -> c_int, SYS_fchdir, |file| {
        let path = file.path.clone();
        hosts().with_process(|state| state.directory = path);
        Ok(0)
    };
}

/// What the node's programs stored in mapped files is to be synced.
fn bring_all_stores() {
    if memory::any() {
        hosts().mappings.before_sync(sim_core::current_node().id());
    }
}

/// sync(2): the whole volume of the node.
#[unsafe(no_mangle)]
pub(super) extern "C" fn sync() {
    if hosted() {
        bring_all_stores();
        // What went wrong is not told.
        let _ = file::told(posix::sync_all());
        return wait::leave_if_dead();
    }
    // SAFETY: takes no argument.
    unsafe { call(libc::SYS_sync, [0; 6]) };
}

/// readahead(2): advice.
#[unsafe(no_mangle)]
pub(super) extern "C" fn readahead(descriptor: c_int, from: i64, length: usize) -> isize {
    if is_simulated(descriptor) {
        return answer(with_file(descriptor, |file| file.disk().map(|_| 0)));
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_readahead, [descriptor as usize, from as usize, length, 0, 0, 0]) }
}

macro_rules! advises {
    ($($function:ident)*) => {$(
        /// Advice about caches, which changes nothing that a program can see.
        #[unsafe(no_mangle)]
        pub(super) extern "C" fn $function(descriptor: c_int, from: i64, length: i64, advice: c_int) -> c_int {
            if is_simulated(descriptor) {
                return 0;
            }
            let args = [descriptor as usize, from as usize, length as usize, advice as usize, 0, 0];
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::SYS_fadvise64, args) as c_int }
        }
    )*};
}

advises!(posix_fadvise posix_fadvise64);

macro_rules! reserves {
    ($($function:ident)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) extern "C" fn $function(descriptor: c_int, from: i64, length: i64) -> c_int {
            if is_simulated(descriptor) {
                return super::code(with_file(descriptor, |file| allocate(file, 0, from, length).map(drop)));
            }
            // SAFETY: the caller's arguments, handed on unchanged. The error is returned, not put into errno.
            let args = [descriptor as usize, 0, from as usize, length as usize, 0, 0];
            // SAFETY: as above.
            -unsafe { crate::syscall::raw(libc::SYS_fallocate, args) } as c_int
        }
    )*};
}

reserves!(posix_fallocate posix_fallocate64);

fn flock_simulated(file: &OpenFile, operation: c_int) -> Io<c_int> {
    let disk = file.disk()?;
    let exclusive = operation & libc::LOCK_EX != 0;
    let done = match operation {
        _ if operation & libc::LOCK_UN != 0 => disk.funlock(),
        _ if operation & libc::LOCK_NB != 0 => disk.try_flock(exclusive),
        _ => wait::block_on_future("a lock on a file", disk.flock(exclusive)),
    };
    file::told(done).map(|()| 0)
}

/// fcntl(2) with a record lock.
pub(super) fn lock(description: &Description, command: c_int, lock: *mut libc::flock) -> Io<c_int> {
    let file = description.object.as_file().ok_or(libc::EBADF)?;
    let disk = file.disk()?;
    // SAFETY: fcntl(2) demands a valid lock.
    let lock = unsafe { &mut *lock };
    let base = match c_int::from(lock.l_whence) {
        libc::SEEK_SET => 0,
        libc::SEEK_END => file.status()?.size,
        _ => file.seek(0, libc::SEEK_CUR)?,
    };
    let start = base.checked_add_signed(lock.l_start).ok_or(libc::EINVAL)?;
    let end = if lock.l_len == 0 { u64::MAX } else { start.saturating_add(lock.l_len.unsigned_abs()) };
    let range = RangeLock { start, end, exclusive: c_int::from(lock.l_type) == libc::F_WRLCK };
    let of_process = matches!(command, libc::F_GETLK | libc::F_SETLK | libc::F_SETLKW);
    let owner = if of_process { LockOwner::Process } else { LockOwner::Description };
    let done = match command {
        libc::F_GETLK | libc::F_OFD_GETLK => {
            let found = file::told(disk.conflicting_lock(owner, range))?;
            lock.l_type = libc::F_UNLCK as i16;
            if let Some(found) = found {
                lock.l_type = if found.exclusive { libc::F_WRLCK } else { libc::F_RDLCK } as i16;
                lock.l_whence = libc::SEEK_SET as i16;
                lock.l_start = found.start as i64;
                lock.l_len = if found.end == u64::MAX { 0 } else { (found.end - found.start) as i64 };
            }
            return Ok(0);
        }
        _ if c_int::from(lock.l_type) == libc::F_UNLCK => disk.unlock(owner, start, end),
        libc::F_SETLK | libc::F_OFD_SETLK => disk.try_lock(owner, range),
        _ => wait::block_on_future("a lock on a file", disk.lock(owner, range)),
    };
    file::told(done).map(|()| 0)
}

macro_rules! maps {
    ($($function:ident)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(
            address: *mut c_void,
            length: usize,
            protection: c_int,
            flags: c_int,
            descriptor: c_int,
            offset: i64,
        ) -> *mut c_void {
            if flags & libc::MAP_ANONYMOUS == 0 && is_simulated(descriptor) {
                let request =
                    memory::Request { address: address as usize, length, protection, flags, offset: offset as u64 };
                let mapped = lookup(descriptor).and_then(|description: Rc<Description>| {
                    hosts().mappings.map(&description, &request)
                });
                // MAP_FAILED is -1, which is what an error is answered with.
                return answer(mapped) as *mut c_void;
            }
            if flags & libc::MAP_FIXED != 0 {
                forget_mappings(address, length);
            }
            let args = [address as usize, length, protection as usize, flags as usize, descriptor as usize, offset as usize];
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::SYS_mmap, args) as *mut c_void }
        }
    )*};
}

maps!(mmap mmap64);

/// The memory of mapped files, where hosted code has any.
fn mapped_files() -> Option<Rc<Hosts>> {
    if memory::any() && hosted() { existing() } else { None }
}

/// Files are mapped in a range no more.
fn forget_mappings(address: *mut c_void, length: usize) {
    if let Some(hosts) = mapped_files() {
        hosts.mappings.unmap(address as usize, length);
    }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn munmap(address: *mut c_void, length: usize) -> c_int {
    forget_mappings(address, length);
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_munmap, [address as usize, length, 0, 0, 0, 0]) as c_int }
}

/// It is variadic in C; its fifth argument is passed as that of a plain function.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn mremap(
    address: *mut c_void,
    length: usize,
    new_length: usize,
    flags: c_int,
    fixed: *mut c_void,
) -> *mut c_void {
    let args = [address as usize, length, new_length, flags as usize, fixed as usize];
    match mapped_files().and_then(|hosts| hosts.mappings.remap(args)) {
        Some(moved) => answer(moved) as *mut c_void,
        // SAFETY: the caller's arguments, handed on unchanged.
        None => unsafe { call(libc::SYS_mremap, [args[0], args[1], args[2], args[3], args[4], 0]) as *mut c_void },
    }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int {
    if let Some(hosts) = mapped_files().filter(|_| protection & libc::PROT_WRITE != 0) {
        hosts.mappings.permit_writes(address as usize, length);
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_mprotect, [address as usize, length, protection as usize, 0, 0, 0]) as c_int }
}

/// msync(2): with MS_SYNC what was stored is as durable as fdatasync(2) makes it.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn msync(address: *mut c_void, length: usize, flags: c_int) -> c_int {
    let Some(hosts) = mapped_files() else {
        // SAFETY: the caller's arguments, handed on unchanged.
        return unsafe { call(libc::SYS_msync, [address as usize, length, flags as usize, 0, 0, 0]) as c_int };
    };
    let known = libc::MS_ASYNC | libc::MS_SYNC | libc::MS_INVALIDATE;
    let wrong = flags & !known != 0 || flags & libc::MS_SYNC != 0 && flags & libc::MS_ASYNC != 0;
    if wrong || !(address as usize).is_multiple_of(PAGE) {
        return answer(Err::<c_int, _>(libc::EINVAL)) as c_int;
    }
    let synced = hosts.mappings.write_back(address as usize, length).and_then(|files| {
        let files = files.iter().filter(|_| flags & libc::MS_SYNC != 0);
        files.filter_map(|file| file.object.as_file()).try_for_each(OpenFile::sync_data)
    });
    wait::leave_if_dead();
    answer(synced.map(|()| 0)) as c_int
}

/// Copies within the kernel, which a program does by hand where there are none.
macro_rules! copies_not {
    ($($function:ident $number:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
            if hosted() {
                return answer(Err::<isize, _>(libc::ENOSYS));
            }
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::$number, [a, b, c, d, e, f]) }
        }
    )*};
}

copies_not! {
    copy_file_range SYS_copy_file_range;
    sendfile SYS_sendfile;
    sendfile64 SYS_sendfile;
    splice SYS_splice;
}
