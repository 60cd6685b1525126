//! What a run and its children are doing, as their events tell it. It knows nothing that is not in the log.

use std::time::Duration;

use insula_context::Timestamp;
use insula_infra::EventType;

use crate::{island::Event, words};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Running,
    Waiting,
    Done,
    Failed,
    Cancelled,
}

/// One run of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    run: String,
    pub agent: String,
    /// 0 for the run that was asked for.
    pub depth: usize,
    pub mark: Mark,
    /// What it does now, or how it ended.
    pub doing: String,
    /// Calls of tools that have begun.
    pub tools: usize,
    began: Timestamp,
    ended: Option<Timestamp>,
    /// Calls in flight: id and tool.
    open: Vec<(String, String)>,
}

/// What an event changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    /// Which line.
    pub line: usize,
    /// Whether the line was not there before.
    pub is_new: bool,
}

/// A run with its children, parents first.
#[derive(Debug)]
pub(crate) struct Board {
    root: String,
    lines: Vec<Line>,
    /// The line that the last event was about.
    last: usize,
}

impl Board {
    pub(crate) fn new(root: impl Into<String>) -> Self {
        Self { root: root.into(), lines: Vec::new(), last: 0 }
    }

    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The line of the run that was asked for.
    pub(crate) fn root(&self) -> Option<&Line> {
        self.lines.first()
    }

    /// Whether the run that was asked for has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.root().is_some_and(|line| line.ended.is_some())
    }

    /// Where something happens now: the line of the last event if it is alive, else the deepest one that is.
    pub(crate) fn current(&self) -> Option<&Line> {
        let last = self.lines.get(self.last).filter(|line| line.ended.is_none());
        let alive = self.lines.iter().filter(|line| line.ended.is_none());
        last.or_else(|| alive.max_by_key(|line| line.depth)).or_else(|| self.root())
    }

    /// Whether an event belongs to this run or one below it.
    pub(crate) fn owns(&self, event: &Event) -> bool {
        let is_known = |run: &String| *run == self.root || self.lines.iter().any(|line| line.run == *run);
        is_known(&event.run_id) || event.parent_run_id.as_ref().is_some_and(is_known)
    }

    /// Takes in an event; `None` when it belongs to another run of the thread.
    pub(crate) fn apply(&mut self, event: &Event) -> Option<Change> {
        if !self.owns(event) {
            return None;
        }
        let found = self.lines.iter().position(|line| line.run == event.run_id);
        let line = found.unwrap_or_else(|| self.open(event));
        self.lines[line].apply(event);
        self.last = line;
        Some(Change { line, is_new: found.is_none() })
    }

    /// A child's line stands below its parent and the parent's earlier children.
    fn open(&mut self, event: &Event) -> usize {
        let parent = event.parent_run_id.as_ref();
        let parent = parent.and_then(|parent| self.lines.iter().position(|line| line.run == *parent));
        if let Some(parent) = parent {
            self.lines[parent].doing = format!("runs {}", words::plain(&event.agent));
        }
        let depth = parent.map_or(0, |parent| self.lines[parent].depth + 1);
        let below = |parent: usize| {
            let deeper = self.lines[parent + 1..].iter().take_while(|line| line.depth >= depth);
            parent + 1 + deeper.count()
        };
        let at = parent.map_or(self.lines.len(), below);
        self.lines.insert(at, Line::new(event, depth));
        at
    }
}

impl Line {
    fn new(event: &Event, depth: usize) -> Self {
        Self {
            run: event.run_id.clone(),
            agent: words::plain(&event.agent),
            depth,
            mark: Mark::Running,
            doing: String::new(),
            tools: 0,
            began: event.at,
            ended: None,
            open: Vec::new(),
        }
    }

