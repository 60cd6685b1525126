//! What can be wrong with a Postgres that several nodes share: its version and schema, the role, the walls, the clocks.

use insula_postgres::{Finding, look};

use super::{Check, checks::DATABASE};
use crate::{
    config::{Address, Postgres},
    exit::{Kind, Stop},
};

/// What is to be mended, and keeps nobody from working meanwhile.
const WORKS_WITHOUT: &[&str] = &["durability", "clock"];

/// Everything that is to be seen through the configured addresses.
pub(super) async fn of_server(server: &Postgres) -> Vec<Check> {
    let mut checks = of_address(DATABASE, &server.url).await;
    if let Some(direct) = &server.direct {
        checks.extend(of_address("direct", direct).await);
    }
    checks
}

async fn of_address(name: &'static str, address: &Address) -> Vec<Check> {
    match look(address.expose()).await {
        Ok(findings) => findings.into_iter().map(|finding| check(name, &finding)).collect(),
        Err(error) => vec![Check::fail(name, &not_seen(address, error))],
    }
}

fn check(name: &'static str, finding: &Finding) -> Check {
    let detail = format!("{}: {}", finding.subject, finding.detail);
    match finding.ok {
        true => Check::ok(name, detail),
        false if WORKS_WITHOUT.contains(&finding.subject) => Check::warn(name, detail, finding.mend),
        false => Check::fail(name, &Stop::new(Kind::Storage, detail).advise(finding.mend)),
    }
}

fn not_seen(address: &Address, error: insula_infra::Error) -> Stop {
    let stop = Stop::from(error).advise("look at address, role, password, pg_hba.conf and firewall in between");
    Stop { message: format!("{address}: {}", stop.message), ..stop }
}
