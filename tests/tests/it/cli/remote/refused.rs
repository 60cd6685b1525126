//! Who is not let in, where nobody answers, and what was tampered with.

use super::{
    super::harness::{Desk, Said},
    sides::Side,
};

/// Looks like a key.
const SECRET: &str = "insula_0123456789abcdef_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I";

#[test]
fn whoever_is_not_let_in_is_told_so_with_a_code_of_its_own() {
    let mut side = Side::there();
    let url = side.server().url().to_owned();
    let desk = Desk::new();
    desk.insula(&["runs", "--server", &url]).refused(6, &["wants a key, and none is given", "insula token create"]);
    let said = desk.insula(&["runs", "--server", &url, "--key", SECRET]);
    said.refused(6, &["the server does not accept the key", "insula config"]);
    assert!(!said.err.contains("c2VjcmV0"), "{}", said.err);
    for (role, command) in [
        ("user", &["overview"][..]),
        ("user", &["nodes"]),
        ("user", &["token", "list", "--all"]),
        ("operator", &["runs"]),
    ] {
        let key = side.json(&["token", "create", "--role", role, "--json"])["key"].as_str().unwrap().to_owned();
        desk.write("key", key);
        let said = desk.insula(&[command, &["--server", &url, "--key", "@key"]].concat());
        said.refused(6, &["does not have the role", "insula token create"]);
    }
    let key = side.json(&["token", "create", "--role", "user", "--read-only", "--json"])["key"].clone();
    desk.write("key", key.as_str().unwrap());
    desk.ok(&["runs", "--server", &url, "--key", "@key"]);
    desk.insula(&["run", "echo", "--server", &url, "--key", "@key"]).refused(6, &[]);
}

#[test]
fn a_key_that_is_revoked_lets_nobody_in_any_more() {
    let mut side = Side::there();
    let (url, made) = (side.server().url().to_owned(), side.json(&["token", "create", "--role", "user", "--json"]));
    let desk = Desk::new();
    desk.write("key", made["key"].as_str().unwrap());
    let runs = ["runs", "--server", &url, "--key", "@key"];
    desk.ok(&runs);
    let said = side.insula(&["token", "revoke", made["key_id"].as_str().unwrap()]);
    assert!(said.out.contains("is worth nothing any more"), "{}{}", said.out, said.err);
    desk.insula(&runs).refused(6, &["does not accept the key"]);
    // Who takes the key for its id does not find it in the output.
    let said = side.insula(&["token", "revoke", SECRET]);
    said.refused(2, &["its id is wanted"]);
    assert!(!said.err.contains("c2VjcmV0"), "{}", said.err);
}

#[test]
fn a_key_is_printed_once_and_by_itself() {
    for side in [Side::here(), Side::there()] {
        let said = side.insula(&["token", "create", "--name", "laptop"]);
        let key = said.out.trim_end();
        assert!(said.out.lines().count() == 1 && key.starts_with("insula_") && key.len() > 50, "{}", said.out);
        assert!(!said.err.contains(key) && said.err.contains("it is not shown again"), "{}", said.err);
        // What is secret may have such signs in it as well.
        let secret = key.splitn(3, '_').last().unwrap();
        let listed = side.insula(&["token", "list", "--json"]).out + &side.insula(&["audit", "--json"]).out;
        assert!(listed.contains("laptop") && !listed.contains(secret), "{listed}");
    }
}

#[test]
fn a_key_made_here_lets_its_owner_in_at_the_server_of_the_same_data() {
    let desk = Desk::new();
    let key = desk.ok(&["token", "create", "--for-user", "acme/ada"]).out;
    desk.write("key", key);
    let server = crate::server::process::Process::start_at(&desk.path(""), "127.0.0.1:0", &[]);
    assert_eq!(server.key, None, "there is a way in already");
    let said = desk.ok(&["runs", "--server", &server.url, "--key", "@key"]);
    assert!(said.err.contains("no runs of acme/ada"), "{}", said.err);
}

