//! adya at the case `transactions` of `bench/judge/run`: reads a file, and judges it as strictly serializable.

use adya::{History, Opts, Valid, Workload, check};
use bench_common::meter::Meter;

fn main() {
    let path = std::env::args().nth(1).expect("a file of transactions");
    let meter = Meter::start();
    let text = std::fs::read_to_string(path).expect("the transactions");
    let history = History::from_edn(&text).expect("a history");
    let strict = Opts { models: vec!["strict-serializable".into()], ..Opts::default() };
    assert_eq!(check(&history, Workload::ListAppend, &strict).valid, Valid::True);
    println!("{}", meter.finish(1_000_000));
}
