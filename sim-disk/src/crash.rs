//! Crashes: which of the effects that are not durable the medium has afterwards.
//!
//! The effects in flight stand in their order. An [`Image`] proposes for each whether it is kept, and which sectors of it;
//! the profile then drops what its filesystem would not have kept without something that is missing; what is left is
//! replayed on the durable volume. Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), and Mohan et al.,
//! "Finding Crash-Consistency Bugs with Bounded Black-Box Crash Testing" (OSDI 2018), enumerate images in this way.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sim_core::NodeId;
use sim_core::choice::Draws;
use sim_core::device::emit;
use sim_core::fault::{FaultId, observed};
use sim_core::hash::fold;

use crate::effect::{Effect, Entry, NameOp, Order, What};
use crate::inode::{Body, Directory, Ino, Inode};
use crate::kernel::Kernel;
use crate::options::Sector;
use crate::pages::PAGE;
use crate::profile::{CrashOrder, Data, Names};
use crate::volume::Volume;

/// How a machine loses its memory, or more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The kernel of the machine crashes: its page cache is lost, the cache of the device is not.
    Kernel,
    /// The power goes: both are lost.
    Power,
    /// The machine comes back with an empty disk.
    Replaced,
    /// The machine comes back with the disk as a [`snapshot`](crate::snapshot) had it.
    RolledBack,
}

/// What a crash keeps of the effects that are not durable, as far as the filesystem allows it. Effects are counted from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Image {
    /// One of the others, drawn.
    #[default]
    Any,
    /// None of them.
    AllLost,
    /// All of them.
    AllKept,
    /// The first so many.
    Prefix(u32),
    /// All but this one.
    AllButOne(u32),
    /// This one.
    OnlyOne(u32),
    /// Each with this chance in per cent, drawn.
    Random(u8),
    /// All, and of the last write only the sectors in this mask.
    TornLast(u8),
    /// The first so many, and of the next one only the sectors in this mask.
    TornAt(u32, u8),
    /// All, and of the last write the first so many sectors; the next one is garbage. Where a filesystem writes in place,
    /// and not where it copies on write.
    Garbage(u8),
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Image::Any => write!(f, "any"),
            Image::AllLost => write!(f, "all-lost"),
            Image::AllKept => write!(f, "all-kept"),
            Image::Prefix(keep) => write!(f, "prefix {keep}"),
            Image::AllButOne(lost) => write!(f, "all-but-one {lost}"),
            Image::OnlyOne(kept) => write!(f, "only-one {kept}"),
            Image::Random(percent) => write!(f, "random {percent}"),
            Image::TornLast(sectors) => write!(f, "torn-last {sectors}"),
            Image::TornAt(effect, sectors) => write!(f, "torn-at {effect} {sectors}"),
            Image::Garbage(sector) => write!(f, "garbage {sector}"),
        }
    }
}

/// Text that names no [`Image`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImageError(String);

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no crash image. Write any, all-lost, all-kept, prefix N, all-but-one N, only-one N, ",
            self.0
        )?;
        f.write_str(
            "random PERCENT, torn-last SECTORS, torn-at N SECTORS or garbage SECTOR; SECTORS is a mask of 8 bits",
        )
    }
}

impl std::error::Error for ImageError {}

impl FromStr for Image {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let numbers: Option<Vec<u32>> = words.map(|word| word.parse().ok()).collect();
        let byte = |number: u32| u8::try_from(number).ok();
        let image = match (name, numbers.as_deref()) {
            ("any", Some([])) => Some(Image::Any),
            ("all-lost", Some([])) => Some(Image::AllLost),
            ("all-kept", Some([])) => Some(Image::AllKept),
            ("prefix", Some([keep])) => Some(Image::Prefix(*keep)),
            ("all-but-one", Some([lost])) => Some(Image::AllButOne(*lost)),
            ("only-one", Some([kept])) => Some(Image::OnlyOne(*kept)),
            ("random", Some([percent])) => byte(*percent).filter(|percent| *percent <= 100).map(Image::Random),
            ("torn-last", Some([sectors])) => byte(*sectors).map(Image::TornLast),
            ("torn-at", Some([effect, sectors])) => byte(*sectors).map(|sectors| Image::TornAt(*effect, sectors)),
            ("garbage", Some([sector])) => byte(*sector).filter(|sector| *sector < 8).map(Image::Garbage),
            _ => None,
        };
        image.ok_or_else(|| ImageError(text.to_string()))
    }
}

