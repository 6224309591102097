//! The blocking face against the real file system: random sequences of calls get the same answers, errors included.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use sim_core::Sim;

#[derive(Clone, Copy, Debug)]
enum Call {
    Open { slot: usize, path: usize, flags: u8 },
    Clone { from: usize, to: usize },
    Close { slot: usize },
    Read { slot: usize, length: usize },
    Write { slot: usize, length: usize },
    ReadAt { slot: usize, length: usize, offset: u64 },
    WriteAt { slot: usize, length: usize, offset: u64 },
    Seek { slot: usize, whence: u8, by: i64 },
    SetLen { slot: usize, length: u64 },
    Sync { slot: usize },
    Stat { slot: usize },
    Metadata { path: usize },
    List { path: usize },
    Slurp { path: usize },
    Spit { path: usize, length: usize },
    MakeDir { path: usize },
    MakeDirs { path: usize },
    RemoveDir { path: usize },
    RemoveDirs { path: usize },
    RemoveFile { path: usize },
    Rename { from: usize, to: usize },
    Link { from: usize, to: usize },
    Copy { from: usize, to: usize },
    Symlink { from: usize, to: usize },
    ReadLink { path: usize },
    RealPath { path: usize },
    LinkMetadata { path: usize },
}

const PATHS: [&str; 15] =
    ["a", "b", "c", "a/a", "a/b", "a/c", "b/a", "b/b", "a/b/c", "a/b/c/d", "b/../a", "a/../b", "a/", "b/b/", "./c"];

/// What symbolic links say.
const TARGETS: [&str; 6] = ["b", "a/b", "c", "a", "nowhere", "a/b/"];
const SLOTS: usize = 3;

fn call() -> impl Strategy<Value = Call> {
    let (path, slot, length, offset) = (|| 0..PATHS.len(), || 0..SLOTS, || 0..9_000usize, || 0..20_000u64);
    prop_oneof![
        6 => (slot(), path(), any::<u8>()).prop_map(|(slot, path, flags)| Call::Open { slot, path, flags }),
        // Read and write, create: what most programs do.
        4 => (slot(), path()).prop_map(|(slot, path)| Call::Open { slot, path, flags: 0b01_0011 }),
        1 => (slot(), slot()).prop_map(|(from, to)| Call::Clone { from, to }),
        1 => slot().prop_map(|slot| Call::Close { slot }),
        3 => (slot(), length()).prop_map(|(slot, length)| Call::Read { slot, length }),
        4 => (slot(), length()).prop_map(|(slot, length)| Call::Write { slot, length }),
        2 => (slot(), length(), offset()).prop_map(|(slot, length, offset)| Call::ReadAt { slot, length, offset }),
        3 => (slot(), length(), offset()).prop_map(|(slot, length, offset)| Call::WriteAt { slot, length, offset }),
        2 => (slot(), 0..3u8, -5_000..15_000i64).prop_map(|(slot, whence, by)| Call::Seek { slot, whence, by }),
        2 => (slot(), offset()).prop_map(|(slot, length)| Call::SetLen { slot, length }),
        1 => slot().prop_map(|slot| Call::Sync { slot }),
        1 => slot().prop_map(|slot| Call::Stat { slot }),
        2 => path().prop_map(|path| Call::Metadata { path }),
        2 => path().prop_map(|path| Call::List { path }),
        3 => path().prop_map(|path| Call::Slurp { path }),
        2 => (path(), length()).prop_map(|(path, length)| Call::Spit { path, length }),
        4 => path().prop_map(|path| Call::MakeDir { path }),
        2 => path().prop_map(|path| Call::MakeDirs { path }),
        2 => path().prop_map(|path| Call::RemoveDir { path }),
        1 => path().prop_map(|path| Call::RemoveDirs { path }),
        2 => path().prop_map(|path| Call::RemoveFile { path }),
        5 => (path(), path()).prop_map(|(from, to)| Call::Rename { from, to }),
        2 => (path(), path()).prop_map(|(from, to)| Call::Link { from, to }),
        2 => (path(), path()).prop_map(|(from, to)| Call::Copy { from, to }),
        3 => (0..TARGETS.len(), path()).prop_map(|(from, to)| Call::Symlink { from, to }),
        1 => path().prop_map(|path| Call::ReadLink { path }),
        1 => path().prop_map(|path| Call::RealPath { path }),
        2 => path().prop_map(|path| Call::LinkMetadata { path }),
    ]
}

