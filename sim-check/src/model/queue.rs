//! What goes in first comes out first.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;

use serde::{Deserialize, Serialize};

use super::{Model, Role};

/// What a [`FifoQueue`] is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum QueueOp<V> {
    /// Add a value at the end.
    Enqueue(V),
    /// Take the value at the head.
    Dequeue,
}

/// What a [`FifoQueue`] answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum QueueRet<V> {
    /// The value is in the queue.
    Enqueued,
    /// The value that was at the head; nothing if the queue was empty.
    Dequeued(Option<V>),
}

/// A queue that is empty at first. A history in which no value is enqueued twice is judged in n log n steps.
#[derive(Clone, Debug, Default)]
pub struct FifoQueue<V = i64> {
    values: std::marker::PhantomData<fn(V)>,
}

impl<V: Clone + Ord + Hash + Debug + Send + 'static> Model for FifoQueue<V> {
    type State = VecDeque<V>;
    type Op = QueueOp<V>;
    type Ret = QueueRet<V>;

    fn init(&self) -> VecDeque<V> {
        VecDeque::new()
    }

    fn step(&self, state: &VecDeque<V>, op: &QueueOp<V>, ret: Option<&QueueRet<V>>) -> Option<VecDeque<V>> {
        let mut next = state.clone();
        match (op, ret) {
            (QueueOp::Enqueue(value), None | Some(QueueRet::Enqueued)) => next.push_back(value.clone()),
            (QueueOp::Dequeue, None) => drop(next.pop_front()),
            (QueueOp::Dequeue, Some(QueueRet::Dequeued(found))) => (next.pop_front() == *found).then_some(())?,
            _ => return None,
        }
        Some(next)
    }

    fn reads_only(&self, op: &QueueOp<V>, ret: Option<&QueueRet<V>>) -> bool {
        matches!((op, ret), (QueueOp::Dequeue, Some(QueueRet::Dequeued(None))))
    }

    fn role(&self, op: &QueueOp<V>, ret: Option<&QueueRet<V>>) -> Role<VecDeque<V>> {
        let only = |value: &V| VecDeque::from([value.clone()]);
        match (op, ret) {
            (QueueOp::Enqueue(value), None | Some(QueueRet::Enqueued)) => Role::Puts(only(value)),
            (QueueOp::Dequeue, Some(QueueRet::Dequeued(Some(value)))) => Role::Takes(only(value)),
            (QueueOp::Dequeue, Some(QueueRet::Dequeued(None))) => Role::FindsEmpty,
            _ => Role::Other,
        }
    }

    fn describe(&self, op: &QueueOp<V>, ret: Option<&QueueRet<V>>) -> String {
        match (op, ret) {
            (QueueOp::Enqueue(value), _) => format!("enqueue {value:?}"),
            (QueueOp::Dequeue, Some(QueueRet::Dequeued(Some(value)))) => format!("dequeue {value:?}"),
            (QueueOp::Dequeue, Some(QueueRet::Dequeued(None))) => "dequeue nothing".to_string(),
            (QueueOp::Dequeue, _) => "dequeue".to_string(),
        }
    }
}
