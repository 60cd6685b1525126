//! The checks of a server, from here: whether it answers, whether its clock is this one's, whether it knows the key, and how
//! it is.

use std::time::Duration;

use insula_client::{Error, Ready};
use insula_context::{Clock, SystemClock, Timestamp};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::{super::overview::Overview, Check};
use crate::{
    config::{KeySource, Server},
    exit::{Kind, Stop},
    island::{Account, There},
    words,
};

/// Clocks that differ by more than this make times confusing; those of tokens stop to be accepted at about this.
const SKEW: Duration = Duration::from_secs(30);
/// A key that is worth nothing sooner than this should be replaced.
const SOON: Duration = Duration::from_secs(7 * 24 * 3_600);
/// What could have begun for this long has nobody who works on it.
const OLD: u64 = 60_000;

/// Every check, as far as one has what it needs.
pub(super) async fn all(server: &Server) -> Vec<Check> {
    let there = match There::new(server) {
        Ok(there) => there,
        Err(stop) => return vec![Check::fail("configuration", &stop)],
    };
    let key = match &server.key {
        KeySource::File(path) => format!("with the key in {}", path.display()),
        _ => "with a key".to_owned(),
    };
    let mut checks = vec![Check::ok("configuration", format!("asks {} {key}", there.client.server()))];
    match there.client.ready().await {
        Ok(ready) => {
            checks.extend([readiness(&ready), clock(&ready)]);
            checks.extend(identity(&there).await);
        }
        Err(error) => checks.push(unreachable(error)),
    }
    checks
}

fn unreachable(error: Error) -> Check {
    let advice = match &error {
        Error::Unreachable { .. } if error.tls().is_none() => {
            Some("start it (`insula serve`), or look at address, port, firewall and proxy in between")
        }
        _ => None,
    };
    let stop = Stop::from(error);
    let stop = match advice {
        Some(advice) => stop.advise(advice),
        None => stop,
    };
    Check::fail("server", &stop)
}

#[derive(Deserialize)]
struct Says {
    status: String,
    #[serde(default)]
    components: Vec<super::super::overview::Component>,
}

fn readiness(ready: &Ready) -> Check {
    const NAME: &str = "server";
    let Ok(Says { status, components }) = ready.says.read() else {
        let stop = Stop::new(Kind::Storage, "what answers there is no Insula server");
        return Check::fail(NAME, &stop.advise("look at the address; a proxy in between may answer in its place"));
    };
    let parts = components.iter().filter(|part| part.health != "up");
    let parts: Vec<String> = parts
        .map(|part| format!("{} is {} {}", part.component, part.health, part.detail.as_deref().unwrap_or_default()))
        .collect();
    let detail = format!("it is {status}; {}", parts.join("; ")).trim_end_matches([';', ' ']).to_owned();
    match (ready.is_ready, parts.is_empty()) {
        (false, _) => {
            let advice =
                if status == "draining" { "it is going down: wait for the next one" } else { "its log says more" };
            Check::fail(NAME, &Stop::new(Kind::Storage, detail).advise(advice))
        }
        (true, false) => Check::warn(NAME, detail, "it works, with less than it was configured for"),
        (true, true) => Check::ok(NAME, detail),
    }
}

fn clock(ready: &Ready) -> Check {
    const NAME: &str = "clock";
    let date = ready.date.as_deref().and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
    let Some(date) = date else { return Check::ok(NAME, "the server does not say what time it is") };
    let theirs = Timestamp::from_micros(date.unix_timestamp().saturating_mul(1_000_000));
    let ours = SystemClock::new().now();
    let skew = ours.since(theirs).max(theirs.since(ours));
    if skew <= SKEW {
        return Check::ok(NAME, "the server's and this one's are together");
    }
    let side = if ours > theirs { "behind" } else { "ahead of" };
    let detail = format!("the server's is {} {side} this one's", words::duration(skew));
    Check::warn(NAME, detail, "set the clocks of both machines, best by NTP: times and expiries are not what they seem")
}

#[derive(Deserialize)]
struct Me {
    tenant_id: String,
    user_id: String,
    roles: Vec<String>,
    access: String,
    credential: Credential,
    server: Version,
}

#[derive(Deserialize)]
struct Credential {
    #[serde(default)]
    expires_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

async fn identity(there: &There) -> Vec<Check> {
    let me: Result<Me, Error> = there.client.get(&["me"], &[]).await.and_then(|me| me.read());
    let me = match me {
        Ok(me) => me,
        Err(error) => return vec![Check::fail("key", &error.into())],
    };
    let mut checks = vec![key(&me), version(&me.server.version)];
    if me.roles.iter().any(|role| role == "operator") {
        checks.extend(overview(there).await);
    }
    checks
}

fn key(me: &Me) -> Check {
    let detail = format!("it lets {}/{} in as {}, to {}", me.tenant_id, me.user_id, me.roles.join(", "), me.access);
    let left = me.credential.expires_at.map(|at| at.since(SystemClock::new().now()));
    match left.filter(|left| *left < SOON) {
        Some(left) => Check::warn(
            "key",
            format!("{detail}; it is worth something for {} more", words::duration(left)),
            "`insula token create` makes another while this one still lets you in",
        ),
        None => Check::ok("key", detail),
    }
}

fn version(theirs: &str) -> Check {
    let ours = env!("CARGO_PKG_VERSION");
    let series = |version: &str| version.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    if series(theirs) == series(ours) {
        return Check::ok("version", format!("{theirs} there, {ours} here"));
    }
    let detail = format!("{theirs} there, {ours} here: one may say what the other does not know");
    Check::warn("version", detail, "use an insula of the server's version")
}

async fn overview(there: &There) -> Vec<Check> {
    let overview = there.overview().await.and_then(|said| Ok(said.read::<Overview>()?));
    let Overview { counts, nodes, .. } = match overview {
        Ok(overview) => overview,
        Err(stop) => return vec![Check::fail("queue", &stop)],
    };
    let queue = format!("{} queued, {} processes work on it", counts.queued, nodes.len());
    let queue = if counts.queued > 0 && counts.oldest_queued_ms > OLD {
        let waits = words::duration(Duration::from_millis(counts.oldest_queued_ms));
        let advice = "look at `insula overview`: start more that work on it, or raise limits.running";
        Check::warn("queue", format!("{queue}, and the oldest could have begun {waits} ago"), advice)
    } else {
        Check::ok("queue", queue)
    };
    let webhooks = match counts.webhooks_dead {
        0 => Check::ok("webhooks", "nobody has given any of them up"),
        dead => Check::warn(
            "webhooks",
            format!("{dead} were given up"),
            "their owners find them with `insula webhooks list --state dead`, and `resend` makes them again",
        ),
    };
    vec![queue, webhooks]
}