impl Image {
    /// Draws one that fits so many effects. The boring one loses them all.
    pub(crate) fn draw(effects: usize, garbage: bool, draws: &mut Draws) -> Image {
        let effect = |draws: &mut Draws| draws.below(effects as u64) as u32;
        match draws.below(if garbage { 24 } else { 20 }) {
            20.. => Image::Garbage(draws.below(8) as u8),
            0..4 => Image::AllLost,
            4 => Image::AllKept,
            5..8 => Image::Prefix(effect(draws)),
            8..10 => Image::AllButOne(effect(draws)),
            10 => Image::OnlyOne(effect(draws)),
            11..15 => Image::Random(draws.below(101) as u8),
            15..18 => Image::TornLast(some_sectors(draws)),
            _ => Image::TornAt(effect(draws), some_sectors(draws)),
        }
    }

    /// What it proposes to keep of each effect: all of it (`u8::MAX`), nothing, or some sectors.
    fn propose(self, flying: &[InFlight], draws: &mut Draws) -> Vec<u8> {
        let masks: Vec<u8> = flying.iter().map(InFlight::mask).collect();
        let keep = |place: usize, mask: u8| match self {
            Image::Any | Image::AllLost | Image::Random(_) => 0,
            Image::AllKept => mask,
            Image::Prefix(keep) => {
                if place < keep as usize {
                    mask
                } else {
                    0
                }
            }
            Image::AllButOne(lost) => {
                if place == lost as usize {
                    0
                } else {
                    mask
                }
            }
            Image::OnlyOne(kept) => {
                if place == kept as usize {
                    mask
                } else {
                    0
                }
            }
            Image::TornLast(_) | Image::Garbage(_) => mask,
            Image::TornAt(at, sectors) => match place.cmp(&(at as usize)) {
                std::cmp::Ordering::Less => mask,
                std::cmp::Ordering::Equal => mask & sectors,
                _ => 0,
            },
        };
        let mut kept: Vec<u8> = masks.iter().enumerate().map(|(place, mask)| keep(place, *mask)).collect();
        match self {
            Image::Random(percent) => {
                let mut draw = |mask: &u8| if draws.below(100) < u64::from(percent) { *mask } else { 0 };
                kept = masks.iter().map(&mut draw).collect();
            }
            Image::TornLast(sectors) => last_page(flying).into_iter().for_each(|last| kept[last] &= sectors),
            Image::Garbage(sector) => {
                last_page(flying).into_iter().for_each(|last| kept[last] &= !(u8::MAX << sector));
            }
            _ => {}
        }
        kept
    }
}

fn last_page(flying: &[InFlight]) -> Option<usize> {
    flying.iter().rposition(InFlight::is_page)
}

/// Some sectors of a page: the first few, or any.
fn some_sectors(draws: &mut Draws) -> u8 {
    match draws.below(2) {
        0 => !(u8::MAX << draws.below(8)),
        _ => draws.below(256) as u8,
    }
}

/// One effect in flight.
pub(crate) struct InFlight<'a> {
    order: Order,
    what: Change<'a>,
}

enum Change<'a> {
    Content(Ino, &'a Effect),
    Names(&'a NameOp, &'a [Entry]),
}

impl InFlight<'_> {
    pub(crate) fn mask(&self) -> u8 {
        match self.what {
            Change::Content(_, effect) => effect.mask(),
            Change::Names(..) => u8::MAX,
        }
    }

    fn is_page(&self) -> bool {
        matches!(self.what, Change::Content(_, Effect { what: What::Data { .. }, .. }))
    }

    fn is_staged(&self) -> bool {
        matches!(self.what, Change::Content(_, Effect { staged: true, .. }))
    }

    /// Whether a journal keeps it in order with other metadata.
    fn is_metadata(&self, data: Data) -> bool {
        match self.what {
            Change::Names(..) => true,
            Change::Content(_, effect) => effect.is_metadata() || (data == Data::FreeStale && effect.page().is_none()),
        }
    }

    pub(crate) fn describe(&self, volume: &Volume) -> String {
        match self.what {
            Change::Content(ino, effect) => format!("{}: {}", volume.name_of(ino), effect.describe()),
            Change::Names(_, entries) => {
                let words: Vec<String> = entries
                    .iter()
                    .map(|entry| {
                        let verb = if entry.to.is_some() { "link" } else { "unlink" };
                        format!("{verb} {}", volume.path_of(entry.dir).join(&*entry.name).display())
                    })
                    .collect();
                words.join(", ")
            }
        }
    }
}

