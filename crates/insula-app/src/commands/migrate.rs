//! `insula migrate`.

use std::path::Path;

use serde_json::json;

use super::Desk;
use crate::{
    config::{Database, Postgres, Settings},
    exit::{Kind, Stop},
    wiring,
};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Look,
    BringUpToDate,
}

/// Versions of the schema: `None` where there is no database yet.
struct Versions {
    before: Option<u32>,
    now: Option<u32>,
    known: u32,
}

/// Brings the database up to date, or only says whether it is.
pub(super) async fn migrate(desk: &Desk<'_>, check: bool) -> Result<(), Stop> {
    let wish = if check { Wish::Look } else { Wish::BringUpToDate };
    let versions = match &desk.settings.database {
        Database::File(file) => of_file(&desk.settings, file, wish).await?,
        Database::Postgres(server) => of_server(server, wish).await?,
    };
    let Versions { before, now, known } = versions;
    let (is_current, database) = (now == Some(known), desk.settings.database.shown());
    if desk.output.json {
        let said =
            json!({"database": database, "before": before, "version": now, "known": known, "up_to_date": is_current});
        desk.output.json(&said)?;
    } else {
        desk.output.line(words(&database, &versions))?;
    }
    if is_current { Ok(()) } else { Err(Stop::silently(Kind::Failed)) }
}

async fn of_file(settings: &Settings, file: &Path, wish: Wish) -> Result<Versions, Stop> {
    use insula_sqlite::{SCHEMA_VERSION, SchemaStatus, schema_status};
    let look = || -> Result<Option<u32>, Stop> {
        Ok(match schema_status(file)? {
            SchemaStatus::Version(version) => Some(version),
            _ => None,
        })
    };
    wiring::is_there(file)?;
    let before = look()?;
    if wish == Wish::BringUpToDate {
        drop(wiring::writable(settings).await?);
    }
    Ok(Versions { before, now: look()?, known: SCHEMA_VERSION })
}

/// As the owner of the schema where one is given: the role that serves may not change it.
async fn of_server(server: &Postgres, wish: Wish) -> Result<Versions, Stop> {
    use insula_postgres::{SCHEMA_VERSION, SchemaStatus, migrate, schema_status};
    let version = |status| match status {
        SchemaStatus::Version(version) => Some(version),
        _ => None,
    };
    let url = server.owner.as_ref().unwrap_or(&server.url).expose();
    let before = match wish {
        Wish::Look => schema_status(url).await?,
        Wish::BringUpToDate => migrate(url).await.map_err(|error| not_changed(server, error))?,
    };
    Ok(Versions { before: version(before), now: version(schema_status(url).await?), known: SCHEMA_VERSION })
}

fn not_changed(server: &Postgres, error: insula_infra::Error) -> Stop {
    let is_refused = matches!(error, insula_infra::Error::Database { .. });
    let stop = Stop::from(error);
    match server.owner {
        None if is_refused => stop.advise(
            "the role that serves may not change the schema: give one that may as database_owner, in \
             INSULA_DATABASE_OWNER for example",
        ),
        _ => stop,
    }
}

fn words(database: &str, versions: &Versions) -> String {
    let known = versions.known;
    match (versions.before, versions.now) {
        (_, None) => format!("{database}: there is no database yet; `insula migrate` makes it"),
        (None, Some(now)) => format!("{database}: made, schema version {now}"),
        (Some(before), Some(now)) if before != now => {
            format!("{database}: brought from schema version {before} to {now}")
        }
        (_, Some(now)) if now < known => {
            format!("{database}: schema version {now}, {known} is known; `insula migrate` brings it up to date")
        }
        (_, Some(now)) => format!("{database}: up to date, schema version {now}"),
    }
}
