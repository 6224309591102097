//! What filesystems promise, as plain data: what a failed write-back leaves, and which effects a crash may keep.
//!
//! The rows of fsync failure were measured by Rebello et al., "Can Applications Recover from fsync Failures?" (USENIX
//! ATC 2020), and rest on errseq_t of Linux (lib/errseq.c, since 4.13). What a crash keeps follows the documentation of
//! each filesystem (ext4(5), xfs(5), btrfs(5)) and Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014).
//! They are models: a constant with another field is another model.

/// A filesystem, as far as failure tells it apart from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FsProfile {
    /// What it is called in reports.
    pub name: &'static str,
    /// What a write-back that fails leaves behind.
    pub failure: FsyncFailure,
    /// Which effects that are not durable a crash may keep.
    pub crash: CrashOrder,
}

/// What becomes of pages, descriptors and metadata when the device refuses a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FsyncFailure {
    /// The pages that were not written.
    pub pages: FailedPages,
    /// Which fsync says so.
    pub report: Report,
    /// Whom it is told.
    pub told: Told,
    /// The other pages of the same fsync.
    pub siblings: Siblings,
    /// The length and the map of blocks.
    pub metadata: FailedMetadata,
    /// What a write to a file opened with O_SYNC or O_DSYNC does while an error waits for its descriptor.
    pub sync_write: SyncWrite,
    /// What the filesystem does when its own journal or metadata cannot be written.
    pub journal: JournalFailure,
}

/// See [`FsyncFailure::pages`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailedPages {
    /// Count as clean, and readers see the new content until it is evicted.
    CleanKeepNew,
    /// Are dropped: readers see what the medium has.
    CleanRevertOld,
    /// Stay dirty: a later fsync tries again.
    StayDirty,
}

/// See [`FsyncFailure::report`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Report {
    /// The fsync that failed.
    Now,
    /// The fsync after it, which then writes nothing itself. The one that fails has put its pages into the journal, and a
    /// crash finds them there: what is refused is to bring them to their places afterwards.
    Next,
}

/// See [`FsyncFailure::told`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// Every descriptor that was open, once; if none was, the next one that is opened.
    EachDescriptorOnce,
    /// Whoever asks first, a `sync(2)` that tells nobody included: the others never hear of it.
    FirstCallerOnly,
}

/// See [`FsyncFailure::siblings`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Siblings {
    /// Are written.
    Written,
    /// Share the fate of the failed page: all or nothing.
    Aborted,
}

/// See [`FsyncFailure::metadata`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailedMetadata {
    /// Becomes durable: the file may point at blocks that were never written.
    Persisted,
    /// Is as on the medium again; positions of descriptors are not.
    Reverted,
}

/// See [`FsyncFailure::sync_write`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncWrite {
    /// Reports the error and writes nothing.
    ReportsFirst,
    /// Writes, and then is an fsync.
    IsFsync,
}

/// See [`FsyncFailure::journal`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JournalFailure {
    /// Nothing: the metadata stays to be written.
    Retry,
    /// Changes fail with EROFS from then on, until the machine starts again.
    ReadOnly,
    /// Everything fails with EIO from then on, until the machine starts again.
    Shutdown,
}

/// The constraints on what a crash keeps of the effects that are not durable. In all of them a sector is written whole or
/// not at all, writes of one sector keep their order, and what a successful fsync covered is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CrashOrder {
    /// Which changes of names survive.
    pub names: Names,
    /// Which writes and lengths survive.
    pub data: Data,
    /// Whether the content of a file is written before a rename that puts it in place of another is committed
    /// (`auto_da_alloc` of ext4).
    pub replace_flushes: bool,
    /// What an fsync makes durable beside its file.
    pub sync_commits: SyncCommits,
}

/// See [`CrashOrder::sync_commits`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncCommits {
    /// Nothing: the name of a file needs an fsync of its directory, as POSIX has it.
    Itself,
    /// Every earlier change of names on the volume, as journals do in practice.
    Names,
    /// Everything that happened before on the volume.
    Everything,
}

/// See [`CrashOrder::names`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Any of them: a rename is a link and an unlink, and a crash may keep both, either or none.
    Free,
    /// The first so many, as a journal has them: a rename is atomic.
    Prefix,
}

