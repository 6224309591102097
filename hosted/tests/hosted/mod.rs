//! One room a program.

mod faults;
mod std_net;
mod threads;
mod tokio_runtime;
