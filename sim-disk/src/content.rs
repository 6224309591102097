//! The bytes of one file as processes see them: cached pages over those on the medium, and the effects in between.
//!
//! Every write leaves its page in the log of effects, shared with the cache until the next write of that page: a crash may
//! find any of them done or not.

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;

use crate::effect::{Effect, Order, What, whole_pages};
use crate::errno::Errno;
use crate::medium::{Medium, edges};
use crate::pages::{Bytes, PAGE, Pages, WHOLE, ZEROS, fresh, in_page, page_of, parts, sectors};
use crate::profile::{FailedMetadata, FailedPages, FsyncFailure, Report, Siblings};

/// No file is longer: 16 TiB, the limit of ext4 with blocks of 4 KiB (ext4(5)).
pub(crate) const LONGEST: u64 = 1 << 44;

/// A page as the kernel of the machine knows it. Absent: on the medium, where that has one.
#[derive(Clone)]
enum Slot {
    Cached(Bytes),
    /// Punched, whatever the medium has.
    Hole,
}

/// Reads some sectors of a page from the medium, as the device gives them.
pub(crate) type Load<'a> = &'a mut dyn FnMut(u64, &Bytes, u8) -> io::Result<Bytes>;

/// The content of a file.
#[derive(Clone, Default)]
pub(crate) struct Content {
    size: u64,
    cache: Pages<Slot>,
    /// An absent page that begins behind this byte is a hole.
    backed: u64,
    /// Pages that have a block, or will have.
    pub(crate) blocks: u64,
    pub(crate) pending: Vec<Effect>,
    pub(crate) medium: Medium,
}

impl Content {
    /// What is durable of it alone.
    pub(crate) fn durable(&self) -> Self {
        Content { medium: self.medium.clone(), ..Content::default() }
    }

    /// The content after a start of the machine: what the medium holds.
    pub(crate) fn of(mut medium: Medium) -> Self {
        medium.clear_behind_end();
        let blocks = medium.pages.from(0).count() as u64;
        Content { size: medium.size, backed: medium.size, blocks, medium, ..Content::default() }
    }

    #[inline]
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The page on the medium that a page absent from the cache stands for.
    fn below(&self, page: u64) -> Option<&Bytes> {
        if page * (PAGE as u64) < self.backed { self.medium.pages.get(page) } else { None }
    }

    fn has_block(&self, page: u64) -> bool {
        match self.cache.get(page) {
            Some(slot) => matches!(slot, Slot::Cached(_)),
            None => self.below(page).is_some(),
        }
    }

    /// The bytes of a page, which is in the cache afterwards; none for a hole.
    fn page(&mut self, page: u64, load: Load) -> io::Result<Option<Bytes>> {
        match self.cache.get(page) {
            Some(Slot::Cached(bytes)) => return Ok(Some(bytes.clone())),
            Some(Slot::Hole) => return Ok(None),
            None => {}
        }
        let Some(bytes) = self.load(page, WHOLE, load)? else { return Ok(None) };
        *self.cache.slot(page) = Some(Slot::Cached(bytes.clone()));
        Ok(Some(bytes))
    }

    /// Some sectors of a page as the device gives them; none for a hole.
    fn load(&self, page: u64, sectors: u8, load: Load) -> io::Result<Option<Bytes>> {
        let Some(below) = self.below(page) else { return Ok(None) };
        let mut bytes = load(page, below, sectors)?;
        let end = (self.backed - page * PAGE as u64).min(PAGE as u64) as usize;
        if end < PAGE && bytes[end..] != ZEROS[end..] {
            Rc::make_mut(&mut bytes)[end..].fill(0);
        }
        Ok(Some(bytes))
    }

    /// The bytes of a page for who reads past the cache: those of the device, unless what the cache has is still on its way
    /// there.
    fn page_past_cache(&mut self, page: u64, sectors: u8, load: Load) -> io::Result<Option<Bytes>> {
        let on_its_way = self.is_dirty(page) || self.pending.iter().any(Effect::is_metadata);
        if on_its_way { self.page(page, load) } else { self.load(page, sectors, load) }
    }

    /// How many pages a read of a range takes from the device.
    pub(crate) fn pages_to_load(&self, offset: u64, want: usize, direct: bool) -> u64 {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let misses = |page: &u64| self.below(*page).is_some() && (direct || self.cache.get(*page).is_none());
        parts(offset, want.min(left)).map(|(page, ..)| page).filter(misses).count() as u64
    }

