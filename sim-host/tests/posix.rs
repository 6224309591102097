//! What C programs ask of Linux, asked by hosted programs: waiting for descriptors, pthreads, signals, real paths.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what hosted programs use")]

mod kit;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libc::{c_int, c_void, pollfd, timeval};
use sim_core::{Outcome, Sim, node};
use sim_host::hosting::node::Host;

use kit::{has_passed, passes, run};

/// Both ends of a pipe, the second one written to after ten milliseconds.
fn pipe_written_to_later() -> (c_int, std::thread::JoinHandle<()>) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(10));
        // SAFETY: a byte that is there.
        assert_eq!(unsafe { libc::write(ends[1], c"x".as_ptr().cast(), 1) }, 1);
    });
    (ends[0], writer)
}

#[test]
fn poll_waits_until_a_descriptor_is_ready_or_the_time_is_over() {
    passes(|| {
        let (end, writer) = pipe_written_to_later();
        let mut list = [pollfd { fd: end, events: libc::POLLIN, revents: 0 }, pollfd { fd: -1, events: 0, revents: 1 }];
        let start = Instant::now();
        // SAFETY: two entries.
        assert_eq!(unsafe { libc::poll(list.as_mut_ptr(), 2, 4) }, 0);
        assert_eq!(start.elapsed(), Duration::from_millis(4));
        // SAFETY: as above.
        assert_eq!(unsafe { libc::poll(list.as_mut_ptr(), 2, -1) }, 1);
        assert_eq!(start.elapsed(), Duration::from_millis(10));
        assert_eq!((list[0].revents, list[1].revents), (libc::POLLIN, 0));
        writer.join().unwrap();
    });
}

#[test]
fn select_waits_until_a_descriptor_is_ready_or_the_time_is_over() {
    passes(|| {
        let (end, writer) = pipe_written_to_later();
        let select = |limit: Duration| {
            // SAFETY: an all-zero set is an empty one; the descriptor is below its size.
            unsafe {
                let mut read: libc::fd_set = MaybeUninit::zeroed().assume_init();
                libc::FD_SET(end, &mut read);
                let mut time = timeval { tv_sec: 0, tv_usec: limit.as_micros() as i64 };
                let told = libc::select(end + 1, &mut read, null_mut(), null_mut(), &mut time);
                (told, libc::FD_ISSET(end, &read))
            }
        };
        let start = Instant::now();
        assert_eq!(select(Duration::from_millis(4)), (0, false));
        assert_eq!(start.elapsed(), Duration::from_millis(4));
        assert_eq!(select(Duration::from_millis(500)), (1, true));
        assert_eq!(start.elapsed(), Duration::from_millis(10));
        writer.join().unwrap();
    });
}

#[test]
fn unix_sockets_have_names_on_the_volume_of_their_node() {
    passes(|| {
        let listener = UnixListener::bind("/run.sock").unwrap();
        assert!(listener.as_raw_fd() > 2);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        let mut client = UnixStream::connect("/run.sock").unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.join().unwrap(), "hello");
        assert_eq!(UnixStream::connect("/nobody.sock").unwrap_err().kind(), std::io::ErrorKind::NotFound);
    });
    assert!(!std::path::Path::new("/run.sock").exists());
}

#[test]
fn a_real_path_is_seen_where_it_was_asked_for_and_is_read_only() {
    let report = Sim::new(1).run(async || {
        let here = env!("CARGO_MANIFEST_DIR");
        node("sees").reads_real_path(here).host(move || {
            let manifest = std::fs::read_to_string(format!("{here}/Cargo.toml")).unwrap();
            assert!(manifest.contains("sim-host"));
            assert!(std::fs::write(format!("{here}/Cargo.toml"), "").is_err());
            assert!(std::fs::read_to_string("/etc/passwd").is_err(), "the rest of the machine is not there");
        });
        node("does-not").host(move || assert!(std::fs::read_to_string(format!("{here}/Cargo.toml")).is_err()));
        node("sees").join().await;
        node("does-not").join().await;
    });
    has_passed(&report);
}

