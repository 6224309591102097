//! Files in memory (mmap(2)). While a file is mapped, real memory (memfd_create(2)) holds what its mappings show; all of
//! them, shared and private, are mappings of that. What is written to the file by calls goes there too, and what is stored
//! through a shared mapping that may be written to is brought to the file before anybody reads, syncs or unmaps it: in the
//! end by the process's end, unless its machine loses its memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sim_core::NodeId;
use sim_core::device::{self, Process};
use sim_disk::posix;

use super::descriptor::{Description, Io};
use super::file::{OpenFile, told};
use crate::syscall::raw;

const PAGE: u64 = super::PAGE as u64;

/// So much is carried at once between a file and its memory.
const PIECE: u64 = 1 << 20;

/// A file on the volume of a node.
type File = (NodeId, u64);

/// A part of the address space that shows a file.
#[derive(Clone)]
struct Mapping {
    process: Process,
    file: File,
    description: Rc<Description>,
    offset: u64,
    length: usize,
    shared: bool,
}

/// The memory of a file that is mapped.
struct Memory {
    descriptor: c_int,
    /// No mapping goes further, nor does the file.
    size: u64,
    mappings: usize,
    /// Something may be stored in it that the file does not have.
    is_stored_to: bool,
}

#[derive(Default)]
pub(crate) struct Mappings {
    by_address: RefCell<BTreeMap<usize, Mapping>>,
    memories: RefCell<BTreeMap<File, Memory>>,
}

/// How many files are mapped in this process of runs: mostly none, and then nobody has to look for one.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Whether any file is mapped.
#[inline]
pub(crate) fn any() -> bool {
    MAPPED.load(Ordering::Relaxed) > 0
}

fn check(result: isize) -> Io<usize> {
    if (-4095..0).contains(&result) { Err(-result as c_int) } else { Ok(result as usize) }
}

/// What is asked of mmap(2).
pub(crate) struct Request {
    pub(crate) address: usize,
    pub(crate) length: usize,
    pub(crate) protection: c_int,
    pub(crate) flags: c_int,
    pub(crate) offset: u64,
}

impl Memory {
    fn new() -> Io<Self> {
        // SAFETY: a name that ends in a zero byte.
        let descriptor = check(unsafe { raw(libc::SYS_memfd_create, [c"mapped".as_ptr() as usize, 1, 0, 0, 0, 0]) })?;
        MAPPED.fetch_add(1, Ordering::Relaxed);
        Ok(Memory { descriptor: descriptor as c_int, size: 0, mappings: 0, is_stored_to: false })
    }

    fn call(&self, number: libc::c_long, [b, c, d]: [usize; 3]) -> Io<usize> {
        // SAFETY: a descriptor of ours; the callers give buffers that are as long as said.
        check(unsafe { raw(number, [self.descriptor as usize, b, c, d, 0, 0]) })
    }

