//! What each kind of fault does when it strikes.

use sim_core::choice::Draws;
use sim_core::device::Down;
use sim_core::fault::{Fault, FaultId, FaultKind, away, let_up, observed, one, take_down};
use sim_core::{Node, NodeId};

use crate::condition::{Ill, Tenant};
use crate::crash::{Crash, Image};
use crate::fault::{
    bit_rot, crash_at_an_effect, device_gone, disk_full, drifting_tenant, fsync, fsync_eio, io_error, journal_eio,
    kernel_crash, lost_write, lurk, misdirected_read, misdirected_write, no_space, power_loss_with, quota, read,
    read_only, sector_error, short, stale_read, stall, throttle, write,
};
use crate::kernel::{Kernel, act};
use crate::machine::Machine;
use crate::media::{Gives, PageSequence};
use crate::pages::PAGE;
use crate::spots::at_rest;
use crate::volume::State;

pub(crate) const FSYNC: &str = "disk.fsync";
pub(crate) const WRITE: &str = "disk.write";
pub(crate) const READ: &str = "disk.read";
pub(crate) const OPEN: &str = "disk.open";
pub(crate) const RENAME: &str = "disk.rename";
pub(crate) const REMOVE: &str = "disk.remove";
pub(crate) const SET_LEN: &str = "disk.set_len";
pub(crate) const MAKE: &str = "disk.make";
pub(crate) const FSYNC_EIO: &str = "disk.fsync_eio";
pub(crate) const JOURNAL_EIO: &str = "disk.journal_eio";
pub(crate) const IO_ERROR: &str = "disk.io_error";
pub(crate) const NO_SPACE: &str = "disk.no_space";
pub(crate) const QUOTA: &str = "disk.quota";
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
///
/// Swarms draw what a program survives that syncs and looks at its errors. What damages the medium in silence they draw
/// too, and it strikes only under an [`Atlas`](crate::Atlas) other than `none`, for no program survives it everywhere. What
/// takes a disk away (`disk.replace`, `disk.roll_back`, `disk.swap`) they do not draw.
pub const KINDS: &[FaultKind] = &[
    placed(FSYNC_EIO).sample(|draws, among| lurk(fsync(&one(draws, among), "**"), fsync_eio())),
    placed(JOURNAL_EIO).sample(|draws, among| lurk(fsync(&one(draws, among), "**"), journal_eio())),
    placed(IO_ERROR).sample(|draws, among| lurk(read(&one(draws, among), "**"), io_error())),
    placed(NO_SPACE).sample(|draws, among| lurk(write(&one(draws, among), "**"), no_space())),
    placed(QUOTA).sample(|draws, among| lurk(write(&one(draws, among), "**"), quota())),
    placed(SHORT).sample(|draws, among| {
        let node = one(draws, among);
        lurk(if draws.below(2) == 0 { read(&node, "**") } else { write(&node, "**") }, short())
    }),
    FaultKind::new(KERNEL_CRASH, |fault| go_down(fault, Crash::Kernel))
        .relent(come_up)
        .kills()
        .sample(|draws, among| kernel_crash(&one(draws, among)).lasting(away(draws))),
    FaultKind::new(POWER_LOSS, |fault| go_down(fault, Crash::Power))
        .relent(come_up)
        .kills()
        .sample(|draws, among| power_loss_with(&one(draws, among), Image::Any).lasting(away(draws))),
    FaultKind::new(CRASH_POINT, light_fuse).relent(douse).kills().sample(|draws, among| {
        let within = draws.range(1..100) as u32;
        crash_at_an_effect(&one(draws, among), within).lasting(away(draws))
    }),
    FaultKind::new(REPLACE, |fault| go_down(fault, Crash::Replaced)).relent(come_up).kills(),
    FaultKind::new(SNAPSHOT, |fault| {
        with_machine(fault, |machine| {
            machine.take_snapshot(fault.id);
            true
        })
    }),
    FaultKind::new(ROLL_BACK, |fault| go_down(fault, Crash::RolledBack)).relent(come_up).kills(),
    FaultKind::new(SWAP, swap_volumes).relent(come_up).kills(),
    FaultKind::new(EVICT, evict).sample(|draws, among| crate::fault::evict(&one(draws, among))),
    FaultKind::new(READ_ONLY, |fault| lay(fault, |_, _| Ok(Ill::State(State::ReadOnly))))
        .relent(lift)
        .sample(|draws, among| read_only(&one(draws, among)).lasting(away(draws))),
    FaultKind::new(GONE, |fault| lay(fault, |_, _| Ok(Ill::State(State::Gone))))
        .relent(lift)
        .sample(|draws, among| device_gone(&one(draws, among)).lasting(away(draws))),
    FaultKind::new(STALL, |fault| lay(fault, |_, _| Ok(Ill::Stalled)))
        .relent(lift)
        .sample(|draws, among| stall(&one(draws, among)).lasting(away(draws))),
    FaultKind::new(THROTTLE, |fault| {
        lay(fault, |fault, _| {
            Ok(Ill::Slow { pattern: fault.word("path")?.to_string(), times: number(fault, "times")? })
        })
    })
    .relent(lift)
    .sample(|draws, among| {
        let times = draws.range(2..200) as u32;
        throttle(&one(draws, among), "**", times).lasting(away(draws))
    }),
    FaultKind::new(FULL, |fault| lay(fault, |_, _| Ok(Ill::Full)))
        .relent(lift)
        .sample(|draws, among| disk_full(&one(draws, among)).lasting(away(draws))),
    FaultKind::new(TENANT, |fault| {
        lay(fault, |fault, draws| {
            let drifts = fault.args.get("drifts").and_then(|drifts| drifts.as_bool()).unwrap_or(false);
            let drift = drifts.then(|| draws.below(u64::MAX));
            Ok(Ill::Tenant(Tenant { blocks: number(fault, "bytes")?.div_ceil(PAGE as u64), drift }))
        })
    })
    .relent(lift)
    .sample(|draws, among| {
        let bytes = draws.range(1 << 20..1 << 34);
        drifting_tenant(&one(draws, among), bytes).lasting(away(draws))
    }),
    FaultKind::new(SEQUENCE, begin_sequence).relent(lift),
    FaultKind::new(SECTOR_ERROR, |fault| at_rest(fault, |_| Some((Gives::Error, false))))
        .relent(lift)
        .sample(|draws, among| under_atlas(sector_error(&one(draws, among), "**"))),
    FaultKind::new(BIT_ROT, |fault| at_rest(fault, |struck| Some((Gives::Flipped(struck.bit()), false))))
        .relent(lift)
        .sample(|draws, among| under_atlas(bit_rot(&one(draws, among), "**"))),
    FaultKind::new(MISDIRECTED_READ, |fault| {
        at_rest(fault, |struck| struck.other_page().map(|bytes| (Gives::Other(bytes), true)))
    })
    .relent(lift)
    .sample(|draws, among| under_atlas(misdirected_read(&one(draws, among), "**"))),
    placed(LOST_WRITE)
        .relent(lift)
        .sample(|draws, among| under_atlas(lurk(fsync(&one(draws, among), "**"), lost_write()))),
    placed(MISDIRECTED_WRITE)
        .relent(lift)
        .sample(|draws, among| under_atlas(lurk(fsync(&one(draws, among), "**"), misdirected_write()))),
    placed(STALE_READ)
        .relent(lift)
        .sample(|draws, among| under_atlas(lurk(fsync(&one(draws, among), "**"), stale_read()))),
];

