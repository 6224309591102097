//! Failures of a block in order, such as `wwxW`.

use std::fmt;
use std::str::FromStr;

/// Which writes of a block fail: `w` one passes, `x` one fails, `W` all pass from here, `X` all fail from here. Behind its
/// end all pass. After CuttleFS, the emulator of Rebello et al. (ATC 2020).
///
/// ```
/// let mut writes: sim_disk::Sequence = "wx".parse().unwrap();
/// assert_eq!([writes.attempt(), writes.attempt(), writes.attempt()], [true, false, true]);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sequence {
    symbols: Vec<u8>,
    at: usize,
}

/// Text that is no [`Sequence`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SequenceError(String);

impl fmt::Display for SequenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no sequence of failures. Write w, x, W and X, the last two only at the end: wwxW", self.0)
    }
}

impl std::error::Error for SequenceError {}

impl FromStr for Sequence {
    type Err = SequenceError;

    fn from_str(text: &str) -> Result<Self, SequenceError> {
        let symbols = text.as_bytes();
        let (body, last) = symbols.split_at(symbols.len().saturating_sub(1));
        let valid = !symbols.is_empty()
            && body.iter().all(|symbol| b"wx".contains(symbol))
            && last.iter().all(|symbol| b"wxWX".contains(symbol));
        match valid {
            true => Ok(Sequence { symbols: symbols.to_vec(), at: 0 }),
            false => Err(SequenceError(text.to_string())),
        }
    }
}

impl Sequence {
    /// The block is written once more. Whether that succeeds.
    pub fn attempt(&mut self) -> bool {
        let symbol = self.symbols.get(self.at).copied().unwrap_or(b'W');
        self.at += usize::from(symbol.is_ascii_lowercase());
        matches!(symbol, b'w' | b'W')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capital_letters_last() {
        let mut writes: Sequence = "xwX".parse().unwrap();
        assert_eq!([(); 5].map(|()| writes.attempt()), [false, true, false, false, false]);
        for wrong in ["", "Ww", "wxy"] {
            assert!(wrong.parse::<Sequence>().unwrap_err().to_string().contains("wwxW"), "{wrong}");
        }
    }
}
