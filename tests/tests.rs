//! The behaviour of detsim, by room. Run one room by its name: `cargo test leaks`.

mod leaks;
