//! The exhaustive mode: a bounded workload, every effect of it, and for every effect every image of a bounded set.
//!
//! The workload runs once. A copy of its volume, which shares all pages, is kept after every effect and every fsync; from
//! each, crash images are made, and a recovery runs on each image on a machine of its own, in the same simulation. This is
//! what CrashMonkey does (Mohan et al., OSDI 2018) without an operating system.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::rc::Rc;

use sim_core::choice::Stream;
use sim_core::{Node, NodeId, device, node};

use crate::crash::{Crash, Image};
use crate::kernel::{Kernel, act};
use crate::ledger::Ledger;
use crate::profile::FsProfile;
use crate::volume::Volume;

/// The masks of sectors that torn pages have: the first sector alone, the first half, all but the first.
const TORN: [u8; 3] = [0x01, 0x0f, 0xfe];

/// Every crash of a workload on one node.
#[derive(Clone, Copy, Debug)]
#[must_use = "does nothing until it is run"]
pub struct Exhaustive {
    node: Node,
    torn: bool,
    garbage: bool,
    most_images: usize,
}

/// What the exhaustive mode has found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use = "says whether the recovery survived"]
pub struct Explored {
    /// Moments at which the crash came.
    pub points: usize,
    /// Different crash images on which the recovery ran.
    pub images: usize,
    /// The first that it did not survive.
    pub failure: Option<CrashFailure>,
}

/// A crash that a recovery did not survive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CrashFailure {
    /// After how many effects and fsyncs the crash came.
    pub point: usize,
    /// The filesystem.
    pub profile: String,
    /// What was kept.
    pub image: Image,
    /// The effects that were lost or torn, in words.
    pub lost: Vec<String>,
    /// What the recovery said.
    pub message: String,
}

impl fmt::Display for CrashFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CrashFailure { point, profile, image, lost, message } = self;
        writeln!(f, "{message}")?;
        writeln!(f, "the crash: {profile}, after step {point}, image `{image}`; lost or torn:")?;
        lost.iter().try_for_each(|effect| writeln!(f, "  {effect}"))
    }
}

/// A moment of a workload.
pub(crate) struct Point {
    volume: Volume,
    ledger: Rc<Ledger>,
}

impl Kernel {
    /// Keeps the moment, where somebody asked for it.
    #[inline]
    pub(crate) fn record(&mut self, node: NodeId) {
        let machine = self.machine(node);
        if let Some(points) = &mut machine.recording {
            points.push(Point { volume: machine.volume.clone(), ledger: Rc::new(machine.ledger.clone()) });
        }
    }
}

impl Exhaustive {
    /// Every crash of a workload on `node`, torn pages included, with at most 4096 images for each moment.
    pub fn new(node: Node) -> Self {
        Exhaustive { node, torn: true, garbage: false, most_images: 4096 }
    }

    /// Whether pages are torn.
    pub fn torn(mut self, torn: bool) -> Self {
        self.torn = torn;
        self
    }

    /// Whether the sector that was being written may be garbage, which good devices do not leave.
    pub fn garbage(mut self, garbage: bool) -> Self {
        self.garbage = garbage;
        self
    }

    /// How many images a moment has at most.
    pub fn most_images(mut self, most: usize) -> Self {
        self.most_images = most;
        self
    }

