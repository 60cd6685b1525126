//! What the operating system says of the process. Only Linux does, in `/proc`; elsewhere nothing is said.

use std::fs;

/// Memory of the process that is in RAM, in bytes.
pub(super) fn resident_bytes() -> Option<u64> {
    resident_of(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Files and sockets that are open.
pub(super) fn open_files() -> Option<u64> {
    // One of them is the folder that is being read.
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?.checked_sub(1)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_of("Name:\tinsula\nVmRSS:\t   26500 kB\nThreads:\t9\n"), Some(27_136_000));
        assert_eq!(resident_of("Name:\tinsula\n"), None);
    }
}
