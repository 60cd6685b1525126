//! The rows of `docs/crash-windows.md`: a process that is lost exactly there, what it leaves behind, and what is in the log
//! when another has gone on. That the end is that of an undisturbed run is held for every write in `appends` and `points`.

use insula_infra::EventType;

use super::{
    seen::Seen,
    tap::Fate::{self, LostAfter as After, LostBefore as Before},
    wreck::{
        Place::{self, Answer, Claim, Event, Park, Stop, Submit},
        Wreck,
    },
};
use crate::support::Backing;

/// One row: where the process is lost, and what must be so then.
struct Window {
    case: &'static str,
    place: Place,
    fate: Fate,
    /// The log that is left behind, in short.
    left: &'static str,
    /// The log in the end.
    then: &'static str,
    /// What was really done, in order.
    done: &'static str,
}

/// A log in short: one word for each event.
fn short(log: &[&str]) -> String {
    log.iter().map(|kind| kind.trim_start_matches("agent_")).collect::<Vec<_>>().join(" ")
}

/// Without what depends on who was faster: the process that is lost, the other one, or the operator.
fn without_waits(log: &str) -> String {
    log.split(' ').filter(|word| !["waiting", "resumed"].contains(word)).collect::<Vec<_>>().join(" ")
}

impl Window {
    async fn hold(&self, backing: Backing) {
        let wreck = Wreck::of(&backing, self.case, self.place, self.fate).await;
        let left = short(&wreck.log().await);
        match self.left.strip_prefix("at least ") {
            None => assert_eq!(left, self.left, "left behind"),
            Some(least) => assert!(left.starts_with(least), "left behind: {left}"),
        }
        wreck.go_on().await;
        let then = short(&wreck.log().await);
        match self.then.strip_prefix("but for waits: ") {
            None => assert_eq!(then, self.then, "in the end"),
            Some(story) => assert_eq!(without_waits(&then), story, "in the end: {then}"),
        }
        let (mut done, mut expected) = (wreck.done(), self.done.split_whitespace().collect::<Vec<_>>());
        // Whoever stops a call may be a moment too late.
        if self.then.starts_with("but for waits: ") {
            done.dedup();
            expected.dedup();
        }
        assert_eq!(done, expected, "done");
        let faults = Seen::of(&wreck.backend, &wreck.book).await;
        assert!(faults.is_whole(), "{faults:?}");
    }
}

macro_rules! windows {
    ($($name:ident: $case:literal, $fate:ident $place:expr, $left:literal => $then:literal, $done:literal;)*) => {$(
        mod $name {
            use super::*;

            const WINDOW: Window =
                Window { case: $case, place: $place, fate: $fate, left: $left, then: $then, done: $done };

            #[tokio::test]
            async fn memory() {
                WINDOW.hold(Backing::Memory).await;
            }

            #[tokio::test]
            async fn sqlite() {
                WINDOW.hold(Backing::sqlite()).await;
            }
        }
    )*};
}

