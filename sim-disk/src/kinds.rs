//! What each kind of fault does when it strikes.

use std::io;

use sim_core::fault::{Fault, FaultId, FaultKind, hit, matches, observed};
use sim_core::{Node, NodeId};

use crate::content::Content;
use crate::crash::{Crash, Image};
use crate::effect::Order;
use crate::errno::Errno;
use crate::inode::{Body, Ino};
use crate::kernel::{Kernel, act};
use crate::machine::Machine;
use crate::media::{Media, PageSequence, WriteFault};
use crate::pages::{PAGE, SECTOR};
use crate::performance::Slowness;
use crate::volume::State;

pub(crate) const FSYNC: &str = "disk.fsync";
pub(crate) const WRITE: &str = "disk.write";
pub(crate) const READ: &str = "disk.read";
pub(crate) const OPEN: &str = "disk.open";
pub(crate) const RENAME: &str = "disk.rename";
pub(crate) const FSYNC_EIO: &str = "disk.fsync_eio";
pub(crate) const JOURNAL_EIO: &str = "disk.journal_eio";
pub(crate) const IO_ERROR: &str = "disk.io_error";
pub(crate) const NO_SPACE: &str = "disk.no_space";
pub(crate) const SHORT: &str = "disk.short";
pub(crate) const KERNEL_CRASH: &str = "disk.kernel_crash";
pub(crate) const POWER_LOSS: &str = "disk.power_loss";
pub(crate) const REPLACE: &str = "disk.replace";
pub(crate) const SNAPSHOT: &str = "disk.snapshot";
pub(crate) const ROLL_BACK: &str = "disk.roll_back";
pub(crate) const SWAP: &str = "disk.swap";
pub(crate) const EVICT: &str = "disk.evict";
pub(crate) const READ_ONLY: &str = "disk.read_only";
pub(crate) const GONE: &str = "disk.gone";
pub(crate) const SECTOR_ERROR: &str = "disk.sector_error";
pub(crate) const BIT_ROT: &str = "disk.bit_rot";
pub(crate) const MISDIRECTED_READ: &str = "disk.misdirected_read";
pub(crate) const LOST_WRITE: &str = "disk.lost_write";
pub(crate) const MISDIRECTED_WRITE: &str = "disk.misdirected_write";
pub(crate) const STALE_READ: &str = "disk.stale_read";
pub(crate) const SEQUENCE: &str = "disk.sequence";
pub(crate) const STALL: &str = "disk.stall";
pub(crate) const THROTTLE: &str = "disk.throttle";
pub(crate) const FULL: &str = "disk.full";
pub(crate) const TENANT: &str = "disk.tenant";
pub(crate) const CRASH_POINT: &str = "disk.crash_point";

/// The fault kinds of the disk, for [`sim_core::Sim::with_faults`].
pub const KINDS: &[FaultKind] = &[
    placed(FSYNC_EIO),
    placed(JOURNAL_EIO),
    placed(IO_ERROR),
    placed(NO_SPACE),
    placed(SHORT),
    FaultKind::new(KERNEL_CRASH, |fault| go_down(fault, Crash::Kernel)).relent(come_up),
    FaultKind::new(POWER_LOSS, |fault| go_down(fault, Crash::Power)).relent(come_up),
    FaultKind::new(REPLACE, |fault| go_down(fault, Crash::Replaced)).relent(come_up),
    FaultKind::new(SNAPSHOT, |fault| with_machine(fault, Machine::take_snapshot)),
    FaultKind::new(ROLL_BACK, |fault| go_down(fault, Crash::RolledBack)).relent(come_up),
    FaultKind::new(SWAP, swap_volumes).relent(come_up),
    FaultKind::new(EVICT, evict),
    FaultKind::new(READ_ONLY, |fault| become_state(fault, State::ReadOnly)).relent(recover),
    FaultKind::new(GONE, |fault| become_state(fault, State::Gone)).relent(recover),
    FaultKind::new(SECTOR_ERROR, |fault| at_rest(fault, |media, ino, page, _, _, id| media.break_page(ino, page, id))),
    FaultKind::new(BIT_ROT, |fault| {
        at_rest(fault, |media, ino, page, content, draw, id| {
            media.rot(ino, page, content, draw % (8 * PAGE as u64), id)
        })
    }),
    FaultKind::new(MISDIRECTED_READ, |fault| {
        at_rest(fault, |media, ino, page, content, _, id| {
            let other = content.medium.pages.from(0).find(|(other, _)| *other != page).map(|(_, bytes)| bytes.clone());
            other.is_some_and(|other| media.misdirect_read(ino, page, other, id))
        })
    }),
    placed(LOST_WRITE),
    placed(MISDIRECTED_WRITE),
    placed(STALE_READ),
    FaultKind::new(SEQUENCE, begin_sequence),
    FaultKind::new(STALL, stall).relent(|_| Ok(true)),
    FaultKind::new(THROTTLE, |fault| throttle(fault, true)).relent(|fault| throttle(fault, false)),
    FaultKind::new(FULL, |fault| fill(fault, true)).relent(|fault| fill(fault, false)),
    FaultKind::new(TENANT, |fault| move_in(fault, true)).relent(|fault| move_in(fault, false)),
    FaultKind::new(CRASH_POINT, light_fuse),
];

