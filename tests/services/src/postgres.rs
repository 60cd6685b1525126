//! A database for each test, empty or made from a template, on a server that all tests share.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::address::{named_by, plain, unique};

const ADDRESS: &str = "INSULA_TEST_POSTGRES";

/// The lock, over all processes, of whoever makes a template.
const TEMPLATES_LOCK: i64 = 0x1_0501_a7e5;

/// How often a database is asked for that others are just leaving, and how long is waited in between: 20 s in all.
const LEAVING: (u32, Duration) = (1_000, Duration::from_millis(20));

/// A database of one's own, dropped with everything that is still connected to it when the value is dropped.
///
/// A test that is killed leaves its database behind. On the server that `cargo xtask` started it ends with the server;
/// elsewhere its name begins with `insula_test_`.
#[derive(Debug)]
pub struct Postgres {
    server: String,
    name: String,
}

impl Postgres {
    /// An empty database. `name` only makes it easy to find; the database has a unique name whatever it is.
    ///
    /// # Panics
    /// When `INSULA_TEST_POSTGRES` is not set, or when the server does not do as it is told.
    pub async fn fresh(name: &str) -> Self {
        let server = named_by(ADDRESS);
        let mut admin = connect(&server).await;
        // Nobody can be connected to template0, so copying it never meets anybody.
        create(&mut admin, server, name, "template0").await
    }

    /// A copy of a database that `migrate` prepared once, for all tests of all processes that say the same `template`.
    /// `migrate` is given the address of an empty database, and must have closed its connections when it ends.
    ///
    /// `template` stands for the content: make it of a hash of the migrations, so that a changed schema is another
    /// template. When `migrate` panics or is dropped half-way, there is no template and the next caller begins anew.
    ///
    /// # Panics
    /// As [`fresh`](Self::fresh), and when `migrate` does.
    pub async fn prepared(template: &str, migrate: impl AsyncFnOnce(&str)) -> Self {
        let server = named_by(ADDRESS);
        let template = format!("insula_template_{}", plain(template, 40));
        let mut admin = connect(&server).await;
        if !exists(&mut admin, &template).await {
            // The connection holds the lock, and lets go of it however this ends.
            let mut lock = connect(&server).await;
            sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATES_LOCK).execute(&mut lock).await.expect(REFUSED);
            if !exists(&mut admin, &template).await {
                make_template(&mut admin, &template, migrate).await;
            }
        }
        create(&mut admin, server, "prepared", &template).await
    }

    /// The address of the database, for the user who may do anything with it.
    #[must_use]
    pub fn url(&self) -> String {
        with_database(&self.server, &self.name)
    }

    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Postgres {
    /// Waits for the server. A thread with a runtime of its own, because a runtime may be what is being dropped.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(drop_database(&server, &name))
        });
        // A server that was stopped under us has nothing to drop; what a test found matters more than what it leaves.
        let _ = dropping.join();
    }
}

const REFUSED: &str = "the Postgres for tests refuses what it was told";

async fn connect(url: &str) -> PgConnection {
    match PgConnection::connect(url).await {
        Ok(connection) => connection,
        Err(error) => panic!("no Postgres at {ADDRESS}: {error}; `cargo xtask services up` starts one"),
    }
}

async fn exists(admin: &mut PgConnection, name: &str) -> bool {
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(name);
    found.fetch_optional(admin).await.expect(REFUSED).is_some()
}

async fn create(admin: &mut PgConnection, server: String, name: &str, template: &str) -> Postgres {
    let name = format!("insula_test_{}_{}", plain(name, 30), unique());
    undisturbed(admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await;
    Postgres { server, name }
}

/// Under another name until it is whole: a template that can be found is one that can be copied.
async fn make_template(admin: &mut PgConnection, template: &str, migrate: impl AsyncFnOnce(&str)) {
    let half_made = create(admin, named_by(ADDRESS), "template", "template0").await;
    migrate(&half_made.url()).await;
    let name = half_made.name();
    undisturbed(admin, &format!("ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false")).await;
    undisturbed(admin, &format!("ALTER DATABASE {name} RENAME TO {template}")).await;
}

/// Tries again while somebody who has closed a connection is still leaving: the server ends a session some time after
/// its client has.
async fn undisturbed(admin: &mut PgConnection, statement: &str) {
    const IN_USE: &str = "55006";
    for _ in 0..LEAVING.0 {
        match sqlx::query(AssertSqlSafe(statement)).execute(&mut *admin).await {
            Ok(_) => return,
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(IN_USE) => {}
            Err(error) => panic!("{REFUSED}: {statement}: {error}"),
        }
        tokio::time::sleep(LEAVING.1).await;
    }
    panic!("{REFUSED}: {statement}: somebody is still connected; does `migrate` close its pool?");
}

/// Gone already is as good: a half-made template that became one has another name now.
async fn drop_database(server: &str, name: &str) -> Result<(), sqlx::Error> {
    let mut admin = PgConnectOptions::from_str(server)?.connect().await?;
    let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut admin).await?;
    admin.close().await
}

/// The same server and the same options, another database.
fn with_database(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').map_or((server, None), |(address, after)| (address, Some(after)));
    let host = address.find("://").map_or(0, |at| at + "://".len());
    let end = address[host..].find('/').map_or(address.len(), |at| host + at);
    let options = options.map(|options| format!("?{options}")).unwrap_or_default();
    format!("{}/{name}{options}", &address[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_kept_but_for_the_database() {
        let with = |server| with_database(server, "mine");
        assert_eq!(with("postgres://postgres@127.0.0.1:5432/postgres"), "postgres://postgres@127.0.0.1:5432/mine");
        assert_eq!(with("postgres://a:b@host"), "postgres://a:b@host/mine");
        assert_eq!(with("postgres://a@host/x?sslmode=require"), "postgres://a@host/mine?sslmode=require");
    }
}
