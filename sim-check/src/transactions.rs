//! Transactions, and which isolation level the clients really got.
//!
//! A transaction is a list of micro-operations ([`Mop`]): appends to lists, writes of registers, reads. From
//! what committed transactions read one can tell which came before which: who overwrote whom, who saw whose
//! writes, who missed them. Transactions that would each have to come before the other are an anomaly, and
//! each kind of [anomaly](Kind) breaks the promise of some [consistency models](Consistency).
//!
//! The method is that of Elle (Kingsbury and Alvaro, 2020). Where Elle looks for simple paths, the search
//! here is polynomial; where it links everything that is concurrent, real time is a chain.
//!
//! ```
//! use sim_check::History;
//! use sim_check::transactions::{Consistency, Mop, list_append};
//!
//! let history = History::new();
//! let append = |key: &str, value: i64| vec![Mop::Append(key.into(), value.into())];
//! let read = |key: &str, found: &[i64]| {
//!     let found = found.iter().map(|value| (*value).into()).collect();
//!     vec![Mop::Read(key.into(), Some(sim_check::read::Value::List(found)))]
//! };
//! history.invoke_at(1, append("x", 1), 0).ok_at(append("x", 1), 1);
//! history.invoke_at(2, read("x", &[]), 2).ok_at(read("x", &[]), 3); // stale
//! history.invoke_at(2, read("x", &[]), 4).ok_at(read("x", &[1]), 5);
//!
//! let checker = list_append();
//! assert_eq!(
//!     history.verdict(&checker).to_string(),
//!     "not strict-serializable: G-single-item-realtime: T1 < T2, because T2 appended 1 to \"x\" after T1's read of []; \
//!      T2 < T1, because T2 completed at event 1, before T1 was invoked at event 2: a contradiction \
//!      (T1 is client-2 at event 2, T2 is client-1 at event 0); not even strong-snapshot-isolation",
//! );
//! assert!(history.verdict(&checker.model(Consistency::Serializable)).is_valid());
//! ```

mod analysis;
mod anomaly;
mod arranged;
mod closed_predicate;
mod columns;
mod contested;
mod cycles;
mod graph;
mod lattice;
mod list_append;
mod orders;
mod register_orders;
mod register_writers;
mod rw_register;
mod undecided;
mod versions;
mod visibility;
mod within;

#[cfg(test)]
mod brute_force;
#[cfg(test)]
mod brute_force_predicates;
#[cfg(test)]
mod brute_force_registers;
#[cfg(test)]
mod brute_force_versions;
#[cfg(test)]
mod checkers;
#[cfg(test)]
mod checkers_predicates;
#[cfg(test)]
mod checkers_registers;

pub use analysis::Analysis;
pub(crate) use analysis::explain_cycles;
pub use anomaly::{Anomaly, Base, Kind, Order};
pub use columns::Transactions;
pub(crate) use columns::{Act, Atom, Draft, Status};
pub(crate) use graph::{Edge, Why};
pub use lattice::Consistency;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::history::Operation;
use crate::read::Value;
use crate::verdict::{Checker, Verdict};

const DEFAULT_BUDGET: u64 = 100_000_000;

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mop {
    /// Append a value to the list under a key.
    Append(Value, Value),
    /// Write a value to the register under a key.
    Write(Value, Value),
    /// Read what is under a key: a [`Value::List`] or the value of a register. Nothing in a committed
    /// transaction is an empty list or a register that was never written; in any other, it is not known.
    Read(Value, Option<Value>),
    /// What a key holds before all else, said once: of the universe that predicates look at.
    Init(Value, Value),
    /// Put a value under a key that holds none.
    Insert(Value, Value),
    /// Take away what is under a key.
    Delete(Value),
    /// Read whatever matches a predicate, as keys and their values: `:true` matches all that is there, `[:= 2]` what is
    /// equal to 2, `[:mod 2 0]` whole numbers that leave 0 when divided by 2. Nothing where that is not known.
    ReadWhere(Value, Option<Vec<(Value, Value)>>),
}

