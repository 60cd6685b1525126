//! The server is killed while a client reads, and another goes on with the same data: the client has what the log says.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    process::Process,
    socket::{Heard, Socket, event},
    told::{Told, ended_log, same},
    web::Caller,
};

/// What the client reads with.
#[derive(Debug, Clone, Copy)]
enum By {
    Socket,
    Stream,
}

/// A client that has come so far with a run.
struct Client {
    run: String,
    thread: String,
    by: By,
    had: Vec<Told>,
}

impl Client {
    fn after(&self) -> u64 {
        self.had.last().map_or(0, |told| told.seq)
    }

    fn is_done(&self) -> bool {
        self.had.last().is_some_and(|last| last.ends(&self.run))
    }

    /// Reads on from its cursor until it has `most` events, its run has ended, or the server is gone.
    async fn read(&mut self, server: &Process, caller: &Caller, most: usize) {
        match self.by {
            By::Socket => {
                let mut socket = Socket::open(server.address(), caller.bearer()).await.unwrap();
                let wish = json!({"type": "subscribe", "thread_id": self.thread, "after": self.after()});
                socket.say(wish).await;
                while self.had.len() < most && !self.is_done() {
                    let Heard::Text(text) = socket.hear().await else { return };
                    if let Some(told) = event(&text) {
                        self.take(caller, told).await;
                    }
                }
            }
            By::Stream => {
                let path = format!("/v1/threads/{}/events", self.thread);
                let mut stream = caller.stream(&path, Some(self.after())).await;
                while self.had.len() < most && !self.is_done() {
                    let Some(told) = stream.told().await else { return };
                    self.take(caller, told).await;
                }
            }
        }
    }

    async fn take(&mut self, caller: &Caller, told: Told) {
        super::resuming::answer_when_asked(caller, &told, &self.run, "yes").await;
        self.had.push(told);
    }
}

/// Runs this once for every place in its log, each time with a server that is killed there.
async fn killed_at_every_event(order: Value, events: usize) {
    let folder = TempDir::new().unwrap();
    let mut server = Process::start(folder.path(), &[]);
    let key = server.key.clone().expect("the first server shows a key");
    for kill_at in 0..=events {
        let mut order = order.clone();
        order["thread_id"] = json!(format!("t-{kill_at}"));
        let caller = server.caller(&key);
        let run = caller.submitted(order).await;
        let by = if kill_at % 2 == 0 { By::Socket } else { By::Stream };
        let mut client = Client { run, thread: format!("t-{kill_at}"), by, had: Vec::new() };
        client.read(&server, &caller, kill_at).await;
        server.kill();
        server = Process::start(folder.path(), &[]);
        assert_eq!(server.key, None, "a folder has one first key");
        let caller = server.caller(&key);
        // Whoever was told of a question before may not have been heard.
        let asked = client.had.iter().find(|told| told.kind == "agent_waiting").cloned();
        if let Some(asked) = asked {
            super::resuming::answer_when_asked(&caller, &asked, &client.run, "yes").await;
        }
        client.read(&server, &caller, usize::MAX).await;
        let log = ended_log(&caller, &client.run).await;
        same(&format!("killed at {kill_at}, read by {by:?}"), &client.had, &log, &client.run);
        let status = caller.get(&format!("/v1/runs/{}", client.run)).await.is(200);
        assert_eq!(status["status"], "completed", "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_has_every_event_once_though_the_server_is_killed_at_any_of_them() {
    killed_at_every_event(json!({"agent": "count"}), 9).await;
}

/// The money is paid once as well, as the receipt says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_and_its_answer_outlive_the_server() {
    killed_at_every_event(json!({"agent": "refund", "input": {"order": "7", "amount": 40}}), 8).await;
}
