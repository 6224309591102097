//! sim-check at the cases of `bench/judge/run`.
//!
//! `rows MODEL OUT FILE...` writes the operations of histories as [`bench_common::rows`]; `linear MODEL FILE...` judges
//! histories; `record` records a million operations; `long` judges 100,000 operations of five clients; `generate OUT` writes a million transactions, and
//! `transactions FILE` judges them.

mod generate;
mod long;
mod rows;

use bench_common::meter::Meter;
use bench_common::rows::measure;
use sim_check::linearizable;
use sim_check::model::{CasRegister, Kv};
use sim_check::read::{self, Keys, Value};
use sim_check::transactions::{Consistency, list_append};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["rows", model, out, ref files @ ..] => files.iter().for_each(|file| rows::write(model, out, file)),
        ["linear", model, ref files @ ..] => files.iter().for_each(|file| linear(model, file)),
        ["record"] => println!("{}", long::record()),
        ["long"] => println!("{}", long::run()),
        ["generate", out] => generate::write(out).expect("room on the disk"),
        ["transactions", file] => transactions(file),
        _ => panic!("see the head of main.rs"),
    }
}

/// The start of registers: logs of etcd begin with nothing, histories of Knossos with 0.
fn initial(path: &str) -> Value {
    if path.ends_with(".log") { Value::Nil } else { Value::Int(0) }
}

fn linear(model: &str, path: &str) {
    let text = std::fs::read_to_string(path).expect("a history");
    match model {
        "kv" => {
            let operations = read::kv(&text).expect("a history");
            measure(path, || linearizable(Kv::default()).holds(&operations) == Some(true));
        }
        _ => {
            let Keys::One(operations) = read::cas_registers(&text).expect("a history") else { panic!("one register") };
            let checker = linearizable(CasRegister::starting_at(initial(path)));
            measure(path, || checker.holds(&operations) == Some(true));
        }
    }
}

fn transactions(path: &str) {
    let meter = Meter::start();
    let file = std::fs::File::open(path).expect("the transactions");
    let all = read::transactions_from(file).expect("a history");
    let analysis = list_append().analyse(&all);
    assert!(analysis.verdict(Consistency::StrictSerializable).is_valid(), "they are serial");
    println!("{}", meter.finish(all.len() as u64));
}
