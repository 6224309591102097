//! The behaviour of detsim, by room. Run one room by its name: `cargo test leaks`, `cargo test bugs`.

mod bad_input;
mod bugs;
mod determinism;
mod facade;
mod kit;
mod leaks;
mod macros;
mod replay_line;
