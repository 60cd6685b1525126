//! What an operator wants to know of a database before processes work on it: asked of the server, changing nothing.

use std::time::Duration;

use insula_context::{Clock, SystemClock, Timestamp};
use insula_infra::Error;
use sqlx::PgConnection;

use crate::{
    connect::Address,
    error,
    migrations::{self, SCHEMA_VERSION, SchemaStatus},
};

/// How long looking may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The oldest server that is known to work, as it says its version itself.
const OLDEST: i32 = 140_000;

/// How far clocks may be apart: leases are compared with the clocks of processes.
const APART: Duration = Duration::from_secs(1);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub subject: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What to do when it is not as it should be.
    pub mend: &'static str,
}

/// Looks at a database as the role of this URL, which should be the one that processes log in as: the server's version, the
/// schema's, whether the walls between users stand and stand for this role, whether a commit is durable, and whether
/// the server's clock goes with this machine's. Changes nothing; may be dropped at any time. Runs on tokio.
///
/// # Errors
/// When the URL is none or the server does not answer, within ten seconds. What is found to be wrong is not an error.
pub async fn look(url: &str) -> Result<Vec<Finding>, Error> {
    let address = Address::parse(url, true)?;
    let looked = tokio::time::timeout(PATIENCE, all(&address)).await;
    looked.unwrap_or_else(|_| Err(error::timeout("look at the database", PATIENCE)))
}

async fn all(address: &Address) -> Result<Vec<Finding>, Error> {
    let mut connection = migrations::connect(address).await?;
    let schema = schema(migrations::status(&mut connection, &address.server).await);
    let failed = |error| address.server.error("look at the database", error);
    Ok(vec![
        version(&mut connection).await.map_err(failed)?,
        schema,
        role(&mut connection).await.map_err(failed)?,
        walls(&mut connection).await.map_err(failed)?,
        durability(&mut connection).await.map_err(failed)?,
        clock(&mut connection).await.map_err(failed)?,
    ])
}

async fn version(connection: &mut PgConnection) -> sqlx::Result<Finding> {
    const VERSION: &str = "SELECT current_setting('server_version'), current_setting('server_version_num')::integer,
        pg_is_in_recovery()";
    let query = sqlx::query_as(VERSION).persistent(false);
    let (name, number, is_replica): (String, i32, bool) = query.fetch_one(connection).await?;
    let is_old = number < OLDEST;
    Ok(Finding {
        subject: "server",
        ok: !is_old && !is_replica,
        detail: format!("PostgreSQL {name}{}", if is_replica { ", a replica" } else { "" }),
        mend: if is_replica { "give the address of the primary" } else { "use PostgreSQL 14 or newer" },
    })
}

fn schema(status: Result<SchemaStatus, Error>) -> Finding {
    let (ok, detail, mend) = match status {
        Ok(SchemaStatus::Version(SCHEMA_VERSION)) => (true, format!("version {SCHEMA_VERSION}"), ""),
        Ok(SchemaStatus::Version(version)) => {
            (false, format!("version {version}, and this build wants {SCHEMA_VERSION}"), "run `insula migrate`")
        }
        Ok(SchemaStatus::Empty) => (false, "there is none".to_owned(), "run `insula migrate`"),
        Err(error) => (false, error.to_string(), "use the build of Insula that made it, or a newer one"),
    };
    Finding { subject: "schema", ok, detail, mend }
}

/// Whether the walls stand for this role: they do not for a superuser, and a table's owner may take them down.
async fn role(connection: &mut PgConnection) -> sqlx::Result<Finding> {
    const ROLE: &str = "SELECT r.rolname::text, r.rolsuper, r.rolbypassrls, EXISTS (
            SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'insula' AND pg_has_role(r.oid, c.relowner, 'MEMBER'))
            OR EXISTS (SELECT 1 FROM pg_roles e WHERE e.rolname = 'insula_engine' AND pg_has_role(r.oid, e.oid, 'MEMBER'))
        FROM pg_roles r WHERE r.rolname = current_user";
    let query = sqlx::query_as(ROLE).persistent(false);
    let (name, is_super, is_past, is_owner): (String, bool, bool, bool) = query.fetch_one(connection).await?;
    let seen = match (is_super, is_past, is_owner) {
        (true, ..) => "is a superuser, for whom row-level security does not hold",
        (_, true, _) => "has BYPASSRLS, so row-level security does not hold for it",
        (.., true) => "may act as a role that owns the tables or sees every user's rows",
        _ => "is behind row-level security",
    };
    Ok(Finding {
        subject: "role",
        ok: !(is_super || is_past || is_owner),
        detail: format!("{name} {seen}"),
        mend: "connect as insula_app, or a role that has been granted what it has and nothing more",
    })
}