/// Placed with an fsync; the others of those that need a place are placed with writes and reads.
const AT_FSYNC: [&str; 6] = [FSYNC_EIO, JOURNAL_EIO, NO_SPACE, LOST_WRITE, MISDIRECTED_WRITE, STALE_READ];

/// The only node that a fault strikes.
fn target(fault: &Fault) -> Result<Node, String> {
    let node = fault.only_target()?;
    match node.id() {
        NodeId::SUPERVISOR if fault.kind != EVICT => {
            Err(format!("fault {}: the node of the test itself cannot fail", fault.kind))
        }
        _ => Ok(node),
    }
}

fn with_machine(fault: &Fault, change: impl FnOnce(&mut Machine) -> bool) -> Result<bool, String> {
    let node = target(fault)?;
    Ok(act("faults", |kernel| change(kernel.machine(node.id()))))
}

fn become_state(fault: &Fault, state: State) -> Result<bool, String> {
    with_machine(fault, |machine| {
        machine.volume.blame = fault.id;
        std::mem::replace(&mut machine.volume.state, state) != state
    })
}

fn recover(fault: &Fault) -> Result<bool, String> {
    become_state(fault, State::Writable)
}

fn evict(fault: &Fault) -> Result<bool, String> {
    with_machine(fault, |machine| {
        machine.volume.media.evicted = fault.id;
        machine.volume.evict() > 0
    })
}

/// The word that an argument is.
fn word<'a>(fault: &'a Fault, name: &str) -> Result<&'a str, String> {
    let word = fault.args.get(name).and_then(|value| value.as_str());
    word.ok_or_else(|| format!("fault {} needs the argument `{name}`, a text", fault.kind))
}

/// The number that an argument is.
fn number(fault: &Fault, name: &str) -> Result<u64, String> {
    let number = fault.integer(name)?;
    u64::try_from(number).map_err(|_| format!("fault {}: `{name}` is below zero", fault.kind))
}

type AtRest = fn(&mut Media, Ino, u64, &mut Content, u64, FaultId) -> bool;

/// Strikes one of the pages on the medium of files that match, drawn among those that the atlas allows.
fn at_rest(fault: &Fault, strike: AtRest) -> Result<bool, String> {
    let (node, pattern) = (fault.only_target()?.id(), word(fault, "path")?);
    Ok(act("faults", |kernel| {
        let places = kernel.durable_pages(node, pattern);
        let names: Vec<(String, u64)> =
            places.iter().map(|(path, _, page)| (path.clone(), page * PAGE as u64)).collect();
        let allowed = kernel.atlas.allowed(node, &names);
        let draws = &mut kernel.machine(node).crash_draws;
        let (choice, draw) = (draws.below(allowed.len() as u64) as usize, draws.below(u64::MAX));
        let Some(place) = allowed.get(choice) else { return false };
        let ((path, offset), (_, ino, page)) = (&names[*place], &places[*place]);
        kernel.atlas.mark(node, path, *offset);
        kernel.with_media(node, *ino, |media, content| strike(media, *ino, *page, content, draw, fault.id))
    }))
}

impl Kernel {
    /// The pages that the medium has of files that match.
    fn durable_pages(&mut self, node: NodeId, pattern: &str) -> Vec<(String, Ino, u64)> {
        let volume = &self.machine(node).volume;
        let mut found = Vec::new();
        for (ino, inode) in &volume.inodes {
            let Some(content) = inode.content() else { continue };
            let path = volume.name_of(*ino);
            let path = path.trim_start_matches('/');
            if matches(pattern, path) {
                found.extend(content.medium.pages.from(0).map(|(page, _)| (path.to_string(), *ino, page)));
            }
        }
        found
    }

