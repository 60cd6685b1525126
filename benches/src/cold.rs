//! From the start of the process to its first finished run, and what it holds then.

use std::{path::Path, process::Command, time::Instant};

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
    report.figure("start to exit after a finished run, median", millis[TIMES / 2], "ms", Target::AtMost(50.0));
    Ok(())
}
