//! The writer's transaction: its statements, and what it remembers from one to the next.

use std::collections::HashMap;

use insula_context::UserScope;
use rusqlite::{CachedStatement, Connection, OptionalExtension};

use crate::error::File;

/// Owners whose numbers are remembered. Beyond it they are looked up again.
const OWNERS: usize = 10_000;

/// What the writer remembers between transactions.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    owners: HashMap<UserScope, i64>,
    /// The owner who was served last by a claim.
    pub(crate) turn: i64,
}

impl Memory {
    /// Forgets what a transaction that came to nothing may have written.
    pub(crate) fn forget(&mut self) {
        self.owners.clear();
    }
}

/// An open transaction. Its statements are prepared once for all the work in it.
pub(crate) struct Tx<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) file: &'c File,
    pub(crate) memory: &'c mut Memory,
    pub(crate) find_thread: CachedStatement<'c>,
    pub(crate) insert_thread: CachedStatement<'c>,
    pub(crate) update_thread: CachedStatement<'c>,
    pub(crate) find_run: CachedStatement<'c>,
    pub(crate) insert_run: CachedStatement<'c>,
    pub(crate) extend_run: CachedStatement<'c>,
    pub(crate) leave_run: CachedStatement<'c>,
    pub(crate) insert_chunk: CachedStatement<'c>,
    next: Numbers,
}

/// The next free numbers. This transaction holds the write lock, so nobody else draws any.
#[derive(Debug, Clone, Copy)]
struct Numbers {
    run: i64,
    thread: i64,
    pos: i64,
}

const NUMBERS: &str = "SELECT (SELECT coalesce(max(run_no), 0) FROM runs),
                              (SELECT coalesce(max(thread_no), 0) FROM threads),
                              (SELECT coalesce(max(pos), 0) FROM log)";

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: &'c Connection, file: &'c File, memory: &'c mut Memory) -> rusqlite::Result<Self> {
        use crate::{append, rows};
        let next = connection.prepare_cached(NUMBERS)?.query_row([], |row| {
            Ok(Numbers { run: row.get(0)?, thread: row.get(1)?, pos: row.get(2)? })
        })?;
        Ok(Self {
            connection,
            file,
            memory,
            find_thread: connection.prepare_cached(rows::FIND_THREAD)?,
            insert_thread: connection.prepare_cached(rows::INSERT_THREAD)?,
            update_thread: connection.prepare_cached(rows::UPDATE_THREAD)?,
            find_run: connection.prepare_cached(append::FIND_RUN)?,
            insert_run: connection.prepare_cached(rows::INSERT_RUN)?,
            extend_run: connection.prepare_cached(append::EXTEND_RUN)?,
            leave_run: connection.prepare_cached(append::LEAVE_RUN)?,
            insert_chunk: connection.prepare_cached(append::INSERT_CHUNK)?,
            next,
        })
    }

    pub(crate) fn next_run(&mut self) -> i64 {
        self.next.run += 1;
        self.next.run
    }

    pub(crate) fn next_thread(&mut self) -> i64 {
        self.next.thread += 1;
        self.next.thread
    }

    pub(crate) fn next_pos(&mut self) -> i64 {
        self.next.pos += 1;
        self.next.pos
    }

    /// An owner's number, if this owner has anything.
    pub(crate) fn owner(&mut self, scope: &UserScope) -> rusqlite::Result<Option<i64>> {
        const FIND: &str = "SELECT owner_no FROM owners WHERE tenant_id = ?1 AND user_id = ?2";
        if let Some(owner) = self.memory.owners.get(scope) {
            return Ok(Some(*owner));
        }
        let names = (scope.tenant().as_str(), scope.user().as_str());
        let owner = self.connection.prepare_cached(FIND)?.query_row(names, |row| row.get(0)).optional()?;
        if let Some(owner) = owner {
            self.remember(scope, owner);
        }
        Ok(owner)
    }

    /// An owner's number, given out now if this is the owner's first use.
    pub(crate) fn owner_or_new(&mut self, scope: &UserScope) -> rusqlite::Result<i64> {
        const INSERT: &str = "INSERT INTO owners (tenant_id, user_id) VALUES (?1, ?2)";
        if let Some(owner) = self.owner(scope)? {
            return Ok(owner);
        }
        let names = (scope.tenant().as_str(), scope.user().as_str());
        let owner = self.connection.prepare_cached(INSERT)?.insert(names)?;
        self.remember(scope, owner);
        Ok(owner)
    }

    fn remember(&mut self, scope: &UserScope, owner: i64) {
        if self.memory.owners.len() >= OWNERS {
            self.memory.owners.clear();
        }
        self.memory.owners.insert(scope.clone(), owner);
    }
}
