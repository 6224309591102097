//! The text of both faces, written and documented once: a face that awaits passes `async` to these macros.

/// An `OpenOptions` around a [`Mode`].
macro_rules! open_options {
    ($file:ident, $($async:tt)?) => {
        /// How to open a [`File`]: everything off at first, as in std.
        #[derive(Clone, Debug, Default)]
        pub struct OpenOptions(Mode);

        impl OpenOptions {
            /// Options with everything off.
            pub fn new() -> Self {
                OpenOptions::default()
            }

            /// Opens for reading.
            pub fn read(&mut self, read: bool) -> &mut Self {
                self.0.read = read;
                self
            }

            /// Opens for writing.
            pub fn write(&mut self, write: bool) -> &mut Self {
                self.0.write = write;
                self
            }

            /// Opens for writing, always at the end of the file.
            pub fn append(&mut self, append: bool) -> &mut Self {
                self.0.append = append;
                self
            }

            /// Cuts the file to nothing when it opens it.
            pub fn truncate(&mut self, truncate: bool) -> &mut Self {
                self.0.truncate = truncate;
                self
            }

            /// Makes the file when there is none.
            pub fn create(&mut self, create: bool) -> &mut Self {
                self.0.create = create;
                self
            }

            /// Makes the file, and fails when there is one.
            pub fn create_new(&mut self, create_new: bool) -> &mut Self {
                self.0.create_new = create_new;
                self
            }

            /// Opens for reads and writes of whole [sectors](crate::Sector), past the page cache (O_DIRECT). A write
            /// reaches the cache of the device, and is durable after an fsync.
            pub fn direct(&mut self, direct: bool) -> &mut Self {
                self.0.direct = direct;
                self
            }

            /// Opens for writes that are durable when they return (O_DSYNC), each as with [`File::sync_data`].
            pub fn sync(&mut self, sync: bool) -> &mut Self {
                self.0.sync = sync;
                self
            }

            /// Opens a file; or a directory, for reading, to fsync it.
            ///
            /// # Errors
            /// Those of open(2): `NotFound`, `AlreadyExists`, `IsADirectory`, `NotADirectory`, and `InvalidInput` for
            /// options that contradict each other.
            ///
            /// # Panics
            /// Outside a simulation.
            pub $($async)? fn open(&self, path: impl AsRef<Path>) -> io::Result<$file> {
                Handle::open(path.as_ref(), self.0.check()?).map($file::from)
            }
        }
    };
}

