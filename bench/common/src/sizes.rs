//! How much work each case is.

use std::time::Duration;

/// The latency of every link, in both directions.
pub const LATENCY: Duration = Duration::from_millis(1);

/// Time for a server to listen before its client connects.
pub const HEAD_START: Duration = Duration::from_millis(10);

/// Round trips of the case pingpong.
pub const ROUND_TRIPS: u64 = 100_000;

/// Bytes each way in a round trip.
pub const PING_BYTES: usize = 64;

/// Tasks of the case timers.
pub const SLEEPERS: u64 = 1_000;

/// Sleeps of each.
pub const SLEEPS: u64 = 1_000;

/// The longest of these sleeps, in milliseconds; the shortest is one.
pub const LONGEST_SLEEP_MS: u64 = 100;

/// Tasks of the case spawn.
pub const SPAWNS: u64 = 1_000_000;

/// So many of them are joined before the next are spawned.
pub const SPAWN_BATCH: u64 = 1_000;

/// Where a simulator wants time to move, it does after each of so many parts of them.
pub const SPAWN_PARTS: u64 = 10;

/// What the one task on each node of a trivial simulation sleeps.
pub const NAP: Duration = Duration::from_millis(10);

/// Nodes of the simulations of a sweep.
pub const SWEEP_NODES: u64 = 5;

/// Nodes of the case start-100.
pub const START_NODES: u64 = 100;

/// Nodes of the case idle-1000.
pub const IDLE_NODES: u64 = 1_000;

/// How long they idle.
pub const IDLE: Duration = Duration::from_secs(60);

/// Datagrams of the case udp.
pub const DATAGRAMS: u64 = 100_000;

/// Bytes of each.
pub const DATAGRAM_BYTES: usize = 512;

/// So many are sent at once.
pub const BURST: u64 = 32;

/// The pause after these.
pub const BURST_PAUSE: Duration = Duration::from_millis(5);

/// Bytes of the case bulk.
pub const BULK_BYTES: u64 = 1 << 30;

/// Bytes of one write.
pub const BULK_WRITE: usize = 64 << 10;
