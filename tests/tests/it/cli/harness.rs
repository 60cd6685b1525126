//! Starts the binary in a folder of its own, with an environment of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A binary of this workspace, beside the one that runs the tests.
pub(crate) fn binary(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "deps")).unwrap();
    let binary = folder.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is not there: run `cargo build --workspace` first", binary.display());
    binary
}

/// A working directory with nothing in it.
pub(super) struct Desk(TempDir);

/// What came of a command.
pub(super) struct Said {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Desk {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("insula"));
        // Nothing of whoever runs the tests: neither settings nor a time zone.
        command.args(arguments).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end. Whatever it says in a pipe is free of control characters.
    pub(super) fn insula(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }

    /// As [`Desk::insula`], for a command that must succeed.
    pub(super) fn ok(&self, arguments: &[&str]) -> Said {
        let said = self.insula(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {}{}", said.out, said.err);
        said
    }

    /// The one JSON value that a command prints.
    pub(super) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.insula(arguments);
        let parsed = serde_json::from_str(&said.out);
        parsed.unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}{}", said.out, said.err))
    }

    /// Runs an agent and answers with the run's id.
    pub(super) fn run_id(&self, arguments: &[&str]) -> String {
        let ended = self.json(&[&["run", "--json"], arguments].concat());
        ended["run_id"].as_str().unwrap().to_owned()
    }
}

impl Said {
    pub(super) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let said = Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        let strange = |c: char| c.is_control() && c != '\n';
        assert!(!said.out.contains(strange), "control characters in {:?}", said.out);
        assert!(!said.err.contains(strange), "control characters in {:?}", said.err);
        said
    }

    /// Fails with this code, and says all of these words on standard error.
    pub(super) fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        for word in words {
            assert!(self.err.contains(word), "{:?} should contain {word:?}", self.err);
        }
        for leak in ["panicked", "backtrace", "Error {", "Some("] {
            assert!(!self.err.contains(leak), "{:?}", self.err);
        }
    }

    /// The JSON values of the lines.
    pub(super) fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Whether a folder is entered by its owner alone.
pub(super) fn is_private(folder: &Path) -> bool {
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(folder).unwrap());
    mode & 0o777 == 0o700
}
