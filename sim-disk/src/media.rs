//! What is wrong with the medium: sectors that cannot be read or have rotted, writes that went elsewhere or nowhere.
//!
//! The medium of a file holds what was written. What the device gives instead lies over it, sector by sector, each overlay
//! from one fault; it goes with the next write of its sectors, or with its fault. The kinds are those of Bairavasundaram et
//! al., "An Analysis of Latent Sector Errors in Disk Drives" (SIGMETRICS 2007) and "An Analysis of Data Corruption in the
//! Storage Stack" (FAST 2008), and of Alagappan et al., "Protocol-Aware Recovery for Consensus-Based Storage" (FAST 2018). A
//! program meets them when it reads the device: what the cache has is sound.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use sim_core::fault::{FaultId, matches, observed};

use crate::content::Content;
use crate::effect::Order;
use crate::errno::Errno;
use crate::inode::Ino;
use crate::pages::{Bytes, WHOLE, ZEROS, copy_sectors};
use crate::sequence::Sequence;

/// What a write-back does wrong, in silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WriteFault {
    /// A page is acknowledged and dropped.
    Lost,
    /// A page lands in the place of another.
    Misdirected,
    /// The next read of a page finds what was there before.
    Stale,
}

/// Fails in order, by the page that is written.
#[derive(Clone)]
pub(crate) struct PageSequence {
    pub(crate) pattern: String,
    pub(crate) page: u64,
    pub(crate) sequence: Sequence,
    pub(crate) id: FaultId,
}

/// A page of a file.
pub(crate) type Place = (Ino, u64);

/// What the device gives for some sectors of a page in place of what was written there.
#[derive(Clone)]
pub(crate) struct Overlay {
    pub(crate) id: FaultId,
    pub(crate) sectors: u8,
    pub(crate) gives: Gives,
    /// For the next read alone.
    pub(crate) once: bool,
}

#[derive(Clone)]
pub(crate) enum Gives {
    Error,
    /// All but this bit of the page.
    Flipped(usize),
    Other(Bytes),
}

/// The faults of the medium of one volume.
#[derive(Clone, Default)]
pub(crate) struct Media {
    overlays: BTreeMap<Place, Vec<Overlay>>,
    pub(crate) sequences: Vec<PageSequence>,
    /// Who emptied the cache, until a program reads the medium for it.
    pub(crate) evicted: FaultId,
}

impl Media {
    /// What the device gives for some sectors of a page.
    ///
    /// # Errors
    /// EIO where one of them cannot be read.
    #[inline]
    pub(crate) fn load(&mut self, place: Place, bytes: &Bytes, sectors: u8) -> io::Result<Bytes> {
        observed(std::mem::take(&mut self.evicted));
        if self.overlays.is_empty() { Ok(bytes.clone()) } else { self.load_wrong(place, bytes, sectors) }
    }

    fn load_wrong(&mut self, place: Place, bytes: &Bytes, sectors: u8) -> io::Result<Bytes> {
        let mut bytes = bytes.clone();
        for overlay in self.overlays.get(&place).into_iter().flatten().filter(|overlay| overlay.sectors & sectors != 0)
        {
            observed(overlay.id);
            match &overlay.gives {
                Gives::Error => return Err(Errno::Io.into()),
                Gives::Flipped(bit) => Rc::make_mut(&mut bytes)[bit / 8] ^= 1 << (bit % 8),
                Gives::Other(other) => copy_sectors(overlay.sectors, other, &mut bytes),
            }
        }
        self.change(place, |overlay| !overlay.once || overlay.sectors & sectors == 0);
        Ok(bytes)
    }

    /// Keeps the overlays of a page for which `keep` holds.
    fn change(&mut self, place: Place, keep: impl FnMut(&mut Overlay) -> bool) {
        let Some(overlays) = self.overlays.get_mut(&place) else { return };
        overlays.retain_mut(keep);
        if overlays.is_empty() {
            self.overlays.remove(&place);
        }
    }

    /// Lays something wrong over a page.
    pub(crate) fn lay(&mut self, place: Place, overlay: Overlay) {
        self.overlays.entry(place).or_default().push(overlay);
    }

    /// A fault is over: its sectors give what was written.
    pub(crate) fn lift(&mut self, id: FaultId) {
        self.sequences.retain(|sequence| sequence.id != id);
        self.overlays.retain(|_, overlays| {
            overlays.retain(|overlay| overlay.id != id);
            !overlays.is_empty()
        });
    }

    /// All faults are over.
    pub(crate) fn heal(&mut self) {
        self.overlays.clear();
        self.sequences.clear();
    }

    /// Which pages of a write-back the sequences refuse.
    pub(crate) fn refused(&mut self, path: &str, pages: &[u64]) -> Vec<u64> {
        let mut refused = Vec::new();
        for sequence in &mut self.sequences {
            let mine = pages.contains(&sequence.page) && matches(&sequence.pattern, path);
            if mine && !sequence.sequence.attempt() {
                observed(sequence.id);
                refused.push(sequence.page);
            }
        }
        refused
    }

    /// Writes the effects on a file up to an order number, and the last of its pages wrong: over a victim, where it is
    /// misdirected. Whether there was something to do wrong.
    pub(crate) fn settle_wrong(
        &mut self,
        ino: Ino,
        content: &mut Content,
        upto: Order,
        how: WriteFault,
        victim: Option<u64>,
        id: FaultId,
    ) -> bool {
        let Some(page) = content.dirty_pages(upto).pop() else { return false };
        let old = content.medium.pages.get(page).cloned();
        if old.is_none() && how == WriteFault::Stale {
            return false;
        }
        let new = content.last_write(page, upto);
        self.settle(ino, content, upto);
        let mut give = |page: u64, bytes: Bytes, once: bool| {
            self.lay((ino, page), Overlay { id, sectors: WHOLE, gives: Gives::Other(bytes), once });
        };
        give(page, old.unwrap_or_else(|| Rc::new(ZEROS)), how == WriteFault::Stale);
        if let (Some(victim), Some(new)) = (victim, new) {
            give(victim, new, false);
        }
        true
    }

    /// Writes the effects on a file up to an order number. A page that is written can be read again: the device takes a
    /// spare sector.
    pub(crate) fn settle(&mut self, ino: Ino, content: &mut Content, upto: Order) {
        if !self.overlays.is_empty() {
            content.dirty_pages(upto).into_iter().for_each(|page| self.mend((ino, page), WHOLE));
        }
        content.settle(upto);
    }

    /// Some sectors of a page were written.
    pub(crate) fn mend(&mut self, place: Place, sectors: u8) {
        self.change(place, |overlay| {
            overlay.sectors &= !sectors;
            overlay.sectors != 0
        });
    }

    /// A file is gone, and its blocks are free.
    pub(crate) fn forget(&mut self, ino: Ino) {
        if !self.overlays.is_empty() {
            self.overlays.retain(|(of, _), _| *of != ino);
        }
    }
}