    /// Takes no memory by itself: what nobody touches is a hole.
    fn grow(&mut self, size: u64) -> Io<()> {
        if size > self.size {
            self.call(libc::SYS_ftruncate, [size as usize, 0, 0])?;
            self.size = size;
        }
        Ok(())
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Io<()> {
        self.grow((offset + bytes.len() as u64).next_multiple_of(PAGE))?;
        self.call(libc::SYS_pwrite64, [bytes.as_ptr() as usize, bytes.len(), offset as usize]).map(drop)
    }

    /// Zeros a range, which takes no memory then.
    fn clear(&self, range: Range<u64>) {
        let length = range.end.min(self.size).saturating_sub(range.start);
        if length > 0 {
            let how = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            let _ = self.call(libc::SYS_fallocate, [how as usize, range.start as usize, length as usize]);
        }
    }

    /// The next place from `offset` on where there is something, or is nothing (lseek(2)).
    fn seek(&self, offset: u64, whence: c_int) -> Option<u64> {
        self.call(libc::SYS_lseek, [offset as usize, whence as usize, 0]).ok().map(|place| place as u64)
    }

    /// Brings what was stored in a range of whole pages to the file.
    fn bring(&self, (node, inode): File, range: Range<u64>) -> Io<()> {
        let end = range.end.min(self.size);
        let mut at = range.start;
        let mut bytes = Vec::new();
        while let Some(start) =
            (at < end).then(|| self.seek(at, libc::SEEK_DATA)).flatten().filter(|start| *start < end)
        {
            let stop = self.seek(start, libc::SEEK_HOLE).unwrap_or(end).min(end).min(start + PIECE);
            bytes.resize((stop - start) as usize, 0);
            let args = [bytes.as_mut_ptr() as usize, bytes.len(), start as usize];
            self.call(libc::SYS_pread64, args)?;
            told(posix::store(node, inode, start, &bytes))?;
            at = stop;
        }
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: a descriptor of ours, closed once.
        unsafe { raw(libc::SYS_close, [self.descriptor as usize, 0, 0, 0, 0, 0]) };
    }
}

/// The pages that a range of bytes is in.
fn pages(range: Range<u64>) -> Range<u64> {
    range.start / PAGE * PAGE..range.end.div_ceil(PAGE).saturating_mul(PAGE)
}

fn file_of(file: &OpenFile) -> Io<File> {
    Ok((device::process("mmap").node, told(file.disk()?.metadata())?.ino()))
}

impl Mappings {
    pub(crate) fn map(&self, description: &Rc<Description>, request: &Request) -> Io<usize> {
        let open = description.object.as_file().ok_or(libc::ENODEV)?;
        if open.is_zeros() {
            let Request { address, length, protection, flags, .. } = *request;
            let flags = flags | libc::MAP_ANONYMOUS;
            // SAFETY: the caller's wishes about its address space.
            return check(unsafe {
                raw(libc::SYS_mmap, [address, length, protection as usize, flags as usize, usize::MAX, 0])
            });
        }
        let disk = open.disk().map_err(|_| libc::ENODEV)?;
        let shared = request.flags & libc::MAP_TYPE != libc::MAP_PRIVATE;
        let writes = request.protection & libc::PROT_WRITE != 0;
        let access = open.flags.get() & libc::O_ACCMODE;
        if access == libc::O_WRONLY || (shared && writes && access != libc::O_RDWR) {
            return Err(libc::EACCES);
        }
        if request.length == 0 || !request.offset.is_multiple_of(PAGE) {
            return Err(libc::EINVAL);
        }
        let end = request.offset.checked_add(request.length as u64).ok_or(libc::EOVERFLOW)?.next_multiple_of(PAGE);
        if request.flags & libc::MAP_FIXED != 0 {
            self.unmap(request.address, request.length);
        }
        let file = file_of(open)?;
        if !self.memories.borrow().contains_key(&file) {
            let memory = load(disk, end)?;
            self.memories.borrow_mut().insert(file, memory);
        }
        let descriptor = {
            let mut memories = self.memories.borrow_mut();
            let memory = memories.get_mut(&file).ok_or(libc::ENOMEM)?;
            memory.grow(end)?;
            memory.is_stored_to |= shared && writes;
            memory.descriptor
        };
        // MAP_SHARED_VALIDATE (MAP_SYNC) is for what the real memory is not.
        let kind = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
        let flags = request.flags & !(libc::MAP_TYPE | libc::MAP_SYNC) | kind | libc::MAP_NORESERVE;
        let args = [
            request.address,
            request.length,
            request.protection as usize,
            flags as usize,
            descriptor as usize,
            request.offset as usize,
        ];
        // SAFETY: the caller's wishes about its address space, on a descriptor of ours.
        let address = check(unsafe { raw(libc::SYS_mmap, args) }).inspect_err(|_| self.drop_if_unused(file))?;
        let length = request.length.next_multiple_of(PAGE as usize);
        let process = device::process("mmap");
        self.add(
            address,
            Mapping { process, file, description: description.clone(), offset: request.offset, length, shared },
        );
        Ok(address)
    }

