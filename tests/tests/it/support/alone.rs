//! Measuring memory: in a process of its own, so that other tests beside it do not count.

use std::process::Command;

const ALONE: &str = "INSULA_TEST_ALONE";

/// Runs `measure` in a process in which nothing else runs. `test` is the full name of the calling test.
pub(crate) fn alone(test: &str, measure: impl FnOnce()) {
    if std::env::var_os(ALONE).is_some() {
        return measure();
    }
    let myself = std::env::current_exe().unwrap();
    let mut child = Command::new(myself);
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ALONE, "1");
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("1 passed"), "no test is called {test}:\n{said}");
    print!("{said}");
}

/// The memory that this process holds, as the system counts it.
pub(crate) fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let resident: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    resident * 4_096
}
