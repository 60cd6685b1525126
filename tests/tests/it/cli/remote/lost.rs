//! Runs that are watched from far away: stopped, and not lost with their connection.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStderr},
};

use serde_json::json;

use super::{
    super::{harness::Said, stopping::signal},
    sides::Side,
};

/// What a command says on standard error, line by line.
struct Notes(BufReader<ChildStderr>, String);

impl Notes {
    fn of(child: &mut Child) -> Self {
        Self(BufReader::new(child.stderr.take().unwrap()), String::new())
    }

    /// Reads until this was said.
    fn until(&mut self, words: &str) {
        while !self.1.contains(words) {
            assert!(self.0.read_line(&mut self.1).unwrap() > 0, "{words:?} was never said: {}", self.1);
        }
    }

    fn rest(mut self) -> String {
        self.0.read_to_string(&mut self.1).unwrap();
        self.1
    }
}

fn times(said: &str, words: &str) -> usize {
    said.matches(words).count()
}

#[test]
fn an_interrupted_run_is_cancelled_on_the_server_and_its_end_is_waited_for() {
    let side = Side::there();
    let mut run = side.command(&["run", "sleep", "60000", "--run", "stopped"]).spawn().unwrap();
    let mut notes = Notes::of(&mut run);
    notes.until("sleeping for");
    signal(&run, "INT");
    assert_eq!(run.wait().unwrap().code(), Some(130));
    let said = notes.rest();
    assert!(said.contains("agent_cancelled") && said.contains("interrupted: sleep was cancelled"), "{said}");
    let last = side.insula(&["tail", "stopped", "--json"]).lines().pop().unwrap();
    let why = (&last["type"], &last["data"]["why"]);
    assert_eq!(why, (&json!("agent_cancelled"), &json!("interrupted at the terminal")));
}

#[test]
fn interrupted_twice_it_does_not_wait_for_a_server_that_says_nothing() {
    let mut side = Side::there();
    let mut run = side.command(&["run", "sleep", "60000"]).spawn().unwrap();
    let mut notes = Notes::of(&mut run);
    notes.until("sleeping for");
    side.server().process().signal(rustix::process::Signal::STOP);
    signal(&run, "INT");
    // Both are heard, however soon the second one comes after the first.
    while run.try_wait().unwrap().is_none() {
        signal(&run, "INT");
        std::thread::yield_now();
    }
    assert_eq!(run.wait().unwrap().code(), Some(130));
}

#[test]
fn a_connection_that_is_lost_is_said_and_healed_and_no_event_with_it() {
    let mut side = Side::there();
    let refund = r#"{"order": "A-17", "amount": 40}"#;
    let mut run = side.command(&["run", "refund", refund, "--run", "watched", "--json"]).spawn().unwrap();
    let mut notes = Notes::of(&mut run);
    notes.until("agent_waiting");
    let mut tail = side.command(&["tail", "watched", "--follow", "--json"]).spawn().unwrap();
    let mut tailed = Notes::of(&mut tail);
    let mut events = BufReader::new(tail.stdout.take().unwrap());
    let mut read = String::new();
    while !read.contains("agent_waiting") {
        assert!(events.read_line(&mut read).unwrap() > 0);
    }
    side.server().kill();
    notes.until("the connection is lost");
    tailed.until("the connection is lost");
    side.server().start();
    notes.until("the connection is there again");
    tailed.until("the connection is there again");
    assert_eq!(side.insula(&["answer", "watched", "yes"]).code, Some(0));

    let ended = Said::of(run.wait_with_output().unwrap());
    assert_eq!((ended.code, &ended.lines()[0]["result"]["refunded"]), (Some(0), &json!(40)));
    let said = notes.rest();
    let counts = ["agent_started", "agent_waiting", "tool_executing", "agent_completed"].map(|kind| times(&said, kind));
    assert_eq!(counts, [1; 4], "{said}");

    events.read_to_string(&mut read).unwrap();
    assert!(tail.wait().unwrap().success(), "{}", tailed.rest());
    let log = side.insula(&["tail", "watched", "--json"]).out;
    assert_eq!(read, log, "each event once, in order");
}

#[test]
fn a_server_that_does_not_come_back_is_waited_for_only_so_long() {
    let mut side = Side::there();
    side.server().kill();
    for command in [&["runs"][..], &["run", "echo"]] {
        let said = side.insula(command);
        said.refused(4, &["does not answer (Connection refused", "`insula doctor`"]);
    }
}

#[test]
fn whoever_follows_far_away_can_leave_and_the_run_goes_on() {
    let side = Side::there();
    side.json(&["submit", "sleep", "60000", "--run", "long", "--json"]);
    let mut tail = side.command(&["tail", "long", "--follow"]).spawn().unwrap();
    let mut said = String::new();
    let mut events = BufReader::new(tail.stdout.as_mut().unwrap());
    while !said.contains("sleeping for") {
        assert!(events.read_line(&mut said).unwrap() > 0, "{said}");
    }
    signal(&tail, "INT");
    assert_eq!(tail.wait().unwrap().code(), Some(130));
    let run = &side.json(&["runs", "--json"])["items"][0];
    assert_eq!(run["status"], "running", "{run}");
}
