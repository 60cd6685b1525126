//! Every route and every command, and who is let in to it. A route without a row fails the suite.

use std::collections::BTreeSet;

use insula_server::wire::Command;
use serde_json::Value;

/// Whom a route lets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// Anybody, without a credential.
    Everybody,
    /// Whoever has one.
    Caller,
    Reader,
    Writer,
    Operator,
    AdminReader,
    Admin,
}

/// A route, a request to it with another user's ids in every place, and what it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) gate: Gate,
    /// What stands behind the path, and the body; `{NAME}` stands for the victim's.
    pub(super) query: &'static str,
    pub(super) body: &'static str,
    /// What a user without other roles is answered who asks for the victim's.
    pub(super) foreign: u16,
}

const fn row(method: &'static str, path: &'static str, gate: Gate, foreign: u16) -> Row {
    Row { method, path, gate, query: "", body: "", foreign }
}

impl Row {
    const fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    const fn body(self, body: &'static str) -> Self {
        Self { body, ..self }
    }

    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        matches!(self.gate, Writer | Admin)
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

const START: &str = r#"{"agent": "echo", "input": "mine", "thread_id": "{thread_id}", "run_id": "{run_id}"}"#;
const SCHEDULE: &str =
    r#"{"cron": "0 0 1 1 *", "agent": "echo", "input": "mine", "thread_id": "{thread_id}", "deadline": "5m"}"#;
const THREAD: &str = r#"{"thread_id": "{other_thread_id}"}"#;
const CANCEL_ALL: &str = r#"{"thread_id": "{thread_id}", "agent": "asking"}"#;
const FORK: &str = r#"{"seq": 1, "thread_id": "{other_thread_id}"}"#;
const ADMIN_KEY: &str = r#"{"tenant_id": "{tenant_id}", "user_id": "{user_id}", "name": "mine"}"#;
const OF_VICTIM: &str = "?tenant_id={tenant_id}&user_id={user_id}";
const FILTER: &str = "?thread_id={thread_id}&parent_run_id={run_id}&status=waiting&agent=asking";

use Gate::{Admin, AdminReader, Caller, Everybody, Operator, Reader, Writer};

/// All of them. What is answered with 2xx to a stranger is the stranger's own: nothing, or something new.
pub(super) const ROUTES: &[Row] = &[
    row("POST", "/v1/runs", Writer, 202).body(START),
    row("GET", "/v1/runs", Reader, 200).query(FILTER),
    row("GET", "/v1/runs/{run_id}", Reader, 404),
    row("GET", "/v1/runs/{run_id}/events", Reader, 404).query("?after=1&limit=10"),
    // A wish that is kept for a run of the stranger's own that may come under this id.
    row("POST", "/v1/runs/{run_id}/cancel", Writer, 202).body(r#"{"reason": "mine"}"#),
    row("POST", "/v1/runs/cancel", Writer, 202).body(CANCEL_ALL),
    row("POST", "/v1/runs/{run_id}/answer", Writer, 404).body(r#"{"answer": "yes", "question": 0}"#),
    row("POST", "/v1/runs/{run_id}/retry", Writer, 404),
    row("GET", "/v1/runs/{run_id}/export", Reader, 404).query("?part=whole"),
    row("POST", "/v1/runs/import", Writer, 415).query("?thread_id={thread_id}"),
    row("POST", "/v1/runs/{run_id}/replay", Writer, 404),
    row("GET", "/v1/payloads/{hash}", Reader, 404),
    row("GET", "/v1/threads", Reader, 200),
    row("POST", "/v1/threads", Writer, 201).body(THREAD),
    row("GET", "/v1/threads/{thread_id}", Reader, 404),
    row("DELETE", "/v1/threads/{thread_id}", Writer, 404),
    row("POST", "/v1/threads/{thread_id}/fork", Writer, 404).body(FORK),
    row("GET", "/v1/threads/{thread_id}/events", Reader, 404),
    row("GET", "/v1/inbox", Reader, 200).query("?run_id={run_id}"),
    row("GET", "/v1/agents", Reader, 200),
    row("GET", "/v1/agents/{name}", Reader, 404),
    row("GET", "/v1/usage", Reader, 200),
    row("GET", "/v1/schedules", Reader, 200),
    row("PUT", "/v1/schedules/{name}", Writer, 200).body(SCHEDULE),
    row("DELETE", "/v1/schedules/{name}", Writer, 404),
    row("POST", "/v1/schedules/{name}/pause", Writer, 404),
    row("POST", "/v1/schedules/{name}/resume", Writer, 404),
    row("GET", "/v1/me", Caller, 200),
    row("DELETE", "/v1/me", Writer, 400).query("?confirm={user_id}"),
    row("GET", "/v1/audit", Reader, 200),
    row("GET", "/v1/keys", Reader, 200),
    row("POST", "/v1/keys", Writer, 201).body(r#"{"name": "mine"}"#),
    row("DELETE", "/v1/keys/{key_id}", Writer, 404),
    row("POST", "/v1/tickets", Reader, 201),
    row("GET", "/v1/webhooks", Reader, 200).query("?state=waiting"),
    row("POST", "/v1/webhooks/{run_id}/resend", Writer, 404),
    row("GET", "/v1/socket", Reader, 400),
    row("GET", "/v1/operator/overview", Operator, 403),
    row("GET", "/v1/operator/nodes", Operator, 403),
    row("GET", "/v1/admin/keys", AdminReader, 403).query(OF_VICTIM),
    row("POST", "/v1/admin/keys", Admin, 403).body(ADMIN_KEY),
    row("DELETE", "/v1/admin/keys/{key_id}", Admin, 403),
    row("GET", "/v1/admin/limits/{tenant_id}/{user_id}", AdminReader, 403),
    row("PUT", "/v1/admin/limits/{tenant_id}/{user_id}", Admin, 403).body(r#"{"running": 1}"#),
    row("DELETE", "/v1/admin/limits/{tenant_id}/{user_id}", Admin, 403),
    row("GET", "/healthz", Everybody, 200),
    row("GET", "/readyz", Everybody, 200),
    row("GET", "/metrics", Operator, 403),
];

/// A command with the victim's ids, whether it changes anything, and what a stranger is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) changes: bool,
    /// The type of the frame, and the status of its problem.
    pub(super) foreign: (&'static str, u16),
}

const fn order(name: &'static str, text: &'static str, changes: bool, foreign: (&'static str, u16)) -> Order {
    Order { name, text, changes, foreign }
}

const ACK: (&str, u16) = ("ack", 0);

/// All commands of the socket.
pub(super) const COMMANDS: &[Order] = &[
    order(
        "start",
        r#"{"type": "start", "agent": "echo", "input": "mine", "thread_id": "{thread_id}", "run_id": "{run_id}", "subscribe": true}"#,
        true,
        ACK,
    ),
    order("subscribe", r#"{"type": "subscribe", "thread_id": "{thread_id}", "after": 0}"#, false, ACK),
    order("unsubscribe", r#"{"type": "unsubscribe", "thread_id": "{thread_id}"}"#, false, ACK),
    order("cancel", r#"{"type": "cancel", "run_id": "{run_id}", "reason": "mine"}"#, true, ACK),
    order(
        "answer",
        r#"{"type": "answer", "run_id": "{run_id}", "answer": "yes", "question": 0}"#,
        true,
        ("error", 404),
    ),
    order("ping", r#"{"type": "ping"}"#, false, ("pong", 0)),
];

/// Every route that the server says it has.
pub(super) fn described() -> BTreeSet<String> {
    let document = serde_json::to_value(insula_server::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let methods = |item: &Value| item.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect::<Vec<_>>();
    let known = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"];
    let named = paths.flat_map(|(path, item)| methods(item).into_iter().map(move |method| (method, path)));
    named.filter(|(method, _)| known.contains(&&**method)).map(|(method, path)| format!("{method} {path}")).collect()
}

/// Every command that the server knows, in its own words.
fn known() -> BTreeSet<String> {
    let problem = Command::parse(r#"{"type": "?"}"#).unwrap_err().problem;
    let (_, names) = problem.split_once("there are ").expect("it says which there are");
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_route_and_every_command_has_a_row() {
    let rows: BTreeSet<String> = ROUTES.iter().map(Row::name).collect();
    assert_eq!(rows.len(), ROUTES.len(), "a row twice");
    assert_eq!(rows, described());
    assert_eq!(COMMANDS.iter().map(|order| order.name.to_owned()).collect::<BTreeSet<_>>(), known());
}
