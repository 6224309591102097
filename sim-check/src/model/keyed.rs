//! Many independent instances of a model, one a key.

use std::borrow::Cow;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::marker::PhantomData;

use super::{Model, Role, Sight};

/// A model for each key: its operations are pairs of a key and an operation of `M`.
#[derive(Clone, Debug)]
pub struct Keyed<K, M> {
    model: M,
    keys: PhantomData<fn(K)>,
}

/// One `model` for each key. Keys are told apart by how they print.
///
/// ```
/// use sim_check::model::{Register, RegisterOp, RegisterRet, keyed};
/// use sim_check::{History, linearizable};
///
/// let history = History::new();
/// history.invoke_at(1, ("k3", RegisterOp::Write(9)), 0).ok_at(RegisterRet::Written, 1);
/// history.invoke_at(1, ("k4", RegisterOp::Read), 2).ok_at(RegisterRet::Value(0), 3);
/// history.invoke_at(2, ("k3", RegisterOp::Read), 4).ok_at(RegisterRet::Value(7), 5);
///
/// let verdict = history.verdict(&linearizable(keyed(Register::<i64>::default())));
/// assert_eq!(verdict.evidence().and_then(|found| found.key.as_deref()), Some("k3"));
/// ```
pub fn keyed<K, M>(model: M) -> Keyed<K, M> {
    Keyed { model, keys: PhantomData }
}

impl<K: Clone + Eq + Hash + Debug + Display, M: Model> Model for Keyed<K, M> {
    type State = M::State;
    type Op = (K, M::Op);
    type Ret = M::Ret;

    fn init(&self) -> M::State {
        self.model.init()
    }

    fn step(&self, state: &M::State, op: &Self::Op, ret: Option<&M::Ret>) -> Option<M::State> {
        self.model.step(state, &op.1, ret)
    }

    fn key<'op>(&self, op: &'op Self::Op) -> Option<Cow<'op, str>> {
        Some(op.0.to_string().into())
    }

    fn reads_only(&self, op: &Self::Op, ret: Option<&M::Ret>) -> bool {
        self.model.reads_only(&op.1, ret)
    }

    fn sight(&self, op: &Self::Op, ret: Option<&M::Ret>) -> Sight<M::State> {
        self.model.sight(&op.1, ret)
    }

    fn becomes(&self, state: &M::State, seen: &M::State) -> bool {
        self.model.becomes(state, seen)
    }

    fn role(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Role<M::State> {
        self.model.role(&op.1, ret)
    }

    fn describe(&self, op: &Self::Op, ret: Option<&M::Ret>) -> String {
        format!("{} on {}", self.model.describe(&op.1, ret), op.0)
    }
}