    fn with_media(&mut self, node: NodeId, ino: Ino, f: impl FnOnce(&mut Media, &mut Content) -> bool) -> bool {
        let volume = &mut self.machine(node).volume;
        match volume.inodes.get_mut(&ino).map(|inode| &mut inode.body) {
            Some(Body::File(content)) => f(&mut volume.media, content),
            _ => false,
        }
    }

    /// Does a write-back wrong that is about to happen, where the atlas allows it.
    pub(crate) fn do_wrong(&mut self, node: NodeId, ino: Ino, upto: Order, how: WriteFault, id: FaultId) {
        let path = self.machine(node).volume.name_of(ino);
        let path = path.trim_start_matches('/').to_string();
        let pages = self.machine(node).volume.get(ino).content().map(|content| content.dirty_pages(upto));
        let Some(page) = pages.and_then(|mut pages| pages.pop()) else { return };
        let place = (path, page * PAGE as u64);
        if self.atlas.allowed(node, std::slice::from_ref(&place)).is_empty() {
            return;
        }
        self.atlas.mark(node, &place.0, place.1);
        self.with_media(node, ino, |media, content| media.do_wrong(ino, content, upto, how, id));
    }
}

fn begin_sequence(fault: &Fault) -> Result<bool, String> {
    let sequence = word(fault, "sequence")?.parse().map_err(|error| format!("fault {}: {error}", fault.kind))?;
    let (pattern, page) = (word(fault, "path")?.to_string(), number(fault, "page")?);
    let sequence = PageSequence { pattern, page, sequence, id: fault.id };
    with_machine(fault, |machine| {
        machine.volume.media.sequences.push(sequence);
        true
    })
}

fn stall(fault: &Fault) -> Result<bool, String> {
    let until = fault.lasting.map_or(u64::MAX, |span| sim_core::device::now() + span.0.as_nanos() as u64);
    with_machine(fault, |machine| {
        let queue = &mut machine.queue;
        (queue.stalled_until, queue.stall) = (queue.stalled_until.max(until), fault.id);
        true
    })
}

fn throttle(fault: &Fault, begins: bool) -> Result<bool, String> {
    let slow = Slowness { id: fault.id, pattern: word(fault, "path")?.to_string(), times: number(fault, "times")? };
    with_machine(fault, |machine| {
        match begins {
            true => machine.queue.slow.push(slow),
            false => machine.queue.slow.retain(|other| other.id != fault.id),
        }
        true
    })
}

fn fill(fault: &Fault, begins: bool) -> Result<bool, String> {
    with_machine(fault, |machine| {
        machine.crowded = fault.id;
        std::mem::replace(&mut machine.is_full, begins) != begins
    })
}

fn move_in(fault: &Fault, begins: bool) -> Result<bool, String> {
    let blocks = number(fault, "bytes")?.div_ceil(PAGE as u64);
    with_machine(fault, |machine| {
        machine.crowded = fault.id;
        let tenant = &mut machine.tenant;
        *tenant = if begins { *tenant + blocks } else { tenant.saturating_sub(blocks) };
        true
    })
}

fn light_fuse(fault: &Fault) -> Result<bool, String> {
    let within = number(fault, "within")?.max(1);
    with_machine(fault, |machine| {
        machine.fuse = Some(machine.crash_draws.below(10 * within));
        true
    })
}

fn image(fault: &Fault) -> Result<Option<Image>, String> {
    let Some(text) = fault.args.get("image").and_then(|image| image.as_str()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| format!("fault {}: {error}", fault.kind))
}

fn go_down(fault: &Fault, crash: Crash) -> Result<bool, String> {
    let (node, image) = (target(fault)?, image(fault)?);
    let lacks = crash == Crash::RolledBack && act("faults", |kernel| kernel.machine(node.id()).snapshot.is_none());
    if lacks {
        return Err(format!("fault {} needs a snapshot to come back to: place {SNAPSHOT} before it", fault.kind));
    }
    act("faults", |kernel| kernel.machine(node.id()).next_crash = Some((crash, image)));
    if node.is_up() {
        observed(fault.id);
    }
    // A node that is down already loses its memory all the same.
    node.power_loss();
    let left = act("faults", |kernel| kernel.machine(node.id()).next_crash.is_some());
    if left {
        act("faults", |kernel| kernel.lose_memory(node.id()));
    }
    Ok(true)
}

