//! The bytes of one file: the pages in the cache of the machine, and those on the medium.
//!
//! A page is shared between the two until one of them changes, so an fsync copies nothing. Bytes of a page that lie
//! behind the end of the file are always zero; a page that is missing is all zeros.

use std::collections::BTreeMap;
use std::rc::Rc;

/// Bytes in a page: the unit in which the cache is dirty and the medium is written.
const PAGE: usize = 4096;

/// No file is longer: 16 TiB, the limit of ext4 with blocks of 4 KiB (ext4(5)).
pub(crate) const LONGEST: u64 = 1 << 44;

type Bytes = Rc<[u8; PAGE]>;

static ZEROS: [u8; PAGE] = [0; PAGE];

/// A page in the cache.
struct Page {
    bytes: Bytes,
    /// The order number of its last write that no fsync has taken up; 0 for a clean page.
    dirty: u64,
}

/// What the medium holds of a file.
#[derive(Default)]
struct Medium {
    size: u64,
    pages: BTreeMap<u64, Bytes>,
}

impl Medium {
    fn cut(&mut self, size: u64) {
        drop(self.pages.split_off(&size.div_ceil(PAGE as u64)));
        if let Some(page) = self.pages.get_mut(&(size / PAGE as u64)) {
            Rc::make_mut(page)[offset_in_page(size)..].fill(0);
        }
    }
}

/// The content of a file.
#[derive(Default)]
pub(crate) struct Content {
    size: u64,
    pages: BTreeMap<u64, Page>,
    /// Pages that became dirty. Some may be clean or gone again.
    dirty: Vec<u64>,
    /// The least size since the last fsync, if it ever shrank: what the medium holds behind it is void.
    cut: Option<u64>,
    medium: Medium,
}

/// What an fsync has taken up to bring to the medium.
pub(crate) struct Writeback {
    size: u64,
    cut: Option<u64>,
    pages: Vec<(u64, Bytes)>,
}

impl Writeback {
    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }
}

fn offset_in_page(offset: u64) -> usize {
    (offset % PAGE as u64) as usize
}

/// The parts that pages have of a range: the number of the page, where in it, how many bytes.
fn parts(mut offset: u64, mut length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        let start = offset_in_page(offset);
        let part = length.min(PAGE - start);
        let number = offset / PAGE as u64;
        (offset, length) = (offset + part as u64, length - part);
        (part > 0).then_some((number, start, part))
    })
}

impl Content {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Gives up to `want` bytes from `offset` on to `put`, piece by piece, and says how many.
    #[inline]
    pub(crate) fn read(&self, offset: u64, want: usize, mut put: impl FnMut(&[u8])) -> usize {
        let left = self.size.saturating_sub(offset);
        let length = usize::try_from(left).map_or(want, |left| left.min(want));
        for (number, start, part) in parts(offset, length) {
            let page = self.pages.get(&number).map_or(&ZEROS, |page| &*page.bytes);
            put(&page[start..start + part]);
        }
        length
    }

    /// Writes into the cache. `order` numbers this write among all effects on the volume.
    #[inline]
    pub(crate) fn write(&mut self, order: u64, offset: u64, mut bytes: &[u8]) {
        self.size = self.size.max(offset + bytes.len() as u64);
        for (number, start, length) in parts(offset, bytes.len()) {
            let (part, rest) = bytes.split_at(length);
            bytes = rest;
            self.write_page(order, number, start, part);
        }
    }

    fn write_page(&mut self, order: u64, number: u64, start: usize, part: &[u8]) {
        let page = self.pages.entry(number).or_insert_with(|| Page { bytes: Rc::new(ZEROS), dirty: 0 });
        Rc::make_mut(&mut page.bytes)[start..start + part.len()].copy_from_slice(part);
        if page.dirty == 0 {
            self.dirty.push(number);
        }
        page.dirty = order;
    }

    /// Cuts the file or extends it with zeros.
    pub(crate) fn set_size(&mut self, order: u64, size: u64) {
        if size < self.size {
            self.cut = Some(self.cut.map_or(size, |cut| cut.min(size)));
            drop(self.pages.split_off(&size.div_ceil(PAGE as u64)));
            let tail = offset_in_page(size);
            if self.pages.contains_key(&(size / PAGE as u64)) {
                self.write_page(order, size / PAGE as u64, tail, &ZEROS[tail..]);
            }
        }
        self.size = size;
    }

