//! From the start of the process to its first finished run, and what it holds then.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::report::{Report, Target};

const TIMES: usize = 15;

pub(crate) fn measure(report: &mut Report, insula: &Path) -> Result<()> {
    report.section("cold start: `insula run echo` with a new database");
    ensure!(insula.exists(), "{} is not there: build it with `cargo build --release`", insula.display());
    let mut millis = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let folder = tempfile::tempdir()?;
        let began = Instant::now();
        let output = Command::new(insula.canonicalize()?)
            .args(["run", "echo", "salve"])
            .current_dir(folder.path())
            .env("INSULA_DATA_DIR", folder.path().join("data"))
            .output()?;
        millis.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    millis.sort_by(f64::total_cmp);
    report.figure("resident while a run sleeps", resident_while_waiting(insula)?, "MB", Target::AtMost(20.0));
    report.figure("start to exit after a finished run, median", millis[TIMES / 2], "ms", Target::AtMost(50.0));
    Ok(())
}

/// A process with an open database and one run that waits.
fn resident_while_waiting(insula: &Path) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let mut process = Command::new(insula.canonicalize()?)
        .args(["run", "sleep", "3000"])
        .current_dir(folder.path())
        .env("INSULA_DATA_DIR", folder.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::sleep(Duration::from_secs(1));
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    process.kill()?;
    process.wait()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap_or_default().parse()?;
    Ok(kilobytes / 1_024.0)
}
