//! State, database and cache of a replayed agent. What an agent reads there is not recorded, and what it writes must not
//! be written again: all of it refuses, and the refusal is a difference that says so.

use std::sync::Arc;

use async_trait::async_trait;
use insula_agent::{Cache, Database, Error, Resources, Result, Space, State};
use insula_context::UserExecutionContext;
use serde_json::Value;

use super::tape::Tape;

pub(super) struct Refusing {
    context: UserExecutionContext,
    tape: Arc<Tape>,
}

impl Refusing {
    pub(super) fn new(context: UserExecutionContext, tape: Arc<Tape>) -> Self {
        Self { context, tape }
    }

    fn refuse(&self, what: &str) -> Error {
        let called = format!("the {what}, outside of a recorded step");
        self.tape.not_recorded(format!("the {what}"), called)
    }

    fn refuse_state(&self, verb: &str, name: &str) -> Error {
        self.refuse(&format!("state \"{name}\" ({verb})"))
    }
}

impl Resources for Refusing {
    fn context(&self) -> &UserExecutionContext {
        &self.context
    }

    fn state(&self) -> &dyn State {
        self
    }

    fn database(&self) -> Result<Arc<dyn Database>> {
        Err(self.refuse("database"))
    }

    fn cache(&self) -> Result<Arc<dyn Cache>> {
        Err(self.refuse("cache"))
    }
}

#[async_trait]
impl State for Refusing {
    async fn get(&self, _: Space, name: &str) -> Result<Option<(Value, u64)>> {
        Err(self.refuse_state("read", name))
    }

    async fn put(&self, _: Space, name: &str, _: &Value) -> Result<u64> {
        Err(self.refuse_state("written", name))
    }

    async fn compare_and_set(&self, _: Space, name: &str, _: Option<u64>, _: &Value) -> Result<Option<u64>> {
        Err(self.refuse_state("written", name))
    }

    async fn delete(&self, _: Space, name: &str) -> Result<bool> {
        Err(self.refuse_state("deleted", name))
    }
}
