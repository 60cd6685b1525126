//! Whether the file can be read and written now.

use async_trait::async_trait;
use insula_infra::{ComponentHealth, Error, Health, HealthCheck};

use crate::store::Store;

#[async_trait]
impl HealthCheck for Store {
    async fn health(&self) -> Vec<ComponentHealth> {
        let (health, detail) = match self.probe().await {
            Ok(bytes) => (Health::Up, format!("reads and writes; {} MiB", bytes >> 20)),
            Err(error) => (Health::Down, describe(&error)),
        };
        vec![ComponentHealth { component: format!("sqlite {}", self.file.name()), health, detail }]
    }
}

impl Store {
    /// Writes a row, reads the size of the file.
    async fn probe(&self) -> Result<u64, Error> {
        const WRITE: &str = "INSERT INTO workers (worker, lease_until) VALUES ('', 0)
            ON CONFLICT DO UPDATE SET lease_until = 1 - lease_until";
        const SIZE: &str = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        self.writer.call(|tx| Ok(tx.connection.prepare_cached(WRITE)?.execute([])?)).await?;
        self.readers.read(|connection| Ok(connection.prepare_cached(SIZE)?.query_row([], |row| row.get(0))?)).await
    }
}

/// The error and what the driver said.
fn describe(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}
