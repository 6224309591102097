//! The memory of hosted programs: each life of a node has a heap of its own.
//!
//! A thread that is killed runs no destructor, so what it had on the heap is nobody's from then on, and still a static of
//! the process, another node or the kernels may point into it. So a heap that is buried is looked through by
//! [`super::collector`], which gives the pages back that nobody can reach. Its addresses are never used again: which they
//! are would depend on what a conservative search took for a pointer.
//!
//! Memory lies in *spans* of equal objects; a bit says which of them are allocated. All of it is in one reserved range of
//! addresses, so that a pointer tells whose it is. Nothing here allocates: it is what allocation is made of.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::ops::{Deref, DerefMut, Range};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use super::{PAGE, real};
use crate::syscall::raw;

/// Spans begin at, and are as long as, multiples of this.
pub(super) const UNIT: usize = 16 << 10;
/// What is reserved: addresses, no memory.
const RESERVED: usize = 1 << 40;
const UNITS: usize = RESERVED / UNIT;
/// Where, if the kernel lets us: the same addresses in every process.
const PLACE: usize = 1 << 44;

/// Objects of a span at most: those of the least size in one unit.
const OBJECTS: usize = UNIT / LEAST;
const LEAST: usize = 16;
/// Objects up to this size share a span.
const SHARED: usize = 32 << 10;
/// A span of one object gives so much memory back when that is freed.
const GIVEN_BACK: usize = 1 << 20;

/// Sizes are 16 to 128 in steps of 16, and from there on four to each doubling.
const CLASSES: usize = 8 + 4 * (40 - 7);

/// The class of a size of at least one byte.
fn class_of(size: usize) -> usize {
    if size <= 128 {
        return size.div_ceil(LEAST) - 1;
    }
    let doubling = (size - 1).ilog2() as usize;
    8 + (doubling - 7) * 4 + ((size - 1) >> (doubling - 2) & 3)
}

fn size_of_class(class: usize) -> usize {
    match class.checked_sub(8) {
        None => (class + 1) * LEAST,
        Some(over) => (5 + over % 4) << (over / 4 + 5),
    }
}

/// The head of a span; its objects follow.
#[repr(C)]
pub(super) struct Span {
    /// Null: of a heap that is buried.
    pub(super) heap: *mut Heap,
    /// The next span of the heap, or of those that are buried.
    pub(super) next: *mut Span,
    /// Of an object.
    pub(super) size: usize,
    /// 2^32 by `size`, rounded up.
    inverse: u64,
    pub(super) units: u32,
    pub(super) objects: u32,
    pub(super) used: [u64; OBJECTS / 64],
    pub(super) reached: [u64; OBJECTS / 64],
}

const HEAD: usize = size_of::<Span>().next_multiple_of(64);

impl Span {
    pub(super) fn start(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    pub(super) fn end(&self) -> usize {
        self.start() + self.units as usize * UNIT
    }

    pub(super) fn object(&self, place: usize) -> usize {
        self.start() + HEAD + place * self.size
    }

    /// The place of the object that an address is in.
    pub(super) fn place_of(&self, address: usize) -> Option<usize> {
        let offset = (address - self.start()).checked_sub(HEAD)?;
        // Exact, since the offset of an object that shares its span times its size is less than 2^32.
        let place = if self.objects == 1 { 0 } else { ((offset as u64 * self.inverse) >> 32) as usize };
        (place < self.objects as usize).then_some(place)
    }

    pub(super) fn is_used(&self, place: usize) -> bool {
        self.used[place / 64] >> (place % 64) & 1 == 1
    }
}

/// An object that is free holds the address of the next.
struct Free {
    next: *mut Free,
}

#[repr(C)]
struct Class {
    free: *mut Free,
    /// The span whose objects were not all allocated once, and how many of them were.
    span: *mut Span,
    begun: usize,
}

/// The heap of a life. It lies in its own memory.
#[repr(C)]
pub(super) struct Heap {
    pub(super) next: *mut Heap,
    pub(super) spans: *mut Span,
    /// Bytes of the objects that are allocated.
    used: usize,
    classes: [Class; CLASSES],
}

/// What the lock protects.
pub(super) struct Region {
    /// Where the next span begins.
    pub(super) top: usize,
    /// By unit: how far it is into its span, and one; 0: of no span.
    units: *mut u32,
    pub(super) heaps: *mut Heap,
    /// Spans of buried heaps.
    pub(super) buried: *mut Span,
    /// About so many bytes were buried since they were looked through.
    pub(super) unseen: usize,
}

struct Guarded(UnsafeCell<Region>);

// SAFETY: reached by way of `lock` only.
unsafe impl Sync for Guarded {}

static REGION: Guarded =
    Guarded(UnsafeCell::new(Region { top: 0, units: null_mut(), heaps: null_mut(), buried: null_mut(), unseen: 0 }));
static LOCK: AtomicBool = AtomicBool::new(false);
/// Where the reserved addresses begin, and how many they are: 0 before the first heap.
static BASE: AtomicUsize = AtomicUsize::new(0);
static LENGTH: AtomicUsize = AtomicUsize::new(0);
/// Memory of the C library's that hosted threads have freed. They do not enter the C library for it, which would keep
/// for each thread what it frees, and lose that with a thread that is killed.
static FOREIGN: AtomicPtr<Free> = AtomicPtr::new(null_mut());

thread_local! {
    /// That of the life whose thread this is.
    static HEAP: Cell<*mut Heap> = const { Cell::new(null_mut()) };
}

/// The region, for the calling thread alone. What is done with it must not allocate.
pub(super) struct Locked(());

pub(super) fn lock() -> Locked {
    while LOCK.swap(true, Ordering::Acquire) {
        // SAFETY: takes no argument.
        unsafe { raw(libc::SYS_sched_yield, [0; 6]) };
    }
    Locked(())
}

impl Deref for Locked {
    type Target = Region;