/// Placed with an fsync; the others of those that need a place are placed with writes and reads.
pub(crate) const AT_FSYNC: [&str; 6] = [FSYNC_EIO, JOURNAL_EIO, NO_SPACE, LOST_WRITE, MISDIRECTED_WRITE, STALE_READ];

fn under_atlas(fault: Fault) -> Fault {
    fault.arg("under_atlas", true)
}

/// Whether a fault must wait for an atlas that says where it may strike.
pub(crate) fn wants_atlas(fault: &Fault) -> bool {
    fault.args.contains_key("under_atlas") && act("faults", |kernel| kernel.atlas.is_none())
}

/// A kind that needs an operation to happen at.
const fn placed(name: &'static str) -> FaultKind {
    FaultKind::new(name, |fault| {
        if fault.target.is_empty() {
            let point = if AT_FSYNC.contains(&&*fault.kind) { "fsync" } else { "write" };
            return Err(format!(
                "fault {} strikes at the beginning of an operation: .on({point}(node, pattern), ..), or lurk({point}(node, \
                 pattern), ..) at a time",
                fault.kind
            ));
        }
        fault.word("path").and(fault.word("at"))?;
        let waits = wants_atlas(fault);
        with_machine(fault, |machine| {
            if !waits {
                machine.lurking.push(fault.clone());
            }
            !waits
        })
    })
}

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

/// Lays something on the device of a machine.
fn lay(fault: &Fault, ill: fn(&Fault, &mut Draws) -> Result<Ill, String>) -> Result<bool, String> {
    let node = target(fault)?.id();
    act("faults", |kernel| {
        let machine = kernel.machine(node);
        let ill = ill(fault, &mut machine.crash_draws)?;
        machine.ills.lay(fault.id, ill);
        machine.feel();
        Ok(true)
    })
}

