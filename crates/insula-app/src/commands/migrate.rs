//! `insula migrate`.

use insula_sqlite::{SCHEMA_VERSION, SchemaStatus, schema_status};
use serde_json::json;

use super::Desk;
use crate::{
    exit::{Kind, Stop},
    wiring,
};

/// Brings the database up to date, or only says whether it is.
pub(super) fn migrate(desk: &Desk<'_>, check: bool) -> Result<(), Stop> {
    let database = &desk.settings.database;
    wiring::is_there(database)?;
    let before = version(schema_status(database)?);
    if !check {
        drop(wiring::writable(&desk.settings)?);
    }
    let now = version(schema_status(database)?);
    let current = now == Some(SCHEMA_VERSION);
    let file = database.display().to_string();
    if desk.output.json {
        let said =
            json!({"database": file, "before": before, "version": now, "known": SCHEMA_VERSION, "up_to_date": current});
        desk.output.json(&said)?;
    } else {
        desk.output.line(words(&file, before, now))?;
    }
    if current { Ok(()) } else { Err(Stop::silently(Kind::Failed)) }
}

fn version(status: SchemaStatus) -> Option<u32> {
    match status {
        SchemaStatus::Version(version) => Some(version),
        _ => None,
    }
}

fn words(file: &str, before: Option<u32>, now: Option<u32>) -> String {
    match (before, now) {
        (_, None) => format!("{file}: there is no database yet; `insula migrate` makes it"),
        (None, Some(now)) => format!("{file}: made, schema version {now}"),
        (Some(before), Some(now)) if before != now => format!("{file}: brought from schema version {before} to {now}"),
        (_, Some(now)) if now < SCHEMA_VERSION => {
            format!("{file}: schema version {now}, {SCHEMA_VERSION} is known; `insula migrate` brings it up to date")
        }
        (_, Some(now)) => format!("{file}: up to date, schema version {now}"),
    }
}
