//! One configuration from four sources.

use serde_json::{Value, json};

use super::harness::{Desk, Said};

fn setting(settings: &Value, key: &str) -> (String, String) {
    let found = settings["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("value"), text("origin").replace("environment ", ""))
}

#[test]
fn later_sources_win_and_each_value_says_where_it_came_from() {
    let desk = Desk::new();
    desk.write("insula.toml", "user = \"file\"\ntenant = \"file\"\nsync = \"normal\"\n[limits]\nrunning = 3\n");
    let mut command = desk.command(&["config", "--json", "--user", "flag", "--set", "limits.grace=2s"]);
    let variables = [("INSULA_USER", "variable"), ("INSULA_TENANT", "variable"), ("INSULA_LIMITS_WAITING", "7")];
    let said = Said::of(command.envs(variables).output().unwrap());
    let settings: Value = serde_json::from_str(&said.out).unwrap();
    let expected = [
        ("user", "flag", "flag --user"),
        ("tenant", "variable", "INSULA_TENANT"),
        ("sync", "normal", "insula.toml"),
        ("limits.running", "3", "insula.toml"),
        ("limits.waiting", "7", "INSULA_LIMITS_WAITING"),
        ("limits.grace", "2s", "flag --set"),
        ("limits.engines", "100", "default"),
        ("database", "./insula-data/insula.db", "default, in data_dir"),
    ];
    for (key, value, origin) in expected {
        assert_eq!(setting(&settings, key), (value.to_owned(), origin.to_owned()), "{key}");
    }
}

#[test]
fn a_named_file_is_read_and_its_paths_are_meant_from_its_folder() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path("etc")).unwrap();
    desk.write("etc/site.toml", "data_dir = \"store\"\n");
    let settings = desk.json(&["config", "--json", "--config", "etc/site.toml"]);
    assert_eq!(setting(&settings, "data_dir"), ("etc/store".to_owned(), "etc/site.toml".to_owned()));
    desk.insula(&["config", "--config", "none.toml"]).refused(3, &["none.toml: it cannot be read", "--config"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_source() {
    let desk = Desk::new();
    desk.write("insula.toml", "[limits]\nruning = 3\n");
    desk.insula(&["runs"]).refused(3, &["insula.toml: unknown key \"limits.runing\"", "limits.running"]);
    let said = desk.json(&["doctor", "--json"]);
    assert_eq!((&said["ok"], &said["checks"][0]["name"]), (&json!(false), &json!("configuration")));
    let desk = Desk::new();
    let said = Said::of(desk.command(&["runs"]).env("INSULA_DATADIR", "x").output().unwrap());
    said.refused(3, &["INSULA_DATADIR is no setting", "INSULA_DATA_DIR"]);
    desk.insula(&["runs", "--set", "limits.running=none"]).refused(3, &["flag --set: limits.running: "]);
    desk.insula(&["runs", "--user", "null"]).refused(3, &["user_id is the placeholder \"null\"", "insula config"]);
    desk.insula(&["runs", "--set", "log.filter=a=b=c"]).refused(3, &["log.filter", "no filter"]);
}

#[test]
fn the_help_documents_the_exit_codes() {
    let desk = Desk::new();
    let help = desk.ok(&["--help"]).out;
    for code in ["0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "130 "] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(code)), "{code} is missing in {help}");
    }
    assert_eq!(desk.insula(&["dance"]).code, Some(2));
}
