//! Connections: how they are made, and what every one of them must have been through before anybody gets it again.

use std::{str::FromStr, time::Duration};

use insula_infra::Error;
use sqlx::{
    ConnectOptions, Executor, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::error::Server;

/// How long one waits for a free connection.
pub(crate) const ACQUIRE: Duration = Duration::from_secs(5);

/// How long a statement may take. Deleting a large user is given more.
pub(crate) const STATEMENT: Duration = Duration::from_secs(30);

/// Ends whatever a cancelled `BEGIN` may have left open (sqlx 0.9.0 gives such a connection back inside its transaction), and
/// takes back roles and settings. One round trip.
pub(crate) const CLEAN: &str = "ROLLBACK; RESET ALL; RESET ROLE";

/// Where the database is, and how it is reached.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    pub(crate) options: PgConnectOptions,
    pub(crate) server: Server,
}

impl Address {
    /// From a URL. Neither the URL nor its password is in an error.
    pub(crate) fn parse(url: &str, is_pooled: bool) -> Result<Self, Error> {
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            let problem = "this is not an address of a database: write postgres://USER:PASSWORD@HOST:PORT/DATABASE";
            Server::new("postgres://").problem(problem)
        })?;
        let server = Server::new(name(&options));
        // Statements of agents have values of users in them, and the driver would log those that are slow, too.
        let options = options.application_name("insula").disable_statement_logging();
        // A transaction pooler hands every transaction to another session, and refuses settings at the start of one.
        let options = if is_pooled { options.statement_cache_capacity(0) } else { options.options(settings()) };
        Ok(Self { options, server })
    }

    /// A pool of connections, none of which is made before it is needed.
    pub(crate) fn pool(&self, most: u32) -> PgPool {
        PgPoolOptions::new()
            .max_connections(most)
            .acquire_timeout(ACQUIRE)
            .test_before_acquire(false)
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.execute(CLEAN).await?;
                    Ok(true)
                })
            })
            .connect_lazy_with(self.options.clone())
    }
}

/// What a session is told when it begins. It survives `RESET ALL`.
fn settings() -> [(&'static str, String); 4] {
    let millis = |time: Duration| time.as_millis().to_string();
    [
        ("statement_timeout", millis(STATEMENT)),
        ("lock_timeout", millis(STATEMENT / 2)),
        ("idle_in_transaction_session_timeout", millis(STATEMENT)),
        // The statements are short, and compiling one costs more than it saves.
        ("jit", "off".to_owned()),
    ]
}

fn name(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    format!("postgres://{}:{}/{database}", options.get_host(), options.get_port())
}
