//! The only way to print. Results go to standard output, everything else to standard error; a live view keeps the lower
//! lines of the terminal, and what is printed meanwhile appears above it.

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
};

use indicatif::{MultiProgress, ProgressDrawTarget};
use insula_context::Timestamp;
use owo_colors::{OwoColorize, Style};
use serde::Serialize;
use time::{OffsetDateTime, UtcOffset};

use crate::{
    environment::Environment,
    exit::{Kind, Stop},
    words,
};

/// Where and how to print.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// Whether machines read standard output.
    pub json: bool,
    /// Whether people read standard output on a terminal.
    pub results_on_terminal: bool,
    /// Whether people read standard error on a terminal: only then is there a live view.
    pub notes_on_terminal: bool,
    /// How results are coloured.
    pub results: Palette,
    /// How notes are coloured.
    pub notes: Palette,
    live: MultiProgress,
    offset: UtcOffset,
}

impl Output {
    pub(crate) fn new(json: bool, offset: UtcOffset, environment: &Environment) -> Self {
        let (results, notes) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let coloured = |terminal: bool| Palette { coloured: terminal && !environment.without_colour };
        let target = if notes { ProgressDrawTarget::stderr_with_hz(15) } else { ProgressDrawTarget::hidden() };
        Self {
            json,
            results_on_terminal: results,
            notes_on_terminal: notes,
            results: coloured(results),
            notes: coloured(notes),
            live: MultiProgress::with_draw_target(target),
            offset,
        }
    }

    /// The lines of the live view.
    pub(crate) fn live(&self) -> &MultiProgress {
        &self.live
    }

    /// How many columns notes have; as many as one likes where they do not go to a terminal.
    pub(crate) fn width(&self) -> usize {
        columns(io::stderr()).filter(|_| self.notes_on_terminal).unwrap_or(usize::MAX)
    }

    /// How many columns results have, if they go to a terminal.
    pub(crate) fn result_width(&self) -> Option<usize> {
        columns(io::stdout()).filter(|_| self.results_on_terminal)
    }

    /// One line of the result.
    pub(crate) fn line(&self, text: impl AsRef<str>) -> Result<(), Stop> {
        Ok(writeln!(io::stdout().lock(), "{}", text.as_ref())?)
    }

    /// One JSON value of the result, on a line of its own.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), Stop> {
        let text = serde_json::to_string(value);
        self.line(text.map_err(|error| Stop::failed("the result has no JSON form").because(error))?)
    }

    /// A line beside the result. Nobody may be listening, and that stops nothing.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        self.live.suspend(|| {
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        });
    }

    /// Says why a command ends.
    pub(crate) fn complain(&self, stop: &Stop) {
        let paint = self.notes;
        let what = if stop.kind == Kind::Interrupted { paint.yellow("interrupted") } else { paint.red("error") };
        let cause = stop.cause.as_ref().map(|cause| format!(" ({})", words::plain(cause))).unwrap_or_default();
        self.note(format!("{what}: {}{cause}", words::plain(&stop.message)));
        if let Some(advice) = &stop.advice {
            self.note(format!("{}: {}", paint.cyan("help"), words::plain(advice)));
        }
    }

    /// Hands over what the process still holds of the result.
    pub(crate) fn flush(&self) -> io::Result<()> {
        io::stdout().lock().flush()
    }

    /// The time of day, as the clock on the wall shows it.
    pub(crate) fn clock(&self, at: Timestamp) -> String {
        let (hour, minute, second) = self.local(at).to_hms();
        format!("{hour:02}:{minute:02}:{second:02}")
    }

    /// Date and time, as the clock on the wall shows them.
    pub(crate) fn date(&self, at: Timestamp) -> String {
        let date = self.local(at).date();
        format!("{date} {}", self.clock(at))
    }

    fn local(&self, at: Timestamp) -> OffsetDateTime {
        let utc = OffsetDateTime::from_unix_timestamp(at.as_micros().div_euclid(1_000_000));
        utc.unwrap_or(OffsetDateTime::UNIX_EPOCH).to_offset(self.offset)
    }
}

fn columns(terminal: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    pub coloured: bool,
}

impl Palette {
    fn paint(self, text: &str, style: Style) -> String {
        if self.coloured { text.style(style).to_string() } else { text.to_owned() }
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint(text, Style::new().red().bold())
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint(text, Style::new().green())
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint(text, Style::new().yellow())
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint(text, Style::new().cyan())
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(text, Style::new().bold())
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(text, Style::new().dimmed())
    }
}
