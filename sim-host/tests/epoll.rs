//! epoll(7), poll(2) and what they watch, hosted and on the kernel that runs this test: the same calls on pipes, pairs of
//! Unix sockets, counters and connections tell the same.

#![expect(clippy::disallowed_methods, reason = "what hosted programs use")]

mod kit;

use std::collections::BTreeMap;
use std::io::Error;
use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use libc::{c_int, c_void, epoll_event, pollfd};
use proptest::prelude::*;

use kit::passes;

const EDGE: c_int = libc::EPOLLET;
const ONCE: c_int = libc::EPOLLONESHOT;
const IN: c_int = libc::EPOLLIN;
const OUT: c_int = libc::EPOLLOUT;
const RDHUP: c_int = libc::EPOLLRDHUP;

/// What a program does. A descriptor is said by its place in [`Program::new`].
#[derive(Clone, PartialEq, Debug)]
enum Step {
    Add(usize, c_int),
    Change(usize, c_int),
    Remove(usize),
    /// Asks the epoll, without waiting.
    Ask,
    /// Asks another epoll, which watches that one.
    AskOuter,
    Poll(usize),
    /// How much can be read (ioctl(2), `FIONREAD`).
    Unread(usize),
    Write(usize, usize),
    /// Writes until there is no room.
    Fill(usize),
    Read(usize, usize),
    Shut(usize, c_int),
    Close(usize),
}

/// The descriptors of a program: both ends of a pipe, both of a pair, a counter, both of a connection.
struct Program {
    epoll: c_int,
    outer: c_int,
    descriptors: [c_int; PLACES],
}

const PLACES: usize = 7;
const WRITER: usize = 1;
const COUNTER: usize = 4;
/// From here on, what is written takes its time.
const CONNECTION: usize = 5;

fn errno() -> c_int {
    Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// What a step tells.
#[derive(Clone, PartialEq, Debug)]
enum Told {
    Error(c_int),
    Number(isize),
    Bits(u32),
    /// By place.
    Events(BTreeMap<u64, u32>),
}

fn told(result: isize) -> Told {
    if result < 0 { Told::Error(errno()) } else { Told::Number(result) }
}

/// Both ends of a connection over the loopback.
fn connection() -> (c_int, c_int) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for end in [&one, &other] {
        end.set_nonblocking(true).unwrap();
        end.set_nodelay(true).unwrap();
    }
    (one.into_raw_fd(), other.into_raw_fd())
}

