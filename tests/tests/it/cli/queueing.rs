//! `submit`, `work`, `cancel`, `inbox`, `answer`, `schedule`.

use std::{
    io::{BufRead, BufReader, Read},
    process::Child,
};

use serde_json::{Value, json};

use super::{
    harness::{Desk, Said},
    stopping::signal,
};

impl Desk {
    /// A process that works on the queue; it listens to signals when this returns.
    fn work(&self, arguments: &[&str]) -> Child {
        let mut work = self.command(&[&["work", "--json"], arguments].concat()).spawn().unwrap();
        let mut first = String::new();
        // Byte by byte: whatever else it says is still to be read.
        let mut notes = BufReader::with_capacity(1, work.stderr.as_mut().unwrap());
        notes.read_line(&mut first).unwrap();
        assert!(first.contains("working on the queue"), "{first}");
        work
    }

    /// Hands a run in and answers with its id.
    fn submit(&self, arguments: &[&str]) -> String {
        let run = self.json(&[&["submit", "--json"], arguments].concat());
        assert_eq!(run["status"], "queued", "{run}");
        run["run_id"].as_str().unwrap().to_owned()
    }

    fn status(&self, run: &str) -> Value {
        let page = self.json(&["runs", "--json"]);
        let runs = page["items"].as_array().unwrap();
        runs.iter().find(|known| known["run_id"] == run).unwrap()["status"].clone()
    }
}

