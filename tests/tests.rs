//! The behaviour of detsim, by room. Run one room by its name: `cargo test leaks`, `cargo test bugs`.

mod bad_input;
mod bugs;
mod clocks;
mod determinism;
mod facade;
mod kit;
mod leaks;
mod macros;
#[cfg(target_os = "linux")]
mod net_conformance;
mod net_faults;
mod net_fidelity;
mod processes;
mod replay_line;
