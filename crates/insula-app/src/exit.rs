//! How a command ends: the exit codes, and errors that say what to do next.

use std::{fmt::Display, io, process::ExitCode};

use crate::output::Output;

/// What is to be done about an answer that was refused.
pub(crate) const STILL_OPEN: &str = "`insula inbox` shows what is asked; the question is still open";

/// What `--help` says of the codes.
pub(crate) const CODES: &str = "\
Exit codes:
  0    done
  1    the run failed, or a check did not hold
  2    the command line or the input was not understood
  3    the configuration is not valid
  4    the storage, or the server, is unavailable or broken
  5    not found: no such agent, run, question or schedule
  6    not allowed: no key, one that is not valid, or one that may not do this
  130  interrupted; what was running is cancelled";

/// Why a command ends without success. The numbers are the documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Whoever read the output has closed it, and has read enough: no error.
    Closed = 0,
    Failed = 1,
    Usage = 2,
    Configuration = 3,
    Storage = 4,
    NotFound = 5,
    NotAllowed = 6,
    Interrupted = 130,
}

/// A command ends early, or without what was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Stop {
    pub kind: Kind,
    /// Everything has been said already.
    pub silent: bool,
    pub message: String,
    /// What the layers below said, on one line.
    pub cause: Option<String>,
    /// What to do next.
    pub advice: Option<String>,
}

impl Stop {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, silent: false, message: message.into(), cause: None, advice: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn configuration(message: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, message)
    }

    /// Ends with a code; whatever there was to say is said.
    pub(crate) fn silently(kind: Kind) -> Self {
        Self { silent: true, ..Self::new(kind, "") }
    }

    /// What to do next.
    pub(crate) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// What a layer below said.
    pub(crate) fn because(self, cause: impl Display) -> Self {
        Self { cause: Some(one_line(&cause.to_string())), ..self }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The sources of an error, outermost first, each once.
fn chain(error: &dyn std::error::Error) -> Option<String> {
    let mut said = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        let words = source.to_string();
        if !said.iter().any(|earlier| earlier.contains(&words)) {
            said.push(words);
        }
        next = source.source();
    }
    (said.len() > 1).then(|| one_line(&said[1..].join(": ")))
}

/// What is at the bottom of an error, if it is not on its surface.
pub(crate) fn root(error: &dyn std::error::Error) -> Option<String> {
    let mut last = error.source()?;
    while let Some(source) = last.source() {
        last = source;
    }
    Some(one_line(&last.to_string()))
}

impl From<insula_infra::Error> for Stop {
    fn from(error: insula_infra::Error) -> Self {
        let kind = match error {
            insula_infra::Error::RunExists { .. } => Kind::Usage,
            insula_infra::Error::InvalidCursor { .. } => Kind::Usage,
            insula_infra::Error::ThreadExists { .. } | insula_infra::Error::ThreadForked { .. } => Kind::Usage,
            insula_infra::Error::ThreadBusy { .. } => Kind::Usage,
            _ => Kind::Storage,
        };
        let advice = (kind == Kind::Storage).then(|| "`insula doctor` looks at the storage in detail".to_owned());
        Self { cause: chain(&error), advice, ..Self::new(kind, error.to_string()) }
    }
}

impl From<insula_engine::Error> for Stop {
    fn from(error: insula_engine::Error) -> Self {
        use insula_engine::Error;
        match error {
            Error::Storage(error) => error.into(),
            Error::Context(error) => error.into(),
            Error::Input(error) => error.into(),
            Error::Factory(insula_factory::Error::Class(error)) => error.into(),
            Error::Factory(error) => Self::configuration(error.to_string()),
            Error::Answer { .. } => Self::usage(error.to_string()).advise(STILL_OPEN),
            Error::Schedule { .. } => {
                Self::usage(error.to_string()).advise("`insula schedule add --help` has examples")
            }
            error => Self { cause: chain(&error), ..Self::failed(error.to_string()) },
        }
    }
}

impl From<insula_registry::Error> for Stop {
    fn from(error: insula_registry::Error) -> Self {
        match error {
            insula_registry::Error::UnknownClass { .. } => {
                Self::new(Kind::NotFound, error.to_string()).advise("`insula agents` says what each of them does")
            }
            insula_registry::Error::Input { ref class, .. } => {
                Self::usage(error.to_string()).advise(format!("`insula agents {class}` shows what it wants"))
            }
            error => Self::failed(error.to_string()),
        }
    }
}

impl From<insula_context::Error> for Stop {
    fn from(error: insula_context::Error) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<io::Error> for Stop {
    /// Of printing.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::silently(Kind::Closed);
        }
        Self::failed("the output could not be written").because(error)
    }
}

/// Says what went wrong, and turns it into the exit code.
pub(crate) fn code(ended: Result<(), Stop>, output: &Output) -> ExitCode {
    let ended = ended.and_then(|()| output.flush().map_err(Stop::from));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if !stop.silent {
                output.complain(&stop);
            }
            ExitCode::from(stop.kind as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_that_the_help_lists() {
        let kinds = [Kind::Failed, Kind::Usage, Kind::Configuration, Kind::Storage, Kind::NotFound];
        for kind in kinds.into_iter().chain([Kind::NotAllowed, Kind::Interrupted]) {
            let number = (kind as u8).to_string();
            assert!(CODES.lines().any(|line| line.trim().split(' ').next() == Some(&number)), "{kind:?}");
        }
    }

    #[test]
    fn a_cause_is_one_line_and_repeats_nothing() {
        let inner = io::Error::other("the disk\nis gone");
        let error = insula_infra::Error::Database {
            file: "a.db".to_owned(),
            problem: "it cannot be opened".to_owned(),
            source: Some(std::sync::Arc::new(inner)),
        };
        let stop = Stop::from(error);
        assert_eq!((stop.kind, stop.cause.as_deref()), (Kind::Storage, Some("the disk is gone")));
        assert_eq!(stop.message, "a.db: it cannot be opened");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let stop = Stop::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((stop.kind as u8, stop.silent), (0, true));
    }
}
