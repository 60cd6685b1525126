//! The writer's transaction: its statements, and what it remembers from one to the next.

use std::collections::HashMap;

use insula_context::UserScope;
use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};

use crate::{error::File, usage::Sums};

/// Owners whose numbers are remembered. Beyond it they are looked up again.
const OWNERS: usize = 10_000;

/// What the writer remembers between transactions.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    owners: HashMap<UserScope, Owner>,
    /// Changes whenever another connection has committed.
    version: i64,
    next: Option<Numbers>,
    /// The owner who was served last by a claim, and with how many runs in this turn.
    pub(crate) turn: (i64, i64),
    pub(crate) usage: Sums,
}

impl Memory {
    /// Forgets what a transaction that came to nothing may have written, or another process may have changed.
    pub(crate) fn forget(&mut self) {
        self.owners.clear();
        self.next = None;
        self.usage.clear();
    }
}

/// An owner, with the ends of the chains and how much there is of what is seldom there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) number: i64,
    pub(crate) last_run: i64,
    pub(crate) last_thread: i64,
    pub(crate) weight: i64,
    /// Submitted runs that were never claimed.
    pub(crate) queued: i64,
    /// Wishes to stop runs that are not there yet.
    pub(crate) ahead: i64,
    /// Reservations that are not settled.
    pub(crate) reserved: i64,
}

pub(crate) const FIND_OWNER: &str =
    "SELECT owner_no, last_run, last_thread, weight, queued, ahead, reserved FROM owners
    WHERE tenant_id = ?1 AND user_id = ?2";

impl Owner {
    /// A row of [`FIND_OWNER`].
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            last_run: row.get(1)?,
            last_thread: row.get(2)?,
            weight: row.get(3)?,
            queued: row.get(4)?,
            ahead: row.get(5)?,
            reserved: row.get(6)?,
        })
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
    pub(crate) ring: CachedStatement<'c>,
    update_owner: CachedStatement<'c>,
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
                              (SELECT max((SELECT coalesce(max(thread_no), 0) FROM threads),
                                          (SELECT coalesce(max(thread_no), 0) FROM doomed))),
                              (SELECT coalesce(max(pos), 0) FROM log)";

const UPDATE_OWNER: &str = "UPDATE owners SET last_run = ?2, last_thread = ?3, weight = ?4, queued = ?5, ahead = ?6,
    reserved = ?7 WHERE owner_no = ?1";

impl Memory {
    /// Forgets everything if somebody else has written, and says the next numbers.
    fn refresh(&mut self, connection: &Connection) -> rusqlite::Result<Numbers> {
        let version = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if self.version != version {
            self.forget();
            self.version = version;
        }
        if let Some(next) = self.next {
            return Ok(next);
        }
        let read = |row: &Row<'_>| Ok(Numbers { run: row.get(0)?, thread: row.get(1)?, pos: row.get(2)? });
        connection.prepare_cached(NUMBERS)?.query_row([], read)
    }
}

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: &'c Connection, file: &'c File, memory: &'c mut Memory) -> rusqlite::Result<Self> {
        use crate::{append, rows, webhooks};
        let next = memory.refresh(connection)?;
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
            ring: connection.prepare_cached(webhooks::RING)?,
            update_owner: connection.prepare_cached(UPDATE_OWNER)?,
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

    /// An owner, if this one has anything.
    pub(crate) fn owner(&mut self, scope: &UserScope) -> rusqlite::Result<Option<Owner>> {
        if let Some(owner) = self.memory.owners.get(scope) {
            return Ok(Some(*owner));
        }
        let names = (scope.tenant().as_str(), scope.user().as_str());
        let owner = self.connection.prepare_cached(FIND_OWNER)?.query_row(names, Owner::read).optional()?;
        if let Some(owner) = owner {
            self.remember(scope, owner);
        }
        Ok(owner)
    }

    /// An owner, who gets a number now if this is the first use.
    pub(crate) fn owner_or_new(&mut self, scope: &UserScope) -> rusqlite::Result<Owner> {
        const INSERT: &str = "INSERT INTO owners (tenant_id, user_id, last_run, last_thread) VALUES (?1, ?2, 0, 0)";
        if let Some(owner) = self.owner(scope)? {
            return Ok(owner);
        }
        let names = (scope.tenant().as_str(), scope.user().as_str());
        let number = self.connection.prepare_cached(INSERT)?.insert(names)?;
        let owner = Owner { number, last_run: 0, last_thread: 0, weight: 1, queued: 0, ahead: 0, reserved: 0 };
        self.remember(scope, owner);
        Ok(owner)
    }

    /// Moves the ends of an owner's chains, and counts.
    pub(crate) fn set_owner(&mut self, scope: &UserScope, owner: Owner) -> rusqlite::Result<()> {
        let Owner { number, last_run, last_thread, weight, queued, ahead, reserved } = owner;
        self.update_owner.execute((number, last_run, last_thread, weight, queued, ahead, reserved))?;
        self.remember(scope, owner);
        Ok(())
    }

    /// Looks every owner up again: a deletion has written to their rows by number.
    pub(crate) fn forget_owners(&mut self) {
        self.memory.owners.clear();
    }

    fn remember(&mut self, scope: &UserScope, owner: Owner) {
        if let Some(known) = self.memory.owners.get_mut(scope) {
            *known = owner;
            return;
        }
        if self.memory.owners.len() >= OWNERS {
            self.memory.owners.clear();
        }
        self.memory.owners.insert(scope.clone(), owner);
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        self.memory.next = Some(self.next);
    }
}
