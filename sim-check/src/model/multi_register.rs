//! Several registers that are read and written together, in one step.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::Model;

/// A part of a transaction on a [`MultiRegister`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Micro<K, V> {
    /// Read a register. The value is what was seen; nothing if that is unknown.
    Read(K, Option<V>),
    /// Write a register.
    Write(K, V),
}

/// Registers by key. An operation is a list of [`Micro`] operations that take effect at once; what its
/// reads saw is part of the operation.
#[derive(Clone, Debug, Default)]
pub struct MultiRegister<K, V> {
    initial: V,
    keys: std::marker::PhantomData<fn(K)>,
}

impl<K, V> MultiRegister<K, V> {
    /// Registers that all hold `initial` before they are first written.
    pub fn starting_at(initial: V) -> Self {
        Self { initial, keys: std::marker::PhantomData }
    }
}

impl<K, V> Model for MultiRegister<K, V>
where
    K: Clone + Ord + Hash + Debug + Display + Send + 'static,
    V: Clone + Ord + Hash + Debug + Send + 'static,
{
    type State = BTreeMap<K, V>;
    type Op = Vec<Micro<K, V>>;
    type Ret = ();

    fn init(&self) -> BTreeMap<K, V> {
        BTreeMap::new()
    }

    fn step(&self, state: &Self::State, op: &Self::Op, _: Option<&()>) -> Option<Self::State> {
        let mut next = state.clone();
        for micro in op {
            match micro {
                Micro::Read(_, None) => {}
                Micro::Read(key, Some(value)) => {
                    (next.get(key).unwrap_or(&self.initial) == value).then_some(())?;
                }
                Micro::Write(key, value) => drop(next.insert(key.clone(), value.clone())),
            }
        }
        Some(next)
    }

    fn reads_only(&self, op: &Self::Op, _: Option<&()>) -> bool {
        op.iter().all(|micro| matches!(micro, Micro::Read(..)))
    }

    fn describe(&self, op: &Self::Op, _: Option<&()>) -> String {
        let words: Vec<String> = op.iter().map(describe_micro).collect();
        words.join(", ")
    }
}

fn describe_micro<K: Display, V: Debug>(micro: &Micro<K, V>) -> String {
    match micro {
        Micro::Read(key, None) => format!("read {key}"),
        Micro::Read(key, Some(value)) => format!("read {key} = {value:?}"),
        Micro::Write(key, value) => format!("{key} := {value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_sees_its_own_writes() {
        let model = MultiRegister::starting_at(0);
        let txn = vec![Micro::Read("x", Some(0)), Micro::Write("x", 1), Micro::Read("x", Some(1))];
        let state = model.step(&model.init(), &txn, None).expect("the transaction is legal");
        assert_eq!(state, BTreeMap::from([("x", 1)]));
        assert_eq!(model.step(&state, &txn, None), None);
    }
}
