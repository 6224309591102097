//! A lock that one client holds at a time.

use serde::{Deserialize, Serialize};

use super::Model;

/// What a [`Mutex`] is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MutexOp {
    /// Take the lock.
    Acquire,
    /// Give the lock back.
    Release,
}

/// A lock: only a free one can be acquired, only a held one released. It starts free.
#[derive(Clone, Debug, Default)]
pub struct Mutex;

impl Model for Mutex {
    /// Whether the lock is held.
    type State = bool;
    type Op = MutexOp;
    type Ret = ();

    fn init(&self) -> bool {
        false
    }

    fn step(&self, held: &bool, op: &MutexOp, _: Option<&()>) -> Option<bool> {
        let holds = *op == MutexOp::Acquire;
        (*held != holds).then_some(holds)
    }

    fn describe(&self, op: &MutexOp, _: Option<&()>) -> String {
        match op {
            MutexOp::Acquire => "acquire".to_string(),
            MutexOp::Release => "release".to_string(),
        }
    }
}
