//! A user's runs and threads.

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    CancelRequest, Deleted, Error, Fork, Page, PageRequest, RunFilter, RunRecord, RunStore, ThreadRecord, pages,
};

use crate::{
    error::Worked,
    list,
    rows::{self, run_columns},
    store::Store,
    threads,
    transaction::Tx,
};

#[async_trait]
impl RunStore for Store {
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        let with = (scope.clone(), run.clone());
        let found = self.read("read a run", scope, with, |tx, (scope, run)| Box::pin(one(tx, scope, run))).await?;
        Ok(found.flatten())
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let with = list::Wanted { scope: scope.clone(), filter: filter.clone(), before, most: limit + 1 };
        let found = self.read_late("list runs", scope, with, |tx, with| Box::pin(list::runs(tx, with))).await?;
        Ok(pages::cut(found.unwrap_or_default(), limit))
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let found = self.read_late("list threads", scope, (before, limit + 1), |tx, (before, most)| {
            Box::pin(threads::list(tx, *before, *most))
        });
        Ok(pages::cut(found.await?.unwrap_or_default(), limit))
    }

    async fn thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error> {
        let found = self.read("read a thread", scope, thread.clone(), |tx, thread| Box::pin(threads::one(tx, thread)));
        Ok(found.await?.flatten())
    }

    async fn create_thread(&self, scope: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        let with = (thread.clone(), at);
        self.write("create a thread", scope, with, |tx, (thread, at)| Box::pin(threads::create(tx, thread, *at))).await
    }

    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        self.request_cancel_one(scope, run, reason).await
    }

    async fn request_cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        self.request_cancel_many(scope, filter, reason).await
    }

    async fn fork_thread(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        let with = (fork.clone(), into.clone(), at);
        let forked = self
            .change("fork a thread", scope, with, |tx, (fork, into, at)| Box::pin(threads::fork(tx, fork, into, *at)));
        Ok(forked.await?.flatten())
    }

    async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        self.delete_one(scope, thread).await
    }

    async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error> {
        self.delete_all(scope).await
    }
}

async fn one(tx: &mut Tx, scope: &UserScope, run: &RunId) -> Worked<Option<RunRecord>> {
    const ONE: &str = concat!(
        "SELECT ",
        run_columns!(),
        " FROM insula.runs r JOIN insula.threads t ON t.owner_no = r.owner_no AND t.thread_no = r.thread_no
          WHERE r.owner_no = $1 AND r.run_id = $2"
    );
    let row = sqlx::query(ONE).bind(tx.owner).bind(run.as_str()).fetch_optional(tx.on()).await?;
    row.map(|row| rows::record(&row, scope, &tx.server)).transpose()
}
