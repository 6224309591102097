//! Files of hosted programs by the functions of C and by raw system calls: what they reach is the volume of their node.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what hosted programs use")]

mod kit;

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sim_core::{Outcome, Sim, node};
use sim_host::hosting::node::Host;

use kit::{has_passed, passes, run};

fn error() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn open(path: &str) -> std::fs::File {
    std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

#[test]
fn remove_takes_files_and_directories_of_the_volume_and_nothing_real() {
    let real = std::env::temp_dir().join(format!("sim-host-{}", std::process::id()));
    std::fs::write(&real, "stays").unwrap();
    let name = CString::new(real.to_str().unwrap()).unwrap();
    passes(move || {
        std::fs::write("/file", "").unwrap();
        std::fs::create_dir("/directory").unwrap();
        std::fs::create_dir("/full").unwrap();
        std::fs::write("/full/file", "").unwrap();
        // SAFETY: strings of C.
        unsafe {
            assert_eq!((libc::remove(name.as_ptr()), error()), (-1, libc::ENOENT));
            assert_eq!(libc::remove(c"/file".as_ptr()), 0);
            assert_eq!(libc::remove(c"/directory".as_ptr()), 0);
            assert_eq!((libc::remove(c"/full".as_ptr()), error()), (-1, libc::ENOTEMPTY));
        }
        assert_eq!(std::fs::read_dir("/").unwrap().filter(|e| e.as_ref().unwrap().file_name() != "tmp").count(), 1);
    });
    assert_eq!(std::fs::read_to_string(&real).unwrap(), "stays");
    std::fs::remove_file(&real).unwrap();
}

#[test]
fn temporary_files_and_directories_get_names_that_the_seed_decides() {
    unsafe extern "C" {
        fn mkostemps(template: *mut c_char, suffix: c_int, flags: c_int) -> c_int;
    }
    passes(|| {
        let mut file = *b"/dataXXXXXX.log\0";
        let mut directory = *b"/scratchXXXXXX\0";
        let mut wrong = *b"/dataXXXXX\0";
        // SAFETY: strings of C that may be written to.
        unsafe {
            let descriptor = mkostemps(file.as_mut_ptr().cast(), 4, libc::O_CLOEXEC);
            assert!(descriptor > 2, "{}", error());
            assert_eq!(libc::write(descriptor, c"hello".as_ptr().cast(), 5), 5);
            assert!(!libc::mkdtemp(directory.as_mut_ptr().cast()).is_null());
            assert_eq!((libc::mkstemp(wrong.as_mut_ptr().cast()), error()), (-1, libc::EINVAL));
        }
        let path = |bytes: &[u8]| CStr::from_bytes_until_nul(bytes).unwrap().to_str().unwrap().to_string();
        assert_ne!(path(&file), "/dataXXXXXX.log");
        assert_eq!(std::fs::read_to_string(path(&file)).unwrap(), "hello");
        assert_eq!(std::fs::metadata(path(&file)).unwrap().mode() & 0o777, 0o600);
        assert!(std::fs::metadata(path(&directory)).unwrap().is_dir());
    });
}

#[test]
fn scattered_reads_and_writes_at_an_offset_go_to_the_file() {
    passes(|| {
        let file = open("/scattered");
        let (mut first, mut second) = (*b"abc", *b"defg");
        let parts = [
            libc::iovec { iov_base: first.as_mut_ptr().cast(), iov_len: 3 },
            libc::iovec { iov_base: second.as_mut_ptr().cast(), iov_len: 4 },
        ];
        // SAFETY: two parts.
        unsafe {
            assert_eq!(libc::pwritev(file.as_raw_fd(), parts.as_ptr(), 2, 2), 7);
            assert_eq!(std::fs::read("/scattered").unwrap(), b"\0\0abcdefg");
            assert_eq!(libc::preadv(file.as_raw_fd(), parts.as_ptr(), 2, 4), 5);
            assert_eq!(libc::preadv2(file.as_raw_fd(), parts.as_ptr(), 1, -1, 0), 3);
            assert_eq!((libc::preadv(file.as_raw_fd(), parts.as_ptr(), 1, -5), error()), (-1, libc::EINVAL));
        }
        assert_eq!((&first, &second), (b"\0\0a", b"fgfg"));
    });
}

#[test]
fn times_of_files_are_set_by_all_the_functions_that_c_has_for_it() {
    passes(|| {
        let file = open("/file");
        let modified = || std::fs::metadata("/file").map(|found| (found.mtime(), found.mtime_nsec())).unwrap();
        let micros = |seconds| [libc::timeval { tv_sec: 1, tv_usec: 0 }, libc::timeval { tv_sec: seconds, tv_usec: 7 }];
        // SAFETY: strings of C, and pairs of times.
        unsafe {
            assert_eq!(libc::utime(c"/file".as_ptr(), &libc::utimbuf { actime: 1, modtime: 2 }), 0);
            assert_eq!(modified(), (2, 0));
            assert_eq!(libc::utimes(c"/file".as_ptr(), micros(3).as_ptr()), 0);
            assert_eq!(modified(), (3, 7_000));
            assert_eq!(libc::futimes(file.as_raw_fd(), micros(4).as_ptr()), 0);
            assert_eq!(modified(), (4, 7_000));
            assert_eq!(libc::lutimes(c"/file".as_ptr(), micros(5).as_ptr()), 0);
            assert_eq!(modified(), (5, 7_000));
            let times = [libc::timespec { tv_sec: 1, tv_nsec: 0 }, libc::timespec { tv_sec: 6, tv_nsec: 9 }];
            let args = (file.as_raw_fd(), std::ptr::null::<c_char>(), times.as_ptr(), 0);
            assert_eq!(libc::syscall(libc::SYS_utimensat, args.0, args.1, args.2, args.3), 0);
            assert_eq!(modified(), (6, 9));
            assert_eq!((libc::utimes(c"/nothing".as_ptr(), micros(3).as_ptr()), error()), (-1, libc::ENOENT));
        }
    });
}

#[test]
fn free_space_is_that_of_the_simulated_volume() {
    passes(|| {
        let free = || {
            // SAFETY: zeros are valid; a string of C and room for the answer.
            unsafe {
                let (mut by_vfs, mut by_fs): (libc::statvfs, libc::statfs) = (std::mem::zeroed(), std::mem::zeroed());
                assert_eq!(libc::statvfs(c"/".as_ptr(), &mut by_vfs), 0);
                assert_eq!(libc::syscall(libc::SYS_statfs, c"/".as_ptr(), &raw mut by_fs), 0);
                assert_eq!((by_vfs.f_bavail, by_vfs.f_blocks), (by_fs.f_bavail, by_fs.f_blocks));
                assert_eq!((libc::statvfs(c"/nothing".as_ptr(), &mut by_vfs), error()), (-1, libc::ENOENT));
                by_fs.f_bavail
            }
        };
        let before = free();
        std::fs::write("/file", vec![1; 5 * 4096]).unwrap();
        assert_eq!(before - free(), 5);
    });
}

#[test]
fn a_process_and_its_machine_are_the_same_on_every_computer() {
    passes(|| {
        // SAFETY: zeros are valid, and there is room for every answer.
        unsafe {
            assert_eq!((libc::getppid(), libc::getpgrp(), libc::getuid()), (1, libc::getpid(), 0));
            let (mut limit, mut machine): (libc::rlimit, libc::sysinfo) = (std::mem::zeroed(), std::mem::zeroed());
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
            assert_eq!(limit.rlim_cur, 1 << 20);
            assert_eq!(libc::sysinfo(&mut machine), 0);
            assert_eq!((machine.totalram, machine.mem_unit), (1 << 30, 1));
            assert_eq!((libc::setuid(1_000), libc::getuid()), (0, 0));
            assert_eq!((libc::sethostname(c"other".as_ptr(), 5), error()), (-1, libc::EPERM));
            assert_eq!(libc::umask(0o077), 0o022);
            assert_eq!(CStr::from_ptr((*libc::getpwuid(0)).pw_name), c"root");
            assert!(libc::getpwnam(c"nobody".as_ptr()).is_null());
            let mut usage: libc::rusage = std::mem::zeroed();
            std::thread::sleep(std::time::Duration::from_secs(3));
            assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
            let clock = libc::times(std::ptr::null_mut());
            std::thread::sleep(std::time::Duration::from_secs(1));
            assert_eq!(libc::times(std::ptr::null_mut()) - clock, 100);
            assert_eq!(usage.ru_maxrss, 0);
        }
        open("/secret");
        assert_eq!(std::fs::metadata("/secret").unwrap().mode() & 0o777, 0o600);
    });
}

#[test]
fn what_would_make_something_real_ends_the_run_by_its_name() {
    let calls: [(&str, fn()); 4] = [
        // SAFETY: strings of C, and numbers.
        ("mkfifo", || _ = unsafe { libc::mkfifo(c"/sim-host-fifo".as_ptr(), 0o600) }),
        // SAFETY: as above.
        ("shm_open", || _ = unsafe { libc::shm_open(c"/sim-host-shm".as_ptr(), libc::O_CREAT, 0o600) }),
        // SAFETY: as above.
        ("alarm", || _ = unsafe { libc::alarm(1) }),
        // SAFETY: as above.
        ("system call perf_event_open", || _ = unsafe { libc::syscall(libc::SYS_perf_event_open, 0, 0, 0, -1, 0) }),
    ];
    for (name, call) in calls {
        let report = run(call);
        assert_eq!(report.outcome, Outcome::Leaked, "{name}: {}", report.message);
        assert!(report.message.contains(&format!("{name} is not modelled")), "{name}: {}", report.message);
    }
    assert!(!Path::new("/sim-host-fifo").exists());
}

#[test]
fn raw_calls_of_the_oldest_numbers_and_the_newest_reach_the_volume() {
    fn call(number: c_long, args: [usize; 4]) -> c_long {
        // SAFETY: the tests give each call what it expects.
        unsafe { libc::syscall(number, args[0], args[1], args[2], args[3]) }
    }
    fn at(path: &CStr) -> usize {
        path.as_ptr() as usize
    }
    passes(|| {
        const HERE: usize = libc::AT_FDCWD as usize;
        #[cfg(target_arch = "x86_64")]
        {
            let file = call(libc::SYS_open, [at(c"/a"), (libc::O_CREAT | libc::O_RDWR) as usize, 0o644, 0]);
            assert!(file > 2);
            assert_eq!(call(libc::SYS_access, [at(c"/a"), libc::R_OK as usize, 0, 0]), 0);
            assert_eq!((call(libc::SYS_access, [at(c"/a"), libc::X_OK as usize, 0, 0]), error()), (-1, libc::EACCES));
        }
        std::fs::write("/a", "0123456789").unwrap();
        assert_eq!(call(libc::SYS_mkdirat, [HERE, at(c"/d"), 0o755, 0]), 0);
        assert_eq!(call(libc::SYS_renameat, [HERE, at(c"/a"), HERE, at(c"/d/b")]), 0);
        assert_eq!(call(libc::SYS_chdir, [at(c"/d"), 0, 0, 0]), 0);
        let mut name = [0u8; 8];
        assert_eq!(call(libc::SYS_getcwd, [name.as_mut_ptr() as usize, 8, 0, 0]), 3);
        assert_eq!(&name[..3], b"/d\0");
        assert_eq!((call(libc::SYS_getcwd, [name.as_mut_ptr() as usize, 2, 0, 0]), error()), (-1, libc::ERANGE));
        let directory = std::fs::File::open("/d").unwrap();
        let mut entries = [0u8; 64];
        let args = [directory.as_raw_fd() as usize, entries.as_mut_ptr() as usize, 64, 0];
        assert_eq!(call(libc::SYS_getdents64, args), 24 * 2, "dot and dot-dot");
        assert_eq!(call(libc::SYS_getdents64, args), 24);
        assert_eq!(&entries[18..21], &[libc::DT_REG, b'b', 0]);
        assert_eq!(call(libc::SYS_getdents64, args), 0);
        assert_eq!((call(libc::SYS_openat2, [HERE, at(c"/d"), 0, 0]), error()), (-1, libc::ENOSYS));
        assert_eq!((call(libc::SYS_memfd_secret, [0, 0, 0, 0]), error()), (-1, libc::ENOSYS));
        assert_eq!((call(libc::SYS_getxattr, [at(c"/d"), at(c"user.x"), 0, 0]), error()), (-1, libc::ENOTSUP));
        assert_eq!(call(libc::SYS_close_range, [3, u32::MAX as usize, 0, 0]), 0);
        assert_eq!(directory.metadata().unwrap_err().raw_os_error(), Some(libc::EBADF));
        std::mem::forget(directory);
    });
}

#[test]
fn sync_makes_the_whole_volume_durable() {
    let report = Sim::new(1).run(async || {
        let life = std::cell::Cell::new(0);
        let program = node("program");
        let _ = &life;
        program.host(|| {
            if std::fs::exists("/file").unwrap() {
                assert_eq!(std::fs::read_to_string("/file").unwrap(), "kept");
                std::fs::write("/seen", "").unwrap();
            } else {
                open("/file").write_all(b"kept").unwrap();
                // SAFETY: takes no argument.
                unsafe { libc::sync() };
                std::thread::sleep(std::time::Duration::from_secs(1_000));
            }
        });
        sim_core::time::sleep(std::time::Duration::from_millis(10)).await;
        program.power_loss();
        program.restart();
        program.join().await;
    });
    has_passed(&report);
}

#[test]
fn a_node_has_a_tmp_that_a_power_loss_leaves_there_empty() {
    let report = Sim::new(1).run(async || {
        let program = node("program").host(|| {
            let directory = std::env::temp_dir();
            assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
            std::fs::write(directory.join("file"), "lost").unwrap();
        });
        program.join().await;
        program.power_loss();
        program.restart();
        program.join().await;
        node("wiped").host(|| {
            std::fs::remove_dir("/tmp").unwrap();
            assert!(!std::fs::exists("/tmp").unwrap());
        });
        node("wiped").join().await;
    });
    has_passed(&report);
}

#[test]
fn reads_and_writes_that_reach_the_device_take_its_time() {
    use std::os::unix::fs::{FileExt, OpenOptionsExt};
    use std::time::{Duration, Instant};
    let report = Sim::new(1).run(async || {
        let mut options = sim_disk::options();
        options.performance.latency = Some(Duration::from_millis(10).into());
        sim_disk::set_options(options);
        node("program").host(|| {
            let file = std::fs::OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .custom_flags(libc::O_DIRECT)
                .open("/direct")
                .unwrap();
            let start = Instant::now();
            file.write_all_at(&[1; 4096], 0).unwrap();
            assert_eq!(start.elapsed(), Duration::from_millis(10));
            file.sync_data().unwrap();
            let start = Instant::now();
            file.read_exact_at(&mut [0; 4096], 0).unwrap();
            assert_eq!(start.elapsed(), Duration::from_millis(10));
        });
        node("program").join().await;
    });
    has_passed(&report);
}

#[test]
fn a_write_back_takes_the_time_of_the_device_where_it_is_waited_for() {
    use std::time::Instant;
    passes(|| {
        let mut file = open("/file");
        file.write_all(b"dirty").unwrap();
        let took = |flags| {
            let start = Instant::now();
            // SAFETY: plain numbers.
            assert_eq!(unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, flags) }, 0);
            start.elapsed()
        };
        assert!(took(libc::SYNC_FILE_RANGE_WRITE).is_zero());
        assert!(took(libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER).as_micros() >= 500);
    });
}

#[test]
fn devices_of_zeros_and_of_no_room_are_there_and_the_home_of_the_user_too() {
    passes(|| {
        use std::io::Read;
        use std::os::unix::fs::FileTypeExt;
        let mut bytes = [1; 8];
        let zeros = open("/dev/zero");
        assert_eq!(((&zeros).read(&mut bytes).unwrap(), bytes), (8, [0; 8]));
        // SAFETY: a new place in the address space.
        unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let map = libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE, zeros.as_raw_fd(), 0);
            assert_ne!(map, libc::MAP_FAILED);
            map.cast::<u8>().write_volatile(7);
            assert_eq!(libc::munmap(map, 4096), 0);
        }
        assert_eq!(open("/dev/full").write(b"x").unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        assert_eq!(open("/dev/null").write(b"x").unwrap(), 1);
        assert!(std::fs::metadata("/dev/full").unwrap().file_type().is_char_device());
        assert!(std::env::home_dir().unwrap().is_dir());
    });
}
