//! Listening for TCP connections: alone, or with others at one address (socket(7), `SO_REUSEPORT`).

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use sim_core::device::{self, Process};
use sim_net::raw::{Connection, Listener, Ready};

use super::descriptor::{Io, errno_of, settle};
use super::device::{below, hosts};

/// The addresses that several sockets of a process may listen on.
#[derive(Default)]
pub(crate) struct Groups(RefCell<BTreeMap<Place, (Process, Weak<Group>)>>);

/// A node, and an address on it.
type Place = (u32, SocketAddr);

impl Groups {
    fn find(&self, process: Process, address: SocketAddr) -> Option<Rc<Group>> {
        let groups = self.0.borrow();
        let (owner, group) = groups.get(&(process.node.0, address))?;
        group.upgrade().filter(|_| *owner == process)
    }
}

/// Those who share an address.
pub(crate) struct Group {
    listener: Listener,
    seats: RefCell<Vec<Weak<Seat>>>,
}

/// What one of them was given and has not accepted yet.
#[derive(Default)]
pub(crate) struct Seat {
    ready: RefCell<VecDeque<Connection>>,
    waker: RefCell<Option<Waker>>,
}

/// A socket that listens.
pub(crate) enum Listening {
    Alone(Listener),
    Among(Rc<Group>, Rc<Seat>),
}

/// Whether sockets that share listen on an address, so that one more may.
pub(crate) fn is_shared(address: SocketAddr) -> bool {
    hosts().groups.find(device::process("bind"), address).is_some()
}

impl Listening {
    pub(crate) fn begin(address: SocketAddr, shares: bool) -> Io<Self> {
        let listen = || Listener::bind(address).map_err(|error| errno_of(&error));
        if !shares {
            return listen().map(Listening::Alone);
        }
        let (process, hosts) = (device::process("listen"), hosts());
        let group = match hosts.groups.find(process, address) {
            Some(group) => group,
            None => {
                let group = Rc::new(Group { listener: listen()?, seats: RefCell::default() });
                let address = group.listener.local_addr().map_err(|error| errno_of(&error))?;
                hosts.groups.0.borrow_mut().insert((process.node.0, address), (process, Rc::downgrade(&group)));
                group
            }
        };
        let seat = Rc::new(Seat::default());
        group.seats.borrow_mut().push(Rc::downgrade(&seat));
        Ok(Listening::Among(group, seat))
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let listener = match self {
            Listening::Alone(listener) => listener,
            Listening::Among(group, _) => &group.listener,
        };
        listener.local_addr().ok()
    }

    pub(crate) fn accept(&self, waker: &Waker) -> Io<Connection> {
        match self {
            Listening::Alone(listener) => settle(listener.poll_accept(waker)),
            Listening::Among(group, seat) => {
                group.share_out(waker)?;
                let given = seat.ready.borrow_mut().pop_front();
                given.ok_or_else(|| {
                    *seat.waker.borrow_mut() = Some(waker.clone());
                    libc::EAGAIN
                })
            }
        }
    }

    pub(crate) fn ready(&self, waker: &Waker) -> Ready {
        match self {
            Listening::Alone(listener) => listener.ready(waker),
            Listening::Among(group, seat) => {
                let failed = group.share_out(waker).is_err();
                *seat.waker.borrow_mut() = Some(waker.clone());
                Ready { readable: failed || !seat.ready.borrow().is_empty(), ..Ready::default() }
            }
        }
    }
}

impl Group {
    /// Gives each connection that waits to one of those who listen, by the seed. `waker` is woken when more come.
    fn share_out(&self, waker: &Waker) -> Io<()> {
        while let Poll::Ready(connection) = self.listener.poll_accept(waker) {
            let connection = connection.map_err(|error| errno_of(&error))?;
            self.seats.borrow_mut().retain(|seat| seat.strong_count() > 0);
            let place = below(self.seats.borrow().len() as u64) as usize;
            let Some(seat) = self.seats.borrow().get(place).and_then(Weak::upgrade) else { continue };
            seat.ready.borrow_mut().push_back(connection);
            let waiting = seat.waker.borrow_mut().take();
            waiting.into_iter().for_each(Waker::wake);
        }
        Ok(())
    }
}
