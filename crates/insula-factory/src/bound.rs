//! State, database and cache, bound to one owner: the agent's side has no place for a name.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use insula_agent::{Cache, CacheMessages, Database, Error, Resources, Result, Space, State, Transaction};
use insula_context::{SqlRow, SqlValue, UserExecutionContext};
use insula_infra::{
    Backend, CacheSubscription, DatabaseSession, DatabaseSessionManager, RawJson, RedisManager, StateKey, StateSpace,
    StateStore,
};
use serde_json::Value;

/// The ports that agents are given handles to.
#[derive(Clone)]
pub struct Ports {
    /// What agents remember.
    pub state: Arc<dyn StateStore>,
    /// Agents' own tables.
    pub database: Option<Arc<dyn DatabaseSessionManager>>,
    /// The cache.
    pub cache: Option<Arc<dyn RedisManager>>,
}

impl From<&Backend> for Ports {
    fn from(backend: &Backend) -> Self {
        Self { state: Arc::clone(&backend.state), database: backend.database.clone(), cache: backend.cache.clone() }
    }
}

/// What stands between an agent and everything that it writes outside of its own run.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Returns when the agent may write.
    ///
    /// # Errors
    /// When it may not any more: its run has lost the right to go on, or its log cannot be written.
    async fn pass(&self) -> Result<()>;
}

/// What one run's agent and tools may use. Made for each run; every call goes to the ports with the run's own scope.
#[derive(Clone)]
pub struct BoundResources {
    context: UserExecutionContext,
    agent: Arc<str>,
    ports: Ports,
    gate: Option<Arc<dyn Gate>>,
}

impl BoundResources {
    /// Binds the ports to the owner, thread and run of a context, and to an agent class.
    pub fn new(context: UserExecutionContext, agent: Arc<str>, ports: Ports) -> Self {
        Self { context, agent, ports, gate: None }
    }

    /// The same, with a gate before everything that is written.
    #[must_use]
    pub fn behind(mut self, gate: Arc<dyn Gate>) -> Self {
        self.gate = Some(gate);
        self
    }

    fn key(&self, space: Space, name: &str) -> StateKey {
        let space = match space {
            Space::Run => StateSpace::Run(self.context.run().clone()),
            Space::Thread => StateSpace::Thread(self.context.thread().clone()),
            Space::User => StateSpace::User,
            Space::Agent => StateSpace::Agent(self.agent.to_string()),
        };
        StateKey { space, name: name.to_owned() }
    }
}

impl Resources for BoundResources {
    fn context(&self) -> &UserExecutionContext {
        &self.context
    }

    fn state(&self) -> &dyn State {
        self
    }

    fn database(&self) -> Result<Arc<dyn Database>> {
        let Some(manager) = &self.ports.database else { return Err(not_configured("database")) };
        Ok(Arc::new(BoundDatabase {
            context: self.context.clone(),
            manager: Arc::clone(manager),
            gate: self.gate.clone(),
        }))
    }

    fn cache(&self) -> Result<Arc<dyn Cache>> {
        let Some(manager) = &self.ports.cache else { return Err(not_configured("cache")) };
        Ok(Arc::new(BoundCache {
            context: self.context.clone(),
            manager: Arc::clone(manager),
            gate: self.gate.clone(),
        }))
    }
}

fn not_configured(what: &'static str) -> Error {
    Error::Unavailable { what, problem: "it is not configured here".to_owned() }
}

/// Says of a port's error what the user may see, and keeps the rest for the operator.
fn storage(operation: &'static str) -> impl Fn(insula_infra::Error) -> Error {
    use insula_infra::Error as E;
    move |error| match error {
        E::Unavailable { component, .. } => {
            Error::Unavailable { what: component, problem: "it does not answer, try again".to_owned() }
        }
        error => {
            let message = match &error {
                E::Statement { .. } | E::WrongType { .. } | E::TooLarge { .. } | E::Timeout { .. } => error.to_string(),
                E::DiskFull { .. } => "the disk is full".to_owned(),
                _ => "the storage refused it".to_owned(),
            };
            Error::Storage { operation, message, transient: error.is_transient(), cause: Some(Box::new(error)) }
        }
    }
}

fn encode(value: &Value) -> Result<RawJson> {
    let raw = serde_json::value::to_raw_value(value);
    raw.map(Into::into).map_err(|e| Error::Shape { what: "the value".to_owned(), problem: e.to_string() })
}

#[async_trait]
impl State for BoundResources {
    async fn get(&self, space: Space, name: &str) -> Result<Option<(Value, u64)>> {
        let found = self.ports.state.get(self.context.scope(), &self.key(space, name)).await;
        let Some(found) = found.map_err(storage("state"))? else { return Ok(None) };
        let value = serde_json::from_str(found.value.get());
        let shape = |e: serde_json::Error| Error::Shape { what: format!("\"{name}\""), problem: e.to_string() };
        Ok(Some((value.map_err(shape)?, found.version)))
    }

