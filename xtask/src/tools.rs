//! Programs that some suites need beside Rust: found on the machine, else installed by package name where this is Debian and
//! we are root, with a line that says so. What is still missing is for the suite to complain of.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::cargo;
use crate::services::found;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Python,
    Node,
    Chromium,
    Curl,
    Postgres,
    Redis,
}

impl Tool {
    const ALL: [Self; 6] = [Self::Python, Self::Node, Self::Chromium, Self::Curl, Self::Postgres, Self::Redis];
    /// Those that [`services`](crate::services) starts.
    pub(crate) const SERVICES: [Self; 2] = [Self::Postgres, Self::Redis];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Chromium => "chromium",
            Self::Curl => "curl",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
        }
    }

    /// Debian's names of what brings it.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Python => &["python3", "python3-venv"],
            Self::Node => &["nodejs", "npm"],
            Self::Chromium => &["chromium"],
            Self::Curl => &["curl"],
            Self::Postgres => &["postgresql"],
            Self::Redis => &["redis-server"],
        }
    }

    /// Commands that succeed where it is there and good enough.
    fn probes(self) -> &'static [&'static [&'static str]] {
        match self {
            // Debian's python3 has no way to make an environment without python3-venv.
            Self::Python => &[&["python3", "-c", "import sys, venv, ensurepip; assert sys.version_info >= (3, 10)"]],
            Self::Node => &[
                &["node", "-e", "process.exit(Number(process.versions.node.split('.')[0]) < 18 ? 1 : 0)"],
                &["npm", "--version"],
            ],
            Self::Chromium => &[&["chromium", "--version"]],
            Self::Curl => &[&["curl", "--version"]],
            // Debian keeps it where no path leads.
            Self::Postgres => &[],
            Self::Redis => &[&["redis-server", "--version"]],
        }
    }

    fn is_there(self) -> bool {
        let is_found = self != Self::Postgres || found::postgres().is_some();
        is_found && self.probes().iter().all(|words| answers(words))
    }
}

/// Reads `python,node`.
pub(crate) fn parse(list: &str) -> Result<Vec<Tool>> {
    let named = |word: &str| match Tool::ALL.into_iter().find(|tool| tool.name() == word) {
        Some(tool) => Ok(tool),
        None => bail!("`{word}` is nothing to go without; there are: {}", names(&Tool::ALL)),
    };
    list.split(',').map(named).collect()
}

pub(crate) fn names(tools: &[Tool]) -> String {
    tools.iter().map(|tool| tool.name()).collect::<Vec<_>>().join(", ")
}

/// Those of the wanted that are missing, after an attempt to install them.
pub(crate) fn missing(wanted: &[Tool]) -> Result<Vec<Tool>> {
    let absent = |tools: &[Tool]| tools.iter().copied().filter(|tool| !tool.is_there()).collect::<Vec<_>>();
    let missing = absent(wanted);
    if missing.is_empty() || !may_install() {
        return Ok(missing);
    }
    install(&missing)?;
    Ok(absent(&missing))
}

fn may_install() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    is_root && answers(&["apt-get", "--version"])
}

fn install(tools: &[Tool]) -> Result<()> {
    let packages: Vec<&str> = tools.iter().flat_map(|tool| tool.packages()).copied().collect();
    println!("installing Debian's packages: {}", packages.join(", "));
    let _quiet = NothingStarts::begin()?;
    cargo::succeeds(&mut quietly(&["apt-get", "update"]))?;
    let mut command = quietly(&["apt-get", "install", "--yes", "--no-install-recommends"]);
    cargo::succeeds(command.args(packages).env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// As long as it lives, a package that is installed starts no server: Debian asks this program whether it may. The tests
/// start their own, and what was not asked for should not listen.
struct NothingStarts {
    is_ours: bool,
}

impl NothingStarts {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn begin() -> Result<Self> {
        let is_ours = !Path::new(Self::POLICY).exists();
        if is_ours {
            fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n")?;
            fs::set_permissions(Self::POLICY, fs::Permissions::from_mode(0o755))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for NothingStarts {
    fn drop(&mut self) {
        if self.is_ours && fs::remove_file(Self::POLICY).is_err() {
            println!("could not remove {}: do so, or nothing that is installed later is started", Self::POLICY);
        }
    }
}

fn answers(words: &[&str]) -> bool {
    quietly(words).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn quietly(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_tool_is_answered_with_the_tools() {
        assert_eq!(parse("python,node").unwrap(), [Tool::Python, Tool::Node]);
        assert_eq!(parse("postgres,redis").unwrap(), Tool::SERVICES);
        let message = parse("python,nodejs").unwrap_err().to_string();
        assert!(
            message.contains("`nodejs`") && message.contains("python, node, chromium, curl, postgres, redis"),
            "{message}"
        );
    }

    #[test]
    fn a_program_that_is_not_there_does_not_answer() {
        assert!(answers(&["sh", "-c", "exit 0"]));
        assert!(!answers(&["sh", "-c", "exit 1"]));
        assert!(!answers(&["no-program-has-this-name"]));
    }
}
