//! Paths: relative to the root of the volume, without `.`, `..` and doubled slashes.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::errno::Errno;

/// NAME_MAX of limits.h.
const LONGEST_NAME: usize = 255;

/// A path in its one normal form; the root is the empty path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Normal(PathBuf);

impl Normal {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(Errno::NotFound.into());
        }
        let mut normal = PathBuf::new();
        for component in path.components() {
            match component {
                Component::Normal(name) => normal.push(valid(name)?),
                Component::ParentDir => drop(normal.pop()),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(Normal(normal))
    }

    /// Its names, from the root on.
    pub(crate) fn names(&self) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.0.iter()
    }

    /// Whether this leads to something inside `outer`.
    pub(crate) fn is_inside(&self, outer: &Normal) -> bool {
        self != outer && self.0.starts_with(&outer.0)
    }

    /// The path in words, as patterns of faults see it: no slash in front, `.` for the root.
    pub(crate) fn words(&self) -> String {
        match self.0.as_os_str().is_empty() {
            true => ".".to_string(),
            false => self.0.to_string_lossy().into_owned(),
        }
    }
}

fn valid(name: &OsStr) -> io::Result<&OsStr> {
    if name.as_encoded_bytes().contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path must not contain NUL"));
    }
    match name.len() > LONGEST_NAME {
        true => Err(Errno::NameTooLong.into()),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_normal_form() {
        for path in ["wal/1", "/wal/1", "//wal//1/", "./wal/./1", "../x/../wal/1", "/../wal/1"] {
            assert_eq!(Normal::new(Path::new(path)).unwrap().words(), "wal/1", "{path}");
        }
        assert_eq!(Normal::new(Path::new("/")).unwrap().words(), ".");
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let kind = |path: &str| Normal::new(Path::new(path)).unwrap_err().kind();
        assert_eq!(kind(""), io::ErrorKind::NotFound);
        assert_eq!(kind("a\0b"), io::ErrorKind::InvalidInput);
        assert_eq!(kind(&"x".repeat(256)), io::ErrorKind::InvalidFilename);
    }
}
