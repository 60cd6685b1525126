//! What the engine tells a tracer: the spans of OpenTelemetry's conventions for generative AI, and how they hang together
//! over processes.
//!
//! A span says which agent or tool, in which conversation and run, for how long, and what kind of end it came to. What was
//! said, given or answered is in no span. Whether anybody records spans, and where they go, is up to whoever puts the process together; the
//! engine itself knows `tracing` and nothing else.

use std::fmt;

use insula_agent::{Error as AgentError, ToolFailure};
use insula_context::{TraceContext, UserExecutionContext};
use insula_registry::AgentClass;
use tracing::{Span, field::Empty};

use crate::{core::RunCore, events::ToolStatus, machine::Ending, origin::Origin};

/// The target of every span of the engine, for filters.
pub const TARGET: &str = "insula::spans";

/// The span of a run that a process works on: all of it, or a piece of it.
pub const INVOKE_AGENT: &str = "invoke_agent";
/// The span of a tool's call, its repetitions included.
pub const EXECUTE_TOOL: &str = "execute_tool";

/// Joins spans to traces of other processes. Implemented by whoever exports spans; without it, a trace ends at the process.
pub trait Traces: Send + Sync + fmt::Debug {
    /// Makes a new span part of a trace that began elsewhere.
    fn continue_from(&self, span: &Span, from: &TraceContext);

    /// What another process needs to go on from this span; `None` for one that nobody records.
    fn context_of(&self, span: &Span) -> Option<TraceContext>;
}

/// Nobody exports spans.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct NoTraces;

impl Traces for NoTraces {
    fn continue_from(&self, _: &Span, _: &TraceContext) {}

    fn context_of(&self, _: &Span) -> Option<TraceContext> {
        None
    }
}

/// The context of a run that begins here, with the trace that it is part of: the one of whoever called, where that is
/// recorded, or the one that it came with.
pub(crate) fn joined(traces: &dyn Traces, context: UserExecutionContext, origin: &Origin) -> UserExecutionContext {
    match origin {
        Origin::Caller => match traces.context_of(&Span::current()) {
            Some(trace) => context.traced(trace),
            None => context,
        },
        // A child's context was made from its parent's, and what was queued has the trace that it was submitted in.
        Origin::Child(_) | Origin::Queue(..) => context,
    }
}

/// The span of a run's piece, and the run's context in it.
pub(crate) fn invoke_agent(
    traces: &dyn Traces,
    context: UserExecutionContext,
    class: &AgentClass,
    origin: &Origin,
) -> (Span, UserExecutionContext) {
    let (parent, is_joined) = match origin {
        Origin::Caller => (Span::current().id(), traces.context_of(&Span::current()).is_some()),
        Origin::Child(parent) => (parent.span.id(), true),
        Origin::Queue(..) => (None, false),
    };
    let span = tracing::info_span!(
        target: TARGET,
        parent: parent,
        INVOKE_AGENT,
        otel.name = format_args!("{INVOKE_AGENT} {}", class.name()),
        otel.kind = "internal",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = INVOKE_AGENT,
        gen_ai.agent.name = &**class.name(),
        gen_ai.agent.version = &**class.version(),
        gen_ai.conversation.id = context.thread().as_str(),
        insula.run.id = context.run().as_str(),
        insula.run.status = Empty,
    );
    if let (false, Some(trace)) = (is_joined, context.trace()) {
        traces.continue_from(&span, trace);
    }
    let context = match traces.context_of(&span) {
        Some(trace) => context.traced(trace),
        None => context,
    };
    (span, context)
}

/// The span of a call that is about to be made.
pub(crate) fn execute_tool(run: &RunCore, tool: &str, call_id: &str) -> Span {
    tracing::info_span!(
        target: TARGET,
        parent: run.span.id(),
        EXECUTE_TOOL,
        otel.name = format_args!("{EXECUTE_TOOL} {tool}"),
        otel.kind = "internal",
        otel.status_code = Empty,
        "error.type" = Empty,
        gen_ai.operation.name = EXECUTE_TOOL,
        gen_ai.tool.name = tool,
        gen_ai.tool.call.id = call_id,
        "gen_ai.tool.type" = "function",
        gen_ai.agent.name = &**run.class.name(),
        gen_ai.conversation.id = run.context.thread().as_str(),
        insula.run.id = run.context.run().as_str(),
    )
}

/// How a run ended.
pub(crate) fn ended(span: &Span, ending: &Ending) {
    match ending {
        Ending::Completed(_) => status(span, "completed"),
        Ending::Cancelled(_) => status(span, "cancelled"),
        Ending::Failed { failure, .. } => {
            status(span, "failed");
            failed(span, failure.reason.as_str());
        }
    }
}

/// Where a run stands that leaves the process without an end.
pub(crate) fn status(span: &Span, word: &str) {
    span.record("insula.run.status", word);
}

/// How a call ended.
pub(crate) fn answered(span: &Span, status: ToolStatus, error: Option<&AgentError>) {
    match status {
        ToolStatus::Ok => {}
        ToolStatus::Error => failed(span, error.map_or("error", kind)),
        ToolStatus::Timeout => failed(span, "timeout"),
        ToolStatus::Aborted => failed(span, "aborted"),
        ToolStatus::Abandoned => failed(span, "abandoned"),
    }
}

fn failed(span: &Span, kind: &str) {
    span.record("otel.status_code", "ERROR");
    span.record("error.type", kind);
}

/// What kind of failure it is, in a word and without its own.
fn kind(error: &AgentError) -> &'static str {
    let AgentError::Tool { failure, .. } = error else { return "error" };
    match failure {
        ToolFailure::Absent { .. } => "absent",
        ToolFailure::Denied { .. } => "denied",
        ToolFailure::RateLimited { .. } => "rate_limited",
        ToolFailure::Busy { .. } => "busy",
        ToolFailure::Arguments { .. } => "arguments",
        ToolFailure::Unavailable { .. } => "unavailable",
        ToolFailure::Budget { .. } => "budget",
        ToolFailure::Timeout { .. } => "timeout",
        ToolFailure::Panicked => "panic",
        ToolFailure::Stopped { .. } => "stopped",
        _ => "error",
    }
}
