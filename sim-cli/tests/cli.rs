//! The program as its users meet it: arguments, files, exit codes, and sweeps over the package in `fixture/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::Duration;

use serde_json::Value;

/// A directory that is gone with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        Scratch(directory)
    }

    /// A file in it, for an argument.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, content).expect("room");
        path.to_str().expect("a plain name").to_string()
    }

    /// Itself as an argument.
    fn name(&self) -> &str {
        self.0.to_str().expect("a plain name")
    }

    /// The results of a sweep into it, but for a line that is being written.
    fn results(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.0.join("results.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-sim"));
    command.args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SIM_")) {
        command.env_remove(name);
    }
    command
}

fn sim(arguments: &[&str]) -> Output {
    command(arguments).output().expect("it starts")
}

/// In the fixture, which is built once for all tests. Git is hidden, as somebody may be editing this repository.
fn in_fixture(arguments: &[&str]) -> Command {
    static LOCKED: Once = Once::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture");
    // The versions of the workspace are those that are here already.
    LOCKED.call_once(|| drop(fs::copy(directory.join("../../../Cargo.lock"), directory.join("Cargo.lock"))));
    let mut command = command(arguments);
    command.current_dir(directory.join("tests")).env("GIT_DIR", "/nowhere").env("SIM_POLL_LIMIT", "1");
    command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixture"));
    command
}

fn sim_in_fixture(arguments: &[&str]) -> Output {
    in_fixture(arguments).output().expect("it starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(2), "{}", stderr(output));
    assert!(stderr(output).contains(why), "{}", stderr(output));
}

// Arguments.

#[test]
fn the_name_that_cargo_puts_first_is_dropped() {
    for arguments in [&["--help"][..], &["sim", "--help"]] {
        let output = sim(arguments);
        assert!(output.status.success());
        assert!(stdout(&output).contains("Usage: cargo sim <COMMAND>"), "{}", stdout(&output));
    }
}

#[test]
fn the_exit_codes_are_in_the_help() {
    for command in ["sweep", "replay", "check"] {
        assert!(stdout(&sim(&[command, "--help"])).contains("Exit code: 0"), "{command}");
    }
}

#[test]
fn what_is_no_seed_is_refused_before_anything_is_built() {
    for seed in ["fourty-two", "-1", "0x", "99999999999999999999999"] {
        assert_refused(&sim(&["replay", "test", seed]), "or a commit hash of 7 to 40 hex digits");
        assert_refused(&sim(&["sweep", "--start", seed]), "or a commit hash of 7 to 40 hex digits");
    }
}

#[test]
fn a_shard_is_one_of_its_number() {
    for shard in ["0/4", "5/4", "4", "1/0", "a/b"] {
        assert_refused(&sim(&["sweep", "--shard", shard]), "write 1/4, 2/4, 3/4 or 4/4");
    }
}

#[test]
fn limits_and_shards_of_the_environment_are_read_before_anything_is_built() {
    for (name, why) in [("SIM_POLL_LIMIT", "expected a whole number of seconds"), ("SIM_SHARD", "is no shard")] {
        let output = command(&["sweep"]).env(name, "soon").output().expect("it starts");
        assert_refused(&output, why);
        assert!(stderr(&output).contains(name));
    }
}

#[test]
fn outside_of_a_package_cargo_says_why_nothing_is_built() {
    let output = command(&["list"]).current_dir("/").output().expect("it starts");
    assert_refused(&output, "could not find `Cargo.toml`");
    assert!(stderr(&output).ends_with("error: the tests do not build; Cargo says why above\n"));
}

// Histories.

const VALID: &str = "{:process 0 :type :invoke :f :write :value 1}\n{:process 0 :type :ok :f :write :value 1}\n";
const INVALID: &str = "{:process 0 :type :invoke :f :read :value nil}\n{:process 0 :type :ok :f :read :value 5}\n";

#[test]
fn every_file_gets_a_verdict_and_the_worst_is_the_exit_code() {
    let scratch = Scratch::new("verdicts");
    let [valid, invalid, empty, cut] = [
        scratch.file("valid.edn", VALID),
        scratch.file("invalid.edn", INVALID),
        scratch.file("empty.edn", "[]"),
        scratch.file("cut.edn", &VALID[..20]),
    ];
    let cases: [(&[&str], i32); 6] = [
        (&[&valid], 0),
        (&[&empty], 0),
        (&[&valid, &empty, &invalid], 3),
        (&["--budget", "0", &valid], 10),
        (&["--budget", "0", &valid, &empty], 10),
        (&[&cut, &invalid, &valid], 2),
    ];
    for (files, code) in cases {
        let output = sim(&[&["check", "register"], files].concat());
        assert_eq!(output.status.code(), Some(code), "{files:?}: {}", stdout(&output));
    }
    let told = stdout(&sim(&["check", "register", &cut, &invalid, &valid]));
    let lines: Vec<&str> = told.lines().collect();
    assert!(lines[0].starts_with(&format!("{cut}: no history: line 1, column 21: ")), "{told}");
    assert!(lines[1].starts_with(&format!("{invalid}: not linearizable: ")), "{told}");
    assert_eq!(lines[2], "    client-0 ├───┤  read 5  << cannot be explained: the state would have had to be 5");
    assert_eq!(lines[3], format!("{valid}: valid"));
}

/// A browser, if there is one: `.ci/run` installs Debian's.
fn browser() -> Option<&'static str> {
    let there =
        |name: &&str| Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    let found = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(there);
    if found.is_none() {
        println!("not run: there is no Chromium to look at pages with; install Debian's package chromium");
    }
    found
}

