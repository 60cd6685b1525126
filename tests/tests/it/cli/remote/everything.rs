//! One life, lived here and on a server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{super::harness::Desk, sides::Side};

/// What has to be the same of a command's result.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    /// The shape of its JSON.
    Shape,
    /// The kinds of its events, one after the other.
    Events,
    /// What is there here is there as well, and the server may say more.
    AtLeast,
    /// The shape of the newest entry: a server has its first key beside it.
    Newest,
    /// Nothing: what is checked is of the place.
    Code,
    /// As [`Look::Shape`], once there is something.
    Until,
}
use Look::{AtLeast, Code, Events, Newest, Shape, Until};

struct Step {
    leaf: &'static str,
    rest: &'static [&'static str],
    code: i32,
    look: Look,
}

const fn step(leaf: &'static str, rest: &'static [&'static str], code: i32, look: Look) -> Step {
    Step { leaf, rest, code, look }
}

/// A life in which every command comes, with what it refuses. `{key_id}` is the key that was made last.
const LIFE: &[Step] = &[
    step("agents", &[], 0, Shape),
    step("agents", &["sleep"], 0, Shape),
    step("agents", &["nobody"], 5, Shape),
    step("runs", &[], 0, Shape),
    step("threads", &[], 0, Shape),
    step("schedule list", &[], 0, Shape),
    step("run", &["count", "--run", "r-1", "--thread", "talk"], 0, Shape),
    step("run", &["echo", "{\"a\": [1]}", "--thread", "talk"], 0, Shape),
    step("run", &["spend-report", "no,usage", "--thread", "bad"], 1, Shape),
    step("run", &["sleep", "60000", "--timeout", "200ms"], 1, Shape),
    step("run", &["nobody"], 5, Shape),
    step("run", &["sleep", "soon"], 2, Shape),
    step("run", &["echo", "--run", "r-1"], 2, Shape),
    step("run", &["echo", "--run", "null"], 2, Shape),
    step("runs", &[], 0, Shape),
    step("runs", &["--status", "failed", "--limit", "1"], 0, Shape),
    step("runs", &["--thread", "nothing"], 0, Shape),
    step("tail", &["r-1"], 0, Events),
    step("tail", &["r-1", "--after", "4", "--follow"], 0, Events),
    step("tail", &["nothing"], 5, Shape),
    step("retry", &["r-1"], 0, Shape),
    step("retry", &["nothing"], 5, Shape),
    step("export", &["r-1"], 0, Shape),
    step("export", &["r-1", "--whole", "-o", "r-1.jsonl"], 0, Shape),
    step("export", &["nothing"], 5, Shape),
    step("replay", &["r-1"], 0, Shape),
    step("replay", &["r-1.jsonl"], 0, Shape),
    step("replay", &["nothing"], 5, Shape),
    step("import", &["r-1.jsonl"], 2, Shape),
    step("threads", &[], 0, Shape),
    step("threads show", &["talk"], 0, Events),
    step("threads show", &["talk", "--after", "7"], 0, Events),
    step("threads show", &["nothing"], 5, Shape),
    step("fork", &["talk", "3", "--into", "other"], 0, Shape),
    step("fork", &["talk", "3", "--into", "other"], 2, Shape),
    step("fork", &["talk", "9999"], 5, Shape),
    step("delete thread", &["talk"], 2, Shape),
    step("delete thread", &["other"], 0, Shape),
    step("delete thread", &["talk"], 0, Shape),
    step("delete thread", &["talk"], 5, Shape),
    step("import", &["r-1.jsonl", "--thread", "again"], 0, Shape),
    step("tail", &["r-1"], 0, Events),
    step("submit", &["echo", "x", "--run", "s-1", "--idempotency-key", "order-7"], 0, AtLeast),
    step("submit", &["echo", "x", "--idempotency-key", "order-7"], 0, AtLeast),
    step("tail", &["s-1", "--follow"], 0, Events),
    step("submit", &["nobody"], 5, Shape),
    step("submit", &["echo", "--run", "s-1"], 2, Shape),
    step("submit", &["refund", r#"{"order": "A-17", "amount": 40}"#, "--run", "ask-1"], 0, AtLeast),
    step("inbox", &[], 0, Until),
    step("inbox", &["ask-1"], 0, Shape),
    step("retry", &["ask-1"], 1, Shape),
    step("export", &["ask-1"], 1, Shape),
    step("answer", &["ask-1", "perhaps"], 2, Shape),
    step("answer", &["ask-1", "yes"], 0, Shape),
    step("tail", &["ask-1", "--follow"], 0, Events),
    step("answer", &["ask-1", "no"], 5, Shape),
    step("submit", &["sleep", "60000", "--run", "long-1", "--thread", "long"], 0, AtLeast),
    step("submit", &["echo", "--thread", "long", "--policy", "reject"], 1, Shape),
    step("delete thread", &["long"], 2, Shape),
    step("cancel", &["long-1"], 0, Shape),
    step("tail", &["long-1", "--follow"], 0, Code),
    step("cancel", &["s-1"], 1, Shape),
    step("cancel", &["later"], 0, Shape),
    step("submit", &["echo", "--delay", "1h", "--run", "delayed"], 0, AtLeast),
    step("cancel", &["--agent", "echo"], 0, Shape),
    step("cancel", &["--all"], 0, AtLeast),
    step("schedule add", &["yearly", "0 0 1 1 *", "echo", "--timeout", "90s"], 0, Shape),
    step("schedule add", &["x", "61 * * * *", "echo"], 2, Shape),
    step("schedule add", &["x", "* * * * *", "nobody"], 5, Shape),
    step("schedule list", &[], 0, Shape),
    step("schedule pause", &["yearly"], 0, Shape),
    step("schedule resume", &["yearly"], 0, Shape),
    step("schedule remove", &["yearly"], 0, Shape),
    step("schedule remove", &["yearly"], 5, Shape),
    step("schedule pause", &["yearly"], 5, Shape),
    step("token create", &["--role", "user", "--expires", "30d", "--name", "laptop"], 0, Shape),
    step("token list", &[], 0, Newest),
    step("token list", &["--for-user", "local/local"], 0, Newest),
    step("token list", &["--for-user", "nobody"], 2, Shape),
    step("token revoke", &["{key_id}"], 0, Shape),
    step("token revoke", &["{key_id}", "--all"], 0, Shape),
    step("token revoke", &["0000000000000000"], 5, Shape),
    step("token create", &["--for-user", "acme/ada", "--read-only"], 0, Shape),
    step("token create", &["--expires", "0s"], 2, Code),
    step("token list", &["--all"], 0, Newest),
    step("audit", &[], 0, AtLeast),
    step("audit list", &["--after", "9999"], 0, Shape),
    step("audit verify", &[], 0, Shape),
    step("usage", &[], 0, Shape),
    step("usage", &["--from", "yesterday"], 2, Shape),
    step("webhooks", &[], 0, Shape),
    step("webhooks list", &["--state", "dead"], 0, Shape),
    step("webhooks resend", &["s-1"], 5, Shape),
    step("overview", &[], 0, AtLeast),
    step("nodes", &[], 0, AtLeast),
    step("doctor", &[], 0, Code),
    step("delete user", &[], 2, Shape),
    step("delete user", &["--yes"], 0, Shape),
    step("runs", &[], 0, Shape),
];

/// What is done on this machine alone. A server is refused.
const HERE_ALONE: &[&str] = &["demo", "work", "serve", "config", "migrate"];

/// What came of a step.
struct Came {
    code: Option<i32>,
    json: Vec<Value>,
    /// Why it failed, in words.
    error: Option<String>,
}

impl Step {
    fn taken(&self, side: &Side, key_id: &str) -> Came {
        let rest = self.rest.iter().map(|argument| if *argument == "{key_id}" { key_id } else { argument });
        let arguments: Vec<&str> = self.leaf.split(' ').chain(rest).chain(["--json"]).collect();
        loop {
            let said = side.insula(&arguments);
            let json = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let error = said.err.lines().find_map(|line| line.strip_prefix("error: ")).map(without_times);
            let came = Came { code: said.code, json, error };
            let is_empty = came.json.first().is_some_and(|page| page["items"] == Value::Array(Vec::new()));
            if self.look != Until || !is_empty {
                return came;
            }
        }
    }

    fn held_against(&self, here: &Came, there: &Came) {
        let name = format!("{} {:?}", self.leaf, self.rest);
        assert_eq!(here.code, Some(self.code), "{name} here: {:?}", here.error);
        assert_eq!(there.code, Some(self.code), "{name} there: {:?}", there.error);
        let (ours, theirs) = (shapes(&here.json), shapes(&there.json));
        match self.look {
            Shape | Until => assert_eq!(ours, theirs, "{name}: {:?} here, {:?} there", here.json, there.json),
            Events => assert_eq!(kinds(&here.json), kinds(&there.json), "{name}"),
            AtLeast => {
                let fields = |json: &[Value]| json[0].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
                assert!(fields(&here.json).is_subset(&fields(&there.json)), "{name}: {ours:?} here, {theirs:?} there");
            }
            Newest => {
                let newest = |json: &[Value]| shape(&json[0]["items"][0]);
                assert_eq!(newest(&here.json), newest(&there.json), "{name}");
            }
            Code => {}
        }
        if self.look != Code {
            assert_eq!(here.error, there.error, "{name}: why it failed, in words");
        }
    }
}

/// How long something took or was given is nobody's words.
fn without_times(words: &str) -> String {
    let word = |word: &str| {
        if word.ends_with("ms") && word.starts_with(|c: char| c.is_ascii_digit()) {
            "some ms".to_owned()
        } else {
            word.to_owned()
        }
    };
    words.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

fn shapes(values: &[Value]) -> BTreeSet<String> {
    values.iter().map(shape).collect()
}

/// What a value is made of: which fields there are and of which types. What is `null` may as well be missing.
fn shape(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "text".to_owned(),
        Value::Array(items) => format!("{:?}", shapes(items)),
        Value::Object(fields) => {
            let there = fields.iter().filter(|(_, value)| !value.is_null());
            format!("{:?}", there.map(|(name, value)| (name, shape(value))).collect::<BTreeMap<_, _>>())
        }
    }
}

#[test]
fn every_command_does_the_same_here_and_on_a_server() {
    let (here, there) = (Side::here(), Side::there());
    let mut keys = [String::new(), String::new()];
    for step in LIFE {
        let came = [(&here, 0), (&there, 1)].map(|(side, n)| step.taken(side, &keys[n]));
        step.held_against(&came[0], &came[1]);
        for (key, came) in keys.iter_mut().zip(&came) {
            if let Some(id) = came.json.first().and_then(|said| said["key_id"].as_str()) {
                id.clone_into(key);
            }
        }
    }
}

/// The commands below this one that do something, as its help lists them.
fn leaves(desk: &Desk, path: &[&str]) -> Vec<String> {
    let help = desk.ok(&[path, &["--help"]].concat()).out;
    let usage = help.lines().find(|line| line.starts_with("Usage: ")).unwrap();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let names: Vec<&str> = names.map(|line| line.split(' ').next().unwrap()).filter(|name| *name != "help").collect();
    let mut found: Vec<String> = names.iter().flat_map(|name| leaves(desk, &[path, &[name]].concat())).collect();
    if !usage.contains("<COMMAND>") {
        found.push(path.join(" "));
    }
    found
}

#[test]
fn no_command_is_without_a_row() {
    let leaves = leaves(&Desk::new(), &[]);
    assert!(leaves.len() > 30 && leaves.contains(&"schedule add".to_owned()), "{leaves:?}");
    let rows: BTreeSet<&str> = LIFE.iter().map(|step| step.leaf).chain(HERE_ALONE.iter().copied()).collect();
    let missing: Vec<_> = leaves.iter().filter(|leaf| !rows.contains(leaf.as_str())).collect();
    assert!(missing.is_empty(), "held against a server, or refused there: {missing:?}");
    let gone: Vec<_> = rows.iter().filter(|row| !leaves.iter().any(|leaf| leaf == *row)).collect();
    assert!(gone.is_empty(), "there are no such commands any more: {gone:?}");
}

#[test]
fn what_is_done_here_alone_is_refused_where_a_server_is_named() {
    let desk = Desk::new();
    for command in HERE_ALONE {
        let said = desk.insula(&[command, "--server", "https://example.org"]);
        said.refused(2, &[&format!("`insula {command}` is done on this machine"), "flag --server", "--server none"]);
    }
    assert!(!desk.path("insula-data").exists());
    let named = desk.command(&["config"]).env("INSULA_SERVER", "https://example.org").output().unwrap();
    assert!(named.status.success(), "what the settings come to is to be seen");
    desk.ok(&["migrate", "--server", "none"]);
}
