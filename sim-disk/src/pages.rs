//! A sparse table of pages whose clone costs next to nothing: chunks are shared until one side writes.

use std::cell::RefCell;
use std::rc::Rc;

/// Bytes in a page: the unit in which the cache is dirty and the medium is written.
pub(crate) const PAGE: usize = 4096;

/// Bytes in the smallest sector: what a device writes whole or not at all.
pub(crate) const SECTOR: usize = 512;

/// Every sector of a page.
pub(crate) const WHOLE: u8 = 0xff;

/// The content of a page, shared between cache, medium and snapshots until one of them writes.
pub(crate) type Bytes = Rc<[u8; PAGE]>;

pub(crate) static ZEROS: [u8; PAGE] = [0; PAGE];

thread_local! {
    /// Pages that nobody has any more, for the next writes: to get one from the allocator takes as long as to fill it.
    static SPARE: RefCell<Vec<Bytes>> = const { RefCell::new(Vec::new()) };
}

/// How many pages are kept.
const MOST_SPARE: usize = 1024;

/// A page of its own with these bytes.
pub(crate) fn fresh(bytes: &[u8; PAGE]) -> Bytes {
    let spare = SPARE.with_borrow_mut(Vec::pop);
    let Some(mut page) = spare else { return Rc::new(*bytes) };
    Rc::make_mut(&mut page).copy_from_slice(bytes);
    page
}

/// Keeps a page for [`fresh`] that nobody else has.
pub(crate) fn spare(page: Option<Bytes>) {
    let Some(page) = page.filter(|page| Rc::strong_count(page) == 1) else { return };
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < MOST_SPARE {
            spare.push(page);
        }
    });
}

const CHUNK: usize = 64;

type Chunk<T> = [Option<T>; CHUNK];

/// A value for some pages of a file: chunks of pages, sorted by their number.
#[derive(Clone)]
pub(crate) struct Pages<T>(Rc<Vec<(u64, Rc<Chunk<T>>)>>);

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Pages(Rc::default())
    }
}

fn place(page: u64) -> (u64, usize) {
    (page / CHUNK as u64, (page % CHUNK as u64) as usize)
}

impl<T> Pages<T> {
    /// Where a chunk is among the others, or where it would be.
    #[inline]
    fn find(&self, chunk: u64) -> Result<usize, usize> {
        // Where nothing is missing, a chunk is where its number says.
        match self.0.get(chunk as usize) {
            Some((number, _)) if *number == chunk => Ok(chunk as usize),
            _ => self.0.binary_search_by_key(&chunk, |(number, _)| *number),
        }
    }
}

impl<T: Clone> Pages<T> {
    #[inline]
    pub(crate) fn get(&self, page: u64) -> Option<&T> {
        let (chunk, slot) = place(page);
        self.0[self.find(chunk).ok()?].1[slot].as_ref()
    }

    /// The place of a page, to be filled or emptied.
    #[inline]
    pub(crate) fn slot(&mut self, page: u64) -> &mut Option<T> {
        let (chunk, slot) = place(page);
        let found = self.find(chunk);
        let chunks = Rc::make_mut(&mut self.0);
        let at = found.unwrap_or_else(|at| {
            chunks.insert(at, (chunk, Rc::new([const { None }; CHUNK])));
            at
        });
        &mut Rc::make_mut(&mut chunks[at].1)[slot]
    }

    pub(crate) fn remove(&mut self, page: u64) -> Option<T> {
        self.get(page)?;
        self.slot(page).take()
    }

    /// Drops every page from `first` on.
    pub(crate) fn cut(&mut self, first: u64) {
        let (chunk, slot) = place(first);
        let keep = self.0.partition_point(|(number, _)| *number < chunk + u64::from(slot > 0));
        if keep < self.0.len() {
            Rc::make_mut(&mut self.0).truncate(keep);
        }
        if let (1.., Ok(at)) = (slot, self.find(chunk)) {
            Rc::make_mut(&mut Rc::make_mut(&mut self.0)[at].1)[slot..].fill(None);
        }
    }

    /// The pages from `first` on that have a value, in order.
    pub(crate) fn from(&self, first: u64) -> impl Iterator<Item = (u64, &T)> {
        let (first_chunk, _) = place(first);
        let chunks = &self.0[self.0.partition_point(|(number, _)| *number < first_chunk)..];
        let slots = chunks.iter().flat_map(|(chunk, slots)| (chunk * CHUNK as u64..).zip(slots.iter()));
        slots.filter_map(move |(page, value)| value.as_ref().filter(|_| page >= first).map(|value| (page, value)))
    }
}

/// The parts that pages have of a range: the number of the page, where in it, how many bytes.
pub(crate) fn parts(mut offset: u64, mut length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        let start = in_page(offset);
        let part = length.min(PAGE - start);
        let number = page_of(offset);
        (offset, length) = (offset + part as u64, length - part);
        (part > 0).then_some((number, start, part))
    })
}

#[inline]
pub(crate) fn in_page(offset: u64) -> usize {
    (offset % PAGE as u64) as usize
}

#[inline]
pub(crate) fn page_of(offset: u64) -> u64 {
    offset / PAGE as u64
}

/// The sectors of a page that a range of its bytes touches.
#[inline]
pub(crate) fn sectors(start: usize, length: usize) -> u8 {
    let (first, last) = (start / SECTOR, (start + length - 1) / SECTOR);
    (WHOLE << first) & (WHOLE >> (7 - last))
}

/// The bytes of each sector in a mask.
pub(crate) fn each_sector(mask: u8) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..8).filter(move |sector| mask & (1 << sector) != 0).map(|sector| sector * SECTOR..(sector + 1) * SECTOR)
}

/// Copies some sectors of a page.
pub(crate) fn copy_sectors(mask: u8, from: &[u8; PAGE], to: &mut Bytes) {
    let to = Rc::make_mut(to);
    each_sector(mask).for_each(|range| to[range.clone()].copy_from_slice(&from[range]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_saw() {
        let mut pages = Pages::default();
        for page in [0, 31, 32, 1 << 40] {
            *pages.slot(page) = Some(page);
        }
        let kept = pages.clone();
        pages.cut(31);
        *pages.slot(0) = Some(7);
        assert_eq!(pages.from(0).map(|(page, value)| (page, *value)).collect::<Vec<_>>(), [(0, 7)]);
        assert_eq!(kept.from(1).map(|(page, _)| page).collect::<Vec<_>>(), [31, 32, 1 << 40]);
        assert_eq!((pages.remove(0), pages.get(0)), (Some(7), None));
    }

    #[test]
    fn a_range_of_bytes_touches_its_sectors() {
        assert_eq!([sectors(0, 1), sectors(511, 2), sectors(0, PAGE), sectors(4095, 1)], [1, 3, 0xff, 0x80]);
        assert_eq!(each_sector(0b10_0001).collect::<Vec<_>>(), [0..512, 2560..3072]);
    }
}
