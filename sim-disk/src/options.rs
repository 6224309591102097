//! What the disks of a simulation are like.

use std::time::Duration;

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
    /// How fast the device is; no limits by default.
    pub performance: Performance,
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
            performance: Performance::default(),
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
