//! A database for a test, up to date and empty, and connections to it as processes have them.

use insula_postgres::{Options, PostgresBackend, SCHEMA_HASH, SCHEMA_VERSION, migrate};
use insula_test_services::Postgres;

/// A database of one's own.
pub(crate) async fn database() -> Postgres {
    let template = format!("insula-postgres-{SCHEMA_VERSION}-{}", SCHEMA_HASH);
    Postgres::prepared(&template, async |url| {
        migrate(url).await.expect("migrates");
    })
    .await
}

/// How a process connects to it: as the role for which the walls stand.
pub(crate) fn at(database: &Postgres) -> Options {
    PostgresBackend::at(as_role(database, "insula_app"))
}

/// The address of a database for a role. On the server for tests nobody has a password.
pub(crate) fn as_role(database: &Postgres, role: &str) -> String {
    let url = database.url();
    let (scheme, rest) = url.split_once("://").expect("an address");
    let server = rest.split_once('@').map_or(rest, |(_, server)| server);
    format!("{scheme}://{role}@{server}")
}
