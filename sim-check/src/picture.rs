//! Pictures of a verdict: one HTML file that needs no network, and a few lines for a terminal.
//!
//! Clients are lanes, operations are bars, faults are bands; the operations that show what is wrong are highlighted,
//! and a cycle of transactions is a graph. Time is shown as the order of events, so that nothing is too small to see.
//! The same history gives the same bytes. What a program under test said is shown as text and never as markup.
//!
//! ```
//! use sim_check::picture::{Picture, page, terminal};
//!
//! let text = "{:process 0 :type :invoke :f :write :value 1} {:process 0 :type :ok :f :write :value 1}
//!             {:process 1 :type :invoke :f :read}           {:process 1 :type :ok :f :read :value 0}";
//! let verdict = sim_check::judge("register", text)?;
//! let picture = Picture::of_text("a stale read", text, &verdict);
//! assert!(page(&[picture]).contains("cannot be explained"));
//! assert_eq!(
//!     terminal(&verdict),
//!     "client-0 ├───┤            write 1
//! client-1           ├───┤  read 0  << cannot be explained: the state would have had to be 0
//! ",
//! );
//! # Ok::<(), sim_check::JudgeError>(())
//! ```

mod bands;
mod cycle;
mod html;
mod lanes;
mod terminal;

use std::collections::BTreeMap;
use std::fmt::Debug;

pub use bands::Band;
pub use html::page;
pub use terminal::{terminal, timeline};

use crate::history::{Moment, Operation, Outcome};
use crate::model::Model;
use crate::read::{self, Phase};
use crate::verdict::{Evidence, Verdict, Witness};

/// More operations than these are not drawn: those around what is wrong are.
const DRAWN: usize = 600;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It took effect.
    Ok,
    /// It did not.
    Fail,
    /// Nobody knows.
    Info,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its client.
    pub process: u64,
    /// What it was, in words.
    pub what: String,
    /// When it began.
    pub invoked: Moment,
    /// When it ended, if it did.
    pub ended: Option<Moment>,
    /// How.
    pub end: End,
}

/// What is drawn of one history and the verdict on it.
#[derive(Clone, Debug)]
pub struct Picture {
    pub(crate) title: String,
    pub(crate) sentence: String,
    pub(crate) valid: bool,
    pub(crate) evidence: Option<Evidence>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) bands: Vec<Band>,
    pub(crate) hidden: usize,
}

impl Picture {
    /// A picture of some operations.
    pub fn new(title: impl Into<String>, bars: Vec<Bar>, bands: Vec<Band>, verdict: &Verdict) -> Self {
        let evidence = verdict.evidence().cloned();
        let (bars, hidden) = around(bars, evidence.as_ref());
        Picture {
            title: title.into(),
            sentence: verdict.to_string(),
            valid: matches!(verdict, Verdict::Valid | Verdict::Vacuous(_)),
            evidence,
            bars,
            bands,
            hidden,
        }
    }

    /// A picture of recorded operations, in the words of a model. Faults are the `bands`.
    pub fn of<M: Model>(
        title: impl Into<String>,
        model: &M,
        operations: &[Operation<M::Op, M::Ret>],
        bands: Vec<Band>,
        verdict: &Verdict,
    ) -> Self {
        let bar = |operation: &Operation<M::Op, M::Ret>| {
            let (end, ended) = match &operation.outcome {
                Outcome::Ok { at, .. } => (End::Ok, Some(*at)),
                Outcome::Fail { at } => (End::Fail, Some(*at)),
                Outcome::Info { at } => (End::Info, Some(*at)),
                Outcome::Open => (End::Info, None),
            };
            let what = model.describe(&operation.op, operation.acknowledged().map(|(ret, _)| ret));
            Bar { process: operation.process, what, invoked: operation.invoked, ended, end }
        };
        Self::new(title, operations.iter().map(bar).collect(), bands, verdict)
    }

    /// A picture of recorded operations of any kind, as Rust prints them.
    pub fn of_any<Op: Debug, Ret: Debug>(
        title: impl Into<String>,
        operations: &[Operation<Op, Ret>],
        bands: Vec<Band>,
        verdict: &Verdict,
    ) -> Self {
        let bar = |operation: &Operation<Op, Ret>| {
            let (end, ended, ret) = match &operation.outcome {
                Outcome::Ok { at, ret } => (End::Ok, Some(*at), format!(" = {ret:?}")),
                Outcome::Fail { at } => (End::Fail, Some(*at), String::new()),
                Outcome::Info { at } => (End::Info, Some(*at), String::new()),
                Outcome::Open => (End::Info, None, String::new()),
            };
            let what = format!("{:?}{ret}", operation.op);
            Bar { process: operation.process, what, invoked: operation.invoked, ended, end }
        };
        Self::new(title, operations.iter().map(bar).collect(), bands, verdict)
    }