/// What a call said: bytes and numbers, or the error.
type Answer = Result<Vec<u64>, io::ErrorKind>;

fn numbers(bytes: &[u8]) -> Vec<u64> {
    bytes.iter().map(|byte| u64::from(*byte)).collect()
}

/// One world of files under `root`; the same code for the simulated and for the real one.
macro_rules! world {
    ($name:ident, $($names:item)*) => {
        mod $name {
            use super::*;
            $($names)*

            fn open(root: &Path, path: usize, flags: u8) -> io::Result<fs::File> {
                let flag = |bit: u8| flags & (1 << bit) != 0;
                let mut options = fs::File::options();
                options.read(flag(0)).write(flag(1)).append(flag(2)).truncate(flag(3));
                options.create(flag(4)).create_new(flag(5)).open(root.join(PATHS[path]))
            }

            fn stat(found: fs::Metadata) -> Vec<u64> {
                let (length, links) = if found.is_file() { (found.len(), found.nlink()) } else { (0, 0) };
                vec![u64::from(found.is_dir()), length, links]
            }

            fn fill(length: usize, with: u8) -> Vec<u8> {
                (0..length).map(|place| (place as u8).wrapping_mul(31).wrapping_add(with)).collect()
            }

            fn with_file(
                files: &mut [Option<fs::File>; SLOTS],
                slot: usize,
                f: impl FnOnce(&mut fs::File) -> io::Result<Vec<u64>>,
            ) -> io::Result<Vec<u64>> {
                files[slot].as_mut().map_or(Ok(Vec::new()), f)
            }

            fn answer(root: &Path, files: &mut [Option<fs::File>; SLOTS], n: u8, call: Call) -> io::Result<Vec<u64>> {
                let at = |path: usize| root.join(PATHS[path]);
                let done = |()| Vec::new();
                match call {
                    Call::Open { slot, path, flags } => {
                        files[slot] = None;
                        files[slot] = Some(open(root, path, flags)?);
                        Ok(Vec::new())
                    }
                    Call::Clone { from, to } => {
                        files[to] = files[from].as_ref().map(fs::File::try_clone).transpose()?;
                        Ok(Vec::new())
                    }
                    Call::Close { slot } => {
                        files[slot] = None;
                        Ok(Vec::new())
                    }
                    Call::Read { slot, length } => with_file(files, slot, |file| {
                        let mut buffer = vec![0; length];
                        let length = file.read(&mut buffer)?;
                        Ok(numbers(&buffer[..length]))
                    }),
                    Call::Write { slot, length } => {
                        with_file(files, slot, |file| Ok(vec![file.write(&fill(length, n))? as u64]))
                    }
                    Call::ReadAt { slot, length, offset } => with_file(files, slot, |file| {
                        let mut buffer = vec![0; length];
                        let length = file.read_at(&mut buffer, offset)?;
                        Ok(numbers(&buffer[..length]))
                    }),
                    Call::WriteAt { slot, length, offset } => {
                        with_file(files, slot, |file| Ok(vec![file.write_at(&fill(length, n), offset)? as u64]))
                    }
                    // The position in a directory is the business of its file system.
                    Call::Seek { slot, whence, by } => with_file(files, slot, |file| match file.metadata()?.is_dir() {
                        true => Ok(Vec::new()),
                        false => Ok(vec![file.seek(match whence {
                            0 => SeekFrom::Start(by.unsigned_abs()),
                            1 => SeekFrom::Current(by),
                            _ => SeekFrom::End(by),
                        })?]),
                    }),
                    Call::SetLen { slot, length } => with_file(files, slot, |file| file.set_len(length).map(done)),
                    Call::Sync { slot } => with_file(files, slot, |file| match n % 2 {
                        0 => file.sync_all().map(done),
                        _ => file.sync_data().map(done),
                    }),
                    Call::Stat { slot } => with_file(files, slot, |file| Ok(stat(file.metadata()?))),
                    Call::Metadata { path } => {
                        let exists = exists(at(path))?;
                        Ok([vec![u64::from(exists)], stat(fs::metadata(at(path))?)].concat())
                    }
                    Call::List { path } => {
                        let names = fs::read_dir(at(path))?.map(|entry| Ok(entry?.file_name()));
                        let mut names = names.collect::<io::Result<Vec<_>>>()?;
                        names.sort();
                        Ok(names.iter().flat_map(|name| numbers(name.as_encoded_bytes())).collect())
                    }
                    Call::Slurp { path } => Ok(numbers(&fs::read(at(path))?)),
                    Call::Spit { path, length } => fs::write(at(path), fill(length, n)).map(done),
                    Call::MakeDir { path } => fs::create_dir(at(path)).map(done),
                    Call::MakeDirs { path } => fs::create_dir_all(at(path)).map(done),
                    Call::RemoveDir { path } => fs::remove_dir(at(path)).map(done),
                    Call::RemoveDirs { path } => fs::remove_dir_all(at(path)).map(done),
                    Call::RemoveFile { path } => fs::remove_file(at(path)).map(done),
                    Call::Rename { from, to } => fs::rename(at(from), at(to)).map(done),
                    Call::Link { from, to } => fs::hard_link(at(from), at(to)).map(done),
                    Call::Copy { from, to } => Ok(vec![fs::copy(at(from), at(to))?]),
                    Call::Symlink { from, to } => symlink(TARGETS[from], at(to)).map(done),
                    Call::ReadLink { path } => Ok(numbers(fs::read_link(at(path))?.as_os_str().as_encoded_bytes())),
                    Call::RealPath { path } => {
                        let path = fs::canonicalize(at(path))?;
                        let inside = path.strip_prefix(root.canonicalize().as_deref().unwrap_or(root)).unwrap_or(&path);
                        Ok(numbers(inside.as_os_str().as_encoded_bytes()))
                    }
                    Call::LinkMetadata { path } => {
                        let found = fs::symlink_metadata(at(path))?;
                        Ok(vec![u64::from(found.is_symlink()), if found.is_dir() { 0 } else { found.len() }])
                    }
                }
            }

            pub(super) fn answers(root: &Path, calls: &[Call]) -> Vec<Answer> {
                let mut files = [const { None }; SLOTS];
                let answer = |(n, call): (usize, &Call)| answer(root, &mut files, n as u8, *call).map_err(|e| e.kind());
                calls.iter().enumerate().map(answer).collect()
            }
        }
    };
}

