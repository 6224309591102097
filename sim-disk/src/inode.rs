//! Files, directories and symbolic links, whatever their names are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::rc::Rc;

use crate::content::Content;
use crate::errno::Errno;
use crate::profile::Told;

/// The number of an inode on its volume. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Ino(pub(crate) u64);

/// As on ext4.
pub(crate) const ROOT: Ino = Ino(2);

/// The directory for what is temporary. One of the numbers that ext4 keeps for itself.
pub(crate) const TMP: Ino = Ino(3);

pub(crate) type Name = Rc<OsStr>;

pub(crate) type Names = Rc<BTreeMap<Name, Ino>>;

#[derive(Clone)]
pub(crate) struct Inode {
    pub(crate) body: Body,
    pub(crate) links: u32,
    pub(crate) durable_links: u32,
    /// Descriptors, fsyncs and changes of names that keep it without a name.
    pub(crate) holders: u32,
    pub(crate) attributes: Attributes,
    pub(crate) durable_attributes: Attributes,
    pub(crate) errors: Errors,
}

#[derive(Clone)]
pub(crate) enum Body {
    File(Content),
    Directory(Directory),
    Symlink(Rc<Path>),
}

/// What an fsync makes durable of a file, and an fdatasync does not.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Attributes {
    pub(crate) stamps: Stamps,
    /// Permission bits. Kept, and never enforced.
    pub(crate) mode: u32,
}

/// The times of stat(2), in nanoseconds since 1970 by the wall clock of the node. Reading moves none of them, as with
/// `noatime`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Stamps {
    pub(crate) read: u64,
    pub(crate) modified: u64,
    pub(crate) changed: u64,
}

/// The names in a directory: as processes see them, and as the medium has them.
#[derive(Clone, Default)]
pub(crate) struct Directory {
    pub(crate) live: Names,
    pub(crate) durable: Names,
    /// The directory it is in.
    pub(crate) parent: Ino,
    /// Where the medium has this directory itself.
    pub(crate) home: Option<(Ino, Name)>,
}

/// Write-back errors of an inode, as errseq_t counts them (lib/errseq.c of Linux).
#[derive(Clone, Copy)]
pub(crate) struct Errors {
    count: u32,
    /// Somebody was told of the last one.
    seen: bool,
}

impl Inode {
    pub(crate) fn new(body: Body, attributes: Attributes) -> Self {
        let errors = Errors { count: 0, seen: true };
        let durable_attributes = attributes;
        Inode { body, links: 0, durable_links: 0, holders: 0, attributes, durable_attributes, errors }
    }

    pub(crate) fn is_directory(&self) -> bool {
        matches!(self.body, Body::Directory(_))
    }

    pub(crate) fn directory(&self) -> io::Result<&Directory> {
        match &self.body {
            Body::Directory(directory) => Ok(directory),
            _ => Err(Errno::NotADirectory.into()),
        }
    }

    pub(crate) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.body {
            Body::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The content of a file.
    ///
    /// # Errors
    /// `EISDIR` for a directory.
    #[inline]
    pub(crate) fn content_mut(&mut self) -> io::Result<&mut Content> {
        match &mut self.body {
            Body::File(content) => Ok(content),
            Body::Directory(_) => Err(Errno::IsADirectory.into()),
            Body::Symlink(_) => Err(Errno::Invalid.into()),
        }
    }

    pub(crate) fn content(&self) -> Option<&Content> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    /// What a new descriptor knows of errors: all, unless nobody was told of the last one.
    pub(crate) fn sample_errors(&self) -> u32 {
        if self.errors.seen { self.errors.count } else { self.errors.count - 1 }
    }

    pub(crate) fn record_error(&mut self) {
        self.errors = Errors { count: self.errors.count + 1, seen: false };
    }

    /// Whether a descriptor would be told of an error now.
    pub(crate) fn owes_error(&self, known: u32, told: Told) -> bool {
        match told {
            Told::EachDescriptorOnce => known != self.errors.count,
            Told::FirstCallerOnly => !self.errors.seen,
        }
    }

    /// Tells a descriptor once that a write-back failed since it last asked.
    pub(crate) fn check_errors(&mut self, known: &mut u32, told: Told) -> io::Result<()> {
        let owes = self.owes_error(*known, told);
        *known = self.errors.count;
        self.errors.seen |= owes;
        if owes { Err(Errno::Io.into()) } else { Ok(()) }
    }

    /// A sync(2) passes by: where only the first caller is told, nobody will be.
    pub(crate) fn consume_error(&mut self, told: Told) {
        self.errors.seen |= told == Told::FirstCallerOnly;
    }

    pub(crate) fn forget_errors(&mut self) {
        self.errors = Errors { count: 0, seen: true };
    }
}