    /// Takes up what an fsync has to write. The pages are clean from now on, whatever becomes of them: Linux clears the
    /// dirty bit before it writes.
    pub(crate) fn take_up(&mut self) -> Writeback {
        let mut pages = Vec::new();
        for number in self.dirty.drain(..) {
            if let Some(page) = self.pages.get_mut(&number).filter(|page| page.dirty != 0) {
                page.dirty = 0;
                pages.push((number, page.bytes.clone()));
            }
        }
        Writeback { size: self.size, cut: self.cut.take(), pages }
    }

    /// Brings to the medium what an fsync took up; without the pages when it `fails`.
    pub(crate) fn settle(&mut self, work: Writeback, fails: bool) {
        if let Some(size) = work.cut {
            self.medium.cut(size);
        }
        if !fails {
            self.medium.pages.extend(work.pages);
        }
        self.medium.size = work.size;
    }

    /// The power went: the cache is what the medium holds.
    pub(crate) fn lose_power(&mut self) {
        let page = |(number, bytes): (&u64, &Bytes)| (*number, Page { bytes: bytes.clone(), dirty: 0 });
        self.pages = self.medium.pages.iter().map(page).collect();
        self.size = self.medium.size;
        self.dirty.clear();
        self.cut = None;
    }

    /// How many cached bytes a power loss would take, in whole pages up to the end of the file; `None` when it would leave
    /// the file as it is.
    pub(crate) fn at_stake(&self) -> Option<u64> {
        let differs = |(number, page): &(&u64, &Page)| {
            self.medium.pages.get(number).is_none_or(|durable| !Rc::ptr_eq(durable, &page.bytes))
        };
        let length = |(number, _): (&u64, &Page)| (self.size - number * PAGE as u64).min(PAGE as u64);
        let bytes = self.pages.iter().filter(differs).map(length).sum();
        let voided = self.medium.pages.keys().any(|number| !self.pages.contains_key(number));
        (bytes > 0 || voided || self.size != self.medium.size).then_some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.read(0, usize::MAX, |part| bytes.extend_from_slice(part));
        bytes
    }

    fn sync(content: &mut Content) {
        let work = content.take_up();
        content.settle(work, false);
    }

    #[test]
    fn what_an_fsync_took_up_is_what_it_saves() {
        let mut content = Content::default();
        content.write(1, 0, b"old");
        let work = content.take_up();
        content.write(2, 0, b"newer");
        content.settle(work, false);
        assert_eq!(content.at_stake(), Some(5));
        content.lose_power();
        assert_eq!(all(&content), b"old");
    }

    #[test]
    fn bytes_cut_off_do_not_come_back_when_the_file_grows() {
        let mut content = Content::default();
        content.write(1, 0, &[7; 10_000]);
        sync(&mut content);
        content.set_size(2, 5_000);
        content.set_size(3, 10_000);
        let expected = [vec![7; 5_000], vec![0; 5_000]].concat();
        assert_eq!(all(&content), expected);
        sync(&mut content);
        assert_eq!(content.at_stake(), None);
        content.lose_power();
        assert_eq!(all(&content), expected);
    }

    #[test]
    fn a_cut_that_was_not_synced_is_undone() {
        let mut content = Content::default();
        content.write(1, 0, &[7; 10_000]);
        sync(&mut content);
        content.set_size(2, 0);
        assert_eq!(content.at_stake(), Some(0));
        content.lose_power();
        assert_eq!(all(&content), [7; 10_000]);
    }

    #[test]
    fn failed_writeback_keeps_the_length_and_the_medium() {
        let mut content = Content::default();
        content.write(1, 0, &[7; PAGE]);
        sync(&mut content);
        content.write(2, 0, &[8; 2 * PAGE]);
        let work = content.take_up();
        content.settle(work, true);
        sync(&mut content);
        assert_eq!(all(&content), [8; 2 * PAGE], "the cache keeps the new bytes");
        assert_eq!(content.at_stake(), Some(2 * PAGE as u64));
        content.lose_power();
        assert_eq!(all(&content), [vec![7; PAGE], vec![0; PAGE]].concat());
    }

    #[test]
    fn a_file_with_a_hole_of_terabytes_costs_one_page() {
        let mut content = Content::default();
        content.write(1, LONGEST - 1, b"!");
        assert_eq!((content.size(), content.pages.len()), (LONGEST, 1));
    }
}