    /// Gives up to `want` bytes from `offset` on to `put`, piece by piece, and says how many: fewer where the device fails
    /// behind the first piece.
    #[inline]
    pub(crate) fn read(
        &mut self,
        offset: u64,
        want: usize,
        direct: bool,
        load: Load,
        mut put: impl FnMut(&[u8]),
    ) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        let length = usize::try_from(left).map_or(want, |left| left.min(want));
        let mut done = 0;
        for (number, start, part) in parts(offset, length) {
            let range = start..start + part;
            match self.cache.get(number) {
                Some(Slot::Cached(bytes)) if !direct => put(&bytes[range]),
                _ => {
                    let mask = sectors(start, part);
                    let page = if direct { self.page_past_cache(number, mask, load) } else { self.page(number, load) };
                    match page {
                        Ok(bytes) => put(&bytes.as_deref().unwrap_or(&ZEROS)[range]),
                        Err(error) if done == 0 => return Err(error),
                        Err(_) => return Ok(done),
                    }
                }
            }
            done += part;
        }
        Ok(length)
    }

    /// A page as a mapping has it.
    pub(crate) fn view(&mut self, page: u64, load: Load) -> io::Result<Bytes> {
        Ok(self.page(page, load)?.unwrap_or_else(|| Rc::new(ZEROS)))
    }

    fn is_dirty(&self, page: u64) -> bool {
        self.pending.iter().any(|effect| effect.page() == Some(page))
    }

    /// Drops a clean page from the cache.
    fn forget(&mut self, page: u64) {
        if matches!(self.cache.get(page), Some(Slot::Cached(_))) && !self.is_dirty(page) {
            self.cache.remove(page);
        }
    }

    /// Drops every clean page from the cache, and says how many. None while a hole or a cut is on its way to the medium.
    pub(crate) fn evict(&mut self) -> usize {
        if self.pending.iter().any(Effect::is_metadata) {
            return 0;
        }
        let dirty: BTreeSet<u64> = self.pending.iter().filter_map(Effect::page).collect();
        let clean: Vec<u64> = self.cached().map(|(page, _)| page).filter(|page| !dirty.contains(page)).collect();
        clean.iter().for_each(|page| drop(self.cache.remove(*page)));
        clean.len()
    }

    fn cached(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        self.cache.from(0).filter_map(|(page, slot)| match slot {
            Slot::Cached(bytes) => Some((page, bytes)),
            Slot::Hole => None,
        })
    }

    fn push(&mut self, order: Order, what: What) {
        self.pending.push(Effect { order, what, staged: false });
    }

    /// Writes into the cache.
    #[inline]
    pub(crate) fn write(&mut self, order: Order, offset: u64, mut bytes: &[u8], load: Load) -> io::Result<()> {
        for (number, start, length) in parts(offset, bytes.len()) {
            let (part, rest) = bytes.split_at(length);
            bytes = rest;
            self.write_page(order, number, start, part, load)?;
            let end = number * PAGE as u64 + (start + length) as u64;
            if end > self.size && rest.is_empty() {
                self.size = end;
                self.push(order, What::Size { size: end, grows: true });
            }
        }
        Ok(())
    }

    fn write_page(&mut self, order: Order, page: u64, start: usize, part: &[u8], load: Load) -> io::Result<()> {
        let has_block = self.has_block(page);
        let bytes: Bytes = match <&[u8; PAGE]>::try_from(part) {
            Ok(whole) => fresh(whole),
            Err(_) => {
                let mut bytes = self.page(page, load)?.unwrap_or_else(|| Rc::new(ZEROS));
                Rc::make_mut(&mut bytes)[start..start + part.len()].copy_from_slice(part);
                bytes
            }
        };
        self.blocks += u64::from(!has_block);
        let fresh = self.below(page).is_none();
        *self.cache.slot(page) = Some(Slot::Cached(bytes.clone()));
        self.push(order, What::Data { page, mask: sectors(start, part.len()), bytes, fresh });
        Ok(())
    }

    /// How many pages without a block a write of this range would need blocks for.
    pub(crate) fn blocks_needed(&self, offset: u64, length: usize) -> u64 {
        parts(offset, length).filter(|(page, ..)| !self.has_block(*page)).count() as u64
    }

    /// Zeros a part of a page without making it dirty: the effect that asked for it does so on the medium too.
    fn zero(&mut self, page: u64, start: usize, length: usize, load: Load) -> io::Result<()> {
        if let Some(mut bytes) = self.page(page, load)? {
            Rc::make_mut(&mut bytes)[start..start + length].fill(0);
            *self.cache.slot(page) = Some(Slot::Cached(bytes));
        }
        Ok(())
    }

    fn count_blocks(&mut self) {
        let cached = self.cached().count() as u64;
        let end = self.backed.div_ceil(PAGE as u64);
        let below = self.medium.pages.from(0).take_while(|(page, _)| *page < end);
        self.blocks = cached + below.filter(|(page, _)| self.cache.get(*page).is_none()).count() as u64;
    }

    /// Cuts the file or extends it with a hole.
    pub(crate) fn set_size(&mut self, order: Order, size: u64, load: Load) -> io::Result<()> {
        let grows = size > self.size;
        if size < self.size {
            let tail = in_page(size);
            if tail > 0 {
                self.zero(page_of(size), tail, PAGE - tail, load)?;
            }
            self.cache.cut(size.div_ceil(PAGE as u64));
            self.backed = self.backed.min(size);
            self.count_blocks();
        }
        if size != self.size {
            self.size = size;
            self.push(order, What::Size { size, grows });
        }
        Ok(())
    }

    /// Makes a range a hole; the length stays.
    pub(crate) fn punch(&mut self, order: Order, from: u64, to: u64, load: Load) -> io::Result<()> {
        let to = to.min(self.size.next_multiple_of(PAGE as u64));
        if from >= to {
            return Ok(());
        }
        let whole = whole_pages(from, to);
        for (page, start, length) in edges(from, to, &whole) {
            self.zero(page, start, length, load)?;
        }
        for page in whole {
            if self.has_block(page) || self.cache.get(page).is_some() {
                *self.cache.slot(page) = Some(Slot::Hole);
            }
        }
        self.count_blocks();
        self.push(order, What::Punch { from, to });
        Ok(())
    }

    /// Gives blocks to the pages of a range, and the file at least this length where `grow` says so.
    pub(crate) fn reserve(&mut self, order: Order, from: u64, to: u64, grow: bool) {
        let (first, end) = (page_of(from), to.div_ceil(PAGE as u64));
        let zeros = Rc::new(ZEROS);
        for page in first..end {
            if !self.has_block(page) {
                *self.cache.slot(page) = Some(Slot::Cached(zeros.clone()));
                self.blocks += 1;
            }
        }
        self.push(order, What::Reserve { first, end });
        if grow && to > self.size {
            self.size = to;
            self.push(order, What::Size { size: to, grows: true });
        }
    }

    /// The next byte of data from `offset` on, as lseek(2) has it with SEEK_DATA; none behind the last.
    pub(crate) fn next_data(&self, offset: u64) -> Option<u64> {
        (offset < self.size).then_some(())?;
        let cached = self.cached().map(|(page, _)| page).find(|page| *page >= page_of(offset));
        let below = self
            .medium
            .pages
            .from(page_of(offset))
            .map(|(page, _)| page)
            .find(|page| self.cache.get(*page).is_none() && self.below(*page).is_some());
        let page = cached.into_iter().chain(below).min()?;
        Some((page * PAGE as u64).max(offset)).filter(|start| *start < self.size)
    }

    /// The next hole from `offset` on; the end of the file is one.
    pub(crate) fn next_hole(&self, offset: u64) -> Option<u64> {
        (offset < self.size).then_some(())?;
        let mut page = page_of(offset);
        while self.has_block(page) && page * (PAGE as u64) < self.size {
            page += 1;
        }
        Some((page * PAGE as u64).max(offset).min(self.size))
    }
}

