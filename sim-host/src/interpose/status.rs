//! What stat(2) and its many twins tell.

use std::ffi::{c_char, c_int, c_uint};

use sim_disk::posix::{self, Follow, VolumeStatus};

use super::answer;
use super::files::{beside, path_of, with_file};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{Io, is_simulated, lookup};
use crate::hosting::file::{Status, absolute, status, told};
use crate::hosting::node::is_real;
use crate::hosting::real::forward;
use crate::hosting::wait;
use crate::syscall::call;

/// The device that a volume is on: one for each machine, and for each life of its process. SQLite keeps what it knows of
/// locks in a static, by device and inode, and a process that was killed leaves it there.
fn device() -> u64 {
    let process = sim_core::device::process("stat");
    libc::makedev(8 + process.incarnation.0, process.node.0)
}

fn stat_of(found: &Status) -> libc::stat64 {
    // SAFETY: an all-zero stat is one that says nothing.
    let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
    (stat.st_dev, stat.st_ino, stat.st_mode) = (device(), found.inode, found.mode);
    (stat.st_nlink, stat.st_size, stat.st_blocks) = (found.links as _, found.size as i64, found.blocks as i64);
    stat.st_blksize = 4096;
    let parts = |ns: u64| ((ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as i64);
    (stat.st_atime, stat.st_atime_nsec) = parts(found.times[0]);
    (stat.st_mtime, stat.st_mtime_nsec) = parts(found.times[1]);
    (stat.st_ctime, stat.st_ctime_nsec) = parts(found.times[2]);
    stat
}

/// Of a descriptor, whatever it stands for.
fn status_of(descriptor: c_int) -> Io<Status> {
    if (0..=2).contains(&descriptor) {
        return Ok(Status::plain(libc::S_IFIFO | 0o600, 0));
    }
    let description = lookup(descriptor)?;
    match (description.object.as_file(), description.object.as_socket()) {
        (Some(file), _) => file.status(),
        (None, Some(_)) => Ok(Status::plain(libc::S_IFSOCK | 0o777, 0)),
        (None, None) => Ok(Status::plain(libc::S_IFIFO | 0o600, 0)),
    }
}

/// Of a path beside a directory, or of the directory itself where the path is empty and that is asked for.
///
/// # Safety
/// `path` must end in a zero byte.
unsafe fn status_at(directory: c_int, path: *const c_char, flags: c_int) -> Io<Status> {
    wait::leave_if_dead();
    // SAFETY: the caller's promise.
    let path = unsafe { path_of(path) };
    if path.as_os_str().is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
        return status_of(directory);
    }
    let found = beside(directory, path).and_then(|path| status(&path, flags & libc::AT_SYMLINK_NOFOLLOW == 0));
    wait::leave_if_dead();
    found
}

/// Whether the simulation answers for a path beside a directory, which is the directory itself where it is empty.
///
/// # Safety
/// `path` must be null or end in a zero byte.
unsafe fn is_ours(directory: c_int, path: *const c_char) -> bool {
    if is_simulated(directory) {
        return true;
    }
    if !hosted() || path.is_null() {
        return false;
    }
    // SAFETY: the caller's promise.
    let path = unsafe { path_of(path) };
    // What is read for real has a real descriptor.
    let is_real_descriptor = path.as_os_str().is_empty() && directory > 2;
    !is_real_descriptor && !is_real(path)
}

macro_rules! stats {
    ($($stat:ident $lstat:ident $fstat:ident $fstatat:ident $type:ty;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $fstatat(directory: c_int, path: *const c_char, out: *mut $type, flags: c_int) -> c_int {
            // SAFETY: stat(2) demands a string that ends in a zero byte, and room for the answer.
            unsafe {
                if is_ours(directory, path) {
                    return answer(status_at(directory, path, flags).map(|found| {
                        out.cast::<libc::stat64>().write(stat_of(&found));
                        0
                    })) as c_int;
                }
                let args = [directory as usize, path as usize, out as usize, flags as usize, 0, 0];
                call(libc::SYS_newfstatat, args) as c_int
            }
        }

        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $stat(path: *const c_char, out: *mut $type) -> c_int {
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { $fstatat(libc::AT_FDCWD, path, out, 0) }
        }

        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $lstat(path: *const c_char, out: *mut $type) -> c_int {
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { $fstatat(libc::AT_FDCWD, path, out, libc::AT_SYMLINK_NOFOLLOW) }
        }

        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $fstat(descriptor: c_int, out: *mut $type) -> c_int {
            if is_simulated(descriptor) || (hosted() && (0..=2).contains(&descriptor)) {
                return answer(status_of(descriptor).map(|found| {
                    // SAFETY: fstat(2) demands room for the answer.
                    unsafe { out.cast::<libc::stat64>().write(stat_of(&found)) };
                    0
                })) as c_int;
            }
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::SYS_fstat, [descriptor as usize, out as usize, 0, 0, 0, 0]) as c_int }
        }
    )*};
}

