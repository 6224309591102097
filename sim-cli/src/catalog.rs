//! The simulated tests of the executables, and how people name them.

use sim_host::zygote::TestInfo;

use crate::arguments::Build;
use crate::build::{self, Executable};
use crate::host;
use crate::stop::Stop;
use crate::text::inline;

/// A simulated test.
#[derive(Clone, Debug)]
pub(crate) struct Test {
    /// What its executable says of it.
    pub(crate) info: TestInfo,
    /// Its executable: an index into [`Catalog::executables`].
    pub(crate) executable: usize,
    /// The target of the executable.
    pub(crate) target: String,
    /// The shortest name that no other test has.
    pub(crate) label: String,
}

impl Test {
    /// Its names, from the shortest to the one that says all.
    fn names(&self) -> [String; 3] {
        let TestInfo { name, package, .. } = &self.info;
        let target = &self.target;
        [name.clone(), format!("{target}::{name}"), format!("{package}::{target}::{name}")]
    }

    fn full_name(&self) -> String {
        let [_, _, full] = self.names();
        full
    }

    /// What to type next to see a seed of it again.
    pub(crate) fn next_steps(&self, seed: u64, build: &Build) -> [(&'static str, String); 2] {
        let (seed, TestInfo { name, package, .. }) = (sim_core::Seed(seed), &self.info);
        let replay = [&["cargo sim replay".to_string(), self.label.clone(), seed.to_string()], &*build.words()];
        let test = format!("SIM_SEED={seed} cargo test -p {package} {name} -- --exact");
        [("replay", replay.concat().join(" ")), ("test", test)]
    }
}

/// Everything that was built and can be simulated.
pub(crate) struct Catalog {
    /// The executables.
    pub(crate) executables: Vec<Executable>,
    /// Their tests, in the order of their names.
    pub(crate) tests: Vec<Test>,
}

impl Catalog {
    /// Builds the tests, and asks every executable which simulated ones it has.
    pub(crate) fn build(build: &Build) -> Result<Catalog, Stop> {
        if !sim_host::HAS_PROCESSES {
            return Err(Stop::Usage("this system cannot serve runs in processes of their own: use cargo test".into()));
        }
        let executables = build::executables(build)?;
        let mut tests = Vec::new();
        for (index, executable) in executables.iter().enumerate() {
            for info in host::tests_of(executable)? {
                let target = executable.target.clone();
                tests.push(Test { label: String::new(), info, executable: index, target });
            }
        }
        if tests.is_empty() {
            return Err(Stop::Usage(no_tests(&executables)));
        }
        Ok(Catalog { executables, tests: labelled(tests) })
    }

    /// The tests whose name contains `filter`, or is it.
    pub(crate) fn select(&self, filter: Option<&str>, exact: bool) -> Result<Vec<Test>, Stop> {
        let Some(filter) = filter else { return Ok(self.tests.clone()) };
        let found = if exact { self.called(filter) } else { self.containing(filter) };
        if found.is_empty() { Err(self.no_such(filter)) } else { Ok(found.into_iter().cloned().collect()) }
    }

    /// The one test of that name, else the one whose name contains it.
    pub(crate) fn find(&self, name: &str) -> Result<&Test, Stop> {
        let exact = self.called(name);
        let found = if exact.is_empty() { self.containing(name) } else { exact };
        match &*found {
            [test] => Ok(test),
            [] => Err(self.no_such(name)),
            many => {
                let labels: Vec<&str> = many.iter().map(|test| &*test.label).collect();
                let problem = format!("{} tests are called {}; write one of", many.len(), inline(name));
                Err(Stop::Usage(format!("{problem}\n{}", indented(&labels))))
            }
        }
    }

    fn called(&self, name: &str) -> Vec<&Test> {
        self.tests.iter().filter(|test| test.names().iter().any(|known| known == name)).collect()
    }