    /// Runs `workload` on the node, and `recover` on a machine of its own for every crash of it, until one fails. What the
    /// workload [acknowledged](crate::ack_durable) before the crash is what the recovery is given.
    ///
    /// # Panics
    /// Outside a simulation, and when the workload panics.
    pub async fn run<W, R, F>(self, workload: W, recover: R) -> Explored
    where
        W: Future<Output = ()> + 'static,
        R: Fn(Rc<Ledger>) -> F,
        F: Future<Output = Result<(), String>> + 'static,
    {
        let id = self.node.id();
        act("disk::Exhaustive::run", |kernel| {
            kernel.machine(id).recording = Some(Vec::new());
            kernel.record(id);
        });
        if let Err(error) = self.node.spawn(workload).await {
            panic!("the workload of the exhaustive mode did not end: {error}");
        }
        let points = act("disk::Exhaustive::run", |kernel| kernel.machine(id).recording.take()).unwrap_or_default();
        let profile = act("disk::Exhaustive::run", |kernel| kernel.profile(id));
        let mut explored = Explored { points: points.len(), images: 0, failure: None };
        let machine = node(&format!("{} after a crash", self.node.name()));
        for (place, point) in points.iter().enumerate() {
            let failure = self.crash_at(place, point, &profile, machine, &recover, &mut explored.images).await;
            if failure.is_some() {
                return Explored { failure, ..explored };
            }
        }
        explored
    }

    async fn crash_at<R, F>(
        &self,
        place: usize,
        point: &Point,
        profile: &FsProfile,
        machine: Node,
        recover: &R,
        images: &mut usize,
    ) -> Option<CrashFailure>
    where
        R: Fn(Rc<Ledger>) -> F,
        F: Future<Output = Result<(), String>> + 'static,
    {
        let mut draws = device::draws(Stream::new("disk.exhaustive"), place as u64);
        let flying = point.volume.in_flight(&profile.crash);
        let sector = act("disk::Exhaustive::run", |kernel| kernel.options.sector);
        let mut seen = BTreeSet::new();
        for image in self.images(flying.len()) {
            let keep = point.volume.kept(&flying, Crash::Power, image, &profile.crash, sector, &mut draws);
            let is_garbage = matches!(image, Image::Garbage(_));
            if seen.contains(&keep) && !is_garbage {
                continue;
            }
            let volume = point.volume.image(&flying, &keep, image, &profile.crash);
            act("disk::Exhaustive::run", |kernel| kernel.machine(machine.id()).volume = volume);
            *images += 1;
            let result = machine.spawn(recover(point.ledger.clone())).await;
            let message = match result {
                Ok(Ok(())) => {
                    seen.insert(keep);
                    continue;
                }
                Ok(Err(message)) => message,
                Err(error) => format!("the recovery did not end: {error}"),
            };
            let lost = flying.iter().zip(&keep).filter(|(flying, keep)| **keep != flying.mask());
            let lost = lost.map(|(flying, _)| flying.describe(&point.volume)).collect();
            let profile = profile.name.to_string();
            return Some(CrashFailure { point: place, profile, image, lost, message });
        }
        None
    }

    /// The images of a moment with so many effects in flight.
    fn images(&self, flying: usize) -> impl Iterator<Item = Image> + use<> {
        let effects = 0..flying as u32;
        let single = effects
            .clone()
            .flat_map(|effect| [Image::Prefix(effect + 1), Image::AllButOne(effect), Image::OnlyOne(effect)]);
        let torn = if self.torn { TORN.as_slice() } else { &[] };
        let torn_at = effects.flat_map(move |effect| torn.iter().map(move |mask| Image::TornAt(effect, *mask)));
        let torn_last = torn.iter().map(|mask| Image::TornLast(*mask));
        let garbage = if self.garbage { 0..8 } else { 0..0 };
        [Image::AllLost, Image::AllKept]
            .into_iter()
            .chain(single)
            .chain(torn_at)
            .chain(torn_last)
            .chain(garbage.map(Image::Garbage))
            .take(self.most_images)
    }
}

impl Explored {
    /// Fails the test where a recovery did not survive, or nothing was tried.
    ///
    /// # Panics
    /// Then, with the crash in words.
    #[track_caller]
    pub fn assert_survived(&self) {
        if let Some(failure) = &self.failure {
            panic!("not every crash is survived: {failure}");
        }
        assert!(self.images > 1, "the workload had no effect on its disk: nothing was tried");
    }
}
