//! Every Porcupine and Knossos history of the corpus gets the verdict its authors gave it.

mod corpus;

use std::fs;
use std::path::Path;

use corpus::corpus;
use serde_json::Value as Json;
use sim_check::{Verdict, judge};

/// Judges each file of a corpus and returns how many there were.
fn judge_all(corpus: &Path) -> usize {
    let expected = fs::read_to_string(corpus.join("expected.json")).expect("the list of verdicts");
    let expected: Json = serde_json::from_str(&expected).expect("the list of verdicts is JSON");
    let files = expected["files"].as_array().expect("the list of files");
    for file in files {
        let path = corpus.join(file["path"].as_str().expect("a path"));
        let text = fs::read_to_string(&path).expect("a history");
        let verdict = judge(model(file), &text).expect("a whole history");
        let valid = file["expected"]["valid"].as_bool().expect("a verdict");
        // The tools of the corpus call a history without operations valid.
        let accepted = matches!(verdict, Verdict::Valid | Verdict::Vacuous(_));
        assert_eq!(accepted, valid, "{}: {verdict}", path.display());
        assert_eq!(verdict.evidence().is_some(), !valid, "{}: {verdict}", path.display());
        compare_failed_operation(&verdict, &file["expected"], &path);
    }
    files.len()
}

fn compare_failed_operation(verdict: &Verdict, expected: &Json, path: &Path) {
    if let (Some(evidence), Some(index)) = (verdict.evidence(), expected["op_index"].as_u64()) {
        let completed = evidence.failed.acknowledged.expect("a blocked operation completed").index;
        assert_eq!(completed, index, "{}: {verdict}", path.display());
    }
}

fn model(file: &Json) -> &str {
    match file["model"].as_str().expect("a model") {
        "etcd-cas-register" => "cas-register",
        kv if kv.starts_with("kv") => "kv",
        model => model,
    }
}

#[test]
fn porcupine_histories_get_their_verdicts() {
    let Some(corpus) = corpus("porcupine") else { return };
    assert!(judge_all(&corpus) > 0);
}

#[test]
fn knossos_histories_get_their_verdicts() {
    let Some(corpus) = corpus("knossos") else { return };
    assert!(judge_all(&corpus) > 0);
}
