//! Reads what a test runner prints. The totals are the runner's own summary; the single lines are read to
//! know which suite a test belongs to.

use std::collections::BTreeMap;

use crate::suites;

/// Passed, failed, left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Count {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Ignored => self.ignored += 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Ignored,
}

#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// By the runner's own summary; `ignored` as the runner counts it, which in nextest is also what a
    /// filter left out.
    pub(crate) total: Count,
    pub(crate) by_suite: BTreeMap<String, Count>,
    /// The package whose tests libtest is naming now.
    package: String,
    /// What comes after nextest's summary repeats failures, and must not be counted twice.
    nextest_has_summed_up: bool,
}

impl Transcript {
    pub(crate) fn read_nextest(&mut self, line: &str) {
        if self.nextest_has_summed_up {
            return;
        }
        if let Some(total) = nextest_summary(line) {
            self.total = total;
            self.nextest_has_summed_up = true;
        } else if let Some((outcome, package, test)) = nextest_test(line) {
            self.count(suites::of(package, test), outcome);
        }
    }

    pub(crate) fn read_libtest(&mut self, line: &str) {
        if let Some(package) = libtest_package(line) {
            self.package = package;
        } else if let Some(count) = libtest_summary(line) {
            self.total.passed += count.passed;
            self.total.failed += count.failed;
            self.total.ignored += count.ignored;
        } else if let Some((outcome, test)) = libtest_test(line) {
            let suite = if self.package == DOC_TESTS { DOC_TESTS } else { suites::of(&self.package, test) };
            let suite = suite.to_owned();
            self.count(&suite, outcome);
        }
    }

    fn count(&mut self, suite: &str, outcome: Outcome) {
        self.by_suite.entry(suite.to_owned()).or_default().add(outcome);
    }
}

const DOC_TESTS: &str = "docs";

/// `Summary [   0.1s] 4 tests run: 3 passed (1 leaky), 1 failed, 2 skipped`, or `3/4 tests run` when cut short.
fn nextest_summary(line: &str) -> Option<Count> {
    let (_, rest) = line.trim_start().strip_prefix("Summary [")?.split_once("] ")?;
    let (run, outcomes) = rest.split_once(" run:")?;
    let run: u64 = run.split([' ', '/']).next()?.parse().ok()?;
    let passed = number_before(outcomes, " passed").unwrap_or(0);
    Some(Count {
        passed,
        failed: run.saturating_sub(passed),
        ignored: number_before(outcomes, " skipped").unwrap_or(0),
    })
}

/// `PASS [   0.007s] ( 1/20) insula-tests::it context::one`
fn nextest_test(line: &str) -> Option<(Outcome, &str, &str)> {
    let (status, rest) = line.trim_start().split_once(" [")?;
    let outcome = match status {
        "PASS" | "LEAK" => Outcome::Passed,
        "SKIP" => Outcome::Ignored,
        "FAIL" | "TIMEOUT" | "ABORT" | "LEAK-FAIL" | "XFAIL" => Outcome::Failed,
        signal if signal.starts_with("SIG") => Outcome::Failed,
        _ => return None,
    };
    let after_time = rest.split_once(']')?.1.trim_start();
    let counted = after_time.strip_prefix('(').and_then(|counter| counter.split_once(')'));
    let mut words = counted.map_or(after_time, |(_, named)| named).split_whitespace();
    let package = words.next()?.split("::").next()?;
    Some((outcome, package, words.next()?))
}

/// `Running tests/it/main.rs (target/debug/deps/it-3ce4)` or `Doc-tests insula_agent`
fn libtest_package(line: &str) -> Option<String> {
    let line = line.trim_start();
    if line.starts_with("Doc-tests ") {
        return Some(DOC_TESTS.into());
    }
    let file = line.strip_prefix("Running ")?.strip_suffix(')')?.rsplit(['/', '\\', '(']).next()?;
    let target = file.rsplit_once('-').map_or(file, |(target, _hash)| target);
    Some(if target == "it" { suites::PROMISES.into() } else { target.replace('_', "-") })
}

