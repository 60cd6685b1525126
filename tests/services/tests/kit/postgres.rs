//! Databases of one's own, empty and prepared.

use std::sync::atomic::{AtomicU32, Ordering};

use insula_test_services::Postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

async fn connect(postgres: &Postgres) -> PgConnection {
    PgConnection::connect(&postgres.url()).await.expect("a database of ours takes us")
}

async fn run(connection: &mut PgConnection, statement: &str) {
    sqlx::query(AssertSqlSafe(statement)).execute(connection).await.expect("a database of ours does as it is told");
}

async fn is_there(admin: &mut PgConnection, name: &str) -> bool {
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(name);
    found.fetch_optional(admin).await.expect("the catalogue can be read").is_some()
}

#[tokio::test]
async fn a_database_ends_with_its_value_although_somebody_is_connected() {
    let postgres = Postgres::fresh("ends with its value").await;
    let name = postgres.name().to_owned();
    let _connected = connect(&postgres).await;
    let other = Postgres::fresh("other").await;
    let mut admin = connect(&other).await;
    assert!(is_there(&mut admin, &name).await, "{name}");
    drop(postgres);
    assert!(!is_there(&mut admin, &name).await, "{name}");
}

#[tokio::test]
async fn of_all_who_prepare_at_once_one_migrates_and_everybody_has_a_copy_of_their_own() {
    let template = unique_template().await;
    let migrations = AtomicU32::new(0);
    let prepare = || {
        Postgres::prepared(&template, async |url: &str| {
            migrations.fetch_add(1, Ordering::SeqCst);
            let mut connection = PgConnection::connect(url).await.unwrap();
            run(&mut connection, "CREATE TABLE notes (text text PRIMARY KEY)").await;
            connection.close().await.unwrap();
        })
    };
    let (one, two, three) = tokio::join!(prepare(), prepare(), prepare());
    assert_eq!(migrations.load(Ordering::SeqCst), 1);
    for postgres in [&one, &two, &three] {
        run(&mut connect(postgres).await, "INSERT INTO notes VALUES ('the same key in each')").await;
    }
    remove_template(&one, &template).await;
}

#[tokio::test]
async fn a_template_that_was_not_finished_is_begun_anew() {
    let template = unique_template().await;
    let given_up = tokio::spawn({
        let template = template.clone();
        async move { Postgres::prepared(&template, async |_: &str| panic!("a migration that is wrong")).await }
    });
    assert!(given_up.await.unwrap_err().is_panic());
    let postgres = Postgres::prepared(&template, async |url: &str| {
        let mut connection = PgConnection::connect(url).await.unwrap();
        run(&mut connection, "CREATE TABLE notes (text text)").await;
        // Not closed: the server notices on its own, some time later.
    })
    .await;
    run(&mut connect(&postgres).await, "SELECT * FROM notes").await;
    remove_template(&postgres, &template).await;
}

/// A name that no earlier run of this test has left.
async fn unique_template() -> String {
    let postgres = Postgres::fresh("t").await;
    postgres.name().trim_start_matches("insula_test_").to_owned()
}

/// Templates stay for the next process; these are nobody's.
async fn remove_template(postgres: &Postgres, template: &str) {
    run(&mut connect(postgres).await, &format!("DROP DATABASE insula_template_{template}")).await;
}