impl CrashOrder {
    /// Drops from a proposal what this filesystem would not have kept.
    fn enforce(&self, flying: &[InFlight], keep: &mut [u8]) {
        let full = |place: usize, keep: &[u8]| keep[place] == flying[place].mask();
        if self.replace_flushes {
            flush_replaced(flying, keep);
        }
        if self.data == Data::OnePrefix {
            let end = (0..keep.len()).find(|place| !full(*place, keep)).unwrap_or(keep.len());
            keep[end..].fill(0);
        }
        if self.names == Names::Prefix {
            let mut broken = false;
            for place in 0..keep.len() {
                if flying[place].is_metadata(self.data) {
                    broken |= keep[place] == 0;
                    keep[place] = if broken { 0 } else { keep[place] };
                }
            }
        }
        if matches!(self.data, Data::BlocksBeforeLength | Data::DataBeforeLength) {
            for place in 0..keep.len() {
                let Change::Content(of, Effect { what: What::Size { size, grows: true }, .. }) = flying[place].what
                else {
                    continue;
                };
                let all = self.data == Data::DataBeforeLength;
                let lacks = |before: usize| match flying[before].what {
                    Change::Content(ino, effect) => {
                        ino == of && effect.precedes_length(*size, all) && !full(before, keep)
                    }
                    Change::Names(..) => false,
                };
                if (0..place).any(lacks) {
                    keep[place] = 0;
                }
            }
        }
    }
}

/// A rename that puts a file in place of another brings its content along.
fn flush_replaced(flying: &[InFlight], keep: &mut [u8]) {
    for place in 0..keep.len() {
        let Change::Names(NameOp { replaces_with: Some(source), order, .. }, _) = flying[place].what else { continue };
        if keep[place] == 0 {
            continue;
        }
        for (before, flying) in flying.iter().enumerate().take_while(|(_, flying)| flying.order <= *order) {
            if matches!(flying.what, Change::Content(ino, _) if ino == *source) {
                keep[before] = flying.mask();
            }
        }
    }
}

impl Volume {
    /// What is not durable, in order. Where a rename can be torn, its two names are two.
    pub(crate) fn in_flight(&self, order: &CrashOrder) -> Vec<InFlight<'_>> {
        let mut flying = Vec::new();
        for ino in &self.dirty {
            let pending = self.get(*ino).content().map(|content| &content.pending);
            let effects = pending.into_iter().flatten();
            flying.extend(effects.map(|effect| InFlight { order: effect.order, what: Change::Content(*ino, effect) }));
        }
        for op in &self.names {
            let at = if order.names == Names::Free { 1 } else { op.entries.len() };
            let parts = op.entries.chunks(at);
            flying.extend(parts.map(|entries| InFlight { order: op.order, what: Change::Names(op, entries) }));
        }
        flying.sort_by_key(|flying| flying.order);
        flying
    }

    /// What a crash keeps of each effect in flight, for a device that writes whole sectors.
    pub(crate) fn kept(
        &self,
        flying: &[InFlight],
        crash: Crash,
        image: Image,
        order: &CrashOrder,
        sector: Sector,
        draws: &mut Draws,
    ) -> Vec<u8> {
        let mut keep = match crash {
            Crash::Kernel => flying.iter().map(|flying| if flying.is_staged() { flying.mask() } else { 0 }).collect(),
            _ => image.propose(flying, draws),
        };
        for (keep, flying) in keep.iter_mut().zip(flying) {
            // Only pages are torn.
            let is_torn = flying.is_page() && sector == Sector::Bytes512;
            *keep = if is_torn || *keep == 0 { *keep } else { flying.mask() };
        }
        order.enforce(flying, &mut keep);
        keep
    }

    /// The volume that a machine finds after a crash which kept this much of each effect, by an image.
    pub(crate) fn image(&self, flying: &[InFlight], keep: &[u8], by: Image, order: &CrashOrder) -> Volume {
        let mut image = self.durable();
        for (flying, keep) in flying.iter().zip(keep).filter(|(_, keep)| **keep != 0) {
            match flying.what {
                Change::Content(ino, effect) => {
                    image
                        .inode(ino)
                        .content_mut()
                        .into_iter()
                        .for_each(|content| effect.apply(&mut content.medium, *keep));
                    effect.page().into_iter().for_each(|page| image.media.mend((ino, page), *keep));
                }
                Change::Names(_, entries) => entries.iter().cloned().for_each(|entry| image.make_durable(entry)),
            }
        }
        if order.data == Data::FreeStale {
            image.expose_stale(flying, keep);
        }
        if let (Image::Garbage(sector), true) = (by, order.data != Data::OnePrefix) {
            image.spoil_last(flying, sector);
        }
        image.keep_attributes(self, flying, keep);
        image.boot();
        image
    }

    /// A copy with what is durable alone.
    pub(crate) fn durable(&self) -> Volume {
        let body = |body: &Body| match body {
            Body::File(content) => Body::File(content.durable()),
            Body::Directory(directory) => Body::Directory(Directory { live: Default::default(), ..directory.clone() }),
            Body::Symlink(target) => Body::Symlink(target.clone()),
        };
        // Held, so that nothing is freed before the names are back.
        let inode = |inode: &Inode| Inode { body: body(&inode.body), holders: 1, ..*inode };
        let inodes = self.inodes.iter().map(|(ino, old)| (*ino, inode(old))).collect();
        Volume { inodes, names: Vec::new(), dirty: Default::default(), media: self.media.clone(), ..*self }
    }

    /// The sector of the last page in flight that was being written holds noise.
    fn spoil_last(&mut self, flying: &[InFlight], sector: u8) {
        let last = last_page(flying).map(|last| &flying[last].what);
        let Some(Change::Content(ino, Effect { what: What::Data { page, mask, .. }, .. })) = last else { return };
        let Ok(content) = self.inode(*ino).content_mut() else { return };
        content.medium.write(*page, &noise(fold(ino.0, *page)), mask & (1 << sector));
        content.medium.clear_behind_end();
    }

    /// A file that lost nothing has the times and permissions that it had.
    fn keep_attributes(&mut self, before: &Volume, flying: &[InFlight], keep: &[u8]) {
        let mut whole: BTreeMap<Ino, bool> = BTreeMap::new();
        for (flying, keep) in flying.iter().zip(keep) {
            if let Change::Content(ino, _) = flying.what {
                *whole.entry(ino).or_insert(true) &= *keep == flying.mask();
            }
        }
        for (ino, _) in whole.into_iter().filter(|(_, whole)| *whole) {
            self.inode(ino).durable_attributes = before.get(ino).attributes;
        }
    }

    /// Blocks that a file got and that were never written show what they held before: here, noise.
    fn expose_stale(&mut self, flying: &[InFlight], keep: &[u8]) {
        for (flying, _) in flying.iter().zip(keep).filter(|(_, keep)| **keep == 0) {
            let Change::Content(ino, Effect { what: What::Data { page, fresh: true, .. }, .. }) = flying.what else {
                continue;
            };
            let Ok(content) = self.inode(ino).content_mut() else { continue };
            let medium = &mut content.medium;
            if page * (PAGE as u64) < medium.size && medium.pages.get(*page).is_none() {
                medium.put(*page, noise(fold(ino.0, *page)));
                medium.clear_behind_end();
            }
        }
    }

    /// A path of an inode, or its number where it has none.
    pub(crate) fn name_of(&self, ino: Ino) -> String {
        for (dir, inode) in &self.inodes {
            let Ok(directory) = inode.directory() else { continue };
            if let Some((name, _)) = directory.live.iter().find(|(_, to)| **to == ino) {
                return self.path_of(*dir).join(&**name).display().to_string();
            }
        }
        format!("inode {}", ino.0)
    }
}