/// Checks transactions of appends and reads of lists. Values must be unique to their key.
pub fn list_append() -> ListAppend {
    ListAppend { model: Consistency::StrictSerializable }
}

/// The checker that [`list_append()`] makes.
#[derive(Clone, Debug)]
pub struct ListAppend {
    model: Consistency,
}

impl ListAppend {
    /// Asks for this model instead of strict serializability.
    pub fn model(mut self, model: Consistency) -> Self {
        self.model = model;
        self
    }

    /// All anomalies, whatever the model.
    pub fn analyse(&self, transactions: &Transactions) -> Analysis {
        list_append::analyse(transactions)
    }

    /// Whether `transactions` keep the promise of the model.
    pub fn judge(&self, transactions: &Transactions) -> Verdict {
        self.analyse(transactions).verdict(self.model)
    }
}

impl Checker<Vec<Mop>, Vec<Mop>> for ListAppend {
    fn check(&self, operations: &[Operation<Vec<Mop>, Vec<Mop>>]) -> Verdict {
        self.judge(&Transactions::of(operations))
    }
}

/// Checks transactions of writes and reads of registers. Values must be unique to their key.
///
/// All that is assumed of the order of values is that a register that was not written yet comes before one that was.
/// Whether *any* order explains what was read is decided for serializability and snapshot isolation, plain, per session
/// and in real time, for causal and atomic reads, and for read committed; where that would take too much work, the verdict
/// is unknown. What more the store promises, say so: the more is known, the more is found, and the shorter the reasons.
///
/// ```
/// use sim_check::read;
/// use sim_check::transactions::rw_register;
///
/// let all = read::transactions(
///     "{:process 1 :type :invoke :value [[:w x 1] [:w y 1]]}
///      {:process 2 :type :invoke :value [[:r x nil] [:r y nil]]}
///      {:process 1 :type :ok :value [[:w x 1] [:w y 1]]}
///      {:process 2 :type :ok :value [[:r x nil] [:r y 1]]}",
/// )?;
/// assert_eq!(
///     rw_register().judge(&all).to_string(),
///     "not strict-serializable: G-single-item: T1 < T2, because T2 wrote 1 to x after T1's read of nothing; \
///      T2 < T1, because T1 read 1 from y, which T2 wrote: a contradiction \
///      (T1 is client-2 at event 1, T2 is client-1 at event 0); not even read-atomic or consistent-view or repeatable-read",
/// );
/// # Ok::<(), read::ReadError>(())
/// ```
pub fn rw_register() -> RwRegister {
    let model = Consistency::StrictSerializable;
    RwRegister {
        model,
        wfr: false,
        sequential: false,
        linearizable: false,
        garbage: false,
        orders: Default::default(),
        commits: None,
        budget: DEFAULT_BUDGET,
    }
}

/// The checker that [`rw_register()`] makes.
#[derive(Clone, Debug)]
pub struct RwRegister {
    model: Consistency,
    wfr: bool,
    sequential: bool,
    linearizable: bool,
    garbage: bool,
    /// What the store says of the order of the values of some keys.
    orders: BTreeMap<Value, Vec<Value>>,
    /// The place of each transaction in the order of commits, if the store tells it.
    commits: Option<BTreeMap<u32, usize>>,
    /// How many edges may be looked at for one level.
    budget: u64,
}

impl RwRegister {
    /// Asks for this model instead of strict serializability.
    pub fn model(mut self, model: Consistency) -> Self {
        self.model = model;
        self
    }

    /// Assumes that a transaction which reads a key and writes it overwrote what it read.
    pub fn writes_follow_reads(mut self) -> Self {
        self.wfr = true;
        self
    }

    /// Assumes that each key by itself is sequentially consistent.
    pub fn sequential_keys(mut self) -> Self {
        self.sequential = true;
        self
    }

    /// Assumes that each key by itself is linearizable.
    pub fn linearizable_keys(mut self) -> Self {
        self.linearizable = true;
        self
    }

