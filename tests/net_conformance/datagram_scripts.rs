//! Programs drawn at random: three UDP sockets that send, connect, receive, and are dropped and bound again.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::face::{Kernel, Net, Simulated, Socket, at_once, socket};
use super::{Log, PAUSES, on_the_kernel, on_the_simulator, side_by_side};

/// One step of the first of the sockets; the second is whom it is about.
#[derive(Clone, Copy, Debug)]
enum Step {
    SendTo(usize, usize, usize),
    Send(usize, usize),
    Receive(usize),
    Connect(usize, usize),
    Drop(usize),
    Bind(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (socket, length) = (|| 0..3usize, || 0..100usize);
    prop_oneof![
        3 => (socket(), socket(), length()).prop_map(|(from, to, length)| Step::SendTo(from, to, length)),
        3 => (socket(), length()).prop_map(|(from, length)| Step::Send(from, length)),
        5 => socket().prop_map(Step::Receive),
        2 => (socket(), socket()).prop_map(|(from, to)| Step::Connect(from, to)),
        1 => socket().prop_map(Step::Drop),
        1 => socket().prop_map(Step::Bind),
    ]
}

/// The addresses, and the sockets that are bound to them.
struct Stage<N: Net> {
    addresses: [SocketAddr; 3],
    sockets: [Option<N::Socket>; 3],
}

impl<N: Net> Stage<N> {
    async fn plays(&mut self, log: &Log, step: Step) {
        match step {
            Step::Drop(me) => self.sockets[me] = None,
            Step::Bind(me) if self.sockets[me].is_none() => {
                let bound = N::socket(self.addresses[me]).await;
                log.outcome(&format!("{me} binds"), &bound);
                self.sockets[me] = bound.ok();
            }
            Step::Bind(me) => log.outcome(&format!("{me} binds again"), &N::socket(self.addresses[me]).await),
            Step::SendTo(me, ..) | Step::Send(me, _) | Step::Receive(me) | Step::Connect(me, _) => {
                if let Some(socket) = &self.sockets[me] {
                    self.asks(log, me, socket, step).await;
                }
            }
        }
    }

    async fn asks(&self, log: &Log, me: usize, socket: &N::Socket, step: Step) {
        let name = |address| self.addresses.iter().position(|known| *known == address);
        match step {
            Step::SendTo(_, to, length) => {
                log.value(&format!("{me} sends to {to}"), socket.send_to(&vec![7; length], self.addresses[to]).await);
            }
            Step::Send(_, length) => log.value(&format!("{me} sends"), socket.send(&vec![7; length]).await),
            Step::Connect(_, to) => {
                log.outcome(&format!("{me} connects to {to}"), &socket.connect(self.addresses[to]).await);
            }
            _ => match at_once(socket.recv_from(&mut [0; 50])).await {
                None => log.note(format!("{me} hears nothing")),
                Some(heard) => log.value(&format!("{me} hears"), heard.map(|(length, from)| (length, name(from)))),
            },
        }
    }
}

/// Plays a script with a pause after every step, and then receives what every socket has left.
async fn plays<N: Net>(log: Log, script: Vec<Step>, pause: Duration) {
    let bound = [socket::<N>().await, socket::<N>().await, socket::<N>().await];
    let addresses = [0, 1, 2].map(|place: usize| bound[place].1);
    let mut stage = Stage::<N> { addresses, sockets: bound.map(|(socket, _)| Some(socket)) };
    for step in script {
        stage.plays(&log, step).await;
        N::sleep(pause).await;
    }
    for me in [0, 0, 0, 1, 1, 1, 2, 2, 2] {
        stage.plays(&log, Step::Receive(me)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100,
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_short_script_is_seen_alike(script in prop::collection::vec(step(), 1..16), seed: u64) {
        let simulated = on_the_simulator(seed, |log| plays::<Simulated>(log, script.clone(), PAUSES[0]));
        let real = |pause| on_the_kernel(|log| plays::<Kernel>(log, script.clone(), pause));
        let agrees = PAUSES.iter().any(|pause| real(*pause) == simulated);
        prop_assert!(agrees, "{}", side_by_side(&real(PAUSES[1]), &simulated));
    }
}
