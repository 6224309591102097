//! Faults at operations: those that are placed with one, and those that lurk for the next.

use std::io;

use sim_core::fault::{Fault, FaultId, hit, matches, observed};
use sim_core::{NodeId, Ratio};

use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::kinds::{
    AT_FSYNC, FSYNC, FSYNC_EIO, IO_ERROR, JOURNAL_EIO, LOST_WRITE, MISDIRECTED_WRITE, NO_SPACE, QUOTA, READ, SHORT,
    STALE_READ, WRITE,
};
use crate::media::WriteFault;
use crate::options::Options;
use crate::pages::SECTOR;

/// Which pages of an fsync the device refuses.
pub(crate) enum Failing {
    AllPages,
    Pages(Vec<u64>),
    /// It cannot write its metadata.
    Journal,
}

/// What strikes an fsync.
#[derive(Default)]
pub(crate) struct Strike {
    pub(crate) failing: Option<Failing>,
    /// What is done wrong in silence.
    pub(crate) wrong: Vec<(WriteFault, FaultId)>,
}

impl Strike {
    /// Adds faults that strike an fsync.
    fn add(&mut self, faults: Vec<Fault>) -> io::Result<()> {
        for fault in faults {
            let wrong = match &*fault.kind {
                LOST_WRITE => Some(WriteFault::Lost),
                MISDIRECTED_WRITE => Some(WriteFault::Misdirected),
                STALE_READ => Some(WriteFault::Stale),
                _ => None,
            };
            if let Some(wrong) = wrong {
                self.wrong.push((wrong, fault.id));
                continue;
            }
            observed(fault.id);
            self.failing = Some(match &*fault.kind {
                FSYNC_EIO => match fault.args.get("pages").and_then(|pages| pages.as_array()) {
                    Some(pages) => Failing::Pages(pages.iter().filter_map(|page| page.as_u64()).collect()),
                    None => Failing::AllPages,
                },
                JOURNAL_EIO => Failing::Journal,
                _ => return Err(Errno::NoSpace.into()),
            });
        }
        Ok(())
    }
}

/// Lets faults strike at an fsync.
pub(crate) fn strikes_fsync(path: &str) -> io::Result<Strike> {
    let mut strike = Strike::default();
    strike.add(hit(FSYNC, path, &AT_FSYNC))?;
    Ok(strike)
}

/// What faults make of an operation that is no fsync: an error, or the length that is left of its own.
#[cold]
fn outcome(faults: Vec<Fault>, length: usize) -> io::Result<usize> {
    let mut left = length;
    for fault in faults {
        observed(fault.id);
        match &*fault.kind {
            IO_ERROR => return Err(Errno::Io.into()),
            NO_SPACE => return Err(Errno::NoSpace.into()),
            QUOTA => return Err(Errno::Quota.into()),
            _ => left = half(length.min(SHORTENED)),
        }
    }
    Ok(left)
}

/// Half of it in whole sectors, and a byte at the least.
fn half(length: usize) -> usize {
    match length / 2 / SECTOR {
        0 => length.min(length / 2 + 1),
        sectors => sectors * SECTOR,
    }
}

/// Lets faults strike before an operation. The length that is left of its own.
#[inline]
pub(crate) fn strikes(point: &str, subject: &str, length: usize) -> io::Result<usize> {
    let faults = hit(point, subject, &[IO_ERROR, NO_SPACE, QUOTA, SHORT]);
    if faults.is_empty() { Ok(length) } else { outcome(faults, length) }
}

/// What is longer is cut to this before it is halved: the length of a buffer may be all there is.
const SHORTENED: usize = 1 << 16;

// What lurks.
impl Kernel {
    /// The faults that have waited for this operation.
    #[inline]
    fn surprise(&mut self, node: NodeId, point: &str, path: &str) -> Vec<Fault> {
        let lurking = &mut self.machine(node).lurking;
        if lurking.is_empty() {
            return Vec::new();
        }
        let is = |fault: &Fault, name: &str, fits: &dyn Fn(&str) -> bool| fault.word(name).is_ok_and(fits);
        let mine = |fault: &mut Fault| is(fault, "at", &|at| at == point) && is(fault, "path", &|of| matches(of, path));
        lurking.extract_if(.., mine).collect()
    }

    /// As [`strikes`], for faults that have waited for this operation, and for what goes short by chance.
    #[inline]
    pub(crate) fn meets(&mut self, node: NodeId, point: &str, path: &str, length: usize) -> io::Result<usize> {
        let faults = self.surprise(node, point, path);
        let length = if faults.is_empty() { length } else { outcome(faults, length)? };
        let Options { short_read_probability, short_write_probability, .. } = self.options;
        if short_read_probability == Ratio::ZERO && short_write_probability == Ratio::ZERO || length < 2 {
            return Ok(length);
        }
        let chance = match point {
            READ => short_read_probability,
            WRITE => short_write_probability,
            _ => Ratio::ZERO,
        };
        let draws = &mut self.machine(node).draws;
        let is_short = draws.chance(chance);
        Ok(if is_short { 1 + draws.below(length.min(SHORTENED) as u64 - 1) as usize } else { length })
    }

    /// Adds to what strikes an fsync what has waited for it.
    pub(crate) fn meets_fsync(&mut self, node: NodeId, path: &str, strike: &mut Strike) -> io::Result<()> {
        let faults = self.surprise(node, FSYNC, path);
        strike.add(faults)
    }
}
