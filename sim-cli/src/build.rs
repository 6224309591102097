//! Has Cargo build the tests, and finds the executables.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::arguments::Build;
use crate::stop::Stop;

/// A test executable.
#[derive(Clone, Debug)]
pub(crate) struct Executable {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The target that it was built from: `replicated_kv` for `tests/replicated_kv.rs`.
    pub(crate) target: String,
    /// The directory of its package, in which `cargo test` would start it.
    pub(crate) directory: PathBuf,
}

/// The messages of Cargo that matter here.
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds the tests of libraries and binaries, `tests/`, and examples with `test = true`; what Cargo and the compiler
/// have to say goes to standard error.
pub(crate) fn executables(build: &Build) -> Result<Vec<Executable>, Stop> {
    let mut cargo = cargo();
    cargo.args(["test", "--no-run", "--tests", "--message-format=json-render-diagnostics"]).args(build.words());
    let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| no_cargo(&error))?;
    if !output.status.success() {
        return Err(Stop::Usage("the tests do not build; Cargo says why above".to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(executable).collect())
}

fn executable(line: &str) -> Option<Executable> {
    match serde_json::from_str(line).ok()? {
        Message::CompilerArtifact { manifest_path, target, profile, executable } if profile.test => {
            let directory = manifest_path.parent()?.to_path_buf();
            Some(Executable { path: executable?, target: target.name, directory })
        }
        _ => None,
    }
}

/// Cargo's target directory, for whoever is `here`.
pub(crate) fn target_directory(here: &Path) -> Result<PathBuf, Stop> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let mut cargo = cargo();
    cargo.current_dir(here).args(["metadata", "--no-deps", "--format-version=1"]);
    let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| no_cargo(&error))?;
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| Stop::Internal(format!("cargo metadata does not name the target directory: {error}")))?;
    Ok(metadata.target_directory)
}

/// The Cargo that started this program, else any.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

fn no_cargo(error: &std::io::Error) -> Stop {
    Stop::Usage(format!("cannot start cargo ({error}): is it in PATH, or named by the variable CARGO?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executables_of_tests_are_taken() {
        let artifact = |test: bool, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/p/Cargo.toml","target":{{"name":"t"}},
                   "profile":{{"test":{test}}},"executable":{executable}}}"#
            )
        };
        let found = executable(&artifact(true, r#""/t/debug/deps/t-1""#)).expect("a test");
        assert_eq!(found.directory, PathBuf::from("/p"));
        assert!(executable(&artifact(false, r#""/t/debug/t""#)).is_none());
        assert!(executable(&artifact(true, "null")).is_none());
        assert!(executable(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
