//! What is sent and taken, and nowhere else. Shapes change only by addition; snapshots hold them.

mod account;
mod event;
mod frame;
mod list;
mod operator;
mod run;
mod schedule;
mod span;
mod thread;

pub use account::{
    AuditList, Days, Key, KeyOrder, Me, MeCredential, MeServer, NewKeyOrder, ShownKey, ShownTicket, UsageItem,
    UsageReport, Webhook,
};
pub use event::{EventList, EventShape, Gap, GapReason, PageGap};
pub use frame::{Ack, AnswerRun, CancelRun, Command, CommandKind, Frame, Start, Subscribe, Unreadable, Unsubscribe};
pub use list::{Items, List};
pub use operator::{ComponentState, LimitsShown, Node, Overview, OwnLimits, Ready};
pub use run::{
    Agent, Answer, Answered, AnsweredRun, BudgetOrder, CancelAll, CancelOrder, Cancelled, CancelledAll, ImportedRun,
    NewRun, OpenQuestion, ReplayDifference, ReplayReport, Run, RunFailure, Stopped, WebhookOrder,
};
pub use schedule::{Schedule, ScheduleOrder};
pub use span::Span;
pub use thread::{DeletedCount, ForkOrder, NewThread, Thread, ThreadFork};