/// A page of bytes that mean nothing.
fn noise(mut state: u64) -> crate::pages::Bytes {
    let mut bytes = [0; PAGE];
    for word in bytes.chunks_exact_mut(8) {
        state = fold(state, 0x9e37_79b9_7f4a_7c15);
        word.copy_from_slice(&state.to_le_bytes());
    }
    std::rc::Rc::new(bytes)
}

impl Kernel {
    /// A machine has lost its memory: its volume is what the crash left.
    pub(crate) fn lose_memory(&mut self, node: NodeId) {
        let (proposed, sector, garbage) = (self.options.crash_image, self.options.sector, self.options.garbage_sectors);
        let profile = self.profile(node);
        let machine = self.machine(node);
        let (crash, image, id) = machine.next_crash.take().unwrap_or((Crash::Power, None, FaultId::default()));
        match crash {
            Crash::Replaced => {
                machine.volume = Volume::default();
                machine.ills.replace_device();
                observed(id);
            }
            Crash::RolledBack => {
                let (volume, kept_by) = machine.snapshot.clone().unwrap_or_default();
                machine.volume = volume;
                [id, kept_by].into_iter().for_each(observed);
            }
            Crash::Kernel | Crash::Power => {
                let (volume, draws) = (&machine.volume, &mut machine.crash_draws);
                let flying = volume.in_flight(&profile.crash);
                let image = match image.unwrap_or(proposed) {
                    _ if crash == Crash::Kernel => Image::AllLost,
                    Image::Any => Image::draw(flying.len(), garbage, draws),
                    image => image,
                };
                let keep = volume.kept(&flying, crash, image, &profile.crash, sector, draws);
                let kept = keep.iter().filter(|keep| **keep != 0).count();
                let mut lost = keep.iter().zip(&flying).filter(|(keep, flying)| **keep != flying.mask()).peekable();
                if lost.peek().is_some() {
                    observed(id);
                }
                if !flying.is_empty() {
                    let fields = [flying.len() as u64, keep.iter().fold(0, |hash, keep| fold(hash, u64::from(*keep)))];
                    emit(node, "disk.crash", &fields, || {
                        let lost: Vec<String> = lost.map(|(_, flying)| flying.describe(volume)).collect();
                        format!("{}: {kept} of {} effects kept; lost: {}", profile.name, flying.len(), lost.join("; "))
                    });
                }
                machine.volume = volume.image(&flying, &keep, image, &profile.crash);
            }
        }
        machine.feel();
    }
}
