//! Where faults of the medium strike: sectors of files, drawn among those that the atlas allows.

use std::rc::Rc;

use sim_core::NodeId;
use sim_core::fault::{Fault, FaultId, matches};

use crate::content::Content;
use crate::effect::Order;
use crate::inode::{Body, Ino, Inode};
use crate::kernel::{Kernel, act};
use crate::kinds::wants_atlas;
use crate::media::{Gives, Overlay, Place, WriteFault};
use crate::pages::{Bytes, PAGE, SECTOR, WHOLE};

/// A sector on the medium that a fault may strike.
pub(crate) struct Spot {
    pub(crate) path: Rc<str>,
    pub(crate) offset: u64,
    place: Place,
    sectors: u8,
}

#[cfg(test)]
impl Spot {
    pub(crate) fn new(path: &str, offset: u64) -> Self {
        Spot { path: path.into(), offset, place: Default::default(), sectors: 1 }
    }
}

/// The sector that a fault has drawn.
pub(crate) struct Struck<'a> {
    content: &'a Content,
    page: u64,
    sectors: u8,
    draw: u64,
}

impl Struck<'_> {
    /// A bit of the sector.
    pub(crate) fn bit(&self) -> usize {
        let bits = 8 * SECTOR * self.sectors.count_ones() as usize;
        8 * SECTOR * self.sectors.trailing_zeros() as usize + (self.draw % bits as u64) as usize
    }

    /// Another page of the same file.
    pub(crate) fn other_page(&self) -> Option<Bytes> {
        let others = || self.content.medium.pages.from(0).filter(|(page, _)| *page != self.page);
        let place = self.draw.checked_rem(others().count() as u64)?;
        others().nth(place as usize).map(|(_, bytes)| bytes.clone())
    }
}

/// Strikes one of the sectors on the medium of files that match, drawn among those that the atlas allows.
pub(crate) fn at_rest(fault: &Fault, strike: fn(&Struck) -> Option<(Gives, bool)>) -> Result<bool, String> {
    let (node, pattern) = (fault.only_target()?.id(), fault.word("path")?);
    if wants_atlas(fault) {
        return Ok(false);
    }
    Ok(act("faults", |kernel| {
        let spots = kernel.durable_spots(node);
        let sound = kernel.atlas.sound(node, &spots);
        let may = |spot: &&Spot| {
            matches(pattern, &spot.path) && kernel.atlas.allows(node, sound, std::slice::from_ref(*spot))
        };
        let allowed: Vec<&Spot> = spots.iter().filter(may).collect();
        let draws = &mut kernel.machine(node).crash_draws;
        let (choice, draw) = (draws.below(allowed.len() as u64) as usize, draws.below(u64::MAX));
        let Some(Spot { place, sectors, .. }) = allowed.get(choice) else { return false };
        let (place, sectors) = (*place, *sectors);
        let volume = &mut kernel.machine(node).volume;
        let content = volume.inodes.get(&place.0).and_then(Inode::content);
        let gives = content.and_then(|content| strike(&Struck { content, page: place.1, sectors, draw }));
        let Some((gives, once)) = gives else { return false };
        volume.media.lay(place, Overlay { id: fault.id, sectors, gives, once });
        kernel.atlas.mark(node, allowed[choice]);
        true
    }))
}

impl Kernel {
    /// The sectors that the medium has of files.
    fn durable_spots(&mut self, node: NodeId) -> Vec<Spot> {
        let sector = self.options.sector.bytes();
        let volume = &self.machine(node).volume;
        let mut spots = Vec::new();
        for (ino, inode) in &volume.inodes {
            let Some(content) = inode.content() else { continue };
            let path: Rc<str> = volume.name_of(*ino).trim_start_matches('/').into();
            let pages = content.medium.pages.from(0).map(|(page, _)| page);
            let in_file = |spot: &Spot| spot.offset < content.medium.size;
            spots.extend(pages.flat_map(|page| spots_of(&path, (*ino, page), sector)).filter(in_file));
        }
        spots
    }

    /// Does a write-back of an fsync wrong that is about to happen, where the atlas allows it.
    pub(crate) fn settle_wrong(&mut self, node: NodeId, ino: Ino, upto: Order, how: WriteFault, id: FaultId) {
        let sector = self.options.sector.bytes();
        let volume = &self.machine(node).volume;
        let path: Rc<str> = volume.name_of(ino).trim_start_matches('/').into();
        let Some(content) = volume.get(ino).content() else { return };
        let Some(page) = content.dirty_pages(upto).pop() else { return };
        let others: Vec<u64> =
            content.medium.pages.from(0).map(|(other, _)| other).filter(|other| *other != page).collect();
        let spots = |page: u64| spots_of(&path, (ino, page), sector).collect::<Vec<_>>();
        let durable = self.durable_spots(node);
        let sound = self.atlas.sound(node, &durable);
        let draw = self.machine(node).crash_draws.below(others.len() as u64) as usize;
        let victim = others.get(draw).copied().filter(|_| how == WriteFault::Misdirected);
        let spoiled: Vec<Spot> = spots(page).into_iter().chain(victim.into_iter().flat_map(spots)).collect();
        if !self.atlas.allows(node, sound, &spoiled) {
            return;
        }
        let volume = &mut self.machine(node).volume;
        let Some(Body::File(content)) = volume.inodes.get_mut(&ino).map(|inode| &mut inode.body) else { return };
        if volume.media.settle_wrong(ino, content, upto, how, victim, id) {
            spoiled.iter().for_each(|spot| self.atlas.mark(node, spot));
        }
    }
}

fn spots_of(path: &Rc<str>, place: Place, sector: usize) -> impl Iterator<Item = Spot> {
    let each = sector / SECTOR;
    (0..PAGE / sector).map(move |number| Spot {
        path: path.clone(),
        offset: place.1 * PAGE as u64 + (number * sector) as u64,
        place,
        sectors: (WHOLE >> (8 - each)) << (number * each),
    })
}
