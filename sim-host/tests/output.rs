//! What programs print: by the line, where they send it, whatever prints it.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};

use sim_core::{Outcome, Sim, node};
use sim_host::hosting::node::Host;
use sim_host::hosting::output::Printed;

/// Runs programs on nodes of these names, one after the other. What each printed.
fn printed<const N: usize>(programs: [(&'static str, fn()); N]) -> [Printed; N] {
    let told = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let out = told.clone();
    let report = Sim::new(1).record(true).run(async move || {
        for (name, program) in programs {
            let node = node(name).host(program);
            node.join().await;
        }
        programs.iter().for_each(|(name, _)| out.borrow_mut().push(node(name).printed()));
    });
    assert_eq!(report.outcome, Outcome::Passed, "{}", report.message);
    let told = told.take();
    told.try_into().unwrap()
}

unsafe extern "C" {
    fn printf(format: *const libc::c_char, ...) -> libc::c_int;
    fn puts(text: *const libc::c_char) -> libc::c_int;
    static stderr: *mut libc::FILE;
}

#[test]
fn what_c_prints_is_output_of_its_node() {
    let [a, b] = printed([
        // SAFETY: a format with one number, and texts that end in zero bytes.
        ("a", || unsafe {
            printf(c"one %d line, ".as_ptr(), 5);
            puts(c"ended".as_ptr());
            libc::fputs(c"wrong\n".as_ptr(), stderr);
            assert_eq!(libc::fileno(stderr), 2);
        }),
        // SAFETY: as above.
        ("b", || unsafe {
            printf(c"of b".as_ptr());
        }),
    ]);
    assert_eq!((&a.stdout[..], &a.stderr[..]), (&b"one 5 line, ended\n"[..], &b"wrong\n"[..]));
    assert_eq!(&b.stdout[..], b"of b");
}

/// As write(2): the standard library's own streams are locked by whoever else prints in the process of these tests.
fn write(descriptor: i32, text: &str) {
    // SAFETY: bytes of the length that is said.
    let written = unsafe { libc::write(descriptor, text.as_ptr().cast(), text.len()) };
    assert_eq!(written, text.len() as isize);
}

#[test]
fn a_standard_stream_is_redirected_and_given_back() {
    let [a] = printed([("a", || {
        let file = std::fs::File::create("/out").unwrap();
        // SAFETY: descriptors of this process.
        unsafe {
            let saved = libc::dup(1);
            assert_eq!(libc::dup2(file.as_raw_fd(), 1), 1);
            write(1, "to the file\n");
            assert_eq!(libc::dup2(1, 2), 2);
            write(2, "this too\n");
            assert_eq!(libc::dup2(saved, 1), 1);
            write(1, "as before\n");
            std::fs::File::from_raw_fd(saved).write_all(b"by the copy\n").unwrap();
        }
        assert_eq!(std::fs::read_to_string("/out").unwrap(), "to the file\nthis too\n");
    })]);
    assert_eq!((&a.stdout[..], &a.stderr[..]), (&b"as before\nby the copy\n"[..], &b""[..]));
}

#[test]
fn what_is_printed_is_shown_by_the_line_however_it_is_written() {
    let report = Sim::new(1).record(true).run(async || {
        let program = node("a").host(|| {
            ["one ", "5", " line", "\n"].into_iter().for_each(|part| write(2, part));
            write(1, "not ended");
        });
        program.join().await;
        // This one is still there when the run ends, in the midst of a line.
        node("b").host(|| {
            write(1, "amid");
            std::thread::sleep(std::time::Duration::from_secs(9));
        });
        sim_core::time::sleep(std::time::Duration::from_secs(1)).await;
    });
    assert_eq!(report.outcome, Outcome::Passed, "{}", report.message);
    let shown = |kind: &str| {
        let log = report.log.iter().flatten().filter(|event| event.kind == kind);
        log.map(|event| event.text.clone()).collect::<Vec<_>>()
    };
    assert_eq!((shown("stderr"), shown("stdout")), (vec!["one 5 line".to_string()], vec!["not ended".to_string()]));
}