    /// Takes the store's word for the order in which a key held its values: with that of all keys, whatever is not
    /// serializable is found.
    pub fn version_order(mut self, key: impl Into<Value>, values: impl IntoIterator<Item = Value>) -> Self {
        self.orders.insert(key.into(), values.into_iter().collect());
        self
    }

    /// Takes the store's word for the order in which transactions committed, as by their timestamps; transactions are
    /// numbered in the order of their invocation. Keys then held their values in that order.
    pub fn commit_order(mut self, transactions: impl IntoIterator<Item = u32>) -> Self {
        self.commits = Some(transactions.into_iter().zip(0..).collect());
        self
    }

    /// Gives up with [`Verdict::Unknown`] if of one level it is not decided after about so many steps whether some order
    /// of the values explains what was read. The default takes some seconds.
    pub fn budget(mut self, steps: u64) -> Self {
        self.budget = steps;
        self
    }

    /// Does not accept reads of values that nobody wrote. Elle does.
    pub fn garbage_reads(mut self) -> Self {
        self.garbage = true;
        self
    }

    /// All anomalies, whatever the model.
    pub fn analyse(&self, transactions: &Transactions) -> Analysis {
        rw_register::analyse(transactions, self)
    }

    /// Whether `transactions` keep the promise of the model.
    pub fn judge(&self, transactions: &Transactions) -> Verdict {
        self.analyse(transactions).verdict(self.model)
    }
}

impl Checker<Vec<Mop>, Vec<Mop>> for RwRegister {
    fn check(&self, operations: &[Operation<Vec<Mop>, Vec<Mop>>]) -> Verdict {
        self.judge(&Transactions::of(operations))
    }
}

/// Checks transactions that read by predicates, as Elle's closed-predicate workload does.
///
/// All versions that a key ever had are known from the history: what it began with ([`Mop::Init`], or nothing) and what
/// transactions made of it. So what a predicate did *not* select tells which version it looked at, where only one version
/// does not match. Each key should be changed at most once, to a value of its own; of a key that is changed more often the
/// order of the versions is not known, and a verdict that finds nothing is unknown.
///
/// ```
/// use sim_check::read;
/// use sim_check::transactions::closed_predicate;
///
/// let all = read::transactions(
///     "{:process 1 :type :invoke :value [[:rp :true nil] [:insert x 1]]}
///      {:process 2 :type :invoke :value [[:rp :true nil] [:insert y 2]]}
///      {:process 1 :type :ok :value [[:rp :true {}] [:insert x 1]]}
///      {:process 2 :type :ok :value [[:rp :true {}] [:insert y 2]]}",
/// )?;
/// assert_eq!(
///     closed_predicate().judge(&all).to_string(),
///     "not strict-serializable: G2: T1 < T2, because T2 made y 2, and T1 had read where :true with nothing there; \
///      T2 < T1, because T1 made x 1, and T2 had read where :true with nothing there: a contradiction \
///      (T1 is client-1 at event 0, T2 is client-2 at event 1); not even serializable",
/// );
/// # Ok::<(), read::ReadError>(())
/// ```
pub fn closed_predicate() -> ClosedPredicate {
    ClosedPredicate { model: Consistency::StrictSerializable }
}

/// The checker that [`closed_predicate()`] makes.
#[derive(Clone, Debug)]
pub struct ClosedPredicate {
    model: Consistency,
}

impl ClosedPredicate {
    /// Asks for this model instead of strict serializability.
    pub fn model(mut self, model: Consistency) -> Self {
        self.model = model;
        self
    }

    /// All anomalies, whatever the model.
    pub fn analyse(&self, transactions: &Transactions) -> Analysis {
        closed_predicate::analyse(transactions)
    }

    /// Whether `transactions` keep the promise of the model.
    pub fn judge(&self, transactions: &Transactions) -> Verdict {
        self.analyse(transactions).verdict(self.model)
    }
}

impl Checker<Vec<Mop>, Vec<Mop>> for ClosedPredicate {
    fn check(&self, operations: &[Operation<Vec<Mop>, Vec<Mop>>]) -> Verdict {
        self.judge(&Transactions::of(operations))
    }
}
