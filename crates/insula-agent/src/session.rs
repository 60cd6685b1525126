//! What an agent acts through while it runs.

use std::{future::Future, sync::Arc, time::Duration};

use insula_context::{Timestamp, UserExecutionContext};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Cache, CallSite, Database, Effect, InstanceMarker, Question, Result, SessionHost, Space, StateHandle, StepStart,
    handles::{from_json, to_json},
    host::Resources,
};

/// An agent's way to everything outside of itself. A clone is the same session.
///
/// Each call that is recorded takes the next place in the order of calls when the method is called, so calls that are
/// awaited together (`tokio::join!`) are recorded in the order in which they were written.
///
/// All waiting calls are cancellation safe in this sense: a dropped call is stopped, and a tool that had begun has its
/// `tool_completed` with `aborted`.
#[derive(Clone)]
pub struct Session {
    host: Arc<dyn SessionHost>,
    resources: Arc<dyn Resources>,
}

impl Session {
    /// A session on an engine's host.
    pub fn new(host: Arc<dyn SessionHost>) -> Self {
        let resources = host.resources();
        Self { host, resources }
    }

    /// Who is asking, in which conversation and run, and until when.
    pub fn context(&self) -> &UserExecutionContext {
        self.host.context()
    }

    /// The mark of this instance, which no other instance has.
    pub fn marker(&self) -> InstanceMarker {
        self.host.marker()
    }

    /// Whether the run is being resumed and recorded results are returned just now: a good reason not to log twice.
    pub fn replaying(&self) -> bool {
        self.host.replaying()
    }

    /// Progress in words, for whoever watches.
    pub fn think(&self, text: impl AsRef<str>) {
        self.host.think(text.as_ref());
    }

    /// An event of the agent's own.
    ///
    /// # Errors
    /// When the data has no JSON form.
    pub fn emit(&self, name: &str, data: impl Serialize) -> Result<()> {
        self.host.emit(name, &to_json(name, &data)?);
        Ok(())
    }

    /// Does some work and records its result, so that a resumed run gets the result and does not do the work again.
    ///
    /// [`Effect::Once`] has the beginning recorded as well: after a crash inside it, a human is asked whether it happened.
    /// A step has nothing that could undo it, so [`Effect::Compensable`] is the same as `Once` here: what can be undone is
    /// a tool.
    ///
    /// # Errors
    /// Those of the work, which are not recorded; or the result has no JSON form, or could not be recorded.
    pub fn step<T, F, Fut>(&self, name: &str, effect: Effect, work: F) -> impl Future<Output = Result<T>> + Send
    where
        T: Serialize + DeserializeOwned + Send,
        F: FnOnce() -> Fut + Send,
        Fut: Future<Output = Result<T>> + Send,
    {
        let site = self.host.next_call(name);
        async move {
            let _working = match self.host.begin_step(&site, effect).await? {
                StepStart::Recorded(recorded) => return from_json(&site.name, recorded),
                StepStart::Now(working) => working,
            };
            let result = work().await?;
            self.host.end_step(&site, &to_json(&site.name, &result)?).await?;
            Ok(result)
        }
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// [`Error::Tool`](crate::Error::Tool), which says what became of the call.
    pub fn call_tool(&self, name: &str, arguments: impl Serialize) -> impl Future<Output = Result<Value>> + Send {
        let site = self.host.next_call(name);
        let arguments = to_json(name, &arguments);
        async move { self.host.call_tool(site, arguments?).await }
    }

    /// Runs another agent as a child of this run and waits for its result. It has the same owner and thread, and the
    /// time that is left.
    ///
    /// # Errors
    /// [`Error::Child`](crate::Error::Child) when it gave no result.
    pub fn call_agent(&self, class: &str, input: impl Serialize) -> impl Future<Output = Result<Value>> + Send {
        let site = self.host.next_call(class);
        let input = to_json(class, &input);
        async move { self.host.call_agent(site, input?, None).await }
    }

    /// As [`Session::call_agent`], at a place in the order of calls that the caller chooses, and within a time. For what
    /// runs agents side by side in an order that is not always the same: a resumed run finds each call by its place.
    /// Whoever uses this uses it for all calls of the run, because the other methods count places from 0.
    ///
    /// # Errors
    /// As [`Session::call_agent`]; a child that is not done in time fails with `timeout`.
    pub fn call_agent_at(
        &self,
        place: u32,
        class: &str,
        input: impl Serialize,
        within: Option<Duration>,
    ) -> impl Future<Output = Result<Value>> + Send {
        let site = CallSite { index: place, name: class.to_owned() };
        let input = to_json(class, &input);
        async move { self.host.call_agent(site, input?, within).await }
    }

    /// Asks a human and waits for the answer, for days if need be: a run that only waits is parked. Nothing of it is in
    /// memory then, and the agent begins again from the top when the answer comes, with every recorded call returning what
    /// it returned. So a time limit belongs into [`Question::expires`]: a timer of the agent's own is forgotten with it.
    ///
    /// # Errors
    /// When the question expired without a default, or the answer has another shape than `T`.
    pub fn ask<T: DeserializeOwned>(&self, question: Question) -> impl Future<Output = Result<T>> + Send {
        let site = self.host.next_call("ask");
        async move { from_json("the answer", self.host.ask(site, question).await?) }
    }

    /// Waits; a run that waits long is parked, as with [`Session::ask`]. The waiting is recorded, so that a resumed run does
    /// not wait again.
    ///
    /// # Errors
    /// When the run is over.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = Result<()>> + Send {
        let site = self.host.next_call("sleep");
        async move { self.host.sleep(site, duration).await }
    }

    /// Waits until a point in time, as [`Session::sleep`] does.
    ///
    /// # Errors
    /// When the run is over.
    pub fn sleep_until(&self, until: Timestamp) -> impl Future<Output = Result<()>> + Send {
        let site = self.host.next_call("sleep");
        async move { self.host.sleep_until(site, until).await }
    }

    /// The time, recorded: a resumed run is told the same.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub fn now(&self) -> impl Future<Output = Result<Timestamp>> + Send {
        let site = self.host.next_call("now");
        async move { self.host.now(site).await }
    }

    /// 64 random bits, recorded: a resumed run is given the same.
    ///
    /// # Errors
    /// When they could not be recorded.
    pub fn random(&self) -> impl Future<Output = Result<u64>> + Send {
        let site = self.host.next_call("random");
        async move { self.host.random(site).await }
    }

    /// What agents remember, in one of four reaches.
    pub fn state(&self, space: Space) -> StateHandle<'_> {
        StateHandle::new(self.resources.state(), space)
    }

    /// The owner's own database.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) when none is configured.
    pub fn database(&self) -> Result<Arc<dyn Database>> {
        self.resources.database()
    }

    /// The owner's own cache.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) when none is configured.
    pub fn cache(&self) -> Result<Arc<dyn Cache>> {
        self.resources.cache()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Session").field(self.context()).finish()
    }
}
