//! Reading, writing, closing, duplicating: what all descriptors share.

use std::ffi::{c_int, c_uint, c_ulong, c_void};
use std::rc::Rc;

use libc::{iovec, off_t, size_t, ssize_t};

use super::{answer, part, part_mut};
use crate::hosting::baton::hosted;
use crate::hosting::descriptor::{
    Description, Io, close as close_simulated, install, is_simulated, lookup, own_descriptors, with_entry,
};
use crate::hosting::device::hosts;
use crate::hosting::file::OpenFile;
use crate::hosting::real::forward;
use crate::hosting::{output, pipe, wait};
use crate::syscall::call;

/// Does something with the description that a descriptor stands for.
fn with<R>(descriptor: c_int, f: impl FnOnce(&Description) -> Io<R>) -> Io<R> {
    lookup(descriptor).and_then(|description| f(&description))
}

fn is_output(descriptor: c_int) -> bool {
    (descriptor == 1 || descriptor == 2) && hosted()
}

/// What a standard stream of the process was made to stand for, if it was.
fn redirected(descriptor: c_int) -> Option<Rc<Description>> {
    if !(0..=2).contains(&descriptor) || !hosted() {
        return None;
    }
    hosts().with_process(|state| state.standard.get(&descriptor).cloned()).flatten()
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn read(descriptor: c_int, buffer: *mut c_void, length: size_t) -> ssize_t {
    if is_simulated(descriptor) {
        // SAFETY: read(2) demands a valid buffer.
        return answer(with(descriptor, |d| d.read(unsafe { part_mut(buffer, length) })));
    }
    if let Some(description) = redirected(descriptor) {
        // SAFETY: as above.
        return answer(description.read(unsafe { part_mut(buffer, length) }));
    }
    if descriptor == 0 && hosted() {
        return 0;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_read, [descriptor as usize, buffer as usize, length, 0, 0, 0]) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn write(descriptor: c_int, buffer: *const c_void, length: size_t) -> ssize_t {
    if is_simulated(descriptor) {
        if hosted() {
            wait::may_yield();
        }
        // SAFETY: write(2) demands a valid buffer.
        return answer(with(descriptor, |d| d.write(unsafe { part(buffer, length) })));
    }
    if let Some(description) = redirected(descriptor) {
        // SAFETY: as above.
        return answer(description.write(unsafe { part(buffer, length) }));
    }
    if is_output(descriptor) {
        // SAFETY: as above.
        output::write(descriptor, unsafe { part(buffer, length) });
        return length as ssize_t;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_write, [descriptor as usize, buffer as usize, length, 0, 0, 0]) }
}

/// # Safety
/// `parts` must point to `count` valid vectors.
pub(super) unsafe fn vectors<'a>(parts: *const iovec, count: c_int) -> &'a [iovec] {
    // SAFETY: the caller's promise.
    if count <= 0 { &[] } else { unsafe { std::slice::from_raw_parts(parts, count as usize) } }
}

/// Goes through the parts of a scattered buffer until one is not used up.
pub(super) fn through<T>(parts: &[iovec], mut one: impl FnMut(&iovec) -> Io<usize>, sum: impl Fn(usize) -> T) -> Io<T> {
    let mut total = 0;
    for part in parts.iter().filter(|part| part.iov_len > 0) {
        match one(part) {
            Ok(length) => {
                total += length;
                if length < part.iov_len {
                    break;
                }
            }
            Err(error) if total == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(sum(total))
}

/// Like a call that may wait, but for every part after the first.
fn read_parts(description: &Description, parts: &[iovec]) -> Io<usize> {
    let mut first = true;
    let one = |part: &iovec| {
        let may_wait = std::mem::take(&mut first);
        // SAFETY: readv(2) demands valid vectors.
        let buffer = unsafe { part_mut(part.iov_base, part.iov_len) };
        let limit = description.receive_timeout.get();
        description.attempt("readv", limit, may_wait, |object, waker| object.read(buffer, waker))
    };
    through(parts, one, |total| total)
}

pub(super) fn write_parts(description: &Description, parts: &[iovec]) -> Io<usize> {
    let mut first = true;
    let one = |piece: &iovec| {
        let may_wait = std::mem::take(&mut first);
        // SAFETY: writev(2) demands valid vectors.
        let bytes = unsafe { part(piece.iov_base, piece.iov_len) };
        let limit = description.send_timeout.get();
        description.attempt("writev", limit, may_wait, |object, waker| object.write(bytes, waker))
    };
    through(parts, one, |total| total)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn readv(descriptor: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    if is_simulated(descriptor) {
        // SAFETY: readv(2) demands valid vectors.
        return answer(with(descriptor, |d| read_parts(d, unsafe { vectors(parts, count) })));
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_readv, [descriptor as usize, parts as usize, count as usize, 0, 0, 0]) }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn writev(descriptor: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    if is_simulated(descriptor) {
        if hosted() {
            wait::may_yield();
        }
        // SAFETY: writev(2) demands valid vectors.
        return answer(with(descriptor, |d| write_parts(d, unsafe { vectors(parts, count) })));
    }
    if let Some(description) = redirected(descriptor) {
        // SAFETY: writev(2) demands valid vectors.
        return answer(write_parts(&description, unsafe { vectors(parts, count) }));
    }
    if is_output(descriptor) {
        // SAFETY: as above.
        let parts = unsafe { vectors(parts, count) };
        // SAFETY: as above.
        parts.iter().for_each(|p| output::write(descriptor, unsafe { part(p.iov_base, p.iov_len) }));
        return parts.iter().map(|p| p.iov_len).sum::<usize>() as ssize_t;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_writev, [descriptor as usize, parts as usize, count as usize, 0, 0, 0]) }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn close(descriptor: c_int) -> c_int {
    if is_simulated(descriptor) {
        return answer(close_simulated(descriptor).map(|()| 0)) as c_int;
    }
    if hosted() && (0..=2).contains(&descriptor) {
        return 0;
    }
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { call(libc::SYS_close, [descriptor as usize, 0, 0, 0, 0, 0]) as c_int }
}

/// Closes the descriptors of the process in a range, or has exec close them.
#[unsafe(no_mangle)]
pub(super) extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    if !hosted() {
        return forward!(c"close_range" as fn(c_uint, c_uint, c_int) -> c_int, first, last, flags);
    }
    let on_exec = flags & libc::CLOSE_RANGE_CLOEXEC as c_int != 0;
    let range = first as usize..=last as usize;
    for descriptor in own_descriptors().into_iter().filter(|descriptor| range.contains(&(*descriptor as usize))) {
        let _ = match on_exec {
            true => with_entry(descriptor, |entry| entry.close_on_exec = true),
            false => close_simulated(descriptor),
        };
    }
    answer(if first > last { Err(libc::EINVAL) } else { Ok(0) }) as c_int
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn closefrom(first: c_int) {
    if hosted() {
        close_range(first.max(0) as c_uint, c_uint::MAX, 0);
        return;
    }
    forward!(c"closefrom" as fn(c_int) -> c_int, first);
}

/// A second descriptor for what one stands for.
fn duplicate(descriptor: c_int, close_on_exec: bool) -> Io<c_int> {
    Ok(install(standing_for(descriptor)?, close_on_exec))
}

/// What a descriptor stands for, a standard stream included.
fn standing_for(descriptor: c_int) -> Io<Rc<Description>> {
    match descriptor {
        0..=2 => Ok(redirected(descriptor).unwrap_or_else(|| Description::new(output::Standard(descriptor)))),
        _ => lookup(descriptor),
    }
}

/// Whether it is the simulation that a descriptor of the program leads to.
fn is_of_program(descriptor: c_int) -> bool {
    is_simulated(descriptor) || hosted() && (0..=2).contains(&descriptor)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn dup(descriptor: c_int) -> c_int {
    if is_of_program(descriptor) {
        return answer(duplicate(descriptor, false)) as c_int;
    }
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { call(libc::SYS_dup, [descriptor as usize, 0, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn dup3(descriptor: c_int, onto: c_int, flags: c_int) -> c_int {
    if hosted() && (0..=2).contains(&onto) {
        let before = standing_for(descriptor)
            .map(|description| hosts().with_process(|state| state.standard.insert(onto, description)));
        return answer(before.map(|_| onto)) as c_int;
    }
    if is_of_program(descriptor) && is_simulated(onto) {
        let moved = standing_for(descriptor).and_then(|description| {
            with_entry(onto, |entry| {
                entry.close_on_exec = flags & libc::O_CLOEXEC != 0;
                std::mem::replace(&mut entry.description, description)
            })
        });
        return answer(moved.map(|_| onto)) as c_int;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_dup3, [descriptor as usize, onto as usize, flags as usize, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn dup2(descriptor: c_int, onto: c_int) -> c_int {
    if descriptor == onto {
        return descriptor;
    }
    dup3(descriptor, onto, 0)
}

/// fcntl(2) is variadic in C; on Linux for x86-64 and AArch64 its third argument is passed as that of a plain function.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn fcntl(descriptor: c_int, command: c_int, argument: usize) -> c_int {
    let duplicates = matches!(command, libc::F_DUPFD | libc::F_DUPFD_CLOEXEC);
    if is_simulated(descriptor) || duplicates && is_of_program(descriptor) {
        return answer(control(descriptor, command, argument)) as c_int;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_fcntl, [descriptor as usize, command as usize, argument, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn fcntl64(descriptor: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { fcntl(descriptor, command, argument) }
}

fn control(descriptor: c_int, command: c_int, argument: usize) -> Io<c_int> {
    if command == libc::F_GETFD && !hosted() && lookup(descriptor).is_err() {
        // The standard library asks before it closes what a dead process left behind.
        return Ok(0);
    }
    let description = standing_for(descriptor)?;
    match command {
        libc::F_DUPFD => duplicate(descriptor, false),
        libc::F_DUPFD_CLOEXEC => duplicate(descriptor, true),
        libc::F_GETFD => with_entry(descriptor, |entry| c_int::from(entry.close_on_exec)),
        libc::F_SETFD => with_entry(descriptor, |entry| {
            entry.close_on_exec = argument as c_int & libc::FD_CLOEXEC != 0;
            0
        }),
        libc::F_GETFL => {
            let blocking = if description.nonblocking.get() { libc::O_NONBLOCK } else { 0 };
            let access = description.object.as_file().map_or(libc::O_RDWR, |file| {
                file.flags.get() & !(libc::O_CREAT | libc::O_EXCL | libc::O_TRUNC | libc::O_CLOEXEC)
            });
            Ok(access | blocking)
        }
        libc::F_SETFL => {
            let flags = argument as c_int;
            description.nonblocking.set(flags & libc::O_NONBLOCK != 0);
            if let Some(file) = description.object.as_file() {
                let may_change = libc::O_APPEND | libc::O_DIRECT;
                file.flags.set(file.flags.get() & !may_change | flags & may_change);
                if let Ok(disk) = file.disk() {
                    let direct = flags & libc::O_DIRECT != 0;
                    crate::hosting::file::told(disk.set_mode(flags & libc::O_APPEND != 0, direct))?;
                }
            }
            Ok(0)
        }
        libc::F_GETLK | libc::F_SETLK | libc::F_SETLKW | libc::F_OFD_GETLK | libc::F_OFD_SETLK | libc::F_OFD_SETLKW => {
            super::files::lock(&description, command, argument as *mut libc::flock)
        }
        _ => Err(libc::EINVAL),
    }
}

/// ioctl(2), variadic as fcntl(2).
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn ioctl(descriptor: c_int, request: c_ulong, argument: usize) -> c_int {
    if is_simulated(descriptor) {
        let done = lookup(descriptor).and_then(|description| match request {
            libc::FIONBIO => {
                // SAFETY: FIONBIO demands a valid pointer to a number.
                description.nonblocking.set(unsafe { *(argument as *const c_int) } != 0);
                Ok(0)
            }
            libc::FIOCLEX => with_entry(descriptor, |entry| entry.close_on_exec = true).map(|()| 0),
            libc::FIONREAD => {
                let available = super::sockets::available(&description);
                // SAFETY: FIONREAD demands a valid pointer to a number.
                unsafe { *(argument as *mut c_int) = available };
                Ok(0)
            }
            _ => Err(libc::ENOTTY),
        });
        return answer(done) as c_int;
    }
    if hosted() && (0..=2).contains(&descriptor) {
        return answer(Err::<c_int, c_int>(libc::ENOTTY)) as c_int;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_ioctl, [descriptor as usize, request as usize, argument, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn isatty(descriptor: c_int) -> c_int {
    if hosted() || is_simulated(descriptor) {
        return answer(Err::<c_int, c_int>(libc::ENOTTY)) as c_int + 1;
    }
    let mut settings = [0u8; 256];
    let args = [descriptor as usize, libc::TCGETS as usize, settings.as_mut_ptr() as usize, 0, 0, 0];
    // SAFETY: the settings of a terminal fit the buffer.
    c_int::from(unsafe { call(libc::SYS_ioctl, args) } == 0)
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pipe2(ends: *mut c_int, flags: c_int) -> c_int {
    if hosted() {
        let (reader, writer) = pipe::pipe();
        let ends = ends.cast::<[c_int; 2]>();
        let (close_on_exec, nonblocking) = (flags & libc::O_CLOEXEC != 0, flags & libc::O_NONBLOCK != 0);
        let (reader, writer) = (Description::new(reader), Description::new(writer));
        reader.nonblocking.set(nonblocking);
        writer.nonblocking.set(nonblocking);
        // SAFETY: pipe(2) demands room for two numbers.
        unsafe { *ends = [install(reader, close_on_exec), install(writer, close_on_exec)] };
        return 0;
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_pipe2, [ends as usize, flags as usize, 0, 0, 0, 0]) as c_int }
}

#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pipe(ends: *mut c_int) -> c_int {
    // SAFETY: the caller's argument, handed on unchanged.
    unsafe { pipe2(ends, 0) }
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn eventfd(count: libc::c_uint, flags: c_int) -> c_int {
    if hosted() {
        let counter = pipe::Counter::new(u64::from(count), flags & libc::EFD_SEMAPHORE != 0);
        let description = Description::new(counter);
        description.nonblocking.set(flags & libc::EFD_NONBLOCK != 0);
        return install(description, flags & libc::EFD_CLOEXEC != 0);
    }
    // SAFETY: the caller's arguments, handed on unchanged.
    unsafe { call(libc::SYS_eventfd2, [count as usize, flags as usize, 0, 0, 0, 0]) as c_int }
}

macro_rules! at_offset {
    ($($function:ident $number:ident $pointer:ty, $turn:ident, $method:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(descriptor: c_int, buffer: $pointer, length: size_t, offset: off_t) -> ssize_t {
            if is_simulated(descriptor) {
                return answer(with(descriptor, |d| {
                    let file = d.object.as_file().ok_or(libc::ESPIPE)?;
                    let offset = u64::try_from(offset).map_err(|_| libc::EINVAL)?;
                    // SAFETY: pread(2) and pwrite(2) demand a valid buffer.
                    file.$method(unsafe { $turn(buffer, length) }, offset)
                }));
            }
            let args = [descriptor as usize, buffer as usize, length, offset as usize, 0, 0];
            // SAFETY: the caller's arguments, handed on unchanged.
            unsafe { call(libc::$number, args) }
        }
    )*};
}

at_offset! {
    pread SYS_pread64 *mut c_void, part_mut, read_at;
    pread64 SYS_pread64 *mut c_void, part_mut, read_at;
    pwrite SYS_pwrite64 *const c_void, part, write_at;
    pwrite64 SYS_pwrite64 *const c_void, part, write_at;
}

/// Goes through the parts of a scattered buffer at an offset; at -1, where the position is.
fn parts_at(
    descriptor: c_int,
    (parts, count): (*const iovec, c_int),
    offset: off_t,
    one: impl Fn(&OpenFile, &iovec, Option<u64>) -> Io<usize>,
) -> Io<usize> {
    with(descriptor, |description| {
        let file = description.object.as_file().ok_or(libc::ESPIPE)?;
        let at_position = offset == -1;
        let mut at = if at_position { 0 } else { u64::try_from(offset).map_err(|_| libc::EINVAL)? };
        // SAFETY: preadv(2) and pwritev(2) demand valid vectors.
        let parts = unsafe { vectors(parts, count) };
        let one = |part: &iovec| {
            let length = one(file, part, (!at_position).then_some(at))?;
            at += length as u64;
            Ok(length)
        };
        through(parts, one, |total| total)
    })
}

macro_rules! parts_at_offset {
    ($($function:ident $second:ident $name:literal $second_name:literal, $turn:ident, $method:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $function(
            descriptor: c_int,
            parts: *const iovec,
            count: c_int,
            offset: off_t,
        ) -> ssize_t {
            if is_simulated(descriptor) {
                if offset < 0 {
                    return answer(Err::<isize, _>(libc::EINVAL));
                }
                // SAFETY: the caller's arguments, handed on unchanged.
                return unsafe { $second(descriptor, parts, count, offset, 0) };
            }
            forward!($name as fn(c_int, *const iovec, c_int, off_t) -> ssize_t, descriptor, parts, count, offset)
        }

        /// With flags, all of which are advice but RWF_APPEND.
        #[unsafe(no_mangle)]
        pub(super) unsafe extern "C" fn $second(
            descriptor: c_int,
            parts: *const iovec,
            count: c_int,
            offset: off_t,
            flags: c_int,
        ) -> ssize_t {
            if is_simulated(descriptor) {
                if flags & libc::RWF_APPEND != 0 {
                    return answer(Err::<isize, _>(libc::EOPNOTSUPP));
                }
                let done = parts_at(descriptor, (parts, count), offset, |file, one, at| {
                    // SAFETY: preadv(2) and pwritev(2) demand valid buffers.
                    file.$method(at, unsafe { $turn(one.iov_base, one.iov_len) })
                });
                let synced = done.and_then(|length| match flags & (libc::RWF_DSYNC | libc::RWF_SYNC) {
                    0 => Ok(length),
                    _ => super::files::with_file(descriptor, OpenFile::sync).map(|()| length),
                });
                return answer(synced);
            }
            forward!(
                $second_name as fn(c_int, *const iovec, c_int, off_t, c_int) -> ssize_t,
                descriptor,
                parts,
                count,
                offset,
                flags
            )
        }
    )*};
}

parts_at_offset! {
    preadv preadv2 c"preadv" c"preadv2", part_mut, read_from;
    preadv64 preadv64v2 c"preadv64" c"preadv64v2", part_mut, read_from;
    pwritev pwritev2 c"pwritev" c"pwritev2", part, write_to;
    pwritev64 pwritev64v2 c"pwritev64" c"pwritev64v2", part, write_to;
}
