//! The one hash of the simulator: equal on every platform, in every process.

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

/// The hash of the bytes of a message: a multiplication for sixteen bytes (after Wang Yi's wyhash).
pub fn hash_message(bytes: &[u8]) -> u64 {
    const SALT: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let blocks = bytes.chunks_exact(64);
    let rest = blocks.remainder();
    // Four lanes that do not wait for each other.
    let mut lanes = [bytes.len() as u64, 1, 2, 3];
    for block in blocks {
        for (lane, part) in lanes.iter_mut().zip(block.chunks_exact(16)) {
            let product = u128::from(word(part) ^ SALT[0]) * u128::from(word(&part[8..]) ^ *lane ^ SALT[1]);
            *lane = (product >> 64) as u64 ^ product as u64;
        }
    }
    lanes.into_iter().fold(hash_bytes(rest), fold)
}
