//! What is wrong with the medium: sectors that cannot be read or have rotted, writes that went elsewhere or nowhere.
//!
//! The kinds are those of Bairavasundaram et al., "An Analysis of Latent Sector Errors in Disk Drives" (SIGMETRICS 2007)
//! and "An Analysis of Data Corruption in the Storage Stack" (FAST 2008), and of Alagappan et al., "Protocol-Aware Recovery
//! for Consensus-Based Storage" (FAST 2018). A program meets them when it reads the device: what the cache has is sound.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use sim_core::fault::{FaultId, matches, observed};

use crate::content::Content;
use crate::effect::{Effect, Order};
use crate::errno::Errno;
use crate::inode::Ino;
use crate::pages::Bytes;
use crate::profile::FsyncFailure;
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
type Place = (Ino, u64);

/// The faults of the medium of one volume.
#[derive(Clone, Default)]
pub(crate) struct Media {
    unreadable: BTreeMap<Place, FaultId>,
    /// What the device gives once in place of a page.
    instead: BTreeMap<Place, (Bytes, FaultId)>,
    /// Pages whose content is not what was written there.
    wrong: BTreeMap<Place, FaultId>,
    pub(crate) sequences: Vec<PageSequence>,
    /// Who emptied the cache, until a program reads the medium for it.
    pub(crate) evicted: FaultId,
}

/// What a write-back that was done wrong leaves: nobody hears of it.
const SILENT: FsyncFailure = crate::profile::LINUX;

impl Media {
    /// What the device gives for a page.
    ///
    /// # Errors
    /// EIO where a sector of it cannot be read.
    #[inline]
    pub(crate) fn load(&mut self, ino: Ino, page: u64, bytes: &Bytes) -> io::Result<Bytes> {
        observed(std::mem::take(&mut self.evicted));
        if self.is_sound() {
            return Ok(bytes.clone());
        }
        let place = (ino, page);
        if let Some(id) = self.unreadable.get(&place) {
            observed(*id);
            return Err(Errno::Io.into());
        }
        if let Some((other, id)) = self.instead.remove(&place) {
            observed(id);
            return Ok(other);
        }
        self.wrong.get(&place).into_iter().for_each(|id| observed(*id));
        Ok(bytes.clone())
    }

    /// Makes a page of the medium unreadable until it is written again. Whether it was readable.
    pub(crate) fn break_page(&mut self, ino: Ino, page: u64, id: FaultId) -> bool {
        self.unreadable.insert((ino, page), id).is_none()
    }

    /// Flips a bit of a page of the medium.
    pub(crate) fn rot(&mut self, ino: Ino, page: u64, content: &mut Content, bit: u64, id: FaultId) -> bool {
        let Some(bytes) = content.medium.pages.slot(page).as_mut() else { return false };
        Rc::make_mut(bytes)[(bit / 8) as usize] ^= 1 << (bit % 8);
        self.wrong.insert((ino, page), id);
        true
    }

    /// Lets the next read of a page find the content of another.
    pub(crate) fn misdirect_read(&mut self, ino: Ino, page: u64, other: Bytes, id: FaultId) -> bool {
        self.instead.insert((ino, page), (other, id)).is_none()
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

    /// Does a write-back wrong that is about to happen. Whether there was something to do wrong.
    pub(crate) fn do_wrong(
        &mut self,
        ino: Ino,
        content: &mut Content,
        upto: Order,
        how: WriteFault,
        id: FaultId,
    ) -> bool {
        let Some(page) = content.dirty_pages(upto).pop() else { return false };
        match how {
            WriteFault::Lost => {
                content.fail(upto, &SILENT, |failed| failed == page);
                self.wrong.insert((ino, page), id);
            }
            WriteFault::Misdirected => {
                let victim = content.medium.pages.from(0).map(|(page, _)| page).find(|other| *other != page);
                let bytes = content.last_write(page, upto);
                content.fail(upto, &SILENT, |failed| failed == page);
                self.wrong.insert((ino, page), id);
                if let (Some(victim), Some(bytes)) = (victim, bytes) {
                    content.medium.put(victim, bytes);
                    self.wrong.insert((ino, victim), id);
                }
            }
            WriteFault::Stale => {
                let Some(old) = content.medium.pages.get(page).cloned() else { return false };
                self.settle(ino, content, upto);
                self.instead.insert((ino, page), (old, id));
            }
        }
        true
    }

    /// Writes the effects on a file up to an order number. A page that is written can be read again: the device takes a
    /// spare sector.
    pub(crate) fn settle(&mut self, ino: Ino, content: &mut Content, upto: Order) {
        if !self.is_sound() {
            content.dirty_pages(upto).into_iter().for_each(|page| self.mend((ino, page)));
        }
        content.settle(upto);
    }

    fn is_sound(&self) -> bool {
        self.unreadable.is_empty() && self.instead.is_empty() && self.wrong.is_empty()
    }

    fn mend(&mut self, place: Place) {
        self.unreadable.remove(&place);
        self.instead.remove(&place);
        self.wrong.remove(&place);
    }

    /// A crash kept the write of a page.
    pub(crate) fn rewritten(&mut self, ino: Ino, effect: &Effect) {
        effect.page().into_iter().for_each(|page| self.mend((ino, page)));
    }

    /// A file is gone, and its blocks are free.
    pub(crate) fn forget(&mut self, ino: Ino) {
        if !self.is_sound() {
            self.unreadable.retain(|(of, _), _| *of != ino);
            self.instead.retain(|(of, _), _| *of != ino);
            self.wrong.retain(|(of, _), _| *of != ino);
        }
    }
}
