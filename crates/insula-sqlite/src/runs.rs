//! A user's runs and threads.

use async_trait::async_trait;
use insula_context::{CancelReason, RunId, ThreadId, Timestamp, UserScope};
use insula_infra::{
    CancelRequest, Deleted, Error, Fork, Page, PageRequest, RunFilter, RunRecord, RunStore, ThreadRecord, pages,
};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    cancel,
    error::{File, Stop},
    list::List,
    rows::{self, run_columns},
    store::Store,
    threads,
    transaction::{self, Owner},
};

#[async_trait]
impl RunStore for Store {
    async fn run(&self, scope: &UserScope, run: &RunId) -> Result<Option<RunRecord>, Error> {
        let (scope, run, file) = (scope.clone(), run.clone(), self.file.clone());
        self.readers.read(move |connection| one(connection, &scope, &run, &file)).await
    }

    async fn runs(&self, scope: &UserScope, filter: &RunFilter, page: &PageRequest) -> Result<Page<RunRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let (scope, filter, file) = (scope.clone(), filter.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(owner) = owner(connection, &scope)? else { return Ok(Page { items: Vec::new(), next: None }) };
                let list = List { connection, scope: &scope, owner, filter: &filter, file: &file };
                Ok(pages::cut(list.read(before, limit + 1)?, limit))
            })
            .await
    }

    async fn threads(&self, scope: &UserScope, page: &PageRequest) -> Result<Page<ThreadRecord>, Error> {
        let (before, limit) = pages::bounds(page)?;
        let (scope, file) = (scope.clone(), self.file.clone());
        self.readers
            .read(move |connection| {
                let Some(owner) = owner(connection, &scope)? else { return Ok(Page { items: Vec::new(), next: None }) };
                Ok(pages::cut(threads::list(connection, &owner, before, limit + 1, &file)?, limit))
            })
            .await
    }

    async fn thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<ThreadRecord>, Error> {
        let (scope, thread, file) = (scope.clone(), thread.clone(), self.file.clone());
        self.readers.read(move |connection| threads::one(connection, &scope, &thread, &file)).await
    }

    async fn create_thread(&self, scope: &UserScope, thread: &ThreadId, at: Timestamp) -> Result<ThreadRecord, Error> {
        let (scope, thread) = (scope.clone(), thread.clone());
        self.writer.call(move |tx| threads::create(tx, &scope, &thread, at)).await
    }

    async fn request_cancel(
        &self,
        scope: &UserScope,
        run: &RunId,
        reason: CancelReason,
    ) -> Result<CancelRequest, Error> {
        let (scope, run, now) = (scope.clone(), run.clone(), self.clock.now());
        self.writer.call(move |tx| cancel::request(tx, &scope, &run, &reason, now)).await
    }

    async fn request_cancel_all(
        &self,
        scope: &UserScope,
        filter: &RunFilter,
        reason: CancelReason,
    ) -> Result<Vec<RunId>, Error> {
        let (scope, filter, now) = (scope.clone(), filter.clone(), self.clock.now());
        self.writer.call(move |tx| cancel::request_all(tx, &scope, &filter, &reason, now)).await
    }

    async fn fork_thread(
        &self,
        scope: &UserScope,
        fork: &Fork,
        into: &ThreadId,
        at: Timestamp,
    ) -> Result<Option<ThreadRecord>, Error> {
        let (scope, fork, into) = (scope.clone(), fork.clone(), into.clone());
        self.writer.call(move |tx| threads::fork(tx, &scope, &fork, &into, at)).await
    }

    async fn delete_thread(&self, scope: &UserScope, thread: &ThreadId) -> Result<Option<Deleted>, Error> {
        self.delete_one(scope, thread).await
    }

    async fn delete_user(&self, scope: &UserScope) -> Result<Deleted, Error> {
        self.delete_all(scope).await
    }
}

/// This owner, if there is one yet. Every list starts here.
fn owner(connection: &Connection, scope: &UserScope) -> rusqlite::Result<Option<Owner>> {
    let names = (scope.tenant().as_str(), scope.user().as_str());
    connection.prepare_cached(transaction::FIND_OWNER)?.query_row(names, Owner::read).optional()
}

fn one(connection: &Connection, scope: &UserScope, run: &RunId, file: &File) -> Result<Option<RunRecord>, Stop> {
    const ONE: &str = concat!(
        "SELECT ",
        run_columns!(),
        " FROM runs r JOIN threads t ON t.thread_no = r.thread_no WHERE r.run_id = ?3
          AND r.owner_no = (SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2)"
    );
    let mut select = connection.prepare_cached(ONE)?;
    let mut rows = select.query(params![scope.tenant().as_str(), scope.user().as_str(), run.as_str()])?;
    rows.next()?.map(|row| rows::record(row, scope, file)).transpose()
}
