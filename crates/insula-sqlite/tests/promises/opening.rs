//! Files that cannot be opened: each error names the file and what to do.

use std::path::Path;

use insula_infra::Error;
use insula_sqlite::{SCHEMA_VERSION, SchemaStatus, SqliteBackend, schema_status};
use rusqlite::Connection;

use crate::support::{at, folder};

/// The problem that is told when this file is opened.
fn problem(path: &Path) -> String {
    let refused = SqliteBackend::at(path).busy_timeout(std::time::Duration::from_millis(10)).open();
    match refused {
        Err(Error::Database { file, problem, .. }) => {
            assert_eq!(Path::new(&file), path);
            problem
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_folder_is_named_and_not_made() {
    let folder = folder();
    let missing = folder.path().join("missing");
    let problem = problem(&missing.join("insula.db"));
    assert!(problem.contains(&*missing.to_string_lossy()) && problem.contains("create it"), "{problem}");
    assert!(!missing.exists());
}

#[test]
fn a_folder_or_another_kind_of_file_is_not_a_database() {
    let folder = folder();
    assert!(problem(folder.path()).contains("check that its folder exists and that it is a file"));
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but longer than the header of one: ".repeat(40)).expect("writes");
    assert!(problem(&text).contains("not an SQLite database"));
    assert_eq!(std::fs::read(&text).expect("reads").len(), 51 * 40);
}

#[test]
fn another_programs_database_is_refused_and_left_as_it_is() {
    let folder = folder();
    let path = folder.path().join("theirs.db");
    let theirs = Connection::open(&path).expect("opens");
    theirs.execute_batch("CREATE TABLE customers (name TEXT)").expect("creates");
    let before = std::fs::read(&path).expect("reads");
    assert!(problem(&path).contains("another program"));
    assert_eq!(std::fs::read(&path).expect("reads"), before);
}

#[test]
fn a_newer_file_is_refused_with_both_versions() {
    let folder = folder();
    drop(at(&folder).open().expect("opens"));
    let path = folder.path().join("insula.db");
    assert_eq!(schema_status(&path).expect("reads"), SchemaStatus::Version(SCHEMA_VERSION));
    let newer = Connection::open(&path).expect("opens");
    newer.pragma_update(None, "user_version", SCHEMA_VERSION + 7).expect("writes");
    drop(newer);
    let problem = problem(&path);
    let versions = [(SCHEMA_VERSION + 7).to_string(), format!("up to {SCHEMA_VERSION}")];
    assert!(versions.iter().all(|version| problem.contains(version)), "{problem}");
}

#[test]
fn a_locked_file_says_that_another_process_has_it() {
    let folder = folder();
    drop(at(&folder).open().expect("opens"));
    let path = folder.path().join("insula.db");
    let holder = Connection::open(&path).expect("opens");
    holder
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE held (n); COMMIT")
        .expect("locks");
    assert!(problem(&path).contains("another process"));
}

#[test]
fn a_file_that_is_not_there_yet_is_empty_and_looking_does_not_make_it() {
    let folder = folder();
    let path = folder.path().join("insula.db");
    assert_eq!(schema_status(&path).expect("reads"), SchemaStatus::Empty);
    assert!(!path.exists());
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_user_may_read_what_is_stored() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let backend = at(&folder).open().expect("opens").into_backend();
    let database = backend.database.expect("a database");
    database.open(&crate::support::scope("ada")).await.expect("opens").commit().await.expect("commits");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let users = folder.path().join("insula.db.users");
    assert_eq!((mode(&folder.path().join("insula.db")), mode(&users)), (0o600, 0o700));
    for file in std::fs::read_dir(users).expect("reads") {
        assert_eq!(mode(&file.expect("a file").path()), 0o600);
    }
}
