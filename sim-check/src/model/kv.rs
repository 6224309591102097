//! Strings by key.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Model, Role, Sight, unchanged};

/// What a [`Kv`] is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvOp {
    /// Return the value of a key.
    Get(String),
    /// Replace the value of a key: key, value.
    Put(String, String),
    /// Add to the end of the value of a key: key, what to add.
    Append(String, String),
}

impl KvOp {
    fn key(&self) -> &str {
        match self {
            KvOp::Get(key) | KvOp::Put(key, _) | KvOp::Append(key, _) => key,
        }
    }
}

/// What a [`Kv`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KvRet {
    /// The value that was found.
    Value(String),
    /// The change is done.
    Written,
}

/// A store of strings by key; a key nobody wrote holds the empty string.
#[derive(Clone, Debug, Default)]
pub struct Kv {
    initial: String,
}

impl Kv {
    /// A store in which every key holds `initial` before it is first written.
    pub fn starting_at(initial: impl Into<String>) -> Self {
        Self { initial: initial.into() }
    }
}

impl Model for Kv {
    type State = String;
    type Op = KvOp;
    type Ret = KvRet;

    fn init(&self) -> String {
        self.initial.clone()
    }

    fn step(&self, state: &String, op: &KvOp, ret: Option<&KvRet>) -> Option<String> {
        match (op, ret) {
            (KvOp::Get(_), Some(KvRet::Value(value))) => unchanged(state, value == state),
            (KvOp::Get(_), None) => Some(state.clone()),
            (KvOp::Put(_, value), None | Some(KvRet::Written)) => Some(value.clone()),
            (KvOp::Append(_, more), None | Some(KvRet::Written)) => Some(state.clone() + more),
            _ => None,
        }
    }

    fn key<'op>(&self, op: &'op KvOp) -> Option<Cow<'op, str>> {
        Some(op.key().into())
    }

    fn reads_only(&self, op: &KvOp, _: Option<&KvRet>) -> bool {
        matches!(op, KvOp::Get(_))
    }

    fn sight(&self, op: &KvOp, ret: Option<&KvRet>) -> Sight<String> {
        match (op, ret) {
            (KvOp::Get(_), Some(KvRet::Value(value))) => Sight::Only(value.clone()),
            _ => Sight::Nothing,
        }
    }

    /// Appending makes a value longer; in the order of strings, those it begins follow it directly.
    fn becomes(&self, state: &String, seen: &String) -> bool {
        seen.starts_with(state.as_str())
    }

    fn role(&self, op: &KvOp, ret: Option<&KvRet>) -> Role<String> {
        match (op, ret) {
            (KvOp::Get(_), Some(KvRet::Value(value))) => Role::Reads(value.clone()),
            (KvOp::Put(_, value), None | Some(KvRet::Written)) => Role::Writes(value.clone()),
            _ => Role::Other,
        }
    }

    fn describe(&self, op: &KvOp, ret: Option<&KvRet>) -> String {
        match (op, ret) {
            (KvOp::Get(key), Some(KvRet::Value(value))) => format!("read {key} = {value:?}"),
            (KvOp::Get(key), _) => format!("read {key}"),
            (KvOp::Put(key, value), _) => format!("{key} := {value:?}"),
            (KvOp::Append(key, more), _) => format!("{key} += {more:?}"),
        }
    }
}