    fn add(&self, address: usize, mapping: Mapping) {
        if let Some(memory) = self.memories.borrow_mut().get_mut(&mapping.file) {
            memory.mappings += 1;
        }
        let old = self.by_address.borrow_mut().insert(address, mapping);
        drop(old);
    }

    fn drop_if_unused(&self, file: File) {
        let mut memories = self.memories.borrow_mut();
        if memories.get(&file).is_some_and(|memory| memory.mappings == 0) {
            memories.remove(&file);
        }
    }

    /// The mappings that are in a range of addresses, cut to it.
    fn within(&self, address: usize, length: usize) -> Vec<(usize, Mapping)> {
        let end = address.saturating_add(length);
        // A heap of the program's own asks here too, while the list itself needs memory.
        let Ok(mappings) = self.by_address.try_borrow() else { return Vec::new() };
        let meets = |(start, mapping): &(&usize, &Mapping)| **start + mapping.length > address;
        let cut = |(start, mapping): (&usize, &Mapping)| {
            let (from, to) = ((*start).max(address), (*start + mapping.length).min(end));
            (from, mapping.part(from - *start..to - *start))
        };
        mappings.range(..end).filter(meets).map(cut).collect()
    }

    /// Takes a range of addresses out of the list, and what was mapped there to its files.
    fn take_out(&self, address: usize, length: usize) -> Vec<(usize, Mapping)> {
        let (taken, end) = (self.within(address, length), address.saturating_add(length));
        for (start, mapping) in &taken {
            let _ = self.bring(mapping.file, mapping.range());
            let whole = self.by_address.borrow_mut().range(..=*start).next_back().map(|(at, _)| *at);
            let Some(at) = whole else { continue };
            let Some(old) = self.by_address.borrow_mut().remove(&at) else { continue };
            if at < address {
                self.add(at, old.part(0..address - at));
            }
            if at + old.length > end {
                self.add(end, old.part(end - at..old.length));
            }
            if let Some(memory) = self.memories.borrow_mut().get_mut(&old.file) {
                memory.mappings -= 1;
            }
        }
        taken
    }

    /// A range of addresses is about to be mapped no more, or to something else.
    pub(crate) fn unmap(&self, address: usize, length: usize) {
        for (_, mapping) in self.take_out(address, length.next_multiple_of(PAGE as usize)) {
            self.let_go(mapping.file);
        }
    }

    /// The last mapping of a file may have gone.
    fn let_go(&self, file: File) {
        if self.memories.borrow().get(&file).is_some_and(|memory| memory.mappings == 0) {
            let _ = self.bring(file, 0..u64::MAX);
            self.drop_if_unused(file);
        }
    }

    /// mremap(2). `None`: no simulated file is mapped there.
    pub(crate) fn remap(&self, [address, length, new_length, flags, fixed]: [usize; 5]) -> Option<Io<usize>> {
        let [(_, mapping)] = &self.within(address, length.max(1))[..] else { return None };
        let mapping = mapping.clone();
        let new_length = new_length.next_multiple_of(PAGE as usize);
        if let Some(memory) = self.memories.borrow_mut().get_mut(&mapping.file)
            && let Err(error) = memory.grow(mapping.offset + new_length as u64)
        {
            return Some(Err(error));
        }
        if flags & libc::MREMAP_FIXED as usize != 0 {
            self.unmap(fixed, new_length);
        }
        // SAFETY: the caller's wishes about its address space.
        let moved = check(unsafe { raw(libc::SYS_mremap, [address, length, new_length, flags, fixed, 0]) });
        Some(moved.inspect(|moved| {
            // Before the old place is given up: the file is mapped all the time.
            if length > 0 {
                self.take_out(address, length.next_multiple_of(PAGE as usize));
            }
            self.add(*moved, Mapping { length: new_length, ..mapping.clone() });
        }))
    }

    /// mprotect(2) is about to let a range be written to.
    pub(crate) fn permit_writes(&self, address: usize, length: usize) {
        for (_, mapping) in self.within(address, length).into_iter().filter(|(_, mapping)| mapping.shared) {
            if let Some(memory) = self.memories.borrow_mut().get_mut(&mapping.file) {
                memory.is_stored_to = true;
            }
        }
    }