#[test]
fn a_picture_opens_in_a_browser_and_shows_what_is_wrong() {
    let scratch = Scratch::new("picture");
    let lanes = "{:process 0 :type :invoke :f :write :value \"<script>document.title='x'</script>\"}
        {:process 0 :type :ok :f :write :value \"<script>document.title='x'</script>\"}
        {:process :nemesis :type :info :f :start-partition :value [:n1]}
        {:process 1 :type :invoke :f :read} {:process 1 :type :ok :f :read :value 2}
        {:process :nemesis :type :info :f :stop-partition}";
    let cycle = "{:process 0 :type :invoke :value [[:r x nil] [:append y 1]]}
        {:process 1 :type :invoke :value [[:r y nil] [:append x 1]]}
        {:process 0 :type :ok :value [[:r x []] [:append y 1]]} {:process 1 :type :ok :value [[:r y []] [:append x 1]]}";
    let out = scratch.file("page.html", "");
    let drawn = |model: &str, text: &str| {
        let output = sim(&["check", model, "--html", &out, &scratch.file("history.edn", text)]);
        assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
        let page = std::fs::read_to_string(&out).expect("the page is there");
        assert!(
            !page.contains("<script>document") && !page.contains("http://") && !page.contains("https://"),
            "{page}"
        );
        browser().map(|browser| dump(browser, &scratch, &out))
    };
    if let Some(page) = drawn("register", lanes) {
        assert!(page.contains("data-drawn=\"2 operations, 1 highlighted, 1 faults, 0 transactions\""), "{page}");
        assert!(page.contains("<title>Verdicts</title>"), "no text of a program ran");
    }
    if let Some(page) = drawn("list-append", cycle) {
        assert!(page.contains("0 faults, 2 transactions\""), "{page}");
    }
}

/// What a user would find out about the first band of a page: under the pointer, and with a click.
const LOOK: &str = r#"<script>
const band = document.querySelector(".band"), at = band.getBoundingClientRect();
const hovered = document.elementFromPoint(at.left + at.width / 2, at.top + 5)?.closest(".band");
band.click();
const lanes = document.querySelector(".lanes").getBoundingClientRect();
document.body.dataset.look = [hovered?.title, band.innerText, detail.innerText, at.width > 30, at.height === lanes.height,
  getComputedStyle(band).backgroundColor, document.title, document.images.length].join(" | ");
</script>"#;

#[test]
fn a_fault_is_a_band_with_a_label_that_tells_of_it_under_the_pointer_and_at_a_click() {
    let scratch = Scratch::new("bands");
    let text = r#"{:process 0 :type :invoke :f :write :value 1}
        {:process :nemesis :type :info :f :start-partition :value "<img src=x onerror=document.title='x'>"}
        {:process 0 :type :ok :f :write :value 1}
        {:process 1 :type :invoke :f :read} {:process 1 :type :ok :f :read :value 2}
        {:process :nemesis :type :info :f :stop-partition}"#;
    let out = scratch.file("page.html", "");
    let output = sim(&["check", "register", "--html", &out, &scratch.file("<i>history", text)]);
    assert_eq!(output.status.code(), Some(3), "{}", stdout(&output));
    let page = fs::read_to_string(&out).expect("the page is there");
    assert!(!page.contains("<img") && !page.contains("<i>"), "what programs say is text: {page}");
    let Some(browser) = browser() else { return };
    let looked = scratch.file("looked.html", page.replace("</body>", &format!("{LOOK}</body>")));
    let seen = dump(browser, &scratch, &looked);
    let label = "start-partition \"&lt;img src=x onerror=document.title='x'&gt;\"".replace('"', "&quot;");
    let known = format!("{label} | {label} | {label} | true | true | rgba(120, 60, 160, 0.13) | Verdicts | 0");
    assert!(seen.contains(&format!("data-look=\"{known}\"")), "{seen}");
}

/// The page as the browser has it after its scripts ran.
fn dump(browser: &str, scratch: &Scratch, page: &str) -> String {
    let profile = format!("--user-data-dir={}/profile", scratch.name());
    let quiet =
        ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=2000"];
    let mut command = Command::new(browser);
    command.args(quiet).arg(profile).args(["--dump-dom", &format!("file://{page}")]).stderr(Stdio::null());
    let output = command.output().expect("the browser starts");
    assert!(output.status.success(), "{:?}", output.status);
    String::from_utf8(output.stdout).expect("a page is text")
}

#[test]
fn a_history_that_was_cut_off_is_no_history() {
    let scratch = Scratch::new("cut");
    let log = "INFO  jepsen.util - 0\t:invoke\t:write\t1\nINFO  jepsen.util - 0\t:ok\t:write\t1\n";
    assert_eq!(stdout(&sim(&["check", "cas-register", &scratch.file("log", log)])).lines().count(), 1);
    for text in [&log[..26], &VALID[..40], &VALID[..60], "[{:process"] {
        let output = sim(&["check", "register", &scratch.file("cut", text)]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", stdout(&output));
        assert!(stdout(&output).contains("no history: line "), "{}", stdout(&output));
    }
}

#[test]
fn what_cannot_be_read_is_said_and_the_others_are_judged() {
    let scratch = Scratch::new("unreadable");
    let binary = scratch.file("binary\x1b[2J\nx", b"[\xff]");
    let valid = scratch.file("valid", VALID);
    let output = sim(&["check", "register", "/nowhere", scratch.name(), &binary, &valid]);
    let told = stdout(&output);
    assert_eq!((output.status.code(), told.lines().count()), (Some(2), 4), "{told}");
    for part in ["/nowhere: no history: it cannot be read: ", "it is a directory", "not text from byte 1 on", ": valid"]
    {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains('\x1b') && told.contains("binary\\u{1b}[2J\\nx"), "{told}");
}

#[test]
fn standard_input_is_a_file() {
    let input = fs::File::open(Scratch::new("stdin").file("valid", VALID)).expect("it was just made");
    let output = command(&["check", "register", "-"]).stdin(input).output().expect("it starts");
    assert_eq!((output.status.code(), &*stdout(&output)), (Some(0), "-: valid\n"));
}

#[test]
fn an_unknown_model_is_answered_with_the_known_ones() {
    let output = sim(&["check", "stack", "/nowhere"]);
    assert_refused(&output, "there is no model stack");
    assert!(stderr(&output).contains("\n  cas-register    one value"), "{}", stderr(&output));
}

#[test]
fn what_a_history_does_not_tell_can_be_said() {
    let scratch = Scratch::new("said");
    let event = |f: &str, value: &str| {
        let of = |phase| format!("{{:process 1 :type :{phase} :f :{f} :value {value}}}\n");
        of("invoke") + &of("ok")
    };
    let register = scratch.file("register", event("read", "7"));
    let bank = scratch.file("bank", event("read", "{0 -2 1 12}"));
    let fork = scratch.file("fork", event("read", "[[:r 1 nil] [:r 2 nil]]"));
    let overwritten = ["[[:w x 1]]", "[[:w x 2]]", "[[:r x 2]]", "[[:r x 1]]"].map(|txn| event("txn", txn)).concat();
    let txns = scratch.file("txns", overwritten);
    let cases: [(&[&str], i32); 9] = [
        (&["register", &register], 3),
        (&["register", "--initial", "7", &register], 0),
        (&["register", "--initial", "[7", &register], 2),
        (&["bank", &bank], 3),
        (&["bank", "--allow-negative-balances", "--total-amount", "10", &bank], 0),
        (&["bank", "--allow-negative-balances", "--total-amount", "11", &bank], 3),
        (&["long-fork", "--group-size", "3", &fork], 10),
        (&["rw-register", "--consistency", "PL-1", "--assume", "wfr-keys,linearizable-keys", &txns], 3),
        (&["rw-register", "--assume", "nothing", &txns], 2),
    ];
    for (arguments, code) in cases {
        let output = sim(&[&["check"], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    }
}

// Sweeps.

#[test]
fn the_list_shows_tests_of_every_kind_of_target() {
    let output = sim_in_fixture(&["list"]);
    let told = stdout(&output);
    for test in ["passes", "takes_a_while", "in_an_example"] {
        assert!(told.lines().any(|line| line.starts_with(test)), "{told}{}", stderr(&output));
    }
    for words in
        ["is_caught fixture 50 quick panicked", "has_one_seed fixture only 0x7", "runs_at_night fixture 30 nightly"]
    {
        let squeezed = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(words), "{told}");
    }
}

#[test]
fn a_sweep_survives_what_its_runs_do_and_groups_it() {
    let scratch = Scratch::new("sweep");
    let output = sim_in_fixture(&["sweep", "outcomes::", "--out", scratch.name()]);
    let told = stdout(&output);
    assert_eq!(output.status.code(), Some(3), "{told}{}", stderr(&output));
    let parts = [
        "reads_stale_values: incorrect at 0.000 s of simulated time",
        "replay:  cargo sim replay reads_stale_values 0x",
        "aborts: panicked",
        "SIGABRT",
        "spins: timed out",
        "  4 of 4 seeds failed like this",
        "caught  is_caught  panicked with seed 0x",
        "missed  is_missed  expected incorrect, and none of 3 seeds was",
        "never reached by outcomes of fixture: what never happens",
        " of 8 tests, ",
        " of 3 kinds; ",
    ];
    for part in parts {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
    assert!(!told.contains('\x1b') && !told.contains("passing"), "{told}");
    assert_eq!(told.matches("of simulated time").count(), 3, "{told}");

    let results = scratch.results();
    let of = |test: &str| results.iter().filter(|line| line["test"] == test).count();
    assert_eq!([of("passes"), of("has_one_seed"), of("runs_at_night"), of("spins")], [20, 1, 1, 4]);
    assert!(of("is_caught") < 50, "a test is done with the outcome that it expects");
    let failed: Vec<&Value> =
        results.iter().filter(|line| line["test"] == "reads_stale_values" && line["expected"] == false).collect();
    let signatures: BTreeSet<&str> = failed.iter().filter_map(|line| line["signature"].as_str()).collect();
    assert!(failed.len() > 1 && signatures.len() == 1, "{failed:?}");
    assert!(
        results.iter().all(|line| line["log"].is_null() && line["wall_ms"].is_u64() && line["package"] == "fixture")
    );

    let again = sim_in_fixture(&["sweep", "outcomes::", "--out", scratch.name()]);
    assert_eq!((again.status.code(), scratch.results().len()), (Some(3), results.len()), "{}", stdout(&again));
    assert!(stderr(&again).contains(" are done"), "{}", stderr(&again));
    let story =
        |told: &str| told.lines().filter(|line| !line.contains("seeds/s")).map(String::from).collect::<Vec<_>>();
    assert_eq!(story(&told), story(&stdout(&again)));
}

#[test]
fn a_sweep_that_is_as_expected_ends_with_zero() {
    let scratch = Scratch::new("expected");
    for (test, seeds) in [("passes", 5), ("has_one_seed", 1), ("is_caught", 0), ("in_an_example", 5)] {
        let output = sim_in_fixture(&[
            "sweep",
            test,
            "--seeds",
            "50",
            "--start",
            "0x10",
            "--jobs",
            "1",
            "--out",
            scratch.name(),
        ]);
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        let count = scratch.results().iter().filter(|line| line["test"] == test).count();
        assert!(count >= seeds && count <= 50, "{count}");
    }
}

#[test]
fn an_expectation_that_is_missed_is_vacuous_unless_other_shards_may_meet_it() {
    let scratch = Scratch::new("missed");
    let sweep =
        |more: &[&str]| sim_in_fixture(&[&["sweep", "--exact", "is_missed", "--out", scratch.name()], more].concat());
    assert_eq!(sweep(&["--shard", "2/2"]).status.code(), Some(0));
    let seeds: Vec<Value> = scratch.results().iter().map(|line| line["seed"].clone()).collect();
    assert_eq!(seeds, ["0x1"]);
    assert_eq!(sweep(&[]).status.code(), Some(9));
}

#[test]
fn tests_of_the_night_get_their_seeds_at_night() {
    let scratch = Scratch::new("night");
    let mut sweep = in_fixture(&["sweep", "runs_at_night", "--out", scratch.name()]);
    let output = sweep.env("SIM_TIER", "nightly").output().expect("it starts");
    assert_eq!((output.status.code(), scratch.results().len()), (Some(0), 30), "{}", stdout(&output));
}

#[test]
fn checked_seeds_are_run_twice_and_count_for_more() {
    let scratch = Scratch::new("checked");
    let sweep =
        |more: &[&str]| sim_in_fixture(&[&["sweep", "passes", "--seeds", "3", "--out", scratch.name()], more].concat());
    for (more, lines) in [(&[][..], 3), (&["--check"], 6), (&["--check"], 6), (&[], 6)] {
        assert_eq!((sweep(more).status.code(), scratch.results().len()), (Some(0), lines), "{more:?}");
    }
}

#[test]
fn a_filter_that_matches_nothing_is_answered_with_the_nearest_names() {
    let output = sim_in_fixture(&["sweep", "pases"]);
    assert_refused(&output, "no simulated test is called pases; the nearest names are\n  passes\n");
}

/// A sweep of the slow test that has begun.
#[expect(clippy::disallowed_methods, reason = "waits for a real process")]
fn slow_sweep(scratch: &Scratch) -> Child {
    let mut sweep = in_fixture(&["sweep", "takes_a_while", "--jobs", "2", "--out", scratch.name()]);
    let mut child = sweep.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    while scratch.results().len() < 20 {
        assert!(child.try_wait().expect("it is a child").is_none(), "the sweep is over already");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[track_caller]
fn assert_each_seed_once(results: &[Value]) {
    let seeds: BTreeSet<&str> = results.iter().filter_map(|line| line["seed"].as_str()).collect();
    assert_eq!((results.len(), seeds.len()), (300, 300));
    assert!(results.iter().all(|line| line["outcome"] == "passed"), "{results:?}");
}

#[test]
fn a_sweep_that_is_killed_goes_on_where_it_was() {
    let scratch = Scratch::new("killed");
    let mut killed = slow_sweep(&scratch);
    killed.kill().expect("it runs");
    killed.wait().expect("it is a child");
    let before = scratch.results().len();
    assert!((20..300).contains(&before), "{before}");

    let output = sim_in_fixture(&["sweep", "takes_a_while", "--out", scratch.name()]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stderr(&output).contains(&format!(": {before} of 300 seeds are done")), "{}", stderr(&output));
    assert_each_seed_once(&scratch.results());
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_is_killed_is_replaced_and_its_seed_run_again() {
    let scratch = Scratch::new("servers");
    let mut sweep = slow_sweep(&scratch);
    let children = fs::read_dir(format!("/proc/{}/task", sweep.id())).expect("it runs").flat_map(|thread| {
        let children = thread.expect("a thread").path().join("children");
        fs::read_to_string(children).unwrap_or_default().split_whitespace().map(String::from).collect::<Vec<_>>()
    });
    let children: Vec<String> = children.collect();
    assert_eq!(children.len(), 2, "one server for each job");
    let killed = Command::new("kill").arg("-9").args(&children).status().expect("kill is there");
    assert!(killed.success() && sweep.wait().expect("it is a child").success());
    assert_each_seed_once(&scratch.results());
}

// Replays.

#[test]
fn a_replay_shows_the_events_and_ends_as_the_run_did() {
    let scratch = Scratch::new("replay");
    sim_in_fixture(&["sweep", "reads_stale", "--out", scratch.name()]);
    for (failed, code) in [(false, 3), (true, 0)] {
        let results = scratch.results();
        let line = results.iter().find(|line| line["expected"] == failed).expect("some seeds fail, others pass");
        let seed = line["seed"].as_str().expect("a text");
        let output = sim_in_fixture(&["replay", "stale", seed]);
        let told = stdout(&output);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains("reads_stale_values: ") && told.contains("an \\u{1b}[31mescape"), "{told}");
        assert!(!told.contains('\x1b'));

        let json: Value =
            serde_json::from_str(&stdout(&sim_in_fixture(&["replay", "--json", "stale", seed]))).expect("JSON");
        assert_eq!((&json["digest"], &json["message"]), (&line["digest"], &line["message"]));
        assert_eq!(
            told.split("\n\n").next().map(|events| events.lines().count()),
            json["log"].as_array().map(Vec::len)
        );
        let quiet = stdout(&sim_in_fixture(&["replay", "--quiet", "stale", seed]));
        assert!(told.ends_with(&quiet) && quiet.starts_with("reads_stale_values"), "{quiet}");
    }
}

#[test]
fn the_line_to_replay_with_can_be_typed() {
    let scratch = Scratch::new("typed");
    let told = stdout(&sim_in_fixture(&["sweep", "is_caught", "--out", scratch.name()]));
    let (_, line) = told.split_once("replay: cargo sim ").expect("a line to type");
    let words: Vec<&str> = line.lines().next().unwrap_or_default().split(' ').collect();
    assert_eq!(sim_in_fixture(&words).status.code(), Some(4), "{words:?}");
}

#[test]
fn a_name_of_several_tests_is_answered_with_all_of_them() {
    let output = sim_in_fixture(&["replay", "is_", "1"]);
    assert_refused(&output, "write one of\n  is_caught\n  is_missed");
}