/// The free functions of a face, documented once.
macro_rules! functions {
    ($read:ident, $copy:ident, $($async:tt, $await:tt)?) => {
        /// The whole content of a file.
        ///
        /// # Errors
        /// Those of opening, and `IsADirectory`.
        ///
        /// # Panics
        /// Outside a simulation, as every function here.
        pub $($async)? fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
            handle::$read(path.as_ref())$(.$await)?
        }

        /// The whole content of a file, as text.
        ///
        /// # Errors
        /// Those of [`read`], and `InvalidData` where it is not UTF-8.
        pub $($async)? fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
            handle::$read(path.as_ref())$(.$await)?.and_then(handle::text)
        }

        /// Makes or empties a file and writes `contents` to it. Nothing of it is durable.
        ///
        /// # Errors
        /// Those of opening.
        pub $($async)? fn write(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> io::Result<()> {
            handle::write(path.as_ref(), contents.as_ref())
        }

        /// Copies the content of a file to another, which it makes or empties, and says how many bytes.
        ///
        /// # Errors
        /// Those of opening, and `InvalidInput` for a directory.
        pub $($async)? fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<u64> {
            handle::$copy(from.as_ref(), to.as_ref())$(.$await)?
        }

        /// What is known of a file or directory.
        ///
        /// # Errors
        /// `NotFound`, or `NotADirectory` where the path goes through a file.
        pub $($async)? fn metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
            handle::metadata(path.as_ref())
        }

        /// As [`metadata`], of a symbolic link itself where the path ends in one.
        ///
        /// # Errors
        /// Those of [`metadata`].
        pub $($async)? fn symlink_metadata(path: impl AsRef<Path>) -> io::Result<Metadata> {
            handle::symlink_metadata(path.as_ref())
        }

        /// Makes a symbolic link, whether or not there is something at `original`.
        ///
        /// # Errors
        /// `AlreadyExists`; `NotFound` or `NotADirectory` for what it would be in.
        pub $($async)? fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
            handle::symlink(original.as_ref(), link.as_ref())
        }

        /// What a symbolic link says.
        ///
        /// # Errors
        /// `NotFound`, and `InvalidInput` for what is no symbolic link.
        pub $($async)? fn read_link(path: impl AsRef<Path>) -> io::Result<PathBuf> {
            handle::read_link(path.as_ref())
        }

        /// The path from the root without symbolic links, `.` and `..`.
        ///
        /// # Errors
        /// `NotFound`, `NotADirectory`, and ELOOP beyond 40 symbolic links.
        pub $($async)? fn canonicalize(path: impl AsRef<Path>) -> io::Result<PathBuf> {
            handle::canonicalize(path.as_ref())
        }

        /// Whether there is such a file or directory.
        ///
        /// # Errors
        /// `NotADirectory` where the path goes through a file.
        pub $($async)? fn try_exists(path: impl AsRef<Path>) -> io::Result<bool> {
            handle::try_exists(path.as_ref())
        }

        /// Makes a directory. Its name is durable after an fsync of the directory it is in.
        ///
        /// # Errors
        /// `AlreadyExists`; `NotFound` or `NotADirectory` for what it would be in.
        pub $($async)? fn create_dir(path: impl AsRef<Path>) -> io::Result<()> {
            handle::create_dir(path.as_ref())
        }

        /// Makes a directory, and those above it that are missing.
        ///
        /// # Errors
        /// `AlreadyExists` or `NotADirectory` where a file is in the way.
        pub $($async)? fn create_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
            handle::create_dir_all(path.as_ref())
        }

        /// Removes a name of a file. The file lives on while it has another or is open.
        ///
        /// # Errors
        /// `NotFound`, `IsADirectory`.
        pub $($async)? fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
            handle::remove_file(path.as_ref())
        }

        /// Removes an empty directory.
        ///
        /// # Errors
        /// `NotFound`, `NotADirectory`, `DirectoryNotEmpty`; `ResourceBusy` for the root.
        pub $($async)? fn remove_dir(path: impl AsRef<Path>) -> io::Result<()> {
            handle::remove_dir(path.as_ref())
        }

        /// Removes a directory and everything in it.
        ///
        /// # Errors
        /// `NotFound`, `NotADirectory`.
        pub $($async)? fn remove_dir_all(path: impl AsRef<Path>) -> io::Result<()> {
            handle::remove_dir_all(path.as_ref())
        }

        /// Gives a file or directory another name, in place of what had that name. For processes it happens at once; what
        /// a crash leaves of it is the profile's business ([`Names`](crate::profile::Names)).
        ///
        /// # Errors
        /// Those of rename(2): `NotFound`, `IsADirectory`, `NotADirectory`, `DirectoryNotEmpty`, and `InvalidInput` for a
        /// directory that would be inside itself.
        pub $($async)? fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
            handle::rename(from.as_ref(), to.as_ref())
        }

        /// Gives a file one more name.
        ///
        /// # Errors
        /// `NotFound`, `AlreadyExists`, and `PermissionDenied` for a directory. A symbolic link is linked itself.
        pub $($async)? fn hard_link(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
            handle::hard_link(original.as_ref(), link.as_ref())
        }

        /// The entries of a directory, sorted by name, as they are now.
        ///
        /// # Errors
        /// `NotFound`, `NotADirectory`.
        pub $($async)? fn read_dir(path: impl AsRef<Path>) -> io::Result<ReadDir> {
            handle::read_dir(path.as_ref()).map(|entries| ReadDir(entries.into_iter()))
        }

        /// The entries of a directory; see [`read_dir`].
        #[derive(Debug)]
        pub struct ReadDir(std::vec::IntoIter<DirItem>);

        /// An entry of a directory.
        #[derive(Clone, Debug)]
        pub struct DirEntry(DirItem);

        impl DirEntry {
            /// The path that was read, and the name in it.
            pub fn path(&self) -> PathBuf {
                self.0.path.clone()
            }

            /// The name in the directory.
            pub fn file_name(&self) -> OsString {
                self.0.file_name()
            }

            /// The number of its inode.
            pub fn ino(&self) -> u64 {
                self.0.ino
            }

            /// What is known of it now.
            ///
            /// # Errors
            /// `NotFound` when it has been removed.
            pub $($async)? fn metadata(&self) -> io::Result<Metadata> {
                handle::metadata(&self.0.path)
            }
        }
    };
}

