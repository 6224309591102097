//! Which program the results belong to.

use std::path::Path;
use std::process::Command;

use sim_core::hash::{fold, hash_bytes, hash_str};

/// The commit that is checked out in `directory`. Where something differs from it, `+dirty.` and a hash of the
/// difference follow: two edits of one commit are two programs. `None`: there is no git, or no commit.
///
/// What counts is every tracked file, and untracked ones that Cargo would build.
pub(crate) fn current(directory: &Path) -> Option<String> {
    let commit = git(directory, &["rev-parse", "HEAD"])?.trim().to_string();
    let difference = git(directory, &["diff", "--no-ext-diff", "--binary", "HEAD"])?;
    let listed = git(directory, &["ls-files", "-z", "--others", "--exclude-standard", "--", ":/*.rs", ":/*.toml"])?;
    if difference.is_empty() && listed.is_empty() {
        return Some(commit);
    }
    let untracked = listed.split_terminator('\0').map(|name| {
        let content = std::fs::read(directory.join(name)).unwrap_or_default();
        fold(hash_str(name), hash_bytes(&content))
    });
    let hash = untracked.fold(hash_str(&difference), fold);
    Some(format!("{commit}+dirty.{hash:016x}"))
}

/// What git prints, if it can do it.
fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(directory).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_is_another_program_and_other_files_are_none() {
        let directory = std::env::temp_dir().join(format!("cargo-sim-commit-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a temporary directory");
        let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).expect("a file");
        let run = |arguments: &[&str]| git(&directory, arguments).expect("git works");
        run(&["init", "--quiet"]);
        write("a.rs", "1");
        run(&["add", "."]);
        let name = ["-c", "user.name=a", "-c", "user.email=a@b"];
        run(&[&name[..], &["commit", "--quiet", "-m", "first"]].concat());

        let mut seen = vec![current(&directory).expect("a commit")];
        assert_eq!(seen[0].len(), 40);
        write("results.jsonl", "{}");
        assert_eq!(current(&directory), Some(seen[0].clone()));
        for (file, text) in [("a.rs", "2"), ("a.rs", "3"), ("b.rs", "1"), ("b.rs", "2")] {
            write(file, text);
            let now = current(&directory).expect("a commit");
            assert!(now.starts_with(&format!("{}+dirty.", seen[0])) && !seen.contains(&now), "{now}");
            seen.push(now);
        }
        std::fs::remove_dir_all(&directory).expect("the directory is still there");
    }
}