// What becomes durable.
impl Content {
    fn taken(&mut self, upto: Order) -> Vec<Effect> {
        let rest = self.pending.partition_point(|effect| effect.order <= upto);
        if rest == self.pending.len() {
            std::mem::take(&mut self.pending)
        } else {
            self.pending.drain(..rest).collect()
        }
    }

    /// The pages that a write-back of everything up to `upto` writes, in order of their last write.
    pub(crate) fn dirty_pages(&self, upto: Order) -> Vec<u64> {
        let mut pages: Vec<u64> =
            self.pending.iter().filter(|effect| effect.order <= upto).filter_map(Effect::page).collect();
        pages.sort_unstable();
        pages.dedup();
        pages
    }

    /// The bytes of a page after its last write up to `upto`.
    pub(crate) fn last_write(&self, page: u64, upto: Order) -> Option<Bytes> {
        let mine = self.pending.iter().rev().filter(|effect| effect.order <= upto);
        mine.filter_map(|effect| match &effect.what {
            What::Data { page: of, bytes, .. } if *of == page => Some(bytes.clone()),
            _ => None,
        })
        .next()
    }

    /// Hands pages to the device, which may lose them with the power.
    pub(crate) fn stage(&mut self, upto: Order) {
        let mine = self.pending.iter_mut().filter(|effect| effect.order <= upto);
        mine.for_each(|effect| effect.staged |= effect.page().is_some());
    }

