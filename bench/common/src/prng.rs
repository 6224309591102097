//! A small generator (SplitMix64), so that every framework sleeps for the same times.

/// A stream of numbers.
pub struct Prng(u64);

impl Prng {
    /// The stream of a number.
    pub fn new(seed: u64) -> Self {
        Prng(seed)
    }

    /// The next number from 1 to `most`; the bias of the remainder does not matter here.
    pub fn up_to(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        1 + (mixed ^ (mixed >> 31)) % most
    }
}
