//! Values as histories hold them.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

use super::ReadError;
use super::edn::Reader;

/// An EDN value. Prints as EDN.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// `nil`
    #[default]
    Nil,
    /// `true` or `false`
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A string.
    Str(String),
    /// A keyword, without its colon.
    Keyword(String),
    /// A symbol, a character, or a number that is not a small whole one, as it was written.
    Other(String),
    /// The members of a vector, a list or a set.
    List(Vec<Value>),
    /// The entries of a map.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// The value that is written in EDN.
    ///
    /// ```
    /// use sim_check::read::Value;
    ///
    /// assert_eq!(Value::parse("#{2 1}")?.to_string(), "[1 2]");
    /// assert_eq!(Value::parse("[1").unwrap_err().column, 3);
    /// # Ok::<(), sim_check::read::ReadError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Value, ReadError> {
        Reader::new(text).value().map_err(|fault| ReadError::new(text, fault))
    }

    /// The members of a list; none of anything else.
    pub(crate) fn members(&self) -> &[Value] {
        match self {
            Value::List(members) => members,
            _ => &[],
        }
    }

    /// What a map holds under a keyword or a string.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        let Value::Map(entries) = self else { return None };
        entries.iter().find(|(key, _)| key.is_named(name)).map(|(_, value)| value)
    }

    /// Whether it is this keyword or string.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        matches!(self, Value::Keyword(word) | Value::Str(word) if word == name)
    }

    /// The number that it is.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The text of a string; of anything else, how it prints.
    pub(crate) fn into_text(self) -> String {
        match self {
            Value::Str(text) => text,
            other => other.to_string(),
        }
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(text.to_string())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("nil"),
            Value::Bool(truth) => write!(f, "{truth}"),
            Value::Int(number) => write!(f, "{number}"),
            Value::Str(text) => write!(f, "{text:?}"),
            Value::Keyword(name) => write!(f, ":{name}"),
            Value::Other(text) => f.write_str(text),
            Value::List(members) => {
                f.write_char('[')?;
                separated(f, members, |f, member| write!(f, "{member}"))?;
                f.write_char(']')
            }
            Value::Map(entries) => {
                f.write_char('{')?;
                separated(f, entries, |f, (key, value)| write!(f, "{key} {value}"))?;
                f.write_char('}')
            }
        }
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    show: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            f.write_char(' ')?;
        }
        show(f, item)?;
    }
    Ok(())
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
