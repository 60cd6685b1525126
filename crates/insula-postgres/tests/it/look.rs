//! What the doctor is told of a database.

use insula_postgres::{Finding, look};
use insula_test_services::Postgres;
use sqlx::{Connection, Executor, PgConnection};

use crate::support;

async fn finding(url: &str, subject: &str) -> Finding {
    let found = look(url).await.expect("the server answers");
    found.into_iter().find(|finding| finding.subject == subject).expect("it is looked at")
}

#[tokio::test]
async fn the_role_of_processes_is_behind_the_walls_and_others_are_not() {
    let database = support::database().await;
    for (role, ok) in [("insula_app", true), ("postgres", false)] {
        let found = finding(&support::as_role(&database, role), "role").await;
        assert_eq!(found.ok, ok, "{found:?}");
        assert!(found.detail.contains(role), "{found:?}");
    }
}

#[tokio::test]
async fn a_wall_that_was_taken_down_is_named() {
    let database = support::database().await;
    let url = support::as_role(&database, "insula_app");
    assert!(finding(&url, "walls").await.ok);
    let mut admin = PgConnection::connect(&database.url()).await.expect("connects");
    (&mut admin).execute("ALTER TABLE insula.runs NO FORCE ROW LEVEL SECURITY").await.expect("is done");
    (&mut admin).execute("ALTER TABLE insula.keys DISABLE ROW LEVEL SECURITY").await.expect("is done");
    let found = finding(&url, "walls").await;
    assert!(!found.ok && found.detail.ends_with("on keys, runs"), "{found:?}");
}

#[tokio::test]
async fn an_empty_database_is_to_be_migrated() {
    let database = Postgres::fresh("look").await;
    let found = finding(&database.url(), "schema").await;
    assert!(!found.ok && found.mend.contains("insula migrate"), "{found:?}");
    assert!(!finding(&database.url(), "walls").await.ok);
}

#[tokio::test]
async fn server_and_clock_are_as_they_should_be() {
    let database = support::database().await;
    for subject in ["server", "clock"] {
        let found = finding(&support::as_role(&database, "insula_app"), subject).await;
        assert!(found.ok, "{found:?}");
    }
    // The server for tests may have been told not to wait for the disk: then that is what is found.
    let found = finding(&database.url(), "durability").await;
    assert_eq!(found.ok, !found.detail.contains("off"), "{found:?}");
}

#[tokio::test]
async fn an_address_that_nobody_answers_at_is_an_error_without_its_password() {
    let refused = look("postgres://ada:secret@127.0.0.1:1/insula").await.expect_err("nobody is there");
    assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
}