    /// Makes durable what happened up to `upto`.
    pub(crate) fn settle(&mut self, upto: Order) {
        for effect in self.taken(upto) {
            effect.settle(&mut self.medium);
        }
        self.back_again();
    }

    /// Makes pages durable and no metadata, each of which it tells; none while a cut or a hole is on its way before them.
    pub(crate) fn settle_pages(&mut self, upto: Order, mut tell: impl FnMut(u64)) {
        if self.pending.iter().any(Effect::is_metadata) {
            return;
        }
        let mine = |effect: &mut Effect| effect.order <= upto && effect.page().is_some();
        for effect in self.pending.extract_if(.., mine) {
            effect.page().into_iter().for_each(&mut tell);
            effect.settle(&mut self.medium);
        }
    }

    fn back_again(&mut self) {
        let shrinks = self.pending.iter().filter_map(|effect| match effect.what {
            What::Size { size, grows: false } => Some(size),
            _ => None,
        });
        self.backed = shrinks.fold(self.size, u64::min);
    }

    /// Does what the profile says of a write-back in which the device refuses the pages for which `fails` holds.
    pub(crate) fn fail(&mut self, upto: Order, failure: &FsyncFailure, fails: impl Fn(u64) -> bool) {
        let aborts = failure.siblings == Siblings::Aborted;
        let reverts = failure.metadata == FailedMetadata::Reverted;
        let mut stays = Vec::new();
        let mut reverted = Vec::new();
        for effect in self.taken(upto) {
            match effect.page() {
                None if reverts => {}
                None => effect.settle(&mut self.medium),
                // The journal has it, and brings it back after a crash.
                Some(_) if failure.report == Report::Next => effect.settle(&mut self.medium),
                Some(page) if aborts || fails(page) => match failure.pages {
                    FailedPages::CleanKeepNew => {}
                    FailedPages::StayDirty => stays.push(Effect { staged: false, ..effect }),
                    FailedPages::CleanRevertOld => reverted.push(page),
                },
                Some(_) => effect.settle(&mut self.medium),
            }
        }
        stays.append(&mut self.pending);
        self.pending = stays;
        reverted.into_iter().for_each(|page| self.forget(page));
        if reverts {
            self.revert_metadata();
        } else {
            self.back_again();
        }
    }

    /// Takes the length and the map of blocks from the medium again, but for what happened since.
    fn revert_metadata(&mut self) {
        self.evict();
        let mut sizes = self.pending.iter().rev().filter_map(|effect| match effect.what {
            What::Size { size, .. } => Some(size),
            _ => None,
        });
        self.size = sizes.next().unwrap_or(self.medium.size);
        self.back_again();
        self.count_blocks();
    }

    /// How many cached bytes a power loss would take, in whole pages up to the end of the file; `None` when it would leave
    /// the file as it is.
    pub(crate) fn at_stake(&self) -> Option<u64> {
        let differs = |(page, bytes): &(u64, &Bytes)| {
            page * (PAGE as u64) < self.size
                && self.medium.pages.get(*page).is_none_or(|durable| !Rc::ptr_eq(durable, bytes) && durable != *bytes)
        };
        let length = |(page, _): (u64, &Bytes)| (self.size - page * PAGE as u64).min(PAGE as u64);
        let bytes = self.cached().filter(differs).map(length).sum();
        (bytes > 0 || !self.pending.is_empty() || self.size != self.medium.size).then_some(bytes)
    }
}

