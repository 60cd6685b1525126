//! A real process that is killed in the middle of a run, and another that finishes the run.

use std::{
    io::Write,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use insula_agent::{Effect, Tool, tool_fn};
use insula_engine::{ExecutionEngineFactory, Limits, RunRequest, Tools};
use insula_infra::{Backend, RunStatus};
use insula_registry::AgentClassRegistry;
use insula_sqlite::SqliteBackend;
use serde_json::{Value, json};

use crate::{
    engine::stage::{class, spec},
    support::{events_of_run, kinds, until, user},
};

const FOLDER: &str = "INSULA_TEST_FOLDER";
const MYSELF: &str = "durability::killed::a_run_of_a_killed_process_is_finished_by_another";
const LEASE: Duration = Duration::from_secs(1);

fn backend(folder: &Path) -> Backend {
    SqliteBackend::at(folder.join("insula.db")).open().unwrap().into_backend()
}

/// A line in a file for every piece of work that was really done.
fn note(folder: &Path, what: &str) {
    let mut notes = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("notes")).unwrap();
    writeln!(notes, "{what}").unwrap();
}

fn notes(folder: &Path) -> Vec<String> {
    let notes = std::fs::read_to_string(folder.join("notes")).unwrap_or_default();
    notes.lines().map(str::to_owned).collect()
}

fn noted(folder: &Path, name: &'static str, effect: Effect, ends: bool) -> impl Tool + 'static {
    let folder = folder.to_owned();
    tool_fn(spec(name).effect(effect), move |call: insula_agent::ToolCall, _: Value| {
        note(&folder, &format!("{name} {}", call.key()));
        async move {
            if !ends {
                std::future::pending::<()>().await;
            }
            Ok(json!(name))
        }
    })
}

/// A process's engine. In the first one, the tool `ship` never ends.
fn engine(folder: &Path, backend: Backend, ends: bool) -> ExecutionEngineFactory {
    let folder_of_agent = folder.to_owned();
    let shop = class("shop", move |session, _| {
        let folder = folder_of_agent.clone();
        async move {
            let price: u32 = session
                .step("price", Effect::Pure, async || {
                    note(&folder, "price");
                    Ok(40)
                })
                .await?;
            let paid = session.call_tool("pay", json!({"price": price})).await?;
            let shipped = session.call_tool("ship", json!(1)).await?;
            Ok(json!([price, paid, shipped]))
        }
    });
    let tools = Tools::new().with(noted(folder, "pay", Effect::Once, true)).with(noted(
        folder,
        "ship",
        Effect::Idempotent,
        ends,
    ));
    let registry = AgentClassRegistry::builder().register(shop).freeze().unwrap();
    let limits = Limits { lease: LEASE, ..Limits::default() };
    ExecutionEngineFactory::builder(registry, backend).tools(tools).limits(limits).build()
}

/// What the process does that is to be killed: it works until then.
async fn work_until_killed(folder: &Path) {
    let factory = engine(folder, backend(folder), false);
    let run = factory.submit(&user("ada"), RunRequest::new("shop", json!(1))).await.unwrap();
    std::fs::write(folder.join("run"), run.as_str()).unwrap();
    // It ends by itself when whoever was to kill it is gone.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// A process of this test. Killed also when the test fails before it comes to that.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _code = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_a_killed_process_is_finished_by_another() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return work_until_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", MYSELF, "--test-threads=1"]).env(FOLDER, folder);
    let victim = Victim(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    until("it ships", || notes(folder).len() == 3 && folder.join("run").exists()).await;
    drop(victim);

    let backend = backend(folder);
    let factory = engine(folder, backend.clone(), true);
    factory.work();
    let run = insula_context::RunId::new(std::fs::read_to_string(folder.join("run")).unwrap()).unwrap();
    let ada = user("ada");
    let waiting = factory.wait(&ada, &run);
    let record = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(record.status, RunStatus::Completed, "{record:?}");
    assert_eq!(record.result.unwrap().get(), r#"[40,"pay","ship"]"#);
    let (paid, shipped) = (format!("pay {run}/1/pay"), format!("ship {run}/2/ship"));
    assert_eq!(notes(folder), ["price", &paid, &shipped, &shipped]);
    let expected = [
        "agent_started",
        "step_completed",
        "tool_executing",
        "tool_completed",
        "tool_executing",
        "agent_resumed",
        "tool_completed",
        "agent_completed",
    ];
    assert_eq!(kinds(&events_of_run(&backend, &ada, &run).await), expected);
}
