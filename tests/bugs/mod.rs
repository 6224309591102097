//! Every fault kind has a program that it breaks, and a fixed twin that it does not: a fault that breaks nothing proves
//! nothing. The bugs of the examples are tested beside them, and `cargo test bugs` runs both.

mod clocks;
mod disk;
pub(crate) mod kit;
mod leaders;
mod names;
mod network;
mod processes;
mod silence;
mod upkeep;
