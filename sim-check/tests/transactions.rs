//! Every transactional history of the corpus gets the verdict its authors gave it.

mod corpus;

use std::fs;

use corpus::corpus;
use serde_json::Value as Json;
use sim_check::transactions::{Analysis, Consistency, list_append, rw_register};
use sim_check::{Verdict, judge, read};

/// The files of a folder that hold histories of a workload, their text, and what is expected of them.
fn files(folder: &str, workload: &str) -> Vec<(String, String, Json)> {
    let Some(corpus) = corpus(folder) else { return Vec::new() };
    let expected = fs::read_to_string(corpus.join("expected.json")).expect("the list of verdicts");
    let expected: Json = serde_json::from_str(&expected).expect("the list of verdicts is JSON");
    let files = expected["files"].as_array().expect("the list of files");
    let of_workload: Vec<_> = files.iter().filter(|file| file["workload"] == workload).collect();
    assert!(!of_workload.is_empty(), "{folder} has no history of {workload}");
    let load = |file: &Json| {
        let path = file["path"].as_str().expect("a path");
        let text = fs::read_to_string(corpus.join(path)).expect("a history");
        (format!("{folder}/{path}"), text, file.clone())
    };
    of_workload.into_iter().map(load).collect()
}

fn analyse(text: &str) -> Analysis {
    list_append().analyse(&read::transactions(text).expect("a whole history"))
}

fn model(name: &Json) -> Consistency {
    Consistency::named(name.as_str().expect("a name")).expect("a model")
}

fn names(models: &[Consistency]) -> Vec<&str> {
    models.iter().map(|model| model.name()).collect()
}

#[test]
fn authored_histories_have_their_anomaly_and_break_their_models() {
    for (path, text, file) in files("authored-list-append", "list-append") {
        let (analysis, expected) = (analyse(&text), &file["expected"]);
        let valid = expected["valid_strict_serializable"].as_bool().expect("a verdict");
        assert_eq!(judge("list-append", &text).expect(&path).is_valid(), valid, "{path}");
        let found: Vec<String> = analysis.counts.keys().map(ToString::to_string).collect();
        match expected["anomaly"].as_str() {
            Some(anomaly) => assert!(found.contains(&anomaly.to_string()), "{path}: {found:?}"),
            None => assert!(found.is_empty(), "{path}: {found:?}"),
        }
        let weakest: Vec<&str> =
            expected["weakest_model_violated"].as_array().expect("models").iter().flat_map(Json::as_str).collect();
        let broken = analysis.weakest_broken();
        let mut broken = names(&broken);
        broken.sort_unstable();
        assert_eq!(broken, weakest, "{path}");
    }
}

#[test]
fn authored_histories_keep_the_models_that_adya_says_they_keep() {
    for (path, text, file) in files("authored-list-append", "list-append") {
        let analysis = analyse(&text);
        let models = file["adya_0_1_0"].as_object().expect("verdicts by model");
        for (name, said) in models {
            // Without edges adya says unknown; there is nothing to compare then.
            let Some(valid) = said["valid"].as_bool() else { continue };
            let verdict = analysis.verdict(model(&name.as_str().into()));
            assert_eq!(verdict.is_valid(), valid, "{path} as {name}: {verdict}");
        }
    }
}

#[test]
fn histories_of_elle_and_its_command_get_their_verdicts() {
    for (path, text, file) in files("elle", "list-append").into_iter().chain(files("elle-cli", "list-append")) {
        let valid = file["expected"]["valid"].as_bool().expect("a verdict");
        assert!(!valid, "{path}: all of these are broken");
        let analysis = analyse(&text);
        let asked = file["models"].as_array().map_or(Vec::new(), |models| models.iter().map(model).collect());
        let broken = analysis.broken();
        assert!(asked.is_empty() || asked.iter().any(|model| broken.contains(model)), "{path}: {:?}", names(&broken));
        assert!(judge("list-append", &text).expect(&path).evidence().is_some(), "{path}");
        for model in file["expected"]["not"].as_array().into_iter().flatten().map(model) {
            assert!(analysis.weakest_broken().contains(&model), "{path}: {model}");
        }
    }
}

#[test]
fn a_history_without_read_skew_does_not_break_snapshot_isolation() {
    let Some((_, text, _)) = files("elle", "list-append").into_iter().find(|(path, ..)| path.contains("si-without"))
    else {
        return;
    };
    let analysis = analyse(&text);
    assert!(analysis.verdict(Consistency::SnapshotIsolation).is_valid());
    // In the order of the file its transactions do not even overlap: real time is broken as well.
    assert_eq!(names(&analysis.weakest_broken()), ["repeatable-read", "strong-snapshot-isolation"]);
}

#[test]
fn histories_of_registers_get_the_verdicts_of_elle_and_their_garbage_is_found_when_asked_for() {
    for (path, text, file) in files("elle-cli", "rw-register") {
        let valid = file["expected"]["valid"].as_bool().expect("a verdict");
        assert_eq!(judge("rw-register", &text).expect(&path).is_valid(), valid, "{path}");
        let all = read::transactions(&text).expect("a whole history");
        let verdict = rw_register().garbage_reads().judge(&all);
        assert!(verdict.to_string().contains("garbage-read"), "{path}: {verdict}");
    }
}

/// Histories that one pass decides, and the model that judges those of a workload.
const FOLDED: &[(&str, &str)] = &[
    ("bank", "bank"),
    ("counter", "counter"),
    ("set-full", "set-full"),
    ("comments/sequential (causal-reverse style)", "causal-reverse"),
];

#[test]
fn histories_that_one_pass_decides_get_their_verdicts() {
    for (path, text, file, model) in
        FOLDED.iter().flat_map(|(of, model)| files("elle-cli", of).into_iter().map(move |(p, t, f)| (p, t, f, model)))
    {
        // Upstream says nothing of the comments; the note beside them says that they are broken.
        let valid = file["expected"]["valid"].as_bool().unwrap_or(false);
        let verdict = judge(model, &text).expect(&path);
        // Nobody reads the counter of the corpus: its tool calls that valid.
        let accepted = matches!(verdict, Verdict::Valid | Verdict::Vacuous(_));
        assert_eq!(accepted, valid, "{path}: {verdict}");
        assert_eq!(verdict.evidence().is_some(), !valid, "{path}: {verdict}");
    }
}