world! {
    simulated,
    use sim_disk::blocking::{self as fs, symlink, try_exists as exists};
}

world! {
    real,
    use std::fs::{self, exists};
    use std::os::unix::fs::{FileExt, MetadataExt, symlink};
}

fn real_answers(calls: &[Call]) -> Vec<Answer> {
    static ROOTS: AtomicU32 = AtomicU32::new(0);
    let number = ROOTS.fetch_add(1, Ordering::Relaxed);
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("linux-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    let answers = real::answers(&root, calls);
    std::fs::remove_dir_all(&root).unwrap();
    answers
}

fn simulated_answers(calls: &[Call]) -> Vec<Answer> {
    let answers = std::rc::Rc::new(std::cell::RefCell::default());
    let (into, calls) = (answers.clone(), calls.to_vec());
    let report = Sim::new(1).run(|| async move {
        // Not the root of the volume: `..` leads out of the real one.
        let root = Path::new("/above/root");
        sim_disk::blocking::create_dir_all(root).unwrap();
        *into.borrow_mut() = simulated::answers(root, &calls);
    });
    assert!(report.passed(), "{}", report.render(&[]));
    answers.take()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disk_conformance_random_calls_get_the_answers_of_linux(calls in prop::collection::vec(call(), 1..80)) {
        let (ours, theirs) = (simulated_answers(&calls), real_answers(&calls));
        for (place, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            prop_assert_eq!(ours, theirs, "call {}: {:?}", place, calls[place]);
        }
    }
}
