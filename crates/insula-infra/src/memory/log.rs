//! A user's events.

use async_trait::async_trait;
use bytes::Bytes;
use insula_context::{RunId, ThreadId, UserScope};

use super::store::Store;
use crate::{Error, EventLog, EventPage, PayloadHash};

#[async_trait]
impl EventLog for Store {
    async fn thread_events(
        &self,
        scope: &UserScope,
        thread: &ThreadId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        Ok(self.read(scope, |owner| {
            let branch = owner.branch(thread)?;
            let events = branch.after(after).take(limit).map(|(seq, event)| event.event(seq)).collect();
            Some(EventPage { events, oldest: branch.oldest, head: branch.head })
        }))
    }

    async fn run_events(
        &self,
        scope: &UserScope,
        run: &RunId,
        after: u64,
        limit: usize,
    ) -> Result<Option<EventPage>, Error> {
        Ok(self.read(scope, |owner| {
            let run = owner.run(run)?;
            let thread = owner.threads.get(&run.record.header.thread)?;
            let (first, last) = run.span.unwrap_or((1, 0));
            let own = thread.span(first.max(after.saturating_add(1)), last);
            let own = own.filter(|(_, event)| event.header.run == run.record.header.run).take(limit);
            let events = own.map(|(seq, event)| event.event(seq)).collect();
            let branch = owner.branch(&run.record.header.thread)?;
            Some(EventPage { events, oldest: branch.oldest, head: branch.head })
        }))
    }

    async fn payload(&self, scope: &UserScope, hash: &PayloadHash) -> Result<Option<Bytes>, Error> {
        // Hashing takes longer than anything that is done under the lock, so it is done outside.
        match self.read(scope, |owner| owner.payloads.bytes(hash)) {
            None => Ok(None),
            Some(bytes) => checked(hash, bytes).map(Some),
        }
    }
}

fn checked(hash: &PayloadHash, bytes: Bytes) -> Result<Bytes, Error> {
    let found = PayloadHash::of(&bytes);
    if found == *hash {
        return Ok(bytes);
    }
    Err(Error::Corrupt { what: format!("payload {hash}"), detail: format!("its bytes have the hash {found}") })
}