#[test]
fn a_library_that_is_really_there_can_be_loaded() {
    let report = Sim::new(1).run(async || {
        let places = ["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64", "/usr/lib"];
        let library = places.map(|place| format!("{place}/libanl.so.1"));
        let library = library.into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
        let load = move || {
            let name = std::ffi::CString::new(&*library).unwrap();
            // SAFETY: a string of C; the library of the C library has no constructors.
            unsafe {
                let loaded = libc::dlopen(name.as_ptr(), libc::RTLD_NOW);
                let why = if loaded.is_null() { Some(std::ffi::CStr::from_ptr(libc::dlerror())) } else { None };
                why.map(|why| why.to_string_lossy().into_owned())
            }
        };
        let again = load.clone();
        node("may-not").host(move || assert!(load().unwrap().contains("No such file"))).join().await;
        let may = node("may").reads_real_path("/lib").reads_real_path("/usr/lib").reads_real_path("/lib64");
        may.host(move || assert_eq!(again(), None)).join().await;
    });
    has_passed(&report);
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_signal: c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_signal_to_itself_calls_the_handler() {
    passes(|| {
        // SAFETY: a handler of the right type; a signal to this process.
        unsafe {
            libc::signal(libc::SIGUSR1, count as *const () as usize);
            libc::raise(libc::SIGUSR1);
            libc::kill(libc::getpid(), libc::SIGUSR1);
        }
        assert_eq!(HANDLED.load(Ordering::Relaxed), 2);
    });
}

extern "C" fn leave(_signal: c_int) {
    // SAFETY: this process is a simulated one.
    unsafe { libc::exit(0) }
}

#[test]
fn sigterm_ends_a_process_or_calls_its_handler_which_may_exit() {
    for handles in [false, true] {
        let report = Sim::new(1).run(async move || {
            let program = node("program").host(move || {
                if handles {
                    // SAFETY: a handler of the right type.
                    unsafe { libc::signal(libc::SIGTERM, leave as *const () as usize) };
                }
                std::thread::sleep(Duration::from_secs(1_000));
            });
            sim_core::time::sleep(Duration::from_secs(1)).await;
            program.terminate();
            program.join().await;
            assert_eq!(sim_core::time::elapsed().as_secs(), 1);
        });
        has_passed(&report);
    }
}

/// Something of C that threads share.
struct Shared<T>(MaybeUninit<T>);

// SAFETY: what is inside is a lock of C, made to be shared.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new() -> Self {
        Shared(MaybeUninit::zeroed())
    }

    fn at(&self) -> *mut T {
        self.0.as_ptr().cast_mut()
    }
}

#[test]
fn mutexes_and_condition_variables_of_c_hand_over() {
    passes(|| {
        let (mutex, condition) = (Shared::<libc::pthread_mutex_t>::new(), Shared::<libc::pthread_cond_t>::new());
        let turn = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for me in 0..3 {
                let (mutex, condition, turn) = (&mutex, &condition, &turn);
                // SAFETY: all-zero ones are ready for use; both live as long as the scope.
                scope.spawn(move || unsafe {
                    libc::pthread_mutex_lock(mutex.at());
                    while turn.load(Ordering::Relaxed) != me {
                        libc::pthread_cond_wait(condition.at(), mutex.at());
                    }
                    turn.store(me + 1, Ordering::Relaxed);
                    libc::pthread_cond_broadcast(condition.at());
                    libc::pthread_mutex_unlock(mutex.at());
                });
            }
        });
        assert_eq!(turn.load(Ordering::Relaxed), 3);
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let start = Instant::now();
        // SAFETY: as above; nobody signals, so the time runs out.
        unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &mut now);
            now.tv_sec += 2;
            libc::pthread_mutex_lock(mutex.at());
            assert_eq!(libc::pthread_cond_timedwait(condition.at(), mutex.at(), &now), libc::ETIMEDOUT);
            libc::pthread_mutex_unlock(mutex.at());
        }
        assert_eq!(start.elapsed().as_secs(), 2);
    });
}

