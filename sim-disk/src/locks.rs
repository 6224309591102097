//! Advisory locks: flock(2), and the byte-range locks of fcntl(2), of processes and of open file descriptions.

use std::io;

use crate::errno::Errno;

/// Who holds a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    /// An open file description: flock(2), F_OFD_SETLK.
    Description(usize),
    /// A process: F_SETLK. It has at most one per node.
    Process,
}

/// A byte-range lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeLock {
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last; `u64::MAX` for one that reaches to the end of the file, wherever that is.
    pub end: u64,
    /// Whether nobody else may have one there; a shared one keeps only exclusive ones away.
    pub exclusive: bool,
}

impl RangeLock {
    fn overlaps(&self, other: &RangeLock) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// The locks of one file.
#[derive(Default)]
pub(crate) struct Locks {
    whole: Vec<(usize, bool)>,
    ranges: Vec<(Owner, RangeLock)>,
}

impl Locks {
    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.ranges.is_empty()
    }

    /// flock(2): takes or changes the lock of a description on the whole file.
    ///
    /// # Errors
    /// EWOULDBLOCK where another description has one that excludes it; the old lock is gone then too, as on Linux.
    pub(crate) fn flock(&mut self, description: usize, exclusive: bool) -> io::Result<()> {
        self.funlock(description);
        if self.whole.iter().any(|(_, theirs)| exclusive || *theirs) {
            return Err(Errno::WouldBlock.into());
        }
        self.whole.push((description, exclusive));
        Ok(())
    }

    pub(crate) fn funlock(&mut self, description: usize) {
        self.whole.retain(|(owner, _)| *owner != description);
    }

    /// The first lock of another owner that excludes this one.
    pub(crate) fn conflict(&self, owner: Owner, lock: &RangeLock) -> Option<RangeLock> {
        let excludes = |(theirs, held): &&(Owner, RangeLock)| {
            *theirs != owner && held.overlaps(lock) && (held.exclusive || lock.exclusive)
        };
        self.ranges.iter().find(excludes).map(|(_, held)| *held)
    }

    /// Takes a byte range, in place of what its owner had there.
    ///
    /// # Errors
    /// EAGAIN where another has a lock that excludes it.
    pub(crate) fn lock(&mut self, owner: Owner, lock: RangeLock) -> io::Result<()> {
        if self.conflict(owner, &lock).is_some() {
            return Err(Errno::WouldBlock.into());
        }
        self.unlock(owner, lock.start, lock.end);
        self.ranges.push((owner, lock));
        Ok(())
    }

    /// Gives a byte range back; locks that reach out of it keep the rest.
    pub(crate) fn unlock(&mut self, owner: Owner, start: u64, end: u64) {
        let (mine, mut others): (Vec<_>, Vec<_>) =
            self.ranges.drain(..).partition(|(whose, held)| *whose == owner && held.start < end && start < held.end);
        for (_, held) in mine {
            if held.start < start {
                others.push((owner, RangeLock { end: start, ..held }));
            }
            if held.end > end {
                others.push((owner, RangeLock { start: end, ..held }));
            }
        }
        self.ranges = others;
    }

    /// A descriptor of the file was closed. Every range of its process goes with it, whichever descriptor took it
    /// (fcntl(2)); `last` says that its description goes too.
    pub(crate) fn closed(&mut self, description: usize, last: bool) {
        self.ranges.retain(|(owner, _)| *owner != Owner::Process);
        if last {
            self.funlock(description);
            self.ranges.retain(|(owner, _)| *owner != Owner::Description(description));
        }
    }

    /// In words, for the view of open files.
    pub(crate) fn of(&self, description: usize) -> Option<&'static str> {
        let flock = self.whole.iter().find(|(owner, _)| *owner == description);
        let range = self.ranges.iter().find(|(owner, _)| matches!(owner, Owner::Description(d) if *d == description));
        match (flock, range.or(self.ranges.first())) {
            (Some((_, true)), _) => Some("W"),
            (Some((_, false)), _) => Some("R"),
            (None, Some((_, range))) => Some(if range.exclusive { "w" } else { "r" }),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Owner = Owner::Description(1);
    const B: Owner = Owner::Description(2);

    fn range(start: u64, end: u64, exclusive: bool) -> RangeLock {
        RangeLock { start, end, exclusive }
    }

    #[test]
    fn a_range_given_back_in_the_middle_leaves_two() {
        let mut locks = Locks::default();
        locks.lock(A, range(0, 100, true)).unwrap();
        locks.unlock(A, 40, 60);
        locks.lock(B, range(40, 60, true)).unwrap();
        assert_eq!(locks.lock(B, range(59, 61, false)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(locks.conflict(B, &range(0, 1, false)), Some(range(0, 40, true)));
    }

    #[test]
    fn shared_locks_keep_only_exclusive_ones_away() {
        let mut locks = Locks::default();
        locks.flock(1, false).unwrap();
        locks.flock(2, false).unwrap();
        assert!(locks.flock(2, true).is_err());
        locks.closed(1, true);
        locks.flock(2, true).unwrap();
        assert!(locks.flock(1, false).is_err());
    }

    #[test]
    fn closing_any_descriptor_gives_up_the_ranges_of_the_process() {
        let mut locks = Locks::default();
        locks.lock(Owner::Process, range(0, u64::MAX, true)).unwrap();
        locks.lock(B, range(0, 1, true)).unwrap_err();
        locks.closed(7, true);
        locks.lock(B, range(0, 1, true)).unwrap();
    }
}