    async fn put(&self, space: Space, name: &str, value: &Value) -> Result<u64> {
        pass(self.gate.as_ref()).await?;
        let (key, value) = (self.key(space, name), encode(value)?);
        self.ports.state.put(self.context.scope(), &key, value).await.map_err(storage("state"))
    }

    async fn compare_and_set(
        &self,
        space: Space,
        name: &str,
        expected: Option<u64>,
        value: &Value,
    ) -> Result<Option<u64>> {
        pass(self.gate.as_ref()).await?;
        let key = self.key(space, name);
        match self.ports.state.compare_and_set(self.context.scope(), &key, expected, encode(value)?).await {
            Ok(version) => Ok(Some(version)),
            Err(insula_infra::Error::Conflict { .. }) => Ok(None),
            Err(error) => Err(storage("state")(error)),
        }
    }

    async fn delete(&self, space: Space, name: &str) -> Result<bool> {
        pass(self.gate.as_ref()).await?;
        self.ports.state.delete(self.context.scope(), &self.key(space, name)).await.map_err(storage("state"))
    }
}

async fn pass(gate: Option<&Arc<dyn Gate>>) -> Result<()> {
    match gate {
        Some(gate) => gate.pass().await,
        None => Ok(()),
    }
}

struct BoundDatabase {
    gate: Option<Arc<dyn Gate>>,
    context: UserExecutionContext,
    manager: Arc<dyn DatabaseSessionManager>,
}

#[async_trait]
impl Database for BoundDatabase {
    async fn begin(&self) -> Result<Box<dyn Transaction>> {
        // Before the connection is taken, so that none is held while the log is written.
        pass(self.gate.as_ref()).await?;
        let session = self.manager.open(self.context.scope()).await.map_err(storage("database"))?;
        Ok(Box::new(BoundTransaction(session)))
    }
}

struct BoundTransaction(Box<dyn DatabaseSession>);

#[async_trait]
impl Transaction for BoundTransaction {
    async fn execute(&mut self, sql: &str, params: &[SqlValue]) -> Result<u64> {
        self.0.execute(sql, params).await.map_err(storage("database"))
    }

    async fn execute_many(&mut self, sql: &str, rows: &[Vec<SqlValue>]) -> Result<u64> {
        self.0.execute_many(sql, rows).await.map_err(storage("database"))
    }

    async fn fetch(&mut self, sql: &str, params: &[SqlValue]) -> Result<Vec<SqlRow>> {
        self.0.fetch(sql, params).await.map_err(storage("database"))
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.0.commit().await.map_err(storage("database"))
    }

    async fn rollback(self: Box<Self>) -> Result<()> {
        self.0.rollback().await.map_err(storage("database"))
    }
}

struct BoundCache {
    gate: Option<Arc<dyn Gate>>,
    context: UserExecutionContext,
    manager: Arc<dyn RedisManager>,
}

#[async_trait]
impl Cache for BoundCache {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let found = self.manager.get(self.context.scope(), key).await.map_err(storage("cache"))?;
        Ok(found.map(Into::into))
    }

    async fn set(&self, key: &str, value: Vec<u8>, ttl: Option<Duration>) -> Result<()> {
        pass(self.gate.as_ref()).await?;
        self.manager.set(self.context.scope(), key, value.into(), ttl).await.map_err(storage("cache"))
    }

    async fn delete(&self, key: &str) -> Result<bool> {
        pass(self.gate.as_ref()).await?;
        self.manager.delete(self.context.scope(), key).await.map_err(storage("cache"))
    }

    async fn increment(&self, key: &str, by: i64) -> Result<i64> {
        pass(self.gate.as_ref()).await?;
        self.manager.increment(self.context.scope(), key, by).await.map_err(storage("cache"))
    }

    async fn push(&self, key: &str, value: Vec<u8>) -> Result<u64> {
        pass(self.gate.as_ref()).await?;
        self.manager.push(self.context.scope(), key, value.into()).await.map_err(storage("cache"))
    }

    async fn range(&self, key: &str, start: usize, count: usize) -> Result<Vec<Vec<u8>>> {
        let found = self.manager.range(self.context.scope(), key, start, count).await.map_err(storage("cache"))?;
        Ok(found.into_iter().map(Into::into).collect())
    }

    async fn publish(&self, channel: &str, message: Vec<u8>) -> Result<()> {
        pass(self.gate.as_ref()).await?;
        self.manager.publish(self.context.scope(), channel, message.into()).await.map_err(storage("cache"))
    }

    async fn subscribe(&self, channel: &str) -> Result<Box<dyn CacheMessages>> {
        let messages = self.manager.subscribe(self.context.scope(), channel).await.map_err(storage("cache"))?;
        Ok(Box::new(BoundMessages(messages)))
    }
}

struct BoundMessages(CacheSubscription);

#[async_trait]
impl CacheMessages for BoundMessages {
    async fn next(&mut self) -> Option<Vec<u8>> {
        self.0.next().await.map(Bytes::into)
    }
}
