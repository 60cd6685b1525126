//! Runs cargo, and listens to it.

use std::io::{BufRead, BufReader, pipe};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// The root of the workspace: this package's parent folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies one folder below the root")
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command in the open; whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command.status().with_context(|| format!("cannot start {command:?}"))?;
    Ok(status.success())
}

/// Runs a command and hands over each line of its output, errors among the rest in the order they came.
pub(crate) fn listen(command: &mut Command, mut hear: impl FnMut(&str)) -> Result<bool> {
    let (reader, writer) = pipe()?;
    command.env("CARGO_TERM_COLOR", "never").stdin(Stdio::null());
    command.stderr(writer.try_clone()?).stdout(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    // The command keeps the writing ends; without letting go of them the last line would never come.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for line in BufReader::new(reader).split(b'\n') {
        hear(&String::from_utf8_lossy(&line?));
    }
    Ok(child.wait()?.success())
}

/// Whether cargo-nextest is installed. It is never installed from here: cargo's own runner does as well.
pub(crate) fn has_nextest() -> bool {
    command(&["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_hears_both_streams_and_the_exit_code() {
        let mut heard = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; printf last; exit 3"]);
        let succeeded = listen(&mut command, |line| heard.push(line.to_owned())).unwrap();
        assert_eq!((heard, succeeded), (vec!["out".into(), "err".into(), "last".into()], false));
    }
}