#[test]
fn readers_share_a_lock_of_c_and_a_writer_does_not() {
    passes(|| {
        let lock = Shared::<libc::pthread_rwlock_t>::new();
        let (readers, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    // SAFETY: an all-zero lock is ready for use.
                    unsafe { libc::pthread_rwlock_rdlock(lock.at()) };
                    most.fetch_max(readers.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_secs(1));
                    readers.fetch_sub(1, Ordering::Relaxed);
                    // SAFETY: locked above.
                    unsafe { libc::pthread_rwlock_unlock(lock.at()) };
                });
            }
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(500));
                // SAFETY: as above.
                unsafe { libc::pthread_rwlock_wrlock(lock.at()) };
                assert_eq!((readers.load(Ordering::Relaxed), start.elapsed().as_secs()), (0, 1));
                // SAFETY: locked above.
                unsafe { libc::pthread_rwlock_unlock(lock.at()) };
            });
        });
        assert_eq!(most.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn semaphores_and_barriers_of_c_count() {
    passes(|| {
        let (semaphore, barrier) = (Shared::<libc::sem_t>::new(), Shared::<libc::pthread_barrier_t>::new());
        // SAFETY: room for both.
        unsafe {
            libc::sem_init(semaphore.at(), 0, 0);
            libc::pthread_barrier_init(barrier.at(), std::ptr::null(), 3);
        }
        let serial = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                // SAFETY: made above, and alive as long as the scope.
                scope.spawn(|| unsafe {
                    if libc::pthread_barrier_wait(barrier.at()) == libc::PTHREAD_BARRIER_SERIAL_THREAD {
                        serial.fetch_add(1, Ordering::Relaxed);
                    }
                    libc::sem_post(semaphore.at());
                });
            }
            // SAFETY: as above.
            (0..3).for_each(|_| assert_eq!(unsafe { libc::sem_wait(semaphore.at()) }, 0));
        });
        assert_eq!(serial.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn thread_locals_are_those_of_their_thread_and_their_destructors_run_before_it_is_joined() {
    struct Noted(u32, Arc<Mutex<Vec<u32>>>);
    impl Drop for Noted {
        fn drop(&mut self) {
            // A destructor may wait.
            std::thread::sleep(Duration::from_millis(1));
            self.1.lock().unwrap().push(self.0);
        }
    }
    thread_local! {
        static MINE: RefCell<Option<Noted>> = const { RefCell::new(None) };
    }
    passes(|| {
        let dropped = Arc::new(Mutex::new(Vec::new()));
        for number in 0..3 {
            let log = dropped.clone();
            let thread = std::thread::spawn(move || {
                MINE.with(|mine| {
                    assert!(mine.borrow().is_none());
                    *mine.borrow_mut() = Some(Noted(number, log));
                });
            });
            thread.join().unwrap();
            assert_eq!(dropped.lock().unwrap().last(), Some(&number));
        }
    });
}

/// A signal mask, as a set of bits.
fn mask(how: c_int, set: u64) -> u64 {
    let mut before = 0u64;
    // SAFETY: two sets; the kernel's and the C library's have their signals in the same places.
    unsafe { libc::pthread_sigmask(how, (&raw const set).cast(), (&raw mut before).cast::<libc::sigset_t>()) };
    before
}

#[test]
fn a_thread_that_blocks_signals_blocks_them_for_itself() {
    passes(|| {
        mask(libc::SIG_SETMASK, u64::MAX);
        std::thread::spawn(|| assert_eq!(mask(libc::SIG_BLOCK, 0), 0)).join().unwrap();
        assert_eq!(mask(libc::SIG_SETMASK, 0), u64::MAX);
        assert_eq!(mask(libc::SIG_BLOCK, 0), 0);
    });
}

#[test]
fn threads_that_lock_each_other_out_are_stuck_with_the_stack_of_each() {
    fn take(first: &Mutex<()>, second: &Mutex<()>) {
        let _first = first.lock().unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let _second = second.lock().unwrap();
    }
    let report = run(|| {
        let locks = (Mutex::new(()), Mutex::new(()));
        std::thread::scope(|scope| {
            scope.spawn(|| take(&locks.0, &locks.1));
            scope.spawn(|| take(&locks.1, &locks.0));
        });
    });
    assert_eq!(report.outcome, Outcome::Stuck, "{}", report.message);
    assert_eq!(report.message.matches("posix::").count().min(3), 3, "{}", report.message);
    assert!(report.message.matches("take").count() >= 2, "{}", report.message);
}

#[test]
fn what_is_not_modelled_is_named_with_its_node_and_its_stack() {
    let report = run(|| {
        // SAFETY: takes a number.
        assert_eq!(unsafe { libc::inotify_init1(0) }, -1);
    });
    assert_eq!(report.outcome, Outcome::Leaked, "{}", report.message);
    for word in ["inotify_init1", "node program", "posix::what_is_not_modelled"] {
        assert!(report.message.contains(word), "{word}: {}", report.message);
    }
}

#[test]
fn the_machine_is_that_of_the_simulation() {
    passes(|| {
        // SAFETY: a number; room for a structure that zeros are valid for.
        let (processors, name) = unsafe {
            let mut name: libc::utsname = MaybeUninit::zeroed().assume_init();
            assert_eq!(libc::uname(&mut name), 0);
            (libc::sysconf(libc::_SC_NPROCESSORS_ONLN), std::ffi::CStr::from_ptr(name.nodename.as_ptr()).to_owned())
        };
        assert_eq!((processors, name.to_str()), (1, Ok("program")));
    });
}

#[test]
fn a_thread_may_leave_by_pthread_exit_with_a_result() {
    type Routine = extern "C" fn(*mut c_void) -> *mut c_void;
    unsafe extern "C-unwind" {
        fn pthread_exit(result: *mut c_void) -> !;
    }
    extern "C-unwind" fn leaves(_: *mut c_void) -> *mut c_void {
        // SAFETY: nothing on this stack has a destructor.
        unsafe { pthread_exit(7 as *mut c_void) }
    }
    passes(|| {
        let (mut id, mut result) = (0, null_mut());
        // SAFETY: room for an id and for a result; the routine takes nothing, and whoever calls it lets it unwind.
        unsafe {
            let leaves: Routine = std::mem::transmute(leaves as *const c_void);
            assert_eq!(libc::pthread_create(&mut id, std::ptr::null(), leaves, null_mut()), 0);
            assert_eq!(libc::pthread_join(id, &mut result), 0);
        }
        assert_eq!(result as usize, 7);
    });
}

#[test]
fn what_keys_of_a_killed_thread_hold_is_destroyed_by_nobody() {
    static DESTROYED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn destroy(_: *mut c_void) {
        DESTROYED.fetch_add(1, Ordering::Relaxed);
    }
    let report = Sim::new(1).run(async || {
        let program = node("program").host(|| {
            let mut key = 0;
            // SAFETY: room for a key, whose values are only counted.
            unsafe {
                libc::pthread_key_create(&mut key, Some(destroy));
                libc::pthread_setspecific(key, (&raw const DESTROYED).cast());
            }
            std::thread::sleep(Duration::from_secs(3600));
        });
        sim_core::time::sleep(Duration::from_millis(1)).await;
        program.crash();
    });
    has_passed(&report);
    // The C library gives the stack of the killed, with its control block, to the next thread.
    for _ in 0..4 {
        std::thread::spawn(|| ()).join().unwrap();
    }
    assert_eq!(DESTROYED.load(Ordering::Relaxed), 0);
}
