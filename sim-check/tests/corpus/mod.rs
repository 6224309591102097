//! Where the corpus of histories is.
//!
//! It is not part of the project: `SIM_HISTORIES` names its directory, seen from the root of the checkout. Without it a
//! directory `shared/histories` beside the checkout is used, if there is one.

use std::path::{Path, PathBuf};

/// A corpus, if there is one. One that was asked for has to be there.
pub(crate) fn corpus(name: &str) -> Option<PathBuf> {
    let asked_for = std::env::var_os("SIM_HISTORIES").map(PathBuf::from);
    let root = asked_for.clone().unwrap_or_else(|| PathBuf::from("../shared/histories"));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(root).join(name);
    if corpus.is_dir() {
        return Some(corpus);
    }
    assert_eq!(asked_for, None, "there is no {}", corpus.display());
    println!("not run: there is no {}; set SIM_HISTORIES", corpus.display());
    None
}
