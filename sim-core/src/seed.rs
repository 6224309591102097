//! Seeds, and the three ways people write them.

use std::fmt;
use std::str::FromStr;

/// The number from which every choice of a run is derived.
///
/// Written in decimal (`42`), in hexadecimal (`0x1f3a9c`), or as a commit hash of 7 to 40 hex digits, whose
/// first 16 digits become the number, so that a pull request has a seed of its own.
///
/// ```
/// use sim_core::Seed;
/// assert_eq!("42".parse::<Seed>().unwrap(), Seed(42));
/// assert_eq!("0x2a".parse::<Seed>().unwrap(), Seed(42));
/// assert_eq!("deadbeef".parse::<Seed>().unwrap(), Seed(0xdeadbeef));
/// assert!("fourty-two".parse::<Seed>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seed(pub u64);

impl From<u64> for Seed {
    fn from(number: u64) -> Self {
        Seed(number)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A text that is not a seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeedError(String);

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a seed: write a decimal number below 2^64 (42), a hexadecimal one (0x2a), or a commit hash \
             of 7 to 40 hex digits",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for SeedError {}

impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        let error = || SeedError(text.to_string());
        if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            let plain = !digits.starts_with('+');
            return u64::from_str_radix(digits, 16).ok().filter(|_| plain).map(Seed).ok_or_else(error);
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && text.len() < 40 {
            return text.parse().map(Seed).map_err(|_| error());
        }
        if (7..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return u64::from_str_radix(&text[..text.len().min(16)], 16).map(Seed).map_err(|_| error());
        }
        Err(error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_seed_parses_to_itself() {
        for number in [0, 1, 0x1f3a9c, u64::MAX] {
            assert_eq!(Seed(number).to_string().parse(), Ok(Seed(number)));
        }
    }

    #[test]
    fn a_commit_hash_gives_its_first_sixteen_digits() {
        let commit = "4be1d02f00112233445566778899aabbccddeeff";
        assert_eq!(commit.parse(), Ok(Seed(0x4be1d02f00112233)));
    }

    #[test]
    fn nonsense_is_refused_with_the_three_forms() {
        for text in ["", "0x", "0x+1", "-1", "abc", "99999999999999999999999", "0xfffffffffffffffff", "é"] {
            let message = text.parse::<Seed>().unwrap_err().to_string();
            assert!(message.contains("commit hash"), "{message}");
        }
    }
}
