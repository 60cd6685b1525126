//! Files that are not what an export wrote.

use insula_engine::{Archive, Error, Part};
use serde_json::{Value, json};

use super::story::{Ledger, exported, luggage, ran, read, stage};
use crate::support::{Island, log::runs_of, on_every_backend};

/// On which line a file is refused, and in which words.
fn refusal(lines: &[String]) -> (u64, String) {
    match read(lines) {
        Err(Error::Archive { line, problem }) => (line, problem),
        other => panic!("{other:?}"),
    }
}

/// The file with one line changed.
fn with(lines: &[String], line: usize, change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut lines = lines.to_vec();
    let mut value: Value = serde_json::from_str(&lines[line]).unwrap();
    change(&mut value);
    lines[line] = value.to_string();
    lines
}

fn without(lines: &[String], line: usize) -> Vec<String> {
    [&lines[..line], &lines[line + 1..]].concat()
}

/// The first line of a kind, counted from 0.
fn first(lines: &[String], kind: &str) -> usize {
    let begins = format!("{{\"{kind}\":");
    lines.iter().position(|line| line.starts_with(&begins)).unwrap()
}

#[track_caller]
fn refused(lines: &[String], line: usize, words: &str) {
    let (at, problem) = refusal(lines);
    assert_eq!(at, line as u64 + 1, "{problem}");
    assert!(problem.contains(words), "{problem:?} should say {words:?}");
}

on_every_backend! {
    async fn whatever_was_changed_is_refused_by_its_line(island: Island) {
        let island = stage(island, &Ledger::default());
        let ada = island.user("ada");
        let (_, run) = ran(&island, &ada, "trip", luggage()).await;
        let file = exported(island.factory(), &ada, &run, Part::Whole).await;
        read(&file).expect("unchanged, it is whole");
        let (payload, event, last) = (first(&file, "payload"), first(&file, "event"), file.len() - 1);
        let (member, end) = (first(&file, "run"), last - 1);

        let named: Value = serde_json::from_str(&file[payload]).unwrap();
        let hash = named["payload"]["hash"].as_str().unwrap().to_owned();
        let other = with(&file, payload, |line| line["payload"]["text"] = json!("\"other\""));
        refused(&other, payload, &format!("payload {hash} was changed"));
        refused(&without(&file, payload), payload, &format!("refers to payload {hash}"));
        refused(&with(&file, payload, |line| line["payload"]["hash"] = json!("abc")), payload, "64 hexadecimal");

        refused(&with(&file, 0, |line| line["archive"]["format"] = json!("other")), 0, "the format is \"other\"");
        refused(&with(&file, 0, |line| line["archive"]["version"] = json!(2)), 0, "the version is 2");
        refused(&with(&file, 0, |line| line["archive"]["run_id"] = json!("other")), member, "names another");
        refused(&without(&file, 0), 0, "begins with \"archive\"");
        refused(&with(&file, member, |line| line["run"]["status"] = json!("running")), member, "has ended");
        refused(&with(&file, event, |line| line["event"]["type"] = json!("agent_danced")), event, "agent_danced");
        refused(&with(&file, event, |line| line["event"]["run_id"] = json!("other")), event, "run other");
        refused(&with(&file, event, |line| line["event"]["data"] = json!(1)), event, "no object");
        refused(&with(&file, end, |line| line["event"]["type"] = json!("agent_failed")), end, "is not the end");
        refused(&with(&file, end, |line| line["event"]["data"] = json!({})), end, "how the run ended");

        // What reads well in itself does not fit what the last line counts.
        let words = with(&file, event, |line| line["event"]["data"]["class"] = json!("other"));
        refused(&words, last, "the lines before were changed");
        refused(&without(&file, event + 1), last - 1, "the lines before were changed");
        refused(&file[..last], last, "cut short");
        refused(&[&file[..], &file[last..]].concat(), last + 1, "follows the last line");
        refused(&[&file[..event], &["no JSON".to_owned()]].concat(), event, "no line of an archive");
        assert_eq!(runs_of(island.ports(), &ada).await.len(), 3);
    }
}

#[test]
fn an_empty_file_and_one_of_other_bytes_are_refused() {
    assert_eq!(refusal(&[]), (1, "the file is empty".to_owned()));
    for bytes in [&b"\xff\xfe\n"[..], b"\n", b"[1]", b"{}", b"{\"archive\":{}}", b"{\"archive\":null}\n"] {
        assert!(matches!(Archive::read(bytes), Err(Error::Archive { line: 1, .. })), "{bytes:?}");
    }
}

#[test]
fn a_line_without_an_end_is_not_read_to_its_end() {
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    let Err(Error::Archive { line: 1, problem }) = Archive::read(endless) else { panic!("it is refused") };
    assert!(problem.contains("more than 67108864 bytes"), "{problem}");
}