stats! {
    stat lstat fstat fstatat libc::stat;
    stat64 lstat64 fstat64 fstatat64 libc::stat64;
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn statx(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    out: *mut libc::statx,
) -> c_int {
    // SAFETY: statx(2) demands a string that ends in a zero byte, and room for the answer.
    unsafe {
        if !is_ours(directory, path) {
            let args = [directory as usize, path as usize, flags as usize, mask as usize, out as usize, 0];
            return call(libc::SYS_statx, args) as c_int;
        }
        answer(status_at(directory, path, flags).map(|found| {
            let mut told: libc::statx = std::mem::zeroed();
            told.stx_mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
            (told.stx_blksize, told.stx_nlink, told.stx_mode) = (4096, found.links as u32, found.mode as u16);
            (told.stx_ino, told.stx_size, told.stx_blocks) = (found.inode, found.size, found.blocks);
            let stamps = [&mut told.stx_atime, &mut told.stx_mtime, &mut told.stx_ctime, &mut told.stx_btime];
            for (stamp, ns) in stamps.into_iter().zip([found.times[0], found.times[1], found.times[2], found.times[2]])
            {
                (stamp.tv_sec, stamp.tv_nsec) = ((ns / 1_000_000_000) as i64, (ns % 1_000_000_000) as u32);
            }
            (told.stx_dev_major, told.stx_dev_minor) = (libc::major(device()), libc::minor(device()));
            out.write(told);
            0
        })) as c_int
    }
}

/// The times to set: `None` leaves one as it is.
///
/// # Safety
/// `times` must be null or point to two valid times.
unsafe fn times_of(times: *const libc::timespec) -> Io<[Option<u64>; 2]> {
    let now = sim_core::ambient::wall_ns();
    if times.is_null() {
        return Ok([now, now]);
    }
    // SAFETY: the caller's promise.
    let [read, modified] = unsafe { *times.cast::<[libc::timespec; 2]>() };
    let one = |time: libc::timespec| match time.tv_nsec {
        libc::UTIME_OMIT => Ok(None),
        libc::UTIME_NOW => Ok(now),
        nanos @ 0..1_000_000_000 => Ok(Some(time.tv_sec as u64 * 1_000_000_000 + nanos as u64)),
        _ => Err(libc::EINVAL),
    };
    Ok([one(read)?, one(modified)?])
}

/// Sets the times of a path beside a directory, or of an open file where the path is null.
///
/// # Safety
/// `path` must be null or end in a zero byte, `times` be null or point to two times.
unsafe fn set_times(directory: c_int, path: *const c_char, times: *const libc::timespec, flags: c_int) -> Io<c_int> {
    // SAFETY: the caller's promise.
    let [read, modified] = unsafe { times_of(times) }?;
    if path.is_null() {
        return with_file(directory, |file| told(file.disk()?.set_times(read, modified))).map(|()| 0);
    }
    let follow = if flags & libc::AT_SYMLINK_NOFOLLOW == 0 { Follow::Always } else { Follow::NotLast };
    // SAFETY: the caller's promise.
    let path = beside(directory, unsafe { path_of(path) })?;
    told(posix::set_times(&absolute(&path), follow, read, modified)).map(|()| 0)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn utimensat(
    directory: c_int,
    path: *const c_char,
    times: *const libc::timespec,
    flags: c_int,
) -> c_int {
    // SAFETY: utimensat(2) demands a string that ends in a zero byte or null, and times that are valid or null.
    unsafe {
        if is_ours(directory, path) {
            return answer(set_times(directory, path, times, flags)) as c_int;
        }
        let args = [directory as usize, path as usize, times as usize, flags as usize, 0, 0];
        call(libc::SYS_utimensat, args) as c_int
    }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn futimens(descriptor: c_int, times: *const libc::timespec) -> c_int {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { utimensat(descriptor, std::ptr::null(), times, 0) }
}

/// Two times in microseconds, as those of nanoseconds.
///
/// # Safety
/// `times` must be null or point to two valid times.
unsafe fn of_micros(times: *const libc::timeval) -> Option<[libc::timespec; 2]> {
    // SAFETY: the caller's promise.
    let times = unsafe { times.cast::<[libc::timeval; 2]>().as_ref() }?;
    // What is no part of a second is not to become one of the numbers that utimensat(2) has a meaning for.
    let nanos = |micros: i64| if (0..1_000_000).contains(&micros) { micros * 1_000 } else { -1 };
    Some(times.map(|time| libc::timespec { tv_sec: time.tv_sec, tv_nsec: nanos(time.tv_usec) }))
}

/// The older functions that set times, by the newest.
macro_rules! older_times {
    ($($function:ident($($argument:ident: $type:ty),*; $times:ident: $times_type:ty => $convert:expr) at $directory:expr, $path:expr, $flags:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function($($argument: $type,)* $times: *const $times_type) -> c_int {
            // SAFETY: the functions demand a string that ends in a zero byte, and times that are valid or null.
            unsafe {
                let times: Option<[libc::timespec; 2]> = $convert;
                let times = times.as_ref().map_or(std::ptr::null(), |times| times.as_ptr());
                utimensat($directory, $path, times, $flags)
            }
        }
    )*};
}

const HERE: c_int = libc::AT_FDCWD;

older_times! {
    utime(path: *const c_char; times: libc::utimbuf => times.as_ref().map(|times| {
        [times.actime, times.modtime].map(|second| libc::timespec { tv_sec: second, tv_nsec: 0 })
    })) at HERE, path, 0;
    utimes(path: *const c_char; times: libc::timeval => of_micros(times)) at HERE, path, 0;
    lutimes(path: *const c_char; times: libc::timeval => of_micros(times)) at HERE, path, libc::AT_SYMLINK_NOFOLLOW;
    futimes(descriptor: c_int; times: libc::timeval => of_micros(times)) at descriptor, std::ptr::null(), 0;
    futimesat(directory: c_int, path: *const c_char; times: libc::timeval => of_micros(times)) at directory, path, 0;
}

/// The numbers of the volume, for statvfs(3) and statfs(2).
trait OfVolume {
    fn of(found: &VolumeStatus) -> Self;
}

macro_rules! of_volume {
    ($($type:ty: $length:ident, $more:expr;)*) => {$(
        impl OfVolume for $type {
            fn of(found: &VolumeStatus) -> Self {
                // SAFETY: a structure of numbers, for which zeros are valid.
                let mut told: $type = unsafe { std::mem::zeroed() };
                (told.f_bsize, told.f_frsize) = (found.block_size as _, found.block_size as _);
                (told.f_blocks, told.f_bfree, told.f_bavail) = (found.blocks, found.free_blocks, found.free_blocks);
                (told.f_files, told.f_ffree, told.$length) = (found.inodes, found.free_inodes, 255);
                let more: fn(&mut $type) = $more;
                more(&mut told);
                told
            }
        }
    )*};
}

/// What statfs(2) says an ext4 is (EXT4_SUPER_MAGIC).
const MAGIC: libc::c_long = 0xef53;

of_volume! {
    libc::statvfs: f_namemax, |told| told.f_favail = told.f_ffree;
    libc::statvfs64: f_namemax, |told| told.f_favail = told.f_ffree;
    libc::statfs: f_namelen, |told| told.f_type = MAGIC as _;
    libc::statfs64: f_namelen, |told| told.f_type = MAGIC as _;
}

/// # Safety
/// `out` must be valid.
unsafe fn volume<T: OfVolume>(out: *mut T) -> Io<c_int> {
    let found = told(posix::volume_status())?;
    // SAFETY: the caller's promise.
    unsafe { out.write(T::of(&found)) };
    Ok(0)
}

macro_rules! volumes {
    ($($of_path:ident $path_name:literal $of_descriptor:ident $descriptor_name:literal $type:ty;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $of_path(path: *const c_char, out: *mut $type) -> c_int {
            if !hosted() {
                return forward!($path_name as fn(*const c_char, *mut $type) -> c_int, path, out);
            }
            // SAFETY: statvfs(3) demands a string that ends in a zero byte, and room for the answer.
            answer(unsafe { status_at(HERE, path, 0).and_then(|_| volume(out)) }) as c_int
        }

        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $of_descriptor(descriptor: c_int, out: *mut $type) -> c_int {
            if !hosted() {
                return forward!($descriptor_name as fn(c_int, *mut $type) -> c_int, descriptor, out);
            }
            // SAFETY: as above.
            answer(lookup(descriptor).and_then(|_| unsafe { volume(out) })) as c_int
        }
    )*};
}

volumes! {
    statvfs c"statvfs" fstatvfs c"fstatvfs" libc::statvfs;
    statvfs64 c"statvfs64" fstatvfs64 c"fstatvfs64" libc::statvfs64;
    statfs c"statfs" fstatfs c"fstatfs" libc::statfs;
    statfs64 c"statfs64" fstatfs64 c"fstatfs64" libc::statfs64;
}
