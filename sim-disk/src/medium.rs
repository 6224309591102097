//! What the medium holds of one file.

use std::rc::Rc;

use crate::effect::whole_pages;
use crate::pages::{Bytes, PAGE, Pages, WHOLE, ZEROS, copy_sectors, in_page, page_of, parts, spare};

/// The durable half of a file. Bytes of a page behind the end of the file are zeros.
#[derive(Clone, Default)]
pub(crate) struct Medium {
    pub(crate) size: u64,
    pub(crate) pages: Pages<Bytes>,
}

impl Medium {
    pub(crate) fn put(&mut self, page: u64, bytes: Bytes) {
        spare(self.pages.slot(page).replace(bytes));
    }

    /// Writes some sectors of a page.
    pub(crate) fn write(&mut self, page: u64, bytes: &Bytes, sectors: u8) {
        if sectors == WHOLE {
            return self.put(page, bytes.clone());
        }
        if sectors != 0 {
            copy_sectors(sectors, bytes, self.pages.slot(page).get_or_insert_with(|| Rc::new(ZEROS)));
        }
    }

    pub(crate) fn set_size(&mut self, size: u64) {
        self.size = size;
        self.clear_behind_end();
    }

    /// Drops what lies behind the end.
    pub(crate) fn clear_behind_end(&mut self) {
        self.pages.cut(self.size.div_ceil(PAGE as u64));
        let (page, tail) = (page_of(self.size), in_page(self.size));
        if tail > 0 && self.pages.get(page).is_some_and(|bytes| bytes[tail..] != ZEROS[tail..]) {
            self.zero(page, tail, PAGE - tail);
        }
    }

    fn zero(&mut self, page: u64, start: usize, length: usize) {
        if self.pages.get(page).is_some() {
            let slot = self.pages.slot(page).as_mut();
            slot.into_iter().for_each(|bytes| Rc::make_mut(bytes)[start..start + length].fill(0));
        }
    }

    pub(crate) fn punch(&mut self, from: u64, to: u64) {
        let whole = whole_pages(from, to);
        for (page, start, length) in edges(from, to, &whole) {
            self.zero(page, start, length);
        }
        let dropped: Vec<u64> =
            self.pages.from(whole.start).map(|(page, _)| page).take_while(|p| *p < whole.end).collect();
        dropped.into_iter().for_each(|page| drop(self.pages.remove(page)));
    }

    pub(crate) fn reserve(&mut self, first: u64, end: u64) {
        let zeros = Rc::new(ZEROS);
        for page in first..end {
            if self.pages.get(page).is_none() {
                self.put(page, zeros.clone());
            }
        }
    }
}

/// The parts of a byte range that are no whole pages.
pub(crate) fn edges(from: u64, to: u64, whole: &std::ops::Range<u64>) -> impl Iterator<Item = (u64, usize, usize)> {
    let whole = whole.clone();
    let start = (whole.start * PAGE as u64).min(to).max(from);
    let end = (whole.end * PAGE as u64).max(start).min(to);
    parts(from, (start - from) as usize).chain(parts(end, (to - end) as usize))
}
