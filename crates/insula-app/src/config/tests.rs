use std::path::Path;

use super::*;

fn flags(set: &[&str]) -> SettingFlags {
    let set = set.iter().map(|text| (*text).to_owned()).collect();
    SettingFlags {
        config: None,
        data_dir: None,
        database: None,
        user: None,
        tenant: None,
        server: None,
        key: None,
        set,
    }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let ours = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment { ours, ..Environment::default() }
}

fn load(file: &str, variables: &[(&str, &str)], set: &[&str]) -> Result<Settings, Stop> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("insula.toml");
    std::fs::write(&path, file).expect("written");
    Settings::load(&SettingFlags { config: Some(path), ..flags(set) }, &environment(variables))
}

fn origin(settings: &Settings, key: &str) -> String {
    let found = settings.origins.iter().find(|setting| setting.key == key);
    found.map(|setting| setting.origin.clone()).expect("a known key")
}

#[test]
fn later_sources_win_and_each_value_says_where_it_came_from() {
    let file = "user = \"file\"\ntenant = \"file\"\nsync = \"normal\"\n[limits]\nrunning = 3\nwaiting = 5\n";
    let variables = [("INSULA_USER", "environment"), ("INSULA_LIMITS_RUNNING", "4"), ("INSULA_TENANT", "environment")];
    let settings = load(file, &variables, &["user=flag", "limits.run_time=90s"]).expect("valid");
    assert_eq!((settings.user.as_str(), settings.tenant.as_str()), ("flag", "environment"));
    assert_eq!((settings.limits.running, settings.limits.waiting, settings.limits.engines), (4, 5, 100));
    assert_eq!((settings.sync, settings.limits.run_time), (Sync::Normal, Duration::from_secs(90)));
    assert_eq!(origin(&settings, "user"), "flag --set");
    assert_eq!(origin(&settings, "limits.running"), "environment INSULA_LIMITS_RUNNING");
    assert!(origin(&settings, "limits.waiting").ends_with("insula.toml"));
    assert_eq!(origin(&settings, "limits.engines"), "default");
}

#[test]
fn a_collector_is_named_by_the_standard_variable_unless_ours_names_another() {
    let standard = || Environment { otlp_endpoint: Some("http://standard:4318".into()), ..environment(&[]) };
    let settings = Settings::load(&flags(&[]), &standard()).expect("valid");
    assert_eq!(settings.otlp.as_deref(), Some("http://standard:4318"));
    assert_eq!(origin(&settings, "otlp.endpoint"), "environment OTEL_EXPORTER_OTLP_ENDPOINT");
    let ours = environment(&[("INSULA_OTLP_ENDPOINT", "off")]).ours;
    let settings = Settings::load(&flags(&[]), &Environment { ours, ..standard() }).expect("valid");
    assert_eq!(settings.otlp, None);
    assert_eq!(load("", &[], &[]).expect("valid").otlp, None);
}

#[test]
fn a_relative_path_in_the_file_is_meant_from_its_folder() {
    let settings = load("data_dir = \"store\"\n", &[], &[]).expect("valid");
    assert!(settings.data_dir.is_absolute() && settings.data_dir.ends_with("store"));
    assert_eq!(settings.database.shown(), settings.data_dir.join("insula.db").display().to_string());
    let settings = load("", &[("INSULA_DATA_DIR", "elsewhere")], &[]).expect("valid");
    assert_eq!(settings.data_dir, Path::new("elsewhere"));
}

#[test]
fn what_is_wrong_is_named_with_its_source_and_key() {
    let cases = [
        (load("[limits]\nruning = 3\n", &[], &[]), "insula.toml: unknown key \"limits.runing\""),
        (load("limits = 3\n", &[], &[]), "insula.toml: unknown key \"limits\""),
        (load("", &[("INSULA_DATADIR", "x")], &[]), "environment: INSULA_DATADIR is no setting"),
        (load("", &[("INSULA_LIMITS_RUNNING", "many")], &[]), "environment INSULA_LIMITS_RUNNING: limits.running: "),
        (load("", &[], &["limits.running=0"]), "flag --set: limits.running: at least 1 is needed"),
        (load("sync = \"fast\"\n", &[], &[]), "insula.toml: sync: \"fast\" is neither \"full\" nor \"normal\""),
        (
            load("log.format = \"xml\"\n", &[], &[]),
            "log.format: \"xml\" is neither \"text\" nor \"pretty\" nor \"json\"",
        ),
        (load("", &[], &["otlp.endpoint=localhost"]), "otlp.endpoint: \"localhost\" is neither \"off\" nor an address"),
        (load("", &[], &["limits.grace=soon"]), "flag --set: limits.grace: \"soon\" is no duration"),
        (load("user = [\n", &[], &[]), "insula.toml: it is not valid TOML"),
        (load("", &[], &["nobody=1"]), "--set: unknown key \"nobody\""),
        (load("", &[], &["node=a b"]), "flag --set: node: a name has letters"),
        (load("", &[], &["redis=cache:6379"]), "flag --set: redis: an address is wanted"),
        (load("", &[], &["database_owner=postgres://o@h/d"]), "database_owner: it says nothing where"),
        (load("", &[], &["database=postgres://h/d", "database_reads=h"]), "database_reads: an address is wanted"),
        (
            load("", &[("INSULA_DATABASE", "a.db"), ("INSULA_DATABASE_URL", "postgres://h/d")], &[]),
            "INSULA_DATABASE_URL says what environment INSULA_DATABASE says as well",
        ),
    ];
    for (loaded, expected) in cases {
        let stop = loaded.expect_err(expected);
        assert!(stop.message.contains(expected), "{} should contain {expected}", stop.message);
    }
}

