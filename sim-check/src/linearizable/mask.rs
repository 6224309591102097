//! Sets of slots: machine words while they suffice, a vector of words beyond.

use std::hash::Hash;

/// A set of small numbers. Equal sets are equal values.
pub(super) trait Mask: Clone + Default + Eq + Hash {
    fn has(&self, slot: u32) -> bool;
    fn insert(&mut self, slot: u32);
    fn remove(&mut self, slot: u32);
    fn is_subset(&self, other: &Self) -> bool;
}

macro_rules! word_mask {
    ($word:ty) => {
        impl Mask for $word {
            fn has(&self, slot: u32) -> bool {
                self >> slot & 1 == 1
            }

            fn insert(&mut self, slot: u32) {
                *self |= 1 << slot;
            }

            fn remove(&mut self, slot: u32) {
                *self &= !(1 << slot);
            }

            fn is_subset(&self, other: &Self) -> bool {
                self & !other == 0
            }
        }
    };
}

word_mask!(u64);
word_mask!(u128);

/// A set without a limit. The last word is never zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wide(Vec<u64>);

impl Mask for Wide {
    fn has(&self, slot: u32) -> bool {
        self.0.get(slot as usize / 64).is_some_and(|word| word.has(slot % 64))
    }

    fn insert(&mut self, slot: u32) {
        let word = slot as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word].insert(slot % 64);
    }

    fn remove(&mut self, slot: u32) {
        if let Some(word) = self.0.get_mut(slot as usize / 64) {
            word.remove(slot % 64);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn is_subset(&self, other: &Self) -> bool {
        self.0.len() <= other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.is_subset(b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behaves_as_a_set<K: Mask>(slots: [u32; 3]) {
        let [a, b, c] = slots;
        let mut set = K::default();
        set.insert(a);
        set.insert(c);
        assert!(set.has(a) && !set.has(b) && set.has(c));
        let mut larger = set.clone();
        larger.insert(b);
        assert!(set.is_subset(&larger) && !larger.is_subset(&set));
        for slot in slots {
            larger.remove(slot);
        }
        assert!(larger == K::default() && larger.is_subset(&set));
    }

    #[test]
    fn all_widths_behave_as_sets() {
        behaves_as_a_set::<u64>([0, 30, 63]);
        behaves_as_a_set::<u128>([0, 64, 127]);
        behaves_as_a_set::<Wide>([3, 64, 1000]);
    }
}