    /// A picture of the history in a text. The events of `:nemesis` are faults. A text that is no history gives the
    /// verdict and its evidence alone.
    pub fn of_text(title: impl Into<String>, text: &str, verdict: &Verdict) -> Self {
        let Ok((events, faults)) = read::events_and_faults(text) else { return Self::of_evidence(title, verdict) };
        let mut bars: Vec<Bar> = Vec::new();
        let mut open: BTreeMap<u64, usize> = BTreeMap::new();
        for event in &events {
            let what = match event.value {
                read::Value::Nil => event.f.clone(),
                _ => format!("{} {}", event.f, event.value),
            };
            let end = match event.phase {
                Phase::Invoke => {
                    open.insert(event.process, bars.len());
                    let (process, invoked) = (event.process, event.moment);
                    bars.push(Bar { process, what, invoked, ended: None, end: End::Info });
                    continue;
                }
                Phase::Ok => End::Ok,
                Phase::Fail => End::Fail,
                Phase::Info => End::Info,
            };
            let Some(bar) = open.remove(&event.process) else { continue };
            (bars[bar].ended, bars[bar].end) = (Some(event.moment), end);
            if end == End::Ok && event.value != read::Value::Nil {
                bars[bar].what = what;
            }
        }
        Self::new(title, bars, bands::of(&faults), verdict)
    }

    /// A picture of the evidence alone: for histories that are too long to hold.
    pub fn of_evidence(title: impl Into<String>, verdict: &Verdict) -> Self {
        let bar = |witness: &Witness| Bar {
            process: witness.process,
            what: witness.what.clone(),
            invoked: witness.invoked,
            ended: witness.acknowledged,
            end: if witness.acknowledged.is_some() { End::Ok } else { End::Info },
        };
        let bars = verdict.evidence().map(|evidence| witnesses(evidence).into_iter().map(bar).collect());
        Self::new(title, bars.unwrap_or_default(), Vec::new(), verdict)
    }

    /// What a bar is in the evidence, if it is in it.
    pub(crate) fn role(&self, bar: &Bar) -> Option<&'static str> {
        let evidence = self.evidence.as_ref()?;
        let same = |witness: &Witness| witness.process == bar.process && witness.invoked == bar.invoked;
        if same(&evidence.failed) || ended_as(&evidence.failed, bar) {
            return Some("failed");
        }
        if evidence.core.iter().any(same) {
            return Some("core");
        }
        evidence.involved.iter().any(|witness| same(witness) || ended_as(witness, bar)).then_some("involved")
    }
}

/// Whether a witness that knows only its end is the end of a bar.
fn ended_as(witness: &Witness, bar: &Bar) -> bool {
    witness.process == bar.process && bar.ended == Some(witness.invoked)
}

/// The operations that show what is wrong, the fewest that do, in the order of their invocation.
pub(crate) fn witnesses(evidence: &Evidence) -> Vec<&Witness> {
    let mut shown: Vec<&Witness> = match evidence.core.is_empty() {
        true => evidence.involved.iter().chain([&evidence.failed]).collect(),
        false => evidence.core.iter().collect(),
    };
    shown.sort_by_key(|witness| witness.invoked);
    shown.dedup();
    shown
}

/// The bars nearest to what is wrong, and how many others there are.
fn around(mut bars: Vec<Bar>, evidence: Option<&Evidence>) -> (Vec<Bar>, usize) {
    let hidden = bars.len().saturating_sub(DRAWN);
    if hidden == 0 {
        return (bars, 0);
    }
    let wanted: Vec<(u64, Moment)> = evidence.map_or_else(Vec::new, |evidence| {
        witnesses(evidence).into_iter().map(|witness| (witness.process, witness.invoked)).collect()
    });
    let centre = evidence.map_or(0, |evidence| evidence.failed.invoked.index);
    let distance = |bar: &Bar| match wanted.contains(&(bar.process, bar.invoked)) {
        true => 0,
        false => bar.invoked.index.abs_diff(centre) + 1,
    };
    bars.sort_by_key(distance);
    bars.truncate(DRAWN);
    bars.sort_by_key(|bar| bar.invoked);
    (bars, hidden)
}
