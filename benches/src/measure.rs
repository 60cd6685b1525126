//! Processor time and memory of this process, as Linux counts them.

use std::{fs, time::Duration};

/// `USER_HZ`: the unit of `/proc/self/stat`, 100 on every Linux that Rust supports.
const TICKS_PER_SECOND: u64 = 100;
const PAGE: u64 = 4_096;

/// Processor time of all threads so far, in steps of 10 ms.
pub(crate) fn cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The command's name may contain spaces; what follows its bracket does not.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().filter_map(|n| fields.get(*n)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Resident memory in bytes.
pub(crate) fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE
}

/// Bytes of the database files in a folder. The write-ahead log is left out: it is used again and again.
pub(crate) fn on_disk(folder: &std::path::Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let databases = entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "db"));
    databases.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Does something on the first `cores` processors only; threads that it starts stay there too.
pub(crate) fn on_cores<T>(cores: usize, work: impl FnOnce() -> T) -> anyhow::Result<T> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let before = sched_getaffinity(None)?;
    let mut few = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|cpu| before.is_set(*cpu)).take(cores).for_each(|cpu| few.set(cpu));
    sched_setaffinity(None, &few)?;
    let done = work();
    sched_setaffinity(None, &before)?;
    Ok(done)
}
