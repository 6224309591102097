//! Leaders that the network divides: a cut from the majority, and a ring of majorities.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sim::net::{Shape, UdpSocket, isolate_fault, shape_fault};
use sim::prelude::*;
use sim::time::{Instant, elapsed, sleep, timeout};

const NOBODY: u8 = u8::MAX;

/// Who thinks that it leads.
type Leading = Rc<RefCell<Vec<bool>>>;

const TICK: Duration = Duration::from_millis(50);
/// Whoever was heard so long ago is not there.
const SILENCE: Duration = Duration::from_millis(200);
/// Promises are kept for longer than anybody counts on them.
const PROMISE: Duration = Duration::from_millis(600);

/// A node that follows somebody, and tells all others whom.
struct Peer {
    me: u8,
    /// Whom it follows: itself, another, or nobody while its promise to another may still be counted on.
    follows: u8,
    promised_at: Instant,
    /// When it heard each of the others last, and whom that one follows.
    heard: BTreeMap<u8, (Instant, u8)>,
}

impl Peer {
    fn new(me: u8) -> Self {
        Peer { me, follows: NOBODY, promised_at: Instant::now(), heard: BTreeMap::new() }
    }

    /// The others that can be heard, and whom they follow.
    fn hears(&self) -> impl Iterator<Item = (u8, u8)> {
        let there = self.heard.iter().filter(|(_, (at, _))| at.elapsed() < SILENCE);
        there.map(|(other, (_, follows))| (*other, *follows))
    }

    /// Chooses the first of all that can be heard, once the promise to the one before is over.
    fn choose(&mut self) {
        let first = self.hears().map(|(other, _)| other).chain([self.me]).min().unwrap();
        if self.follows == first || self.promised_at.elapsed() > PROMISE {
            (self.follows, self.promised_at) = (first, Instant::now());
        } else {
            self.follows = NOBODY;
        }
    }

    fn hears_majority(&self, of: usize) -> bool {
        self.hears().count() + 1 > of / 2
    }

    fn majority_follows(&self, of: usize) -> bool {
        self.follows == self.me && self.hears().filter(|(_, follows)| *follows == self.me).count() + 1 > of / 2
    }
}

/// What makes a leader of the one that all it hears should follow.
#[derive(Clone, Copy, PartialEq)]
enum Leads {
    /// A majority that follows it now.
    WhileFollowed,
    /// A majority that followed it once; until it hears of a better one.
    OnceFollowed,
    /// A majority that it hears.
    WhileHearing,
}

/// Each of some nodes leads when its rule says so.
fn start(count: usize, rule: Leads) -> Leading {
    let leading = Leading::new(RefCell::new(vec![false; count]));
    for me in 0..count {
        let leading = leading.clone();
        node(&format!("n-{me}")).start(move || {
            let leading = leading.clone();
            async move {
                let socket = UdpSocket::bind("0.0.0.0:9").await.unwrap();
                let mut peer = Peer::new(me as u8);
                let mut tell_at = Instant::now();
                loop {
                    peer.choose();
                    let followed = peer.majority_follows(count);
                    let leads = leading.borrow()[me];
                    leading.borrow_mut()[me] = match rule {
                        Leads::WhileFollowed => followed,
                        Leads::OnceFollowed => followed || leads && peer.follows == peer.me,
                        Leads::WhileHearing => peer.follows == peer.me && peer.hears_majority(count),
                    };
                    if tell_at <= Instant::now() {
                        tell_at = Instant::now() + TICK;
                        for other in (0..count).filter(|other| *other != me) {
                            let news = [peer.me, peer.follows];
                            socket.send_to(&news, &format!("n-{other}:9")).await.unwrap();
                        }
                    }
                    let mut news = [0; 2];
                    if let Ok(Ok(_)) = timeout(TICK / 5, socket.recv_from(&mut news)).await {
                        peer.heard.insert(news[0], (Instant::now(), news[1]));
                    }
                }
            }
        });
    }
    leading
}

/// Lets a fault come when there is a leader, and looks for a second one; in the end there is one again.
async fn has_one_leader_through(count: usize, rule: Leads, fault: Fault) {
    let leading = start(count, rule);
    let leader = {
        let leading = leading.clone();
        move || leading.borrow().iter().position(|leads| *leads)
    };
    let holder = leader.clone();
    sim::fault::role("leader", move || holder().map(|place| node(&format!("n-{place}"))));
    while leader().is_none() {
        sleep(TICK).await;
    }
    faults().at(elapsed() + random().duration(1.secs()..2.secs()), fault);
    for _ in 0..700 {
        sleep(10.ms()).await;
        let leaders = leading.borrow().iter().filter(|leads| **leads).count();
        always!(leaders <= 1, "one leader at a time", "{:?}", leading.borrow());
    }
    let again = async || leader().map(drop).ok_or("nobody leads");
    sim::liveness(5.secs()).until(again).await;
}

#[sim::test(seeds = 10, expect = "incorrect")]
async fn a_leader_cut_from_the_majority_does_not_step_down() {
    has_one_leader_through(3, Leads::OnceFollowed, isolate_fault("@leader").lasting(3.secs())).await;
}

#[sim::test(seeds = 10)]
async fn a_leader_that_nobody_follows_any_more_steps_down() {
    has_one_leader_through(3, Leads::WhileFollowed, isolate_fault("@leader").lasting(3.secs())).await;
}

fn cut(shape: Shape) -> Fault {
    shape_fault(shape, &["n-0", "n-1", "n-2", "n-3", "n-4"])
}

#[sim::test(seeds = 20, expect = "incorrect")]
async fn a_ring_of_majorities_has_two_leaders_that_each_hear_one() {
    has_one_leader_through(5, Leads::WhileHearing, cut(Shape::MajoritiesRing).lasting(3.secs())).await;
}

#[sim::test(seeds = 20)]
async fn a_ring_of_majorities_has_one_leader_that_a_majority_follows() {
    has_one_leader_through(5, Leads::WhileFollowed, cut(Shape::MajoritiesRing).lasting(3.secs())).await;
}

/// What only the ring finds.
#[sim::test(seeds = 20)]
async fn two_halves_do_not_tell_hearing_a_majority_from_being_followed_by_one() {
    has_one_leader_through(5, Leads::WhileHearing, cut(Shape::Halves)).await;
}