fn come_up(fault: &Fault) -> Result<bool, String> {
    for node in fault.targets()? {
        if !node.is_up() {
            node.restart();
        }
    }
    Ok(true)
}

fn swap_volumes(fault: &Fault) -> Result<bool, String> {
    let [one, other] = fault.targets()?[..] else {
        return Err(format!("fault {} needs exactly two targets", fault.kind));
    };
    [one, other].into_iter().for_each(Node::power_loss);
    act("faults", |kernel| {
        let volume = std::mem::take(&mut kernel.machine(one.id()).volume);
        let volume = std::mem::replace(&mut kernel.machine(other.id()).volume, volume);
        kernel.machine(one.id()).volume = volume;
    });
    Ok(one != other)
}

/// A kind that needs an operation to happen at.
const fn placed(name: &'static str) -> FaultKind {
    FaultKind::new(name, |fault| {
        let point = if AT_FSYNC.contains(&&*fault.kind) { "fsync" } else { "write" };
        Err(format!("fault {} needs an operation to happen at: .on({point}(node, pattern), ..)", fault.kind))
    })
}

/// Which pages of an fsync the device refuses.
pub(crate) enum Failing {
    AllPages,
    Pages(Vec<u64>),
    /// It cannot write its metadata.
    Journal,
}

/// What strikes an fsync.
#[derive(Default)]
pub(crate) struct Strike {
    pub(crate) failing: Option<Failing>,
    /// What is done wrong in silence.
    pub(crate) wrong: Vec<(WriteFault, FaultId)>,
}

/// Lets faults strike at an fsync.
pub(crate) fn strikes_fsync(path: &str) -> io::Result<Strike> {
    let mut strike = Strike::default();
    for fault in hit(FSYNC, path, &AT_FSYNC) {
        let wrong = match &*fault.kind {
            LOST_WRITE => Some(WriteFault::Lost),
            MISDIRECTED_WRITE => Some(WriteFault::Misdirected),
            STALE_READ => Some(WriteFault::Stale),
            _ => None,
        };
        strike.wrong.extend(wrong.map(|wrong| (wrong, fault.id)));
        if wrong.is_some() {
            continue;
        }
        observed(fault.id);
        strike.failing = Some(match &*fault.kind {
            FSYNC_EIO => match fault.args.get("pages").and_then(|pages| pages.as_array()) {
                Some(pages) => Failing::Pages(pages.iter().filter_map(|page| page.as_u64()).collect()),
                None => Failing::AllPages,
            },
            JOURNAL_EIO => Failing::Journal,
            _ => return Err(Errno::NoSpace.into()),
        });
    }
    Ok(strike)
}

/// Lets the faults strike that make an operation fail or do a part of it.
#[inline]
fn strikes(point: &str, subject: &str, own: &[&str]) -> io::Result<bool> {
    let mut is_short = false;
    for fault in hit(point, subject, own) {
        observed(fault.id);
        match &*fault.kind {
            IO_ERROR => return Err(Errno::Io.into()),
            NO_SPACE => return Err(Errno::NoSpace.into()),
            _ => is_short = true,
        }
    }
    Ok(is_short)
}

/// Half of it in whole sectors, and a byte at the least.
fn half(length: usize) -> usize {
    match length / 2 / SECTOR {
        0 => length.min(length / 2 + 1),
        sectors => sectors * SECTOR,
    }
}

#[inline]
pub(crate) fn strikes_write<'a>(path: &str, bytes: &'a [u8]) -> io::Result<&'a [u8]> {
    let is_short = strikes(WRITE, path, &[IO_ERROR, NO_SPACE, SHORT])?;
    Ok(if is_short { &bytes[..half(bytes.len())] } else { bytes })
}

#[inline]
pub(crate) fn strikes_read(path: &str, want: usize) -> io::Result<usize> {
    let is_short = strikes(READ, path, &[IO_ERROR, SHORT])?;
    Ok(if is_short { half(want.min(4096)) } else { want })
}

pub(crate) fn strikes_open(path: &str) -> io::Result<()> {
    strikes(OPEN, path, &[IO_ERROR, NO_SPACE]).map(drop)
}

pub(crate) fn strikes_rename(path: &str) -> io::Result<()> {
    strikes(RENAME, path, &[IO_ERROR, NO_SPACE]).map(drop)
}