    /// The tests with this part in their names; if there is none, in their names with target and package.
    fn containing(&self, part: &str) -> Vec<&Test> {
        let by = |name: fn(&Test) -> String| self.tests.iter().filter(move |test| name(test).contains(part));
        let found: Vec<&Test> = by(|test| test.info.name.clone()).collect();
        if found.is_empty() { by(Test::full_name).collect() } else { found }
    }

    /// Nothing has that name; these come near.
    fn no_such(&self, name: &str) -> Stop {
        const SHOWN: usize = 5;
        let mut near: Vec<&Test> = self.tests.iter().collect();
        near.sort_by(|a, b| likeness(b, name).total_cmp(&likeness(a, name)));
        let labels: Vec<&str> = near.iter().take(SHOWN).map(|test| &*test.label).collect();
        let name = inline(name);
        Stop::Usage(format!(
            "no simulated test is called {name}; the nearest names are\n{}\n`cargo sim list` shows all {}",
            indented(&labels),
            self.tests.len()
        ))
    }
}

fn no_tests(executables: &[Executable]) -> String {
    let targets: Vec<&str> = executables.iter().map(|executable| &*executable.target).collect();
    let built = if targets.is_empty() { "nothing".to_string() } else { targets.join(", ") };
    format!(
        "there is no simulated test in what was built ({built}): put #[sim::test] on an `async fn` in src/ or tests/, \
         or name another package with --package"
    )
}

/// Sorts tests and gives each the shortest name that no other has. The unit tests of a library and a binary may be
/// compiled from the same file: the first is enough.
fn labelled(mut tests: Vec<Test>) -> Vec<Test> {
    tests.sort_by_cached_key(Test::full_name);
    tests.dedup_by_key(|test| test.full_name());
    let names: Vec<[String; 3]> = tests.iter().map(Test::names).collect();
    for (test, own) in tests.iter_mut().zip(&names) {
        let taken = |name: &String| names.iter().flatten().filter(|other| *other == name).count() > 1;
        let [_, _, full] = own;
        test.label = own.iter().find(|name| !taken(name)).unwrap_or(full).clone();
    }
    tests
}

/// How near a test's name comes to what was typed: the whole name, or its last part.
fn likeness(test: &Test, typed: &str) -> f64 {
    let last = test.info.name.rsplit("::").next().unwrap_or_default();
    strsim::jaro_winkler(&test.label, typed).max(strsim::jaro_winkler(last, typed))
}

fn indented(names: &[&str]) -> String {
    names.iter().map(|name| format!("  {name}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(package: &str, target: &str, name: &str) -> Test {
        let info = TestInfo {
            name: name.into(),
            package: package.into(),
            file: String::new(),
            seeds: 1,
            seed: None,
            nightly: false,
            expect: None,
            marks: Vec::new(),
        };
        Test { info, executable: 0, target: target.into(), label: String::new() }
    }

    fn catalog() -> Catalog {
        let tests =
            vec![test("p", "a", "reads"), test("p", "b", "reads"), test("q", "b", "writes"), test("q", "b", "writes")];
        Catalog { executables: Vec::new(), tests: labelled(tests) }
    }

    #[test]
    fn a_label_is_as_short_as_it_can_be() {
        let labels: Vec<String> = catalog().tests.into_iter().map(|test| test.label).collect();
        assert_eq!(labels, ["a::reads", "b::reads", "writes"]);
    }

    #[test]
    fn a_label_finds_its_test_and_so_does_a_part_of_it() {
        let catalog = catalog();
        for test in &catalog.tests {
            assert_eq!(catalog.find(&test.label).expect("its label").label, test.label);
        }
        assert_eq!(catalog.find("wri").expect("a part").label, "writes");
    }

    #[test]
    fn a_name_of_two_tests_is_answered_with_both() {
        let message = catalog().find("reads").expect_err("two").to_string();
        assert_eq!(message, "2 tests are called reads; write one of\n  a::reads\n  b::reads");
    }

    #[test]
    fn a_name_of_no_test_is_answered_with_the_nearest() {
        let message = catalog().select(Some("wirtes"), false).expect_err("none").to_string();
        assert!(message.contains("the nearest names are\n  writes\n"), "{message}");
    }
}
