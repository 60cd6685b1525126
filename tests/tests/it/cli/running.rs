//! `demo` and `run`.

use std::{io::Write, process::Stdio};

use serde_json::json;

use super::harness::{Desk, Said, binary, is_private};

#[test]
fn the_demo_shows_five_users_and_that_nobody_met_anybody() {
    let desk = Desk::new();
    let said = desk.ok(&["demo", "--rows", "200"]);
    for line in [
        "runs ok 5/5",
        "reports written 10/10",
        "live engines 0",
        "live instances 0",
        "isolation violations 0",
        "open database sessions 0",
        "foreign events 0",
        "lost or repeated events 0",
    ] {
        assert!(said.out.contains(line), "{line} is missing in {}", said.out);
    }
    for user in ["ada", "ben", "chloe", "dmitri", "emeka"] {
        assert!(said.err.lines().any(|line| line.contains(&format!(" {user} spend-report agent_completed"))), "{user}");
    }
    assert!(!desk.path("insula-data").exists(), "the demo keeps nothing unless it is asked to");
}

#[test]
fn the_demo_in_json_says_the_same_and_keeps_what_it_is_asked_to_keep() {
    let desk = Desk::new();
    let demo = desk.json(&["demo", "--rows", "200", "--keep", "kept", "--json"]);
    assert_eq!((&demo["ok"], &demo["kept"]), (&json!(true), &json!("kept")));
    assert_eq!(demo["events"]["tool_executing"], demo["events"]["tool_completed"]);
    assert_eq!((&demo["metrics"]["engines_created"], &demo["metrics"]["engines_live"]), (&json!(5), &json!(0)));
    let reports = demo["users"].as_array().unwrap().iter().flat_map(|user| user["reports"].as_array().unwrap());
    let reports: Vec<_> = reports.map(|path| desk.path(path.as_str().unwrap())).collect();
    assert!(reports.len() == 10 && reports.iter().all(|path| path.is_file()), "{reports:?}");
    assert!(is_private(&desk.path("kept")));
    desk.insula(&["demo", "--keep", "kept"]).refused(2, &["kept is not empty", "new or empty"]);
}

#[test]
fn a_demo_that_does_not_hold_says_what_does_not() {
    let desk = Desk::new();
    // The analyses call their tools side by side, and one place is not enough for that.
    let said = desk.insula(&["demo", "--rows", "100", "--set", "limits.tool_calls=1"]);
    said.refused(1, &["not everything holds: runs ok: 0 instead of 5, reports written: 0 instead of 10"]);
    assert!(said.out.contains("✗ runs ok 0/5") && said.out.contains("✓ live engines 0"), "{}", said.out);
}

#[test]
fn a_result_goes_to_standard_output_and_progress_to_standard_error() {
    let desk = Desk::new();
    let said = desk.ok(&["run", "echo", "salve"]);
    let result: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(result["echo"], "salve");
    let first = said.err.lines().next().unwrap();
    let (time, event) = first.split_once(' ').unwrap();
    assert!(time.len() == 8 && time.bytes().filter(|b| *b == b':').count() == 2, "{first}");
    assert!(event.starts_with("echo agent_started"), "{first}");
    assert!(said.err.lines().nth(1).unwrap().contains(" echo agent_completed in "), "{}", said.err);
    assert!(is_private(&desk.path("insula-data")));
}

