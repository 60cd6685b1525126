//! Commands and frames of the socket.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Answered, Gap, NewRun, Run, Stopped};
use crate::problem::ProblemBody;

/// What a client says.
#[derive(Debug)]
pub struct Command {
    /// Comes back in the answer.
    pub id: Option<Value>,
    /// What is to be done.
    pub kind: CommandKind,
}

/// What is to be done.
#[derive(Debug)]
pub enum CommandKind {
    /// Submits a run.
    Start(Box<Start>),
    /// Delivers a thread's events.
    Subscribe(Subscribe),
    /// Delivers them no more.
    Unsubscribe(Unsubscribe),
    /// Stops a run.
    Cancel(CancelRun),
    /// Answers a question.
    Answer(AnswerRun),
    /// Asks for a sign of life.
    Ping,
}

/// Submits a run.
#[derive(Debug)]
pub struct Start {
    /// Also delivers what happens in its thread from now on.
    pub subscribe: bool,
    /// A second submission with the same key answers with the first one's run.
    pub idempotency_key: Option<String>,
    /// The run.
    pub run: NewRun,
}

/// Delivers a thread's events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    /// Which thread.
    #[serde(alias = "thread")]
    pub thread_id: String,
    /// Behind which `seq`.
    #[serde(default)]
    pub after: u64,
}

/// Delivers a thread's events no more.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unsubscribe {
    /// Which thread.
    #[serde(alias = "thread")]
    pub thread_id: String,
}

/// Stops a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CancelRun {
    /// Which run.
    #[serde(alias = "run")]
    pub run_id: String,
    /// Why, in words for whoever reads the log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Answers a question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerRun {
    /// Of which run.
    #[serde(alias = "run")]
    pub run_id: String,
    /// The answer.
    pub answer: Value,
    /// The question's index; the oldest otherwise.
    #[serde(default)]
    pub question: Option<u32>,
}

/// A frame that is no command: its id, if it has one, and what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Unreadable {
    /// The id of the command.
    pub id: Option<Value>,
    /// What is wrong.
    pub problem: String,
}

impl Command {
    /// Reads a text frame.
    ///
    /// # Errors
    /// When it is not a command.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let refuse = |id: Option<Value>, problem: String| Unreadable { id, problem };
        let mut fields: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| refuse(None, format!("a frame is a JSON object, and this is none: {error}")))?;
        let id = fields.remove("id");
        let kind = CommandKind::of(fields).map_err(|problem| refuse(id.clone(), problem))?;
        Ok(Self { id, kind })
    }
}

impl CommandKind {
    /// The names of all commands.
    const NAMES: &str = "start, subscribe, unsubscribe, cancel, answer, ping";

    fn of(mut fields: Map<String, Value>) -> Result<Self, String> {
        let name = fields.remove("type").unwrap_or_default();
        match name.as_str() {
            Some("start") => Start::of(fields).map(|start| Self::Start(Box::new(start))),
            Some("subscribe") => read(fields).map(Self::Subscribe),
            Some("unsubscribe") => read(fields).map(Self::Unsubscribe),
            Some("cancel") => read(fields).map(Self::Cancel),
            Some("answer") => read(fields).map(Self::Answer),
            Some("ping") => read::<Nothing>(fields).map(|Nothing {}| Self::Ping),
            Some(other) => Err(format!("\"{other}\" is no command: there are {}", Self::NAMES)),
            None => Err(format!("a command has a \"type\": {}", Self::NAMES)),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Start {
    fn of(mut fields: Map<String, Value>) -> Result<Self, String> {
        let subscribe = fields.remove("subscribe").unwrap_or(Value::Bool(false));
        let subscribe = subscribe.as_bool().ok_or("\"subscribe\" is true or false")?;
        let key = fields.remove("idempotency_key").unwrap_or_default();
        let idempotency_key = serde_json::from_value(key).map_err(|error| format!("\"idempotency_key\": {error}"))?;
        Ok(Self { subscribe, idempotency_key, run: read(fields)? })
    }
}

fn read<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
}

/// What the server says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Frame<'a> {
    /// The next event of a subscription.
    Event {
        /// Of which subscription. An event that a fork begins with names another thread in its envelope.
        thread_id: &'a str,
        /// The event.
        event: &'a insula_infra::Event,
    },
    /// A command was done.
    Ack(Ack),
    /// A command was not done, or the socket cannot go on.
    Error {
        /// The id of the command.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value>,
        /// Why.
        problem: Box<ProblemBody>,
    },
    /// See [`Gap`].
    Gap(&'a Gap),
    /// The answer to a ping.
    Pong {
        /// The id of the command.
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Value>,
    },
}

/// What came of a command.
#[derive(Debug, Default, Serialize)]
pub struct Ack {
    /// The id of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// The run that was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Box<Run>>,
    /// The thread that was subscribed to or left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Behind which `seq` its events are delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// The run that was stopped or answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// What came of the wish to stop it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<Stopped>,
    /// What came of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answered>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(text: &str) -> Unreadable {
        Command::parse(text).expect_err("no command")
    }

    #[test]
    fn a_thread_may_be_called_by_either_name() {
        for name in ["thread", "thread_id"] {
            let command = Command::parse(&json!({"type": "subscribe", name: "t-1", "after": 7}).to_string());
            let Ok(Command { kind: CommandKind::Subscribe(wish), .. }) = command else { panic!("{command:?}") };
            assert_eq!((wish.thread_id.as_str(), wish.after), ("t-1", 7));
        }
    }

    #[test]
    fn what_is_no_command_is_refused_with_its_id() {
        assert_eq!(refused(r#"{"type":"halt","id":3}"#).id, Some(json!(3)));
        assert!(refused(r#"{"id":"c"}"#).problem.contains("subscribe"));
        assert!(refused(r#"{"type":"ping","extra":1}"#).problem.contains("extra"));
        assert!(refused(r#"{"type":"start","agent":"echo","user_id":"bob"}"#).problem.contains("user_id"));
        assert!(refused(r#"{"type":"subscribe","thread":"t","after":-1}"#).problem.contains("-1"));
        assert_eq!(refused("[1]").id, None);
        assert_eq!(refused(&"[".repeat(10_000)).id, None);
    }

    #[test]
    fn a_start_is_a_submission_with_two_more_fields() {
        let text =
            r#"{"type":"start","id":"c1","agent":"echo","input":"salve","subscribe":true,"idempotency_key":"k"}"#;
        let Ok(Command { id, kind: CommandKind::Start(start) }) = Command::parse(text) else { panic!("a start") };
        assert_eq!((id, start.subscribe, start.idempotency_key.as_deref()), (Some(json!("c1")), true, Some("k")));
        assert_eq!((start.run.agent.as_str(), start.run.input), ("echo", json!("salve")));
    }
}
