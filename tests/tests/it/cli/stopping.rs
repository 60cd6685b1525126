//! Ctrl-C.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus},
};

use super::harness::Desk;

/// Waits until the run has said that it sleeps, and interrupts it.
fn interrupt_while_it_sleeps(child: &mut Child) -> (ExitStatus, String) {
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("sleeping for") {
        assert!(notes.read_line(&mut said).unwrap() > 0, "it ended early: {said}");
    }
    signal(child, "INT");
    notes.read_to_string(&mut said).unwrap();
    (child.wait().unwrap(), said)
}

pub(super) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_interrupted_run_is_cancelled_and_its_log_says_so() {
    let desk = Desk::new();
    let mut child = desk.command(&["run", "sleep", "60000", "--run", "stopped"]).spawn().unwrap();
    let (status, said) = interrupt_while_it_sleeps(&mut child);
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted: ") && said.contains("agent_cancelled"), "{said}");
    let events = desk.ok(&["tail", "stopped", "--json"]).lines();
    let last = events.last().unwrap();
    assert_eq!((&last["type"], &last["data"]["by"]), (&"agent_cancelled".into(), &"user".into()));
    assert!(desk.ok(&["runs", "--status", "cancelled"]).out.contains("stopped"));
}

#[test]
fn whoever_follows_can_leave_and_the_run_goes_on() {
    let desk = Desk::new();
    let mut run = desk.command(&["run", "sleep", "2000", "--run", "watched"]).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(run.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
    let mut tail = desk.command(&["tail", "watched", "--follow"]).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    signal(&tail, "INT");
    assert_eq!(tail.wait().unwrap().code(), Some(130));
    assert_eq!(run.wait().unwrap().code(), Some(0));
}

#[test]
fn an_interrupted_demo_cancels_everybody_and_leaves_nothing_behind() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("temporary")).unwrap();
    let mut demo = desk.command(&["demo", "--rows", "20000"]).env("TMPDIR", desk.path("temporary")).spawn().unwrap();
    let mut notes = BufReader::new(demo.stderr.take().unwrap());
    let mut said = String::new();
    notes.read_line(&mut said).unwrap();
    signal(&demo, "INT");
    notes.read_to_string(&mut said).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130), "{said}");
    for user in ["ada", "ben", "chloe", "dmitri", "emeka"] {
        assert!(said.contains(&format!(" {user} spend-report agent_cancelled ")), "{user} in {said}");
    }
    assert_eq!(std::fs::read_dir(desk.path("temporary")).unwrap().count(), 0);
}
