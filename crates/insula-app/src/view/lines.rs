//! One line for each event.

use insula_infra::{Event, EventType};

use crate::{
    output::{Output, Palette},
    words,
};

/// `HH:MM:SS agent event …`.
pub(crate) fn event_line(event: &Event, output: &Output, paint: Palette) -> String {
    let agent = words::plain(&event.header.agent);
    let kind = event.kind.as_str();
    let kind = match event.kind {
        EventType::AgentCompleted => paint.green(kind),
        EventType::AgentFailed => paint.red(kind),
        EventType::AgentCancelled | EventType::AgentWaiting | EventType::AgentQueued => paint.yellow(kind),
        _ => paint.cyan(kind),
    };
    format!("{} {} {kind} {}", paint.dim(&output.clock(event.at)), paint.bold(&agent), words::of(event))
        .trim_end()
        .into()
}

/// The same with the event's number at the end, where reading can go on.
pub(crate) fn event_line_with_place(event: &Event, output: &Output, paint: Palette) -> String {
    format!("{} {}", event_line(event, output, paint), paint.dim(&format!("#{}", event.seq)))
}
