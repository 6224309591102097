//! `10.ms()`: durations as they are spoken, and their text form in plan files.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Durations from integers.
///
/// ```
/// use sim_core::Units;
/// use std::time::Duration;
/// assert_eq!(10.ms(), Duration::from_millis(10));
/// assert_eq!(2.mins(), 120.secs());
/// ```
pub trait Units {
    /// So many nanoseconds.
    fn ns(self) -> Duration;
    /// So many microseconds.
    fn us(self) -> Duration;
    /// So many milliseconds.
    fn ms(self) -> Duration;
    /// So many seconds.
    fn secs(self) -> Duration;
    /// So many minutes.
    fn mins(self) -> Duration;
}

impl Units for u64 {
    fn ns(self) -> Duration {
        Duration::from_nanos(self)
    }
    fn us(self) -> Duration {
        Duration::from_micros(self)
    }
    fn ms(self) -> Duration {
        Duration::from_millis(self)
    }
    fn secs(self) -> Duration {
        Duration::from_secs(self)
    }
    fn mins(self) -> Duration {
        Duration::from_secs(self * 60)
    }
}

/// A length of time as a plan file writes it: `5s`, `1.5s`, `200ms`, `3us`, `7ns`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Span(pub Duration);

const UNITS: [(&str, u128); 4] = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, size) = *UNITS.iter().rev().find(|(_, size)| nanos.is_multiple_of(*size)).unwrap_or(&UNITS[0]);
        write!(f, "{}{unit}", nanos / size)
    }
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("`{}` is not a length of time: write 5s, 1.5s, 200ms, 3us or 7ns", text.escape_debug());
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (number, unit) = text.split_at(split);
        let (_, size) = *UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let whole: u128 = whole.parse().map_err(|_| error())?;
        let places = u32::try_from(fraction.len()).ok().filter(|n| *n <= 9).ok_or_else(error)?;
        let fraction: u128 = fraction.parse().map_err(|_| error())?;
        let nanos = whole.checked_mul(size).map(|n| n + fraction * size / 10u128.pow(places));
        nanos.and_then(|n| u64::try_from(n).ok()).map(|n| Span(Duration::from_nanos(n))).ok_or_else(error)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Seconds with three decimals, as reports show simulated time.
pub(crate) fn seconds(nanos: u64) -> String {
    format!("{}.{:03} s", nanos / 1_000_000_000, nanos / 1_000_000 % 1_000)
}

/// A number with commas between thousands.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or("")).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_prints_in_its_largest_whole_unit_and_parses_back() {
        for (duration, text) in [(5.secs(), "5s"), (1500.ms(), "1500ms"), (7.ns(), "7ns"), (0.ns(), "0s")] {
            assert_eq!(Span(duration).to_string(), text);
            assert_eq!(text.parse(), Ok(Span(duration)));
        }
        assert_eq!("1.5s".parse(), Ok(Span(1500.ms())));
    }

    #[test]
    fn what_is_no_span_is_refused_with_examples() {
        for text in ["", "5", "s", "5 s", "5h", "1.2.3s", "-1s", "99999999999999999999s"] {
            assert!(text.parse::<Span>().unwrap_err().contains("200ms"), "{text}");
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 8_113, 1_234_567].map(thousands), ["0", "999", "1,000", "8,113", "1,234,567"]);
    }
}
