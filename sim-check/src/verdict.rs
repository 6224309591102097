//! What a checker answers, and what it shows for it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::{Moment, Operation};
use crate::online::{Monitor, Whole};

/// Decides whether a list of operations keeps a promise.
///
/// A closure is a checker too:
///
/// ```
/// use sim_check::{Checker, History, Operation, Verdict};
///
/// let no_timeouts = |operations: &[Operation<&str, u64>]| match operations {
///     [] => Verdict::Vacuous("nothing was recorded".into()),
///     _ if operations.iter().all(|op| op.acknowledged().is_some()) => Verdict::Valid,
///     _ => Verdict::Unknown("an operation never came back".into()),
/// };
/// let history = History::new();
/// history.invoke_at(1, "get", 0).ok_at(4, 1);
/// assert_eq!(history.verdict(&no_timeouts), Verdict::Valid);
/// ```
pub trait Checker<Op, Ret> {
    /// The verdict on `operations`, which are in the order of their invocation.
    fn check(&self, operations: &[Operation<Op, Ret>]) -> Verdict;

    /// The same while a history grows. By default that looks at the whole of it again and again.
    fn monitor(self) -> Box<dyn Monitor<Op, Ret> + Send>
    where
        Self: Sized + Send + 'static,
        Op: Clone + Send + 'static,
        Ret: Clone + Send + 'static,
    {
        Box::new(Whole::new(self))
    }
}

impl<Op, Ret, F: Fn(&[Operation<Op, Ret>]) -> Verdict> Checker<Op, Ret> for F {
    fn check(&self, operations: &[Operation<Op, Ret>]) -> Verdict {
        self(operations)
    }
}

/// The answer of a [`Checker`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The promise was kept.
    Valid,
    /// The checker saw nothing that could have broken the promise. Not a pass.
    Vacuous(String),
    /// A budget ran out before the answer was known.
    Unknown(String),
    /// The promise was broken.
    Invalid(Box<Evidence>),
}

impl Verdict {
    /// Whether the promise was kept: neither broken, nor unknown, nor untested.
    pub fn is_valid(&self) -> bool {
        matches!(self, Verdict::Valid)
    }

    /// What shows that the promise was broken.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Verdict::Invalid(evidence) => Some(evidence),
            _ => None,
        }
    }

    /// The worst of several verdicts: invalid, then unknown, then vacuous, then valid; the first of equals.
    ///
    /// ```
    /// use sim_check::Verdict;
    ///
    /// let unknown = Verdict::Unknown("out of steps".into());
    /// assert_eq!(Verdict::worst([Verdict::Valid, unknown.clone()]), unknown);
    /// assert!(!Verdict::worst([]).is_valid());
    /// ```
    pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
        verdicts
            .into_iter()
            .reduce(|worst, next| if next.severity() > worst.severity() { next } else { worst })
            .unwrap_or_else(|| Verdict::Vacuous("there was no check".into()))
    }

    fn severity(&self) -> u8 {
        match self {
            Verdict::Valid => 0,
            Verdict::Vacuous(_) => 1,
            Verdict::Unknown(_) => 2,
            Verdict::Invalid(_) => 3,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Valid => f.write_str("valid"),
            Verdict::Vacuous(reason) => write!(f, "vacuous: {reason}"),
            Verdict::Unknown(reason) => write!(f, "unknown: {reason}"),
            Verdict::Invalid(evidence) => f.write_str(&evidence.sentence),
        }
    }
}

/// Why a history was judged invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The whole story in one sentence.
    pub sentence: String,
    /// The key whose operations cannot be explained, when the model has keys.
    pub key: Option<String>,
    /// The first operation whose completion no order of operations allows.
    pub failed: Witness,
    /// The last acknowledged change before it, and everything that was open when it completed.
    pub involved: Vec<Witness>,
    /// The situations that were possible just before it completed, a few of them if there were many.
    pub before: Vec<Situation>,
    /// The few operations that cannot be explained together, whatever happened to the others: reads left out, updates
    /// optional. Empty if there is no such argument, or it was too long to look for.
    pub core: Vec<Witness>,
    /// What would have had to be true for the failed operation to be right, if one can say it.
    pub needed: Option<String>,
    /// For transactions, why each has to come before another: `failed` is number 0, then come those `involved`.
    pub ties: Vec<Tie>,
}

/// One transaction has to come before another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tie {
    /// The one that comes before.
    pub from: usize,
    /// The one that comes after.
    pub to: usize,
    /// `ww`, `wr`, `rw`, `process` or `realtime`.
    pub kind: String,
    /// Why, in words.
    pub reason: String,
}

/// An operation shown as evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The client that invoked it.
    pub process: u64,
    /// The operation and its result in the words of the model.
    pub what: String,
    /// When it was invoked.
    pub invoked: Moment,
    /// When it was acknowledged; nothing if its outcome is unknown.
    pub acknowledged: Option<Moment>,
}

/// A state that the system could have been in, and what had taken effect by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Situation {
    /// The state.
    pub state: String,
    /// Positions in [`Evidence::involved`] of the open operations that had taken effect already.
    pub applied: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vacuous_check_spoils_a_valid_one() {
        let vacuous = Verdict::Vacuous("nothing".into());
        assert_eq!(Verdict::worst([vacuous.clone(), Verdict::Valid]), vacuous);
    }

    #[test]
    fn the_first_of_equally_bad_verdicts_wins() {
        let [first, second] = ["a", "b"].map(|reason| Verdict::Unknown(reason.into()));
        assert_eq!(Verdict::worst([Verdict::Valid, first.clone(), second]), first);
    }

    #[test]
    fn verdicts_are_json() {
        let json = serde_json::to_string(&Verdict::Unknown("steps".into())).expect("verdicts serialise");
        assert_eq!(json, r#"{"unknown":"steps"}"#);
    }
}
