//! Which statements of an agent are sent at all. What they may reach is decided by the role that they run as; this keeps the
//! transaction in the hands of its session, and the connection in the driver's.

use insula_context::SqlValue;
use insula_infra::Error;

/// The longest statement, in bytes.
const STATEMENT_BYTES: u64 = 256 << 10;

/// The largest parameter, in bytes.
const VALUE_BYTES: u64 = 16 << 20;

/// What a statement is, as far as its session has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It returns rows, can be prepared, and changes none.
    Query,
    /// It changes rows, and can be prepared.
    Change,
    /// It has no parameters, and its count is not one of rows.
    Other,
    /// It takes back a part of the transaction, and so may mend a broken one.
    RollBackTo,
}

impl Kind {
    pub(crate) fn can_be_prepared(self) -> bool {
        matches!(self, Self::Query | Self::Change)
    }
}

/// What an agent's statement is, or why it is refused. Only what is known is let through: `COMMIT` would end the transaction,
/// `COPY` would leave the driver's protocol, `EXECUTE` would be a statement that nobody looked at.
pub(crate) fn kind_of(sql: &str) -> Result<Kind, Error> {
    let size = sql.len() as u64;
    if size > STATEMENT_BYTES {
        return Err(Error::TooLarge { what: "a statement", size, limit: STATEMENT_BYTES });
    }
    if sql.contains('\0') {
        return Err(refused("there is a NUL in it"));
    }
    let mut words = Words(sql);
    match words.next().unwrap_or_default().as_str() {
        "select" | "values" | "table" | "(" => Ok(Kind::Query),
        "with" => Ok(if words.any(|word| CHANGES.contains(&word.as_str())) { Kind::Change } else { Kind::Query }),
        word if CHANGES.contains(&word) => Ok(Kind::Change),
        word if OTHERS.contains(&word) => Ok(Kind::Other),
        "rollback" if is_partial(words) => Ok(Kind::RollBackTo),
        "" => Err(refused("there is none")),
        "begin" | "start" | "commit" | "end" | "rollback" | "abort" => {
            Err(refused("the session ends its transaction itself"))
        }
        word => Err(refused(format!("statements that begin with \"{word}\" are not for agents"))),
    }
}

const CHANGES: &[&str] = &["insert", "update", "delete", "merge"];

const OTHERS: &[&str] = &[
    "alter",
    "analyze",
    "call",
    "close",
    "cluster",
    "comment",
    "create",
    "declare",
    "do",
    "drop",
    "explain",
    "fetch",
    "grant",
    "lock",
    "move",
    "reassign",
    "refresh",
    "reindex",
    "release",
    "reset",
    "revoke",
    "savepoint",
    "set",
    "show",
    "truncate",
];

/// `ROLLBACK TO`, which leaves the transaction open.
fn is_partial(mut words: Words<'_>) -> bool {
    let mut next = words.next();
    if matches!(next.as_deref(), Some("work" | "transaction")) {
        next = words.next();
    }
    next.as_deref() == Some("to")
}

/// Whether this can only be one statement: nothing else separates two.
pub(crate) fn is_one(sql: &str) -> bool {
    !sql.trim_end().trim_end_matches(';').contains(';')
}

/// Refuses a parameter that is too large.
pub(crate) fn check(params: &[SqlValue]) -> Result<(), Error> {
    for value in params {
        let size = match value {
            SqlValue::Text(text) => text.len() as u64,
            SqlValue::Blob(bytes) => bytes.len() as u64,
            SqlValue::Null | SqlValue::Integer(_) | SqlValue::Real(_) => 0,
        };
        if size > VALUE_BYTES {
            return Err(Error::TooLarge { what: "a parameter", size, limit: VALUE_BYTES });
        }
    }
    Ok(())
}

pub(crate) fn refused(message: impl Into<String>) -> Error {
    Error::Statement { message: message.into() }
}

/// The words of a statement in lower case, comments passed over as the server does. Any other sign is a word of its own.
#[derive(Debug, Clone, Copy)]
struct Words<'a>(&'a str);

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0 = after_comments(self.0);
        let length = self.0.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_').unwrap_or(self.0.len());
        let length = if length == 0 { self.0.chars().next()?.len_utf8() } else { length };
        let (word, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(word.to_ascii_lowercase())
    }
}

fn after_comments(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
        sql = if let Some(line) = sql.strip_prefix("--") {
            line.split_once(['\n', '\r']).map_or("", |(_, rest)| rest)
        } else if let Some(block) = sql.strip_prefix("/*") {
            after_block(block)
        } else {
            return sql;
        };
    }
}

/// Behind the end of a comment, in which there may be others.
fn after_block(mut sql: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let Some(at) = sql.find(['*', '/']) else { return "" };
        let sign = &sql[at..];
        let length = if sign.starts_with("*/") {
            depth -= 1;
            2
        } else if sign.starts_with("/*") {
            depth += 1;
            2
        } else {
            1
        };
        sql = &sign[length..];
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word_wherever_that_stands() {
        for (sql, kind) in [
            ("SELECT 1", Kind::Query),
            ("  -- one\n/* two /* three */ COMMIT */ sElEcT 1", Kind::Query),
            ("(VALUES (1))", Kind::Query),
            ("WITH a AS (SELECT 1) SELECT * FROM a", Kind::Query),
            ("with a as (select 1) insert into t select * from a", Kind::Change),
            ("INSERT INTO t VALUES ($1)", Kind::Change),
            ("/**/UPDATE t SET a = 1", Kind::Change),
            ("CREATE TABLE t (a int)", Kind::Other),
            ("SAVEPOINT a", Kind::Other),
            ("ROLLBACK TO a", Kind::RollBackTo),
            ("ROLLBACK/* */WORK -- \n TO SAVEPOINT a", Kind::RollBackTo),
        ] {
            assert_eq!(kind_of(sql).ok(), Some(kind), "{sql}");
        }
    }

    #[test]
    fn what_ends_a_transaction_or_leaves_the_protocol_is_not_sent() {
        for sql in [
            "COMMIT",
            "/* SELECT */ commit",
            "--\nEND",
            "ABORT",
            "BEGIN",
            "START TRANSACTION",
            "ROLLBACK",
            "ROLLBACK AND CHAIN",
            "ROLLBACK PREPARED 'to'",
            "PREPARE TRANSACTION 'a'",
            "EXECUTE a",
            "DEALLOCATE ALL",
            "DISCARD ALL",
            "COPY t TO STDOUT",
            "LISTEN a",
            "NOTIFY a",
            "LOAD 'a'",
            "VACUUM",
            ";COMMIT",
            "\u{a0}SELECT 1",
            "\"commit\"",
            "/* SELECT 1",
            "",
            "SELECT '\0'",
        ] {
            assert!(matches!(kind_of(sql), Err(Error::Statement { .. })), "{sql}");
        }
        assert!(matches!(kind_of(&format!("SELECT '{}'", "x".repeat(300_000))), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn only_a_semicolon_makes_two_of_one() {
        assert!(is_one("SELECT 1; \n") && is_one("SELECT 1"));
        assert!(!is_one("SELECT 1; COMMIT") && !is_one("SELECT ';'"));
    }
}