    /// Brings what was stored in a range of addresses to the files. Those, each once.
    pub(crate) fn write_back(&self, address: usize, length: usize) -> Io<Vec<Rc<Description>>> {
        let mut files: BTreeMap<File, Rc<Description>> = BTreeMap::new();
        for (_, mapping) in self.within(address, length).into_iter().filter(|(_, mapping)| mapping.shared) {
            self.bring(mapping.file, mapping.range())?;
            files.insert(mapping.file, mapping.description);
        }
        Ok(files.into_values().collect())
    }

    fn bring(&self, file: File, range: Range<u64>) -> Io<()> {
        let memories = self.memories.borrow();
        match memories.get(&file).filter(|memory| memory.is_stored_to) {
            Some(memory) => memory.bring(file, pages(range)),
            None => Ok(()),
        }
    }

    /// Somebody is about to read a range of a file, or to sync it.
    pub(crate) fn before_read(&self, file: &OpenFile, range: Range<u64>) -> Io<()> {
        self.bring(file_of(file)?, range)
    }

    /// All files of a node are about to be synced.
    pub(crate) fn before_sync(&self, node: NodeId) {
        let of_node = |file: &&File| file.0 == node;
        let files: Vec<File> = self.memories.borrow().keys().filter(of_node).copied().collect();
        files.into_iter().for_each(|file| _ = self.bring(file, 0..u64::MAX));
    }

    /// Something was written to a file.
    pub(crate) fn after_write(&self, file: &OpenFile, offset: u64, bytes: &[u8]) -> Io<()> {
        let file = file_of(file)?;
        self.memories.borrow_mut().get_mut(&file).map_or(Ok(()), |memory| memory.put(offset, bytes))
    }

    /// A range of a file became zeros: it was cut off, or freed.
    pub(crate) fn after_cut(&self, inode: u64, range: Range<u64>) {
        let file = (device::process("ftruncate").node, inode);
        self.memories.borrow().get(&file).into_iter().for_each(|memory| memory.clear(range.clone()));
    }

    /// A process has ended: nothing of it stays in memory. What it stored is in its files, if its machine lives.
    pub(crate) fn forget(&self, process: Process, machine_lives: bool) {
        let of_process = |(_, mapping): &(&usize, &Mapping)| mapping.process == process;
        let gone: Vec<(usize, Mapping)> =
            self.by_address.borrow().iter().filter(of_process).map(|(at, mapping)| (*at, mapping.clone())).collect();
        for (address, mapping) in gone {
            if machine_lives {
                let _ = self.bring(mapping.file, mapping.range());
            }
            let old = self.by_address.borrow_mut().remove(&address);
            drop(old);
            // SAFETY: mapped by `map` and removed from the list; the threads of the process are no more.
            unsafe { raw(libc::SYS_munmap, [address, mapping.length, 0, 0, 0, 0]) };
            if let Some(memory) = self.memories.borrow_mut().get_mut(&mapping.file) {
                memory.mappings -= 1;
                memory.is_stored_to &= machine_lives;
            }
            self.let_go(mapping.file);
        }
    }
}

impl Mapping {
    fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.length as u64
    }

    fn part(&self, range: Range<usize>) -> Mapping {
        Mapping { offset: self.offset + range.start as u64, length: range.len(), ..self.clone() }
    }
}

/// Memory with what a file has.
fn load(disk: &posix::File, end: u64) -> Io<Memory> {
    let size = told(disk.metadata())?.len();
    let mut memory = Memory::new()?;
    memory.grow(end.max(size.next_multiple_of(PAGE)))?;
    let mut at = 0;
    while let Some(data) = told(disk.next_data(at))? {
        let stop = data.end.min(data.start + PIECE);
        let bytes = told(disk.view(data.start, (stop - data.start) as usize))?;
        memory.put(data.start, &bytes.to_vec())?;
        at = stop;
    }
    Ok(memory)
}
