//! A long history of a register: five clients, 100,000 operations that overlap all the time.

use bench_common::meter::Meter;
use sim_check::model::{CasOp, CasRegister, RegisterRet};
use sim_check::{History, linearizable};

const OPERATIONS: u64 = 100_000;
const CLIENTS: usize = 5;

/// Records operations that end at once: their invocations and ends are twice as many events.
pub(crate) fn record() -> String {
    let meter = Meter::start();
    let history = History::new();
    for n in 0..10 * OPERATIONS {
        history.invoke_at(n % 5, CasOp::Write(n), n).ok_at(RegisterRet::<u64>::Written, n);
    }
    assert_eq!(history.events() as u64, 20 * OPERATIONS);
    meter.finish(20 * OPERATIONS)
}

/// Records and judges it; what that took, recording included.
pub(crate) fn run() -> String {
    let meter = Meter::start();
    let history = History::new();
    let mut register = 0;
    let mut open: Vec<Option<_>> = (0..CLIENTS).map(|_| None).collect();
    let mut dice = 1_u64;
    let mut roll = |sides: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % sides
    };
    let mut invoked = 0;
    while invoked < OPERATIONS {
        let client = roll(CLIENTS as u64) as usize;
        match open[client].take() {
            None => {
                let op = match roll(3) {
                    0 => CasOp::Read,
                    1 => CasOp::Write(roll(5)),
                    _ => CasOp::Cas { from: roll(5), to: roll(5) },
                };
                open[client] = Some((history.invoke_at(client as u64, op.clone(), invoked), op));
                invoked += 1;
            }
            Some((call, op)) => {
                let ret = match op {
                    CasOp::Read => RegisterRet::Value(register),
                    CasOp::Write(value) => {
                        register = value;
                        RegisterRet::Written
                    }
                    CasOp::Cas { from, to } => {
                        let swaps = register == from;
                        register = if swaps { to } else { register };
                        RegisterRet::Swapped(swaps)
                    }
                };
                call.ok_at(ret, invoked);
            }
        }
    }
    let verdict = history.verdict(&linearizable(CasRegister::starting_at(0_u64)));
    assert!(verdict.is_valid(), "{verdict}");
    meter.finish(OPERATIONS)
}
