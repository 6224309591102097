//! What has happened on a volume and is not durable yet: effects in the order in which they were made.

use crate::medium::Medium;
use crate::pages::{Bytes, PAGE, page_of};
use crate::volume::{Ino, Name};

/// Numbers every effect on a volume, from 1 on.
pub(crate) type Order = u64;

/// An effect on the content of a file.
#[derive(Clone)]
pub(crate) struct Effect {
    pub(crate) order: Order,
    pub(crate) what: What,
    /// The device has it, in its volatile cache.
    pub(crate) staged: bool,
}

#[derive(Clone)]
pub(crate) enum What {
    /// A page after a write.
    Data {
        page: u64,
        /// The sectors that the write touched.
        mask: u8,
        bytes: Bytes,
        /// The medium has no block for it yet.
        fresh: bool,
    },
    /// The file got this length.
    Size { size: u64, grows: bool },
    /// The bytes of this range became a hole.
    Punch { from: u64, to: u64 },
    /// The pages of this range got blocks of zeros.
    Reserve { first: u64, end: u64 },
}

impl Effect {
    pub(crate) fn page(&self) -> Option<u64> {
        match self.what {
            What::Data { page, .. } => Some(page),
            _ => None,
        }
    }

    /// The sectors it has, where it is a page; all where it is something else.
    pub(crate) fn mask(&self) -> u8 {
        match self.what {
            What::Data { mask, .. } => mask,
            _ => u8::MAX,
        }
    }

    /// Whether it is a change of metadata that journals keep in order. A length that grows follows its data.
    pub(crate) fn is_metadata(&self) -> bool {
        !matches!(self.what, What::Data { .. } | What::Size { grows: true, .. })
    }

    /// Whether the medium can have `size` as length only after this, as long as `all` data counts or new blocks do.
    pub(crate) fn precedes_length(&self, size: u64, all: bool) -> bool {
        matches!(self.what, What::Data { page, fresh, .. } if (fresh || all) && page * (PAGE as u64) < size)
    }

    /// Brings the sectors in `keep` to the medium, or the whole of what is no page.
    pub(crate) fn apply(&self, medium: &mut Medium, keep: u8) {
        match &self.what {
            What::Data { page, bytes, mask, .. } => medium.write(*page, bytes, keep & mask),
            What::Size { size, .. } => medium.set_size(*size),
            What::Punch { from, to } => medium.punch(*from, *to),
            What::Reserve { first, end } => medium.reserve(*first, *end),
        }
    }

    /// Brings it to the medium as a write-back does, which writes whole pages.
    pub(crate) fn settle(self, medium: &mut Medium) {
        match self.what {
            What::Data { page, bytes, .. } => medium.put(page, bytes),
            _ => self.apply(medium, u8::MAX),
        }
    }

    /// The kind in a word, for the account of a crash image.
    pub(crate) fn describe(&self) -> String {
        match &self.what {
            What::Data { page, mask, .. } => format!("page {page}, {} sectors", mask.count_ones()),
            What::Size { size, .. } => format!("length {size}"),
            What::Punch { from, to } => format!("hole {from}..{to}"),
            What::Reserve { first, end } => format!("reserved pages {first}..{end}"),
        }
    }
}

/// A name that leads somewhere else than before, or nowhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) dir: Ino,
    pub(crate) name: Name,
    pub(crate) to: Option<Ino>,
}

/// A change of names: one, or the two of a rename.
#[derive(Clone)]
pub(crate) struct NameOp {
    pub(crate) order: Order,
    pub(crate) entries: Vec<Entry>,
    /// The file whose content is written before this is committed, where the profile flushes on replace.
    pub(crate) replaces_with: Option<Ino>,
}

impl NameOp {
    pub(crate) fn held(&self) -> impl Iterator<Item = Ino> + use<> {
        let inos: Vec<Ino> = self.entries.iter().flat_map(|entry| entry.to.into_iter().chain([entry.dir])).collect();
        inos.into_iter()
    }
}

/// The page in which a byte range begins and the first page that is wholly behind its start.
pub(crate) fn whole_pages(from: u64, to: u64) -> std::ops::Range<u64> {
    let first = from.div_ceil(PAGE as u64);
    first..page_of(to).max(first)
}