/// What the files of both faces have, documented once.
macro_rules! file {
    ($sync:ident, $read_at:ident, $write_at:ident, $($async:tt, $await:tt)?) => {
        impl File {
            /// Opens a file for reading; or a directory, to fsync it.
            ///
            /// # Errors
            /// `NotFound`, `NotADirectory`.
            ///
            /// # Panics
            /// Outside a simulation.
            pub $($async)? fn open(path: impl AsRef<Path>) -> io::Result<File> {
                Handle::open(path.as_ref(), Mode::READ).map(File::from)
            }

            /// Makes or empties a file and opens it for writing.
            ///
            /// # Errors
            /// `NotFound`, `IsADirectory`, `NotADirectory`.
            ///
            /// # Panics
            /// Outside a simulation.
            pub $($async)? fn create(path: impl AsRef<Path>) -> io::Result<File> {
                Handle::open(path.as_ref(), Mode::CREATE).map(File::from)
            }

            /// Makes a file and opens it for reading and writing.
            ///
            /// # Errors
            /// `AlreadyExists`, and those of [`File::create`].
            ///
            /// # Panics
            /// Outside a simulation.
            pub $($async)? fn create_new(path: impl AsRef<Path>) -> io::Result<File> {
                Handle::open(path.as_ref(), Mode::CREATE_NEW).map(File::from)
            }

            /// How to open a file; the same as [`OpenOptions::new`].
            pub fn options() -> OpenOptions {
                OpenOptions::new()
            }

            /// Makes durable what is in the file, or the names in the directory.
            ///
            /// # Errors
            /// EIO for a write-back that failed, as the profile of the disk has it: on Linux once for every descriptor that
            /// was open then; see [`fsync_eio`](crate::fsync_eio). To try again is in vain there, and the second `Ok` is a
            /// lie. EROFS when the journal has failed before. Also when the process has died.
            pub $($async)? fn sync_all(&self) -> io::Result<()> {
                self.0.$sync(Extent::Everything)$(.$await)?
            }

            /// As [`sync_all`](File::sync_all), without times and permissions; and without the name of the file and other
            /// changes of names, unless the file is new, or has another length or new blocks (fdatasync(2)).
            ///
            /// # Errors
            /// Those of [`sync_all`](File::sync_all).
            pub $($async)? fn sync_data(&self) -> io::Result<()> {
                self.0.$sync(Extent::Data)$(.$await)?
            }

            /// Cuts the file, or extends it with zeros.
            ///
            /// # Errors
            /// `InvalidInput` for a file that is not open for writing, `FileTooLarge` beyond 16 TiB.
            pub $($async)? fn set_len(&self, size: u64) -> io::Result<()> {
                self.0.set_len(size)
            }

            /// What is known of the file.
            ///
            /// # Errors
            /// When the process has died.
            pub $($async)? fn metadata(&self) -> io::Result<Metadata> {
                self.0.metadata()
            }

            /// The same open file once more: the two share their position.
            ///
            /// # Errors
            /// When the process has died.
            pub $($async)? fn try_clone(&self) -> io::Result<File> {
                self.0.try_clone().map(File::from)
            }

            /// Reads at an offset and leaves the position alone: pread(2). Says how many bytes; none at the end.
            ///
            /// # Errors
            /// EBADF for a file that is not open for reading, `IsADirectory`.
            pub $($async)? fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
                self.0.$read_at(Some(offset), buffer)$(.$await)?
            }

            /// Writes at an offset and leaves the position alone: pwrite(2). A file that appends does so here too, as on
            /// Linux. Says how many bytes: all, but at the limit of 16 TiB.
            ///
            /// # Errors
            /// EBADF for a file that is not open for writing, `FileTooLarge`.
            pub $($async)? fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
                self.0.$write_at(Some(offset), bytes)$(.$await)?
            }
        }

        impl std::fmt::Debug for File {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

pub(crate) use {file, functions, open_options};
