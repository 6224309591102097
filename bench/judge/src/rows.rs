//! Histories as rows.

use std::fmt::Write;

use sim_check::model::{CasOp, KvOp, KvRet, RegisterRet};
use sim_check::read::{self, Keys, Value};
use sim_check::{Operation, Outcome};

/// Writes the operations of one history into a folder, under the same name.
pub(crate) fn write(model: &str, out: &str, path: &str) {
    let text = std::fs::read_to_string(path).expect("a history");
    let rows = match model {
        "kv" => kv(&text),
        _ => register(&text, &super::initial(path)),
    };
    let name = path.rsplit('/').next().unwrap_or(path);
    std::fs::write(format!("{out}/{name}"), rows).expect("room on the disk");
}

/// A row; operations that failed are no operations, and reads of unknown outcome say nothing.
fn row<Op, Ret>(out: &mut String, operation: &Operation<Op, Ret>, [f, key, value, second]: [&str; 4]) {
    let end = match operation.outcome {
        Outcome::Fail { .. } => return,
        Outcome::Ok { at, .. } => at.index as i64,
        Outcome::Info { .. } | Outcome::Open if f == "read" || f == "get" => return,
        Outcome::Info { .. } | Outcome::Open => i64::MAX,
    };
    let (client, call) = (operation.process, operation.invoked.index);
    let _ = writeln!(out, "{client}\t{call}\t{end}\t{f}\t{key}\t{value}\t{second}");
}

/// A register that starts with something is written to first of all.
fn register(text: &str, initial: &Value) -> String {
    let Keys::One(operations) = read::cas_registers(text).expect("a history") else { panic!("one register") };
    let mut out = String::new();
    if *initial != Value::Nil {
        let _ = writeln!(out, "0\t-2\t-1\twrite\t\t{initial}\t");
    }
    for operation in &operations {
        let ret = operation.acknowledged().map(|(ret, _)| ret);
        let (f, value, second) = match (&operation.op, ret) {
            (CasOp::Read, Some(RegisterRet::Value(value))) => ("read", value.to_string(), String::new()),
            (CasOp::Read, _) => ("read", "?".to_string(), String::new()),
            (CasOp::Write(value), _) => ("write", value.to_string(), String::new()),
            (CasOp::Cas { from, to }, ret) => {
                let swapped = match ret {
                    Some(RegisterRet::Swapped(swapped)) => swapped.to_string(),
                    _ => "?".to_string(),
                };
                ("cas", from.to_string(), format!("{to} {swapped}"))
            }
        };
        row(&mut out, operation, [f, "", &value, &second]);
    }
    out
}

fn kv(text: &str) -> String {
    let mut out = String::new();
    for operation in &read::kv(text).expect("a history") {
        let ret = operation.acknowledged().map(|(ret, _)| ret);
        let (f, key, value) = match (&operation.op, ret) {
            (KvOp::Get(key), Some(KvRet::Value(value))) => ("get", key, value.as_str()),
            (KvOp::Get(key), _) => ("get", key, "?"),
            (KvOp::Put(key, value), _) => ("put", key, value.as_str()),
            (KvOp::Append(key, value), _) => ("append", key, value.as_str()),
        };
        row(&mut out, operation, [f, key, value, ""]);
    }
    out
}