/// See [`CrashOrder::data`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Data {
    /// Any sectors of any write, and any length: behind data that did not survive stand zeros.
    Free,
    /// As [`Free`](Data::Free), but there stand bytes of files that were deleted.
    FreeStale,
    /// A length only with the new blocks that it covers: data is written first. Overwrites are free.
    BlocksBeforeLength,
    /// A length only with all data that it covers.
    DataBeforeLength,
    /// Data and names are one prefix of all that happened on the volume.
    OnePrefix,
}

pub(crate) const LINUX: FsyncFailure = FsyncFailure {
    pages: FailedPages::CleanKeepNew,
    report: Report::Now,
    told: Told::EachDescriptorOnce,
    siblings: Siblings::Written,
    metadata: FailedMetadata::Persisted,
    sync_write: SyncWrite::ReportsFirst,
    journal: JournalFailure::ReadOnly,
};

const ORDERED: CrashOrder = CrashOrder {
    names: Names::Prefix,
    data: Data::BlocksBeforeLength,
    replace_flushes: true,
    sync_commits: SyncCommits::Names,
};

const fn profile(name: &'static str, failure: FsyncFailure, crash: CrashOrder) -> FsProfile {
    FsProfile { name, failure, crash }
}

impl FsProfile {
    /// What POSIX promises and no more: the hardest to survive. Fsync fails as on ext4.
    pub const POSIX_MINIMAL: FsProfile = profile(
        "posix-minimal",
        FsyncFailure { journal: JournalFailure::Retry, ..LINUX },
        CrashOrder { names: Names::Free, data: Data::Free, replace_flushes: false, sync_commits: SyncCommits::Itself },
    );
    /// ext4 with `data=ordered`, its default.
    pub const EXT4_ORDERED: FsProfile = profile("ext4-ordered", LINUX, ORDERED);
    /// ext4 with `data=writeback`: metadata in order, data whenever.
    pub const EXT4_WRITEBACK: FsProfile =
        profile("ext4-writeback", LINUX, CrashOrder { data: Data::FreeStale, replace_flushes: false, ..ORDERED });
    /// ext4 with `data=journal`: the failure of a page is told by the fsync after.
    pub const EXT4_JOURNAL: FsProfile = profile(
        "ext4-journal",
        FsyncFailure { report: Report::Next, ..LINUX },
        CrashOrder { data: Data::OnePrefix, sync_commits: SyncCommits::Everything, ..ORDERED },
    );
    /// XFS: shuts down when its log fails; a file that replaced another may be empty.
    pub const XFS: FsProfile = profile(
        "xfs",
        FsyncFailure { journal: JournalFailure::Shutdown, ..LINUX },
        CrashOrder { data: Data::DataBeforeLength, replace_flushes: false, ..ORDERED },
    );
    /// Btrfs: copy on write, so a failed fsync takes everything back.
    pub const BTRFS: FsProfile = profile(
        "btrfs",
        FsyncFailure {
            pages: FailedPages::CleanRevertOld,
            siblings: Siblings::Aborted,
            metadata: FailedMetadata::Reverted,
            sync_write: SyncWrite::IsFsync,
            ..LINUX
        },
        CrashOrder { data: Data::OnePrefix, ..ORDERED },
    );
    /// FreeBSD and ZFS: pages stay dirty, and a second fsync is worth something.
    pub const ZFS: FsProfile = profile(
        "zfs",
        FsyncFailure { pages: FailedPages::StayDirty, journal: JournalFailure::Retry, ..LINUX },
        CrashOrder { data: Data::OnePrefix, ..ORDERED },
    );
    /// ext4 before Linux 4.13: the error is told to whoever asks first, and to nobody else.
    pub const LINUX_PRE_4_13: FsProfile =
        profile("linux-pre-4.13", FsyncFailure { told: Told::FirstCallerOnly, ..LINUX }, ORDERED);

    /// All of them.
    pub const ALL: [&'static FsProfile; 8] = [
        &FsProfile::POSIX_MINIMAL,
        &FsProfile::EXT4_ORDERED,
        &FsProfile::EXT4_WRITEBACK,
        &FsProfile::EXT4_JOURNAL,
        &FsProfile::XFS,
        &FsProfile::BTRFS,
        &FsProfile::ZFS,
        &FsProfile::LINUX_PRE_4_13,
    ];
}
