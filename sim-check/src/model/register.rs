//! One value that is read, written and, perhaps, compared and swapped.

use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::{Model, Role, Sight, unchanged};

/// What a [`Register`] is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegisterOp<V> {
    /// Return the value.
    Read,
    /// Replace the value.
    Write(V),
}

/// What a [`CasRegister`] is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CasOp<V> {
    /// Return the value.
    Read,
    /// Replace the value.
    Write(V),
    /// Replace the value if it is the expected one.
    Cas {
        /// The value expected.
        from: V,
        /// The value that replaces it.
        to: V,
    },
}

/// What a [`Register`] or a [`CasRegister`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RegisterRet<V> {
    /// The value that was read.
    Value(V),
    /// The write is done.
    Written,
    /// Whether the value was the expected one, and was replaced.
    Swapped(bool),
}

/// A register with reads and writes.
#[derive(Clone, Debug, Default)]
pub struct Register<V = i64> {
    initial: V,
}

impl<V> Register<V> {
    /// A register that holds `initial` before the first write.
    pub fn starting_at(initial: V) -> Self {
        Self { initial }
    }
}

/// A register with reads, writes and compare-and-swap.
#[derive(Clone, Debug, Default)]
pub struct CasRegister<V = i64> {
    initial: V,
}

impl<V> CasRegister<V> {
    /// A register that holds `initial` before the first write.
    pub fn starting_at(initial: V) -> Self {
        Self { initial }
    }
}

impl<V: Clone + Ord + Hash + Debug + Send + 'static> Model for Register<V> {
    type State = V;
    type Op = RegisterOp<V>;
    type Ret = RegisterRet<V>;

    fn init(&self) -> V {
        self.initial.clone()
    }

    fn step(&self, state: &V, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<V> {
        match op {
            RegisterOp::Read => unchanged(state, may_read(ret, state)),
            RegisterOp::Write(value) => may_write(ret).then(|| value.clone()),
        }
    }

    fn reads_only(&self, op: &Self::Op, _: Option<&Self::Ret>) -> bool {
        matches!(op, RegisterOp::Read)
    }

    fn sight(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Sight<V> {
        match op {
            RegisterOp::Read => sight_of_read(ret),
            RegisterOp::Write(_) => Sight::Nothing,
        }
    }

    fn role(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Role<V> {
        match op {
            RegisterOp::Read => role_of_read(ret),
            RegisterOp::Write(value) => role_of_write(value, ret),
        }
    }

    fn describe(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> String {
        match op {
            RegisterOp::Read => describe_read(ret),
            RegisterOp::Write(value) => format!("write {value:?}"),
        }
    }
}

impl<V: Clone + Ord + Hash + Debug + Send + 'static> Model for CasRegister<V> {
    type State = V;
    type Op = CasOp<V>;
    type Ret = RegisterRet<V>;

    fn init(&self) -> V {
        self.initial.clone()
    }

    fn step(&self, state: &V, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<V> {
        match op {
            CasOp::Read => unchanged(state, may_read(ret, state)),
            CasOp::Write(value) => may_write(ret).then(|| value.clone()),
            CasOp::Cas { from, to } => {
                let swaps = state == from;
                let allowed = ret.is_none_or(|ret| *ret == RegisterRet::Swapped(swaps));
                allowed.then(|| if swaps { to.clone() } else { state.clone() })
            }
        }
    }

    fn reads_only(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> bool {
        match op {
            CasOp::Read => true,
            CasOp::Write(_) => false,
            CasOp::Cas { from, to } => from == to || ret == Some(&RegisterRet::Swapped(false)),
        }
    }

    fn sight(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Sight<V> {
        match op {
            CasOp::Read => sight_of_read(ret),
            CasOp::Write(_) => Sight::Nothing,
            CasOp::Cas { .. } if ret == Some(&RegisterRet::Swapped(false)) => Sight::Everything,
            CasOp::Cas { from, .. } => Sight::Only(from.clone()),
        }
    }

    fn role(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Role<V> {
        match op {
            CasOp::Read => role_of_read(ret),
            CasOp::Write(value) => role_of_write(value, ret),
            CasOp::Cas { .. } => Role::Other,
        }
    }

    fn describe(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> String {
        match op {
            CasOp::Read => describe_read(ret),
            CasOp::Write(value) => format!("write {value:?}"),
            CasOp::Cas { from, to } => match ret {
                Some(RegisterRet::Swapped(swapped)) => {
                    format!("cas {from:?} to {to:?} = {swapped}")
                }
                _ => format!("cas {from:?} to {to:?}"),
            },
        }
    }
}

fn may_read<V: Eq>(ret: Option<&RegisterRet<V>>, state: &V) -> bool {
    ret.is_none_or(|ret| matches!(ret, RegisterRet::Value(value) if value == state))
}

fn may_write<V>(ret: Option<&RegisterRet<V>>) -> bool {
    ret.is_none_or(|ret| matches!(ret, RegisterRet::Written))
}

fn sight_of_read<V: Clone>(ret: Option<&RegisterRet<V>>) -> Sight<V> {
    match ret {
        Some(RegisterRet::Value(value)) => Sight::Only(value.clone()),
        _ => Sight::Nothing,
    }
}

fn role_of_read<V: Clone>(ret: Option<&RegisterRet<V>>) -> Role<V> {
    match ret {
        Some(RegisterRet::Value(value)) => Role::Reads(value.clone()),
        _ => Role::Other,
    }
}

fn role_of_write<V: Clone>(value: &V, ret: Option<&RegisterRet<V>>) -> Role<V> {
    if may_write(ret) { Role::Writes(value.clone()) } else { Role::Other }
}

fn describe_read<V: Debug>(ret: Option<&RegisterRet<V>>) -> String {
    match ret {
        Some(RegisterRet::Value(value)) => format!("read {value:?}"),
        _ => "read".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_happens_exactly_when_the_expected_value_is_there() {
        let register = CasRegister::starting_at(1);
        let swap = CasOp::Cas { from: 1, to: 2 };
        let step = |state: i32, ret| register.step(&state, &swap, ret);
        assert_eq!(step(1, Some(&RegisterRet::Swapped(true))), Some(2));
        assert_eq!(step(1, Some(&RegisterRet::Swapped(false))), None);
        assert_eq!(step(3, Some(&RegisterRet::Swapped(false))), Some(3));
        assert_eq!(step(3, None), Some(3));
    }

    #[test]
    fn an_answer_to_another_question_is_never_legal() {
        let register = Register::<i64>::default();
        assert_eq!(register.step(&0, &RegisterOp::Read, Some(&RegisterRet::Written)), None);
        assert_eq!(register.step(&0, &RegisterOp::Write(1), Some(&RegisterRet::Value(1))), None);
    }
}
