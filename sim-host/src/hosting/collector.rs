//! Gives the memory back that dead lives have left, as far as nobody can reach it.
//!
//! A search as that of Boehm and Weiser ("Garbage collection in an uncooperative environment", 1988): every word that the
//! process can write to and that could be an address in a dead life's object keeps that object, and what its own words
//! could point to. No destructor runs and no program notices; a dead program cannot hide a pointer from itself, and those
//! that outlive it have theirs in statics, stacks and heaps, which are looked through.

use std::arch::asm;
use std::ffi::CStr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::PAGE;
use super::heap::{self, Locked, Span};
use crate::syscall::raw;

/// So many bytes are buried before a search is worth it; at least.
const WORTH: usize = 1 << 20;
/// A search is worth it once so large a part of what it must look at was buried.
const PART: usize = 8;

static NEXT: AtomicUsize = AtomicUsize::new(WORTH);

/// Looks through what was buried, if that is worth it. Called on the thread of the simulation, while no program runs.
pub(super) fn collect() {
    // In a process with more than this run another thread might unmap what is looked at, or move its pointers.
    if heap::has_its_own() || !crate::leak::has_process() {
        return;
    }
    let region = heap::lock();
    if region.unseen < NEXT.load(Ordering::Relaxed) {
        return;
    }
    let Some(pages) = File::open(c"/proc/self/pagemap") else { return };
    let Some(map) = File::open(c"/proc/self/maps").map(|maps| maps.read_all()) else { return };
    let mut search = Search { region, pages, found: Vec::new(), seen: 0 };
    search.look_at_everything(&String::from_utf8_lossy(&map));
    search.sweep();
    NEXT.store(WORTH.max(search.seen / PART), Ordering::Relaxed);
}

/// A real file, read while nothing of a program may be called.
struct File(usize);

impl File {
    fn open(name: &CStr) -> Option<File> {
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
        // SAFETY: a name that ends in a zero byte.
        let file = unsafe { raw(libc::SYS_openat, [libc::AT_FDCWD as usize, name.as_ptr() as usize, flags, 0, 0, 0]) };
        usize::try_from(file).ok().map(File)
    }

    fn read_all(&self) -> Vec<u8> {
        let (mut all, mut part) = (Vec::new(), [0u8; 4096]);
        loop {
            // SAFETY: room of ours, of the length that is told.
            let read = unsafe { raw(libc::SYS_read, [self.0, part.as_mut_ptr() as usize, part.len(), 0, 0, 0]) };
            let Some(length @ 1..) = usize::try_from(read).ok() else { return all };
            all.extend_from_slice(&part[..length]);
        }
    }

    fn read_at(&self, words: &mut [u64], offset: usize) -> usize {
        let args = [self.0, words.as_mut_ptr() as usize, size_of_val(words), offset, 0, 0];
        // SAFETY: as above.
        unsafe { raw(libc::SYS_pread64, args) }.max(0) as usize / size_of::<u64>()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: a descriptor of ours.
        unsafe { raw(libc::SYS_close, [self.0, 0, 0, 0, 0, 0]) };
    }
}

struct Search {
    region: Locked,
    /// Says which pages there are (/proc/pid/pagemap).
    pages: File,
    /// Objects that are reached and were not looked at yet: their addresses with all bits turned, lest what is left of
    /// this list keeps them the next time.
    found: Vec<usize>,
    /// Bytes looked at.
    seen: usize,
}

/// The addresses of a line of /proc/self/maps that may hold pointers: what is private and can be written to.
fn addresses(line: &str) -> Option<Range<usize>> {
    let mut words = line.split_ascii_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let wanted = words.next()? == "rw-p";
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    wanted.then_some(number(start)?..number(end)?)
}

/// Whether an entry of the page map is of a page that there is, in memory or swapped out.
fn is_there(entry: u64) -> bool {
    entry >> 62 != 0
}

impl Search {
    fn look_at_everything(&mut self, map: &str) {
        let registers = registers();
        let range = registers.as_ptr_range();
        self.look_at(range.start as usize..range.end as usize);
        let (ours, table) = (self.region.addresses(), self.region.table());
        let overlaps = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        for part in map.lines().filter_map(addresses) {
            if !overlaps(&part, &ours) && !overlaps(&part, &table) {
                self.look_at_pages(part);
            }
        }
        let mut heap = self.region.heaps;
        // SAFETY: heaps that are not buried, and their spans, while the lock is held.
        while let Some(living) = unsafe { heap.as_ref() } {
            let mut span = living.spans;
            // SAFETY: as above.
            while let Some(part) = unsafe { span.as_ref() } {
                for object in objects(part).filter(|place| part.is_used(*place)) {
                    self.look_at_pages(part.object(object)..part.object(object) + part.size);
                }
                span = part.next;
            }
            heap = living.next;
        }
        self.follow();
    }

