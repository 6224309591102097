//! Streams of C (fopen(3)) in hosted programs.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

mod kit;

use std::ffi::{CStr, c_int};
use std::time::Duration;

use libc::FILE;
use sim_core::{Sim, node};
use sim_host::hosting::node::Host;

use kit::{has_passed, passes};

fn error() -> Option<c_int> {
    std::io::Error::last_os_error().raw_os_error()
}

fn open(path: &CStr, mode: &CStr) -> *mut FILE {
    // SAFETY: two strings of C.
    unsafe { libc::fopen(path.as_ptr(), mode.as_ptr()) }
}

fn line(stream: *mut FILE) -> String {
    let mut bytes = [0u8; 64];
    // SAFETY: room for so many bytes.
    let read = unsafe { libc::fgets(bytes.as_mut_ptr().cast(), 64, stream) };
    if read.is_null() {
        String::new()
    } else {
        CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().to_string()
    }
}

#[test]
fn streams_read_write_append_and_seek_in_files_of_the_volume() {
    passes(|| {
        assert!(open(c"/nothing", c"r").is_null());
        assert_eq!(error(), Some(libc::ENOENT));
        assert!(open(c"/nothing", c"z").is_null());
        assert_eq!(error(), Some(libc::EINVAL));
        // SAFETY: streams that are open, and strings of C.
        unsafe {
            let stream = open(c"/file", c"w");
            assert!(libc::fileno(stream) > 2);
            assert!(libc::fputs(c"one\ntwo\n".as_ptr(), stream) >= 0);
            assert_eq!(std::fs::read("/file").unwrap(), b"", "it is in a buffer");
            assert_eq!(libc::fflush(stream), 0);
            assert_eq!(std::fs::read("/file").unwrap(), b"one\ntwo\n");
            assert_eq!(libc::fclose(stream), 0);
            let stream = open(c"/file", c"a+");
            assert!(libc::fputs(c"three\n".as_ptr(), stream) >= 0);
            assert_eq!(libc::fseek(stream, 4, libc::SEEK_SET), 0);
            assert_eq!((line(stream), line(stream), line(stream)), ("two\n".into(), "three\n".into(), "".into()));
            assert_eq!(libc::ftell(stream), 14);
            assert_eq!(libc::fclose(stream), 0);
            assert!(open(c"/file", c"wx").is_null());
            assert_eq!(error(), Some(libc::EEXIST));
        }
    });
}

#[test]
fn streams_of_descriptors_and_of_nameless_files_are_as_any_other() {
    passes(|| {
        // SAFETY: streams that are open, and strings of C.
        unsafe {
            let mut ends = [0; 2];
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            let writer = libc::fdopen(ends[1], c"w".as_ptr());
            assert!(libc::fputs(c"through\n".as_ptr(), writer) >= 0);
            assert_eq!(libc::fclose(writer), 0);
            assert_eq!(line(libc::fdopen(ends[0], c"r".as_ptr())), "through\n");
            let nameless = libc::tmpfile();
            assert!(libc::fputs(c"kept\n".as_ptr(), nameless) >= 0);
            libc::rewind(nameless);
            assert_eq!(line(nameless), "kept\n");
            assert_eq!(std::fs::read_dir("/tmp").unwrap().count(), 0);
            assert!(libc::fdopen(100_000, c"r".as_ptr()).is_null());
            assert_eq!(error(), Some(libc::EBADF));
        }
    });
}

#[test]
fn what_is_in_a_buffer_is_written_when_main_returns_and_is_lost_when_it_is_killed() {
    fn write_without_a_flush(path: &CStr) {
        // SAFETY: a stream that is open, and a string of C.
        assert!(unsafe { libc::fputs(c"text".as_ptr(), open(path, c"w")) } >= 0);
    }
    let report = Sim::new(1).run(async || {
        let program = node("program").host(|| {
            if std::fs::exists("/killed").unwrap() {
                assert_eq!(std::fs::read("/killed").unwrap(), b"");
                match std::fs::read("/returned") {
                    Ok(text) => std::fs::write("/seen", text).unwrap(),
                    Err(_) => write_without_a_flush(c"/returned"),
                }
                return;
            }
            write_without_a_flush(c"/killed");
            std::thread::sleep(Duration::from_secs(100));
        });
        sim_core::time::sleep(Duration::from_secs(1)).await;
        program.crash();
        for _ in 0..2 {
            program.restart();
            program.join().await;
        }
        let seen = sim_disk::fs::read("/seen");
        assert_eq!(program.spawn(seen).await.unwrap().unwrap(), b"text");
    });
    has_passed(&report);
    // The C library goes through all streams of the process.
    // SAFETY: null stands for all.
    assert_eq!(unsafe { libc::fflush(std::ptr::null_mut()) }, 0);
}