/// `test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`
fn libtest_summary(line: &str) -> Option<Count> {
    let rest = line.strip_prefix("test result: ")?;
    Some(Count {
        passed: number_before(rest, " passed;")?,
        failed: number_before(rest, " failed;")?,
        ignored: number_before(rest, " ignored;")?,
    })
}

/// `test context::one ... ok`, `test context::two ... ignored, why`
fn libtest_test(line: &str) -> Option<(Outcome, &str)> {
    let (test, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match result {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed,
        _ if result.starts_with("ignored") => Outcome::Ignored,
        _ => return None,
    };
    Some((outcome, test))
}

fn number_before(text: &str, word: &str) -> Option<u64> {
    text.split_once(word)?.0.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXTEST: &str = "\
    Starting 4 tests across 2 binaries (1 test skipped)
        SKIP [         ] (───) insula-tests::it cost::later
        PASS [   0.007s] ( 1/14) insula-tests::it context::one
     SIGABRT [   0.001s] ( 2/14) insula-tests::it context::two
        PASS [   0.002s] ( 3/14) xtask::bin/xtask layers::holds
        FAIL [   0.127s] (14/14) insula-engine admits
     Summary [   0.128s] 4 tests run: 2 passed, 2 failed, 1 skipped
        FAIL [   0.127s] (14/14) insula-engine admits
  stdout ───
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out; finished in 0.12s
";

    const LIBTEST: &str = "\
     Running unittests src/lib.rs (target/debug/deps/insula_sqlite-9949de8168e972d0)
running 2 tests
test journal::appends ... ok
test journal::skips ... ignored, for a reason
test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
     Running tests/it/main.rs (target/debug/deps/it-3ce40ae7e151d9ea)
test context::one ... FAILED
test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.08s
error: test failed, to rerun pass `--test it`
   Doc-tests insula_context
test crates/insula-context/src/lib.rs - (line 3) - compile ... ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    fn count(passed: u64, failed: u64, ignored: u64) -> Count {
        Count { passed, failed, ignored }
    }

    #[test]
    fn nextest_is_counted_once_and_by_suite() {
        let mut transcript = Transcript::default();
        NEXTEST.lines().for_each(|line| transcript.read_nextest(line));
        assert_eq!(transcript.total, count(2, 2, 1));
        assert_eq!(transcript.by_suite["context"], count(1, 1, 0));
        assert_eq!(transcript.by_suite["cost"], count(0, 0, 1));
        assert_eq!(transcript.by_suite["layers"], count(1, 0, 0));
        assert_eq!(transcript.by_suite["unit"], count(0, 1, 0));
    }

    #[test]
    fn libtest_is_summed_over_binaries_and_by_suite() {
        let mut transcript = Transcript::default();
        LIBTEST.lines().for_each(|line| transcript.read_libtest(line));
        assert_eq!(transcript.total, count(2, 1, 1));
        assert_eq!(transcript.by_suite["conformance"], count(1, 0, 1));
        assert_eq!(transcript.by_suite["context"], count(0, 1, 0));
        assert_eq!(transcript.by_suite["docs"], count(1, 0, 0));
    }

    #[test]
    fn a_run_cut_short_counts_what_ran() {
        let line = "     Summary [   0.1s] 3/9 tests run: 1 passed (1 leaky), 1 failed, 1 timed out, 6 skipped";
        assert_eq!(nextest_summary(line), Some(count(1, 2, 6)));
    }

    #[test]
    fn a_run_without_a_summary_counts_nothing() {
        let mut transcript = Transcript::default();
        transcript.read_nextest("error[E0308]: mismatched types");
        transcript.read_libtest("error[E0308]: mismatched types");
        assert_eq!(transcript.total, Count::default());
    }
}