    fn deref(&self) -> &Region {
        // SAFETY: the lock is held.
        unsafe { &*REGION.0.get() }
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Region {
        // SAFETY: the lock is held.
        unsafe { &mut *REGION.0.get() }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        LOCK.store(false, Ordering::Release);
    }
}

/// Reserves addresses, at a place if that is free. `None`: the kernel refuses.
fn reserve(place: Option<usize>, length: usize) -> Option<usize> {
    let protection = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    let ask = |place: usize, flags: c_int| {
        // SAFETY: new memory, which replaces none.
        let address = unsafe { raw(libc::SYS_mmap, [place, length, protection, flags as usize, usize::MAX, 0]) };
        (address > 0).then_some(address as usize)
    };
    let there = place.and_then(|place| ask(place, flags));
    let address = there.or_else(|| ask(0, flags & !libc::MAP_FIXED_NOREPLACE))?;
    // SAFETY: advice about memory that is ours. A huge page would be real memory for a few objects.
    unsafe { raw(libc::SYS_madvise, [address, length, libc::MADV_NOHUGEPAGE as usize, 0, 0, 0]) };
    Some(address)
}

/// Gives the memory of whole pages back. Their addresses stay, and read as zeros.
///
/// # Safety
/// Nobody may need what is there.
pub(super) unsafe fn give_back(start: usize, end: usize) {
    if start < end {
        // SAFETY: the caller's promise.
        unsafe { raw(libc::SYS_madvise, [start, end - start, libc::MADV_DONTNEED as usize, 0, 0, 0]) };
    }
}

impl Region {
    /// The addresses that spans have.
    pub(super) fn addresses(&self) -> Range<usize> {
        BASE.load(Ordering::Relaxed)..self.top
    }

    /// The table of units, which is no part of a program.
    pub(super) fn table(&self) -> Range<usize> {
        let start = self.units as usize;
        start..start + UNITS * size_of::<u32>()
    }

    fn begin(&mut self) -> bool {
        if self.top != 0 {
            return true;
        }
        let Some(units) = reserve(None, UNITS * size_of::<u32>()) else { return false };
        let Some(base) = reserve(Some(PLACE), RESERVED) else { return false };
        self.units = units as *mut u32;
        self.top = base.next_multiple_of(UNIT);
        BASE.store(base, Ordering::Relaxed);
        LENGTH.store(RESERVED, Ordering::Relaxed);
        true
    }

    fn unit(&self, address: usize) -> *mut u32 {
        // SAFETY: the table has a place for every unit of the reserved addresses.
        unsafe { self.units.add((address - BASE.load(Ordering::Relaxed)) / UNIT) }
    }

    /// The span that an address is in.
    #[inline]
    pub(super) fn span_of(&self, address: usize) -> Option<&'static mut Span> {
        if !self.addresses().contains(&address) {
            return None;
        }
        // SAFETY: a place of the table, as above.
        let into = (unsafe { *self.unit(address) } as usize).checked_sub(1)?;
        let start = (address & !(UNIT - 1)) - into * UNIT;
        // SAFETY: a span begins there, as the table says; it is used while the lock is held.
        Some(unsafe { &mut *(start as *mut Span) })
    }

