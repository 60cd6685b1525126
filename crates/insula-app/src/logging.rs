//! What the process says of itself: on standard error, above the live view; and to a collector of traces.

use std::io::{self, Write};

use insula_engine::spans;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt as _, registry::LookupSpan, util::SubscriberInitExt as _,
};

use crate::{
    config::{Log, LogFormat, Settings},
    exit::Stop,
    output::Output,
    telemetry::Telemetry,
};

/// Starts logging, and sending traces where a collector is configured.
///
/// # Errors
/// When the filter cannot be read, or traces cannot be sent to what is configured.
pub(crate) fn start(settings: &Settings, output: &Output) -> Result<Telemetry, Stop> {
    let filter = filter(&settings.log)?;
    let telemetry = Telemetry::start(settings.otlp.as_deref())?;
    tracing_subscriber::registry()
        .with(lines(settings.log.format, output).with_filter(filter))
        .with(telemetry.layer())
        .try_init()
        .map_err(|error| Stop::failed("logging could not be started").because(error))?;
    Ok(telemetry)
}

/// What the driver of Postgres calls what the server notes.
const NOTICES: &str = "sqlx::postgres::notice";

fn filter(log: &Log) -> Result<EnvFilter, Stop> {
    // Spans are for traces: in front of every line they would be noise. So would be what Postgres notes whenever a connection
    // that has nothing to take back is given back. Who wants them there asks for them.
    EnvFilter::try_new(format!("{}=off,{NOTICES}=off,{}", spans::TARGET, log.filter)).map_err(|error| {
        Stop::configuration(format!("log.filter: \"{}\" is no filter", log.filter))
            .because(error)
            .advise("write a level (warn) or targets with levels (warn,insula_engine=debug)")
    })
}

fn lines<S>(format: LogFormat, output: &Output) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(Lines(output.clone())).with_ansi(output.notes.coloured);
    match format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Pretty => lines.pretty().boxed(),
        LogFormat::Json => lines.json().boxed(),
    }
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