    /// Looks at what there is of a range of addresses, which may be mostly empty.
    fn look_at_pages(&mut self, range: Range<usize>) {
        const AT_ONCE: usize = 512;
        if range.len() < 4 * PAGE {
            return self.look_at(range);
        }
        let mut entries = [0; AT_ONCE];
        let mut page = range.start & !(PAGE - 1);
        while page < range.end {
            let asked = AT_ONCE.min((range.end - page).div_ceil(PAGE));
            let told = self.pages.read_at(&mut entries[..asked], page / PAGE * size_of::<u64>());
            for entry in &entries[..told] {
                if is_there(*entry) {
                    self.look_at(page.max(range.start)..range.end.min(page + PAGE));
                }
                page += PAGE;
            }
            if told < asked {
                return;
            }
        }
    }

    fn look_at(&mut self, range: Range<usize>) {
        const WORD: usize = size_of::<usize>();
        let ours = self.region.addresses();
        self.seen += range.len();
        let words = range.start.next_multiple_of(WORD)..range.end & !(WORD - 1);
        for word in words.step_by(WORD) {
            // SAFETY: memory that is mapped, in a process whose other threads wait or write, and unmap nothing.
            let address = unsafe { AtomicUsize::from_ptr(word as *mut usize) }.load(Ordering::Relaxed);
            if address.wrapping_sub(ours.start) < ours.end - ours.start {
                self.reach(address);
            }
        }
    }

    fn reach(&mut self, address: usize) {
        let Some(span) = self.region.span_of(address).filter(|span| span.heap.is_null()) else { return };
        let Some(place) = span.place_of(address).filter(|place| span.is_used(*place)) else { return };
        let (word, bit) = (&mut span.reached[place / 64], 1 << (place % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.found.push(!span.object(place));
        }
    }

    fn follow(&mut self) {
        while let Some(object) = self.found.pop().map(|turned| !turned) {
            let size = self.region.span_of(object).map_or(0, |span| span.size);
            self.look_at_pages(object..object + size);
        }
    }

    /// Gives everything back that was not reached.
    fn sweep(&mut self) {
        let mut link = &raw mut self.region.buried;
        // SAFETY: the list of buried spans, while the lock is held; a span is taken off it before it is released. What was
        // not reached is nobody's.
        unsafe {
            while let Some(span) = (*link).as_mut() {
                if span.reached.iter().all(|word| *word == 0) {
                    *link = span.next;
                    self.region.release(span);
                    continue;
                }
                span.used = std::mem::take(&mut span.reached);
                let mut free_from = span.object(0);
                for place in objects(span).filter(|place| span.is_used(*place)) {
                    give_back_pages(free_from..span.object(place));
                    free_from = span.object(place + 1);
                }
                give_back_pages(free_from..span.end());
                link = &raw mut span.next;
            }
        }
        self.region.unseen = 0;
    }
}

fn objects(span: &Span) -> Range<usize> {
    0..span.objects as usize
}

/// # Safety
/// Nobody may need what is there.
unsafe fn give_back_pages(range: Range<usize>) {
    // SAFETY: the caller's promise.
    unsafe { heap::give_back(range.start.next_multiple_of(PAGE), range.end & !(PAGE - 1)) };
}

/// What callers may hold in registers rather than on the stack.
#[inline(never)]
fn registers() -> [usize; 10] {
    let mut all = [0; 10];
    #[cfg(target_arch = "x86_64")]
    // SAFETY: writes to places of ours.
    unsafe {
        asm!(
            "mov [{0}], rbx", "mov [{0} + 8], rbp", "mov [{0} + 16], r12", "mov [{0} + 24], r13",
            "mov [{0} + 32], r14", "mov [{0} + 40], r15",
            in(reg) all.as_mut_ptr(),
            options(nostack, preserves_flags),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        asm!(
            "stp x19, x20, [{0}]", "stp x21, x22, [{0}, 16]", "stp x23, x24, [{0}, 32]",
            "stp x25, x26, [{0}, 48]", "stp x27, x28, [{0}, 64]",
            in(reg) all.as_mut_ptr(),
            options(nostack, preserves_flags),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_memory_that_can_be_written_to_is_looked_at() {
        assert_eq!(addresses("00e24000-011f7000 rw-p 00000000 00:00 0           [heap]"), Some(0xe2_4000..0x11f_7000));
        assert_eq!(
            addresses("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 "),
            Some(0x7f00_0000_0000..0x7f00_0000_1000)
        );
        assert_eq!(addresses("00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/x"), None);
        assert_eq!(addresses("00400000-00452000 rw-s 00000000 08:02 173521      /dev/shm/x"), None);
        assert_eq!(addresses(""), None);
    }
}
