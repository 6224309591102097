//! Faults as bands across the lanes.

use crate::history::Moment;
use crate::read::{FaultEvent, Value};

/// A time during which something was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// What was broken.
    pub what: String,
    /// From when.
    pub from: Moment,
    /// Until when; to the end, if nothing.
    pub to: Option<Moment>,
}

const ENDS: &[&str] = &["stop", "heal", "resume", "restart", "recover", "reset", "bump-stop"];

/// Bands from the events of a nemesis: `start...` begins one, and `stop...`, `heal...` and the like end those of the
/// same kind; everything else is a moment.
pub(super) fn of(faults: &[FaultEvent]) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    for fault in faults {
        if let Some(kind) = ENDS.iter().find_map(|end| fault.f.strip_prefix(end)) {
            let open = bands.iter_mut().filter(|band| band.to.is_none());
            open.filter(|band| kind.is_empty() || band.what.contains(kind))
                .for_each(|band| band.to = Some(fault.moment));
            continue;
        }
        let what = match &fault.value {
            Value::Nil => fault.f.clone(),
            value => format!("{} {value}", fault.f),
        };
        // A nemesis says twice what it does: before, and when it is done.
        if bands.iter().any(|band| band.to.is_none() && band.what.split(' ').next() == Some(&fault.f)) {
            continue;
        }
        let lasts = fault.f.starts_with("start");
        bands.push(Band { what, from: fault.moment, to: if lasts { None } else { Some(fault.moment) } });
    }
    bands
}
