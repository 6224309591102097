//! A reader of EDN: as much of it as histories use, and the rest without complaint.
//!
//! JSON is read as EDN in which colons are blanks, and `null` is `nil`.

use std::str::CharIndices;

use super::value::Value;
use super::{CUT, Fault};

/// Deeper nesting is refused.
const DEPTH: usize = 100;

/// Whole numbers below this are exact as floats.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// What some editors begin a text with.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// A place in a text.
pub(super) struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
    json: bool,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        Self { text, at, depth: 0, json: false }
    }

    /// A reader of JSON.
    pub(super) fn of_json(text: &'t str) -> Self {
        Self { json: true, ..Self::new(text) }
    }

    /// The place of what comes next.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Goes back to where something was read before.
    pub(super) fn back_to(&mut self, offset: usize) {
        self.at = offset;
    }

    /// Skips what means nothing, tags and metadata; then the next byte, if there is one.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Option<u8>, Fault> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b',' | b'\n')) {
            self.at += 1;
        }
        match bytes.get(self.at) {
            // The usual case: a bracket, a keyword, a number.
            Some(next @ (b'[' | b']' | b'{' | b'}' | b'0'..=b'9' | b'"')) => Ok(Some(*next)),
            Some(b':') if !self.json => Ok(Some(b':')),
            _ => self.peek_slowly(),
        }
    }

    fn peek_slowly(&mut self) -> Result<Option<u8>, Fault> {
        loop {
            self.skip_space();
            match self.text.as_bytes()[self.at..] {
                [b'#', b'_', ..] => {
                    self.at += 2;
                    self.nested(Self::value)?;
                }
                [b'^', ..] => {
                    self.at += 1;
                    self.nested(Self::value)?;
                }
                [b'#', next, ..] if next != b'{' && next != b'#' => {
                    self.at += 1;
                    self.token();
                }
                [b'#'] => return Err(self.fault("expected what the '#' belongs to, found the end of the text", CUT)),
                [next, ..] => return Ok(Some(next)),
                [] => return Ok(None),
            }
        }
    }

    /// A small whole number in digits, if one comes next; everything else is left to [`value`](Self::value).
    #[inline]
    pub(super) fn int(&mut self) -> Option<i64> {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while matches!(bytes.get(at), Some(b' ' | b',')) {
            at += 1;
        }
        let start = at;
        let mut number = 0_i64;
        while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
            number = number.wrapping_mul(10).wrapping_add(i64::from(digit - b'0'));
            at += 1;
        }
        let whole = (1..=18).contains(&(at - start)) && bytes.get(at).is_some_and(|next| ends_token(*next));
        whole.then(|| {
            self.at = at;
            number
        })
    }

    fn skip_space(&mut self) {
        loop {
            let rest = &self.text.as_bytes()[self.at..];
            let colon = if self.json { b':' } else { b',' };
            let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',' || *byte == colon;
            self.at += rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len());
            let rest = &self.text[self.at..];
            if !rest.starts_with(';') {
                return;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    /// Skips one byte that [`peek`](Self::peek) has shown to be a bracket.
    pub(super) fn bump(&mut self) {
        self.at += 1;
    }

    /// The characters up to the next space or bracket.
    pub(super) fn token(&mut self) -> &'t str {
        let rest = &self.text[self.at..];
        let token = &rest[..rest.bytes().position(ends_token).unwrap_or(rest.len())];
        self.at += token.len();
        token
    }

    /// A keyword without its colon, if one comes next.
    pub(super) fn keyword(&mut self) -> Result<Option<&'t str>, Fault> {
        if self.peek()? != Some(b':') {
            return Ok(None);
        }
        self.bump();
        Ok(Some(self.token()))
    }

    /// A keyword without its colon or a simple string without its quotes, if one comes next.
    pub(super) fn word(&mut self) -> Result<Option<&'t str>, Fault> {
        if self.peek()? != Some(b'"') {
            return self.keyword();
        }
        let rest = &self.text[self.at + 1..];
        let end = rest.find('"').ok_or_else(|| self.fault("a string begins here and never ends", CUT))?;
        self.at += end + 2;
        Ok(Some(&rest[..end]))
    }

    /// The next value, whatever it is.
    pub(super) fn value(&mut self) -> Result<Value, Fault> {
        let next = self.peek()?;
        if let Some(number) = self.int() {
            return Ok(Value::Int(number));
        }
        match next {
            None => Err(self.fault("expected a value, found the end of the text", CUT)),
            Some(b'[') => self.list(b']'),
            Some(b'(') => self.list(b')'),
            Some(b'{') => self.map(),
            Some(b'#') if self.text.as_bytes()[self.at..].starts_with(b"#{") => {
                self.bump();
                self.set()
            }
            Some(b'"') => self.string(),
            Some(b'\\') => Ok(self.character()),
            Some(b')' | b']' | b'}') => Err(self.fault("expected a value, found a closing bracket", "remove it")),
            Some(_) => match self.token() {
                "null" if self.json => Ok(Value::Nil),
                token => Ok(atom(token)),
            },
        }
    }

    fn nested<T>(&mut self, read: impl Fn(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == DEPTH {
            return Err(self.fault(format!("values are nested more than {DEPTH} deep"), "this is not a history"));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn list(&mut self, close: u8) -> Result<Value, Fault> {
        self.bump();
        let mut members = Vec::new();
        while !self.closes(close)? {
            members.push(self.nested(Self::value)?);
        }
        Ok(Value::List(members))
    }

    /// The members of a set in one order, however they are written: sets that have the same members are the same.
    fn set(&mut self) -> Result<Value, Fault> {
        let set = self.list(b'}')?;
        Ok(match set {
            Value::List(mut members) => {
                members.sort_unstable();
                Value::List(members)
            }
            other => other,
        })
    }

    /// The entries of a map in one order, as of a set.
    fn map(&mut self) -> Result<Value, Fault> {
        self.bump();
        let mut entries = Vec::new();
        while !self.closes(b'}')? {
            entries.push((self.nested(Self::value)?, self.nested(Self::value)?));
        }
        entries.sort_unstable();
        Ok(Value::Map(entries))
    }

    /// Skips a closing bracket, if it comes next. The end of the text is an error here.
    pub(super) fn closes(&mut self, close: u8) -> Result<bool, Fault> {
        let next = self.peek()?;
        if next.is_none() {
            let close = char::from(close);
            return Err(self.fault(format!("expected '{close}', found the end of the text"), CUT));
        }
        let found = next == Some(close);
        self.at += usize::from(found);
        Ok(found)
    }

    fn string(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        self.bump();
        let mut string = String::new();
        let mut rest = self.text[self.at..].char_indices();
        while let Some((offset, c)) = rest.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(Value::Str(string));
                }
                '\\' => string.extend(unescape(&mut rest)),
                c => string.push(c),
            }
        }
        Err(Fault::new(start, "a string begins here and never ends", CUT))
    }

    fn character(&mut self) -> Value {
        let start = self.at;
        self.bump();
        self.at += self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        self.token();
        Value::Other(self.text[start..self.at].to_string())
    }

    pub(super) fn fault(&self, problem: impl Into<String>, advice: &'static str) -> Fault {
        Fault::new(self.at, problem, advice)
    }
}

