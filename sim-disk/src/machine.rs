//! One machine: its volume, what was drawn for it, the locks on its files.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sim_core::NodeId;
use sim_core::choice::{Draws, Stream};
use sim_core::device;
use sim_core::fault::{Fault, FaultId};

use crate::condition::Ills;
use crate::crash::{Crash, Image};
use crate::exhaustive::Point;
use crate::ledger::Ledger;
use crate::lint::Lint;
use crate::locks::Locks;
use crate::options::{Options, Profile};
use crate::pages::PAGE;
use crate::performance::Queue;
use crate::profile::FsProfile;
use crate::volume::{Ino, Volume};

/// The stream of choices of the disk; the entity is the node.
const DISK: Stream = Stream::new("disk");

/// The stream for what is drawn once per machine, and for crashes.
const CRASH: Stream = Stream::new("disk.crash");

pub(crate) struct Machine {
    pub(crate) volume: Volume,
    pub(crate) draws: Draws,
    pub(crate) crash_draws: Draws,
    /// Which of [`FsProfile::ALL`] it has, where the options leave it open.
    profile: usize,
    /// How long its kernel keeps dirty pages, more or less, as a power of ten of the least time.
    habit: u32,
    pub(crate) locks: BTreeMap<Ino, Locks>,
    /// A write-back is planned.
    pub(crate) flusher_awake: bool,
    /// What its programs have told others is safe.
    pub(crate) ledger: Ledger,
    pub(crate) lints: BTreeSet<Lint>,
    /// The moments of the exhaustive mode, while it records.
    pub(crate) recording: Option<Vec<Point>>,
    pub(crate) queue: Queue,
    /// What faults have laid on its device.
    pub(crate) ills: Ills,
    /// Operations that the device holds back, and how long each still takes.
    pub(crate) held: Vec<(u32, u64)>,
    /// Faults that strike the next operation that they match.
    pub(crate) lurking: Vec<Fault>,
    /// How many steps until it crashes, and by which fault: ten for each moment with something in flight, one for others.
    pub(crate) fuse: Option<(u64, Fault)>,
    /// What a roll-back comes back to: the medium as it was, and the fault that kept it.
    pub(crate) snapshot: Option<(Volume, FaultId)>,
    /// What the next loss of memory is: set by the faults that are more than a power loss.
    pub(crate) next_crash: Option<(Crash, Option<Image>, FaultId)>,
}

impl Machine {
    pub(crate) fn new(node: NodeId) -> Self {
        let entity = u64::from(node.0);
        let mut crash_draws = device::draws(CRASH, entity);
        let profile = crash_draws.below(FsProfile::ALL.len() as u64) as usize;
        let habit = crash_draws.below(4) as u32;
        let draws = device::draws(DISK, entity);
        Machine {
            volume: Volume::default(),
            draws,
            crash_draws,
            profile,
            habit,
            locks: BTreeMap::new(),
            flusher_awake: false,
            ledger: Ledger::default(),
            lints: BTreeSet::new(),
            recording: None,
            queue: Queue::default(),
            ills: Ills::default(),
            held: Vec::new(),
            lurking: Vec::new(),
            fuse: None,
            snapshot: None,
            next_crash: None,
        }
    }

    pub(crate) fn profile<'a>(&self, options: &'a Options) -> &'a FsProfile {
        match &options.profile {
            Profile::Any => FsProfile::ALL[self.profile],
            Profile::Is(profile) => profile,
        }
    }

    /// How long until its kernel writes back.
    pub(crate) fn write_back_delay(&mut self, options: &Options) -> Duration {
        let (min, max) = (options.write_back_min, options.write_back_max);
        let usual = min.saturating_mul(10u32.saturating_pow(self.habit)).min(max);
        self.draws.duration(min.max(usual / 2)..usual.saturating_add(usual / 2).min(max).max(min))
    }

    /// Keeps what is durable, for a roll-back.
    pub(crate) fn take_snapshot(&mut self, id: FaultId) {
        let mut snapshot = self.volume.durable();
        snapshot.boot();
        self.snapshot = Some((snapshot, id));
    }

    /// How many blocks its volume may have.
    pub(crate) fn most_blocks(&self, options: &Options) -> Option<u64> {
        self.ills.blocks(options.capacity.bytes.map(|bytes| bytes / PAGE as u64), device::now())
    }

    /// Something was laid on its device, or lifted, or the device is another.
    pub(crate) fn feel(&mut self) {
        self.volume.device = self.ills.state();
    }

    /// A step towards the crash that a fault has planned. It is here where a fault comes back.
    #[inline]
    pub(crate) fn burn(&mut self) -> Option<Fault> {
        let (left, _) = self.fuse.as_mut()?;
        let in_flight = !self.volume.dirty.is_empty() || !self.volume.names.is_empty();
        match left.checked_sub(if in_flight { 10 } else { 1 }) {
            Some(rest) => {
                *left = rest;
                None
            }
            None => self.fuse.take().map(|(_, fault)| fault),
        }
    }
}