/// What a fault laid on devices and media is over.
fn lift(fault: &Fault) -> Result<bool, String> {
    act("faults", |kernel| kernel.lift(fault.id));
    Ok(true)
}

fn evict(fault: &Fault) -> Result<bool, String> {
    with_machine(fault, |machine| {
        machine.volume.media.evicted = fault.id;
        machine.volume.evict() > 0
    })
}

/// The number that an argument is.
fn number(fault: &Fault, name: &str) -> Result<u64, String> {
    let number = fault.integer(name)?;
    u64::try_from(number).map_err(|_| format!("fault {}: `{name}` is below zero", fault.kind))
}

fn begin_sequence(fault: &Fault) -> Result<bool, String> {
    let sequence = fault.word("sequence")?.parse().map_err(|error| format!("fault {}: {error}", fault.kind))?;
    let (pattern, page) = (fault.word("path")?.to_string(), number(fault, "page")?);
    let sequence = PageSequence { pattern, page, sequence, id: fault.id };
    with_machine(fault, |machine| {
        machine.volume.media.sequences.push(sequence);
        true
    })
}

/// It is met when the power goes.
fn light_fuse(fault: &Fault) -> Result<bool, String> {
    let within = number(fault, "within")?.max(1);
    with_machine(fault, |machine| {
        machine.fuse = Some((machine.crash_draws.below(10 * within), fault.clone()));
        true
    })
}

/// A machine that has not crashed yet does not, and one that has starts again.
fn douse(fault: &Fault) -> Result<bool, String> {
    with_machine(fault, |machine| machine.fuse.take_if(|(_, of)| of.id == fault.id).is_some())?;
    come_up(fault)
}

fn image(fault: &Fault) -> Result<Option<Image>, String> {
    let Some(text) = fault.args.get("image").and_then(|image| image.as_str()) else { return Ok(None) };
    text.parse().map(Some).map_err(|error| format!("fault {}: {error}", fault.kind))
}

fn go_down(fault: &Fault, crash: Crash) -> Result<bool, String> {
    let (node, image) = (target(fault)?.id(), image(fault)?);
    let lacks = crash == Crash::RolledBack && act("faults", |kernel| kernel.machine(node).snapshot.is_none());
    if lacks {
        return Err(format!("fault {} needs a snapshot to come back to: place {SNAPSHOT} before it", fault.kind));
    }
    act("faults", |kernel| kernel.machine(node).next_crash = Some((crash, image, fault.id)));
    take_down(fault, node, Down::PowerLoss);
    // A machine without power loses its disk all the same.
    act("faults", |kernel| {
        if kernel.machine(node).next_crash.is_some() {
            kernel.lose_memory(node);
        }
    });
    Ok(true)
}

fn come_up(fault: &Fault) -> Result<bool, String> {
    fault.targets()?.into_iter().for_each(|node| let_up(node.id()));
    Ok(true)
}

fn swap_volumes(fault: &Fault) -> Result<bool, String> {
    let [one, other] = fault.targets()?[..] else {
        return Err(format!("fault {} needs exactly two targets", fault.kind));
    };
    let [one, other] = [one.id(), other.id()];
    for node in [one, other] {
        take_down(fault, node, Down::PowerLoss);
    }
    act("faults", |kernel| {
        let volume = std::mem::take(&mut kernel.machine(one).volume);
        let volume = std::mem::replace(&mut kernel.machine(other).volume, volume);
        kernel.machine(one).volume = volume;
        [one, other].into_iter().for_each(|node| kernel.machine(node).feel());
    });
    observed(fault.id);
    Ok(one != other)
}

impl Kernel {
    /// What a fault laid is over.
    fn lift(&mut self, id: FaultId) {
        for node in self.nodes() {
            let machine = self.machine(node);
            machine.lurking.retain(|fault| fault.id != id);
            machine.volume.media.lift(id);
            if machine.ills.lift(id) {
                machine.feel();
                self.release_held(node);
            }
        }
    }

    /// All that faults laid on these machines is over, or on all.
    pub(crate) fn heal(&mut self, nodes: Option<&[NodeId]>) {
        for node in self.nodes().filter(|node| nodes.is_none_or(|nodes| nodes.contains(node))) {
            let machine = self.machine(node);
            machine.ills.heal();
            machine.volume.media.heal();
            machine.lurking.clear();
            machine.fuse = None;
            machine.feel();
            self.release_held(node);
        }
    }
}