    /// A new span for objects of a size, which is that of a class.
    fn span(&mut self, heap: *mut Heap, size: usize) -> Option<*mut Span> {
        let units = (HEAD + if size <= SHARED { 4 * size } else { size }).div_ceil(UNIT);
        let end = self.top + units * UNIT;
        if end > BASE.load(Ordering::Relaxed) + RESERVED {
            return None;
        }
        let objects = if size <= SHARED { (units * UNIT - HEAD) / size } else { 1 };
        let span = self.top as *mut Span;
        for into in 0..units {
            // SAFETY: a place of the table.
            unsafe { *self.unit(self.top + into * UNIT) = into as u32 + 1 };
        }
        self.top = end;
        // SAFETY: fresh memory, at a multiple of a page. All zeros are a span without objects; and the heap is this
        // lock's, or is about to be made in this span.
        unsafe {
            (*span).heap = heap;
            (*span).size = size;
            (*span).inverse = (1u64 << 32).div_ceil(size as u64);
            (*span).units = units as u32;
            (*span).objects = objects as u32;
        }
        Some(span)
    }

    /// An object of at least so many bytes, and whether it was never used, and so is all zeros. `None`: there is no room.
    fn take(&mut self, heap: &mut Heap, size: usize) -> Option<(usize, bool)> {
        let number = class_of(size.max(1));
        let this = &raw mut *heap;
        let class = heap.classes.get_mut(number)?;
        let (span, place, fresh) = if class.free.is_null() {
            // SAFETY: a span of this heap, while the lock is held.
            let full = unsafe { class.span.as_ref() }.is_none_or(|span| class.begun == span.objects as usize);
            if full {
                let span = self.span(this, size_of_class(number))?;
                // SAFETY: as above.
                unsafe { (*span).next = heap.spans };
                (heap.spans, class.span, class.begun) = (span, span, 0);
            }
            class.begun += 1;
            // SAFETY: as above.
            (unsafe { &mut *class.span }, class.begun - 1, true)
        } else {
            let free = class.free;
            let span = self.span_of(free as usize)?;
            // SAFETY: an object that is free, and therefore says which is the next.
            class.free = unsafe { (*free).next };
            let place = span.place_of(free as usize)?;
            (span, place, false)
        };
        span.used[place / 64] |= 1 << (place % 64);
        heap.used += span.size;
        Some((span.object(place), fresh))
    }

    /// Frees the object that an address is in. False: there is none that is allocated.
    fn put_back(&mut self, address: usize) -> bool {
        let Some(span) = self.span_of(address) else { return false };
        let Some(place) = span.place_of(address).filter(|place| span.is_used(*place)) else { return false };
        span.used[place / 64] &= !(1 << (place % 64));
        // SAFETY: a heap that is not buried, while the lock is held.
        let Some(heap) = (unsafe { span.heap.as_mut() }) else { return true };
        heap.used -= span.size;
        let class = &mut heap.classes[class_of(span.size)];
        let free = span.object(place) as *mut Free;
        // SAFETY: an object that is nobody's now, and has room for this.
        unsafe { (*free).next = class.free };
        class.free = free;
        if span.size >= GIVEN_BACK {
            // SAFETY: as above; what says which is the next is in the first page.
            unsafe { give_back(span.start() + PAGE, span.end()) };
        }
        true
    }

    fn bury(&mut self, heap: *mut Heap) {
        let mut link = &raw mut self.heaps;
        // SAFETY: the lists are of heaps and spans that live, and the lock is held. The heap itself is gone once its own
        // object is free, and is not looked at after that.
        unsafe {
            while *link != heap {
                link = &raw mut (**link).next;
            }
            *link = (*heap).next;
            self.unseen += (*heap).used;
            let mut span = (*heap).spans;
            while !span.is_null() {
                let next = (*span).next;
                (*span).heap = null_mut();
                (*span).next = self.buried;
                self.buried = span;
                self.unseen += PAGE;
                span = next;
            }
            self.put_back(heap as usize);
        }
    }

    /// Forgets a span that is no more, and gives its memory back.
    ///
    /// # Safety
    /// Nobody may point into it.
    pub(super) unsafe fn release(&mut self, span: *mut Span) {
        // SAFETY: the span is there until its memory is given back; that none of it is needed is the caller's promise.
        unsafe {
            let (start, end) = ((*span).start(), (*span).end());
            (start..end).step_by(UNIT).for_each(|unit| *self.unit(unit) = 0);
            give_back(start, end);
        }
    }
}

/// The memory of a life. Dropped when nothing of the life runs any more.
pub(crate) struct Memory(*mut Heap);

// SAFETY: the heap is only touched while the lock is held.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Where the kernel does not let us reserve addresses, a life has the C library's memory, and leaves it behind.
    pub(crate) fn new() -> Self {
        let mut region = lock();
        if !region.begin() {
            return Memory(null_mut());
        }
        let Some(span) = region.span(null_mut(), size_of::<Heap>()) else { return Memory(null_mut()) };
        // SAFETY: a fresh span of ours, whose only object is the heap: all zeros are one without spans.
        unsafe {
            let heap = (*span).object(0) as *mut Heap;
            (*span).heap = heap;
            (*span).used[0] = 1;
            (*heap).used = size_of::<Heap>();
            (*heap).spans = span;
            (*heap).next = region.heaps;
            region.heaps = heap;
            Memory(heap)
        }
    }

