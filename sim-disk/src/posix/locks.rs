//! Locks of files, whole and in part: flock(2) and fcntl(2).

use std::io;
use std::task::Poll;

use sim_core::device;

use super::File;
use crate::kernel::Kernel;
use crate::locks::{Locks, Owner, RangeLock};

/// Who a byte-range lock belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockOwner {
    /// The open file description (F_OFD_SETLK).
    Description,
    /// The process (F_SETLK): gone when it closes any descriptor of the file.
    Process,
}

impl File {
    fn locks<R>(&self, f: impl FnOnce(&mut Kernel, usize) -> io::Result<R>) -> io::Result<R> {
        self.0.act("posix::File::lock", |kernel| f(kernel, self.0.slot))
    }

    fn owner(&self, owner: LockOwner) -> Owner {
        match owner {
            LockOwner::Description => Owner::Description(self.0.slot),
            LockOwner::Process => Owner::Process,
        }
    }

    /// Takes or changes the lock of this description on the whole file, if it can (flock(2) with LOCK_NB).
    ///
    /// # Errors
    /// EWOULDBLOCK.
    pub fn try_flock(&self, exclusive: bool) -> io::Result<()> {
        self.locks(|kernel, slot| kernel.locks(slot).flock(slot, exclusive))
    }

    /// Gives the lock on the whole file back (LOCK_UN).
    ///
    /// # Errors
    /// When the process has died.
    pub fn funlock(&self) -> io::Result<()> {
        self.locks(|kernel, slot| {
            kernel.locks(slot).funlock(slot);
            kernel.locks_changed();
            Ok(())
        })
    }

    /// Takes a byte range, if it can (F_SETLK, F_OFD_SETLK).
    ///
    /// # Errors
    /// EAGAIN.
    pub fn try_lock(&self, owner: LockOwner, range: RangeLock) -> io::Result<()> {
        let owner = self.owner(owner);
        self.locks(|kernel, slot| {
            let result = kernel.locks(slot).lock(owner, range);
            kernel.locks_changed();
            result
        })
    }

    /// Gives a byte range back (F_UNLCK).
    ///
    /// # Errors
    /// When the process has died.
    pub fn unlock(&self, owner: LockOwner, start: u64, end: u64) -> io::Result<()> {
        let owner = self.owner(owner);
        self.locks(|kernel, slot| {
            kernel.locks(slot).unlock(owner, start, end);
            kernel.locks_changed();
            Ok(())
        })
    }

    /// The lock that keeps this one away, if one does (F_GETLK).
    ///
    /// # Errors
    /// When the process has died.
    pub fn conflicting_lock(&self, owner: LockOwner, range: RangeLock) -> io::Result<Option<RangeLock>> {
        let owner = self.owner(owner);
        self.locks(|kernel, slot| Ok(kernel.locks(slot).conflict(owner, &range)))
    }

    /// Waits for a lock on the whole file (flock(2)).
    ///
    /// # Errors
    /// When the process has died.
    pub async fn flock(&self, exclusive: bool) -> io::Result<()> {
        self.wait(|| self.try_flock(exclusive)).await
    }

    /// Waits for a byte range (F_SETLKW, F_OFD_SETLKW). Deadlocks are not detected.
    ///
    /// # Errors
    /// When the process has died.
    pub async fn lock(&self, owner: LockOwner, range: RangeLock) -> io::Result<()> {
        self.wait(|| self.try_lock(owner, range)).await
    }

    async fn wait(&self, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        std::future::poll_fn(|context| match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let waker = context.waker().clone();
                let result = self.0.act("posix::File::lock", |kernel| {
                    kernel.lock_waiters.push(waker);
                    if let Some(id) = kernel.id {
                        device::waiting(id, "a lock on a file", u64::MAX);
                    }
                    Ok(())
                });
                result.map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending)
            }
            result => Poll::Ready(result),
        })
        .await
    }
}

impl Kernel {
    fn locks(&mut self, slot: usize) -> &mut Locks {
        let (node, ino) = (self.descriptors[slot].process.node, self.descriptors[slot].ino);
        self.machine(node).locks.entry(ino).or_default()
    }

    fn locks_changed(&mut self) {
        self.wakes.append(&mut self.lock_waiters);
    }
}
