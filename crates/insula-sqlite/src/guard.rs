//! What an agent's statements may do: everything with its user's tables, nothing with other files, with the process or with
//! the session's transaction.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rusqlite::{
    Connection,
    config::DbConfig,
    hooks::{AuthAction, AuthContext, Authorization},
    limits::Limit,
};

/// The largest value or row, in bytes.
const VALUE_BYTES: i32 = 16 << 20;

/// The longest statement, in bytes.
const STATEMENT_BYTES: i32 = 256 << 10;

/// Operations of SQLite's virtual machine between two looks at whether the session was given up.
const OPERATIONS: i32 = 1_000;

/// Opens and closes the door for the session's own statements.
#[derive(Debug, Clone, Default)]
pub(crate) struct Switches {
    /// While set, statements are this crate's own.
    own: Arc<AtomicBool>,
    /// Once set, a running statement ends at the next look.
    abandoned: Arc<AtomicBool>,
}

impl Switches {
    /// Runs a statement of this crate, to begin or end the transaction.
    pub(crate) fn run_own(&self, connection: &Connection, sql: &'static str) -> rusqlite::Result<()> {
        self.own.store(true, Ordering::Relaxed);
        let outcome = connection.execute_batch(sql);
        self.own.store(false, Ordering::Relaxed);
        outcome
    }

    /// Ends whatever runs. Nothing runs any more until [`Switches::revive`].
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    pub(crate) fn revive(&self) {
        self.abandoned.store(false, Ordering::Release);
    }
}

/// Locks a connection down. What sets it up has to come before.
pub(crate) fn guard(connection: &Connection, switches: &Switches) -> rusqlite::Result<()> {
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, STATEMENT_BYTES),
        (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 50),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        connection.set_limit(limit, most)?;
    }
    for (option, is_on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_CREATE, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_ATTACH_WRITE, false),
    ] {
        connection.set_db_config(option, is_on)?;
    }
    let abandoned = Arc::clone(&switches.abandoned);
    connection.progress_handler(OPERATIONS, Some(move || abandoned.load(Ordering::Relaxed)))?;
    let own = Arc::clone(&switches.own);
    connection.authorizer(Some(move |context: AuthContext<'_>| {
        if own.load(Ordering::Relaxed) || may(context.action) { Authorization::Allow } else { Authorization::Deny }
    }))
}

/// Whether an agent's statement may do this.
fn may(action: AuthAction<'_>) -> bool {
    match action {
        // Other files; VACUUM INTO attaches one as well.
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => false,
        // The transaction is the session's; what the driver does not know is the end of one.
        AuthAction::Transaction { .. } | AuthAction::Unknown { .. } => false,
        AuthAction::Function { function_name } => !is_any(function_name, &["load_extension", "fts3_tokenizer"]),
        AuthAction::Pragma { pragma_name, pragma_value } => may_pragma(pragma_name, pragma_value),
        // Tells how other tables lie on disk, and reads the file past the authorizer.
        AuthAction::Read { table_name, .. } => !is_any(table_name, &["dbstat", "sqlite_dbpage"]),
        AuthAction::CreateVtable { module_name, .. } => is_any(module_name, &["fts5", "rtree"]),
        _ => true,
    }
}

/// Only what looks at the user's own schema. Others change the connection for those who come after, or the whole process:
/// `hard_heap_limit` would take the memory of every other connection.
fn may_pragma(name: &str, value: Option<&str>) -> bool {
    // SQLite itself asks for the last two, when it searches text and when it adds a column to a strict table.
    const OF_A_TABLE: &[&str] = &[
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "data_version",
        "quick_check",
    ];
    is_any(name, OF_A_TABLE) || (value.is_none() && is_any(name, &["user_version", "page_count", "foreign_keys"]))
}

fn is_any(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}
