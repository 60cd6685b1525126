//! Sends what the process does as traces to a collector, where one is configured: OTLP over HTTP.
//!
//! Spans of ours are sent and nothing else: no events, which may say more than who did what for how long, and nothing of
//! the libraries below.

use std::time::Duration;

use insula_context::TraceContext;
use insula_engine::Traces;
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceContextExt as _, TraceState, TracerProvider as _},
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::exit::Stop;

/// What a target of ours begins with.
const OURS: &str = "insula";
/// How long a collector may take to take spans.
const EXPORT: Duration = Duration::from_secs(5);
/// How long the end of the process waits for a collector.
const AT_THE_END: Duration = Duration::from_secs(2);

/// The way to the collector. Dropped, it sends what it still has, and waits for that no longer than two seconds.
#[derive(Debug)]
#[must_use = "dropped, it sends nothing any more"]
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// To the collector at this address, if there is one.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub(crate) fn start(endpoint: Option<&str>) -> Result<Self, Stop> {
        let Some(endpoint) = endpoint else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(EXPORT)
            .build()
            .map_err(|error| {
                Stop::configuration(format!("otlp.endpoint: traces cannot be sent to \"{endpoint}\"")).because(error)
            })?;
        let resource = Resource::builder()
            .with_service_name("insula")
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        Ok(Self(Some(provider)))
    }

    /// What hands spans on to the collector.
    pub(crate) fn layer<S>(&self) -> Option<impl Layer<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.0.as_ref()?.tracer("insula");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_context_activation(false)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false);
        Some(layer.with_filter(filter_fn(is_ours)))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take()
            && let Err(error) = provider.shutdown_with_timeout(AT_THE_END)
        {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with(OURS)
}

/// Joins spans of the process to traces of others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OpenTelemetry;

impl Traces for OpenTelemetry {
    fn continue_from(&self, span: &Span, from: &TraceContext) {
        let (Ok(trace), Ok(parent)) = (TraceId::from_hex(&from.trace_id), SpanId::from_hex(&from.span_id)) else {
            return;
        };
        let flags = if from.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        let from = SpanContext::new(trace, parent, flags, true, TraceState::NONE);
        // A span that nobody records has no parent to be given.
        let _unrecorded = span.set_parent(Context::new().with_remote_span_context(from));
    }

    fn context_of(&self, span: &Span) -> Option<TraceContext> {
        let context = span.context();
        let (span, of) = (context.span(), |span: &SpanContext| TraceContext {
            trace_id: span.trace_id().to_string(),
            span_id: span.span_id().to_string(),
            sampled: span.is_sampled(),
        });
        span.span_context().is_valid().then(|| of(span.span_context()))
    }
}

#[cfg(test)]
mod tests;
