//! What a system promises: sequential models, as small as the promise allows.
//!
//! A model is a start state and a step. Everything else has a default:
//!
//! ```
//! use sim_check::{History, Model, linearizable};
//!
//! /// Hands out tickets: each caller gets the next number.
//! struct Tickets;
//!
//! impl Model for Tickets {
//!     type State = u64;
//!     type Op = &'static str;
//!     type Ret = u64;
//!
//!     fn init(&self) -> u64 {
//!         0
//!     }
//!
//!     fn step(&self, last: &u64, _take: &&'static str, ret: Option<&u64>) -> Option<u64> {
//!         let next = last + 1;
//!         ret.is_none_or(|ticket| *ticket == next).then_some(next)
//!     }
//! }
//!
//! let history = History::new();
//! history.invoke_at(1, "take", 0).ok_at(1, 5);
//! history.invoke_at(2, "take", 6).ok_at(1, 9);
//! let verdict = history.verdict(&linearizable(Tickets));
//! assert!(verdict.to_string().starts_with("not linearizable: client-2 \"take\" = 1 after"));
//! ```

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

mod keyed;
mod kv;
mod multi_register;
mod mutex;
mod queue;
mod register;

pub use keyed::{Keyed, keyed};
pub use kv::{Kv, KvOp, KvRet};
pub use multi_register::{Micro, MultiRegister};
pub use mutex::{Mutex, MutexOp};
pub use queue::{FifoQueue, QueueOp, QueueRet};
pub use register::{CasOp, CasRegister, Register, RegisterOp, RegisterRet};

/// A sequential specification: what one operation at a time does.
pub trait Model {
    /// What the system remembers; of one key, if the model has keys.
    type State: Clone + Eq + Ord + Hash + Debug + Send + 'static;
    /// What a client asks for.
    type Op: Clone + Eq + Hash + Debug;
    /// What a client is told.
    type Ret: Clone + Eq + Hash + Debug;

    /// The state before the first operation.
    fn init(&self) -> Self::State;

    /// The state after `op` took effect in `state` and returned `ret`, or `None` if it could not have.
    ///
    /// `ret` is `None` when the client never learned the result: any result will do.
    fn step(&self, state: &Self::State, op: &Self::Op, ret: Option<&Self::Ret>) -> Option<Self::State>;

    /// The part of the system that `op` touches. Operations on different keys are judged apart, each
    /// key from its own [`init`](Model::init). Without keys the history is judged as a whole.
    fn key<'op>(&self, op: &'op Self::Op) -> Option<Cow<'op, str>> {
        let _ = op;
        None
    }

    /// Whether `op`, when it returns `ret`, leaves *every* state as it was. Optional, but telling it
    /// makes the search much faster.
    fn reads_only(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> bool {
        let _ = (op, ret);
        false
    }

    /// Which states `op` returning `ret` depends on. Optional, but telling it saves the search from
    /// going through states that nothing in the history depends on.
    fn sight(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Sight<Self::State> {
        let _ = (op, ret);
        Sight::Everything
    }

    /// Whether operations that do not depend on the state may turn `state` into `seen`, as appending
    /// does. The states that one state can become must follow it in their order without a gap.
    fn becomes(&self, state: &Self::State, seen: &Self::State) -> bool {
        state == seen
    }

    /// What `op` returning `ret` is to a register or a queue. Optional, but a history in which no value occurs twice is
    /// then judged in n log n steps, however much overlaps.
    fn role(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> Role<Self::State> {
        let _ = (op, ret);
        Role::Other
    }

    /// The operation and its result in words, to follow the name of a client: `read 7`.
    fn describe(&self, op: &Self::Op, ret: Option<&Self::Ret>) -> String {
        match ret {
            Some(ret) => format!("{op:?} = {ret:?}"),
            None => format!("{op:?}"),
        }
    }
}

/// The states that an operation depends on.
///
/// In a state it does not depend on, an operation that is legal at all is legal in every state. From
/// there it leads where it leads from every state, or to a state that nothing depends on either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight<S> {
    /// It may depend on any state.
    Everything,
    /// It depends on none, as a write.
    Nothing,
    /// It depends on this one, and on those that may [become](Model::becomes) it.
    Only(S),
}

/// What an operation is to a register or a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role<S> {
    /// Something else.
    Other,
    /// It finds the register in this state, and leaves it so.
    Reads(S),
    /// It leaves the register in this state, whatever it was before.
    Writes(S),
    /// It puts a value at the end of the queue: that of the queue which holds nothing else.
    Puts(S),
    /// It takes such a value from the head of the queue.
    Takes(S),
    /// It finds the queue empty, as it is at first.
    FindsEmpty,
}

/// `condition` as the guard of a step that leaves `state` as it is.
fn unchanged<S: Clone>(state: &S, condition: bool) -> Option<S> {
    condition.then(|| state.clone())
}
