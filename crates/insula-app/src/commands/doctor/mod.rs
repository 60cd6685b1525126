//! `insula doctor`: looks at everything a run needs, changes nothing, and says what to do.

mod checks;
mod cluster;
mod server;

use serde::Serialize;
use serde_json::json;

use super::Desk;
use crate::{
    exit::{Kind, Stop},
    output::Output,
    words,
};

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Finding {
    Ok,
    Warn,
    Fail,
}

/// One line of the doctor's.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    finding: Finding,
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
    /// What the process ends with when this is the first failure.
    #[serde(skip)]
    kind: Kind,
}

impl Check {
    fn new(name: &'static str, finding: Finding, detail: impl Into<String>) -> Self {
        Self { name, finding, detail: detail.into(), advice: None, kind: Kind::Failed }
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Finding::Ok, detail)
    }

    fn warn(name: &'static str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..Self::new(name, Finding::Warn, detail) }
    }

    fn fail(name: &'static str, stop: &Stop) -> Self {
        let cause = stop.cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
        let detail = format!("{}{cause}", stop.message);
        Self { advice: stop.advice.clone(), kind: stop.kind, ..Self::new(name, Finding::Fail, detail) }
    }
}

/// Checks everything.
pub(super) async fn doctor(desk: &Desk<'_>) -> Result<(), Stop> {
    let checks = match &desk.settings.server {
        Some(server) => server::all(server).await,
        None => checks::all(&desk.settings).await,
    };
    report(&checks, desk.output)
}

/// The configuration is what is wrong; nothing else can be looked at.
pub(super) fn without_settings(stop: &Stop, output: &Output) -> Result<(), Stop> {
    report(&[Check::fail("configuration", stop)], output)
}

fn report(checks: &[Check], output: &Output) -> Result<(), Stop> {
    let failed = checks.iter().find(|check| check.finding == Finding::Fail);
    if output.json {
        output.json(&json!({"ok": failed.is_none(), "checks": checks}))?;
    } else {
        checks.iter().try_for_each(|check| line(check, output))?;
    }
    match failed {
        None => Ok(()),
        Some(check) => Err(Stop::silently(check.kind)),
    }
}

fn line(check: &Check, output: &Output) -> Result<(), Stop> {
    let paint = output.results;
    let word = match check.finding {
        Finding::Ok => paint.green("ok  "),
        Finding::Warn => paint.yellow("warn"),
        Finding::Fail => paint.red("fail"),
    };
    output.line(format!("{word}  {:<13}  {}", check.name, words::plain(&check.detail)))?;
    match check.advice.as_ref().filter(|_| check.finding != Finding::Ok) {
        Some(advice) => output.line(format!("{:21}{} {}", "", paint.cyan("→"), words::plain(advice))),
        None => Ok(()),
    }
}