#[test]
fn an_input_comes_from_an_argument_a_file_or_standard_input() {
    let desk = Desk::new();
    desk.write("input.json", "{\"a\": [1, 2]}");
    desk.write("bom.txt", "\u{feff}plain words");
    let echo = |input: &str| desk.json(&["run", "echo", input, "--json"])["result"]["echo"].clone();
    assert_eq!(echo("{\"n\": 1}"), json!({"n": 1}));
    assert_eq!(echo("@input.json"), json!({"a": [1, 2]}));
    assert_eq!(echo("@bom.txt"), json!("plain words"));
    let mut child = desk.command(&["run", "echo", "-", "--json"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"[true]").unwrap();
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!(said.lines()[0]["result"]["echo"], json!([true]));
}

#[test]
fn an_input_that_cannot_be_used_is_named_and_nothing_runs() {
    let desk = Desk::new();
    desk.write("latin1.csv", b"caf\xe9");
    desk.insula(&["run", "echo", "@missing.csv"]).refused(2, &["missing.csv cannot be read", "help:"]);
    desk.insula(&["run", "echo", "@."]).refused(2, &["cannot be read"]);
    desk.insula(&["run", "echo", "@latin1.csv"]).refused(2, &["latin1.csv is not UTF-8", "byte 3"]);
    desk.insula(&["run", "sleep", "soon"]).refused(2, &["the input of \"sleep\" is refused", "insula agents sleep"]);
    assert!(!desk.ok(&["runs"]).out.contains("echo"));
}

#[test]
fn an_unknown_agent_is_not_found_and_the_known_ones_are_listed() {
    let said = Desk::new().insula(&["run", "nobody"]);
    said.refused(5, &["there is no agent class \"nobody\"", "echo, refund, sleep", "spend-report"]);
}

#[test]
fn a_report_is_written_below_the_data_folder_and_its_place_is_printed() {
    let desk = Desk::new();
    let demo = desk.json(&["demo", "--rows", "100", "--keep", "kept", "--json"]);
    assert_eq!(demo["ok"], true);
    let said = desk.ok(&["run", "spend-report", "@kept/data/ada.csv", "--data-dir", "store", "--user", "ada"]);
    let written: Vec<&str> = said.err.lines().filter_map(|line| line.strip_prefix("written ")).collect();
    assert_eq!(written.len(), 2, "{}", said.err);
    assert!(written.iter().all(|path| path.starts_with("store/reports/") && desk.path(path).is_file()), "{written:?}");
    assert!(said.err.contains(" spend-optimization tool_executing "), "children are shown: {}", said.err);
}

#[test]
fn a_failed_run_ends_with_one_and_says_where_to_look() {
    let desk = Desk::new();
    let said = desk.insula(&["run", "spend-report", "no,usage,here"]);
    said.refused(1, &["spend-report failed: ", "insula tail "]);
    assert_eq!(said.out, "");
    let ended = desk.json(&["run", "spend-report", "no,usage,here", "--json"]);
    assert_eq!(
        (&ended["status"], &ended["reason"], &ended["result"]),
        (&json!("failed"), &json!("error"), &json!(null))
    );
}

#[test]
fn a_run_past_its_time_fails_with_timeout() {
    let desk = Desk::new();
    let ended = desk.json(&["run", "sleep", "60000", "--timeout", "200ms", "--json"]);
    assert_eq!((&ended["status"], &ended["reason"]), (&json!("failed"), &json!("timeout")));
}

#[test]
fn a_run_takes_the_given_thread_and_id_once() {
    let desk = Desk::new();
    let run = ["run", "echo", "x", "--thread", "talk", "--run", "first"];
    desk.ok(&run);
    desk.insula(&run).refused(2, &["run first exists already"]);
    // The second run of a conversation shows its own events alone.
    let said = desk.ok(&["run", "echo", "y", "--thread", "talk"]);
    assert_eq!(said.err.lines().filter(|line| line.contains("agent_started")).count(), 1, "{}", said.err);
    desk.insula(&["run", "echo", "x", "--run", "null"]).refused(2, &["run_id is the placeholder \"null\""]);
}

#[test]
fn nothing_that_a_terminal_obeys_comes_through() {
    let desk = Desk::new();
    // The harness refuses control characters on both outputs.
    let said = desk.ok(&["run", "echo", "\u{1b}[2J\u{7}gone"]);
    assert!(said.err.contains("gone"), "{}", said.err);
}

#[test]
fn the_thirty_line_service_runs() {
    let output = std::process::Command::new(binary("embed")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(text.contains("ada was told: \"Salve, ada!\"") && text.contains("0 isolation violations"), "{text}");
}
