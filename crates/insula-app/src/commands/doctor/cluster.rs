//! What can be wrong with a Postgres that several nodes share: its version and schema, the role, the walls, the clocks.

use insula_postgres::{Finding, look};

use super::{Check, checks::DATABASE};
use crate::{
    config::{Address, Postgres},
    exit::{Kind, Stop},
};

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
        Ok(findings) => findings.into_iter().map(|finding| check(name, finding)).collect(),
        Err(error) => vec![Check::fail(name, &not_seen(address, error))],
    }
}

fn check(name: &'static str, finding: Finding) -> Check {
    match (finding.is_ok, finding.mend) {
        (true, _) => Check::ok(name, finding.detail),
        (false, mend) => {
            let stop = Stop::new(Kind::Storage, finding.detail);
            Check::fail(name, &mend.into_iter().fold(stop, Stop::advise))
        }
    }
}

fn not_seen(address: &Address, error: insula_infra::Error) -> Stop {
    let stop = Stop::from(error).advise("look at address, role, password, pg_hba.conf and firewall in between");
    Stop { message: format!("{address}: {}", stop.message), ..stop }
}