#[test]
fn a_key_is_shown_to_nobody() {
    let secret = "insula_id_hush";
    let file = format!("server = \"https://example.org\"\nkey = \"{secret}\"\n");
    let settings = load(&file, &[], &[]).expect("valid");
    let shown = settings.origins.iter().find(|setting| setting.key == "key").expect("a known key");
    assert_eq!(shown.value, "hidden");
    assert!(!format!("{settings:?}").contains("hush"));
    // Whoever forgets the quotes is told where, and nobody reads it over a shoulder.
    let stop = load(&format!("key = {secret}\n"), &[], &[]).expect_err("no TOML");
    let said = format!("{stop:?}");
    assert!(said.contains("line 1") && !said.contains("hush"), "{said}");
}

#[test]
fn a_keys_file_is_meant_from_where_it_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("insula.toml");
    std::fs::write(&path, "server = \"https://example.org\"\nkey = \"@key\"\n").expect("written");
    let flags = SettingFlags { config: Some(path), ..flags(&[]) };
    let server = Settings::load(&flags, &environment(&[])).expect("valid").server.expect("a server");
    assert!(server.key().is_err(), "it is not there yet");
    std::fs::write(folder.path().join("key"), "insula_id_secret\n").expect("written");
    assert!(server.key().is_ok());
    let nowhere = load("server = \"https://example.org\"\n", &[], &["server=none"]).expect("valid");
    assert!(nowhere.server.is_none(), "`none` is here");
}

#[test]
fn a_database_is_a_file_or_a_server_whose_password_nobody_is_shown() {
    let cluster = [
        ("INSULA_DATABASE_URL", "postgres://insula_app:hush@db/insula"),
        ("INSULA_DATABASE_OWNER", "postgres://insula_owner:hush@db/insula"),
        ("INSULA_DATABASE_POOLER", "true"),
        ("INSULA_REDIS_URL", "redis://:hush@cache:6379"),
    ];
    let settings = load("", &cluster, &[]).expect("valid");
    let Database::Postgres(server) = &settings.database else { panic!("{:?} is no server", settings.database) };
    assert_eq!(server.url.expose(), "postgres://insula_app:hush@db/insula");
    assert_eq!((server.way, server.connections, server.direct.is_none()), (Way::Pooler, 10, true));
    assert_eq!(settings.redis.as_ref().map(|redis| redis.url.expose()), Some("redis://:hush@cache:6379"));
    assert_eq!(origin(&settings, "database"), "environment INSULA_DATABASE_URL");
    assert!(!format!("{settings:?}").contains("hush"));
    let shown = settings.origins.iter().find(|setting| setting.key == "database").expect("a known key");
    assert_eq!(shown.value, "postgres://insula_app:hidden@db/insula");
    let settings = load("", &[], &["database=here.db"]).expect("valid");
    assert!(matches!(&settings.database, Database::File(file) if file == Path::new("here.db")));
}

#[test]
fn an_address_may_stand_in_a_file_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("insula.toml");
    std::fs::write(&path, "database = \"@url\"\n").expect("written");
    std::fs::write(folder.path().join("url"), "postgres://insula_app:hush@db/insula\n").expect("written");
    let settings =
        Settings::load(&SettingFlags { config: Some(path), ..flags(&[]) }, &environment(&[])).expect("valid");
    assert_eq!(settings.database.shown(), "postgres://insula_app:hidden@db/insula");
    let shown = settings.origins.iter().find(|setting| setting.key == "database").expect("a known key");
    assert_eq!(shown.value, "@url");
    let stop = load("", &[], &["database=@nowhere"]).expect_err("there is no such file");
    assert!(stop.message.contains("nowhere cannot be read"), "{}", stop.message);
}

#[test]
fn no_two_processes_have_the_same_name() {
    let name = || load("", &[], &["node=left"]).expect("valid").node;
    let (one, other) = (name(), name());
    assert!(one.starts_with("left-") && other.starts_with("left-") && one != other, "{one} {other}");
}