    /// From now on the calling thread's memory is this.
    pub(crate) fn enter(&self) {
        HEAP.set(self.0);
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !self.0.is_null() {
            lock().bury(self.0);
        }
    }
}

/// The calling thread's memory is that of the C library again.
pub(crate) fn leave() {
    HEAP.set(null_mut());
}

/// Whether the calling thread's memory is that of a life.
#[inline]
pub(crate) fn has_its_own() -> bool {
    !HEAP.get().is_null()
}

/// Whether an address is of the reserved ones.
#[inline]
fn is_ours(address: usize) -> bool {
    address.wrapping_sub(BASE.load(Ordering::Relaxed)) < LENGTH.load(Ordering::Relaxed)
}

/// Allocates for the life whose thread this is: the address, and whether all is zero there. `None`: there is no room.
pub(crate) fn allocate(size: usize) -> Option<(usize, bool)> {
    // SAFETY: the heap of a life that runs is not buried, and the lock is held.
    lock().take(unsafe { &mut *HEAP.get() }, size)
}

/// How many bytes there are from an address to the end of its object. `None`: the address is not of a life's memory.
#[inline]
pub(crate) fn room_at(address: usize) -> Option<usize> {
    if !is_ours(address) {
        return None;
    }
    let region = lock();
    let span = region.span_of(address)?;
    Some(span.object(span.place_of(address)? + 1) - address)
}

/// What came of freeing.
pub(crate) enum Freed {
    Done,
    /// It is the C library's, which shall free it.
    NotOurs,
    /// Nothing that is allocated is there.
    Wrong,
}

/// Frees memory, or notes that it is free.
///
/// # Safety
/// It must be as free(3) demands.
#[inline]
pub(crate) unsafe fn free(address: *mut c_void) -> Freed {
    if is_ours(address as usize) {
        return if lock().put_back(address as usize) { Freed::Done } else { Freed::Wrong };
    }
    if !has_its_own() {
        return Freed::NotOurs;
    }
    let _lock = lock();
    let free = address.cast::<Free>();
    // SAFETY: memory that is nobody's now; the C library's least object has room for this.
    unsafe { (*free).next = FOREIGN.load(Ordering::Relaxed) };
    FOREIGN.store(free, Ordering::Relaxed);
    Freed::Done
}

/// Frees what hosted threads have freed of the C library's memory.
#[inline]
pub(crate) fn free_foreign() {
    if FOREIGN.load(Ordering::Relaxed).is_null() || has_its_own() {
        return;
    }
    let locked = lock();
    let mut next = FOREIGN.swap(null_mut(), Ordering::Relaxed);
    drop(locked);
    while !next.is_null() {
        let free = next;
        // SAFETY: noted by `free`, and taken off the list by nobody else.
        unsafe {
            next = (*free).next;
            real::free(free.cast());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_has_room_for_its_sizes_and_no_smaller_class_has() {
        for size in (1..70_000).chain([1 << 20, (1 << 20) + 1, 1 << 39, (1 << 40) - 1, 1 << 40]) {
            let class = class_of(size);
            assert!(size_of_class(class) >= size, "{size}");
            assert!(class == 0 || size_of_class(class - 1) < size, "{size}");
        }
    }

    #[test]
    fn an_address_tells_its_object() {
        let memory = Memory::new();
        for size in [1, 16, 17, 100, 129, 1_000, 5_000, 28_672, 32_768, 40_000, 1 << 20] {
            let mut region = lock();
            // SAFETY: a heap that is not buried, while the lock is held.
            let heap = unsafe { &mut *memory.0 };
            let objects: Vec<usize> = (0..10).map(|_| region.take(heap, size).unwrap().0).collect();
            for object in &objects {
                let span = region.span_of(*object).unwrap();
                let place = span.place_of(*object).unwrap();
                for inside in [0, size / 2, size - 1, span.size - 1] {
                    assert_eq!(region.span_of(object + inside).unwrap().place_of(object + inside), Some(place));
                }
                assert_eq!(span.object(place), *object);
                assert!(object % 16 == 0 && span.is_used(place));
            }
            assert!(objects.iter().all(|object| region.put_back(*object)));
            assert!(!region.put_back(objects[0]), "freed twice");
            assert_eq!(region.take(heap, size).unwrap(), (objects[9], false), "used again, last first");
        }
    }
}
