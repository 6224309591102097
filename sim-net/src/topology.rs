//! Regions, zones and racks: how far nodes are from each other.

use std::time::Duration;

use sim_core::{Node, NodeId};

use crate::link::LinkOptions;

/// The links between nodes by what their zones have in common. The zone of a node is a path, as in
/// `node("db-1").zone("eu/a/r7")`: region, zone in it, rack in that; what it leaves out counts as shared by all that leave
/// it out.
///
/// ```
/// use sim_net::Topology;
/// let mut topology = Topology::default();
/// topology.across_regions.loss_probability = sim_core::Ratio::percent(1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// Between nodes of one rack.
    pub within_rack: LinkOptions,
    /// Between racks of one zone.
    pub across_racks: LinkOptions,
    /// Between zones of one region.
    pub across_zones: LinkOptions,
    /// Between regions.
    pub across_regions: LinkOptions,
}

impl Default for Topology {
    /// 50 to 200 microseconds in a rack, the default link between racks, 1 to 3 milliseconds between zones, and
    /// [`LinkOptions::wan`] between regions.
    fn default() -> Self {
        let link = |range: std::ops::Range<Duration>| LinkOptions { latency: range.into(), ..LinkOptions::default() };
        Topology {
            within_rack: link(Duration::from_micros(50)..Duration::from_micros(200)),
            across_racks: LinkOptions::default(),
            across_zones: link(Duration::from_millis(1)..Duration::from_millis(3)),
            across_regions: LinkOptions::wan(),
        }
    }
}

impl Topology {
    /// All nodes are equally far from each other.
    pub fn flat(link: LinkOptions) -> Self {
        Topology {
            within_rack: link.clone(),
            across_racks: link.clone(),
            across_zones: link.clone(),
            across_regions: link,
        }
    }

    pub(crate) fn link(&self, from: NodeId, to: NodeId) -> LinkOptions {
        if from == to {
            return LinkOptions::loopback();
        }
        let zone = |id| Node::from_id(id).and_then(Node::zone_name);
        let (Some(a), Some(b)) = (zone(from), zone(to)) else { return self.across_racks.clone() };
        let part = |zone: &str, depth| zone.split('/').nth(depth).unwrap_or_default().to_string();
        let differs = (0..3).find(|depth| part(&a, *depth) != part(&b, *depth));
        match differs {
            Some(0) => self.across_regions.clone(),
            Some(1) => self.across_zones.clone(),
            Some(_) => self.across_racks.clone(),
            None => self.within_rack.clone(),
        }
    }
}
