//! One room a program.

mod axum_reqwest;
mod faults;
mod inline_calls;
mod mini_redis;
mod power_losses;
mod raft;
mod redb_;
mod sled_;
mod sqlite;
mod std_fs;
mod std_net;
mod threads;
mod tokio_runtime;
mod tonic_health;
