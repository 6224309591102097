//! The hashes of the simulator: equal on every platform, in every process.

use twox_hash::XxHash3_64;

/// Mixes `value` into `state` by a folded 64 x 64 to 128 bit multiplication.
#[inline]
pub const fn fold(state: u64, value: u64) -> u64 {
    let product = ((state ^ value) as u128).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    ((product >> 64) as u64) ^ (product as u64) ^ state.rotate_left(29)
}

/// The hash of a string, also at compile time (FNV-1a, then one [`fold`]).
pub const fn hash_str(text: &str) -> u64 {
    hash_bytes(text.as_bytes())
}

/// The hash of bytes.
pub const fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    fold(hash, bytes.len() as u64)
}

/// The hash of the bytes of a message, as fast as they can be copied (XXH3, as its specification has it).
#[inline]
pub fn hash_message(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}
