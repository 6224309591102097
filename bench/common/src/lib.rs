//! What all benchmark programs share, so that they differ in nothing but the framework.
//!
//! | room | what is in it |
//! |---|---|
//! | [`sizes`] | how much work each case is |
//! | [`work`] | the work itself, where it can be written once for all |
//! | [`meter`] | real time, processor time and memory, told as one line of JSON |
//! | [`rows`] | histories of operations, the same for every checker |
//! | [`prng`] | the lengths of sleeps, the same for everybody |
//!
//! A program calls [`main`] with its cases.

pub mod meter;
pub mod prng;
pub mod rows;
pub mod sizes;
pub mod work;

use meter::Meter;

/// A case: its name, and a function that does all of it and returns how many operations that were.
pub type Case = (&'static str, fn() -> u64);

/// Runs the case that the command line names, and prints what it took.
pub fn main(cases: &[Case]) {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let Some((_, run)) = cases.iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = cases.iter().map(|(name, _)| *name).collect();
        eprintln!("no case {wanted:?}: name one of {}", names.join(", "));
        std::process::exit(2)
    };
    let meter = Meter::start();
    let operations = run();
    println!("{}", meter.finish(operations));
}
