//! Events and values in a few words, safe to print on a terminal.

use std::time::Duration;

use insula_infra::EventType;
use serde_json::Value;

use crate::island::Event;

/// How many characters a preview of a value may have.
const PREVIEW: usize = 120;

/// One line without anything that a terminal would obey: what agents and users write must not move the cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_direction(c) { ' ' } else { c }).collect()
}

/// Marks that make a terminal write from right to left, so that a line reads as something else than it says.
fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A value in one short line: text as it is, a reference by its size, everything else as JSON.
pub(crate) fn short(value: &Value) -> String {
    let whole = match (value, reference(value)) {
        (_, Some(words)) => return words,
        (Value::String(text), _) => text.clone(),
        (value, _) => value.to_string(),
    };
    cut(&plain(whole.trim()).split_whitespace().collect::<Vec<_>>().join(" "), PREVIEW)
}

/// The text, or so many characters of it, the last of which says that there was more.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A large value is stored by its hash, and its event says so: `{"$payload": hash, "bytes": n}`.
fn reference(value: &Value) -> Option<String> {
    let hash = value.get("$payload")?.as_str()?.get(..8)?;
    let size = bytes(value.get("bytes")?.as_u64()?);
    Some(format!("[{size}, payload {}]", plain(hash)))
}

/// A size as people read it.
pub(crate) fn bytes(count: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit behind the point")]
    let size = count as f64;
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", size / 1_024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", size / 1_048_576.0),
        _ => format!("{:.1} GiB", size / 1_073_741_824.0),
    }
}

/// A duration as people read it: milliseconds below a second, tenths below a minute.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h {:02}m", seconds / 3_600, seconds / 60 % 60),
    }
}

fn millis(data: &Value) -> String {
    let ms = data["duration_ms"].as_f64().unwrap_or_default();
    duration(Duration::from_secs_f64(ms.clamp(0.0, 1e12) / 1e3))
}

/// What an event says, without its type.
pub(crate) fn of(event: &Event) -> String {
    let data = &event.data;
    let text = |key: &str| plain(data[key].as_str().unwrap_or_default());
    let Some(kind) = event.kind() else { return short(data) };
    match kind {
        EventType::AgentStarted => format!("version {}, input {}", text("version"), short(&data["input"])),
        EventType::AgentThinking => text("text"),
        EventType::ToolExecuting => format!("{} {}", text("tool"), short(&data["arguments"])),
        EventType::ToolCompleted => tool_completed(data),
        EventType::AgentCompleted => format!("in {}, result {}", millis(data), short(&data["result"])),
        EventType::AgentFailed => format!("{} after {}: {}", text("reason"), millis(data), text("message")),
        EventType::AgentCancelled => format!("after {}: {} ({})", millis(data), text("why"), text("by")),
        EventType::AgentQueued => format!("position {}", data["position"]),
        EventType::AgentWaiting => waiting(data),
        EventType::AgentResumed => text("why"),
        EventType::TextDelta => text("text"),
        EventType::StepCompleted => format!("{} {}", text("name"), short(&data["result"])),
        EventType::Custom if data["name"] == "pipeline_step" => pipeline_step(&data["data"]),
        EventType::Custom => format!("{} {}", text("name"), short(&data["data"])),
        _ => short(data),
    }
}

fn tool_completed(data: &Value) -> String {
    let text = |key: &str| plain(data[key].as_str().unwrap_or_default());
    let what = if data["error"].is_string() { text("error") } else { short(&data["result"]) };
    format!("{} {} in {}: {what}", text("tool"), text("status"), millis(data))
}

/// A pipeline says how each of its steps ended.
fn pipeline_step(step: &Value) -> String {
    let text = |key: &str| plain(step[key].as_str().unwrap_or_default());
    format!("step {} {} {}", text("step"), text("status"), text("error")).trim_end().to_owned()
}

fn waiting(data: &Value) -> String {
    let what = plain(data["waiting_for"].as_str().unwrap_or_default());
    match data["question"]["text"].as_str() {
        Some(question) => format!("for {what}: {}", plain(question)),
        None => format!("for {what}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{9b}1mc\u{202e}d"), "a [2Jb   1mc d");
        assert_eq!(short(&json!("two\n\twords \u{7}")), "two words");
    }

    #[test]
    fn a_large_value_is_shown_by_its_size() {
        let value = json!({"$payload": "0123456789abcdef", "bytes": 300_000});
        assert_eq!(short(&value), "[293.0 KiB, payload 01234567]");
        assert_eq!(short(&json!("é".repeat(200))).chars().count(), PREVIEW);
    }

    #[test]
    fn durations_and_sizes_read_well() {
        let shown = [0, 999, 1_500, 61_000, 3_660_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(shown, ["0 ms", "999 ms", "1.5 s", "1m 01s", "1h 01m"]);
        assert_eq!([0, 1_024, 5 << 20, 3 << 30].map(bytes), ["0 B", "1.0 KiB", "5.0 MiB", "3.0 GiB"]);
    }
}
