//! Marks in programs: what must always hold, what must be reached in some run, and where chance may interfere.
//!
//! Every mark is registered at link time, so that a sweep can list those that no run ever reached.

use std::collections::{BTreeMap, BTreeSet};

use linkme::distributed_slice;

use crate::choice::{Draws, Ratio, Stream};
use crate::hash::{fold, hash_str};
use crate::outcome::{Failure, Outcome};
use crate::panics;
use crate::world;

/// What a mark demands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkKind {
    /// Holds whenever it is reached.
    Always,
    /// Holds in at least one run.
    Sometimes,
    /// Is reached in at least one run.
    Reachable,
    /// Where `buggify!` may interfere.
    Buggify,
}

/// A mark in a program, made by the macros.
#[derive(Debug)]
pub struct Mark {
    /// What it demands.
    pub kind: MarkKind,
    /// Its name.
    pub name: &'static str,
    /// The module it stands in.
    pub module: &'static str,
    /// The file.
    pub file: &'static str,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// All marks of the program.
#[distributed_slice]
pub static MARKS: [Mark];

#[derive(Default)]
pub(crate) struct Marks {
    /// By the place of the mark in [`MARKS`].
    reached: Vec<bool>,
    /// Whether this run buggifies at all; decided when first asked.
    buggify: Option<bool>,
    sites: BTreeMap<u64, Site>,
}

struct Site {
    active: bool,
    draws: Draws,
}

impl Marks {
    pub(crate) fn reached(&self) -> Vec<String> {
        let names = self.reached.iter().zip(MARKS).filter(|(reached, _)| **reached).map(|(_, mark)| mark.name);
        names.collect::<BTreeSet<_>>().into_iter().map(str::to_string).collect()
    }
}

/// The expansion of `always!`.
#[doc(hidden)]
#[track_caller]
pub fn always(mark: &'static Mark, holds: bool, explain: impl FnOnce() -> String) {
    if holds {
        return reached(mark, true);
    }
    let message = format!("always violated: {}{} ({}:{})", mark.name, explain(), mark.file, mark.line);
    let inside = world::try_with(|world| world.fail(Failure::new(Outcome::Incorrect, message.clone()))).is_some();
    if inside {
        panics::leave();
    }
    debug_assert!(false, "{message}");
}

/// The expansion of `sometimes!` and `reachable!`.
#[doc(hidden)]
pub fn reached(mark: &'static Mark, holds: bool) {
    if holds {
        world::try_with(|world| {
            let place = (std::ptr::from_ref(mark).addr() - MARKS.as_ptr().addr()) / size_of::<Mark>();
            let reached = &mut world.marks.borrow_mut().reached;
            if reached.len() <= place {
                reached.resize(MARKS.len(), false);
            }
            reached[place] = true;
        });
    }
}

/// The expansion of `buggify!`.
#[doc(hidden)]
pub fn buggify(mark: &'static Mark, fires: Ratio) -> bool {
    let decide = |world: &world::World| {
        let mut marks = world.marks.borrow_mut();
        let on = *marks.buggify.get_or_insert_with(|| world.choices.stream(Stream::CONFIG, 0).chance(Ratio::new(4, 5)));
        if !on || world.running.get().dead {
            return false;
        }
        // By module and not by file, whose path depends on where the code lies.
        let place = (u64::from(mark.line) << 32) | u64::from(mark.column);
        let key = fold(hash_str(mark.module), place);
        let site = marks.sites.entry(key).or_insert_with(|| {
            let mut draws = world.choices.stream(Stream::BUGGIFY, key);
            Site { active: draws.chance(Ratio::new(1, 4)), draws }
        });
        site.active && site.draws.chance(fires)
    };
    world::try_with(decide).unwrap_or(false)
}

/// Demands that a condition holds whenever this line is reached in a simulation. A violation ends the run as
/// incorrect. Outside a simulation it is a `debug_assert!`.
///
/// ```
/// # let (committed, acknowledged) = (3, 3);
/// sim_core::always!(committed >= acknowledged, "what is acknowledged is committed");
/// sim_core::always!(committed >= acknowledged, "what is acknowledged is committed", "{committed} < {acknowledged}");
/// ```
#[macro_export]
macro_rules! always {
    ($holds:expr, $name:literal $(,)?) => {
        $crate::always!($holds, $name, "")
    };
    ($holds:expr, $name:literal, $($explain:tt)+) => {{
        $crate::__mark!(Always, $name);
        $crate::mark::always(&MARK, $holds, || {
            let words = ::std::format!($($explain)+);
            if words.is_empty() { words } else { ::std::format!(": {words}") }
        })
    }};
}

/// Notes that a condition held here at least once. A sweep lists the conditions that never did.
#[macro_export]
macro_rules! sometimes {
    ($holds:expr, $name:literal $(,)?) => {{
        $crate::__mark!(Sometimes, $name);
        $crate::mark::reached(&MARK, $holds)
    }};
}

/// Notes that this line was reached. A sweep lists the lines that never were.
#[macro_export]
macro_rules! reachable {
    ($name:literal $(,)?) => {{
        $crate::__mark!(Reachable, $name);
        $crate::mark::reached(&MARK, true)
    }};
}

/// Asks chance whether to do the rare thing here: an early return, a tiny buffer, a delay. Always false outside a
/// simulation. In a run, a quarter of the sites are active, and an active one fires one time in four, or as told:
/// `buggify!(1 in 1000)`. After FoundationDB's macro of that name.
#[macro_export]
macro_rules! buggify {
    () => {
        $crate::buggify!(1 in 4)
    };
    ($n:literal in $d:literal) => {{
        $crate::__mark!(Buggify, "buggify");
        $crate::mark::buggify(&MARK, const { $crate::Ratio::new($n, $d) })
    }};
}

/// Registers a mark at link time.
#[doc(hidden)]
#[macro_export]
macro_rules! __mark {
    ($kind:ident, $name:literal) => {
        #[$crate::__private::linkme::distributed_slice($crate::mark::MARKS)]
        #[linkme(crate = $crate::__private::linkme)]
        static MARK: $crate::mark::Mark = $crate::mark::Mark {
            kind: $crate::mark::MarkKind::$kind,
            name: $name,
            module: ::std::module_path!(),
            file: ::std::file!(),
            line: ::std::line!(),
            column: ::std::column!(),
        };
    };
}