impl Program {
    fn new() -> Self {
        let (mut pipe, mut pair) = ([0; 2], [0; 2]);
        // SAFETY: room for two descriptors each.
        unsafe {
            assert_eq!(libc::pipe2(pipe.as_mut_ptr(), libc::O_NONBLOCK), 0);
            let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
            assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()), 0);
            let counter = libc::eventfd(0, libc::EFD_NONBLOCK);
            let (epoll, outer) = (libc::epoll_create1(0), libc::epoll_create1(0));
            let mut event = epoll_event { events: IN as u32, u64: 0 };
            assert_eq!(libc::epoll_ctl(outer, libc::EPOLL_CTL_ADD, epoll, &mut event), 0);
            let (one, other) = connection();
            Program { epoll, outer, descriptors: [pipe[0], pipe[1], pair[0], pair[1], counter, one, other] }
        }
    }

    fn control(&self, operation: c_int, place: usize, events: c_int) -> Told {
        let mut event = epoll_event { events: events as u32, u64: place as u64 };
        // SAFETY: a valid event.
        told(unsafe { libc::epoll_ctl(self.epoll, operation, self.descriptors[place], &mut event) } as isize)
    }

    fn ask(&self, epoll: c_int) -> Told {
        let mut events = [epoll_event { events: 0, u64: 0 }; 8];
        // SAFETY: room for as many as are said.
        match unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 8, 0) } {
            -1 => Told::Error(errno()),
            found => Told::Events(events[..found as usize].iter().map(|event| (event.u64, event.events)).collect()),
        }
    }

    fn poll(&self, place: usize) -> Told {
        let events = libc::POLLIN | libc::POLLOUT | libc::POLLRDHUP;
        let mut entry = pollfd { fd: self.descriptors[place], events, revents: 0 };
        // SAFETY: one entry.
        match unsafe { libc::poll(&mut entry, 1, 0) } {
            -1 => Told::Error(errno()),
            _ => Told::Bits(entry.revents as u32),
        }
    }

    fn unread(&self, place: usize) -> Told {
        let mut length: c_int = 0;
        // SAFETY: room for a number.
        let done = unsafe { libc::ioctl(self.descriptors[place], libc::FIONREAD, &mut length) };
        if done == 0 { Told::Number(length as isize) } else { Told::Error(errno()) }
    }

    fn write(&self, place: usize, length: usize) -> isize {
        let (bytes, one) = ([7u8; 4096], 1u64);
        let (start, length) = match place {
            COUNTER => ((&raw const one).cast::<c_void>(), 8),
            // More than one may be taken or come in parts.
            CONNECTION.. => (bytes.as_ptr().cast(), length.min(1)),
            _ => (bytes.as_ptr().cast(), length),
        };
        // SAFETY: as many bytes as are said.
        unsafe { libc::write(self.descriptors[place], start, length) }
    }

    fn fill(&self, place: usize) -> Told {
        let mut total = 0;
        loop {
            match self.write(place, 4096) {
                -1 if errno() == libc::EAGAIN => return Told::Number(total),
                -1 => return Told::Error(errno()),
                length => total += length,
            }
        }
    }

    fn read(&self, place: usize, length: usize) -> Told {
        let mut bytes = [0u8; 1 << 17];
        let length = if place == COUNTER { 8 } else { length };
        // SAFETY: room for as many bytes as are said.
        told(unsafe { libc::read(self.descriptors[place], bytes.as_mut_ptr().cast(), length) })
    }

    fn take(&self, step: &Step) -> Told {
        match *step {
            Step::Add(place, events) => self.control(libc::EPOLL_CTL_ADD, place, events),
            Step::Change(place, events) => self.control(libc::EPOLL_CTL_MOD, place, events),
            Step::Remove(place) => self.control(libc::EPOLL_CTL_DEL, place, 0),
            Step::Ask => self.ask(self.epoll),
            Step::AskOuter => self.ask(self.outer),
            Step::Poll(place) => self.poll(place),
            Step::Unread(place) => self.unread(place),
            Step::Write(place, length) => told(self.write(place, length)),
            Step::Fill(place) => self.fill(place),
            Step::Read(place, length) => self.read(place, length),
            // SAFETY: plain numbers.
            Step::Shut(place, how) => told(unsafe { libc::shutdown(self.descriptors[place], how) } as isize),
            // SAFETY: a descriptor of this program, or of none any more.
            Step::Close(place) => told(unsafe { libc::close(self.descriptors[place]) } as isize),
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for descriptor in self.descriptors.into_iter().chain([self.epoll, self.outer]) {
            // SAFETY: a descriptor of this program, or of none any more: while it lives no other is opened on this thread.
            unsafe { libc::close(descriptor) };
        }
    }
}

fn run(steps: &[Step]) -> Vec<Told> {
    let program = Program::new();
    let take = |step| {
        let told = program.take(step);
        std::thread::sleep(Duration::from_micros(100));
        told
    };
    steps.iter().map(take).collect()
}

/// Real descriptors are numbered for the whole process, in which tests run side by side: one closes, and another's opens.
static ALONE: Mutex<()> = Mutex::new(());

