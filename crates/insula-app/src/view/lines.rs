//! One line for each event.

use insula_infra::EventType;

use crate::{
    island::Event,
    output::{Output, Palette},
    words,
};

/// `HH:MM:SS agent event …`.
pub(crate) fn event_line(event: &Event, output: &Output, paint: Palette) -> String {
    let agent = words::plain(&event.agent);
    let word = words::plain(&event.word);
    let kind = match event.kind() {
        Some(EventType::AgentCompleted) => paint.green(&word),
        Some(EventType::AgentFailed) => paint.red(&word),
        Some(EventType::AgentCancelled | EventType::AgentWaiting | EventType::AgentQueued) => paint.yellow(&word),
        _ => paint.cyan(&word),
    };
    format!("{} {} {kind} {}", paint.dim(&output.clock(event.at)), paint.bold(&agent), words::of(event))
        .trim_end()
        .into()
}

/// The same with the event's number at the end, where reading can go on.
pub(crate) fn event_line_with_place(event: &Event, output: &Output, paint: Palette) -> String {
    format!("{} {}", event_line(event, output, paint), paint.dim(&format!("#{}", event.seq)))
}
