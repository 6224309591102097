//! What the disks of a simulation are like.

use std::time::Duration;

use sim_core::Ratio;

use crate::crash::Image;
use crate::kernel::act;
use crate::performance::Performance;
use crate::profile::FsProfile;

/// The filesystem of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// One of [`FsProfile::ALL`], drawn per machine and seed.
    #[default]
    Any,
    /// This one.
    Is(FsProfile),
}

impl From<FsProfile> for Profile {
    fn from(profile: FsProfile) -> Self {
        Profile::Is(profile)
    }
}

/// How much fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capacity {
    /// Bytes of the volume, in whole blocks of 4096; no limit by default.
    pub bytes: Option<u64>,
    /// Inodes of the volume, its root among them; no limit by default.
    pub inodes: Option<u64>,
    /// Descriptors that the processes of a node have open (EMFILE beyond); no limit by default.
    pub descriptors: Option<usize>,
}

/// What a device writes whole or not at all: the unit of torn pages, of faults of the medium, and of O_DIRECT.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Sector {
    /// 512 bytes.
    #[default]
    Bytes512,
    /// 4096 bytes: pages are never torn.
    Bytes4096,
}

impl Sector {
    /// How many bytes.
    pub fn bytes(self) -> usize {
        match self {
            Sector::Bytes512 => 512,
            Sector::Bytes4096 => 4096,
        }
    }
}

/// The options of every disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The filesystem: what a failed fsync leaves, and what a crash may keep.
    pub profile: Profile,
    /// What a power loss keeps of the effects that are not durable.
    pub crash_image: Image,
    /// The least simulated time an fsync takes.
    pub fsync_latency_min: Duration,
    /// The time that it stays below; every fsync draws between the two.
    pub fsync_latency_max: Duration,
    /// How long what was written stays in the cache alone, at the least: then the kernel of the machine writes some of it
    /// back, unasked.
    pub write_back_min: Duration,
    /// The time that it stays below. Every machine draws a habit of its own between the two.
    pub write_back_max: Duration,
    /// Whether the device has a volatile cache, which a write with O_DIRECT or a write-back without a flush only
    /// reaches. It outlives a kernel crash and not a power loss.
    pub device_cache: bool,
    /// What the device writes whole.
    pub sector: Sector,
    /// Whether [`Image::Any`] may leave garbage in the sector that was being written, which good devices do not.
    pub garbage_sectors: bool,
    /// How fast the device is; no limits by default.
    pub performance: Performance,
    /// How likely a read of more than one byte is a short one. Never by default: files of Linux are read short at their
    /// end alone, and code must not rely on that.
    pub short_read_probability: Ratio,
    /// How likely a write of more than one byte is a short one, as with a signal; never by default.
    pub short_write_probability: Ratio,
    /// How much fits.
    pub capacity: Capacity,
}

impl Default for Options {
    /// Any filesystem, any legal crash image; an fsync takes half a millisecond to five.
    fn default() -> Self {
        Options {
            profile: Profile::Any,
            crash_image: Image::Any,
            fsync_latency_min: Duration::from_micros(500),
            fsync_latency_max: Duration::from_millis(5),
            write_back_min: Duration::from_millis(50),
            write_back_max: Duration::from_secs(30),
            device_cache: true,
            sector: Sector::default(),
            garbage_sectors: false,
            performance: Performance::default(),
            short_read_probability: Ratio::new(0, 1),
            short_write_probability: Ratio::new(0, 1),
            capacity: Capacity::default(),
        }
    }
}

/// The options in force.
#[track_caller]
pub fn options() -> Options {
    act("disk::options", |kernel| kernel.options.clone())
}

/// Changes the options of every disk from now on.
#[track_caller]
pub fn set_options(options: Options) {
    act("disk::set_options", |kernel| kernel.options = options);
}