#[track_caller]
fn agrees(steps: Vec<Step>) {
    let real = {
        let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        run(&steps)
    };
    let hosted = Arc::new(Mutex::new(Vec::new()));
    let (program, result) = (steps.clone(), hosted.clone());
    passes(move || *result.lock().unwrap() = run(&program));
    let mut watches_edges = [false; PLACES];
    for (place, step) in steps.iter().enumerate() {
        if let Step::Add(place, events) | Step::Change(place, events) = *step {
            watches_edges[place] |= events & EDGE != 0;
        }
        let (mut hosted, mut real) = (hosted.lock().unwrap()[place].clone(), real[place].clone());
        if let (Told::Events(hosted), Told::Events(real)) = (&mut hosted, &mut real) {
            // An edge may be told that the program did not ask for: something else about the descriptor has changed.
            let may_be_told = |place: usize| match step {
                Step::AskOuter => watches_edges.contains(&true),
                _ => watches_edges[place],
            };
            hosted.retain(|place, _| real.contains_key(place) || !may_be_told(*place as usize));
            // And of a connection the kernel tells edges as acknowledgements come.
            let acknowledged = |place: usize| may_be_told(place) && (place >= CONNECTION || *step == Step::AskOuter);
            real.retain(|place, _| hosted.contains_key(place) || !acknowledged(*place as usize));
        }
        assert_eq!(hosted, real, "hosted, and on the kernel, in step {place}: {step:?}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    let events = || {
        let wanted = prop_oneof![Just(IN), Just(OUT), Just(IN | OUT), Just(IN | RDHUP), Just(0)];
        let mode = prop_oneof![2 => Just(0), 2 => Just(EDGE), 1 => Just(ONCE)];
        (wanted, mode).prop_map(|(wanted, mode)| wanted | mode)
    };
    let length = || prop_oneof![Just(1usize), Just(3), Just(4096)];
    prop_oneof![
        4 => (0..PLACES, events()).prop_map(|(place, events)| Step::Add(place, events)),
        2 => (0..PLACES, events()).prop_map(|(place, events)| Step::Change(place, events)),
        1 => (0..PLACES).prop_map(Step::Remove),
        6 => Just(Step::Ask),
        1 => Just(Step::AskOuter),
        1 => prop_oneof![0..4usize, 5..7usize].prop_map(Step::Unread),
        3 => (0..PLACES).prop_map(Step::Poll),
        5 => (0..PLACES, length()).prop_map(|(place, length)| Step::Write(place, length)),
        1 => Just(Step::Fill(WRITER)),
        5 => (0..PLACES, length()).prop_map(|(place, length)| Step::Read(place, length)),
        1 => (prop_oneof![2..4usize, 5..7usize], prop_oneof![Just(libc::SHUT_RD), Just(libc::SHUT_WR), Just(libc::SHUT_RDWR)])
            .prop_map(|(place, how)| Step::Shut(place, how)),
        1 => (0..PLACES).prop_map(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hosted_programs_are_told_what_the_kernel_tells(steps in prop::collection::vec(step(), 1..24)) {
        agrees(steps);
    }
}

/// An epoll that watches a counter, and how a thread waits for it.
fn counter_watched(events: c_int) -> (c_int, impl Fn() -> c_int + Copy + Send + 'static) {
    // SAFETY: plain numbers, and a valid event.
    let (epoll, counter) = unsafe {
        let (epoll, counter) = (libc::epoll_create1(0), libc::eventfd(0, libc::EFD_NONBLOCK));
        let mut event = epoll_event { events: events as u32, u64: 7 };
        assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, counter, &mut event), 0);
        (epoll, counter)
    };
    let wait = move || {
        let mut event = epoll_event { events: 0, u64: 0 };
        // SAFETY: room for an event.
        unsafe { libc::epoll_wait(epoll, &mut event, 1, 1_000) }
    };
    (counter, wait)
}

fn add_one(counter: c_int) {
    let one = 1u64;
    // SAFETY: eight bytes.
    assert_eq!(unsafe { libc::write(counter, (&raw const one).cast(), 8) }, 8);
}

#[test]
fn what_stays_ready_is_told_to_all_who_wait_and_an_edge_to_one() {
    for (events, told) in [(IN, [1, 1]), (IN | EDGE, [0, 1])] {
        passes(move || {
            let (counter, wait) = counter_watched(events);
            let waiters = [(); 2].map(|()| std::thread::spawn(wait));
            std::thread::sleep(Duration::from_millis(10));
            add_one(counter);
            let mut found = waiters.map(|waiter| waiter.join().unwrap());
            found.sort_unstable();
            assert_eq!(found, told);
        });
    }
}

#[test]
fn an_epoll_is_not_told_of_nothing() {
    passes(|| {
        // SAFETY: descriptors of this program, and no event.
        let (done, error) = unsafe {
            let (epoll, counter) = (libc::epoll_create1(0), libc::eventfd(0, 0));
            (libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, counter, std::ptr::null_mut()), errno())
        };
        assert_eq!((done, error), (-1, libc::EFAULT));
    });
}