/// The error for a position behind the longest file.
pub(crate) fn room(start: u64, length: usize) -> io::Result<usize> {
    match LONGEST.saturating_sub(start) {
        0 => Err(Errno::FileTooBig.into()),
        room => Ok(usize::try_from(room).map_or(length, |room| room.min(length))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::FsProfile;

    fn load(_: u64, bytes: &Bytes, _: u8) -> io::Result<Bytes> {
        Ok(bytes.clone())
    }

    fn all(content: &mut Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.read(0, usize::MAX, false, &mut load, |part| bytes.extend_from_slice(part)).unwrap();
        bytes
    }

    fn write(content: &mut Content, order: Order, offset: u64, bytes: &[u8]) {
        content.write(order, offset, bytes, &mut load).unwrap();
    }

    fn after_power_loss(content: &Content) -> Vec<u8> {
        all(&mut Content::of(content.medium.clone()))
    }

    #[test]
    fn what_an_fsync_took_up_is_what_it_saves() {
        let mut content = Content::default();
        write(&mut content, 1, 0, b"old");
        write(&mut content, 2, 0, b"newer");
        content.settle(1);
        assert_eq!(content.at_stake(), Some(5));
        assert_eq!(after_power_loss(&content), b"old");
    }

    #[test]
    fn bytes_cut_off_do_not_come_back_when_the_file_grows() {
        let mut content = Content::default();
        write(&mut content, 1, 0, &[7; 10_000]);
        content.settle(1);
        content.set_size(2, 5_000, &mut load).unwrap();
        content.set_size(3, 10_000, &mut load).unwrap();
        let expected = [vec![7; 5_000], vec![0; 5_000]].concat();
        assert_eq!(all(&mut content), expected);
        content.settle(3);
        assert_eq!((all(&mut content), after_power_loss(&content)), (expected.clone(), expected));
    }

    #[test]
    fn a_cut_that_was_not_synced_is_undone() {
        let mut content = Content::default();
        write(&mut content, 1, 0, &[7; 10_000]);
        content.settle(1);
        content.set_size(2, 0, &mut load).unwrap();
        assert_eq!(content.at_stake(), Some(0));
        assert_eq!(after_power_loss(&content), [7; 10_000]);
    }

    #[test]
    fn a_file_with_a_hole_of_terabytes_costs_one_page() {
        let mut content = Content::default();
        write(&mut content, 1, LONGEST - 1, b"!");
        assert_eq!((content.size(), content.blocks), (LONGEST, 1));
        assert_eq!(content.next_data(0), Some(LONGEST - PAGE as u64));
        assert_eq!(content.next_hole(LONGEST - 1), Some(LONGEST));
    }

    #[test]
    fn a_punched_hole_reads_zeros_before_and_after_it_is_durable() {
        let mut content = Content::default();
        write(&mut content, 1, 0, &[7; 4 * PAGE]);
        content.settle(1);
        content.punch(2, 100, 3 * PAGE as u64 - 100, &mut load).unwrap();
        let expected = [vec![7; 100], vec![0; 3 * PAGE - 200], vec![7; PAGE + 100]].concat();
        assert_eq!((all(&mut content), content.blocks, content.next_hole(0)), (expected.clone(), 3, Some(PAGE as u64)));
        assert_eq!(after_power_loss(&content), [7; 4 * PAGE]);
        content.settle(2);
        assert_eq!((all(&mut content), after_power_loss(&content)), (expected.clone(), expected));
    }

    #[test]
    fn a_page_that_the_device_refused_reverts_when_it_is_evicted() {
        let mut content = Content::default();
        write(&mut content, 1, 0, &[7; PAGE]);
        content.settle(1);
        write(&mut content, 2, 0, &[8; 2 * PAGE]);
        content.fail(2, &FsProfile::EXT4_ORDERED.failure, |_| true);
        assert_eq!(all(&mut content), [8; 2 * PAGE], "the cache keeps the new bytes");
        content.evict();
        assert_eq!(all(&mut content), [vec![7; PAGE], vec![0; PAGE]].concat());
    }
}
