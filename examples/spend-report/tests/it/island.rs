//! An engine of its own for each test.

use std::path::PathBuf;

use insula_context::{RunId, ScopeIssuer, ThreadId, UserExecutionContext, UserScope};
use insula_engine::{ExecutionEngineFactory, Outcome, StreamItem, Tools};
use insula_infra::Backend;
use insula_registry::AgentClassRegistry;
use insula_sqlite::SqliteBackend;
use serde_json::{Value, json};

pub(crate) struct Island {
    folder: tempfile::TempDir,
    engines: ExecutionEngineFactory,
}

impl Island {
    pub(crate) fn new() -> Self {
        Self::with(|backend| backend)
    }

    pub(crate) fn with(change: impl FnOnce(Backend) -> Backend) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = SqliteBackend::open(folder.path().join("insula.db")).expect("a database").into_backend();
        let registry =
            spend_report::classes().into_iter().fold(AgentClassRegistry::builder(), |r, class| r.register(class));
        let tools = spend_report::tools(folder.path().join("reports"));
        let tools = tools.into_iter().fold(Tools::new(), |all, tool| all.with_arc(tool));
        let registry = registry.freeze().expect("classes fit together");
        let engines = ExecutionEngineFactory::builder(registry, change(backend)).tools(tools).build();
        Self { folder, engines }
    }

    pub(crate) fn reports(&self) -> PathBuf {
        self.folder.path().join("reports")
    }

    pub(crate) async fn run(&self, user: &str, run: &str, agent: &str, input: Value) -> Outcome {
        let context = context(user, run);
        let engine = self.engines.create_for_user(&context).expect("a place");
        engine.execute_agent(&context, agent, input).await.expect("the run was accepted")
    }

    /// Loads a file and asks one analysis.
    pub(crate) async fn ask(&self, file: &Value, analysis: &str) -> Value {
        let loaded = self.run("ada", "load", "spend-data", json!({"load": "l", "file": file})).await;
        assert!(loaded.is_success(), "{loaded:?}");
        let asked = json!({"load": "l", "analyses": [analysis]});
        let outcome = self.run("ada", "ask", "spend-optimization", asked).await;
        let Some(result) = outcome.result() else { panic!("{outcome:?}") };
        result[analysis].clone()
    }

    /// Everything in the log of a thread so far, as text.
    pub(crate) async fn log(&self, user: &str, run: &str) -> Vec<(String, String)> {
        let mut stream = self
            .engines
            .run_events(&scope(user), &RunId::new(run).expect("an id"), 0)
            .await
            .expect("a log")
            .expect("a run");
        let mut thread = self.engines.events(&scope(user), &thread(run), 0);
        while stream.next().await.expect("the log answers").is_some() {}
        let mut told = Vec::new();
        while thread.cursor() < stream.cursor() {
            if let Some(StreamItem::Event(event)) = thread.next().await.expect("the log answers") {
                told.push((event.kind.to_string(), event.data.get().to_owned()));
            }
        }
        told
    }
}

fn thread(run: &str) -> ThreadId {
    ThreadId::new(format!("thread of {run}")).expect("an id")
}

fn context(user: &str, run: &str) -> UserExecutionContext {
    let run_id = RunId::new(run).expect("an id");
    UserExecutionContext::builder(scope(user), thread(run), run_id).build().expect("a context")
}

#[expect(clippy::disallowed_methods, reason = "the test plays the authenticator")]
fn scope(user: &str) -> UserScope {
    ScopeIssuer::new().issue("acme", user).expect("a scope")
}
