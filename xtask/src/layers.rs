//! Which crate may use which: the exact table. It is checked by a test, and printed by `cargo xtask layers`.
//!
//! Layers keep the promises local. Backends know nothing of agents and agents nothing of backends, so that
//! neither can go around the scope the other is bound to; only the engine starts tasks, so that stopping a
//! run stops all of it; only the app reads the environment, so that two engines in one process do not share
//! a hidden setting.

mod check;

use anyhow::Result;

use crate::source;
use crate::verdict::Verdict;
use crate::workspace;

/// What a crate may use of this workspace.
#[derive(Debug, Clone, Copy)]
enum MayUse {
    /// These and no others.
    Only(&'static [&'static str]),
    /// Whatever it wires together or looks at.
    Anything,
}
use MayUse::{Anything, Only};

#[derive(Debug, Clone, Copy)]
struct Row {
    layer: u8,
    name: &'static str,
    may_use: MayUse,
    presence: Presence,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    /// The design has a place for it; the row stands ready.
    Planned,
}
use Presence::{Here, Planned};

const fn row(layer: u8, name: &'static str, may_use: MayUse, presence: Presence) -> Row {
    Row { layer, name, may_use, presence }
}

const CONTEXT: &str = "insula-context";
const AGENT: &str = "insula-agent";
const INFRA: &str = "insula-infra";
const REGISTRY: &str = "insula-registry";
const FACTORY: &str = "insula-factory";
const ENGINE: &str = "insula-engine";
const SQLITE: &str = "insula-sqlite";
const POSTGRES: &str = "insula-postgres";
const REDIS: &str = "insula-redis";
const LLM: &str = "insula-llm";
const SERVER: &str = "insula-server";
const CLIENT: &str = "insula-client";
const APP: &str = "insula-app";
const TESTS: &str = "insula-tests";
const INTERLEAVINGS: &str = "insula-interleavings";
const INTERLEAVINGS_STD: &str = "insula-interleavings-std";
const INTERLEAVINGS_TOKIO: &str = "insula-interleavings-tokio";
const TEST_SERVICES: &str = "insula-test-services";
const BENCHES: &str = "insula-benches";
const SIM: &str = "insula-sim";
const XTASK: &str = "xtask";
/// Stands for every package below `examples/`.
const EXAMPLES: &str = "examples";

const ROWS: &[Row] = &[
    row(0, CONTEXT, Only(&[]), Here),
    row(1, AGENT, Only(&[CONTEXT]), Here),
    row(1, INFRA, Only(&[CONTEXT]), Here),
    row(2, REGISTRY, Only(&[AGENT, CONTEXT]), Here),
    row(2, SQLITE, Only(&[INFRA, CONTEXT]), Here),
    row(2, POSTGRES, Only(&[INFRA, CONTEXT]), Here),
    row(2, REDIS, Only(&[INFRA, CONTEXT]), Here),
    row(3, FACTORY, Only(&[REGISTRY, AGENT, INFRA, CONTEXT]), Here),
    row(4, ENGINE, Only(&[FACTORY, REGISTRY, AGENT, INFRA, CONTEXT]), Here),
    row(5, LLM, Only(&[AGENT, CONTEXT]), Planned),
    row(0, CLIENT, Only(&[]), Here),
    row(6, SERVER, Only(&[ENGINE, REGISTRY, INFRA, CONTEXT]), Here),
    row(7, APP, Anything, Here),
    row(8, TESTS, Anything, Here),
    row(8, INTERLEAVINGS, Anything, Here),
    row(8, INTERLEAVINGS_STD, Only(&[]), Here),
    row(8, INTERLEAVINGS_TOKIO, Only(&[]), Here),
    row(8, TEST_SERVICES, Only(&[]), Here),
    row(8, BENCHES, Anything, Here),
    row(8, SIM, Anything, Here),
    row(8, EXAMPLES, Anything, Here),
    row(8, XTASK, Only(&[]), Here),
];

/// Outside crates that only some of ours may use.
struct CrateFence {
    crates: &'static [&'static str],
    only_in: &'static [&'static str],
    because: &'static str,
}

const CRATE_FENCES: &[CrateFence] = &[
    CrateFence {
        crates: &["rusqlite", "libsqlite3-sys", "tokio-rusqlite"],
        only_in: &[SQLITE],
        because: "SQL stays behind the ports; put the query into the backend",
    },
    CrateFence {
        crates: &["sqlx"],
        only_in: &[POSTGRES, TEST_SERVICES],
        because: "SQL stays behind the ports; put the query into the backend",
    },
    CrateFence { crates: &["fred", "redis"], only_in: &[REDIS], because: "Redis stays behind the ports" },
    CrateFence { crates: &["axum", "hyper"], only_in: &[SERVER], because: "only the server knows HTTP" },
    CrateFence {
        crates: &["reqwest", "rmcp"],
        only_in: &[LLM, SERVER, CLIENT, TESTS],
        because: "only models, tools from outside and the server speak to a network",
    },
    CrateFence {
        crates: &["anyhow"],
        only_in: &[APP, TESTS, XTASK, BENCHES, SIM, EXAMPLES],
        because: "a library's errors are an enum that its caller can match",
    },
];

/// Calls that only some crates may make outside their tests.
struct CallFence {
    calls: &'static [&'static str],
    only_in: &'static [&'static str],
    because: &'static str,
}

const CALL_FENCES: &[CallFence] = &[
    CallFence {
        calls: &[
            "tokio::spawn",
            "task::spawn",
            "spawn_blocking",
            "spawn_local",
            "JoinSet",
            "TaskTracker",
            "Handle::current",
            "thread::spawn",
            "thread::scope",
            "thread::Builder",
        ],
        only_in: &[ENGINE, SQLITE, POSTGRES, REDIS, SERVER, APP],
        because: "what a crate starts outlives a cancelled run; hand the future to the engine instead",
    },
    CallFence {
        calls: &["std::env"],
        only_in: &[APP],
        because: "only the app reads the environment; take the value as an argument",
    },
];

/// Prints the table and checks it.
pub(crate) fn run() -> Result<Verdict> {
    let packages = workspace::packages()?;
    print!("{}", table(&packages));
    let mut verdict = Verdict::default();
    for violation in check::violations(&packages, &source::files()?)? {
        verdict.complain(violation);
    }
    Ok(verdict)
}

fn table(packages: &[workspace::Package]) -> String {
    let header = "Crates, top layer first, and what each may use; [in brackets] what it does not use today.\n";
    header.to_owned() + &ROWS.iter().rev().map(|row| line(row, packages)).collect::<String>()
}

fn line(row: &Row, packages: &[workspace::Package]) -> String {
    let package = packages.iter().find(|package| package.name == row.name);
    let uses = match row.may_use {
        Anything => "anything".to_owned(),
        Only([]) => "nothing of ours".to_owned(),
        Only(names) => names.iter().map(|name| edge(name, package)).collect::<Vec<_>>().join(", "),
    };
    let planned = if package.is_none() && row.presence == Planned { " (planned)" } else { "" };
    format!("{}  {:<15} -> {uses}{planned}\n", row.layer, row.name)
}

fn edge(name: &str, package: Option<&workspace::Package>) -> String {
    let is_used = package.is_none_or(|package| package.dependencies.iter().any(|used| used == name));
    if is_used { name.into() } else { format!("[{name}]") }
}