/// Asks a process to stop and reads what it has done.
fn drained(work: Child) -> Value {
    signal(&work, "TERM");
    let said = Said::of(work.wait_with_output().unwrap());
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn a_submitted_run_waits_until_somebody_works_on_the_queue() {
    let desk = Desk::new();
    let said = desk.ok(&["submit", "echo", "salve"]);
    assert!(said.err.contains("`insula work`"), "{}", said.err);
    let run = said.out.trim();
    assert_eq!(desk.status(run), "queued");
    let work = desk.work(&[]);
    desk.ok(&["tail", run, "--follow"]);
    assert_eq!(desk.status(run), "completed");
    assert_eq!(drained(work), json!({"completed": 1, "failed": 0, "cancelled": 0, "stopped": 0}));
}

#[test]
fn whoever_works_lets_a_run_end_that_is_in_progress() {
    let desk = Desk::new();
    let work = desk.work(&[]);
    let run = desk.submit(&["sleep", "1500"]);
    while desk.status(&run) == "queued" {
        std::thread::yield_now();
    }
    assert_eq!(drained(work)["completed"], 1);
    assert_eq!(desk.status(&run), "completed");
}

#[test]
fn asked_twice_it_does_not_wait() {
    let desk = Desk::new();
    let mut work = desk.work(&[]);
    let run = desk.submit(&["sleep", "60000"]);
    while desk.status(&run) == "queued" {
        std::thread::yield_now();
    }
    signal(&work, "TERM");
    let mut notes = BufReader::with_capacity(1, work.stderr.take().unwrap());
    let mut said = String::new();
    notes.read_line(&mut said).unwrap();
    assert!(said.contains("1 in progress"), "{said}");
    signal(&work, "INT");
    notes.read_to_string(&mut said).unwrap();
    assert_eq!(work.wait().unwrap().code(), Some(130), "{said}");
}

#[test]
fn submissions_say_on_which_terms() {
    let desk = Desk::new();
    let first = desk.submit(&["echo", "x", "--idempotency-key", "order-7", "--thread", "talk"]);
    assert_eq!(desk.submit(&["echo", "x", "--idempotency-key", "order-7", "--thread", "talk"]), first);
    let refused = desk.insula(&["submit", "echo", "y", "--thread", "talk", "--policy", "reject"]);
    refused.refused(1, &["thread talk is busy with run", &first, "choose another policy"]);
    desk.submit(&["echo", "z", "--delay", "1h", "--priority", "-3", "--timeout", "5m"]);
    desk.insula(&["submit", "nobody"]).refused(5, &["\"nobody\"", "echo"]);
    desk.insula(&["submit", "echo", "--policy", "shout"]).refused(2, &["enqueue, reject, interrupt, rollback"]);
}

#[test]
fn a_run_is_cancelled_by_id_before_and_after_it_came() {
    let desk = Desk::new();
    desk.insula(&["cancel", "nothing"]).refused(5, &["local/local has no run nothing"]);
    let run = desk.submit(&["sleep", "60000"]);
    assert_eq!(desk.json(&["cancel", &run, "--json"]), json!({"run_id": run, "cancel": "recorded"}));
    assert_eq!(desk.json(&["cancel", "later", "--json"])["cancel"], "ahead");
    let work = desk.work(&[]);
    let events = desk.ok(&["tail", &run, "--follow", "--json"]).lines();
    let end = events.last().unwrap();
    assert_eq!((&end["type"], &end["data"]["by"]), (&json!("agent_cancelled"), &json!("user")));
    desk.ok(&["cancel", &run]);
    let ended = desk.submit(&["echo", "x"]);
    desk.ok(&["tail", &ended, "--follow"]);
    desk.insula(&["cancel", &ended]).refused(1, &["has ended before: completed"]);
    assert_eq!(drained(work)["cancelled"], 1);
}

#[test]
fn many_runs_are_cancelled_by_conversation_by_agent_and_all() {
    let desk = Desk::new();
    let cancelled = |arguments: &[&str]| {
        let said = desk.json(&[&["cancel", "--json"], arguments].concat());
        said["runs"].as_array().unwrap().len()
    };
    assert_eq!(cancelled(&["--all"]), 0, "there is no database yet");
    for thread in ["a", "a", "b"] {
        desk.submit(&["sleep", "60000", "--thread", thread]);
        desk.submit(&["echo", "x", "--thread", thread]);
    }
    desk.submit(&["echo", "x", "--user", "ben"]);
    assert_eq!(cancelled(&["--thread", "a", "--agent", "sleep"]), 2);
    assert_eq!(cancelled(&["--thread", "b"]), 2);
    assert_eq!(cancelled(&["--agent", "nobody"]), 0);
    assert!(cancelled(&["--all"]) >= 2, "of this user only");
    assert_eq!(cancelled(&["--all", "--user", "ben"]), 1);
    desk.insula(&["cancel"]).refused(2, &["--thread", "--all"]);
    desk.insula(&["cancel", "x", "--all"]).refused(2, &["cannot be used with"]);
}

#[test]
fn an_empty_inbox_says_so_and_nothing_can_be_answered() {
    let desk = Desk::new();
    assert!(desk.ok(&["inbox"]).err.contains("nobody asks local/local anything"));
    desk.insula(&["answer", "nothing", "yes"]).refused(5, &["no open question", "insula inbox"]);
    let run = desk.submit(&["echo", "x"]);
    assert_eq!(desk.json(&["inbox", "--json"]), json!({"items": [], "next": null}));
    desk.insula(&["answer", &run, "yes"]).refused(5, &["no open question"]);
}

#[test]
fn schedules_are_kept_listed_paused_and_forgotten() {
    let desk = Desk::new();
    assert!(desk.ok(&["schedule", "list"]).err.contains("no schedules of local/local"));
    let add = ["schedule", "add", "digest", "0 9 * * MON-FRI", "echo", "salve", "--zone", "Europe/Rome", "--json"];
    let kept = desk.json(&add);
    assert_eq!(
        (&kept["zone"], &kept["missed"], &kept["input"]),
        (&json!("Europe/Rome"), &json!("skip"), &json!("salve"))
    );
    assert!(kept["next_at"].is_string(), "{kept}");
    let table = desk.ok(&["schedule", "list"]).out;
    assert!(table.starts_with("SCHEDULE") && table.contains("0 9 * * MON-FRI"), "{table}");
    assert!(desk.ok(&["schedule", "pause", "digest"]).out.contains("digest is paused"));
    assert_eq!(desk.json(&["schedule", "list", "--json"])["schedules"][0]["next_at"], json!(null));
    assert!(desk.ok(&["schedule", "resume", "digest"]).out.contains("comes next at"));
    desk.insula(&["schedule", "remove", "digest", "--user", "ben"]).refused(5, &["no schedule \"digest\""]);
    desk.ok(&["schedule", "remove", "digest"]);
    desk.insula(&["schedule", "remove", "digest"]).refused(5, &["no schedule \"digest\"", "schedule list"]);
    desk.insula(&["schedule", "add", "x", "61 * * * *", "echo"]).refused(2, &["the schedule's cron", "weekday"]);
    desk.insula(&["schedule", "add", "x", "* * * * *", "echo", "--zone", "Mars"]).refused(2, &["the schedule's zone"]);
    desk.insula(&["schedule", "add", "x", "* * * * *", "nobody"]).refused(5, &["\"nobody\""]);
}

#[test]
fn whoever_works_on_the_queue_fires_what_is_due() {
    let desk = Desk::new();
    desk.ok(&["schedule", "add", "pulse", "* * * * * *", "echo", "tick"]);
    let work = desk.work(&[]);
    while desk.json(&["runs", "--json", "--status", "completed"])["items"].as_array().unwrap().is_empty() {
        std::thread::yield_now();
    }
    assert!(drained(work)["completed"].as_u64() >= Some(1));
}

#[test]
fn a_human_agrees_while_nobody_works_and_whoever_works_next_pays_once() {
    let desk = Desk::new();
    let run = desk.submit(&["refund", r#"{"order": "A-17", "amount": 40}"#]);
    let mut work = desk.work(&[]);
    while desk.status(&run) != "waiting" {
        std::thread::yield_now();
    }
    assert_eq!(desk.json(&["inbox", "--json"])["items"][0]["run_id"], run.as_str());
    // Without any ceremony: nothing of the run is in that process alone.
    work.kill().unwrap();
    work.wait().unwrap();
    desk.insula(&["answer", &run, "perhaps"]).refused(2, &["choose one of: yes, no"]);
    desk.ok(&["answer", &run, "yes"]);
    desk.insula(&["answer", &run, "no"]).refused(5, &["no open question"]);
    let work = desk.work(&[]);
    desk.ok(&["tail", &run, "--follow"]);
    assert_eq!(drained(work)["completed"], 1);
    let page = desk.json(&["runs", "--json"]);
    assert_eq!(page["items"][0]["result"]["refunded"], 40);
    desk.ok(&["replay", &run]);
}
