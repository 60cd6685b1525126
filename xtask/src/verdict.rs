//! How a command ends: what passed, what failed, and a sentence for whatever is not a test.

use std::process::ExitCode;

/// What really ran. `passed` counts tests only; `failed` counts failed tests and every other thing that went
/// wrong, so that it is zero exactly when the exit code is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    complaints: Vec<String>,
}

impl Verdict {
    pub(crate) fn of_tests(passed: u64, failed: u64) -> Self {
        Self { passed, failed, complaints: Vec::new() }
    }

    pub(crate) fn of_error(error: &anyhow::Error) -> Self {
        let mut verdict = Self::default();
        verdict.complain(format!("{error:#}"));
        verdict
    }

    /// Something other than a test failed: a command, a rule, a suite in which nothing ran.
    pub(crate) fn complain(&mut self, complaint: impl Into<String>) {
        self.failed += 1;
        self.complaints.push(complaint.into());
    }

    pub(crate) fn absorb(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.complaints.extend(other.complaints);
    }

    /// Ends with the line `N passed, N failed` where tests were to be counted.
    pub(crate) fn print(&self, counts_tests: bool) {
        for complaint in &self.complaints {
            println!("failed: {complaint}");
        }
        if counts_tests {
            println!("{}", self.last_line());
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn last_line(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_says_zero_failed_after_a_complaint() {
        let mut verdict = Verdict::of_tests(3, 0);
        verdict.complain("clippy");
        assert_eq!(verdict.last_line(), "3 passed, 1 failed");
    }

    #[test]
    fn absorbing_keeps_both_sides() {
        let mut verdict = Verdict::of_tests(3, 1);
        verdict.absorb(Verdict::of_tests(4, 2));
        assert_eq!(verdict.last_line(), "7 passed, 3 failed");
    }
}
