//! `export`, `import`, `replay`, `retry`, `fork`, `threads`, `delete`.

use serde_json::{Value, json};

use super::harness::{Desk, Said};

fn last(said: &Said) -> Value {
    said.lines().pop().unwrap()
}

#[test]
fn a_run_goes_from_one_user_to_another_as_a_file_and_replays_there() {
    let desk = Desk::new();
    let run = desk.run_id(&["count", "--user", "ada"]);
    let written = desk.json(&["export", &run, "--whole", "-o", "run.jsonl", "--user", "ada", "--json"]);
    let file = std::fs::read_to_string(desk.path("run.jsonl")).unwrap();
    assert_eq!((written["lines"].as_u64().unwrap(), &written["part"]), (file.lines().count() as u64, &json!("whole")));
    desk.insula(&["export", &run, "-o", "run.jsonl", "--user", "ada"]).refused(2, &["run.jsonl cannot be made"]);
    let piped = desk.ok(&["export", &run, "--user", "ada"]);
    assert_eq!(last(&piped)["end"]["runs"], 1);
    desk.insula(&["export", &run, "--user", "ben"]).refused(5, &["has no run"]);

    let imported = desk.json(&["import", "run.jsonl", "--thread", "talk", "--user", "ben", "--json"]);
    assert_eq!((&imported["run_id"], &imported["thread_id"]), (&json!(run), &json!("talk")));
    let events = |user: &str| desk.ok(&["tail", &run, "--json", "--user", user]).lines();
    let data = |user: &str| events(user).iter().map(|event| event["data"].clone()).collect::<Vec<_>>();
    assert_eq!(data("ben"), data("ada"));
    desk.insula(&["import", "run.jsonl", "--user", "ben"]).refused(2, &["exists already"]);

    for what in [&run[..], "run.jsonl"] {
        let replay = desk.json(&["replay", what, "--user", "ben", "--json"]);
        assert_eq!((&replay["difference"], &replay["calls"]), (&Value::Null, &json!(3)), "{what}");
    }
    assert!(desk.ok(&["replay", &run, "--user", "ben"]).out.starts_with("same count"));
}

#[test]
fn a_difference_is_shown_and_is_the_exit_code() {
    let desk = Desk::new();
    let run = desk.run_id(&["count"]);
    let file = desk.ok(&["export", &run]).out.replace("calling 3 tools", "calling 4 tools");
    desk.write("changed.jsonl", &file);
    desk.insula(&["replay", "changed.jsonl"]).refused(2, &["changed.jsonl: line", "the lines before were changed"]);
    desk.insula(&["import", "changed.jsonl"]).refused(2, &["the lines before were changed"]);
    // `sleep` answers something else than what `count` has recorded.
    let other = desk.run_id(&["sleep", "1"]);
    desk.ok(&["export", &other, "-o", "sleep.jsonl"]);
    let text =
        std::fs::read_to_string(desk.path("sleep.jsonl")).unwrap().replace("\"agent\":\"sleep\"", "\"agent\":\"echo\"");
    let lines: Vec<&str> = text.lines().collect();
    desk.write("other.jsonl", sealed(&lines[..lines.len() - 1], lines[lines.len() - 1]));
    let said = desk.insula(&["replay", "other.jsonl"]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.out.starts_with("differs echo") && said.out.contains("recorded"), "{}", said.out);
    assert!(!desk.insula(&["replay", "other.jsonl", "--json"]).lines()[0]["difference"].is_null());
}

/// The lines with a last line that counts them as they are: the hash is no signature.
fn sealed(lines: &[&str], end: &str) -> String {
    let hash = lines.iter().fold(String::new(), |hash, line| {
        insula_infra::PayloadHash::of(format!("{hash}{line}").as_bytes()).to_string()
    });
    let mut end: Value = serde_json::from_str(end).unwrap();
    end["end"]["hash"] = json!(hash);
    format!("{}\n{end}\n", lines.join("\n"))
}

#[test]
fn a_run_is_repeated_in_its_thread() {
    let desk = Desk::new();
    let run = desk.run_id(&["echo", "{\"a\": [1, \"-\"]}", "--thread", "talk"]);
    let again = desk.json(&["retry", &run, "--json"]);
    assert_eq!((&again["thread_id"], &again["result"]["echo"]), (&json!("talk"), &json!({"a": [1, "-"]})));
    assert_ne!(again["run_id"], json!(run));
    desk.insula(&["retry", "absent"]).refused(5, &["has no run absent"]);
}

#[test]
fn threads_are_listed_read_forked_and_deleted() {
    let desk = Desk::new();
    assert!(desk.ok(&["threads"]).err.contains("no threads of local/local here yet"));
    desk.ok(&["run", "count", "--thread", "talk"]);
    let fork = desk.json(&["fork", "talk", "3", "--into", "other", "--json"]);
    assert_eq!((&fork["thread_id"], &fork["forked_from"]), (&json!("other"), &json!({"thread_id": "talk", "seq": 3})));
    assert_eq!(desk.ok(&["threads", "show", "other", "--json"]).lines().len(), 3);
    assert_eq!(desk.ok(&["threads", "show", "talk", "--after", "3"]).out.lines().count(), 6);
    let page = desk.json(&["threads", "--json"]);
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert!(desk.ok(&["threads"]).out.contains("talk at 3"));
    desk.insula(&["fork", "talk", "99"]).refused(5, &["has no thread talk with 99 events"]);
    desk.insula(&["fork", "talk", "1", "--into", "other"]).refused(2, &["exists already"]);
    desk.insula(&["threads", "show", "talk", "--user", "ben"]).refused(5, &["local/ben has no thread talk"]);
    desk.insula(&["delete", "thread", "talk", "--user", "ben"]).refused(5, &["has no thread talk"]);
    desk.insula(&["delete", "thread", "talk"]).refused(2, &["other begins with its log"]);
    assert_eq!(desk.ok(&["delete", "thread", "other"]).out, "deleted: 1 threads, 0 runs\n");
    assert_eq!(desk.json(&["delete", "thread", "talk", "--json"]), json!({"threads": 1, "runs": 1}));
    desk.insula(&["threads", "show", "talk"]).refused(5, &["has no thread talk"]);
}

#[test]
fn a_user_is_deleted_only_when_that_is_meant() {
    let desk = Desk::new();
    for user in ["ada", "ben"] {
        desk.ok(&["run", "echo", "x", "--user", user]);
    }
    desk.insula(&["delete", "user", "--user", "ada"]).refused(2, &["everything of local/ada", "--yes"]);
    assert_eq!(desk.json(&["delete", "user", "--yes", "--user", "ada", "--json"]), json!({"threads": 1, "runs": 1}));
    let runs = |user: &str| desk.json(&["runs", "--json", "--user", user])["items"].as_array().unwrap().len();
    assert_eq!((runs("ada"), runs("ben")), (0, 1));
}
