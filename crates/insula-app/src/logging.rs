//! What the process says of itself: on standard error, above the live view.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    config::{Log, LogFormat},
    exit::Stop,
    output::Output,
};

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub(crate) fn start(log: &Log, output: &Output) -> Result<(), Stop> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        Stop::configuration(format!("log.filter: \"{}\" is no filter", log.filter))
            .because(error)
            .advise("write a level (warn) or targets with levels (warn,insula_engine=debug)")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Lines(output.clone()))
        .with_ansi(output.notes.coloured);
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|error| Stop::failed("logging could not be started").because(error))
}

/// Hands whole lines to the output, which knows what else is on the screen.
struct Lines(Output);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { output: &self.0, bytes: Vec::new() }
    }
}

struct Line<'a> {
    output: &'a Output,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.output.note(String::from_utf8_lossy(&self.bytes).trim_end());
    }
}
