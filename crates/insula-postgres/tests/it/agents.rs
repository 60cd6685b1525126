//! Databases with users whose agents have tables.

use std::{sync::Arc, time::Duration};

use insula_infra::{DatabaseSession, DatabaseSessionManager, Error};
use insula_postgres::{Options, PostgresBackend, migrate};
use insula_test_services::Postgres;
use sqlx::{Connection, PgConnection};

pub(crate) use crate::{story::scope, support::as_role};

/// Migrated itself: what shuts agents out of a database as a whole is not copied with one.
pub(crate) async fn database() -> Postgres {
    let postgres = Postgres::fresh("agents").await;
    migrate(&postgres.url()).await.expect("migrates");
    postgres
}

pub(crate) fn options(postgres: &Postgres) -> Options {
    PostgresBackend::at(as_role(postgres, "insula_app")).connections(4)
}

pub(crate) struct Agents {
    pub(crate) postgres: Postgres,
    pub(crate) backend: PostgresBackend,
    pub(crate) manager: Arc<dyn DatabaseSessionManager>,
}

pub(crate) async fn agents() -> Agents {
    agents_with(|options| options).await
}

pub(crate) async fn agents_with(set: impl FnOnce(Options) -> Options) -> Agents {
    let postgres = database().await;
    let backend = set(options(&postgres)).connect().await.expect("connects");
    let manager = backend.clone().into_backend().database.expect("a database");
    Agents { postgres, backend, manager }
}

impl Agents {
    pub(crate) async fn open(&self, user: &str) -> Box<dyn DatabaseSession> {
        self.manager.open(&scope(user)).await.expect("opens")
    }

    pub(crate) async fn with_notes(&self, user: &str) {
        let mut session = self.open(user).await;
        session.execute("CREATE TABLE notes (id bigserial PRIMARY KEY, text text)", &[]).await.expect("creates");
        session.execute(NOTE, &[user.into()]).await.expect("inserts");
        session.commit().await.expect("commits");
    }

    pub(crate) async fn count(&self, user: &str) -> i64 {
        let rows = self.open(user).await.fetch("SELECT count(*) AS n FROM notes", &[]).await.expect("counts");
        rows[0].integer("n").expect("a number")
    }

    pub(crate) async fn superuser(&self) -> PgConnection {
        PgConnection::connect(&self.postgres.url()).await.expect("connects")
    }

    pub(crate) async fn backend_of_another_process(&self) -> PostgresBackend {
        options(&self.postgres).connect().await.expect("connects")
    }

    pub(crate) async fn none_open(&self) {
        let closed = async {
            while self.manager.open_sessions() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), closed).await.expect("every session ends");
    }
}

pub(crate) const NOTE: &str = "INSERT INTO notes (text) VALUES ($1)";

pub(crate) fn is_refused<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Statement { .. }))
}
