//! Files in memory (mmap(2)). All shared mappings of a file in one process are the same real memory, which is written back
//! to the simulated file by msync(2), munmap(2) and at the end of the process; a private mapping is a copy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::rc::Rc;

use sim_core::device::{self, Process};

use super::descriptor::{Description, Io};
use super::file::OpenFile;
use crate::syscall::raw;

/// A part of the address space that shows a file.
struct Mapping {
    process: Process,
    description: Rc<Description>,
    offset: u64,
    length: usize,
    writes_back: bool,
}

/// The real memory of a file that is mapped as shared.
struct Shared {
    process: Process,
    inode: u64,
    memory: c_int,
    size: u64,
    mappings: usize,
}

#[derive(Default)]
pub(crate) struct Mappings {
    by_address: RefCell<BTreeMap<usize, Mapping>>,
    shared: RefCell<Vec<Shared>>,
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

impl Mappings {
    pub(crate) fn map(&self, description: &Rc<Description>, request: &Request) -> Io<usize> {
        let file = description.object.as_file().ok_or(libc::ENODEV)?;
        let shared = request.flags & libc::MAP_SHARED != 0;
        let process = device::process("mmap");
        let address = match shared {
            true => self.map_shared(process, file, request)?,
            false => map_copy(file, request)?,
        };
        let writes_back = shared && request.protection & libc::PROT_WRITE != 0;
        let (offset, length) = (request.offset, request.length);
        let mapping = Mapping { process, description: description.clone(), offset, length, writes_back };
        self.by_address.borrow_mut().insert(address, mapping);
        Ok(address)
    }

    fn map_shared(&self, process: Process, file: &OpenFile, request: &Request) -> Io<usize> {
        let inode = file.status()?.inode;
        let mut all = self.shared.borrow_mut();
        let known = all.iter().position(|shared| shared.process == process && shared.inode == inode);
        let place = match known {
            Some(place) => place,
            None => {
                // SAFETY: a name that ends in a zero byte.
                let memory = unsafe { raw(libc::SYS_memfd_create, [c"mapped".as_ptr() as usize, 1, 0, 0, 0, 0]) };
                let memory = check(memory)? as c_int;
                all.push(Shared { process, inode, memory, size: 0, mappings: 0 });
                all.len() - 1
            }
        };
        let shared = &mut all[place];
        let end = request.offset + request.length as u64;
        if end > shared.size {
            let mut fresh = vec![0; (end - shared.size) as usize];
            let length = read_all(file, &mut fresh, shared.size)?;
            // SAFETY: a descriptor of ours, and a buffer that is as long as said.
            unsafe {
                check(raw(libc::SYS_ftruncate, [shared.memory as usize, end as usize, 0, 0, 0, 0]))?;
                let args = [shared.memory as usize, fresh.as_ptr() as usize, length, shared.size as usize, 0, 0];
                check(raw(libc::SYS_pwrite64, args))?;
            }
            shared.size = end;
        }
        shared.mappings += 1;
        let args = [
            request.address,
            request.length,
            request.protection as usize,
            request.flags as usize,
            shared.memory as usize,
            request.offset as usize,
        ];
        // SAFETY: the caller's wishes about its address space, on a descriptor of ours.
        check(unsafe { raw(libc::SYS_mmap, args) })
    }

    /// Writes back what shared mappings in a range have changed.
    pub(crate) fn sync(&self, address: usize, length: usize) -> Io<()> {
        let mappings = self.by_address.borrow();
        for (start, mapping) in mappings.range(..address + length) {
            if *start + mapping.length > address {
                mapping.write_back(*start)?;
            }
        }
        Ok(())
    }

    /// Ends the mapping at an address. False: it is none of a simulated file.
    pub(crate) fn unmap(&self, address: usize) -> bool {
        let mapping = self.by_address.borrow_mut().remove(&address);
        let Some(mapping) = mapping else { return false };
        let _ = mapping.write_back(address);
        self.let_go(address, &mapping);
        true
    }

    fn let_go(&self, address: usize, mapping: &Mapping) {
        // SAFETY: mapped by `map` and removed from the list, so nobody unmaps it again.
        unsafe { raw(libc::SYS_munmap, [address, mapping.length, 0, 0, 0, 0]) };
        let inode = mapping.description.object.as_file().and_then(|file| file.status().ok()).map(|found| found.inode);
        let mut all = self.shared.borrow_mut();
        if let Some(place) = all.iter().position(|s| s.process == mapping.process && Some(s.inode) == inode) {
            all[place].mappings = all[place].mappings.saturating_sub(1);
            if all[place].mappings == 0 {
                close(&all.swap_remove(place));
            }
        }
    }

    /// A process has ended: nothing of it stays in memory.
    pub(crate) fn forget(&self, process: Process) {
        let mut mappings = self.by_address.borrow_mut();
        let gone: Vec<usize> = mappings.iter().filter(|(_, m)| m.process == process).map(|(at, _)| *at).collect();
        let gone: Vec<(usize, Mapping)> = gone.into_iter().filter_map(|at| Some((at, mappings.remove(&at)?))).collect();
        drop(mappings);
        for (address, mapping) in gone {
            // SAFETY: as in `let_go`; the threads of the process are no more.
            unsafe { raw(libc::SYS_munmap, [address, mapping.length, 0, 0, 0, 0]) };
        }
        self.shared.borrow_mut().retain(|shared| {
            let stays = shared.process != process;
            if !stays {
                close(shared);
            }
            stays
        });
    }
}

fn close(shared: &Shared) {
    // SAFETY: a descriptor of ours, closed once.
    unsafe { raw(libc::SYS_close, [shared.memory as usize, 0, 0, 0, 0, 0]) };
}

impl Mapping {
    fn write_back(&self, address: usize) -> Io<()> {
        let Some(file) = self.description.object.as_file().filter(|_| self.writes_back) else { return Ok(()) };
        let size = file.status()?.size;
        let length = size.saturating_sub(self.offset).min(self.length as u64) as usize;
        // SAFETY: mapped by `map` for at least so many bytes, and readable.
        let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, length) };
        let mut now = vec![0; length];
        read_all(file, &mut now, self.offset)?;
        if now != bytes {
            file.write_at(bytes, self.offset)?;
        }
        Ok(())
    }
}

fn read_all(file: &OpenFile, buffer: &mut [u8], offset: u64) -> Io<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

fn map_copy(file: &OpenFile, request: &Request) -> Io<usize> {
    let (flags, protection) = (request.flags | libc::MAP_ANONYMOUS, libc::PROT_READ | libc::PROT_WRITE);
    let args = [request.address, request.length, protection as usize, flags as usize, usize::MAX, 0];
    // SAFETY: the caller's wishes about its address space.
    let address = check(unsafe { raw(libc::SYS_mmap, args) })?;
    // SAFETY: mapped just now, for so many bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(address as *mut u8, request.length) };
    read_all(file, bytes, request.offset)?;
    // SAFETY: mapped just now.
    unsafe { raw(libc::SYS_mprotect, [address, request.length, request.protection as usize, 0, 0, 0]) };
    Ok(address)
}
