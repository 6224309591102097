//! Patterns for names and paths.

/// Whether `text` matches `pattern`: `*` is any run of characters but `/`, `**` any run at all, `?` one character.
pub fn matches(pattern: &str, text: &str) -> bool {
    fn go(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', '*', rest @ ..] => (0..=text.len()).any(|skip| go(rest, &text[skip..])),
            ['*', rest @ ..] => {
                let run = text.iter().take_while(|c| **c != '/').count();
                (0..=run).any(|skip| go(rest, &text[skip..]))
            }
            ['?', rest @ ..] => !text.is_empty() && go(rest, &text[1..]),
            [c, rest @ ..] => text.first() == Some(c) && go(rest, &text[1..]),
        }
    }
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    go(&pattern, &text)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn one_star_stops_at_a_slash_and_two_do_not() {
        assert!(matches("wal/*", "wal/000001"));
        assert!(!matches("wal/*", "wal/old/000001"));
        assert!(matches("wal/**", "wal/old/000001"));
        assert!(matches("**/*.sst", "a/b/c.sst"));
        assert!(matches("n?", "n1") && !matches("n?", "n10"));
        assert!(matches("*", "store") && !matches("store", "store-1"));
    }
}
