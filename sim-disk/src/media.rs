//! What is wrong with the medium: sectors that cannot be read, writes that went elsewhere or nowhere.

use std::collections::BTreeMap;
use std::io;

use crate::content::Content;
use crate::effect::{Effect, Order};
use crate::errno::Errno;
use crate::inode::Ino;
use crate::pages::Bytes;

/// The faults of the medium of one volume.
#[derive(Clone, Default)]
pub(crate) struct Media {
    /// Sectors that cannot be read, by page.
    unreadable: BTreeMap<(Ino, u64), u8>,
}

impl Media {
    /// What the device gives for a page.
    ///
    /// # Errors
    /// EIO where a sector of it cannot be read.
    #[inline]
    pub(crate) fn load(&mut self, ino: Ino, page: u64, bytes: &Bytes) -> io::Result<Bytes> {
        if self.unreadable.contains_key(&(ino, page)) {
            return Err(Errno::Io.into());
        }
        Ok(bytes.clone())
    }

    /// Writes the effects on a file up to an order number. A page that is written can be read again: the device takes a
    /// spare sector.
    pub(crate) fn settle(&mut self, ino: Ino, content: &mut Content, upto: Order) {
        if !self.unreadable.is_empty() {
            for page in content.dirty_pages(upto) {
                self.unreadable.remove(&(ino, page));
            }
        }
        content.settle(upto);
    }

    /// A crash kept the write of a page.
    pub(crate) fn rewritten(&mut self, ino: Ino, effect: &Effect) {
        if let Some(page) = effect.page() {
            self.unreadable.remove(&(ino, page));
        }
    }

    /// A file is gone, and its blocks are free.
    pub(crate) fn forget(&mut self, ino: Ino) {
        self.unreadable.retain(|(of, _), _| *of != ino);
    }
}
