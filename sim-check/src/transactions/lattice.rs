//! What consistency models promise, as data: which promise includes which, and which anomaly breaks which.

use std::fmt;

use super::anomaly::{Base, Kind, Order};

macro_rules! consistency_models {
    ($($(#[doc = $doc:literal])* $model:ident = $name:literal includes [$($weaker:ident),*];)*) => {
        /// A consistency model of transactions.
        ///
        /// Each includes the promises of weaker ones; names are those that Elle knows them by.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Consistency {
            $($(#[doc = $doc])* $model,)*
        }

        impl Consistency {
            /// All models, none before one that it includes.
            pub const ALL: &[Consistency] = &[$(Consistency::$model),*];

            /// The name of the model.
            pub fn name(self) -> &'static str {
                match self { $(Consistency::$model => $name),* }
            }

            /// The next weaker models.
            pub fn weaker(self) -> &'static [Consistency] {
                match self { $(Consistency::$model => &[$(Consistency::$weaker),*]),* }
            }
        }
    };
}

consistency_models! {
    /// Writes are in one order.
    ReadUncommitted = "read-uncommitted" includes [];
    /// Nothing is seen that was undone, unfinished, or depends on who sees it.
    ReadCommitted = "read-committed" includes [ReadUncommitted];
    /// What was seen once is not unseen by later reads of the transaction.
    MonotonicAtomicView = "monotonic-atomic-view" includes [ReadCommitted];
    /// Of another transaction all is seen or nothing.
    ReadAtomic = "read-atomic" includes [MonotonicAtomicView];
    /// What was read is not changed under a transaction that writes it.
    CursorStability = "cursor-stability" includes [ReadCommitted];
    /// PL-2L of Adya.
    MonotonicView = "monotonic-view" includes [ReadCommitted];
    /// PL-MSR of Adya.
    MonotonicSnapshotRead = "monotonic-snapshot-read" includes [ReadCommitted];
    /// PL-2+ of Adya: what is read is a consistent state.
    ConsistentView = "consistent-view" includes [CursorStability, MonotonicView];
    /// PL-FCV of Adya.
    ForwardConsistentView = "forward-consistent-view" includes [ConsistentView];
    /// Atomic reads that respect causality.
    Causal = "causal-cerone" includes [ReadAtomic];
    /// Atomic reads without lost updates.
    UpdateAtomic = "update-atomic" includes [ReadAtomic];
    /// Snapshots that sites may learn of in different orders.
    ParallelSnapshotIsolation = "parallel-snapshot-isolation" includes [Causal, UpdateAtomic];
    /// All learn of transactions in the same order.
    Prefix = "prefix" includes [Causal];
    /// Reads see one snapshot, and of two that write the same, one aborts.
    SnapshotIsolation = "snapshot-isolation" includes [
        ForwardConsistentView, MonotonicAtomicView, MonotonicSnapshotRead, ParallelSnapshotIsolation, Prefix
    ];
    /// PL-2.99 of Adya: serializable, but for queries.
    RepeatableRead = "repeatable-read" includes [CursorStability, MonotonicAtomicView];
    /// PL-3U of Adya.
    UpdateSerializable = "update-serializable" includes [ForwardConsistentView];
    /// As if there was one transaction after the other.
    Serializable = "serializable" includes [RepeatableRead, SnapshotIsolation, UpdateSerializable];
    /// Read uncommitted, and each process in its order.
    StrongSessionReadUncommitted = "strong-session-read-uncommitted" includes [ReadUncommitted];
    /// Read committed, and each process in its order.
    StrongSessionReadCommitted = "strong-session-read-committed" includes [ReadCommitted, StrongSessionReadUncommitted];
    /// Read uncommitted, in real time.
    StrongReadUncommitted = "strong-read-uncommitted" includes [StrongSessionReadUncommitted];
    /// Read committed, in real time.
    StrongReadCommitted = "strong-read-committed" includes [StrongSessionReadCommitted, StrongReadUncommitted];
    /// Snapshot isolation, and each process in its order.
    StrongSessionSnapshotIsolation = "strong-session-snapshot-isolation" includes [
        SnapshotIsolation, StrongSessionReadCommitted
    ];
    /// Snapshot isolation, in real time.
    StrongSnapshotIsolation = "strong-snapshot-isolation" includes [StrongSessionSnapshotIsolation, StrongReadCommitted];
    /// Serializable, and each process in its order.
    StrongSessionSerializable = "strong-session-serializable" includes [Serializable, StrongSessionSnapshotIsolation];
    /// As if there was one transaction after the other, each between its invocation and its end.
    StrictSerializable = "strict-serializable" includes [StrongSnapshotIsolation, StrongSessionSerializable];
}

impl Consistency {
    /// The model with this name: one of ours, which are Elle's, or Adya's as Elle writes it.
    ///
    /// ```
    /// use sim_check::transactions::Consistency;
    ///
    /// assert_eq!(Consistency::named("serializable"), Some(Consistency::Serializable));
    /// assert_eq!(Consistency::named("PL-3"), Some(Consistency::Serializable));
    /// ```
    pub fn named(name: &str) -> Option<Consistency> {
        let name = match name {
            "PL-1" => "read-uncommitted",
            "PL-2" => "read-committed",
            "PL-CS" => "cursor-stability",
            "PL-2L" => "monotonic-view",
            "PL-MSR" => "monotonic-snapshot-read",
            "PL-2+" => "consistent-view",
            "PL-FCV" => "forward-consistent-view",
            "PL-SI" => "snapshot-isolation",
            "PL-2.99" => "repeatable-read",
            "PL-3U" => "update-serializable",
            "PL-3" => "serializable",
            "PL-SS" | "strong-serializable" => "strict-serializable",
            name => name,
        };
        Self::ALL.iter().copied().find(|model| model.name() == name)
    }

    /// Whether whatever keeps this model's promise keeps the other's too.
    pub fn includes(self, other: Consistency) -> bool {
        self == other || self.weaker().iter().any(|weaker| weaker.includes(other))
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Kind {
    /// The weakest models that this anomaly breaks; it breaks all that include one of them too.
    pub fn breaks(self) -> &'static [Consistency] {
        use Consistency as C;
        match self {
            Kind::DuplicateElements | Kind::CyclicVersions => &[C::ReadUncommitted],
            Kind::GarbageRead | Kind::G1a | Kind::G1b => &[C::ReadCommitted],
            Kind::DirtyUpdate | Kind::IncompatibleOrder | Kind::FutureRead => &[C::ReadCommitted],
            Kind::Internal | Kind::FracturedRead => &[C::ReadAtomic],
            Kind::CausalityViolation => &[C::Causal],
            Kind::LostUpdate => &[C::CursorStability, C::UpdateAtomic],
            Kind::PredicateReadMiss => &[C::Serializable],
            Kind::PredicateCycle(base, Order::Data) => match base {
                Base::G0 => &[C::ReadUncommitted],
                Base::G1c => &[C::ReadCommitted],
                Base::GSingle => &[C::ConsistentView],
                Base::GNonadjacent => &[C::SnapshotIsolation],
                Base::G2 => &[C::Serializable],
            },
            Kind::Cycle(base, Order::Data) => match base {
                Base::G0 => &[C::ReadUncommitted],
                Base::G1c => &[C::ReadCommitted],
                Base::GSingle => &[C::ConsistentView, C::RepeatableRead],
                Base::GNonadjacent => &[C::SnapshotIsolation, C::RepeatableRead],
                Base::G2 => &[C::RepeatableRead],
            },
            Kind::Cycle(base, Order::Process) | Kind::PredicateCycle(base, Order::Process) => match base {
                Base::G0 => &[C::StrongSessionReadUncommitted],
                Base::G1c => &[C::StrongSessionReadCommitted],
                Base::GSingle | Base::GNonadjacent => &[C::StrongSessionSnapshotIsolation],
                Base::G2 => &[C::StrongSessionSerializable],
            },
            Kind::Cycle(base, Order::Realtime) | Kind::PredicateCycle(base, Order::Realtime) => match base {
                Base::G0 => &[C::StrongReadUncommitted],
                Base::G1c => &[C::StrongReadCommitted],
                Base::GSingle | Base::GNonadjacent => &[C::StrongSnapshotIsolation],
                Base::G2 => &[C::StrictSerializable],
            },
        }
    }

    /// Whether a history with this anomaly cannot keep the promise of `model`.
    pub fn forbidden_by(self, model: Consistency) -> bool {
        self.breaks().iter().any(|broken| model.includes(*broken))
    }
}

/// The models of `broken` that include none of the others.
pub(crate) fn weakest(broken: &[Consistency]) -> Vec<Consistency> {
    let weaker = |model: Consistency| broken.iter().any(|other| *other != model && model.includes(*other));
    broken.iter().copied().filter(|model| !weaker(*model)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_model_includes_all_and_no_model_comes_before_a_weaker_one() {
        for (place, model) in Consistency::ALL.iter().enumerate() {
            assert!(Consistency::StrictSerializable.includes(*model), "{model}");
            let weaker = model.weaker().iter().map(|weaker| Consistency::ALL.iter().position(|m| m == weaker));
            assert!(weaker.flatten().all(|weaker| weaker < place), "{model}");
            assert_eq!(Consistency::named(model.name()), Some(*model));
        }
    }

    #[test]
    fn write_skew_is_legal_under_snapshot_isolation_and_read_skew_is_not() {
        let cycle = |base| Kind::Cycle(base, Order::Data);
        assert!(!cycle(Base::G2).forbidden_by(Consistency::SnapshotIsolation));
        assert!(cycle(Base::G2).forbidden_by(Consistency::Serializable));
        assert!(cycle(Base::GSingle).forbidden_by(Consistency::SnapshotIsolation));
    }

    #[test]
    fn every_anomaly_is_forbidden_by_the_strongest_model() {
        for kind in Kind::all() {
            assert!(kind.forbidden_by(Consistency::StrictSerializable), "{kind}");
        }
    }
}
