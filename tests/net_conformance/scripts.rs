//! Programs drawn at random: up to three connections, opened, written, read, shut down and dropped in any order.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

use super::face::{Kernel, Listener, Net, Simulated, Stream, at_once, listener, takes};
use super::{Log, PAUSES, on_the_kernel, on_the_simulator, side_by_side};

/// One step. Ends are counted in the order in which they were opened, modulo how many there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    Connect,
    Accept,
    Write(usize, usize),
    Read(usize),
    Shutdown(usize),
    Drop(usize),
    DropListener,
}

fn step() -> impl Strategy<Value = Step> {
    let end = || 0..6usize;
    prop_oneof![
        2 => Just(Step::Connect),
        3 => Just(Step::Accept),
        5 => (end(), 0..6_000usize).prop_map(|(end, length)| Step::Write(end, length)),
        5 => end().prop_map(Step::Read),
        2 => end().prop_map(Step::Shutdown),
        2 => end().prop_map(Step::Drop),
        1 => Just(Step::DropListener),
    ]
}

/// The listener, and the ends that are open or were.
struct Stage<N: Net> {
    listener: Option<N::Listener>,
    ends: Vec<Option<N::Stream>>,
}

impl<N: Net> Stage<N> {
    /// A real kernel would keep small writes back until others are acknowledged.
    fn opens(&mut self, end: Option<N::Stream>) {
        end.iter().for_each(|end| end.set_nodelay(true).unwrap());
        self.ends.extend(end.map(Some));
    }

    fn end(&mut self, number: usize) -> Option<(usize, &mut N::Stream)> {
        let place = number.checked_rem(self.ends.len())?;
        Some((place, self.ends[place].as_mut()?))
    }

    async fn plays(&mut self, log: &Log, step: Step, address: std::net::SocketAddr) {
        match step {
            Step::Connect => {
                let client = N::connect(address).await;
                log.outcome("connect", &client);
                self.opens(client.ok());
            }
            Step::Accept => {
                let Some(listener) = &self.listener else { return };
                let accepted = at_once(listener.accept()).await;
                log.note(format!("accept: {}", accepted.is_some()));
                self.opens(accepted.map(|accepted| accepted.unwrap().0));
            }
            Step::Write(end, length) => {
                let Some((place, stream)) = self.end(end) else { return };
                log.value(&format!("{place} writes"), stream.write(&vec![7; length]).await);
            }
            Step::Read(end) => {
                let Some((place, stream)) = self.end(end) else { return };
                log.note(format!("{place} reads {:?}", takes(stream).await));
            }
            Step::Shutdown(end) => {
                let Some((place, stream)) = self.end(end) else { return };
                log.outcome(&format!("{place} shuts down"), &stream.shutdown().await);
            }
            Step::Drop(end) => {
                let Some((place, _)) = self.end(end) else { return };
                self.ends[place] = None;
            }
            Step::DropListener => self.listener = None,
        }
    }
}

/// Plays a script with a pause after every step, and then reads what every end has left.
async fn plays<N: Net>(log: Log, script: Vec<Step>, pause: Duration) {
    let (listener, address) = listener::<N>().await;
    let client = N::connect(address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let mut stage = Stage::<N> { listener: Some(listener), ends: Vec::new() };
    stage.opens(Some(client));
    stage.opens(Some(server));
    N::sleep(pause).await;
    for step in script {
        stage.plays(&log, step, address).await;
        N::sleep(pause).await;
    }
    for end in 0..stage.ends.len() {
        stage.plays(&log, Step::Read(end), address).await;
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