fn ends_token(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b',' | b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'"' | b';')
}

/// What stands after a backslash. Half of a pair of surrogates is no character.
fn unescape(rest: &mut CharIndices<'_>) -> Option<char> {
    Some(match rest.next()?.1 {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => return Some(utf16(rest)),
        other => other,
    })
}

fn utf16(rest: &mut CharIndices<'_>) -> char {
    let high = unit(rest);
    let low = match rest.as_str().strip_prefix("\\u") {
        Some(_) if (0xD800..0xDC00).contains(&high) => {
            rest.nth(1);
            Some(unit(rest))
        }
        _ => None,
    };
    let units = [Some(high), low].into_iter().flatten();
    char::decode_utf16(units).next().and_then(Result::ok).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn unit(rest: &mut CharIndices<'_>) -> u16 {
    let digits = rest.as_str().get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    if digits.is_some() {
        rest.nth(3);
    }
    digits.unwrap_or(0xFFFD)
}

fn atom(token: &str) -> Value {
    match token {
        "nil" => Value::Nil,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match token.strip_prefix(':') {
            Some(name) => Value::Keyword(name.to_string()),
            None => number(token).unwrap_or_else(|| Value::Other(token.to_string())),
        },
    }
}

/// A number, written in one way if there are several.
fn number(token: &str) -> Option<Value> {
    token.strip_prefix(['-', '+']).unwrap_or(token).starts_with(|c: char| c.is_ascii_digit()).then_some(())?;
    let whole = token.strip_suffix(['N', 'M']).unwrap_or(token);
    if let Ok(number) = whole.parse() {
        return Some(Value::Int(number));
    }
    if whole.bytes().skip(1).all(|byte| byte.is_ascii_digit()) {
        return Some(Value::Other(whole.to_string()));
    }
    let number: f64 = whole.parse().ok()?;
    let exact = number.fract() == 0.0 && number.abs() < WHOLE;
    Some(if exact { Value::Int(number as i64) } else { Value::Other(format!("{number:?}")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let mut reader = Reader::new(text);
        match reader.value() {
            Ok(value) => value.to_string(),
            Err(fault) => format!("{} at {}", fault.problem, fault.offset),
        }
    }

    #[test]
    fn all_kinds_of_values_are_read_and_printed() {
        assert_eq!(read("[nil true -3 7N 1.5 :a/b sym \\] \"q\\\"\\n\"]"), {
            "[nil true -3 7 1.5 :a/b sym \\] \"q\\\"\\n\"]"
        });
        assert_eq!(read("{:a (1, 2) \"b\" #{3}}"), "{\"b\" [3] :a [1 2]}");
    }

    #[test]
    fn comments_tags_and_discarded_values_leave_no_trace() {
        assert_eq!(read("; a ] here\n#inst \"2020\""), "\"2020\"");
        assert_eq!(read("[1 #_ [2 3] #_:k 4 ; 5\n]"), "[1 4]");
        assert_eq!(read("[##NaN #jepsen.history.Op{:a 1} #{}]"), "[##NaN {:a 1} []]");
        assert_eq!(read("^{:line 1} [1 ^String 2]"), "[1 2]");
    }

    #[test]
    fn equal_numbers_are_equal_values_however_they_are_written() {
        let pairs =
            [("+7", "7N"), ("1.50", "15e-1"), ("1e3", "1000.0"), ("99999999999999999999", "99999999999999999999N")];
        pairs.iter().for_each(|(one, other)| assert_eq!(read(one), read(other)));
        assert_eq!([read("1"), read("1.0"), read("1M"), read("-1.0e0")], ["1", "1", "1", "-1"]);
        assert_ne!(read("9007199254740993"), read("9007199254740993.0"));
        assert_eq!(read("[1/2 -x +]"), "[1/2 -x +]");
    }

    #[test]
    fn sets_and_maps_are_the_same_in_whatever_order_they_are_written() {
        assert_eq!(read("#{3 1 2}"), read("#{2 3 1}"));
        assert_eq!(read("{:b 2, :a #{2 1}}"), read("{:a #{1 2}, :b 2}"));
        assert_ne!(read("[3 1 2]"), read("[2 3 1]"));
    }

    #[test]
    fn escaped_characters_are_those_they_stand_for() {
        let cases = [
            (r#""A\n""#, "A\n"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d""#, "\u{FFFD}"),
            (r#""\u12""#, "\u{FFFD}12"),
        ];
        for (text, meant) in cases {
            assert_eq!(Reader::of_json(text).value().expect(text), Value::from(meant));
        }
    }

    #[test]
    fn what_is_cut_is_reported_where_it_ends_or_where_its_string_began() {
        assert_eq!(read("[1 2"), "expected ']', found the end of the text at 4");
        assert_eq!(read("[1 \"2"), "a string begins here and never ends at 3");
        assert_eq!(read("{:a"), "expected a value, found the end of the text at 3");
        assert_eq!(read("[1 #"), "expected what the '#' belongs to, found the end of the text at 3");
        assert_eq!(read("]"), "expected a value, found a closing bracket at 0");
    }
}
