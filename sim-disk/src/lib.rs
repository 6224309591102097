//! The simulated disk of detsim, with the names of `tokio::fs` and of `std::fs`.
//!
//! Every node is a machine with one volume, which outlives its processes. What a program writes stands in the page cache
//! of its machine first, and every process of that machine reads it there. It is durable only when an fsync has said so:
//! the content of a file by fsync of the file, its name by fsync of the directory. A power loss takes everything else,
//! exactly: content, lengths, names, removals. A killed process takes nothing with it. Richer crash images (some of the
//! unsynced effects kept, torn, reordered) have their place in the shape of this crate and are not here yet.
//!
//! | room | what is in it |
//! |---|---|
//! | [`fs`] | the async face: [`fs::File`], [`fs::OpenOptions`], and functions such as [`fs::rename`] |
//! | [`blocking`] | the same for code that does not await |
//! | `face` | the text of the two, written once |
//! | `handle` | what the faces share: is the process alive, do faults strike, then ask the kernel |
//! | `kernel` | descriptors, [`Options`], power: the [`Disk`] device |
//! | `sync` | fsync: what is on its way to the medium, and how it fails |
//! | `volume` | directories, live and durable; names not yet durable |
//! | `unsynced` | [`unsynced()`]: what a power loss now would take |
//! | `content` | the pages of one file: the cached, the dirty, and those on the medium |
//! | `fault` | [`fsync_eio()`] and the operations at which faults may strike |
//!
//! Errors are those of Linux, with its numbers. There are no symbolic links, permissions or times; `..` is resolved in
//! the words of a path, not by walking, and a slash at the end means nothing.

mod content;
mod errno;
mod face;
mod fault;
mod handle;
mod kernel;
mod open;
mod path;
mod sync;
mod unsynced;
mod volume;

pub mod blocking;
pub mod fs;

pub use fault::{KINDS, fsync, fsync_eio, rename, write};
pub use kernel::{Disk, Options, options, set_options};
pub use unsynced::{Loss, Unsynced, unsynced};
