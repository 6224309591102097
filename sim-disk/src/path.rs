//! Paths in words, as patterns of faults and the log have them.

use std::path::{Component, Path, PathBuf};

/// A path in its one normal form: no slash in front, no `.`, `..` or doubled slashes; `.` for the root. Symbolic links stay
/// as they were written.
pub(crate) fn words(path: &Path) -> String {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    match normal.as_os_str().is_empty() {
        true => ".".to_string(),
        false => normal.to_string_lossy().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_normal_form() {
        for path in ["wal/1", "/wal/1", "//wal//1/", "./wal/./1", "../x/../wal/1", "/../wal/1"] {
            assert_eq!(words(Path::new(path)), "wal/1", "{path}");
        }
        assert_eq!(words(Path::new("/")), ".");
    }
}
