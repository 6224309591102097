//! moonpool-sim: writes that take one millisecond, all chaos off.
//!
//! What happens inside one simulation is measured below its test harness, on `SimWorld` and its executor, where it is
//! fastest; whole simulations go through `SimulationBuilder`, as users have them. It has no UDP, and at most 254 nodes, so
//! no case idle-1000.

mod inside;
mod whole;

fn main() {
    bench_common::main(&[
        ("pingpong", inside::pingpong),
        ("timers", inside::timers),
        ("spawn", inside::spawns),
        ("sweep-5", || whole::sweep(2_000, bench_common::sizes::SWEEP_NODES)),
        ("start-100", || whole::sweep(100, bench_common::sizes::START_NODES)),
        ("bulk", inside::bulk),
    ]);
}
