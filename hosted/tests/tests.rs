//! Programs from the registry and from the standard library, unmodified, under the seed. `cargo test hosted` runs all,
//! `cargo test hosted::threads` one room.

mod hosted;
