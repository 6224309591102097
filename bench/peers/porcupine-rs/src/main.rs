//! porcupine-rs at the cases of `bench/judge/run`: `register FILE...`, `kv FILE...`, each file in rows.

use bench_common::rows::{self, Row, measure};
use porcupine_rs::{Model, Operation, check_operations};

#[derive(Clone, Debug)]
struct Register;

impl Model for Register {
    type State = Option<i64>;
    type Op = (u8, Option<i64>, Option<i64>, Option<bool>);
    type Metadata = ();

    fn init() -> Option<i64> {
        None
    }

    fn step(state: &Option<i64>, op: &Self::Op) -> (bool, Option<i64>) {
        match op {
            (0, value, ..) => (state == value, *state),
            (1, value, ..) => (true, *value),
            (_, from, to, swapped) => {
                let swaps = state == from;
                (swapped.is_none_or(|swapped| swapped == swaps), if swaps { *to } else { *state })
            }
        }
    }
}

fn register(row: &Row) -> <Register as Model>::Op {
    let number = |text: &str| text.parse().ok();
    match row.f.as_str() {
        "read" => (0, number(&row.value), None, None),
        "write" => (1, number(&row.value), None, None),
        _ => {
            let (to, swapped) = row.second.split_once(' ').expect("what was to be there, and whether it was");
            (2, number(&row.value), number(to), swapped.parse().ok())
        }
    }
}

#[derive(Clone, Debug)]
struct Kv;

impl Model for Kv {
    type State = String;
    type Op = (u8, String, String);
    type Metadata = ();

    fn partition_operations(history: &[Operation<Self>]) -> Vec<Vec<Operation<Self>>> {
        let mut keys: std::collections::BTreeMap<&str, Vec<Operation<Self>>> = std::collections::BTreeMap::new();
        for operation in history {
            keys.entry(&operation.op.1).or_default().push(operation.clone());
        }
        keys.into_values().collect()
    }

    fn init() -> String {
        String::new()
    }

    fn step(state: &String, (f, _, value): &Self::Op) -> (bool, String) {
        match f {
            0 => (state == value, state.clone()),
            1 => (true, value.clone()),
            _ => (true, state.clone() + value),
        }
    }
}

fn kv(row: &Row) -> <Kv as Model>::Op {
    let f = match row.f.as_str() {
        "get" => 0,
        "put" => 1,
        _ => 2,
    };
    (f, row.key.clone(), row.value.clone())
}

fn judge<M: Model>(path: &str, op: fn(&Row) -> M::Op) {
    let operation = |row: Row| Operation {
        client_id: Some(row.client),
        call_time: row.call,
        return_time: row.end,
        op: op(&row),
        metadata: None,
    };
    let history: Vec<Operation<M>> = rows::read(path).into_iter().map(operation).collect();
    measure(path, || check_operations(&history));
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (model, files) = words.split_first().expect("a model and files");
    for file in files {
        match model.as_str() {
            "kv" => judge::<Kv>(file, kv),
            _ => judge::<Register>(file, register),
        }
    }
}
