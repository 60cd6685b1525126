//! What has been recorded of a run, for its resumption and for exports.

use insula_context::{RunId, UserScope};
use insula_infra::{Error, JournalEntry, Lease};

use crate::{error::Worked, log::Found, store::Store, transaction::Tx};

impl Store {
    /// As its holder reads it.
    pub(crate) async fn read_journal(&self, lease: &Lease) -> Result<Vec<JournalEntry>, Error> {
        let scope = &lease.header.scope;
        let found = self.read("read a journal", scope, lease.clone(), |tx, lease| Box::pin(journal(tx, lease))).await?;
        found.ok_or_else(|| stale(lease))
    }

    /// Whoever holds it.
    pub(crate) async fn read_recorded(
        &self,
        scope: &UserScope,
        run: &RunId,
    ) -> Result<Option<Vec<JournalEntry>>, Error> {
        Ok(self.read("read a journal", scope, run.clone(), |tx, run| Box::pin(recorded(tx, run))).await?.flatten())
    }
}

fn stale(lease: &Lease) -> Error {
    Error::StaleLease { run: lease.header.run.clone(), held: lease.token }
}

async fn journal(tx: &mut Tx, lease: &Lease) -> Worked<Vec<JournalEntry>> {
    let found = Found::by_id(tx, &lease.header.run).await?;
    match found.filter(|run| run.token.cast_unsigned() == lease.token) {
        Some(run) => entries(tx, &lease.header.run, &run).await,
        None => Err(stale(lease).into()),
    }
}

async fn recorded(tx: &mut Tx, id: &RunId) -> Worked<Option<Vec<JournalEntry>>> {
    match Found::by_id(tx, id).await? {
        Some(run) => Ok(Some(entries(tx, id, &run).await?)),
        None => Ok(None),
    }
}

/// All of them, or an error: a run must not be resumed from less than it has done.
async fn entries(tx: &mut Tx, id: &RunId, run: &Found) -> Worked<Vec<JournalEntry>> {
    let mut entries = Vec::new();
    for chunk in run.chunks(tx, id, 0, i64::MAX).await? {
        for event in chunk.events(&tx.server)? {
            let kind = event.kind().ok_or_else(|| chunk.damaged(&tx.server, "an event has an unknown type"))?;
            entries.push(JournalEntry { kind, data: event.data(), journal: event.journal() });
        }
    }
    Ok(entries)
}
