//! The face for code that does not await, with the names of `std::fs`.
//!
//! It works on the same disk as [`crate::fs`]. The one difference: nothing takes simulated time here, for there is nobody to
//! wait meanwhile.

use std::ffi::OsString;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::face::{file, functions, open_options};
use crate::handle::{self, DirItem, Handle};
use crate::open::Mode;
use crate::sync::Extent;

pub use crate::volume::Metadata;

/// An open file or directory of the node that opened it. Writes reach the page cache at once.
pub struct File(Handle);

impl From<Handle> for File {
    fn from(handle: Handle) -> Self {
        File(handle)
    }
}

file!(sync_now, read_into, write,);
open_options!(File,);
functions!(read_now, copy_now,);

impl Iterator for ReadDir {
    type Item = io::Result<DirEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| Ok(DirEntry(entry)))
    }
}

macro_rules! std_io {
    ($($file:ty),*) => {$(
        impl Read for $file {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0.read_into(None, buffer)
            }
        }

        impl Write for $file {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.write(None, bytes)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Seek for $file {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.0.seek(to)
            }
        }
    )*};
}

std_io!(File, &File);
