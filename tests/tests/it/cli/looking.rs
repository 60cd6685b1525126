//! `agents`, `runs`, `tail`, `doctor`, `migrate`.

use std::io::{BufRead, BufReader};

use serde_json::json;

use super::harness::Desk;

#[test]
fn agents_are_listed_and_one_is_shown_in_full() {
    let desk = Desk::new();
    let list = desk.ok(&["agents"]).out;
    assert!(list.starts_with("AGENT") && list.contains("echo") && list.contains("spend-report-writer"), "{list}");
    let one = desk.ok(&["agents", "spend-report"]).out;
    assert!(one.contains("the agent \"spend-triage\"") && one.contains("input"), "{one}");
    let classes = desk.json(&["agents", "--json"]);
    assert!(classes["agents"].as_array().unwrap().iter().any(|class| class["name"] == "sleep"));
    assert_eq!(desk.json(&["agents", "sleep", "--json"])["input_schema"]["required"], json!(["ms"]));
    desk.insula(&["agents", "nobody"]).refused(5, &["echo, refund, sleep"]);
    assert!(!desk.path("insula-data").exists(), "looking makes nothing");
}

#[test]
fn runs_are_listed_newest_first_and_filtered() {
    let desk = Desk::new();
    assert!(desk.ok(&["runs"]).err.contains("no runs of local/local here yet"));
    desk.ok(&["run", "echo", "one", "--thread", "talk"]);
    desk.insula(&["run", "spend-triage", "bad"]).refused(1, &[]);
    desk.ok(&["run", "echo", "other", "--user", "ben"]);
    let agents = |arguments: &[&str]| {
        let page = desk.json(&[&["runs", "--json"], arguments].concat());
        page["items"].as_array().unwrap().iter().map(|run| run["agent"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(agents(&[]), ["spend-triage", "echo"]);
    assert_eq!(agents(&["--status", "failed"]), ["spend-triage"]);
    assert_eq!(agents(&["--thread", "talk"]), ["echo"]);
    assert_eq!(agents(&["--limit", "1"]), ["spend-triage"]);
    assert_eq!(agents(&["--user", "ben"]), ["echo"]);
    assert_eq!(agents(&["--user", "nobody-yet"]), Vec::<serde_json::Value>::new());
    let table = desk.ok(&["runs"]).out;
    assert!(table.starts_with("RUN") && table.contains("failed") && table.lines().count() == 3, "{table}");
}

#[test]
fn tail_reads_a_run_again_from_any_place() {
    let desk = Desk::new();
    let run = desk.run_id(&["count"]);
    let events = desk.ok(&["tail", &run, "--json"]).lines();
    let seqs: Vec<_> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!((&events[0]["type"], &events[1]["type"]), (&json!("agent_started"), &json!("agent_thinking")));
    assert_eq!(events.last().unwrap()["type"], "agent_completed");
    let rest = desk.ok(&["tail", &run, "--after", "5", "--follow", "--json"]).lines();
    assert_eq!(rest, events[5..]);
    let plain = desk.ok(&["tail", &run]).out;
    assert_eq!(plain.lines().count(), events.len());
    assert!(plain.contains(" count tool_completed tally ok in "), "{plain}");
}

#[test]
fn a_large_value_is_shown_by_its_size() {
    let desk = Desk::new();
    desk.write("large.txt", "salve ".repeat(10_000));
    let run = desk.run_id(&["echo", "@large.txt"]);
    let plain = desk.ok(&["tail", &run]).out;
    assert!(plain.lines().all(|line| line.len() < 300) && plain.contains("[58.6 KiB, payload "), "{plain}");
    assert!(desk.ok(&["runs"]).out.lines().all(|line| line.len() < 300));
}

#[test]
fn an_absent_run_and_somebody_elses_look_the_same() {
    let desk = Desk::new();
    desk.insula(&["tail", "nothing"]).refused(5, &["local/local has no run nothing", "insula runs"]);
    let run = desk.run_id(&["echo", "x", "--user", "ada"]);
    let words = format!("local/ben has no run {run}");
    desk.insula(&["tail", &run, "--user", "ben"]).refused(5, &[&words]);
}

#[test]
fn tail_follows_a_run_of_another_process() {
    let desk = Desk::new();
    let mut run = desk.command(&["run", "sleep", "1500", "--run", "watched"]).spawn().unwrap();
    // Its first event is on the screen, so it is in the log.
    let mut first = String::new();
    BufReader::new(run.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("agent_started"), "{first}");
    let so_far = desk.ok(&["tail", "watched", "--json"]).lines();
    assert!(so_far.iter().all(|event| event["type"] != "agent_completed"), "without --follow it does not wait");
    let events = desk.ok(&["tail", "watched", "--follow", "--json"]).lines();
    assert_eq!(events.last().unwrap()["type"], "agent_completed");
    assert!(run.wait().unwrap().success());
}

#[test]
fn whoever_closes_the_pipe_has_read_enough() {
    let desk = Desk::new();
    let run = desk.run_id(&["count"]);
    let mut child = desk.command(&["tail", &run]).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_doctor_looks_at_everything_and_changes_nothing() {
    let desk = Desk::new();
    let checks = |desk: &Desk| {
        let said = desk.json(&["doctor", "--json"]);
        assert_eq!(said["ok"], true, "{said}");
        said["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap().to_owned()).collect()
    };
    let before: Vec<String> = checks(&desk);
    assert_eq!(before, ["configuration", "data folder", "disk", "database", "clock", "agents"]);
    assert!(!desk.path("insula-data").exists());
    desk.ok(&["run", "echo", "x"]);
    assert!(checks(&desk).contains(&"storage".to_owned()));
    assert!(desk.ok(&["doctor"]).out.lines().all(|line| line.starts_with("ok ")));
}

#[test]
fn the_doctor_says_what_to_do() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("insula-data")).unwrap();
    std::fs::set_permissions(desk.path("insula-data"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let said = desk.ok(&["doctor"]).out;
    assert!(said.contains("warn  data folder") && said.contains("→ chmod 700 ./insula-data"), "{said}");
    desk.write("insula-data/insula.db", "this is no database, however long one looks at it".repeat(100));
    let said = desk.insula(&["doctor"]);
    assert_eq!(said.code, Some(4));
    assert!(said.out.contains("fail  database") && said.out.contains("not an SQLite database"), "{}", said.out);
}

#[test]
fn migrate_says_where_the_database_stands() {
    let desk = Desk::new();
    let said = desk.insula(&["migrate", "--check"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("there is no database yet") && !desk.path("insula-data").exists(), "{}", said.out);
    assert!(desk.ok(&["migrate"]).out.contains("made, schema version "));
    assert!(desk.ok(&["migrate", "--check"]).out.contains("up to date"));
    let said = desk.json(&["migrate", "--json"]);
    assert_eq!((&said["up_to_date"], &said["before"]), (&json!(true), &said["version"]));
}

#[test]
fn a_broken_database_is_a_matter_of_storage_and_comes_with_advice() {
    let desk = Desk::new();
    desk.write("broken.db", "this is no database, however long one looks at it".repeat(100));
    for arguments in [&["run", "echo", "x"][..], &["runs"], &["tail", "x"], &["migrate"]] {
        let said = desk.insula(&[arguments, &["--database", "broken.db"]].concat());
        said.refused(4, &["broken.db: ", "it is not an SQLite database", "help: "]);
    }
    desk.write("file", "");
    desk.insula(&["run", "echo", "x", "--data-dir", "file/below"]).refused(4, &["cannot be made", "--data-dir"]);
}

#[test]
fn a_place_that_may_not_be_looked_at_is_not_empty() {
    let desk = Desk::new();
    desk.write("file", "");
    // Below a file there is nothing to look at, for the superuser as well, who may look everywhere else.
    for arguments in [&["runs"][..], &["migrate", "--check"], &["run", "echo"]] {
        desk.insula(&[arguments, &["--data-dir", "file"]].concat()).refused(4, &["file"]);
    }
}