    /// How long it has taken by now, or took.
    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        self.ended.unwrap_or(now).since(self.began)
    }

    fn apply(&mut self, event: &Event) {
        let text = |key: &str| words::plain(event.data[key].as_str().unwrap_or_default());
        let Some(kind) = event.kind() else { return };
        self.mark = mark(kind);
        match kind {
            EventType::AgentStarted => self.doing = "started".to_owned(),
            EventType::ToolExecuting => self.tool_opened(text("call_id"), text("tool")),
            EventType::ToolCompleted => self.tool_closed(&text("call_id"), words::of(event)),
            EventType::AgentCompleted => self.doing = self.done(),
            EventType::AgentFailed => self.doing = format!("{}: {}", text("reason"), text("message")),
            EventType::AgentCancelled => self.doing = format!("cancelled: {}", text("why")),
            EventType::AgentQueued => self.doing = format!("waits for its turn, {}", words::of(event)),
            EventType::AgentWaiting => self.doing = format!("waits {}", words::of(event)),
            // Records for a resumption; whoever watches has seen what led to them.
            EventType::StepCompleted | EventType::ModelCompleted | EventType::AgentResumed => {}
            _ => self.doing = words::of(event),
        }
        if kind.is_terminal() {
            self.ended = Some(event.at);
        }
    }

    fn tool_opened(&mut self, call: String, tool: String) {
        self.tools += 1;
        self.open.push((call, tool));
        self.doing = self.in_flight();
    }

    fn tool_closed(&mut self, call: &str, words: String) {
        self.open.retain(|(open, _)| open != call);
        self.doing = if self.open.is_empty() { words } else { self.in_flight() };
    }

    fn in_flight(&self) -> String {
        let tools: Vec<&str> = self.open.iter().map(|(_, tool)| tool.as_str()).collect();
        format!("calls {}", tools.join(", "))
    }

    fn done(&self) -> String {
        match self.tools {
            0 => "done".to_owned(),
            1 => "done, 1 tool".to_owned(),
            tools => format!("done, {tools} tools"),
        }
    }
}

fn mark(kind: EventType) -> Mark {
    match kind {
        EventType::AgentCompleted => Mark::Done,
        EventType::AgentFailed => Mark::Failed,
        EventType::AgentCancelled => Mark::Cancelled,
        EventType::AgentQueued | EventType::AgentWaiting => Mark::Waiting,
        _ => Mark::Running,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples;

    fn event(run: &str, parent: Option<&str>, kind: EventType, at: i64, data: &serde_json::Value) -> Event {
        (&samples::event(run, parent, kind, at, data)).into()
    }

    #[test]
    fn children_stand_below_their_parents_and_strangers_do_not_appear() {
        let mut board = Board::new("root");
        let started = EventType::AgentStarted;
        for (run, parent) in [("root", None), ("a", Some("root")), ("b", Some("root")), ("a1", Some("a"))] {
            assert!(board.apply(&event(run, parent, started, 0, &json!({}))).is_some_and(|change| change.is_new));
        }
        assert_eq!(board.apply(&event("stranger", None, started, 0, &json!({}))), None);
        let shown: Vec<_> = board.lines().iter().map(|line| (line.agent.as_str(), line.depth)).collect();
        assert_eq!(shown, [("agent-root", 0), ("agent-a", 1), ("agent-a1", 2), ("agent-b", 1)]);
    }

    #[test]
    fn a_line_says_what_its_run_does_and_how_it_ended() {
        let mut board = Board::new("r");
        let mut say = |kind, at, data| {
            board.apply(&event("r", None, kind, at, &data));
            board.root().map(|line| (line.doing.clone(), line.mark)).expect("a line")
        };
        say(EventType::AgentStarted, 0, json!({}));
        say(EventType::ToolExecuting, 1, json!({"call_id": "1", "tool": "one"}));
        let both = say(EventType::ToolExecuting, 2, json!({"call_id": "2", "tool": "two"}));
        assert_eq!(both.0, "calls one, two");
        let one = say(EventType::ToolCompleted, 3, json!({"call_id": "1", "tool": "one", "status": "ok"}));
        assert_eq!(one.0, "calls two");
        let end = say(EventType::AgentCompleted, 5_000_000, json!({}));
        assert_eq!(end, ("done, 2 tools".to_owned(), Mark::Done));
        assert!(board.has_ended());
        assert_eq!(board.lines()[0].age(Timestamp::from_micros(9_000_000)), Duration::from_secs(5));
    }
}
