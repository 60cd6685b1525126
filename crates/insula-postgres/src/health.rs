//! Whether the database can be read and written now.

use async_trait::async_trait;
use insula_infra::{ComponentHealth, Error, Health, HealthCheck};

use crate::{
    error::Worked,
    store::Store,
    transaction::{Kind, Tx},
};

#[async_trait]
impl HealthCheck for Store {
    async fn health(&self) -> Vec<ComponentHealth> {
        let asked = self.across("ask how the database is", Kind::Write, (), |tx, ()| Box::pin(ask(tx)));
        let (health, detail) = match asked.await {
            Ok(Answer { version, is_replica: true, .. }) => {
                (Health::Down, format!("{version}, a replica that is read only: give the address of the primary"))
            }
            Ok(Answer { version, is_read_only: true, .. }) => {
                (Health::Down, format!("{version}, read only: set default_transaction_read_only to off"))
            }
            Ok(Answer { version, megabytes, .. }) => {
                (Health::Up, format!("{version}, reads and writes; {megabytes} MiB"))
            }
            Err(error) => (Health::Down, describe(&error)),
        };
        vec![ComponentHealth { component: self.shared.server.name().to_owned(), health, detail }]
    }
}

/// What the server says of itself.
#[derive(Debug)]
struct Answer {
    version: String,
    is_replica: bool,
    is_read_only: bool,
    megabytes: i64,
}

/// Asks, and writes a row where that is allowed.
async fn ask(tx: &mut Tx) -> Worked<Answer> {
    const ASK: &str = "SELECT 'PostgreSQL ' || current_setting('server_version'), pg_is_in_recovery(),
        current_setting('transaction_read_only')::boolean, pg_database_size(current_database()) >> 20";
    const WRITE: &str = "INSERT INTO insula.workers AS w (worker, lease_until) VALUES ('', 0)
        ON CONFLICT (worker) DO UPDATE SET lease_until = 1 - w.lease_until";
    let (version, is_replica, is_read_only, megabytes): (_, bool, bool, _) =
        sqlx::query_as(ASK).fetch_one(tx.on()).await?;
    if !is_replica && !is_read_only {
        sqlx::query(WRITE).execute(tx.on()).await?;
    }
    Ok(Answer { version, is_replica, is_read_only, megabytes })
}

/// The error and what the driver said.
fn describe(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}