windows! {
    submit_lost_before: "booking-submitted-never", Before Submit, "" =>
        "started step_completed tool_executing tool_completed thinking step_completed completed", "book";
    submit_lost_after: "booking-submitted-never", After Submit, "" =>
        "started step_completed tool_executing tool_completed thinking step_completed completed", "book";
    claim_lost_after: "booking-submitted-never", After Claim(1), "" =>
        "started step_completed tool_executing tool_completed thinking step_completed completed", "book";
    create_lost_before: "undoing-executed-never", Before Event("undoing", EventType::AgentStarted, 1), "" =>
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing tool_completed tool_executing tool_completed failed", "reserve book reserve undo undo";
    create_lost_after: "undoing-executed-never", After Event("undoing", EventType::AgentStarted, 1),
        "started tool_executing" =>
        "started tool_executing resumed tool_completed tool_executing tool_completed tool_executing tool_completed \
         undoing tool_executing tool_completed tool_executing tool_completed failed", "reserve book reserve undo undo";
    step_lost_before_its_record: "plain-submitted-never", Before Event("plain", EventType::AgentCompleted, 1),
        "started thinking step_completed step_completed step_completed custom" =>
        "started thinking step_completed step_completed step_completed custom resumed step_completed thinking completed",
        "";
    once_step_lost_before_its_beginning: "posting-submitted-never",
        Before Event("posting", EventType::StepStarted, 1), "" =>
        "started step_completed step_started step_completed completed", "post";
    once_step_lost_before_it_was_done: "posting-submitted-never",
        After Event("posting", EventType::StepStarted, 1), "started step_completed step_started" =>
        "started step_completed step_started resumed waiting resumed step_completed completed", "post";
    once_step_lost_before_its_record: "posting-submitted-never",
        Before Event("posting", EventType::AgentCompleted, 1), "started step_completed step_started" =>
        "started step_completed step_started resumed waiting resumed step_completed completed", "post";
    pure_tool_lost_before_its_record: "reading-submitted-never",
        Before Event("reading", EventType::ToolCompleted, 1), "" =>
        "started step_completed tool_executing tool_completed thinking step_completed completed", "read read";
    idempotent_tool_lost_before_its_beginning: "booking-submitted-never",
        Before Event("booking", EventType::ToolExecuting, 1), "" =>
        "started step_completed tool_executing tool_completed thinking step_completed completed", "book";
    idempotent_tool_lost_before_it_was_called: "booking-submitted-never",
        After Event("booking", EventType::ToolExecuting, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed tool_completed thinking step_completed completed", "book";
    idempotent_tool_lost_before_its_record: "booking-submitted-never",
        Before Event("booking", EventType::ToolCompleted, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed tool_completed thinking step_completed completed", "book book";
    once_tool_lost_before_it_was_called: "paying-submitted-never",
        After Event("paying", EventType::ToolExecuting, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed tool_completed thinking step_completed completed", "pay";
    once_tool_lost_before_its_record: "paying-submitted-never",
        Before Event("paying", EventType::ToolCompleted, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed tool_completed thinking step_completed completed", "pay";
    once_tool_without_a_hook_lost_before_it_was_called: "signing-submitted-atonce",
        After Event("signing", EventType::ToolExecuting, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed waiting resumed tool_completed thinking step_completed completed",
        "sign";
    once_tool_without_a_hook_lost_before_its_record: "signing-submitted-atonce",
        Before Event("signing", EventType::ToolCompleted, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed waiting resumed tool_completed thinking step_completed completed",
        "sign";
    compensable_tool_lost_before_it_was_called: "reserving-submitted-never",
        After Event("reserving", EventType::ToolExecuting, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed tool_completed thinking step_completed completed", "reserve";
    compensable_tool_lost_before_its_record: "reserving-submitted-never",
        Before Event("reserving", EventType::ToolCompleted, 1), "started step_completed tool_executing" =>
        "started step_completed tool_executing resumed tool_completed thinking step_completed completed", "reserve";
    child_lost_before_it_was_created: "mother-submitted-never", Before Event("child", EventType::AgentStarted, 1),
        "at least " => "but for waits: started step_completed custom step_completed step_completed completed", "book book";
    child_lost_when_it_was_created: "mother-submitted-never", After Event("child", EventType::AgentStarted, 1),
        "at least " => "but for waits: started step_completed custom step_completed step_completed completed", "book book";
    child_lost_before_its_end: "mother-submitted-never", Before Event("child", EventType::AgentCompleted, 1),
        "started" => "started resumed step_completed custom step_completed step_completed completed", "book book";
    child_lost_after_its_end: "mother-submitted-never", After Event("child", EventType::AgentCompleted, 1),
        "started" => "started resumed step_completed custom step_completed step_completed completed", "book book";
    parent_lost_before_it_was_parked: "mother-of-asking-submitted-atonce", Before Park("mother-of-asking"), "at least " =>
        "but for waits: started step_completed completed", "book";
    parent_lost_after_it_was_parked: "mother-of-asking-submitted-atonce", After Park("mother-of-asking"),
        "at least started" => "but for waits: started step_completed completed", "book";
    parent_lost_when_its_child_had_ended: "mother-of-asking-submitted-atonce",
        After Event("asking", EventType::AgentCompleted, 1), "at least started" =>
        "but for waits: started step_completed completed", "book";
    question_lost_before_it_was_parked: "asking-submitted-atonce", Before Park("asking"), "at least " =>
        "but for waits: started step_completed tool_executing tool_completed step_completed completed",
        "book";
    question_lost_when_it_was_asked: "asking-submitted-atonce", After Park("asking"), "at least started waiting" =>
        "but for waits: started step_completed tool_executing tool_completed step_completed completed",
        "book";
    answer_lost_before: "asking-submitted-atonce", Before Answer, "at least started waiting" =>
        "but for waits: started step_completed tool_executing tool_completed step_completed completed",
        "book";
    answer_lost_after: "asking-submitted-atonce", After Answer, "at least started waiting" =>
        "but for waits: started step_completed tool_executing tool_completed step_completed completed",
        "book";
    answer_lost_before_it_was_taken: "asking-submitted-atonce", Before Event("asking", EventType::StepCompleted, 1),
        "at least started waiting" =>
        "but for waits: started step_completed tool_executing tool_completed step_completed completed",
        "book";
    expiry_lost_before_it_was_taken: "unanswered-submitted-atonce",
        Before Event("unanswered", EventType::StepCompleted, 1), "started waiting" =>
        "started waiting resumed step_completed waiting resumed completed", "";
    pause_lost_before_it_was_parked: "sleeping-submitted-atonce", Before Park("sleeping"), "at least " =>
        "but for waits: started step_completed tool_executing tool_completed step_completed completed",
        "book";
    pause_lost_when_it_was_parked: "sleeping-submitted-atonce", After Park("sleeping"), "at least started waiting" =>
        "but for waits: started step_completed tool_executing tool_completed step_completed completed",
        "book";
    wake_lost_after_its_claim: "sleeping-submitted-atonce", After Claim(2), "started waiting" =>
        "started waiting resumed step_completed tool_executing tool_completed waiting resumed step_completed completed",
        "book";
    wake_lost_before_its_record: "sleeping-submitted-atonce", Before Event("sleeping", EventType::StepCompleted, 1),
        "started waiting" =>
        "started waiting resumed step_completed tool_executing tool_completed waiting resumed step_completed completed",
        "book";
    undo_lost_before_it_was_decided: "undoing-submitted-never", Before Event("undoing", EventType::AgentUndoing, 1),
        "started tool_executing tool_completed tool_executing tool_completed tool_executing" =>
        "started tool_executing tool_completed tool_executing tool_completed tool_executing resumed tool_completed \
         undoing tool_executing tool_completed tool_executing tool_completed failed", "reserve book reserve undo undo";
    undo_lost_when_it_was_decided: "undoing-submitted-never", After Event("undoing", EventType::AgentUndoing, 1),
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing" =>
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing tool_completed tool_executing tool_completed failed", "reserve book reserve undo undo";
    undo_lost_before_it_was_called: "undoing-submitted-never", After Event("undoing", EventType::ToolExecuting, 4),
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing" =>
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing tool_completed tool_executing tool_completed failed", "reserve book reserve undo undo";
    undo_lost_before_its_record: "undoing-submitted-never", Before Event("undoing", EventType::ToolCompleted, 4),
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing" =>
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing tool_completed tool_executing tool_completed failed", "reserve book reserve undo undo undo";
    undo_lost_between_two: "undoing-submitted-never", After Event("undoing", EventType::ToolCompleted, 4),
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing tool_completed" =>
        "started tool_executing tool_completed tool_executing tool_completed tool_executing tool_completed undoing \
         tool_executing tool_completed tool_executing tool_completed failed", "reserve book reserve undo undo";
    cancel_of_a_held_run_lost_before: "stopped-submitted-never", Before Stop,
        "at least started tool_executing tool_completed tool_executing" =>
        "but for waits: started tool_executing tool_completed tool_executing tool_completed undoing tool_executing \
         tool_completed cancelled", "reserve hang undo";
    cancel_of_a_held_run_lost_after: "stopped-submitted-never", After Stop,
        "at least started tool_executing tool_completed tool_executing" =>
        "started tool_executing tool_completed tool_executing tool_completed undoing tool_executing tool_completed \
         cancelled", "reserve hang undo";
    cancel_of_a_mother_lost_after: "stopped-mother-submitted-never", After Stop, "at least started" => "started cancelled",
        "reserve hang undo";
    end_lost_before: "paying-submitted-never", Before Event("paying", EventType::AgentCompleted, 1),
        "started step_completed tool_executing tool_completed thinking" =>
        "started step_completed tool_executing tool_completed thinking resumed step_completed completed", "pay";
    end_lost_after: "paying-submitted-never", After Event("paying", EventType::AgentCompleted, 1),
        "started step_completed tool_executing tool_completed thinking step_completed completed" =>
        "started step_completed tool_executing tool_completed thinking step_completed completed", "pay";
}