/// Whether every table with an owner has its wall, also for its owner.
async fn walls(connection: &mut PgConnection) -> sqlx::Result<Finding> {
    const WALLS: &str = "SELECT count(*), coalesce(string_agg(c.relname::text, ', ' ORDER BY c.relname)
            FILTER (WHERE NOT (c.relrowsecurity AND c.relforcerowsecurity)), '')
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'owner_no' AND NOT a.attisdropped
        WHERE n.nspname = 'insula' AND c.relkind IN ('r', 'p')";
    let query = sqlx::query_as(WALLS).persistent(false);
    let (tables, open): (i64, String) = query.fetch_one(connection).await?;
    let detail = match open.as_str() {
        "" => format!("row-level security is forced on {tables} tables"),
        open => format!("row-level security is off or not forced on {open}"),
    };
    Ok(Finding {
        subject: "walls",
        ok: open.is_empty() && tables > 0,
        detail,
        mend: "run `insula migrate`, or ALTER TABLE … ENABLE and FORCE ROW LEVEL SECURITY as insula_owner",
    })
}

async fn durability(connection: &mut PgConnection) -> sqlx::Result<Finding> {
    const SETTINGS: &str = "SELECT current_setting('fsync'), current_setting('synchronous_commit'),
        current_setting('full_page_writes')";
    let query = sqlx::query_as(SETTINGS).persistent(false);
    let (fsync, commit, pages): (String, String, String) = query.fetch_one(connection).await?;
    Ok(Finding {
        subject: "durability",
        ok: fsync == "on" && commit != "off" && pages == "on",
        detail: format!("fsync {fsync}, synchronous_commit {commit}, full_page_writes {pages}"),
        mend: "set them on: what was told to be stored may be lost with the power otherwise",
    })
}

/// Compares the server's clock with the middle of the time that asking took.
async fn clock(connection: &mut PgConnection) -> sqlx::Result<Finding> {
    const NOW: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let ours = SystemClock::new();
    let before = ours.now();
    let server: i64 = sqlx::query_scalar(NOW).persistent(false).fetch_one(connection).await?;
    let apart = apart(before, ours.now(), server);
    Ok(Finding {
        subject: "clock",
        ok: apart <= APART,
        detail: format!("{} ms from this machine's", apart.as_millis()),
        mend: "keep the clocks of all machines in step, with NTP for example",
    })
}

fn apart(before: Timestamp, after: Timestamp, server: i64) -> Duration {
    let middle = before.as_micros().midpoint(after.as_micros());
    Duration::from_micros(middle.abs_diff(server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_in_the_middle_of_the_question() {
        let (before, after) = (Timestamp::from_micros(1_000), Timestamp::from_micros(3_000));
        assert_eq!(apart(before, after, 2_000), Duration::ZERO);
        assert_eq!(apart(before, after, 500), Duration::from_micros(1_500));
        assert_eq!(apart(before, after, 5_000), Duration::from_micros(3_000));
    }

    #[test]
    fn a_schema_that_is_not_this_builds_says_what_to_run() {
        assert!(schema(Ok(SchemaStatus::Version(SCHEMA_VERSION))).ok);
        for status in [SchemaStatus::Empty, SchemaStatus::Version(SCHEMA_VERSION - 1)] {
            let finding = schema(Ok(status));
            assert!(!finding.ok && finding.mend.contains("migrate"), "{finding:?}");
        }
    }
}