#[test]
fn a_key_goes_to_no_other_machine_in_the_clear() {
    let desk = Desk::new();
    let runs = |server: &str| desk.insula(&["runs", "--server", server, "--key", SECRET]);
    runs("http://192.0.2.1:8080").refused(3, &["192.0.2.1 is another machine", "https address", "ssh -L"]);
    runs("example.org").refused(3, &["\"example.org\" is no address of a server", "insula config"]);
    runs("https://ada:hush@example.org").refused(3, &["a name and a password do not belong there"]);
    assert!(!runs("https://ada:hush@example.org").err.contains("hush"));
    desk.insula(&["runs", "--server", "https://example.org", "--key", "@none"]).refused(3, &["none cannot be read"]);
    desk.insula(&["submit", "echo", "--key", "order-7"]).refused(2, &["flag --key", "--idempotency-key"]);
    for flags in [["--user", "ben"], ["--data-dir", "x"]] {
        let said = desk.insula(&[&["runs", "--server", "https://example.org"][..], &flags].concat());
        said.refused(2, &[flags[0], "says nothing to a server", "--server none"]);
    }
}

#[test]
fn settings_hide_the_key_and_say_where_it_came_from() {
    let desk = Desk::new();
    desk.write("insula.toml", format!("server = \"https://example.org\"\nkey = \"{SECRET}\"\n"));
    let said = desk.ok(&["config", "--json"]).out;
    assert!(said.contains("\"value\":\"hidden\"") && !said.contains("c2VjcmV0"), "{said}");
    let said = desk.ok(&["config", "--key", SECRET]).out;
    assert!(said.lines().any(|line| line.starts_with("key ") && line.ends_with("flag --key")), "{said}");
    assert!(!said.contains("c2VjcmV0"));
    desk.write("insula.toml", format!("key = {SECRET}\n"));
    let said = desk.insula(&["config"]);
    said.refused(3, &["it is not valid TOML", "line 1"]);
    assert!(!said.err.contains("c2VjcmV0"), "{}", said.err);
}

fn checks(said: &Said) -> Vec<(String, String)> {
    let said: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let text = |check: &serde_json::Value, field: &str| check[field].as_str().unwrap().to_owned();
    said["checks"].as_array().unwrap().iter().map(|check| (text(check, "name"), text(check, "finding"))).collect()
}

#[test]
fn the_doctor_looks_at_a_server_and_says_what_is_wrong_and_what_to_do() {
    let mut side = Side::there();
    let found = checks(&side.insula(&["doctor", "--json"]));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["configuration", "server", "clock", "key", "version", "queue", "webhooks"]);
    assert!(found.iter().all(|(_, finding)| finding == "ok"), "{found:?}");
    let url = side.server().url().to_owned();
    let desk = Desk::new();
    let doctor = |server: &str, key: &str| desk.insula(&["doctor", "--server", server, "--key", key]);
    let said = doctor(&url, SECRET);
    assert_eq!((said.code, said.out.contains("fail  key")), (Some(6), true), "{}", said.out);
    let said = doctor(&url.replace("http:", "https:"), SECRET);
    assert_eq!((said.code, said.out.contains("speaks no TLS")), (Some(4), true), "{}", said.out);
    side.server().kill();
    let said = doctor(&url, SECRET);
    assert_eq!((said.code, said.out.contains("start it (`insula serve`)")), (Some(4), true), "{}", said.out);
    assert!(!desk.path("insula-data").exists());
}

#[test]
fn an_audit_log_that_was_changed_is_found_and_the_entry_named() {
    let desk = Desk::new();
    for name in ["one", "two", "three"] {
        desk.ok(&["token", "create", "--name", name]);
    }
    assert!(desk.ok(&["audit", "verify"]).out.contains("3 entries are as they were written"));
    let database = desk.path("insula-data/insula.db");
    let mut bytes = std::fs::read(&database).unwrap();
    let (was, is) = (&b"\"name\":\"two\""[..], &b"\"name\":\"owt\""[..]);
    let at = bytes.windows(was.len()).position(|window| window == was).expect("it is in the file");
    bytes[at..at + is.len()].copy_from_slice(is);
    std::fs::write(&database, bytes).unwrap();
    let said = desk.insula(&["audit", "verify"]);
    assert_eq!((said.code, said.out.contains("entry 2 was changed")), (Some(1), true), "{}{}", said.out, said.err);
    assert_eq!(desk.json(&["audit", "verify", "--all", "--json"])["logs"][0]["broken"], 2);

    let server = crate::server::process::Process::start_at(&desk.path(""), "127.0.0.1:0", &[]);
    desk.write("key", desk.ok(&["token", "create"]).out);
    let said = desk.insula(&["audit", "verify", "--server", &server.url, "--key", "@key"]);
    assert_eq!((said.code, said.out.contains("entry 2 was changed")), (Some(1), true), "{}{}", said.out, said.err);
}
